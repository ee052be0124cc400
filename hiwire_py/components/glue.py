"""Modules of the functions that a plan needs between core instances, generated.

A `Glue` collects functions and makes one module of them. What a function calls, reads or writes outside is a
*source*: it becomes an import, and the module comes with the list of its sources. The bytes depend on nothing
but the plan.

Every function is written twice: an import comes before all that a module has itself, so its index is only
known once all functions have said what they import.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple, Union

from ..wasm.build import ANY_SIZE, ModuleBuilder
from ..wasm.emit import (
    call,
    global_get,
    global_set,
    i32_const,
    i64_const,
    if_,
    local_get,
    local_set,
    memory_size,
    numeric,
    unreachable,
)
from ..wasm.types import I32
from ..wasm.types import FuncType as CoreFuncType
from .faults import Fault
from .plan import CoreExport, CoreItem, HostFunction, Options, Plan
from .tables import FUNCTIONS, GLOBALS
from .types import Resource

__all__ = [
    "FAULT",
    "Code",
    "Glue",
    "GlueModule",
    "HostCall",
    "HostDestructor",
    "Side",
    "Source",
    "StateFlag",
    "TableItem",
    "state_module",
]


class TableItem(NamedTuple):
    """An export of the handle table of a component instance: see tables.py."""

    instance: int
    name: str


class StateFlag(NamedTuple):
    """A global of the state module. ``name`` is ``"enter"`` or ``"leave"``: whether the instance may be
    entered, or may call out; or ``"fault"``, with -1 for the instance: see faults.py."""

    name: str
    instance: int = -1

    @property
    def export(self) -> str:
        return self.name if self.instance < 0 else f"{self.name}{self.instance}"


FAULT = StateFlag("fault")


class HostCall(NamedTuple):
    """A Python function that does what is left of a call of the host: values that are in memory."""

    function: HostFunction
    options: Options


class HostDestructor(NamedTuple):
    """``(i32) -> ()``: lets go of a representation of the host."""

    resource: Resource


Source = Union[CoreExport, CoreItem, TableItem, StateFlag, HostCall, HostDestructor]


@dataclass
class GlueModule:
    """Attributes:
    wasm: the module.
    sources: what its imports are, by module and name.
    """

    wasm: bytes
    sources: dict[tuple[str, str], Source]


def state_module(instances: int) -> bytes:
    """Globals that all glue of a plan shares: see `StateFlag`."""
    module = ModuleBuilder()
    module.add_global(0, FAULT.export)
    for number in range(instances):
        module.add_global(1, StateFlag("enter", number).export)
        module.add_global(1, StateFlag("leave", number).export)
    return module.written()


class Code:
    """A function while it is written. Parameters are the first locals."""

    def __init__(self, params: bytes) -> None:
        self.params = len(params)
        self.locals: list[int] = []

    def local(self, code: int = I32) -> int:
        """A new local of a core type."""
        self.locals.append(code)
        return self.params + len(self.locals) - 1


_Body = Callable[[Code], bytes]


class Glue:
    """A module in the making."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._exports: dict[str, tuple[CoreFuncType, _Body]] = {}
        self._sources: dict[Source, tuple[str, CoreFuncType | None]] = {}
        self._builder = ModuleBuilder()
        self._indexes: dict[Source, int] = {}
        self._helpers: dict[Hashable, tuple[int, CoreFuncType, _Body]] = {}

    def add(self, name: str, type_: CoreFuncType, body: _Body) -> None:
        """A function to export. ``body`` is called more than once."""
        self._exports[name] = type_, body

    def written(self) -> GlueModule:
        """The module."""
        self._write()  # finds out what is imported
        self._write()
        sources = {("", field): source for source, (field, _) in self._sources.items()}
        return GlueModule(self._builder.written(), sources)

    def _write(self) -> None:
        self._builder, self._indexes, self._helpers = ModuleBuilder(), {}, {}
        for source, (field, type_) in self._sources.items():
            self._indexes[source] = self._import(source, field, type_)
        for name, (type_, body) in self._exports.items():
            self._function(type_, body, name)
        written = 0
        while written < len(self._helpers):  # which may ask for more of them
            _, type_, body = list(self._helpers.values())[written]
            self._function(type_, body, None)
            written += 1

    def _function(self, type_: CoreFuncType, body: _Body, export: str | None) -> None:
        code = Code(type_.params)
        self._builder.add_function(type_, code.locals, body(code), export)

    def _import(self, source: Source, field: str, type_: CoreFuncType | None) -> int:
        if type_ is not None:
            return self._builder.import_function("", field, type_)
        if isinstance(source, StateFlag):
            return self._builder.import_global("", field, True)
        if isinstance(source, TableItem):
            return self._builder.import_global("", field, True, GLOBALS[source.name])
        return self._builder.import_memory("", field, ANY_SIZE)

    def _index(self, source: Source, type_: CoreFuncType | None = None) -> int:
        if source not in self._sources:
            self._sources[source] = f"{len(self._sources)}", type_
        return self._indexes.get(source, 0)

    # ---- what functions are made of

    def call(self, source: Source, type_: CoreFuncType, *operands: bytes) -> bytes:
        """Call a function from outside."""
        return call(self._index(source, type_), *operands)

    def helper(self, key: Hashable, type_: CoreFuncType, body: _Body, *operands: bytes) -> bytes:
        """Call a function of this module, which is made when it is called first."""
        if key not in self._helpers:
            imported = sum(type_ is not None for _, type_ in self._sources.values())
            place = imported + len(self._exports) + len(self._helpers)
            self._helpers[key] = place, type_, body
        return call(self._helpers[key][0], *operands)

    def memory(self, memory: CoreExport) -> int:
        """The index of a memory."""
        return self._index(memory)

    def read(self, flag: StateFlag | TableItem) -> bytes:
        """A global from outside."""
        return global_get(self._index(flag))

    def write(self, flag: StateFlag | TableItem, value: bytes) -> bytes:
        """Set a global from outside."""
        return global_set(self._index(flag), value)

    def table(self, instance: int, name: str, resource: Resource, operand: bytes) -> bytes:
        """Call a function of an instance's handle table: see `tables.FUNCTIONS`."""
        number = i32_const(self.plan.resources[resource].number)
        return self.call(TableItem(instance, name), FUNCTIONS[name], number, operand)

    def trap(self, why: Fault) -> bytes:
        """Stop, for a reason."""
        return self.write(FAULT, i32_const(why)) + unreachable()

    def trap_if(self, condition: bytes, why: Fault) -> bytes:
        """Stop, for a reason, if the condition is not 0."""
        return if_(condition, self.trap(why))

    # ---- how calls begin and end

    def check_leave(self, instance: int) -> bytes:
        """An instance calls out."""
        return self.trap_if(numeric("i32.eqz", self.read(StateFlag("leave", instance))), Fault.CANNOT_LEAVE)

    def enter(self, caller: int | None, callee: int) -> bytes:
        """A call enters an instance. If it traps the instance stays entered, and nobody can enter it any
        more."""
        looks, marks = ([StateFlag("enter", i) for i in some] for some in self.entering(caller, callee))
        checks = [self.trap_if(numeric("i32.eqz", self.read(flag)), Fault.CANNOT_ENTER) for flag in looks]
        return b"".join(checks) + b"".join(self.write(flag, i32_const(0)) for flag in marks)

    def exit(self, caller: int | None, callee: int) -> bytes:
        """A call returns from an instance."""
        _, marks = self.entering(caller, callee)
        return b"".join(self.write(StateFlag("enter", one), i32_const(1)) for one in marks)

    def entering(self, caller: int | None, callee: int) -> tuple[list[int], list[int]]:
        """The instances of which a call looks whether it may enter them, and those that it marks as
        entered."""
        entered = self.plan.entered(caller, callee)
        return entered, entered

    def reenter(self, caller: int | None, callee: int) -> tuple[bytes, bytes]:
        """Code before and behind a call that comes into an instance while a call of its own is out: one that
        it contains calls it back. Nothing for other calls."""
        if caller is None or callee not in self.plan.ancestors(caller)[1:]:
            return b"", b""
        pin, unpin = (self.call(TableItem(callee, name), FUNCTIONS[name]) for name in ("pin", "unpin"))
        return pin, unpin

    def without_leave(self, instance: int, code: bytes) -> bytes:
        """Code during which an instance must not call out."""
        flag = StateFlag("leave", instance)
        return self.write(flag, i32_const(0)) + code + self.write(flag, i32_const(1))

    def end_lends(self, instance: int) -> bytes:
        """The call that is out has returned: what was lent to it is not lent any more."""
        calls = TableItem(instance, "calls")
        return self.write(calls, numeric("i64.add", self.read(calls), i64_const(1)))


