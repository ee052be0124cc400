"""The structure of a WebAssembly module: what its sections declare, without the code.

Format: WebAssembly core specification 2.0, chapter 5. Only the structure is checked here; whether the module
is valid (its code above all) is for the engine to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import UnsupportedModuleError
from ..values import EXTERNREF, F32, F64, FUNCREF, I32, I64, V128, FuncType, type_name
from .binary import Reader

__all__ = ["Element", "Export", "Global", "Import", "Limits", "Module", "Section", "TableType"]

FUNCTION, TABLE, MEMORY, GLOBAL = range(4)
KINDS = ("function", "table", "memory", "global")
_NUMBERS = {I32, I64, F32, F64}

# Each section but the custom ones (0) stands once at most, in this order (chapter 5.5.16).
_ORDER = {kind: place for place, kind in enumerate((1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11))}

# Sections of proposals that neither lowering nor all engines handle, by id.
_FOREIGN_SECTIONS = {13: "exception tags"}


class Limits(NamedTuple):
    """Sizes of a memory in pages or of a table in elements; ``maximum`` is None where the module sets
    none."""

    minimum: int
    maximum: int | None


class TableType(NamedTuple):
    element: int
    limits: Limits


class Global(NamedTuple):
    """``init`` is the span of the initial value's expression; None for an imported global."""

    type: int
    mutable: bool
    init: tuple[int, int] | None = None


class Import(NamedTuple):
    """``type`` is a FuncType, TableType, Limits or Global, as ``kind`` says."""

    module: str
    name: str
    kind: int
    type: FuncType | TableType | Limits | Global

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Export:
    name: str
    kind: int
    index: int


class Element(NamedTuple):
    """An element segment. Spans are positions of expressions in the module's bytes; items of the short forms
    are function indexes instead."""

    flags: int
    table: int
    type: int
    offset: tuple[int, int] | None
    items: list[tuple[int, int] | int]


class Section(NamedTuple):
    kind: int
    start: int
    end: int


