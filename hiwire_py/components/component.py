"""Class Component: a WebAssembly component, and class ComponentInstance, which is made of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, Protocol

from ..checks import check_callable
from ..engines import GuestLimits, get_engine
from ..errors import UnsupportedModuleError
from ..exports import unknown
from ..hiwire import Hiwire
from ..objects import Prepared, Space, ThreadGuard, new_space
from ..resources import Closing, Unique
from ..sources import WasmSource, read_wasm
from ..wasm.module import Module
from .abi import Codecs
from .assemble import Assembly, assemble
from .calls import Caller, exported, hosted, initializer
from .classes import Classes, class_name, item_name, method_name, python_name
from .decode import decode
from .fused import component_in, load
from .glue import HostCall, HostDestructor
from .handles import HostResource, HostTable, ResourceHandle, Resources
from .inline import inline
from .link import Linked, prepare_all
from .plan import Export, FunctionExport, HostFunction, InstanceExports, Lifted, Plan
from .stub import stub
from .types import Enum, Flags, Record, Resource, Variant
from .validate import core_modules, validate
from .wit import ANNOTATED, Names, edge_names, function_text, wit

__all__ = ["Component", "ComponentInstance", "InstanceNamespace"]


class System(Protocol):
    """What gives a component its imports of a system: a `Wasi`, of which this package knows no more than
    this."""

    def component_imports(
        self, names: Iterable[str], longest: float | None
    ) -> Mapping[str, Mapping[str, Any]]:
        """Those of the names that it has: what is in them, where a class stands for a resource.

        Args:
            longest: seconds that a function may wait at most.
        """


class Component:
    """A WebAssembly component: modules that call each other by typed functions, composed of others or not.

    It is decoded and planned once, and can be instantiated often, on every engine.

    Args:
        wasm: the component's bytes, or the path of its file; also the module that `fuse` makes of one.
        hardened: handles of its handle tables have a generation, so that one which was given away is not
            taken for another that came later. A component that counts on the numbers of the canonical ABI may
            notice.

    Raises:
        UnsupportedModuleError: the bytes are no component, an invalid one, or one with features that are not
            supported: what is asynchronous above all.
    """

    def __init__(self, wasm: WasmSource, *, hardened: bool = False) -> None:
        data, self._what = read_wasm(wasm)
        self._assembly, self._spare = _assembled(data, hardened)
        self._plan = self._assembly.plan
        self._names = edge_names(self._plan)
        self._classes = _named_classes(self._plan, self._names)
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
        wasi: System | None = None,
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
            wasi: a `Wasi`, for what the component imports of WASI 0.2 and ``imports`` does not have.
            memory_limit, table_limit, deadline, fuel: as for a `Guest`, of each memory and table, and of each
                call from outside.

        Raises:
            UnsupportedModuleError: an import is missing, or does not fit.
            GuestTrap: a start function trapped.
            TypeError: what is given for an import is of the wrong kind.
        """
        limits = GuestLimits(memory_limit, table_limit, deadline, fuel)
        given = _Given({} if imports is None else imports, self._what)
        if wasi is not None and not hasattr(wasi, "component_imports"):
            raise TypeError(f"wasi must be a Wasi, not {type(wasi).__name__}")
        return ComponentInstance(self, given, wasi, engine, hiwire, limits)

    def wit(self) -> str:
        """What the component imports and exports, as WIT text: its world, and the interfaces it names.

        Raises:
            UnsupportedModuleError: something has a name that WIT cannot have, such as one with a URL.
        """
        return wit(self._plan)

    def stub(self, file: str = "app.wasm") -> str:
        """The component's types for type checkers, as the text of a ``.pyi`` file: see `stub`.

        Args:
            file: what the component's file is called, for the text's first lines.
        """
        return stub(self._plan, self._names, file)

    def _for(self, space: Space) -> list[Prepared]:
        """Its modules, compiled for a space's engine."""
        key = space.engine.name, id(space.engine)
        if key not in self._prepared:
            for wasm in self._spare:
                space.engine.validate(wasm)
            self._prepared[key] = prepare_all(self._assembly, space)
        return self._prepared[key]

    def __repr__(self) -> str:
        return f"<Component {self._what}, {len(self.imports)} imports, {len(self.exports)} exports>"


