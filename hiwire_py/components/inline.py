"""From a valid component to the plan of its instantiation: components in each other are taken apart.

Definitions are executed in order, as instantiating does it, except that core modules are not instantiated: a
step of the plan stands for that, and what it exports is known by number and name. Nothing here depends on an
engine, or on what is imported; all that can be wrong with a component was found by validate.py.

The words of this file: a *closure* is a component, or the type of one or of an instance, with the scope
around it; a *level* has the index spaces of one scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import UnsupportedModuleError
from . import definitions as d
from .evaluate import evaluate
from .plan import (
    ComponentInstance,
    CoreExport,
    CoreItem,
    Export,
    Function,
    FunctionExport,
    HostFunction,
    InstanceExports,
    Instantiate,
    Lifted,
    Lower,
    Options,
    Plan,
    ResourceDefinition,
    ResourceDrop,
    ResourceNew,
    ResourceRep,
)
from .types import FuncType, Resource

__all__ = ["inline"]

_BUILTINS = {"resource.new": ResourceNew, "resource.rep": ResourceRep, "resource.drop": ResourceDrop}


class _Func(NamedTuple):
    """A function, and its type as the scope at hand knows it."""

    function: Function
    type: FuncType


@dataclass
class _Closure:
    """``body`` is a `Component`, `ComponentType` or `InstanceType`."""

    body: Any
    level: _Level


_Instance = Mapping[str, Any]  # what it exports: `_Func`, `_Instance`, `_Closure`, Resource or a type


class _Level:
    """Index spaces; ``instance`` is the number of the component instance, None within types."""

    def __init__(self, parent: _Level | None, instance: int | None) -> None:
        self.parent = parent
        self.instance = instance
        self.spaces: dict[str, list[Any]] = {}

    def of(self, sort: str) -> list[Any]:
        return self.spaces.setdefault(sort, [])

    def up(self, count: int) -> _Level:
        level = self
        for _ in range(count):
            assert level.parent is not None
            level = level.parent
        return level


def inline(component: d.Component) -> Plan:
    """The plan of a valid component.

    Raises:
        UnsupportedModuleError: it imports a core module or a component.
    """
    return _Inliner().root(component)


class _Inliner:
    """Makes one plan."""

    def __init__(self) -> None:
        self.plan = Plan()
        self.modules: dict[bytes, int] = {}

    def root(self, component: d.Component) -> Plan:
        level = _Level(None, 0)
        self.plan.instances.append(ComponentInstance(None, ""))
        exports = self.body(component, level, None)
        self.plan.exports = _at_the_edge(exports)
        return self.plan

    def body(self, component: d.Component, level: _Level, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """Execute definitions; what they export. ``given`` is None for the root, whose imports are the
        host's."""
        exports: dict[str, Any] = {}
        for _, one in component.definitions:
            if isinstance(one, d.Import):
                name = one.name.text
                if given is None:
                    item = self.host(level, one.type, (name,))
                    self.plan.imports.update(_at_the_edge({name: item}))
                else:
                    item = _seen_as(level, one.type, given[name])
                level.of(one.type.sort).append(item)
            elif isinstance(one, d.Export):
                assert one.target is not None
                item = level.of(one.target.sort)[one.target.index]
                if one.type is not None:
                    item = _seen_as(level, one.type, item)
                if isinstance(item, Resource) and not item.name:
                    item.name = one.name.text
                level.of(one.target.sort).append(item)
                exports[one.name.text] = item
            else:
                self.define(level, one)
        return exports

    def define(self, level: _Level, one: d.Definition) -> None:
        """A definition that is no import or export."""
        if isinstance(one, d.CoreModule):
            level.of("core module").append(self.module(one))
        elif isinstance(one, d.CoreInstantiate):
            level.of("core instance").append(self.instantiate_core(level, one))
        elif isinstance(one, d.CoreExports):
            found = {name: level.of(target.sort)[target.index] for name, target in one.exports}
            level.of("core instance").append(found)
        elif isinstance(one, d.Component):
            level.of("component").append(_Closure(one, level))
        elif isinstance(one, d.Instantiate):
            level.of("instance").append(self.instantiate(level, one))
        elif isinstance(one, d.InlineExports):
            found = {name.text: level.of(target.sort)[target.index] for name, target in one.exports}
            level.of("instance").append(found)
        elif isinstance(one, d.Alias) and one.kind == "core export":
            level.of(one.sort).append(level.of("core instance")[one.index][one.name])
        elif isinstance(one, d.TypeDef) and isinstance(one.type, d.ResourceDef):
            level.of("type").append(self.resource(level, one.type))
        elif isinstance(one, d.Lift):
            type_ = level.of("type")[one.type]
            lifted = Lifted(level.of("core func")[one.core], type_, _options(level, one.options))
            level.of("func").append(_Func(lifted, type_))
        elif isinstance(one, d.LowerDef):
            lowered = Lower(level.of("func")[one.func].function, _options(level, one.options))
            level.of("core func").append(lowered)
        elif isinstance(one, d.ResourceBuiltin):
            assert level.instance is not None
            resource = level.of("type")[one.resource]
            level.of("core func").append(_BUILTINS[one.name](resource, level.instance))
        else:
            _declare(level, one)

    # ---- core modules

    def module(self, one: d.CoreModule) -> int:
        wasm = one.module.wasm
        if wasm not in self.modules:
            self.modules[wasm] = len(self.plan.modules)
            self.plan.modules.append(one.module)
        return self.modules[wasm]

    def instantiate_core(self, level: _Level, one: d.CoreInstantiate) -> dict[str, CoreItem]:
        assert level.instance is not None
        index = level.of("core module")[one.module]
        given = {name: level.of("core instance")[i] for name, i in one.arguments}
        module, number = self.plan.modules[index], len(self.plan.steps)
        arguments = {(i.module, i.name): given[i.module][i.name] for i in module.imports}
        self.plan.steps.append(Instantiate(index, arguments, level.instance))
        return {e.name: CoreExport(number, e.name, e.kind) for e in module.exports}

    # ---- components

    def instantiate(self, level: _Level, one: d.Instantiate) -> dict[str, Any]:
        closure: _Closure = level.of("component")[one.component]
        given = {name: level.of(target.sort)[target.index] for name, target in one.arguments}
        number, place = len(self.plan.instances), len(level.of("instance"))
        assert level.instance is not None
        outer = self.plan.instances[level.instance].name
        self.plan.instances.append(ComponentInstance(level.instance, f"{outer}/{place}".lstrip("/")))
        return self.body(closure.body, _Level(closure.level, number), given)

    def resource(self, level: _Level, defined: d.ResourceDef) -> Resource:
        destructor = None if defined.destructor is None else level.of("core func")[defined.destructor]
        return self.new_resource(ResourceDefinition(0, Resource(), level.instance, destructor))

    def new_resource(self, definition: ResourceDefinition) -> Resource:
        definition.number = len(self.plan.resources) + 1
        self.plan.resources[definition.resource] = definition
        return definition.resource

    # ---- what the host gives

    def host(self, level: _Level, type_: d.ExternType, path: tuple[str, ...]) -> Any:
        """What the root imports, as its type describes it."""
        if type_.sort == "type":
            if type_.index is not None:
                return level.of("type")[type_.index]
            return self.new_resource(ResourceDefinition(0, Resource(path[-1]), None, None, path))
        assert type_.index is not None
        if type_.sort == "func":
            functype = level.of("type")[type_.index]
            return _Func(HostFunction(path, functype), functype)
        if type_.sort == "instance":
            return self.host_instance(level.of("type")[type_.index], path)
        raise UnsupportedModuleError(
            f"the component imports {'.'.join(path)}, a {type_.sort}: only functions, instances and types"
            " can be imported from the host; compose it with what it needs first"
        )

    def host_instance(self, closure: _Closure, path: tuple[str, ...]) -> dict[str, Any]:
        level = _Level(closure.level, None)
        found: dict[str, Any] = {}
        for one in closure.body.declarations:
            if isinstance(one, d.Export):
                assert one.type is not None
                item = self.host(level, one.type, (*path, one.name.text))
                level.of(one.type.sort).append(item)
                found[one.name.text] = item
            else:
                _declare(level, one)
        return found


