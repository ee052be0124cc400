"""The structure of a WebAssembly module: what its sections declare, without the code.

Format: WebAssembly core specification 3.0, chapter 5. Only the structure is checked here; whether the module
is valid (its code above all) is for the engine to say.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from ..errors import UnsupportedModuleError
from .binary import Reader
from .code import expression
from .types import (
    FUNCREF,
    ExternType,
    FuncType,
    Global,
    Group,
    Limits,
    SubType,
    TableType,
    Tag,
    read_global_type,
    read_group,
    read_limits,
    value_type,
)

__all__ = [
    "Data",
    "Element",
    "Export",
    "Global",
    "Import",
    "Kind",
    "Limits",
    "Module",
    "Section",
    "TableType",
    "Tag",
]

FUNCTION, TABLE, MEMORY, GLOBAL, TAG = range(5)
KINDS = ("function", "table", "memory", "global", "tag")


class Kind(enum.IntEnum):
    """The sections, by their numbers, in the order in which they stand. Custom ones stand anywhere."""

    CUSTOM = 0
    TYPES = 1
    IMPORTS = 2
    FUNCTIONS = 3
    TABLES = 4
    MEMORIES = 5
    TAGS = 13
    GLOBALS = 6
    EXPORTS = 7
    START = 8
    ELEMENTS = 9
    DATA_COUNT = 12
    CODE = 10
    DATA = 11


PLACES = {kind.value: place for place, kind in enumerate(Kind)}
"""Where a section stands among the others."""


class Import(NamedTuple):
    """``type`` is a FuncType, TableType, Limits, Global or Tag, as ``kind`` says; ``type_index`` is that of a
    function's type in the module, and 0 for others."""

    module: str
    name: str
    kind: int
    type: ExternType
    type_index: int = 0

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
    spelling: bytes


class Data(NamedTuple):
    """A data segment: spans of the expression of its offset, None for a passive one, and of its bytes."""

    memory: int
    offset: tuple[int, int] | None
    bytes: tuple[int, int]


class Section(NamedTuple):
    kind: int
    start: int
    end: int


