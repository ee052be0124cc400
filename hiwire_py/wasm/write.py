"""Writing modules: with single sections changed, or all of it anew.

An `Edit` is for a pass that changes a few declarations: whatever it does not name is copied byte for byte. A
`Writer` writes every section, and each instruction, from what was read, so that indexes and types can change
everywhere; as it is, it changes nothing but the way in which numbers are spelled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from ..errors import UnsupportedModuleError
from .binary import Reader, leb, name, section, vector
from .code import Renumber, bodies, instructions, rewritten
from .module import FUNCTION, GLOBAL, KINDS, MEMORY, TABLE, Element, Export, Import, Kind, Module
from .types import Global, Limits, TableType, Tag, limits_bytes, value_type

__all__ = ["Edit", "Writer", "export_bytes", "fresh_name", "table_bytes"]

_PLACES = {kind.value: place for place, kind in enumerate(Kind)}


def fresh_name(wanted: str, taken: Collection[str]) -> str:
    """A name that is not among ``taken``."""
    while wanted in taken:
        wanted += "'"
    return wanted


def export_bytes(field: str, kind: int, index: int) -> bytes:
    """An entry of the export section."""
    return name(field) + bytes((kind,)) + leb(index)


def table_bytes(table: TableType) -> bytes:
    """The type of a table."""
    return table.spelling + limits_bytes(table.limits)


class Edit:
    """A module of which some sections change.

    Args:
        module: the module, which stays as it is.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._changed: dict[int, bytes | None] = {}
        self._added: dict[int, list[bytes]] = {}
        self._keeps_custom = True
        self._names = {export.name for export in module.exports}

    def set(self, kind: Kind, body: bytes | None) -> None:
        """Put another body in the place of a section; None leaves it out."""
        self._changed[kind] = body

    def add(self, kind: Kind, item: bytes) -> None:
        """Put an item at the end of a section that is a vector."""
        self._added.setdefault(kind, []).append(item)

    def export(self, wanted: str, kind: int, index: int) -> str:
        """Export something under a name that no other export has, which is given back."""
        field = fresh_name(wanted, self._names)
        self._names.add(field)
        self.add(Kind.EXPORTS, export_bytes(field, kind, index))
        return field

    def drop_custom(self) -> None:
        """Leave all custom sections out."""
        self._keeps_custom = False

    def written(self) -> bytes:
        """The module's bytes; the same object where nothing changes."""
        module, wasm = self._module, self._module.wasm
        if not self._changed and not self._added and self._keeps_custom:
            return wasm
        there = {kind for kind, _, _ in module.sections}
        new = sorted((set(self._changed) | set(self._added)) - there, key=_PLACES.__getitem__)
        out = [wasm[:8]]
        for kind, start, end in module.sections:
            while new and kind != Kind.CUSTOM and _PLACES[new[0]] < _PLACES[kind]:
                out.append(self._section(new.pop(0), None))
            if kind != Kind.CUSTOM:
                out.append(self._section(kind, wasm[start:end]))
            elif self._keeps_custom:
                out.append(section(kind, wasm[start:end]))
        out += [self._section(kind, None) for kind in new]
        return b"".join(out)

    def _section(self, kind: int, body: bytes | None) -> bytes:
        body = self._changed.get(kind, body)
        added = self._added.get(kind)
        if added and body is None:
            body = vector(added)
        elif added and body is not None:
            r = Reader(body)
            body = leb(r.u32() + len(added)) + body[r.pos :] + b"".join(added)
        return b"" if body is None else section(kind, body)


