"""Class Component: a WebAssembly component, and class ComponentInstance, which is made of it."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..checks import check_callable
from ..engines import GuestLimits
from ..errors import UnsupportedModuleError
from ..exports import unknown
from ..hiwire import Hiwire
from ..objects import Prepared, Space, ThreadGuard, new_space
from ..resources import Closing, Unique
from ..sources import WasmSource, read_wasm
from .abi import Codecs
from .assemble import Assembly, assemble
from .calls import Caller, exported, hosted
from .classes import Classes, class_name, python_name
from .decode import decode
from .glue import HostCall, HostDestructor
from .handles import HostResource, ResourceHandle, Resources
from .inline import inline
from .link import Linked, prepare_all
from .plan import Export, FunctionExport, HostFunction, InstanceExports
from .types import Borrow, Enum, Flags, Record, Resource, Variant

__all__ = ["Component", "ComponentInstance", "InstanceNamespace"]

_ANNOTATED = re.compile(r"\[(constructor|method|static)\]([^.]+)(?:\.(.+))?")


class Component:
    """A WebAssembly component: modules that call each other by typed functions, composed of others or not.

    It is decoded and planned once, and can be instantiated often, on every engine.

    Args:
        wasm: the component's bytes, or the path of its file.

    Raises:
        UnsupportedModuleError: the bytes are no component, an invalid one, or one with features that are not
            supported: what is asynchronous above all.
    """

    def __init__(self, wasm: WasmSource) -> None:
        data, self._what = read_wasm(wasm)
        self._plan = inline(decode(data))
        self._assembly = assemble(self._plan)
        self._prepared: dict[tuple[str, object], list[Prepared]] = {}
        self.imports: Mapping[str, Export] = self._plan.imports
        """What must be given to `instantiate`: name -> function, instance or type."""
        self.exports: Mapping[str, Export] = self._plan.exports
        """The same for what an instance has."""

    def instantiate(
        self,
        imports: Mapping[str, Any] | None = None,
        *,
        engine: str | None = None,
        hiwire: Hiwire | None = None,
        memory_limit: int | None = None,
        table_limit: int | None = None,
        deadline: float | None = None,
        fuel: int | None = None,
    ) -> ComponentInstance:
        """Make an instance.

        Args:
            imports: what the component imports, by name: for an instance a mapping, or an object with such
                attributes; for a function a callable, for a resource a `HostResource`. A version in the name,
                as in ``wasi:io/streams@0.2.0``, may be left out.
            engine: one of the names that `engines` lists.
            hiwire: the table for Python objects that are resources; None: one is made.
            memory_limit, table_limit, deadline, fuel: as for a `Guest`, of each memory and table, and of each
                call from outside.

        Raises:
            UnsupportedModuleError: an import is missing, or does not fit.
            GuestTrap: a start function trapped.
            TypeError: what is given for an import is of the wrong kind.
        """
        limits = GuestLimits(memory_limit, table_limit, deadline, fuel)
        return ComponentInstance(self, {} if imports is None else imports, engine, hiwire, limits)

    def _for(self, space: Space) -> list[Prepared]:
        """Its modules, compiled for a space's engine."""
        key = space.engine.name, id(space.engine)
        if key not in self._prepared:
            self._prepared[key] = prepare_all(self._assembly, space)
        return self._prepared[key]

    def __repr__(self) -> str:
        return f"<Component {self._what}, {len(self.imports)} imports, {len(self.exports)} exports>"


class ComponentInstance(Closing, Mapping[str, Any]):
    """An instance of a component: a mapping of what it exports, by the names in the component.

    A function is a callable, and an instance an `InstanceNamespace`. It belongs to the thread that made it,
    as a guest does, and ends when it is closed or no longer used.
    """

    def __init__(
        self,
        component: Component,
        imports: Mapping[str, Any],
        engine: str | None,
        hiwire: Hiwire | None,
        limits: GuestLimits,
    ) -> None:
        plan, what = component._plan, component._what
        given = _Given(imports, what)
        hosts = {
            resource: given.resource(definition.path)
            for resource, definition in plan.resources.items()
            if definition.definer is None
        }
        if hosts and hiwire is None:
            hiwire = Hiwire(engine=engine, deadline=limits.deadline, fuel=limits.fuel)
        space = new_space(engine, limits) if hiwire is None else hiwire.space
        self._component = component
        self._guard = ThreadGuard("component instance")
        self._own_space = hiwire is None
        resources = self._resources = Resources(hiwire)
        resources.hosts = hosts
        classes = Classes()
        caller = Caller(resources, Codecs(classes))
        _name_types(plan.exports, "", classes)
        _name_types(plan.imports, "", classes)

        def host(linked: Linked, source: HostCall | HostDestructor) -> Any:
            resources.linked = linked
            if isinstance(source, HostDestructor):
                assert hiwire is not None
                return hiwire.exports["hiwire_decref"]
            function = given.function(source.function)
            return hosted(caller, source, function)

        linked = Linked(component._assembly, component._for(space), space, self._guard, host, what)
        resources.linked = linked
        self._exports = _Exporter(caller, component._assembly, what).lazy(plan.exports)
        resources.export = _finder(plan.exports, weakref.ref(self._exports))

    def __getitem__(self, name: str) -> Any:
        try:
            return self._exports[name]
        except KeyError:
            found = _versionless(name, self._exports.exports)
            if found is not None:
                return self._exports[found]
            raise KeyError(unknown(name, self._exports.exports)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._exports.exports)

    def __len__(self) -> int:
        return len(self._exports.exports)

    def close(self) -> None:
        """Let no one in any more, and let go of everything: now, or when the running call returns.
        Idempotent. Resources that are still there are not destroyed one by one."""
        if self._guard.owner is None:
            return
        self._guard.check()
        linked = self._resources.linked
        assert linked is not None
        if self._own_space:
            linked.space.calls.close()
        else:
            for instance in linked.instances:
                instance.close()
            self._guard.close()

    def __repr__(self) -> str:
        state = "closed " if self._guard.owner is None else ""
        linked = self._resources.linked
        engine = "" if linked is None else f" on {linked.space.engine.name}"
        return f"<{state}instance of {self._component._what}{engine}: {', '.join(self)}>"


