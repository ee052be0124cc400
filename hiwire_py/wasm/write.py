"""Writing modules: with single sections changed, or all of it anew.

An `Edit` is for a pass that changes a few declarations: whatever it does not name is copied byte for byte. A
`Writer` writes every section, and each instruction, from what was read, so that indexes and types can change
everywhere; as it is, it changes nothing but the way in which numbers are spelled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..errors import UnsupportedModuleError
from .binary import Reader, leb, name, section, sized, vector
from .code import UNCHANGED, Renumber, instructions, rewritten
from .module import FUNCTION, GLOBAL, MEMORY, PLACES, TABLE, TAG, Element, Export, Import, Kind, Module
from .types import Global, Limits, TableType, Tag, limits_bytes, value_type

__all__ = ["Edit", "Writer", "export_bytes", "fresh_name"]


def fresh_name(wanted: str, taken: Collection[str]) -> str:
    """A name that is not among ``taken``."""
    while wanted in taken:
        wanted += "'"
    return wanted


def export_bytes(field: str, kind: int, index: int) -> bytes:
    """An entry of the export section."""
    return name(field) + bytes((kind,)) + leb(index)


class Edit:
    """A module of which some sections change.

    Args:
        module: the module, which stays as it is.
        keeps_custom: whether its custom sections stay.
    """

    def __init__(self, module: Module, keeps_custom: bool = True) -> None:
        self._module = module
        self._changed: dict[int, bytes | None] = {}
        self._added: dict[int, list[bytes]] = {}
        self._keeps_custom = keeps_custom
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

    def written(self) -> bytes:
        """The module's bytes; the same object where nothing changes."""
        module, wasm = self._module, self._module.wasm
        if not self._changed and not self._added and self._keeps_custom:
            return wasm
        place = 0
        parts: list[tuple[int, int, bytes | None]] = []
        for kind, start, end in module.sections:
            place = PLACES[kind] or place  # custom sections stay behind what they stand behind
            if kind != Kind.CUSTOM or self._keeps_custom:
                parts.append((place, kind, wasm[start:end]))
        new = {*self._changed, *self._added}.difference(kind for kind, _, _ in module.sections)
        parts += [(PLACES[kind], kind, None) for kind in new]
        parts.sort(key=lambda part: part[0])
        return wasm[:8] + b"".join(self._section(kind, body) for _, kind, body in parts)

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
    """

    renumber: Renumber = UNCHANGED
    """What becomes of indexes, by the letters of wasm/instructions.py."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def written(self) -> bytes:
        """The module's bytes.

        Raises:
            UnsupportedModuleError: it is malformed.
        """
        # Code decides on types and functions that are added, so it is written before them: once, as it takes
        # nearly all of the time.
        order = dict.fromkeys((Kind.CODE, Kind.IMPORTS, *Kind))
        bodies_ = {kind: self.section(kind) for kind in order if kind}
        parts = [(kind, bodies_[kind]) for kind in Kind if kind] + [(Kind.CUSTOM, x) for x in self.custom()]
        written = (section(kind, body) for kind, body in parts if body is not None)
        return self.module.wasm[:8] + b"".join(written)

    def section(self, kind: Kind) -> bytes | None:
        """The body of a section that is not custom; None where there is none."""
        if kind == Kind.START:
            start = self.start()
            return None if start is None else leb(start)
        if kind == Kind.DATA_COUNT:
            r = self.module.section(kind)
            return None if r is None else leb(r.u32())
        items = list(getattr(self, kind.name.lower())())
        return vector(items) if items else None

    # ---- parts that a pass may change

    def spelling(self, spelling: bytes) -> bytes:
        """What becomes of a value type."""
        return spelling

    def expression(self, span: tuple[int, int]) -> bytes:
        """A constant expression, with its end."""
        return self.instructions(Reader(self.module.wasm, *span))

    def instructions(self, r: Reader) -> bytes:
        """Instructions, to the reader's end."""
        return b"".join(rewritten(r, code, self.renumber, self.spelling) for _, code in instructions(r))

    def start(self) -> int | None:
        """The start function."""
        return None if self.module.start is None else self.renumber["F"](self.module.start)

    def address(self, function: int) -> int:
        """The index of a function that a segment of elements names."""
        return self.renumber["F"](function)

    def custom(self) -> Iterable[bytes]:
        """The bodies of custom sections, which come last."""
        return [self.module.wasm[start:end] for kind, start, end in self.module.sections if not kind]

    # ---- the entries of sections, by their names in `Kind`; single ones have the singular

    def types(self) -> Iterable[bytes]:
        for group in self.module.groups:
            types = (one.written(self.spelling) for one in group.types)
            yield b"\x4e" + vector(types) if group.explicit else b"".join(types)

    def imports(self) -> Iterable[bytes]:
        return map(self.import_, self.module.imports)

    def import_(self, wanted: Import) -> bytes:
        described = wanted.type
        if isinstance(described, TableType):
            what = self._table(described)
        elif isinstance(described, Limits):
            what = limits_bytes(described)
        elif isinstance(described, Global):
            what = self._global(described)
        elif isinstance(described, Tag):
            what = self._tag(described)
        else:
            what = leb(self.renumber["T"](wanted.type_index))
        return name(wanted.module) + name(wanted.name) + bytes((wanted.kind,)) + what

    def functions(self) -> Iterable[bytes]:
        return [leb(self.renumber["T"](type_)) for type_ in self.module.own(FUNCTION)]

    def tables(self) -> Iterable[bytes]:
        return map(self.table, self.module.own(TABLE))

    def table(self, table: TableType) -> bytes:
        type_ = self._table(table)
        return type_ if table.init is None else b"\x40\0" + type_ + self.expression(table.init)

    def memories(self) -> Iterable[bytes]:
        return map(limits_bytes, self.module.own(MEMORY))

    def tags(self) -> Iterable[bytes]:
        return map(self._tag, self.module.own(TAG))

    def globals(self) -> Iterable[bytes]:
        return [self._global(one) + self.expression(one.init) for one in self.module.own(GLOBAL)]

    def exports(self) -> Iterable[bytes]:
        return map(self.export, self.module.exports)

    def export(self, export: Export) -> bytes:
        return export_bytes(export.name, export.kind, self.renumber["FtMGX"[export.kind]](export.index))

    def elements(self) -> Iterable[bytes]:
        return map(self.element, self.module.elements)

    def element(self, element: Element) -> bytes:
        out = [leb(element.flags)]
        if element.offset is not None:
            if element.flags & 2:
                out.append(leb(self.renumber["t"](element.table)))
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

    def code(self) -> Iterable[bytes]:
        return map(self.body, self.bodies(), self.module.own(FUNCTION))

    def bodies(self) -> list[Reader]:
        """A reader at each entry of the code section, as it is now."""
        declared = len(self.module.own(FUNCTION))
        r = self.module.section(Kind.CODE) or Reader(b"\0")
        found = []
        for _ in r.count():
            size = r.u32()
            found.append(r.at(r.pos, r.pos + size))
            r.take(size)
        if len(found) != declared or r.pos != r.end:
            raise UnsupportedModuleError(
                f"the module declares {declared} functions and has code for {len(found)}"
            )
        return found

    def body(self, r: Reader, type_: int) -> bytes:
        """One entry of the code section; ``type_`` is the index of the function's type."""
        groups = [leb(r.u32()) + self.spelling(value_type(r)) for _ in r.count()]
        return sized(vector(groups) + self.instructions(r))

    def data(self) -> Iterable[bytes]:
        wasm = self.module.wasm
        for segment in self.module.data():
            memory = self.renumber["M"](segment.memory)
            if segment.offset is None:
                out = b"\1"
            else:
                out = (b"\2" + leb(memory) if memory else b"\0") + self.expression(segment.offset)
            yield out + sized(wasm[slice(*segment.bytes)])

    # ---- types, as they stand in several sections

    def _table(self, table: TableType) -> bytes:
        return self.spelling(table.spelling) + limits_bytes(table.limits)

    def _global(self, type_: Global) -> bytes:
        return self.spelling(type_.spelling) + bytes((type_.mutable,))

    def _tag(self, tag: Tag) -> bytes:
        return b"\0" + leb(self.renumber["T"](tag.type))
