"""Whether something can stand where a type asks for something else: subtyping of components.

Value and function types fit if they are equal. An instance may export more than is asked for; a component may
export more and import less. Resource types in what is asked for are variables: what is given settles them
(`opened`), and then must fit with them in place.

Format: component model, Explainer.md, "Type Checking".
"""

from __future__ import annotations

from collections.abc import Mapping

from .abstract import ComponentType, Extern, Func, InstanceType, Resource, Substitution, Types, Value, View
from .cores import CoreTypes, ModuleType
from .names import Invalid, article

__all__ = ["Matcher"]


class Matcher:
    """Compares the types of one component."""

    def __init__(self, types: Types, core: CoreTypes) -> None:
        self.types = types
        self.core = core

    def opened(
        self,
        given: Mapping[str, Extern],
        wanted: Mapping[str, Extern],
        variables: Mapping[Resource, tuple[str, ...]],
        what: str,
    ) -> Substitution:
        """What stands for the variables of what is wanted, after all of it was found to fit.

        Args:
            given, wanted: by their names.
            variables: resource types in ``wanted``, and the names under which they are found there.
            what: what the names are of, for messages.

        Raises:
            Invalid: something is missing or does not fit.
        """
        resources: dict[Resource, Resource] = {}
        for resource, path in variables.items():
            found = _at(given, path)
            if found is not None:
                resources[resource] = found
        settled = Substitution(self.types, resources)
        renamed = Substitution(self.types, resources)
        self.types.spend(len(wanted))
        for name, one in wanted.items():
            if name not in given:
                raise Invalid(f"the {what} {name!r} is missing")
            try:
                self.check(given[name], settled.extern(one))
            except Invalid as error:
                raise Invalid(f"the {what} {name!r} does not fit: {error}") from None
            _rename(given[name], one, renamed)
        return renamed

    def check(self, given: Extern, wanted: Extern) -> None:
        """Whether one can be given where the other is wanted.

        Raises:
            Invalid: it cannot.
        """
        if given.sort != wanted.sort:
            raise Invalid(f"it is {article(given.sort)}, not {article(wanted.sort)}")
        a, b = given.item, wanted.item
        if a is b:
            return
        if isinstance(a, View) and isinstance(b, View):
            if a.resource is not b.resource:
                raise Invalid("the resource types are not the same")
        elif isinstance(a, Value) and isinstance(b, Value):
            if a.key != b.key:
                raise Invalid(f"the types are not equal: {difference(a, b)}")
        elif isinstance(a, Func) and isinstance(b, Func):
            _check_func(a, b)
        elif isinstance(a, InstanceType) and isinstance(b, InstanceType):
            self.types.spend(len(b.exports))
            for name, one in b.exports.items():
                if name not in a.exports:
                    raise Invalid(f"the instance has no export {name!r}")
                try:
                    self.check(a.exports[name], one)
                except Invalid as error:
                    raise Invalid(f"the export {name!r} does not fit: {error}") from None
        elif isinstance(a, ComponentType) and isinstance(b, ComponentType):
            settled = self.opened(b.imports, a.imports, a.imported, "import")
            exports = {name: settled.extern(one) for name, one in a.exports.items()}
            self.opened(exports, b.exports, b.defined, "export")
        elif isinstance(a, ModuleType) and isinstance(b, ModuleType):
            self.core.check_module(a, b)
        else:
            raise Invalid(f"it is {_kind(a)}, not {_kind(b)}")


def _at(given: Mapping[str, Extern], path: tuple[str, ...]) -> Resource | None:
    """The resource type at a path of names, if there is one."""
    found = given.get(path[0])
    for name in path[1:]:
        if found is None or not isinstance(found.item, InstanceType) or found.sort != "instance":
            return None
        found = found.item.exports.get(name)
    return found.item.resource if found is not None and isinstance(found.item, View) else None


def _rename(given: Extern, wanted: Extern, into: Substitution) -> None:
    """Note which types are given for the types that are wanted, so that they have these names."""
    if wanted.sort == "type":
        if not isinstance(wanted.item, ModuleType):
            into.items.setdefault(wanted.item, given.item)
    elif wanted.sort == "instance":
        assert isinstance(given.item, InstanceType) and isinstance(wanted.item, InstanceType)
        for name, one in wanted.item.exports.items():
            _rename(given.item.exports[name], one, into)


def _check_func(a: Func, b: Func) -> None:
    if len(a.params) != len(b.params):
        raise Invalid(f"the function has {len(a.params)} parameters, not {len(b.params)}")
    for (label, one), (wanted, other) in zip(a.params, b.params):
        if label != wanted:
            raise Invalid(f"a parameter is called {label!r}, not {wanted!r}")
        if one.key != other.key:
            raise Invalid(f"the parameter {label!r} is of another type: {difference(one, other)}")
    if (a.result is None) != (b.result is None):
        raise Invalid("one of the functions has a result, the other not")
    if a.result is not None and b.result is not None and a.result.key != b.result.key:
        raise Invalid(f"the result is of another type: {difference(a.result, b.result)}")


def difference(a: Value, b: Value) -> str:
    """Where two types are not equal."""
    if a.form != b.form:
        return f"{a}, not {b}"
    if a.view is not None and b.view is not None:
        return "handles to different resource types"
    if a.labels != b.labels:
        return f"the labels of the {a} are {', '.join(a.labels)}, not {', '.join(b.labels)}"
    if a.length != b.length:
        return "the lists have different lengths"
    if len(a.parts) != len(b.parts):
        return f"the {a} has {len(a.parts)} parts, not {len(b.parts)}"
    for one, other in zip(a.parts, b.parts):
        if one is None or other is None:
            if one is not other:
                return f"a part of the {a} is only there in one"
        elif one.key != other.key:
            return f"{difference(one, other)}, in a {a}"
    return "in their resource types"


def _kind(item: object) -> str:
    kinds = {
        View: "a resource type",
        Value: "a value type",
        Func: "a function type",
        InstanceType: "an instance type",
        ComponentType: "a component type",
        ModuleType: "a module type",
    }
    return kinds[type(item)]