@dataclass
class Module:
    """A parsed module. ``functions`` holds type indexes; imported entries come first in every index space."""

    wasm: bytes
    sections: list[Section] = field(default_factory=list)
    types: list[FuncType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    tables: list[TableType] = field(default_factory=list)
    memories: list[Limits] = field(default_factory=list)
    globals: list[Global] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)

    @classmethod
    def parse(cls, wasm: bytes) -> Module:
        """Read the structure of ``wasm``.

        Raises:
            UnsupportedModuleError: the bytes are no core module, are cut short, or use a feature not handled.
        """
        if wasm[:4] != b"\0asm":
            raise UnsupportedModuleError(
                "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d"
            )
        if wasm[4:8] != b"\1\0\0\0":
            version = "a WebAssembly component" if wasm[6:8] == b"\1\0" else f"version {wasm[4:8].hex()}"
            raise UnsupportedModuleError(f"not a core WebAssembly module of version 1, but {version}")
        module = cls(wasm)
        r, last = Reader(wasm, 8), -1
        while r.pos < r.end:
            kind, size = r.byte(), r.u32()
            if kind > 12:
                what = _FOREIGN_SECTIONS.get(kind, f"a section of kind {kind}")
                raise UnsupportedModuleError(f"the module has {what}, which is not supported")
            start = r.pos
            r.take(size)
            if kind == 0:
                Reader(wasm, start, r.pos).name()
            elif _ORDER[kind] <= last:
                raise UnsupportedModuleError(
                    f"section {kind} at byte {start} comes twice, or after one that it must come before"
                )
            else:
                last = _ORDER[kind]
            module.sections.append(Section(kind, start, r.pos))
        for kind, start, end in module.sections:
            read = module._readers.get(kind)
            if read is not None:
                r = Reader(wasm, start, end)
                for _ in range(r.u32()):
                    read(module, r)
                if r.pos != end:
                    raise UnsupportedModuleError(f"section {kind} is longer than its contents")
        module._check_indexes()
        return module

    def count_imports(self, kind: int) -> int:
        return sum(i.kind == kind for i in self.imports)

    def function_type(self, index: int) -> FuncType:
        return self.types[self.functions[index]]

    def exported(self, kind: int) -> dict[str, int]:
        """The exports of one kind: name -> index."""
        return {e.name: e.index for e in self.exports if e.kind == kind}

    # ---- sections

    def _read_type(self, r: Reader) -> None:
        form = r.byte()
        if form != 0x60:
            raise UnsupportedModuleError(f"type form {form:#x} is not supported: only function types are")
        self.types.append(FuncType(self._value_types(r), self._value_types(r)))

    def _read_import(self, r: Reader) -> None:
        module, name, kind = r.name(), r.name(), r.byte()
        found: FuncType | TableType | Limits | Global
        if kind == FUNCTION:
            index = r.u32()
            if index >= len(self.types):
                raise UnsupportedModuleError(f"import {module}.{name} has the unknown type {index}")
            found = self.types[index]
            self.functions.append(index)
        elif kind == TABLE:
            found = self._table_type(r)
            self.tables.append(found)
        elif kind == MEMORY:
            found = self._limits(r, "memory")
            self.memories.append(found)
        elif kind == GLOBAL:
            found = Global(*self._global_type(r))
            self.globals.append(found)
        else:
            raise UnsupportedModuleError(f"import {module}.{name} is of kind {kind}, which is not supported")
        self.imports.append(Import(module, name, kind, found))

    def _read_function(self, r: Reader) -> None:
        self.functions.append(r.u32())

    def _read_table(self, r: Reader) -> None:
        self.tables.append(self._table_type(r))

    def _read_memory(self, r: Reader) -> None:
        self.memories.append(self._limits(r, "memory"))

    def _read_global(self, r: Reader) -> None:
        type_, mutable = self._global_type(r)
        self.globals.append(Global(type_, mutable, self.skip_expression(r)))

    def _read_export(self, r: Reader) -> None:
        export = Export(r.name(), r.byte(), r.u32())
        if export.kind > GLOBAL:
            raise UnsupportedModuleError(
                f"export {export.name!r} is of kind {export.kind}, which is not supported"
            )
        self.exports.append(export)

    def _read_element(self, r: Reader) -> None:
        flags = r.u32()
        if flags > 7:
            raise UnsupportedModuleError(f"malformed element segment at byte {r.pos}")
        table, offset, type_ = 0, None, FUNCREF
        if flags & 3 == 2:
            table = r.u32()
        if not flags & 1:
            offset = self.skip_expression(r)
        if flags & 3:
            code = r.byte()
            type_ = code if flags & 4 else FUNCREF
        items: list[tuple[int, int] | int] = []
        for _ in range(r.u32()):
            items.append(self.skip_expression(r) if flags & 4 else r.u32())
        self.elements.append(Element(flags, table, type_, offset, items))

    _readers = {
        1: _read_type,
        2: _read_import,
        3: _read_function,
        4: _read_table,
        5: _read_memory,
        6: _read_global,
        7: _read_export,
        9: _read_element,
    }

    # ---- parts of sections

    def _value_types(self, r: Reader) -> bytes:
        types = r.take(r.u32())
        for code in types:
            if code not in _NUMBERS and code not in (EXTERNREF, FUNCREF, V128):
                raise UnsupportedModuleError(f"value type {code:#x} is not supported")
        return types

    def _table_type(self, r: Reader) -> TableType:
        element = r.byte()
        if element not in (EXTERNREF, FUNCREF):
            raise UnsupportedModuleError(f"tables of {type_name(element)} are not supported")
        return TableType(element, self._limits(r, "table"))

    def _limits(self, r: Reader, what: str) -> Limits:
        flags = r.byte()
        if flags > 1:
            raise UnsupportedModuleError(f"a shared or 64-bit {what} (limits {flags:#x}) is not supported")
        return Limits(r.u32(), r.u32() if flags else None)

    def _global_type(self, r: Reader) -> tuple[int, bool]:
        type_ = r.byte()
        if type_ not in _NUMBERS and type_ not in (EXTERNREF, FUNCREF, V128):
            raise UnsupportedModuleError(f"globals of {type_name(type_)} are not supported")
        mutable = r.byte()
        if mutable > 1:
            raise UnsupportedModuleError(f"malformed global type at byte {r.pos}")
        return type_, bool(mutable)

    def skip_expression(self, r: Reader) -> tuple[int, int]:
        """Step over a constant expression; its span, ``end`` included."""
        start = r.pos
        while True:
            op = r.byte()
            if op == 0x0B:
                return start, r.pos
            if op in (0x41, 0x42, 0x23, 0xD2):  # i32.const, i64.const, global.get, ref.func
                r.skip_leb()
            elif op in (0x43, 0x44):  # f32.const, f64.const
                r.take(4 if op == 0x43 else 8)
            elif op == 0xD0:  # ref.null
                r.byte()
            elif op == 0xFD and r.u32() == 12:  # v128.const
                r.take(16)
            elif op not in (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E):  # add, sub, mul of extended constants
                raise UnsupportedModuleError(f"opcode {op:#x} in a constant expression is not supported")

    def _check_indexes(self) -> None:
        """What the code around here takes for granted: indexes that it follows, names that it looks up."""
        for index in self.functions:
            if index >= len(self.types):
                raise UnsupportedModuleError(f"a function has the unknown type {index}")
        spaces = (self.functions, self.tables, self.memories, self.globals)
        names = set()
        for export in self.exports:
            if export.name in names:
                raise UnsupportedModuleError(f"the module has two exports named {export.name!r}")
            names.add(export.name)
            if export.index >= len(spaces[export.kind]):
                raise UnsupportedModuleError(
                    f"export {export.name!r} names the unknown {KINDS[export.kind]} {export.index}"
                )
