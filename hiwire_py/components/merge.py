"""Several modules that import from each other become one: static linking.

Each *part* is a module with what its imports are given: an export of another part, or a function of the host,
which is all that the result imports. An *item* is a function, table, memory, global, tag or segment by the
part that defines it; what imports it names the same item. What nothing leads to is left out: the roots are
exports, start functions, and segments that may trap.

In the result the parts are instantiated one after the other, as they were given: segments, then the start
function of each. A segment stays one of the result's, applied before any code runs, only where that makes no
difference: it cannot trap, and either no code runs before it, or its part defines what it is for, so that no
code can have seen it. All others become code of the one start function, as passes/deferred_start.py has it.

A function that does nothing but call an element of a table which never changes, as those that
``wasm-tools component new`` makes for imports, is that element.

An immutable global in a constant expression is replaced by its value, since not every engine takes a global
of the module itself there.

Requires: valid modules. Where an import is given what has another type, that is refused.

This file is long because what becomes of each kind of item depends on what all the others lead to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Union

from ..errors import UnsupportedModuleError
from ..wasm.binary import Reader, leb, name, section, signed_leb, sized, vector
from ..wasm.code import instructions
from ..wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, TABLE, Element, Kind, Module
from ..wasm.opcodes import (
    CALL_INDIRECT,
    CALL_REF,
    GLOBAL_GET,
    REF_FUNC,
    RETURN_CALL_INDIRECT,
    RETURN_CALL_REF,
    TABLE_COPY,
    TABLE_FILL,
    TABLE_GROW,
    TABLE_INIT,
    TABLE_SET,
)
from ..wasm.sites import Site, body_sites, code_sites, spliced
from ..wasm.types import (
    REF,
    REF_NULL,
    FuncType,
    Global,
    Limits,
    SubType,
    TableType,
    function_type,
    limits_bytes,
)
from ..wasm.write import Writer, export_bytes
from .assemble import Reference

__all__ = ["MOST_PAGES", "HostItem", "Item", "Merger"]

_LETTERS = "FtMGX"  # by the numbers of kinds, as instructions.py has them
_SETS_TABLE = (TABLE_SET, TABLE_INIT, TABLE_COPY, TABLE_GROW, TABLE_FILL)
_PAGE = MOST_PAGES = 1 << 16
_END = b"\x0b"
_GC = 0xFB


class Item(NamedTuple):
    """``letter`` is one of ``F t M G X E D``; ``number`` is the index in the part."""

    letter: str
    part: int
    number: int


class HostItem(NamedTuple):
    """A function that the result imports."""

    module: str
    field: str


Given = Union[Reference, HostItem]
_Fragment = Union[bytes, tuple[str, int, int]]  # of code; or a letter, a part and an index


class _Part:
    """A module, read as far as it is needed."""

    def __init__(self, module: Module, given: Mapping[tuple[str, str], Given]) -> None:
        self.module = module
        self.given = given
        self.imports = [[one for one in module.imports if one.kind == kind] for kind in range(len(KINDS))]
        self.exports = {one.name: one for one in module.exports}
        self.bodies = Writer(module).bodies()
        self.data = list(module.data())
        self.groups = [(group, place) for group in module.groups for place in range(len(group.types))]
        self.sites: dict[int, list[Site]] = {}

    def sites_of(self, function: int) -> list[Site]:
        """Those in the body of a function that it defines."""
        if function not in self.sites:
            r = self.bodies[function - len(self.imports[FUNCTION])]
            self.sites[function] = body_sites(r.at(r.pos))
        return self.sites[function]


class Merger:
    """Makes one module of parts.

    Args:
        parts: in the order of their instantiation: each module, and what its imports are given.
        grown: of memories that become larger, by part and index, by how many pages.
    """

    def __init__(
        self,
        parts: Iterable[tuple[Module, Mapping[tuple[str, str], Given]]],
        grown: Mapping[tuple[int, int], int] | None = None,
    ) -> None:
        self.parts = [_Part(module, given) for module, given in parts]
        self.grown = {} if grown is None else grown
        self.exports: dict[str, Item | HostItem] = {}
        self._resolved: dict[tuple[int, int, int], Item | HostItem] = {}
        self._host_types: dict[HostItem, FuncType] = {}
        self._segments: dict[Item, list[Item]] = {}  # active ones, by what they are for
        self._users: dict[Item, set[int]] = {}  # parts that a table is in
        self._coded: dict[Item, bool] = {}  # segments that become code, and whether they may trap
        self._steps: list[Item] = []
        self._contents: dict[Item, dict[int, Item | HostItem] | None] = {}
        self._order_segments()
        self.live: dict[Item | HostItem, None] = {}
        self._work: list[Item | HostItem] = []
        self._named: dict[Item | HostItem, None] = {}  # functions that code names by ref.func
        self._types: list[bytes] = []
        self._type_count = 0
        self._type_numbers: dict[tuple[int, int], int] = {}
        self._type_bytes: dict[bytes, int] = {}
        self._numbers: dict[Item | HostItem, int] = {}

    # ---- what is what

    def find(self, reference: Reference) -> Item | HostItem:
        """What a part exports."""
        export = self.parts[reference.stage].exports.get(reference.name)
        if export is None:
            raise UnsupportedModuleError(f"there is no export {reference.name!r}")
        return self.resolve(reference.stage, export.kind, export.index)

    def resolve(self, part: int, kind: int, index: int) -> Item | HostItem:
        """What an index of a part stands for."""
        key = part, kind, index
        if key not in self._resolved:
            found = self._defined(part, kind, index)
            self._resolved[key] = self._forwarded(found) if kind == FUNCTION else found
        return self._resolved[key]

    def _defined(self, part: int, kind: int, index: int) -> Item | HostItem:
        imports = self.parts[part].imports[kind]
        if index >= len(imports):
            return Item(_LETTERS[kind], part, index)
        wanted = imports[index]
        given = self.parts[part].given[wanted.module, wanted.name]
        if isinstance(given, HostItem):
            assert isinstance(wanted.type, FuncType)
            if self._host_types.setdefault(given, wanted.type) != wanted.type:
                raise UnsupportedModuleError(f"import {wanted} has two types")
            return given
        export = self.parts[given.stage].exports.get(given.name)
        if export is None or export.kind != kind:
            raise UnsupportedModuleError(f"import {wanted} is given what is no {KINDS[kind]}")
        module = self.parts[given.stage].module
        if not _fits(module.type_of(kind, export.index), wanted.type):
            raise UnsupportedModuleError(f"import {wanted} is given a {KINDS[kind]} of another type")
        return self._defined(given.stage, kind, export.index)

    def _at(self, part: int, letter: str, index: int) -> Item | HostItem:
        """The same by the letter of a site."""
        if letter in "ED":
            return Item(letter, part, index)
        return self.resolve(part, 2 if letter == "a" else _LETTERS.index(letter), index)

    def type_of(self, function: Item | HostItem) -> FuncType:
        """The type of a function."""
        if isinstance(function, HostItem):
            return self._host_types[function]
        return self.parts[function.part].module.function_type(function.number)

    # ---- segments

    def _order_segments(self) -> None:
        """Which segments become code, and the steps of the start function."""
        for number, part in enumerate(self.parts):
            module, late = part.module, set[Item]()
            for table in range(len(module.tables)):
                item = self._defined(number, TABLE, table)
                assert isinstance(item, Item)
                self._users.setdefault(item, set()).add(number)
            segments = [(Item("E", number, i), one.offset, len(one.items), TABLE, one.table)
                        for i, one in enumerate(module.elements)]  # fmt: skip
            segments += [(Item("D", number, i), one.offset, one.bytes[1] - one.bytes[0], MEMORY, one.memory)
                         for i, one in enumerate(part.data)]  # fmt: skip
            for segment, offset, count, kind, index in segments:
                if offset is None:
                    continue
                target = self._defined(number, kind, index)
                assert isinstance(target, Item)
                self._segments.setdefault(target, []).append(segment)
                traps = not self._is_within(number, offset, count, target)
                fresh = target.part == number and target not in late
                if traps or (self._steps and not fresh):
                    late.add(target)
                    self._coded[segment] = traps
                    self._steps.append(segment)
            if module.start is not None:
                self._steps.append(Item("F", number, module.start))

    def _is_within(self, part: int, offset: tuple[int, int], count: int, target: Item) -> bool:
        """Whether a segment certainly has room in what it is for, as that is at first."""
        place = self._place(part, offset)
        module = self.parts[target.part].module
        if target.letter == "t":
            room = module.tables[target.number].limits.minimum
        else:
            room = module.memories[target.number].minimum * _PAGE
        return place is not None and place + count <= room

    def _place(self, part: int, offset: tuple[int, int]) -> int | None:
        """Where a segment goes, if that is known."""
        fragments = list(self._fragments(part, offset))
        return _constant(b"".join(one if isinstance(one, bytes) else b"\0" for one in fragments))

    # ---- constant expressions

    def _fragments(self, part: int, span: tuple[int, int]) -> Iterator[_Fragment]:
        """A constant expression without its end."""
        start, end = span
        wasm = self.parts[part].module.wasm
        for site in code_sites(Reader(wasm, start, end - 1)):
            value = None
            if site.code == GLOBAL_GET:
                value = self._value(part, site.number)
            if value is None:
                yield wasm[start : site.start]
                yield site.letter, part, site.number
            else:
                yield wasm[start : site.start - 1]
                yield from value
            start = site.end
        yield wasm[start : end - 1]

    def _value(self, part: int, index: int) -> list[_Fragment] | None:
        """What an immutable global is; None where that must not be evaluated twice."""
        item = self.resolve(part, GLOBAL, index)
        assert isinstance(item, Item)
        module = self.parts[item.part].module
        global_ = module.globals[item.number]
        if global_.mutable or global_.init is None:
            return None
        if any(code >> 16 == _GC for _, code in instructions(Reader(module.wasm, *global_.init))):
            return None
        return list(self._fragments(item.part, global_.init))

    def _expression(self, part: int, span: tuple[int, int]) -> bytes:
        """A constant expression of the result, without its end."""
        out = []
        for one in self._fragments(part, span):
            if isinstance(one, bytes):
                out.append(one)
            elif one[0] == "h":
                out.append(signed_leb(self._type(one[1], one[2])))
            else:
                out.append(leb(self._index(one[1], one[0], one[2])))
        return b"".join(out)

    # ---- tables that never change

    def contents(self, table: Item) -> dict[int, Item | HostItem] | None:
        """The functions in a table by their places, if it is filled before any code runs and never changes;
        else None."""
        if table not in self._contents:
            self._contents[table] = None  # as long as it is not known
            self._contents[table] = self._read_contents(table)
        return self._contents[table]

    def _read_contents(self, table: Item) -> dict[int, Item | HostItem] | None:
        segments = self._segments.get(table, [])
        filled = self.parts[table.part].module.tables[table.number].init
        if filled or any(one in self._coded for one in segments):
            return None
        for number in self._users[table]:
            part = self.parts[number]
            for function in range(len(part.imports[FUNCTION]), len(part.module.functions)):
                for site in part.sites_of(function):
                    if site.letter != "t" or site.code not in _SETS_TABLE:
                        continue
                    if self._defined(number, TABLE, site.number) == table:
                        return None
        found: dict[int, Item | HostItem] = {}
        for segment in segments:
            part = self.parts[segment.part]
            element = part.module.elements[segment.number]
            assert element.offset is not None
            known = self._place(segment.part, element.offset)
            assert known is not None  # for the segment is within the table
            for place, one in enumerate(element.items, known):
                named = one if isinstance(one, int) else _named_function(part.module.wasm, one)
                if named is None:
                    return None
                found[place] = self._defined(segment.part, FUNCTION, named)
        return found

    def _forwarded(self, function: Item | HostItem) -> Item | HostItem:
        """What a function is that does nothing but call an element of a table; else itself."""
        seen = {function}
        while isinstance(function, Item):
            target = self._forwards(function)
            if target is None or target in seen:
                break
            seen.add(target)
            function = target
        return function

    def _forwards(self, function: Item) -> Item | HostItem | None:
        part = self.parts[function.part]
        type_ = part.module.function_type(function.number)
        body = part.bodies[function.number - len(part.imports[FUNCTION])]
        gets = b"".join(b"\x20" + leb(i) for i in range(len(type_.params)))
        r = body.at(body.pos)
        start = b"\0" + gets + b"\x41"
        if r.data[r.pos : r.pos + len(start)] != start:
            return None
        r.pos += len(start)
        place = r.signed(32) & 0xFFFFFFFF
        if r.pos >= r.end or r.byte() != CALL_INDIRECT:
            return None
        wanted, table = r.u32(), r.u32()
        if part.module.types[wanted] != type_ or r.data[r.pos : r.end] != _END:
            return None
        item = self._defined(function.part, TABLE, table)
        assert isinstance(item, Item)
        target = (self.contents(item) or {}).get(place)
        return target if target is not None and self.type_of(target) == type_ else None

    # ---- what code leads to

    def reach(self, roots: Iterable[Item | HostItem]) -> set[Item | HostItem] | None:
        """All functions that some can come to call, themselves included; None: that cannot be told."""
        work, found = list(roots), set[Union[Item, HostItem]]()
        called: set[tuple[Item, FuncType]] = set()  # through tables
        while work:
            function = work.pop()
            if function in found:
                continue
            found.add(function)
            if isinstance(function, HostItem):
                continue
            type_ = -1
            for site in self.parts[function.part].sites_of(function.number):
                if site.code in (CALL_REF, RETURN_CALL_REF):
                    return None
                if site.letter == "F":
                    work.append(self.resolve(function.part, FUNCTION, site.number))
                elif site.letter == "T":
                    type_ = site.number
                elif site.code in (CALL_INDIRECT, RETURN_CALL_INDIRECT) and site.letter == "t":
                    table = self._defined(function.part, TABLE, site.number)
                    assert isinstance(table, Item)
                    elements = self.contents(table)
                    if elements is None:
                        return None
                    wanted = self.parts[function.part].module.types[type_]
                    if (table, wanted) not in called:
                        called.add((table, wanted))
                        work += [one for one in elements.values() if self.type_of(one) == wanted]
        return found

    def need(self, item: Item | HostItem) -> None:
        """It is part of the result."""
        if item not in self.live:
            self.live[item] = None
            self._work.append(item)

    def export(self, field: str, item: Item | HostItem) -> None:
        """The result exports it."""
        self.exports[field] = item
        self.need(item)

    def settle(self) -> list[HostItem]:
        """Follow what is needed; the functions of the host that it has come to, in order."""
        for step in self._steps:
            if step.letter == "F" or self._coded[step]:
                self.need(self.resolve(step.part, FUNCTION, step.number) if step.letter == "F" else step)
        while self._work:
            item = self._work.pop()
            if isinstance(item, Item):
                self._follow[item.letter](self, self.parts[item.part], item)
        return [one for one in self.live if isinstance(one, HostItem)]

    def _need_function(self, part: _Part, item: Item) -> None:
        for site in part.sites_of(item.number):
            if site.letter not in "Tbh":
                target = self._at(item.part, site.letter, site.number)
                self.need(target)
                if site.code == REF_FUNC:
                    self._named[target] = None

    def _need_table(self, part: _Part, item: Item) -> None:
        self._need_expression(item.part, part.module.tables[item.number].init)
        for segment in self._segments.get(item, ()):
            self.need(segment)

    def _need_memory(self, part: _Part, item: Item) -> None:
        for segment in self._segments.get(item, ()):
            self.need(segment)

    def _need_global(self, part: _Part, item: Item) -> None:
        self._need_expression(item.part, part.module.globals[item.number].init)

    def _need_elements(self, part: _Part, item: Item) -> None:
        element = part.module.elements[item.number]
        if element.offset is not None:
            self.need(self.resolve(item.part, TABLE, element.table))
            self._need_expression(item.part, element.offset)
        for one in element.items:
            if isinstance(one, int):
                self.need(self.resolve(item.part, FUNCTION, one))
            else:
                self._need_expression(item.part, one)

    def _need_data(self, part: _Part, item: Item) -> None:
        data = part.data[item.number]
        if data.offset is not None:
            self.need(self.resolve(item.part, MEMORY, data.memory))
            self._need_expression(item.part, data.offset)

    def _need_tag(self, part: _Part, item: Item) -> None:
        """Its type is known when it is written."""

    _follow = {
        "F": _need_function,
        "t": _need_table,
        "M": _need_memory,
        "G": _need_global,
        "E": _need_elements,
        "D": _need_data,
        "X": _need_tag,
    }

    def _need_expression(self, part: int, span: tuple[int, int] | None) -> None:
        for one in () if span is None else self._fragments(part, span):
            if not isinstance(one, bytes) and one[0] not in "Th":
                self.need(self._at(one[1], one[0], one[2]))

    # ---- types

    def _type(self, part: int, index: int) -> int:
        """What becomes of the index of a type."""
        key = part, index
        if key not in self._type_numbers:
            group, place = self.parts[part].groups[index]
            first = index - place
            outside = [
                i for one in group.types for i in _types_in(one) if not first <= i < first + len(group.types)
            ]
            for other in outside:
                self._type(part, other)
            self._add_types(part, first, len(group.types), group.explicit, group.types)
        return self._type_numbers[key]

    def _add_types(self, part: int, first: int, count: int, explicit: bool, types: Sequence[SubType]) -> None:
        plain = not explicit and not types[0].prefix and not any(True for _ in _types_in(types[0]))
        if plain:
            written = types[0].written(bytes)
            self._type_numbers[part, first] = self._plain_type(written)
            return
        for place in range(count):
            self._type_numbers[part, first + place] = self._type_count + place
        self._type_count += count
        whole = [
            _prefix(one.prefix, lambda i: self._type(part, i))
            + one._replace(prefix=b"").written(lambda s: self._spelling(part, s))
            for one in types
        ]
        self._types.append(b"\x4e" + vector(whole) if explicit else whole[0])

    def _plain_type(self, written: bytes) -> int:
        """A type that names no other."""
        if written not in self._type_bytes:
            self._type_bytes[written] = self._type_count
            self._types.append(written)
            self._type_count += 1
        return self._type_bytes[written]

    def _code_type(self, type_: FuncType) -> int:
        sides = [[bytes((code,)) for code in side] for side in type_]
        return self._plain_type(function_type(*sides))

    def _spelling(self, part: int, spelling: bytes) -> bytes:
        index = _type_in(spelling)
        return spelling if index is None else spelling[:1] + signed_leb(self._type(part, index))

    # ---- the result

    def _index(self, part: int, letter: str, index: int) -> int:
        if letter == "T":
            return self._type(part, index)
        return self._numbers[self._at(part, letter, index)]

    def written(self, custom: Iterable[tuple[str, bytes]] = ()) -> bytes:
        """The module's bytes.

        Args:
            custom: custom sections, by name.
        """
        hosts = self.settle()
        items = {letter: sorted(i for i in self.live if isinstance(i, Item) and i.letter == letter)
                 for letter in "FtMGXED"}  # fmt: skip
        accesses = self._accesses(items["F"])
        items["M"].sort(key=lambda one: -accesses[one])
        self._numbers.update((host, place) for place, host in enumerate(hosts))
        for letter, some in items.items():
            first = len(hosts) if letter == "F" else 0
            self._numbers.update((one, place) for place, one in enumerate(some, first))
        modules = [part.module for part in self.parts]
        code = [self._body(one) for one in items["F"]]
        functions = [leb(self._type(p, modules[p].functions[i])) for _, p, i in items["F"]]
        start, begin = self._start(len(hosts) + len(functions))
        if begin is not None:
            code.append(begin)
            functions.append(leb(self._code_type(FuncType(b"", b""))))
        imports = [
            name(one.module) + name(one.field) + b"\0" + leb(self._code_type(self._host_types[one]))
            for one in hosts
        ]
        elements = [self._element(one) for one in items["E"]]
        if self._named:
            elements.append(b"\3\0" + vector(leb(self._numbers[one]) for one in self._named))
        parts: list[tuple[Kind, list[bytes]]] = [
            (Kind.IMPORTS, imports),
            (Kind.FUNCTIONS, functions),
            (Kind.TABLES, [self._table(p, modules[p].tables[i]) for _, p, i in items["t"]]),
            (Kind.MEMORIES, [self._memory(p, i) for _, p, i in items["M"]]),
            (Kind.TAGS, [b"\0" + leb(self._type(p, modules[p].tags[i].type)) for _, p, i in items["X"]]),
            (Kind.GLOBALS, [self._global(p, modules[p].globals[i]) for _, p, i in items["G"]]),
            (Kind.EXPORTS, [self._export(field, one) for field, one in self.exports.items()]),
            (Kind.ELEMENTS, elements),
            (Kind.CODE, code),
            (Kind.DATA, [self._data(one) for one in items["D"]]),
        ]
        found = {kind: section(kind, vector(some)) for kind, some in parts if some}
        found[Kind.TYPES] = section(Kind.TYPES, vector(self._types)) if self._types else b""
        if items["D"]:
            found[Kind.DATA_COUNT] = section(Kind.DATA_COUNT, leb(len(items["D"])))
        if start is not None:
            found[Kind.START] = section(Kind.START, leb(start))
        ends = [section(Kind.CUSTOM, name(field) + body) for field, body in custom]
        return b"\0asm\1\0\0\0" + b"".join([*(found.get(kind, b"") for kind in Kind), *ends])

    def _accesses(self, functions: Iterable[Item]) -> Counter[Item | HostItem]:
        """How often code names each memory to read or write. The one that is named most becomes the first:
        it is named in fewer bytes, and an engine with one memory a module keeps that one in the module."""
        found = Counter[Union[Item, HostItem]]()
        for _, part, index in functions:
            memories = Counter(s.number for s in self.parts[part].sites_of(index) if s.letter == "a")
            for memory, count in memories.items():
                found[self.resolve(part, MEMORY, memory)] += count
        return found

    def _body(self, item: Item) -> bytes:
        part = self.parts[item.part]
        r = part.bodies[item.number - len(part.imports[FUNCTION])]
        sites = part.sites_of(item.number)

        def index(letter: str, old: int) -> int:
            return self._index(item.part, letter, old)

        return sized(spliced(part.module.wasm, r.pos, r.end, sites, index))

    def _table(self, part: int, table: TableType) -> bytes:
        type_ = self._spelling(part, table.spelling) + limits_bytes(table.limits)
        return type_ if table.init is None else b"\x40\0" + type_ + self._expression(part, table.init) + _END

    def _memory(self, part: int, index: int) -> bytes:
        limits, more = self.parts[part].module.memories[index], self.grown.get((part, index), 0)
        most = limits.maximum
        if more and most is not None:
            most = min(most + more, MOST_PAGES)
        return limits_bytes(limits._replace(minimum=limits.minimum + more, maximum=most))

    def _global(self, part: int, global_: Global) -> bytes:
        assert global_.init is not None
        type_ = self._spelling(part, global_.spelling) + bytes((global_.mutable,))
        return type_ + self._expression(part, global_.init) + _END

    def _export(self, field: str, item: Item | HostItem) -> bytes:
        kind = FUNCTION if isinstance(item, HostItem) else _LETTERS.index(item.letter)
        return export_bytes(field, kind, self._numbers[item])

    def _element(self, item: Item) -> bytes:
        """A segment of elements; one that becomes code is passive."""
        part = item.part
        element: Element = self.parts[part].module.elements[item.number]
        listed = element.flags & 4
        items = vector(
            self._expression(part, one) + _END if isinstance(one, tuple) else leb(self._index(part, "F", one))
            for one in element.items
        )
        kind = self._spelling(part, element.spelling) if listed else b"\0"
        if element.offset is None or item in self._coded:
            return bytes((listed | (3 if element.flags & 3 == 3 else 1),)) + kind + items
        offset, table = self._expression(part, element.offset) + _END, self._index(part, "t", element.table)
        if table or (listed and element.flags & 2):
            return bytes((listed | 2,)) + leb(table) + offset + kind + items
        return bytes((listed,)) + offset + items

    def _data(self, item: Item) -> bytes:
        part = self.parts[item.part]
        data = part.data[item.number]
        contents = sized(part.module.wasm[slice(*data.bytes)])
        if data.offset is None or item in self._coded:
            return b"\1" + contents
        memory = self._index(item.part, "M", data.memory)
        where = b"\2" + leb(memory) if memory else b"\0"
        return where + self._expression(item.part, data.offset) + _END + contents

    # ---- the start

    def _start(self, index: int) -> tuple[int | None, bytes | None]:
        """The start function, and its code where it is a new one, which would have that index."""
        steps = [one for one in self._steps if one.letter == "F" or one in self.live]
        if not steps:
            return None, None
        starts = [self._index(one.part, "F", one.number) for one in steps if one.letter == "F"]
        if len(steps) == len(starts) == 1:
            return starts[0], None
        body = b"\0" + b"".join(map(self._step, steps)) + _END
        return index, sized(body)

    def _step(self, item: Item) -> bytes:
        if item.letter == "F":
            return b"\x10" + leb(self._index(item.part, "F", item.number))
        part = self.parts[item.part]
        number = leb(self._numbers[item])
        if item.letter == "E":
            element = part.module.elements[item.number]
            offset, count = element.offset, len(element.items)
            init = b"\x0c" + number + leb(self._index(item.part, "t", element.table))
            drop = b"\x0d"
        else:
            data = part.data[item.number]
            offset, count = data.offset, data.bytes[1] - data.bytes[0]
            init, drop = b"\x08" + number + leb(self._index(item.part, "M", data.memory)), b"\x09"
        assert offset is not None
        operands = self._expression(item.part, offset) + b"\x41\0\x41" + signed_leb(_signed(count))
        return operands + b"\xfc" + init + b"\xfc" + drop + number


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def _fits(given: object, wanted: object) -> bool:
    """Whether what is given has a type that an import wants."""
    if isinstance(given, TableType) and isinstance(wanted, TableType):
        return given.spelling == wanted.spelling and _fits(given.limits, wanted.limits)
    if isinstance(given, Limits) and isinstance(wanted, Limits):
        same = (given.shared, given.wide) == (wanted.shared, wanted.wide)
        most = wanted.maximum is None or (given.maximum is not None and given.maximum <= wanted.maximum)
        return same and most and given.minimum >= wanted.minimum
    if isinstance(given, Global) and isinstance(wanted, Global):
        return (given.spelling, given.mutable) == (wanted.spelling, wanted.mutable)
    if isinstance(given, FuncType):
        return given == wanted
    return type(given) is type(wanted)


def _constant(code: bytes) -> int | None:
    """The number that code is, if it is nothing but one; without a sign."""
    r = Reader(code)
    if code[:1] not in (b"\x41", b"\x42"):
        return None
    bits = 32 if r.byte() == 0x41 else 64
    number = r.signed(bits)
    return number & ((1 << bits) - 1) if r.pos == r.end else None


def _named_function(wasm: bytes, span: tuple[int, int]) -> int | None:
    """The function that a constant expression is, if it is nothing but that."""
    r = Reader(wasm, *span)
    if r.byte() != REF_FUNC:
        return None
    index = r.u32()
    return index if r.pos == r.end - 1 else None


def _type_in(spelling: bytes) -> int | None:
    """The type that a value type refers to by its index."""
    if spelling[0] not in (REF, REF_NULL) or (len(spelling) == 2 and spelling[1] & 0xC0 == 0x40):
        return None
    return Reader(spelling, 1).signed(33)


def _types_in(type_: SubType) -> Iterator[int]:
    """The types that a type refers to by their indexes."""
    if type_.prefix:
        r = Reader(type_.prefix, 1)
        yield from [r.u32() for _ in r.count()]
    for spelling in (*type_.first, *type_.second):
        index = _type_in(spelling if type_.is_function else spelling[:-1])
        if index is not None:
            yield index


def _prefix(prefix: bytes, index: Callable[[int], int]) -> bytes:
    """What stands before a type, with other indexes of the types above it."""
    if not prefix:
        return b""
    r = Reader(prefix, 1)
    return prefix[:1] + vector(leb(index(r.u32())) for _ in r.count())
