"""What each component instance does with resources, and why it has a handle table or none.

A *function of an instance* is one that is lifted from its core code; that a component passes on what another
one has lifted, as the outermost of a composition does, does not count: no handle comes to it. With regard to
one resource type, an instance is

definer        if it defines the type: representations are its own, and the destructor is its code
re-exporter    else, if a function of it has handles of the type among its parameters or in its result, and it
               exports the function or passes it to others: they give it handles of what others define
consumer       else, if it calls functions that have handles of the type, or drops such handles

and may be each of them with regard to another type. An instance that is none of them for any has the role
``none``. Types that the host defines have no definer here.

A definer sees a borrowed handle as a representation (``borrow<T>`` of its own T), which needs no table; every
other handle that comes to an instance does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .plan import (
    CoreExport,
    CoreItem,
    Export,
    Function,
    FunctionExport,
    HostFunction,
    InstanceExports,
    Lifted,
    Lower,
    Plan,
    ResourceDrop,
    ResourceNew,
    ResourceRep,
)
from .types import FuncType, Resource, resources_of

__all__ = ["Roles", "roles_of"]


@dataclass
class Roles:
    """What one component instance does.

    Attributes:
        defines, re_exports, consumes: the resources for which it has the role; each is in one of them at
            most.
        reasons: why it has a handle table, for people; empty: it has none.
    """

    defines: list[Resource] = field(default_factory=list)
    re_exports: list[Resource] = field(default_factory=list)
    consumes: list[Resource] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Its roles, as this file has them."""
        found = {"definer": self.defines, "re-exporter": self.re_exports, "consumer": self.consumes}
        return [name for name, resources in found.items() if resources] or ["none"]


def roles_of(plan: Plan) -> list[Roles]:
    """The roles of each component instance."""
    found = [Roles() for _ in plan.instances]
    for resource, definition in plan.resources.items():
        if definition.definer is not None:
            found[definition.definer].defines.append(resource)
    functions, generated = _everything(plan)
    for function in functions:
        if isinstance(function, Lifted):
            _offers(found[function.options.instance], function)
    for item in generated:
        if isinstance(item, Lower):
            _calls(found[item.options.instance], item.function)
        elif isinstance(item, (ResourceNew, ResourceRep, ResourceDrop)):
            _uses(found[item.instance], item)
    return found


def _add(resources: list[Resource] | list[str], one: Resource | str) -> None:
    if one not in resources:
        resources.append(one)  # type: ignore[arg-type]


def _handles(type_: FuncType) -> Iterator[tuple[Resource, bool]]:
    for one in (*type_.types, *type_.results):
        yield from resources_of(one)


def _offers(roles: Roles, function: Lifted) -> None:
    for resource, owned in _handles(function.type):
        if resource not in roles.defines:
            _add(roles.re_exports, resource)
            if resource in roles.consumes:
                roles.consumes.remove(resource)
        if owned or resource not in roles.defines:
            _add(roles.reasons, f"its function {_named(function)} has handles of {_called(resource)}")


def _calls(roles: Roles, function: Function) -> None:
    for resource, _ in _handles(function.type):
        if resource not in roles.defines and resource not in roles.re_exports:
            _add(roles.consumes, resource)
        _add(roles.reasons, f"it calls {_named(function)} with handles of {_called(resource)}")


def _uses(roles: Roles, item: ResourceNew | ResourceRep | ResourceDrop) -> None:
    resource = item.resource
    if resource not in roles.defines and resource not in roles.re_exports:
        _add(roles.consumes, resource)
    verb = {ResourceNew: "makes", ResourceRep: "looks into", ResourceDrop: "drops"}[type(item)]
    _add(roles.reasons, f"it {verb} handles of {_called(resource)}")


def _named(function: Function) -> str:
    if isinstance(function, HostFunction):
        return "#".join(function.path)
    return function.core.name if isinstance(function.core, CoreExport) else "without a name"


def _called(resource: Resource) -> str:
    return resource.name or "a resource without a name"


def _everything(plan: Plan) -> tuple[list[Function], list[CoreItem]]:
    """The functions, and the generated core functions, that instances and the host can call."""
    functions: dict[Function, None] = dict.fromkeys(_exported(plan.exports))
    generated: dict[CoreItem, None] = {}
    waiting: list[CoreItem] = [item for step in plan.steps for item in step.arguments.values()]
    waiting += [one.destructor for one in plan.resources.values() if one.destructor is not None]
    fresh = list(functions)
    while waiting or fresh:
        while fresh:
            function = fresh.pop()
            if isinstance(function, Lifted):
                options = function.options
                waiting += [i for i in (function.core, options.realloc, options.post_return) if i is not None]
        if waiting:
            item = waiting.pop(0)
            if isinstance(item, CoreExport) or item in generated:
                continue
            generated[item] = None
            if isinstance(item, Lower):
                if item.function not in functions:
                    functions[item.function] = None
                    fresh.append(item.function)
                if item.options.realloc is not None:
                    waiting.append(item.options.realloc)
    return list(functions), list(generated)


def _exported(exports: Mapping[str, Export]) -> Iterator[Function]:
    for one in exports.values():
        if isinstance(one, InstanceExports):
            yield from _exported(one.items)
        elif isinstance(one, FunctionExport):
            yield one.function