def _assembled(data: bytes, hardened: bool) -> tuple[Assembly, set[bytes]]:
    """The modules of a component, or of one that was fused; and those that are in it, but that nothing
    instantiates: an engine has to validate them all the same."""
    if data[:8] == b"\0asm\1\0\0\0":
        module = Module.parse(data)
        fused = component_in(module)
        if fused is not None:
            return load(module, fused), set()
    component = decode(data)
    validate(component)
    assembly = assemble(inline(component), hardened)
    return assembly, set(core_modules(component)) - {stage.module.wasm for stage in assembly.stages}


class ComponentInstance(Closing, Mapping[str, Any]):
    """An instance of a component: a mapping of what it exports, by the names in the component.

    A function is a callable, and an instance an `InstanceNamespace`. It belongs to the thread that made it,
    as a guest does, and ends when it is closed or no longer used.
    """

    def __init__(
        self,
        component: Component,
        given: _Given,
        wasi: System | None,
        engine: str | None,
        hiwire: Hiwire | None,
        limits: GuestLimits,
    ) -> None:
        plan, what = component._plan, component._what
        space = new_space(engine, limits) if hiwire is None else _shared(hiwire, engine, limits)
        if wasi is not None:
            given.add(wasi.component_imports(component.imports, space.limits.deadline))
        hosts = {
            resource: given.resource(definition.path)
            for resource, definition in plan.resources.items()
            if definition.definer is None
        }
        self._component = component
        self._guard = ThreadGuard("component instance")
        self._own_space = hiwire is None
        if hosts and hiwire is None:
            hiwire = HostTable(space)
        resources = self._resources = Resources(hiwire)
        resources.hosts = hosts
        caller = Caller(resources, Codecs(component._classes))

        def host(linked: Linked, source: HostCall | HostDestructor) -> Any:
            resources.linked = linked
            if isinstance(source, HostDestructor):
                assert hiwire is not None
                return hiwire.exports["hiwire_decref"]
            function = given.function(source.function)
            return hosted(caller, source, function)

        linked = Linked(component._assembly, component._for(space), space, self._guard, host, what)
        resources.linked = linked
        exporter = functools.partial(_Exporter, component._assembly, what, component._names)
        resources.make_class = functools.partial(_make_class, exporter, component._classes)
        self._exports = exporter(caller).lazy(plan.exports)

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


