"""Whether a component is valid: every rule for what decode.py reads, except those inside of core modules.

Definitions are gone through once, in order, as inline.py does it with what they stand for; here with their
types. Index spaces, names, what may refer to what, arguments of instances, canonical definitions: an invalid
component is refused with the rule, the definition and the byte at which that stands.

scopes.py says what a scope is, and abstract.py what types are here.

Format: component model, Binary.md (its notes), Explainer.md, CanonicalABI.md ("canonopt Validation").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..errors import UnsupportedModuleError
from . import definitions as d
from .abstract import (
    I32,
    ComponentType,
    Extern,
    Func,
    InstanceType,
    Item,
    Resource,
    Substitution,
    Types,
    Value,
    View,
    free_resources,
    has_free,
    join_flat,
    measure,
    resources_of,
)
from .cores import CoreExtern, CoreTypes, ModuleType
from .match import Matcher
from .names import Invalid, article, check_labels
from .scopes import LABELLED, Scope

__all__ = ["core_modules", "validate"]

_MOST_COMPONENTS = 1000  # modules and components in one; wasm-tools has the same bounds
_LONGEST = {"record": 10_000, "variant": 10_000, "tuple": 10_000, "enum": 10_000, "flags": 32}
_MOST_PARAMETERS = 1000
_KEYS = frozenset(("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "char", "string"))  # of maps
_CORE_KINDS = {
    "core func": "function",
    "core table": "table",
    "core memory": "memory",
    "core global": "global",
    "core tag": "tag",
}
_ITEMS: dict[str, type] = {"func": Func, "instance": InstanceType, "component": ComponentType}


def validate(component: d.Component, check_core: Callable[[bytes], None] | None = None) -> None:
    """Check all rules for a component and for the components in it.

    Args:
        check_core: raises UnsupportedModuleError for bytes that are no valid core module; None: the modules
            are validated elsewhere.

    Raises:
        UnsupportedModuleError: a rule is broken.
    """
    try:
        _Validator(check_core).component(component, None)
    except RecursionError:
        raise UnsupportedModuleError(
            "invalid component: it is nested too deep for the stack that is left"
        ) from None


def core_modules(component: d.Component) -> Iterator[bytes]:
    """The core modules of a component and of those in it."""
    for _, one in component.definitions:
        if isinstance(one, d.CoreModule):
            yield one.module.wasm
        elif isinstance(one, d.Component):
            yield from core_modules(one)


class _Validator:
    """Goes through one component and those in it."""

    def __init__(self, check_core: Callable[[bytes], None] | None) -> None:
        self.check_core = check_core
        self.types = Types()
        self.core = CoreTypes()
        self.matcher = Matcher(self.types, self.core)
        self.count = 1

    def component(self, component: d.Component, parent: Scope | None) -> ComponentType:
        """The type of a component, whose definitions are gone through."""
        scope = Scope("component", parent, self.types)
        at = 8
        for at, one in component.definitions:
            try:
                self.define(scope, one)
            except Invalid as error:
                raise UnsupportedModuleError(
                    f"invalid component: {_thing(one)} at byte {at}: {error}"
                ) from None
        try:
            return self.finished(scope)
        except Invalid as error:
            raise UnsupportedModuleError(
                f"invalid component: that which ends after byte {at}: {error}"
            ) from None

    def define(self, scope: Scope, one: d.Definition) -> None:
        self._definitions[type(one)](self, scope, one)

    # ---- core modules and instances

    def core_module(self, scope: Scope, one: d.CoreModule) -> None:
        self.one_more()
        if self.check_core is not None:
            try:
                self.check_core(one.module.wasm)
            except UnsupportedModuleError as error:
                raise Invalid(f"the core module is invalid: {error}") from None
        scope.of("core module").append(self.core.module(one.module))

    def one_more(self) -> None:
        self.count += 1
        if self.count > _MOST_COMPONENTS:
            raise Invalid(f"there are more than {_MOST_COMPONENTS} modules and components")

    def core_instantiate(self, scope: Scope, one: d.CoreInstantiate) -> None:
        module: ModuleType = scope.get("core module", one.module)
        given: dict[str, Mapping[str, CoreExtern]] = {}
        for name, index in one.arguments:
            if name in given:
                raise Invalid(f"two arguments are called {name!r}")
            given[name] = scope.get("core instance", index)
        for (first, second), wanted in module.imports.items():
            if first not in given:
                raise Invalid(f"the module imports from {first!r}, for which there is no argument")
            found = given[first].get(second)
            if found is None:
                raise Invalid(f"the argument {first!r} has no export {second!r}, which the module imports")
            try:
                self.core.check(found, wanted)
            except Invalid as error:
                raise Invalid(f"{second!r} of the argument {first!r} does not fit: {error}") from None
        scope.of("core instance").append(module.exports)

    def core_exports(self, scope: Scope, one: d.CoreExports) -> None:
        found: dict[str, CoreExtern] = {}
        for name, target in one.exports:
            if name in found:
                raise Invalid(f"two exports are called {name!r}")
            if target.sort not in _CORE_KINDS:
                raise Invalid(f"{name!r} is a {target.sort}, which a core instance cannot export")
            found[name] = CoreExtern(_CORE_KINDS[target.sort], scope.get(target.sort, target.index))
        scope.of("core instance").append(found)

    def core_type(self, scope: Scope, one: d.CoreType) -> None:
        if isinstance(one.type, d.CoreFunc):
            scope.of("core type").append(self.core.declared(one.type, scope.of("core type")))
        else:
            scope.of("core type").append(self.module_type(scope, one.type))

    def module_type(self, scope: Scope, type_: d.CoreModuleType) -> ModuleType:
        numbers: list[object] = []
        imports: dict[tuple[str, str], CoreExtern] = {}
        exports: dict[str, CoreExtern] = {}
        for one in type_.declarations:
            if isinstance(one, d.CoreFunc):
                numbers.append(self.core.declared(one, numbers))
            elif isinstance(one, d.CoreAliasOuter):
                if one.count == 0:
                    if one.index >= len(numbers):
                        raise Invalid(f"there is no core type {one.index} in the module type")
                    numbers.append(numbers[one.index])
                else:
                    found = scope.up(one.count - 1).get("core type", one.index)
                    if isinstance(found, ModuleType):
                        raise Invalid("a module type has an alias of a module type")
                    numbers.append(found)
            elif isinstance(one, d.CoreImportDecl):
                key = one.module, one.name
                if key in imports:
                    raise Invalid(f"the module type has two imports {one.module!r} {one.name!r}")
                imports[key] = self.core.extern(one.type, numbers)
            else:
                if one.name in exports:
                    raise Invalid(f"the module type has two exports {one.name!r}")
                exports[one.name] = self.core.extern(one.type, numbers)
        return ModuleType(imports, exports)

    # ---- components and instances

    def nested(self, scope: Scope, one: d.Component) -> None:
        self.one_more()
        scope.of("component").append(self.component(one, scope))

    def instantiate(self, scope: Scope, one: d.Instantiate) -> None:
        component: ComponentType = scope.get("component", one.component)
        given: dict[str, Extern] = {}
        for name, target in one.arguments:
            if name in given:
                raise Invalid(f"two arguments are called {name!r}")
            given[name] = self.target(scope, target, f"the argument {name!r}")
        settled = self.matcher.opened(given, component.imports, component.imported, "argument")
        for old in component.defined:
            new = Resource()
            settled.resources[old] = new
            scope.defined[new] = None
        exports = {name: settled.extern(item) for name, item in component.exports.items()}
        scope.of("instance").append(self.types.instance(exports, frozenset()))

    def target(self, scope: Scope, target: d.SortIndex, what: str) -> Extern:
        """What stands at an index, and may be passed between components."""
        if target.sort.startswith("core ") and target.sort != "core module":
            raise Invalid(f"{what} is a {target.sort}, which stays within a component")
        return Extern(target.sort, scope.get(target.sort, target.index))

    def inline_exports(self, scope: Scope, one: d.InlineExports) -> None:
        # Methods and the like need a resource that was exported before them in the same scope. What is
        # put together here exports without a scope, so it can have none.
        inner = Scope("instance type", None, self.types)
        for name, target in one.exports:
            found = self.target(scope, target, f"the export {name.text!r}")
            inner.check_name(name, "export", found)
            inner.exports[name.text] = found
        scope.of("instance").append(self.types.instance(inner.exports, frozenset()))

    def alias(self, scope: Scope, one: d.Alias) -> None:
        in_type = scope.kind != "component"
        if one.kind == "core export":
            if in_type:
                raise Invalid("an alias of a core instance stands within a type")
            if one.sort not in _CORE_KINDS:
                raise Invalid(f"an alias of an export of a core instance cannot be a {one.sort}")
            exports: Mapping[str, CoreExtern] = scope.get("core instance", one.index)
            found = exports.get(one.name)
            if found is None or found.kind != _CORE_KINDS[one.sort]:
                raise Invalid(f"core instance {one.index} has no {one.sort} {one.name!r}")
            scope.of(one.sort).append(found.type)
        elif one.kind == "export":
            if one.sort.startswith("core ") and one.sort != "core module":
                raise Invalid(f"an alias of an export of an instance cannot be a {one.sort}")
            if in_type and one.sort not in ("type", "instance"):
                raise Invalid(f"an alias of {article(one.sort)} stands within a type")
            instance: InstanceType = scope.get("instance", one.index)
            item = instance.exports.get(one.name)
            if item is None or item.sort != one.sort:
                raise Invalid(f"instance {one.index} has no {one.sort} {one.name!r}")
            scope.of(one.sort).append(item.item)
        else:
            self.outer_alias(scope, one, in_type)

    def outer_alias(self, scope: Scope, one: d.Alias, in_type: bool) -> None:
        allowed = ("type", "core type") if in_type else ("type", "core type", "core module", "component")
        if one.sort not in allowed:
            raise Invalid(f"an alias of what is outside cannot be a {one.sort} here")
        found = scope.up(one.count).get(one.sort, one.index)
        crossed = (scope.up(i).kind == "component" for i in range(one.count))
        if one.sort == "type" and any(crossed) and has_free(found):
            raise Invalid("the type outside has a resource type in it, which belongs to that component alone")
        scope.of(one.sort).append(found)

    # ---- types

    def type_def(self, scope: Scope, one: d.TypeDef) -> None:
        type_ = one.type
        found: Item
        if isinstance(type_, d.ResourceDef):
            found = self.resource(scope, type_)
        elif isinstance(type_, d.ComponentType):
            found = self.component_type(scope, type_)
        elif isinstance(type_, d.InstanceType):
            found = self.instance_type(scope, type_)
        elif isinstance(type_, d.Handle):
            view = scope.get("type", type_.resource)
            if not isinstance(view, View):
                raise Invalid(f"type {type_.resource}, to which the handle is, is no resource type")
            found = self.types.handle(type_.form, view)
        elif isinstance(type_, d.FuncDef):
            found = self.func(scope, type_)
        else:
            found = self.shape(scope, type_)
        scope.of("type").append(found)

    def resource(self, scope: Scope, type_: d.ResourceDef) -> View:
        if scope.kind != "component":
            raise Invalid("a resource type is defined within a type")
        if type_.representation != I32:
            raise Invalid("the representation of a resource type is not i32")
        if type_.destructor is not None:
            signature = self.core.signature(scope.get("core func", type_.destructor))
            if signature != ((type_.representation,), ()):
                raise Invalid("the destructor is not of type (i32) -> ()")
        resource = Resource()
        scope.defined[resource] = None
        scope.representations[resource] = type_.representation
        return self.types.view(resource)

    def value(self, scope: Scope, ref: d.ValueRef) -> Value:
        if isinstance(ref, str):
            return self.types.primitives[ref]
        found = scope.get("type", ref)
        if not isinstance(found, Value):
            raise Invalid(f"type {ref} is no value type")
        return found

    def func(self, scope: Scope, type_: d.FuncDef) -> Func:
        if type_.is_async:
            raise Invalid("asynchronous functions are not supported")
        if len(type_.params) > _MOST_PARAMETERS:
            raise Invalid(f"a function has more than {_MOST_PARAMETERS} parameters")
        check_labels(tuple(label for label, _ in type_.params), "parameter")
        params = tuple((label, self.value(scope, ref)) for label, ref in type_.params)
        result = None if type_.result is None else self.value(scope, type_.result)
        if result is not None and result.borrows:
            raise Invalid("there is a borrow in the result of a function")
        return self.types.func(params, result)

    def shape(self, scope: Scope, type_: d.Shape) -> Value:
        form = type_.form
        parts = tuple(None if ref is None else self.value(scope, ref) for ref in type_.types)
        if form == "primitive":
            assert parts[0] is not None
            return parts[0]
        longest = _LONGEST.get(form)
        if longest is not None:
            length = len(parts) if form == "tuple" else len(type_.labels)
            if not length:
                raise Invalid(f"the {form} type is empty")
            if length > longest:
                raise Invalid(f"the {form} type has {length} parts: more than {longest}")
        if form in LABELLED:
            check_labels(type_.labels, LABELLED[form])
        if type_.length == 0:
            raise Invalid("a list of fixed length is empty")
        if form == "map" and (parts[0] is None or parts[0].form not in _KEYS):
            raise Invalid(f"{parts[0]} cannot be the key of a map")
        return self.types.value(form, type_.labels, parts, type_.length)

    def component_type(self, scope: Scope, type_: d.ComponentType) -> ComponentType:
        inner = Scope("component type", scope, self.types)
        self.declarations(inner, type_.declarations)
        return self.finished(inner)

    def instance_type(self, scope: Scope, type_: d.InstanceType) -> InstanceType:
        inner = Scope("instance type", scope, self.types)
        self.declarations(inner, type_.declarations)
        used = free_resources(one.item for one in inner.exports.values())
        return self.types.instance(inner.exports, frozenset(one for one in inner.defined if one in used))

    def declarations(self, scope: Scope, declarations: Iterable[d.Declaration]) -> None:
        for number, one in enumerate(declarations):
            try:
                self.define(scope, one)
            except Invalid as error:
                raise Invalid(f"declaration {number}, {_thing(one)}: {error}") from None

    def extern_type(self, scope: Scope, type_: d.ExternType) -> Extern:
        """What the type of an import or export describes."""
        if type_.sort == "type":
            if type_.index is None:
                return Extern("type", self.types.view(Resource()))
            return Extern("type", self.types.named(scope.get("type", type_.index)))
        assert type_.index is not None
        if type_.sort == "core module":
            found = scope.get("core type", type_.index)
            if not isinstance(found, ModuleType):
                raise Invalid(f"core type {type_.index} is not that of a module")
            return Extern("core module", found)
        item: Item = scope.get("type", type_.index)
        if not isinstance(item, _ITEMS[type_.sort]):
            raise Invalid(f"type {type_.index} is not that of {article(type_.sort)}")
        return Extern(type_.sort, item)

    def finished(self, scope: Scope) -> ComponentType:
        """The type of a component whose definitions are all there."""
        if any(one in scope.defined for one in free_resources(e.item for e in scope.imports.values())):
            raise Invalid("an import has a resource type in it that is defined here")
        paths: dict[Resource, tuple[str, ...]] = {}
        for name, one in scope.exports.items():
            if isinstance(one.item, View):
                paths.setdefault(one.item.resource, (name,))
            elif one.sort == "instance" and isinstance(one.item, InstanceType):
                self.types.spend(len(one.item.exports) + len(resources_of(one.item)))
                for resource, path in resources_of(one.item).items():
                    paths.setdefault(resource, (name, *path))
        used = free_resources(e.item for e in scope.exports.values())
        defined = {}
        for resource in scope.defined:
            if resource in used:
                if resource not in paths:
                    raise Invalid("an export has a resource type in it that is not exported itself")
                defined[resource] = paths[resource]
        size, depth = measure(e.item for e in (*scope.imports.values(), *scope.exports.values()))
        return ComponentType(scope.imports, scope.exports, scope.imported, defined, size, depth)

    # ---- imports and exports

    def import_(self, scope: Scope, one: d.Import) -> None:
        found, name = self.extern_type(scope, one.type), one.name.text
        if isinstance(found.item, View):
            if one.type.index is None:
                scope.imported[found.item.resource] = (name,)
        elif found.sort == "instance":
            found, fresh = self.fresh(found, name)
            scope.imported.update(fresh)
        scope.enter("import", one.name, found)

    def export(self, scope: Scope, one: d.Export) -> None:
        name = one.name.text
        if one.target is None:
            # Only a type declares, without something that there is.
            assert one.type is not None
            found = self.extern_type(scope, one.type)
            if isinstance(found.item, View):
                if one.type.index is None:
                    scope.defined[found.item.resource] = None
            elif found.sort == "instance":
                found, fresh = self.fresh(found, name)
                scope.defined.update(dict.fromkeys(fresh))
        else:
            found = self.target(scope, one.target, "what is exported")
            if found.sort == "type":
                found = Extern("type", self.types.named(found.item))
            if one.type is not None:
                wanted = self.extern_type(scope, one.type)
                try:
                    self.matcher.check(found, wanted)
                except Invalid as error:
                    raise Invalid(f"what is exported is not of the type that is given: {error}") from None
                found = wanted
        scope.enter("export", one.name, found)

    def fresh(self, one: Extern, name: str) -> tuple[Extern, dict[Resource, tuple[str, ...]]]:
        """An instance with resource types of its own, where its type has any; those, and where they are."""
        assert isinstance(one.item, InstanceType)
        if not one.item.bound:
            return one, {}
        self.types.spend(len(one.item.exports) + len(one.item.bound))
        new = {old: Resource() for old in one.item.bound}
        settled = Substitution(self.types, new)
        item = one.item
        exports = {key: settled.extern(part) for key, part in item.exports.items()}
        found = InstanceType(exports, frozenset(), item.size, item.depth)
        places = resources_of(item)
        return Extern("instance", found), {new[old]: (name, *places[old]) for old in item.bound}

    # ---- canonical definitions

    def lift(self, scope: Scope, one: d.Lift) -> None:
        type_ = scope.get("type", one.type)
        if not isinstance(type_, Func):
            raise Invalid(f"type {one.type} is no function type")
        params, results, many, returned = _core_type(type_)
        self.check_options(scope, one.options)
        if returned:
            results = (I32,)
        needs_realloc = many or any(value.pointers for _, value in type_.params)
        self.check_needs(
            one.options,
            needs_realloc or returned or (type_.result is not None and type_.result.pointers),
            needs_realloc,
        )
        signature = self.core.signature(scope.get("core func", one.core))
        if signature != (params, results):
            given = self.core.text(scope.get("core func", one.core))
            wanted = self.core.text(self.core.function(params, results))
            raise Invalid(f"core func {one.core} has the type {given}: for this function it must be {wanted}")
        if one.options.post_return is not None:
            found = self.core.signature(scope.get("core func", one.options.post_return))
            if found != (results, ()):
                raise Invalid("post-return does not take the results of the core function, or has a result")
        scope.of("func").append(type_)

    def lower(self, scope: Scope, one: d.LowerDef) -> None:
        type_: Func = scope.get("func", one.func)
        params, results, many, returned = _core_type(type_)
        self.check_options(scope, one.options)
        if one.options.post_return is not None:
            raise Invalid("post-return is no option of a function that is lowered")
        needs_realloc = type_.result is not None and type_.result.pointers
        self.check_needs(
            one.options,
            many or returned or needs_realloc or any(value.pointers for _, value in type_.params),
            needs_realloc,
        )
        if returned:
            params, results = (*params, I32), ()
        scope.of("core func").append(self.core.function(params, results))

    def check_options(self, scope: Scope, options: d.OptionList) -> None:
        """What holds of options wherever they stand."""
        if options.memory is not None:
            memory = scope.get("core memory", options.memory)
            if memory.wide:
                raise Invalid("the memory has addresses of 64 bits")
            if memory.shared:
                raise Invalid("the memory is shared")
        if options.realloc is not None:
            signature = self.core.signature(scope.get("core func", options.realloc))
            if options.memory is None:
                raise Invalid("realloc is there without a memory")
            if signature != ((I32,) * 4, (I32,)):
                raise Invalid("realloc is not of type (i32, i32, i32, i32) -> (i32)")

    def check_needs(self, options: d.OptionList, memory: bool, realloc: bool) -> None:
        if memory and options.memory is None:
            raise Invalid("the function needs a memory for its values")
        if realloc and options.realloc is None:
            raise Invalid("the function needs realloc for its values")

    def builtin(self, scope: Scope, one: d.ResourceBuiltin) -> None:
        view = scope.get("type", one.resource)
        if not isinstance(view, View):
            raise Invalid(f"type {one.resource} is no resource type")
        if one.name == "resource.drop":
            number = self.core.function((I32,), ())
        else:
            if view.resource not in scope.representations:
                raise Invalid(f"{one.name} is for resource types that are defined in the same component")
            number = self.core.function((I32,), (I32,))
        scope.of("core func").append(number)

    _definitions: dict[type, Callable[[_Validator, Scope, Any], None]] = {
        d.CoreModule: core_module,
        d.CoreInstantiate: core_instantiate,
        d.CoreExports: core_exports,
        d.CoreType: core_type,
        d.Component: nested,
        d.Instantiate: instantiate,
        d.InlineExports: inline_exports,
        d.Alias: alias,
        d.TypeDef: type_def,
        d.Lift: lift,
        d.LowerDef: lower,
        d.ResourceBuiltin: builtin,
        d.Import: import_,
        d.Export: export,
    }


def _core_type(type_: Func) -> tuple[tuple[int, ...], tuple[int, ...], bool, bool]:
    """Core parameters and results of a function, and whether it has too many of each, so that they pass in
    memory: then there is an address among the parameters, and of results there are none here."""
    params = join_flat(one for _, one in type_.params)
    many = params is None
    results = () if type_.result is None else type_.result.flat
    returned = results is None or len(results) > 1
    return (
        (I32,) if params is None else params,
        () if results is None or returned else results,
        many,
        returned,
    )


def _thing(one: d.Definition) -> str:
    """A definition in words."""
    if isinstance(one, (d.Import, d.Export)):
        return f"the {'import' if isinstance(one, d.Import) else 'export'} {one.name.text!r}"
    if isinstance(one, d.Alias):
        what = f"{one.name!r} of instance {one.index}" if one.name else f"{one.index}, {one.count} scopes out"
        return f"the alias of {one.sort} {what}"
    if isinstance(one, d.TypeDef):
        return f"the {_TYPES.get(type(one.type), getattr(one.type, 'form', ''))} type"
    if isinstance(one, d.Instantiate):
        return f"the instance of component {one.component}"
    if isinstance(one, d.CoreInstantiate):
        return f"the instance of core module {one.module}"
    if isinstance(one, d.Lift):
        return f"the lifted core func {one.core}"
    if isinstance(one, d.LowerDef):
        return f"the lowered func {one.func}"
    if isinstance(one, d.ResourceBuiltin):
        return f"{one.name} of type {one.resource}"
    return _OTHERS[type(one)]


_TYPES = {
    d.FuncDef: "function",
    d.ResourceDef: "resource",
    d.ComponentType: "component",
    d.InstanceType: "instance",
}
_OTHERS = {
    d.CoreModule: "the core module",
    d.CoreExports: "the core instance of exports",
    d.CoreType: "the core type",
    d.Component: "the component in it",
    d.InlineExports: "the instance of exports",
}