class Writer:
    """A module, written anew; a pass overrides what it changes.

    The module is taken to be valid: what the code refers to is not checked.

    Args:
        module: the module.
    """

    renumber: Renumber
    """What becomes of indexes, by the letters of wasm/instructions.py."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.renumber = {}

    def written(self) -> bytes:
        """The module's bytes.

        Raises:
            UnsupportedModuleError: it is malformed.
        """
        # Code decides on types and functions that are added, so it is written before them: once, as it takes
        # nearly all of the time.
        order = dict.fromkeys((Kind.CODE, Kind.IMPORTS, *Kind))
        bodies_ = {kind: self.section(kind) for kind in order if kind}
        parts = [(kind.value, bodies_[kind]) for kind in Kind if kind]
        parts += [(Kind.CUSTOM.value, body) for body in self.custom()]
        return self.module.wasm[:8] + b"".join(
            section(kind, body) for kind, body in parts if body is not None
        )

    def section(self, kind: Kind) -> bytes | None:
        """The body of a section that is not custom; None where there is none."""
        if kind == Kind.START:
            start = self.start()
            return None if start is None else leb(start)
        if kind == Kind.DATA_COUNT:
            r = self.module.section(kind)
            return None if r is None else leb(r.u32())
        items = list(self._items[kind](self))
        return vector(items) if items else None

    # ---- parts that a pass may change

    def spelling(self, spelling: bytes) -> bytes:
        """What becomes of a value type."""
        return spelling

    def index(self, letter: str, index: int) -> int:
        """What becomes of an index."""
        return self.renumber[letter](index) if letter in self.renumber else index

    def expression(self, span: tuple[int, int]) -> bytes:
        """A constant expression, with its end."""
        return self.code(Reader(self.module.wasm, *span))

    def code(self, r: Reader) -> bytes:
        """Instructions, to the reader's end."""
        return b"".join(rewritten(r, code, self.renumber, self.spelling) for _, code in instructions(r))

    def start(self) -> int | None:
        """The start function."""
        return None if self.module.start is None else self.index("F", self.module.start)

    def types(self) -> Iterable[bytes]:
        """Entries of the type section."""
        for group in self.module.groups:
            types = (one.written(self.spelling) for one in group.types)
            yield b"\x4e" + vector(types) if group.explicit else b"".join(types)

    def imports(self) -> Iterable[bytes]:
        """Entries of the import section."""
        return map(self.import_, self.module.imports)

    def import_(self, wanted: Import) -> bytes:
        """One import."""
        described = wanted.type
        if isinstance(described, TableType):
            what = self.spelling(described.spelling) + limits_bytes(described.limits)
        elif isinstance(described, Limits):
            what = limits_bytes(described)
        elif isinstance(described, Global):
            what = self.spelling(described.spelling) + bytes((described.mutable,))
        elif isinstance(described, Tag):
            what = b"\0" + leb(self.index("T", described.type))
        else:
            what = leb(self.index("T", wanted.type_index))
        return name(wanted.module) + name(wanted.name) + bytes((wanted.kind,)) + what

    def functions(self) -> Iterable[bytes]:
        """Entries of the function section."""
        own = self.module.functions[self.module.count_imports(FUNCTION) :]
        return [leb(self.index("T", type_)) for type_ in own]

    def tables(self) -> Iterable[bytes]:
        """Entries of the table section."""
        return map(self.table, self.module.tables[self.module.count_imports(TABLE) :])

    def table(self, table: TableType) -> bytes:
        """One table that the module defines."""
        type_ = self.spelling(table.spelling) + limits_bytes(table.limits)
        return type_ if table.init is None else b"\x40\0" + type_ + self.expression(table.init)

    def memories(self) -> Iterable[bytes]:
        """Entries of the memory section."""
        return map(limits_bytes, self.module.memories[self.module.count_imports(MEMORY) :])

    def tags(self) -> Iterable[bytes]:
        """Entries of the tag section."""
        own = self.module.tags[self.module.count_imports(KINDS.index("tag")) :]
        return [b"\0" + leb(self.index("T", tag.type)) for tag in own]

    def globals(self) -> Iterable[bytes]:
        """Entries of the global section."""
        for global_ in self.module.globals[self.module.count_imports(GLOBAL) :]:
            assert global_.init is not None
            type_ = self.spelling(global_.spelling) + bytes((global_.mutable,))
            yield type_ + self.expression(global_.init)

    def exports(self) -> Iterable[bytes]:
        """Entries of the export section."""
        return map(self.export, self.module.exports)

    def export(self, export: Export) -> bytes:
        """One export."""
        return export_bytes(export.name, export.kind, self.index("FtMGX"[export.kind], export.index))

    def elements(self) -> Iterable[bytes]:
        """Entries of the element section."""
        return map(self.element, self.module.elements)

    def element(self, element: Element) -> bytes:
        """One segment of elements."""
        out = [leb(element.flags)]
        if element.offset is not None:
            if element.flags & 2:
                out.append(leb(self.index("t", element.table)))
            out.append(self.expression(element.offset))
        if element.flags & 3:
            out.append(self.spelling(element.spelling) if element.flags & 4 else b"\0")
        out.append(
            vector(
                self.expression(item) if isinstance(item, tuple) else leb(self.address(item))
                for item in element.items
            )
        )
        return b"".join(out)

    def address(self, function: int) -> int:
        """The index of a function that a segment of elements names."""
        return self.index("F", function)

    def bodies(self) -> Iterable[bytes]:
        """Entries of the code section."""
        return map(self.body, self.entries(), self.module.functions[self.module.count_imports(FUNCTION) :])

    def entries(self) -> list[Reader]:
        """A reader at each of them, as it is now."""
        own = self.module.functions[self.module.count_imports(FUNCTION) :]
        r = self.module.section(Kind.CODE)
        found = [] if r is None else list(bodies(r))
        if len(found) != len(own) or (r is not None and r.pos != r.end):
            raise UnsupportedModuleError(
                f"the module declares {len(own)} functions and has code for {len(found)}"
            )
        return found

    def body(self, r: Reader, type_: int) -> bytes:
        """One entry of the code section; ``type_`` is the index of the function's type."""
        groups = [leb(r.u32()) + self.spelling(value_type(r)) for _ in r.count()]
        whole = vector(groups) + self.code(r)
        return leb(len(whole)) + whole

    def data(self) -> Iterable[bytes]:
        """Entries of the data section."""
        wasm = self.module.wasm
        for segment in self.module.data():
            memory = self.index("M", segment.memory)
            if segment.offset is None:
                out = b"\1"
            else:
                out = (b"\2" + leb(memory) if memory else b"\0") + self.expression(segment.offset)
            start, end = segment.bytes
            yield out + leb(end - start) + wasm[start:end]

    def custom(self) -> Iterable[bytes]:
        """The bodies of custom sections, which come last."""
        return [self.module.wasm[start:end] for kind, start, end in self.module.sections if not kind]

    _items: dict[Kind, Callable[[Writer], Iterable[bytes]]] = {
        Kind.TYPES: lambda self: self.types(),
        Kind.IMPORTS: lambda self: self.imports(),
        Kind.FUNCTIONS: lambda self: self.functions(),
        Kind.TABLES: lambda self: self.tables(),
        Kind.MEMORIES: lambda self: self.memories(),
        Kind.TAGS: lambda self: self.tags(),
        Kind.GLOBALS: lambda self: self.globals(),
        Kind.EXPORTS: lambda self: self.exports(),
        Kind.ELEMENTS: lambda self: self.elements(),
        Kind.CODE: lambda self: self.bodies(),
        Kind.DATA: lambda self: self.data(),
    }