@dataclass
class Module:
    """A parsed module. Imported entries come first in every index space.

    Attributes:
        wasm: its bytes.
        groups: the entries of the type section.
        subtypes: the types in them, by their indexes.
        types: all function types by their indexes; what is no function has an empty one in its place.
        functions, tags: the index of the type of each.
        start: the index of the start function.
    """

    wasm: bytes
    sections: list[Section] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    subtypes: list[SubType] = field(default_factory=list)
    types: list[FuncType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    tables: list[TableType] = field(default_factory=list)
    memories: list[Limits] = field(default_factory=list)
    globals: list[Global] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    start: int | None = None

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
        r, last = Reader(wasm, 8), 0
        while r.pos < r.end:
            kind, size = r.byte(), r.u32()
            if kind not in PLACES:
                raise UnsupportedModuleError(
                    f"the module has a section of kind {kind}, which is not supported"
                )
            start = r.pos
            r.skip(size)
            if kind == Kind.CUSTOM:
                Reader(wasm, start, r.pos).name()
            elif PLACES[kind] <= last:
                raise UnsupportedModuleError(
                    f"section {kind} at byte {start} comes twice, or after one that it must come before"
                )
            else:
                last = PLACES[kind]
            module.sections.append(Section(kind, start, r.pos))
        for kind, start, end in module.sections:
            r = Reader(wasm, start, end)
            if kind == Kind.START:
                module.start = r.u32()
            elif kind in module._readers:
                for _ in r.count():
                    module._readers[kind](module, r)
            else:
                continue
            module._check_end(kind, r)
        module._check_indexes()
        return module

    @staticmethod
    def _check_end(kind: int, r: Reader) -> None:
        if r.pos != r.end:
            raise UnsupportedModuleError(f"section {kind} is longer than its contents")

    def section(self, kind: Kind) -> Reader | None:
        """A reader of a section that is not custom; None where there is none."""
        for found, start, end in self.sections:
            if found == kind:
                return Reader(self.wasm, start, end)
        return None

    @property
    def spaces(self) -> tuple[list[Any], ...]:
        """What indexes mean, by kind."""
        return self.functions, self.tables, self.memories, self.globals, self.tags

    def count_imports(self, kind: int) -> int:
        return sum(i.kind == kind for i in self.imports)

    def own(self, kind: int) -> list[Any]:
        """What the module defines of one kind, where others are imported."""
        return self.spaces[kind][self.count_imports(kind) :]

    def function_type(self, index: int) -> FuncType:
        return self.types[self.functions[index]]

    def type_of(self, kind: int, index: int) -> ExternType:
        """The type of what an export names."""
        found: ExternType = self.function_type(index) if kind == FUNCTION else self.spaces[kind][index]
        return found

    def exported(self, kind: int) -> dict[str, int]:
        """The exports of one kind: name -> index."""
        return {e.name: e.index for e in self.exports if e.kind == kind}

    def data(self) -> Iterator[Data]:
        """The data segments, read as they are asked for."""
        r = self.section(Kind.DATA)
        if r is None:
            return
        for _ in r.count():
            flags = r.u32()
            if flags > 2:
                raise UnsupportedModuleError(f"malformed data segment at byte {r.pos}")
            memory = r.u32() if flags == 2 else 0
            offset = None if flags == 1 else expression(r)
            size = r.u32()
            r.skip(size)
            yield Data(memory, offset, (r.pos - size, r.pos))
        self._check_end(Kind.DATA, r)

    # ---- sections

    def _read_type(self, r: Reader) -> None:
        group = read_group(r)
        self.groups.append(group)
        self.subtypes += group.types
        self.types += [one.functype() for one in group.types]

    def _read_import(self, r: Reader) -> None:
        module, name, kind = r.name(), r.name(), r.byte()
        found: ExternType
        index = 0
        if kind == FUNCTION:
            index = r.u32()
            if index >= len(self.types):
                raise UnsupportedModuleError(f"import {module}.{name} has the unknown type {index}")
            found = self.types[index]
        elif kind == TABLE:
            found = self._table_type(r)
        elif kind == MEMORY:
            found = read_limits(r, "memory")
        elif kind == GLOBAL:
            found = read_global_type(r)
        elif kind == TAG:
            found = self._tag(r)
        else:
            raise UnsupportedModuleError(f"import {module}.{name} is of kind {kind}, which is not supported")
        self.spaces[kind].append(index if kind == FUNCTION else found)
        self.imports.append(Import(module, name, kind, found, index))

    def _read_table(self, r: Reader) -> None:
        initialized = r.peek() == 0x40
        if initialized and r.take(2) != b"\x40\0":
            raise UnsupportedModuleError(f"malformed table at byte {r.pos}")
        table = self._table_type(r)
        self.tables.append(table._replace(init=expression(r)) if initialized else table)

    def _read_global(self, r: Reader) -> None:
        self.globals.append(read_global_type(r)._replace(init=expression(r)))

    def _read_export(self, r: Reader) -> None:
        export = Export(r.name(), r.byte(), r.u32())
        if export.kind >= len(KINDS):
            raise UnsupportedModuleError(
                f"export {export.name!r} is of kind {export.kind}, which is not supported"
            )
        self.exports.append(export)

    def _read_element(self, r: Reader) -> None:
        flags = r.u32()
        if flags > 7:
            raise UnsupportedModuleError(f"malformed element segment at byte {r.pos}")
        table, offset, spelling = 0, None, bytes((FUNCREF,))
        if flags & 3 == 2:
            table = r.u32()
        if not flags & 1:
            offset = expression(r)
        if flags & 3:
            if flags & 4:
                spelling = value_type(r)
            elif r.byte() != 0:
                raise UnsupportedModuleError(f"malformed element segment at byte {r.pos}")
        items = [expression(r) if flags & 4 else r.u32() for _ in r.count()]
        self.elements.append(Element(flags, table, spelling[0], offset, items, spelling))

    _readers: ClassVar[dict[int, Callable[[Module, Reader], None]]] = {
        Kind.TYPES: _read_type,
        Kind.IMPORTS: _read_import,
        Kind.FUNCTIONS: lambda self, r: self.functions.append(r.u32()),
        Kind.TABLES: _read_table,
        Kind.MEMORIES: lambda self, r: self.memories.append(read_limits(r, "memory")),
        Kind.TAGS: lambda self, r: self.tags.append(self._tag(r)),
        Kind.GLOBALS: _read_global,
        Kind.EXPORTS: _read_export,
        Kind.ELEMENTS: _read_element,
    }

    # ---- parts of sections

    def _table_type(self, r: Reader) -> TableType:
        spelling = value_type(r)
        return TableType(spelling[0], read_limits(r, "table"), spelling)

    def _tag(self, r: Reader) -> Tag:
        if r.byte() != 0:
            raise UnsupportedModuleError(f"malformed tag at byte {r.pos}")
        type_ = r.u32()
        if type_ >= len(self.types):
            raise UnsupportedModuleError("a tag has an unknown type")
        return Tag(type_, self.types[type_])

    def _check_indexes(self) -> None:
        """What the code around here takes for granted: indexes that it follows, names that it looks up."""
        highest = max(self.functions, default=-1)
        if highest >= len(self.types):
            raise UnsupportedModuleError(f"a function has the unknown type {highest}")
        names = set()
        for export in self.exports:
            if export.name in names:
                raise UnsupportedModuleError(f"the module has two exports named {export.name!r}")
            names.add(export.name)
            if export.index >= len(self.spaces[export.kind]):
                raise UnsupportedModuleError(
                    f"export {export.name!r} names the unknown {KINDS[export.kind]} {export.index}"
                )
