"""Fused modules: how what they import and export is named, and running one like the component it was made of.

fuse.py makes one core module of a component. It needs nothing but what is here, so any host can call it; what
Python has to know besides, the types above all, is in its custom section ``hiwire:component``: the component
again, but with core modules that have no code. So a fused module is loaded as a component is, decoded and
planned, except that the one module takes the place of all.

NAME is the name of a function within an exported instance behind that of the instance, as in
``demo:bags/bags#[method]bag.put``, or the name alone. Exported are:

=========================== ========================================================================
NAME                        A plain function, that takes and gives numbers and handles only: all of
                            the call. For a handle the host passes its representation. Of others the
                            core function, with values as the canonical ABI has them
cabi_begin_NAME             called before that; then the host may write parameters
cabi_end_NAME               called with what the core function gave, when the host has read it:
                            post-return, and the checks at the end of a call
cabi_leave_NAME             in place of both: the call is given up before the core function
cabi_memory_NAME            the memory of the values
cabi_realloc_NAME           ``(old, old size, alignment, size) -> address``: gives memory there
cabi_destroy_NAME           ``(representation)``, of an exported resource: destroys what the host owns.
                            Of one that is not exported its number is the name
cabi_own_I, cabi_borrow_I,  the handle table of component instance I, for handles among values in
cabi_take_I, cabi_lend_I,   memory: ``(number of the resource type, representation or handle)``; see
cabi_drop_I                 tables.py
cabi_fault                  a global: why generated code trapped, see faults.py; 0: it did not
ht_new_I, ht_rep_I,         where the table of instance I is in the instance's own memory: see
ht_drop_I, ht_next_I        memory_tables.py
=========================== ========================================================================

Imported are the functions that the component imports: from the module that is called as the instance, or
``$root``, and with values as the canonical ABI has them. Where several instances lower a function, each with
a memory of its own, the second is called ``NAME#2``. ``cabi_import_memory_MODULE#NAME`` and
``cabi_import_realloc_MODULE#NAME`` are exports for these. ``hiwire.hiwire_decref`` is called with the
representation of a resource of the host that was dropped.

Component instances and resource types are numbered as they come to be: instances from 0, which is the
outermost component, and types from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import UnsupportedModuleError
from ..wasm.binary import Reader
from ..wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, Kind, Module
from ..wasm.types import I32, Global
from ..wasm.types import FuncType as CoreFuncType
from .adapters import is_plain
from .assemble import Assembly, Entry, Given, Reference, Stage
from .decode import decode
from .glue import HostCall, HostDestructor
from .inline import inline
from .layout import core_type, resources_in
from .plan import (
    CoreExport,
    CoreItem,
    Export,
    FunctionExport,
    HostFunction,
    InstanceExports,
    Lifted,
    Lower,
    Options,
    Plan,
    ResourceDrop,
)
from .tables import FUNCTIONS
from .types import FuncType, Resource
from .validate import validate

__all__ = [
    "DECREF",
    "FusedAssembly",
    "Names",
    "OPERATIONS",
    "SECTION",
    "component_in",
    "is_fused",
    "load",
    "passes_handles",
]

SECTION = "hiwire:component"
DECREF = "hiwire", "hiwire_decref"
OPERATIONS = ("own", "borrow", "take", "lend", "drop")

_NOTHING = CoreFuncType(b"", b"")
_DROPS = CoreFuncType(bytes((I32,)), b"")
_REALLOC = CoreFuncType(bytes((I32,)) * 4, bytes((I32,)))


def passes_handles(type_: FuncType) -> bool:
    """Whether a function takes or gives handles."""
    return any(map(resources_in, (*type_.types, *type_.results)))


class Names:
    """The names for a plan.

    Attributes:
        functions: the exported functions of components, by name.
        hosts: what is imported, by module and name.
        destroyers: what destroys each resource of a component.
    """

    def __init__(self, plan: Plan) -> None:
        exports = dict(_named(plan.exports))
        self.functions = {
            name: one.function
            for name, one in exports.items()
            if isinstance(one, FunctionExport) and isinstance(one.function, Lifted)
        }
        self.hosts: dict[tuple[str, str], HostCall] = {}
        for call in _host_calls(plan):
            *outer, field = call.function.path
            module, wanted, number = "#".join(outer) or "$root", field, 1
            while (module, wanted) in self.hosts:
                number += 1
                wanted = f"{field}#{number}"
            self.hosts[module, wanted] = call
        self.destroyers = {
            resource: f"cabi_destroy_{one.number}"
            for resource, one in plan.resources.items()
            if one.definer is not None
        }
        for name, export in reversed(exports.items()):
            if isinstance(export, Resource) and export in self.destroyers:
                self.destroyers[export] = f"cabi_destroy_{name}"


def _named(exports: Mapping[str, Export], outer: str = "") -> Iterator[tuple[str, Export]]:
    for name, one in exports.items():
        if isinstance(one, InstanceExports):
            yield from _named(one.items, f"{outer}{name}#")
        else:
            yield outer + name, one


def _host_calls(plan: Plan) -> list[HostCall]:
    """All calls of the host that a plan can lead to, in an order that depends on the plan alone."""
    work: list[CoreItem | Lifted | None] = [one for step in plan.steps for one in step.arguments.values()]
    work += [one for _, one in _functions(plan)]
    work += [one.destructor for one in plan.resources.values()]
    work.reverse()
    found: dict[HostCall, None] = {}
    seen: set[object] = set()
    while work:
        item = work.pop()
        if item is None or isinstance(item, CoreExport) or item in seen:
            continue
        seen.add(item)
        if isinstance(item, Lifted):
            work += [item.options.post_return, item.options.realloc, item.core]
        elif isinstance(item, Lower):
            if isinstance(item.function, HostFunction):
                found[HostCall(item.function, item.options)] = None
            else:
                work.append(item.function)
            work.append(item.options.realloc)
        elif isinstance(item, ResourceDrop):
            work.append(plan.resources[item.resource].destructor)
    return list(found)


def _functions(plan: Plan) -> Iterator[tuple[str, Lifted]]:
    for name, one in _named(plan.exports):
        if isinstance(one, FunctionExport) and isinstance(one.function, Lifted):
            yield name, one.function


# ---- loading


def is_fused(wasm: bytes) -> bool:
    """Whether bytes are a fused module."""
    return wasm[:8] == b"\0asm\1\0\0\0" and component_in(Module.parse(wasm)) is not None


def component_in(module: Module) -> bytes | None:
    """The component that a fused module was made of, without its code; None: it is no fused one."""
    for kind, start, end in module.sections:
        if kind == Kind.CUSTOM:
            r = Reader(module.wasm, start, end)
            if r.name() == SECTION:
                return module.wasm[r.pos : end]
    return None


@dataclass
class FusedAssembly(Assembly):
    """Of the fused module alone."""

    @property
    def fault(self) -> Reference:
        return Reference(0, "cabi_fault")

    def operation(self, instance: int, name: str) -> Reference:
        return Reference(0, f"cabi_{name}_{instance}")


def load(module: Module, component: bytes) -> Assembly:
    """A fused module as an assembly.

    Args:
        module: the module.
        component: what `component_in` gave for it.

    Raises:
        UnsupportedModuleError: it does not import or export what its own description says, or that is
            invalid.
    """
    decoded = decode(component)
    validate(decoded)
    return _Loader(module, inline(decoded)).assembly


class _Loader:
    def __init__(self, module: Module, plan: Plan) -> None:
        self.module = module
        self.assembly = FusedAssembly(plan)
        self.exports = {one.name: one for one in module.exports}
        self.names = Names(plan)
        self.reference(self.assembly.fault.name, GLOBAL, Global(I32, True))
        given: dict[tuple[str, str], Given] = {}
        self.assembly.stages.append(Stage(module, given, "fused"))
        for name, function in self.names.functions.items():
            self.function(name, function)
        for one in module.imports:
            host = given[one.module, one.name] = self.host((one.module, one.name))
            self.expect(f"import {one}", one.kind, one.type, FUNCTION, _type_of(host))
        for resource, name in self.names.destroyers.items():
            if name in self.exports:
                self.assembly.destroyers[resource] = self.reference(name, FUNCTION, _DROPS)

    def function(self, name: str, function: Lifted) -> None:
        core = core_type(function.type, False)
        call = self.reference(name, FUNCTION, core)
        if is_plain(function.type):
            self.assembly.entries[function] = Entry(call)
            return
        end = CoreFuncType(core.results, b"")
        self.assembly.entries[function] = Entry(
            call,
            self.reference(f"cabi_begin_{name}", FUNCTION, _NOTHING),
            self.reference(f"cabi_end_{name}", FUNCTION, end),
            self.reference(f"cabi_leave_{name}", FUNCTION, _NOTHING),
        )
        self.side("cabi_", name, function.options, function.type)

    def side(self, prefix: str, name: str, options: Options, type_: FuncType) -> None:
        """What Python needs to read and write values."""
        assembly = self.assembly
        if options.memory is not None:
            memory = self.reference(f"{prefix}memory_{name}", MEMORY, None)
            assembly.steps[options.memory.instance, options.memory.name] = memory
        if options.realloc is not None:
            realloc = self.reference(f"{prefix}realloc_{name}", FUNCTION, _REALLOC)
            assembly.reallocations[options] = realloc
        if passes_handles(type_):
            assembly.tables[options.instance] = 0
            for operation in OPERATIONS:
                _, field = assembly.operation(options.instance, operation)
                self.reference(field, FUNCTION, FUNCTIONS[operation])

    def host(self, name: tuple[str, str]) -> Given:
        if name == DECREF:
            resources = self.assembly.plan.resources
            for resource, definition in resources.items():
                if definition.definer is None:
                    return HostDestructor(resource)
        call = self.names.hosts.get(name)
        if call is None:
            wanted = ".".join(name)
            raise UnsupportedModuleError(f"the fused module imports {wanted}, which its component does not")
        self.side("cabi_import_", "#".join(name), call.options, call.function.type)
        return call

    def reference(self, name: str, kind: int, type_: object) -> Reference:
        """An export; None as the type: any."""
        export = self.exports.get(name)
        if export is None:
            raise UnsupportedModuleError(
                f"the fused module lacks the export {name!r}, which its component asks for"
            )
        found = self.module.type_of(export.kind, export.index)
        if isinstance(found, Global):
            found = Global(found.type, found.mutable)
        self.expect(f"export {name!r}", export.kind, found, kind, type_)
        return Reference(0, name)

    def expect(self, what: str, kind: int, type_: object, wanted: int, wanted_type: object) -> None:
        if kind != wanted or (wanted_type is not None and type_ != wanted_type):
            raise UnsupportedModuleError(
                f"the fused module's {what} is no {KINDS[wanted]} of the type that its component asks for"
            )


def _type_of(given: Given) -> CoreFuncType:
    return core_type(given.function.type, True) if isinstance(given, HostCall) else _DROPS