def _declare(level: _Level, one: d.Definition) -> None:
    """A definition that may also stand within a type: types and aliases."""
    if isinstance(one, d.CoreType):
        level.of("core type").append(one.type)
    elif isinstance(one, d.TypeDef):
        if isinstance(one.type, (d.ComponentType, d.InstanceType)):
            level.of("type").append(_Closure(one.type, level))
        else:
            assert not isinstance(one.type, d.ResourceDef)
            level.of("type").append(evaluate(one.type, level.of("type")))
    else:
        assert isinstance(one, d.Alias)
        if one.kind == "outer":
            level.of(one.sort).append(level.up(one.count).of(one.sort)[one.index])
        else:
            level.of(one.sort).append(level.of("instance")[one.index][one.name])


def _seen_as(level: _Level, type_: d.ExternType, item: Any) -> Any:
    """An item as a type describes it: functions with that type's own types, and without what that does not
    have. Of a type, which is equal to the one described, the item stays, as names are found by it."""
    if type_.sort == "func" and type_.index is not None:
        return _Func(item.function, level.of("type")[type_.index])
    if type_.sort == "instance" and type_.index is not None:
        closure: _Closure = level.of("type")[type_.index]
        inner = _Level(closure.level, None)
        found: dict[str, Any] = {}
        for one in closure.body.declarations:
            if isinstance(one, d.Export):
                assert one.type is not None
                part = _seen_as(inner, one.type, item[one.name.text])
                inner.of(one.type.sort).append(part)
                found[one.name.text] = part
            else:
                _declare(inner, one)
        return found
    return item


def _options(level: _Level, given: d.OptionList) -> Options:
    assert level.instance is not None
    functions, memories = level.of("core func"), level.of("core memory")
    return Options(
        level.instance,
        given.encoding or "utf8",
        None if given.memory is None else memories[given.memory],
        None if given.realloc is None else functions[given.realloc],
        None if given.post_return is None else functions[given.post_return],
    )


def _at_the_edge(items: Mapping[str, Any]) -> dict[str, Export]:
    """As the plan has it. Types of functions, instances and components have no use there, and are left
    out."""
    found: dict[str, Export] = {}
    for name, item in items.items():
        if isinstance(item, _Func):
            found[name] = FunctionExport(item.function, item.type)
        elif isinstance(item, Mapping):
            found[name] = InstanceExports(_at_the_edge(item))
        elif not isinstance(item, (FuncType, _Closure)):
            found[name] = item
    return found