class InstanceNamespace(Unique, Mapping[str, Any]):
    """What an exported instance has: functions and classes, as attributes by their names in Python, and as
    items by their names in WIT: ``i["demo:bags/bags"].Bag``, ``i["demo:bags/bags"]["[method]bag.put"]``."""

    def __init__(self, name: str, items: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        self.__dict__.update(attributes)
        self.__name = name
        self.__items = items

    def __getitem__(self, name: str) -> Any:
        try:
            return self.__items[name]
        except KeyError:
            raise KeyError(unknown(name, self.__items)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.__items)

    def __len__(self) -> int:
        return len(self.__items)

    def __repr__(self) -> str:
        return f"<{self.__name}: {', '.join(self.__items)}>"


# ---- exports


class _Lazy(dict[str, Any]):
    """What an instance exports, each made when it is first asked for."""

    def __init__(self, exports: Mapping[str, Export], make: Callable[[str], Any]) -> None:
        self.exports = exports
        self.make = make

    def __missing__(self, name: str) -> Any:
        if name not in self.exports:
            raise KeyError(name)
        self[name] = made = self.make(name)
        return made


def _resources_in(export: Export) -> Iterator[Resource]:
    if isinstance(export, Resource):
        yield export
    elif isinstance(export, InstanceExports):
        for one in export.items.values():
            yield from _resources_in(one)


def _finder(exports: Mapping[str, Export], made: weakref.ref[_Lazy]) -> Callable[[Resource], object]:
    """What makes the export that a resource is in. It does not hold the exports, which hold it."""
    where: dict[Resource, str] = {}
    for name, one in exports.items():
        for resource in _resources_in(one):
            where.setdefault(resource, name)

    def find(resource: Resource) -> object:
        lazy, name = made(), where.get(resource)
        return None if lazy is None or name is None else lazy[name]

    return find


class _Exporter:
    """Makes what Python has of a component's exports."""

    def __init__(self, caller: Caller, assembly: Assembly, what: str) -> None:
        self.caller = caller
        self.assembly = assembly
        self.what = what

    def lazy(self, exports: Mapping[str, Export]) -> _Lazy:
        """By the names in the component."""
        exported = {name: one for name, one in exports.items() if _is_shown(one)}
        return _Lazy(exported, lambda name: self.one(name, exported, self.what))

    def one(self, name: str, exports: Mapping[str, Export], where: str) -> Any:
        """One export."""
        export = exports[name]
        if isinstance(export, Resource):
            return self.resource(export, name, where)
        if isinstance(export, FunctionExport):
            return self.function(export, name, where)
        if isinstance(export, InstanceExports):
            inner = {key: one for key, one in export.items.items() if _is_shown(one)}
            # Classes first: functions may belong to them.
            order = sorted(inner, key=lambda key: not isinstance(inner[key], Resource))
            made = {key: self.one(key, inner, name) for key in order}
            return InstanceNamespace(name, {key: made[key] for key in inner}, self.attributes(inner, made))
        return self.caller.codecs.classes.of(export)  # type: ignore[arg-type]

    def resource(self, resource: Resource, name: str, where: str) -> type:
        """The class of a resource; the one that is there, if it was exported before."""
        resources = self.caller.resources
        if self.assembly.plan.resources[resource].definer is None:
            return resources.hosts[resource].cls
        known = resources.classes.get(resource)
        if known is None:
            names = {"_resources": resources, "_resource": resource, "__module__": where}
            names["__doc__"] = f"A handle to a ``{name}`` of {where}."
            known = resources.classes[resource] = type(class_name(name), (ResourceHandle,), names)
        return known

    def function(self, one: FunctionExport, name: str, where: str) -> Callable[..., Any]:
        """A function; one that belongs to a resource gets into its class as well."""
        if isinstance(one.function, HostFunction):
            raise UnsupportedModuleError(
                f"{self.what} exports {name}, which is what it imports as {'.'.join(one.function.path)}"
            )
        made = exported(self.caller, one.function, one.type, self.assembly.entries[one.function], name)
        made.__doc__ = f"The function ``{name}`` of {where}."
        annotated = _ANNOTATED.fullmatch(name)
        if annotated is not None:
            self.member(one, made, *annotated.groups())
        return made

    def member(
        self, one: FunctionExport, made: Callable[..., Any], kind: str, owner: str, name: str | None
    ) -> None:
        """Put a function into the class of its resource."""
        class_ = self.class_of(one, kind, owner)
        if class_ is None:
            return
        if kind == "constructor":

            def construct(self: ResourceHandle, *args: Any) -> None:
                other = made(*args)
                self._take(other._live(), True)
                other._lose("became another object")

            class_.__init__ = construct  # type: ignore[method-assign,assignment]
        elif kind == "static":
            setattr(class_, python_name(name or ""), staticmethod(made))
        else:

            def method(self: ResourceHandle, *args: Any) -> Any:
                return made(self, *args)

            method.__name__ = method.__qualname__ = python_name(name or "")
            method.__doc__ = made.__doc__
            setattr(class_, method.__name__, method)

    def class_of(self, one: FunctionExport, kind: str, owner: str) -> type[ResourceHandle] | None:
        """The class that a function of a resource belongs to, by its name in the same instance."""
        for resource, class_ in self.caller.resources.classes.items():
            if kind == "method":
                first = one.type.types[0]
                if isinstance(first, Borrow) and first.resource is resource:
                    return class_
            elif class_.__name__ == class_name(owner):
                return class_
        return None

    def attributes(self, exports: Mapping[str, Export], items: Mapping[str, Any]) -> dict[str, Any]:
        """By the names in Python; functions of resources are in their classes."""
        found: dict[str, Any] = {}
        for name, made in items.items():
            if isinstance(exports[name], FunctionExport):
                if not _ANNOTATED.fullmatch(name):
                    found[python_name(name)] = made
            elif isinstance(exports[name], InstanceExports):
                found[python_name(name)] = made
            else:
                found[class_name(name)] = made
        return found


def _is_shown(export: Export) -> bool:
    """Whether Python has something for it: not for types that have no class."""
    return isinstance(export, (FunctionExport, InstanceExports, Resource, Record, Variant, Enum, Flags))


def _name_types(items: Mapping[str, Export], module: str, classes: Classes) -> None:
    """Give the types of a component's edge the names that they have there."""
    for name, one in items.items():
        if isinstance(one, InstanceExports):
            _name_types(one.items, name, classes)
        elif isinstance(one, (Record, Variant, Enum, Flags)):
            classes.name(one, name, module)


# ---- imports


def _versionless(name: str, names: Mapping[str, Any]) -> str | None:
    """The one of some names that is this one but for its version."""
    if not isinstance(name, str) or "@" in name:
        return None
    found = [one for one in names if one.partition("@")[0] == name]
    return found[0] if len(found) == 1 else None


class _Given:
    """What was given for a component's imports."""

    def __init__(self, imports: Mapping[str, Any], what: str) -> None:
        if not isinstance(imports, Mapping):
            raise TypeError(f"imports must be a mapping of names, not {type(imports).__name__}")
        self.imports = imports
        self.what = what

    def missing(self, path: tuple[str, ...]) -> UnsupportedModuleError:
        return UnsupportedModuleError(
            f"{self.what} imports what it was not given: {' '.join(map(repr, path))}"
        )

    def item(self, path: tuple[str, ...]) -> Any:
        """What is at a path, or None."""
        first = path[0]
        found = self.imports.get(first)
        if found is None and "@" in first:
            found = self.imports.get(first.partition("@")[0])
        for name in path[1:]:
            if found is None:
                return None
            if isinstance(found, Mapping):
                items = found
                found = items.get(name, items.get(python_name(name), items.get(class_name(name))))
            else:
                found = getattr(found, python_name(name), None)
        return found

    def resource(self, path: tuple[str, ...]) -> HostResource:
        """The class for a resource."""
        found = self.item(path)
        if found is None:
            raise self.missing(path)
        if not isinstance(found, HostResource):
            raise TypeError(
                f"the resource {' '.join(path)} must be a HostResource, not {type(found).__name__}"
            )
        return found

    def function(self, function: HostFunction) -> Callable[..., Any]:
        """The Python function for an import."""
        path = function.path
        found = self.item(path)
        annotated = _ANNOTATED.fullmatch(path[-1])
        if found is None and annotated is not None:
            kind, owner, name = annotated.groups()
            host = self.item((*path[:-1], owner))
            if isinstance(host, HostResource):
                found = host.cls if kind == "constructor" else getattr(host.cls, python_name(name), None)
        if found is None:
            raise self.missing(path)
        check_callable(found, f"import {' '.join(path)}")
        return found  # type: ignore[no-any-return]