class _Exporter:
    """Makes what Python has of a component's exports."""

    def __init__(self, assembly: Assembly, what: str, names: Names, caller: Caller) -> None:
        self.caller = caller
        self.assembly = assembly
        self.what = what
        self.names = names

    def lazy(self, exports: Mapping[str, Export]) -> _Lazy:
        """By the names in the component."""
        exported = {name: one for name, one in exports.items() if _is_shown(one)}

        def make(name: str) -> Any:
            made = self.one(name, exported, self.what)
            if isinstance(exported[name], Resource):
                for other in exported:
                    annotated = ANNOTATED.fullmatch(other)
                    if annotated is not None and annotated[2] == name:
                        self.one(other, exported, self.what)  # puts it into the class
            return made

        return _Lazy(exported, make)

    def one(self, name: str, exports: Mapping[str, Export], where: str) -> Any:
        """One export."""
        export = exports[name]
        if isinstance(export, Resource):
            return self.resource(export, name, where)
        if isinstance(export, FunctionExport):
            return self.function(export, name, where, exports)
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
            names["__init__"] = _no_constructor
            known = resources.classes[resource] = type(class_name(name), (ResourceHandle,), names)
        return known

    def function(
        self, one: FunctionExport, name: str, where: str, exports: Mapping[str, Export]
    ) -> Callable[..., Any]:
        """A function; one that belongs to a resource gets into its class as well."""
        if isinstance(one.function, HostFunction):
            raise UnsupportedModuleError(
                f"{self.what} exports {name}, which is what it imports as {'.'.join(one.function.path)}"
            )
        made = exported(self.caller, one.function, one.type, self.assembly.entries[one.function], name)
        made.__doc__ = f"``{name}: {function_text(one.type, self.names)}`` of {where}."
        made.__signature__ = _signature([label for label, _ in one.type.params])  # type: ignore[attr-defined]
        annotated = ANNOTATED.fullmatch(name)
        if annotated is not None:
            owner = exports.get(annotated[2])
            class_ = self.caller.resources.classes.get(owner) if isinstance(owner, Resource) else None
            if class_ is not None:
                self.member(class_, one, made, annotated[1], annotated[3])
        return made

    def member(
        self,
        class_: type[ResourceHandle],
        one: FunctionExport,
        made: Callable[..., Any],
        kind: str,
        name: str | None,
    ) -> None:
        """Put a function into the class of its resource."""
        if kind == "constructor":
            assert isinstance(one.function, Lifted)
            entry, called = self.assembly.entries[one.function], made.__name__
            construct = initializer(self.caller, one.type, entry, called) or _construct(made)
            construct.__doc__ = made.__doc__
            labels = ["self", *(label for label, _ in one.type.params)]
            construct.__signature__ = _signature(labels)  # type: ignore[attr-defined]
            class_.__init__ = construct  # type: ignore[method-assign]
        elif kind == "static":
            setattr(class_, method_name(name or ""), staticmethod(made))
        else:
            method = _named(made, method_name(name or ""))
            method.__qualname__ = f"{class_.__name__}.{method.__name__}"
            method.__doc__ = made.__doc__
            method.__signature__ = made.__signature__  # type: ignore[attr-defined]
            setattr(class_, method.__name__, method)

    def attributes(self, exports: Mapping[str, Export], items: Mapping[str, Any]) -> dict[str, Any]:
        """By the names in Python; functions of resources are in their classes."""
        found: dict[str, Any] = {}
        for name, made in items.items():
            if isinstance(exports[name], FunctionExport):
                if not ANNOTATED.fullmatch(name):
                    found[item_name(name)] = made
            elif isinstance(exports[name], InstanceExports):
                found[item_name(name)] = made
            else:
                found[class_name(name)] = made
        return found


def _make_class(
    exporter: Callable[[Caller], _Exporter], classes: Classes, resources: Resources, resource: Resource
) -> type[ResourceHandle]:
    """The class of a resource, made with the instance that exports it. A function may give a handle before
    anyone has asked for that instance, and when all that Python still has is the function."""
    made = exporter(Caller(resources, Codecs(classes)))
    assert resources.linked is not None
    exports = resources.linked.assembly.plan.exports
    for name, one in exports.items():
        items = one.items if isinstance(one, InstanceExports) else {name: one}
        if any(item is resource for item in items.values()):
            made.lazy(exports)[name]
            return resources.classes[resource]
    return made.resource(resource, resource.name or "resource", made.what)


def _no_constructor(self: ResourceHandle, *args: Any) -> None:
    raise TypeError(f"a {type(self).__name__} has no constructor: functions of the component give it")


def _shared(hiwire: Hiwire, engine: str | None, limits: GuestLimits) -> Space:
    """The space of a table that an instance shares."""
    if not isinstance(hiwire, Hiwire):
        raise TypeError(f"hiwire must be a table, a Hiwire, not {type(hiwire).__name__}")
    if limits.names:
        raise ValueError(
            f"{', '.join(limits.names)}: limits are those of a space, and this instance shares that of a"
            " table; give them to the table"
        )
    space = hiwire.space
    if engine is not None and get_engine(engine).name != space.engine.name:
        raise ValueError(f"the table is on {space.engine.name}, so the component cannot run on {engine}")
    return space


