"""Externref lowering: a module that uses externref becomes one that holds 32-bit ids in its place.

Requires: a valid module. Lowering can turn code that confuses i32 and externref into valid code.
Leaves: no externref. The module imports, after what it imported before, the functions `HELPERS` and one i32
global for each externref table or segment, from the module ``externref``: c/externref/externref.c stands
behind them. What the module was before is written into a custom section ``externref`` as JSON. Whatever has
nothing to do with externrefs is carried over. docs/lowering.md has the design.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import UnsupportedModuleError
from ...wasm.binary import Reader, leb, name, sized
from ...wasm.code import i32_const
from ...wasm.module import FUNCTION, GLOBAL, TABLE, Kind, Limits, Module, TableType
from ...wasm.names import renumbered_names
from ...wasm.types import EXTERNREF, FuncType, type_name
from ...wasm.write import export_bytes, fresh_name
from .code import CodeLowering
from .indexes import HELPERS
from .refusals import check
from .wide import copy_call

__all__ = ["RUNTIME_MODULE", "Handle", "Lowered", "lower_module", "refuse_lowered"]

RUNTIME_MODULE = "externref"

_PASSIVE = 1  # in the two low bits of a segment's flags
_NULL_ITEM = bytes((0xD0, EXTERNREF, 0x0B))

# Custom sections that speak of positions in the code section, which moves.
_POSITIONAL = (".debug_", "reloc.", "metadata.code", "sourceMappingURL", "external_debug_info")


@dataclass(frozen=True)
class Handle:
    """An imported global that holds the runtime's handle of a table.

    Attributes:
        name: the global's import name.
        limits: the table's size and maximum.
        table: the index of the table in the original module; None for a segment.
    """

    name: str
    limits: Limits
    table: int | None


@dataclass(frozen=True)
class Lowered:
    """What is to be known of a lowered module: the handles to import.

    Attributes:
        wasm: its bytes; none for one that was compiled by an earlier process.
        globals: index of a mutable externref global that the module defines -> the export that gives access
            to it, by which the host releases what the global holds when the instance is gone.
    """

    wasm: bytes
    handles: tuple[Handle, ...]
    globals: dict[int, str]


class _Lowering(CodeLowering):
    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.handles = tuple(self._handles())
        taken = {e.name for e in module.exports}
        self.hidden_globals = {
            index: fresh_name(f"externref:g{index}", taken)
            for index, global_ in enumerate(module.globals)
            if global_.type == EXTERNREF and global_.mutable and index >= self.to.first_global
        }
        self.segments = [*self._segments()]

    def _handles(self) -> Iterator[Handle]:
        for i in self.to.externref_tables:
            yield Handle(f"t{i}", _narrow(self.module.tables[i].limits), i)
        for i in self.to.externref_elements:
            size = len(self.module.elements[i].items)
            yield Handle(f"e{i}", Limits(size, size), None)

    def _segments(self) -> Iterator[bytes]:
        """What the start function does about segments of externrefs.

        Each becomes a hidden table of the runtime, as long as the segment and full of nulls. For a passive
        segment of nulls that is all. For others, code that runs before the module's own start function sets
        the items, copies an active segment into its table, and drops it. So this segment of two items

            (elem (i32.const 3) externref (ref.null extern) (global.get $g))

        becomes

            (call $externref.set (i32.const 1) (global.get $g) (global.get $e0))
            (call $externref.copy (i32.const 3) (i32.const 0) (i32.const 2) (global.get $t0) (global.get $e0))
            (call $externref.drop (global.get $e0))

        These segments come after all segments of functions and of data. The difference shows only where one
        does not fit its table, so that no instance is made: a segment of functions or data that stands behind
        it has been written by then, to a table or memory that the module imports.
        """
        to = self.to
        for index in to.externref_elements:
            element, handle = self.module.elements[index], to.element_handle[index]
            for number, item in enumerate(element.items):
                if isinstance(item, tuple) and self.module.wasm[slice(*item)] != _NULL_ITEM:
                    yield i32_const(number) + self.expression(item)[:-1] + handle + to.call["set"]
            if element.offset is not None:
                span = i32_const(0) + i32_const(len(element.items))
                yield self.expression(element.offset)[:-1] + span
                yield to.table_handle[element.table] + handle + copy_call(to, element.table)
            if element.flags & 3 != _PASSIVE:
                yield handle + to.call["drop"]

    # ---- sections

    def section(self, kind: Kind) -> bytes | None:
        found = self.module.section(kind) if kind == Kind.DATA and not self.to.added_globals else None
        # Nothing in it has moved, and there can be a hundred thousand segments.
        return super().section(kind) if found is None else found.data[found.pos : found.end]

    def types(self) -> Iterator[bytes]:
        yield from super().types()
        yield from self.to.added_types

    def imports(self) -> Iterator[bytes]:
        for wanted in self.module.imports:
            if not (isinstance(wanted.type, TableType) and wanted.type.element == EXTERNREF):
                yield self.import_(wanted)
        for helper, (params, results) in HELPERS.items():
            type_index = self.to.add_type([b"\x7f"] * params, [b"\x7f"] * results)
            yield name(RUNTIME_MODULE) + name(helper) + b"\0" + leb(type_index)
        for handle in self.handles:
            yield name(RUNTIME_MODULE) + name(handle.name) + b"\3\x7f\0"

    def functions(self) -> Iterator[bytes]:
        yield from super().functions()
        yield from (leb(added.type) for added in self.to.added_functions.values())

    def tables(self) -> Iterator[bytes]:
        return (self.table(table) for table in self.module.own(TABLE) if table.element != EXTERNREF)

    def exports(self) -> Iterator[bytes]:
        for export in self.module.exports:
            if export.kind != TABLE or export.index in self.to.table:
                yield self.export(export)
        for index, field in self.hidden_globals.items():
            yield export_bytes(field, GLOBAL, self.to.global_(index))

    def start(self) -> int | None:
        start = super().start()
        if not self.segments:
            return start
        call = b"" if start is None else b"\x10" + leb(start)
        body = b"".join((b"\0", *self.segments, call))
        return self.to.add_function("start", self.to.add_type([], []), lambda: body)

    def elements(self) -> Iterator[bytes]:
        for element in self.module.elements:
            if element.type != EXTERNREF:
                yield self.element(element)
        declaration = self.indirect.declaration()
        if declaration is not None:
            yield declaration

    def code(self) -> Iterator[bytes]:
        own = self.module.own(FUNCTION)
        entries = self.bodies()
        bodies = [self.body(r.at(r.pos), type_) for r, type_ in zip(entries, own)]
        # These find the functions whose address initial values take.
        for section in (self.globals(), self.tables(), self.elements()):
            list(section)
        self.start()
        for function in self.tails.held():
            index = function - self.to.first_function
            bodies[index] = self.body(entries[index], own[index], held=True)
        yield from bodies
        yield from (sized(added.make() + b"\x0b") for added in self.to.added_functions.values())

    def custom(self) -> Iterator[bytes]:
        for body in super().custom():
            rewritten = self._custom(Reader(body))
            if rewritten is not None:
                yield rewritten
        yield name(RUNTIME_MODULE) + json.dumps(self.description()).encode()

    def _custom(self, r: Reader) -> bytes | None:
        title = r.name()
        if title.startswith("dylink"):
            raise UnsupportedModuleError(
                "a shared library for dynamic linking, which lowering does not handle"
            )
        if title == "linking":
            raise UnsupportedModuleError("an object file, not a linked module: link it with wasm-ld first")
        if title == "name":
            first = self.to.first_function
            helpers = {first + n: f"externref.{helper}" for n, helper in enumerate(HELPERS)}
            renumber: dict[str, Callable[[int], int | None]] = {
                "F": self.to.function,
                "G": self.to.global_,
                "t": self.to.table.get,
                "E": self.to.element.get,
            }
            try:
                return name(title) + renumbered_names(r, renumber, helpers)
            except UnsupportedModuleError:
                return None  # a malformed custom section does not make a module invalid
        if title.startswith(_POSITIONAL) or title == RUNTIME_MODULE:
            return None
        return r.data

    def description(self) -> dict[str, Any]:
        """What the module was: the original types of its functions, and where its tables went."""
        module = self.module
        functions = module.exported(FUNCTION)
        return {
            "imports": [
                [i.module, i.name, _signature(i.type)]
                for i in module.imports
                if isinstance(i.type, FuncType) and i.type.has_externref
            ],
            "exports": {
                field: _signature(module.function_type(index))
                for field, index in functions.items()
                if module.function_type(index).has_externref
            },
            "tables": [
                {"handle": h.name, "min": h.limits.minimum, "max": h.limits.maximum} for h in self.handles
            ],
            "globals": [
                field for field, i in module.exported(GLOBAL).items() if module.globals[i].type == EXTERNREF
            ],
        }


def _narrow(limits: Limits) -> Limits:
    """Limits of a table as the runtime has them: no table of more elements than 32 bits count can be."""
    maximum = limits.maximum
    most = 0xFFFFFFFF
    return Limits(min(limits.minimum, most), maximum if maximum is None or maximum <= most else None)


def _signature(functype: FuncType) -> list[list[str]]:
    return [[type_name(code) for code in side] for side in functype]


def refuse_lowered(module: Module) -> None:
    """Raise UnsupportedModuleError if the module was lowered: its imports would give it the runtime's
    insides."""
    for i in module.imports:
        if i.module == RUNTIME_MODULE:
            raise UnsupportedModuleError(
                f"the module imports {i}: the module name {RUNTIME_MODULE!r} is reserved for lowered"
                " modules; pass the original module, it is lowered when it is loaded"
            )


def lower_module(module: Module) -> Lowered:
    """Lower a parsed module, whether it needs it or not.

    Raises:
        UnsupportedModuleError: the module is malformed, or uses a feature that lowering does not handle.
    """
    refuse_lowered(module)
    check(module)
    try:
        lowering = _Lowering(module)
        return Lowered(lowering.written(), lowering.handles, lowering.hidden_globals)
    except (IndexError, KeyError) as e:
        # An index into a table, type or function that does not exist: only an invalid module has one.
        raise UnsupportedModuleError(
            "the module is malformed: it refers to a type, function, table, global or local that it does not"
            " have"
        ) from e