_REALLOC = CoreFuncType(bytes((I32,)) * 4, bytes((I32,)))
_CHECK = CoreFuncType(bytes((I32, I32)), b"")
_ALLOCATE = CoreFuncType(bytes((I32,)) * 4, bytes((I32,)))


class Side:
    """One side of a call: the memory and the functions that values on that side are read or written with."""

    def __init__(self, glue: Glue, options: Options) -> None:
        self.glue = glue
        self.options = options

    @property
    def memory(self) -> int:
        assert self.options.memory is not None  # validation asks for it where it is needed
        return self.glue.memory(self.options.memory)

    def check_bounds(self, address: bytes, size: bytes, why: Fault) -> bytes:
        """Stop unless so many bytes at an address are within the memory."""
        memory = self.options.memory

        def body(code: Code) -> bytes:
            end = numeric(
                "i64.add",
                numeric("i64.extend_i32_u", local_get(0)),
                numeric("i64.extend_i32_u", local_get(1)),
            )
            pages = numeric("i64.extend_i32_u", memory_size(self.memory))
            return self.glue.trap_if(numeric("i64.gt_u", end, numeric("i64.shl", pages, i64_const(16))), why)

        return self.glue.helper(("bounds", memory, why), _CHECK, body, address, size)

    def check_alignment(self, address: bytes, alignment: int, why: Fault) -> bytes:
        """Stop unless an address is a multiple of an alignment."""
        if alignment == 1:
            return b""
        return self.glue.trap_if(numeric("i32.and", address, i32_const(alignment - 1)), why)

    def reallocate(self, old: bytes, old_size: bytes, alignment: int, size: bytes) -> bytes:
        """The address of memory that the side's ``realloc`` gives, which is checked."""
        return self.reallocate_with(old, old_size, i32_const(alignment), size)

    def reallocate_with(self, old: bytes, old_size: bytes, alignment: bytes, size: bytes) -> bytes:
        """The same, with the alignment as code."""
        glue, options = self.glue, self.options
        realloc = options.realloc
        assert realloc is not None

        def body(code: Code) -> bytes:
            arguments = b"".join(local_get(i) for i in range(4))
            address = code.local()
            return (
                glue.without_leave(
                    options.instance, glue.call(realloc, _REALLOC, arguments) + local_set(address)
                )
                + glue.trap_if(
                    numeric(
                        "i32.and",
                        local_get(address),
                        numeric("i32.sub", local_get(2), i32_const(1)),
                    ),
                    Fault.REALLOC_ALIGNMENT,
                )
                + self.check_bounds(local_get(address), local_get(3), Fault.REALLOC_BOUNDS)
                + local_get(address)
            )

        key = ("realloc", realloc, options.memory, options.instance)
        return glue.helper(key, _ALLOCATE, body, old, old_size, alignment, size)

    def allocate(self, alignment: int, size: bytes) -> bytes:
        """The address of new memory."""
        return self.reallocate(i32_const(0), i32_const(0), alignment, size)