def _construct(made: Callable[..., Any]) -> Callable[..., None]:
    """``__init__`` by a function that makes another object."""

    def construct(self: ResourceHandle, *args: Any) -> None:
        if self._representation is not None:
            raise TypeError(f"this {type(self).__name__} was made already")
        other = made(*args)
        self._representation = other._live()
        other._lose("became another object")

    return construct


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same function by another name."""
    assert isinstance(function, FunctionType)
    same = FunctionType(
        function.__code__, function.__globals__, name, function.__defaults__, function.__closure__
    )
    same.__dict__.update(function.__dict__)
    same.__doc__ = function.__doc__
    return same


def _is_shown(export: Export) -> bool:
    """Whether Python has something for it: not for types that have no class."""
    return isinstance(export, (FunctionExport, InstanceExports, Resource, Record, Variant, Enum, Flags))


def _named_classes(plan: Plan, names: Names) -> Classes:
    """The classes of a plan's types, by their names at the component's edge."""
    classes = Classes(names)

    def walk(items: Mapping[str, Export], module: str) -> None:
        for name, one in items.items():
            if isinstance(one, InstanceExports):
                walk(one.items, name)
            elif isinstance(one, (Record, Variant, Enum, Flags)):
                classes.name(one, name, module)

    walk(plan.exports, "")
    walk(plan.imports, "")
    return classes


def _signature(labels: Sequence[str]) -> inspect.Signature:
    """That of a function with such parameters, as `help` shows it."""
    only = inspect.Parameter.POSITIONAL_ONLY
    return inspect.Signature([inspect.Parameter(python_name(label), only) for label in labels])


class _Doc:
    """The docstring of a class, and another one of each of its objects, which `help` shows."""

    def __init__(self, class_: type, text: Callable[[Any], str]) -> None:
        self.of_class = class_.__doc__
        self.text = text

    def __get__(self, one: Any, class_: type | None = None) -> str | None:
        return self.of_class if one is None else self.text(one)


def _instance_doc(instance: ComponentInstance) -> str:
    try:
        text = instance._component.wit()
    except UnsupportedModuleError:  # it has names that WIT has not
        text = "\n".join(instance)
    return f"{ComponentInstance.__doc__}\nThis one:\n\n{text}"


def _namespace_doc(namespace: InstanceNamespace) -> str:
    lines = [getattr(one, "__doc__", None) or "" for one in namespace.values()]
    return f"{InstanceNamespace.__doc__}\n\nThis one has:\n\n" + "\n".join(lines)


ComponentInstance.__doc__ = _Doc(ComponentInstance, _instance_doc)  # type: ignore[assignment]
InstanceNamespace.__doc__ = _Doc(InstanceNamespace, _namespace_doc)  # type: ignore[assignment]


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
        self.system: Mapping[str, Any] = {}

    def add(self, system: Mapping[str, Mapping[str, Any]]) -> None:
        """What there is besides, for imports that are not given."""
        self.system = {
            name: {key: HostResource(one) if isinstance(one, type) else one for key, one in items.items()}
            for name, items in system.items()
        }

    def missing(self, path: tuple[str, ...]) -> UnsupportedModuleError:
        hint = ""
        if path[0].startswith("wasi:") and not self.system:
            hint = "; wasi=Wasi(...) gives what is of WASI 0.2"
        return UnsupportedModuleError(
            f"{self.what} imports what it was not given: {' '.join(map(repr, path))}{hint}"
        )

    def item(self, path: tuple[str, ...]) -> Any:
        """What is at a path, or None."""
        first = path[0]
        found = self.imports.get(first)
        if found is None and "@" in first:
            found = self.imports.get(first.partition("@")[0])
        if found is None:
            found = self.system.get(first)
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
        annotated = ANNOTATED.fullmatch(path[-1])
        if found is None and annotated is not None:
            kind, owner, name = annotated.groups()
            host = self.item((*path[:-1], owner))
            if isinstance(host, HostResource):
                found = host.cls if kind == "constructor" else getattr(host.cls, python_name(name), None)
        if found is None:
            raise self.missing(path)
        check_callable(found, f"import {' '.join(path)}")
        return found  # type: ignore[no-any-return]
