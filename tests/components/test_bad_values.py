"""Values that are none: each check of the canonical ABI has a guest that fails it, in each place where values
cross. The cause is told in the same words everywhere, and is the one that wasmtime's own implementation
tells."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import wasmtime
from component_guests import ENCODINGS, MEMORY, ReferenceComponent, options, use_adapters
from component_types import CORE, Definitions
from support import wat

from hiwire_py import GuestTrap
from hiwire_py.components import Component
from hiwire_py.components.faults import Fault
from hiwire_py.components.layout import MAX_FLAT_PARAMS, core_type, flatten
from hiwire_py.components.types import (
    CHAR,
    STRING,
    U8,
    U32,
    U64,
    Enum,
    FuncType,
    List,
    Option,
    Result,
    Tuple,
    ValueType,
    Variant,
)

_NOT_UNICODE = (
    "invalid utf8 encoding",
    "invalid utf16 encoding",
    "unpaired surrogate found",
    "invalid utf-8",
    "incomplete utf-8",
)
# What wasmtime says for a fault, of which one is enough. Its words differ between the functions it compiles
# for calls between components and its own code at the host's edge.
WORDS = {
    Fault.BAD_CHAR: ("invalid `char` bit pattern", "converted integer out of range for `char`"),
    Fault.BAD_DISCRIMINANT: ("invalid variant discriminant", "unexpected discriminant", " out of range [0.."),
    Fault.BAD_POINTER: ("unaligned pointer", "pointer not aligned", "pointer is not aligned"),
    Fault.OUT_OF_BOUNDS: ("pointer out of bounds", "out of bounds memory access"),
    Fault.STRING_BOUNDS: ("string content out-of-bounds", "string pointer/length out of bounds of memory"),
    Fault.STRING_TOO_LONG: ("string content out-of-bounds", "string pointer/length out of bounds of memory"),
    Fault.STRING_ENCODING: _NOT_UNICODE,
    Fault.LIST_BOUNDS: ("list content out-of-bounds", "list pointer/length out of bounds of memory"),
    Fault.LIST_TOO_LONG: ("list content out-of-bounds", "list pointer/length out of bounds of memory"),
    Fault.REALLOC_BOUNDS: ("realloc return: beyond end of memory", "out-of-bounds", "out of bounds"),
    Fault.REALLOC_ALIGNMENT: ("realloc return: result not aligned", "unaligned pointer"),
}  # fmt: skip


@dataclass(frozen=True)
class Bad:
    """A bad value.

    Attributes:
        flat: its core values, as parameters.
        data: what lies in memory at 1024.
        encoding: of the side that it comes from.
        returned: what is returned, where that is a pointer; None: the value is in memory at 16.
    """

    name: str
    type: ValueType
    flat: Sequence[int]
    fault: Fault
    data: bytes = b""
    encoding: str = "utf8"
    returned: int | None = None

    @property
    def in_memory(self) -> bytes:
        return b"".join(struct.pack("<I", one & 0xFFFFFFFF) for one in self.flat)


AB, MANY = Enum(("a", "b")), Tuple((U32,) * 17)
CASES = Variant((("a", U32), ("b", STRING), ("c", None)))
AT, END = 1024, 65536


def _units(*units: int) -> bytes:
    return struct.pack(f"<{len(units)}H", *units)


def _utf8(name: str, data: bytes) -> Bad:
    return Bad(f"utf8-{name}", STRING, [AT, len(data)], Fault.STRING_ENCODING, data)


def _utf16(name: str, *units: int) -> list[Bad]:
    data, tag = _units(*units), 1 << 31
    return [
        Bad(f"utf16-{name}", STRING, [AT, len(units)], Fault.STRING_ENCODING, data, "utf16"),
        Bad(f"tagged-{name}", STRING, [AT, len(units) | tag], Fault.STRING_ENCODING, data, "latin1+utf16"),
    ]


_TWO_STRINGS = struct.pack("<4I", AT + 15, 1, AT + 16, 1) + b"\x80"
BAD = [
    Bad("char-surrogate", CHAR, [0xD800], Fault.BAD_CHAR),
    Bad("char-last-surrogate", CHAR, [0xDFFF], Fault.BAD_CHAR),
    Bad("char-large", CHAR, [0x110000], Fault.BAD_CHAR),
    Bad("char-negative", CHAR, [-1], Fault.BAD_CHAR),
    Bad("chars", List(CHAR), [AT, 2], Fault.BAD_CHAR, struct.pack("<II", 65, 0xDC00)),
    Bad("enum", AB, [2], Fault.BAD_DISCRIMINANT),
    Bad("enum-large", AB, [-1], Fault.BAD_DISCRIMINANT),
    Bad("enums", List(AB), [AT, 2], Fault.BAD_DISCRIMINANT, b"\1\2"),
    Bad("option", Option(U8), [2, 0], Fault.BAD_DISCRIMINANT),
    Bad("options", List(Option(U8)), [AT, 1], Fault.BAD_DISCRIMINANT, b"\2\0"),
    Bad("result", Result(U32, None), [7, 0], Fault.BAD_DISCRIMINANT),
    Bad("variant", CASES, [3, 0, 0], Fault.BAD_DISCRIMINANT),
    Bad("nested", Option(Option(CHAR)), [1, 1, 0xD800], Fault.BAD_CHAR),
    Bad("list-misaligned", List(U32), [AT + 2, 1], Fault.BAD_POINTER),
    Bad("empty-list-misaligned", List(U64), [AT + 4, 0], Fault.BAD_POINTER),
    Bad("list-bounds", List(U8), [END - 1, 2], Fault.LIST_BOUNDS),
    Bad("list-wraps", List(U32), [-4, 2], Fault.LIST_BOUNDS),
    Bad("empty-list-bounds", List(U8), [END + 1, 0], Fault.LIST_BOUNDS),
    Bad("list-of-lists", List(List(U8)), [AT, 1], Fault.LIST_BOUNDS, struct.pack("<II", END, 1)),
    Bad("list-long", List(U8), [0, 1 << 28], Fault.LIST_TOO_LONG),
    Bad("list-long-elements", List(U64), [0, 1 << 25], Fault.LIST_TOO_LONG),
    Bad("list-longest", List(U64), [0, -1], Fault.LIST_TOO_LONG),
    Bad("string-bounds", STRING, [END - 1, 2], Fault.STRING_BOUNDS),
    Bad("empty-string-bounds", STRING, [END + 1, 0], Fault.STRING_BOUNDS),
    Bad("string-wraps", STRING, [-1, 2], Fault.STRING_BOUNDS),
    Bad("strings-bounds", List(STRING), [AT, 1], Fault.STRING_BOUNDS, struct.pack("<II", END, 1)),
    Bad("string-long", STRING, [0, 1 << 28], Fault.STRING_TOO_LONG),
    Bad("string-longest", STRING, [0, -1], Fault.STRING_TOO_LONG),
    Bad("utf16-misaligned", STRING, [AT + 1, 1], Fault.BAD_POINTER, encoding="utf16"),
    Bad("utf16-bounds", STRING, [END - 2, 2], Fault.STRING_BOUNDS, encoding="utf16"),
    Bad("utf16-long", STRING, [0, 1 << 27], Fault.STRING_TOO_LONG, encoding="utf16"),
    Bad("latin1-misaligned", STRING, [AT + 1, 1], Fault.BAD_POINTER, encoding="latin1+utf16"),
    Bad("latin1-bounds", STRING, [END - 2, 3], Fault.STRING_BOUNDS, encoding="latin1+utf16"),
    Bad("tagged-bounds", STRING, [END - 2, 2 | 1 << 31], Fault.STRING_BOUNDS, encoding="latin1+utf16"),
    Bad("tagged-long", STRING, [0, 1 << 27 | 1 << 31], Fault.STRING_TOO_LONG, encoding="latin1+utf16"),
    Bad("pointer-misaligned", MANY, [AT + 2], Fault.BAD_POINTER, returned=AT + 2),
    Bad("pointer-bounds", MANY, [END - 64], Fault.OUT_OF_BOUNDS, returned=END - 64),
    Bad("pointer-wraps", MANY, [-4], Fault.OUT_OF_BOUNDS, returned=-4),
    _utf8("no-start", b"a\x80"),
    _utf8("ff", b"aaaaaaaaaaaaaaaa\xff"),
    _utf8("overlong-2", b"\xc0\x80"),
    _utf8("overlong-3", b"\xe0\x9f\xbf"),
    _utf8("overlong-4", b"\xf0\x8f\xbf\xbf"),
    _utf8("surrogate", b"\xed\xa0\x80"),
    _utf8("large", b"\xf4\x90\x80\x80"),
    _utf8("larger", b"\xf5\x80\x80\x80"),
    _utf8("cut-2", b"\xc3"),
    _utf8("cut-3", b"\xe2\x82"),
    _utf8("cut-4", b"\xf0\x9f\x98"),
    _utf8("not-following", b"\xe2\x28\xa1"),
    *_utf16("high-alone", 0xD800, 0x61),
    *_utf16("high-last", 0x61, 0xDBFF),
    *_utf16("low-alone", 0xDC00),
    *_utf16("two-highs", 0xD83D, 0xD83D, 0xDE00),
    Bad("good-then-bad", List(STRING), [AT, 2], Fault.STRING_ENCODING, _TWO_STRINGS),
]  # fmt: skip


class Crossing(NamedTuple):
    """A bad value, and the encoding of the side that is to get it."""

    bad: Bad
    encoding: str


Chunk = Sequence[Crossing]
CROSSINGS = [
    Crossing(bad, encoding)
    for bad in BAD
    for encoding in (ENCODINGS if bad.type == STRING else ENCODINGS[:1])
]
_SIZE = 20  # crossings in one component: many functions are slow to link
CHUNKS = [CROSSINGS[at : at + _SIZE] for at in range(0, len(CROSSINGS), _SIZE)]
ONE_EACH = list({crossing.bad.fault: crossing for crossing in reversed(CROSSINGS)}.values())
"""A component for native, which compiles slowly."""


def _inits(number: int, bad: Bad) -> tuple[str, str]:
    """Data segments, and code that writes them: the value to 16, and what it points to."""
    data, code = "", ""
    for name, at, content in ((f"$v{number}", 16, bad.in_memory), (f"$d{number}", AT, bad.data)):
        data += f'(data {name} "{"".join(f"{chr(92)}{byte:02x}" for byte in content)}")'
        code += f"(memory.init {name} (i32.const {at}) (i32.const 0) (i32.const {len(content)}))"
    return data, code


def _consts(bad: Bad) -> str:
    codes = flatten(bad.type)
    cores = [CORE[code] for code in codes] if len(codes) <= MAX_FLAT_PARAMS else ["i32"]
    return " ".join(f"({core}.const {value})" for core, value in zip(cores, bad.flat))


def _core(type_: FuncType, lowered: bool) -> str:
    core = core_type(type_, lowered)
    params, results = " ".join(CORE[c] for c in core.params), " ".join(CORE[c] for c in core.results)
    return f"(param {params}) (result {results})"


class Text:
    """The text of a component, part by part."""

    def __init__(self, imported: bool) -> None:
        self.types = Definitions(imported)
        self.lowered = self.imports = self.given = self.core = self.lifted = ""

    def signature(self, type_: ValueType, result: bool) -> str:
        ref = self.types.ref(type_)
        return f"(result {ref})" if result else f'(param "x" {ref})'

    def import_(self, number: int, signature: str, core: str, encoding: str) -> None:
        """A function ``fN``, which core code may call."""
        name = f"f{number}"
        self.types.text.append(f'(import "{name}" (func ${name} {signature}))')
        self.lowered += f"(core func ${name} (canon lower (func ${name}) {options(encoding)}))"
        self.imports += f'(import "" "{name}" (func ${name} {core}))'
        self.given += f'(export "{name}" (func ${name}))'

    def export(self, name: str, signature: str, encoding: str = "utf8") -> None:
        """A function that the core module exports."""
        self.lifted += (
            f'(func (export "{name}") {signature} (canon lift (core func $m "{name}") {options(encoding)}))'
        )

    def whole(self) -> str:
        return f"""
          {" ".join(self.types.text)} {MEMORY} {self.lowered}
          (core module $m (import "libc" "memory" (memory 1)) {self.imports} {self.core})
          (core instance $m
            (instantiate $m (with "libc" (instance $libc)) (with "" (instance {self.given}))))
          {self.lifted}
        """


def returning(crossings: Chunk) -> Text:
    """Its function ``fN`` returns a bad value."""
    text = Text(False)
    for number, (bad, _) in enumerate(crossings):
        data, code = _inits(number, bad)
        core = _core(FuncType((), bad.type), False)
        value = _consts(bad) if len(flatten(bad.type)) == 1 else f"(i32.const {bad.returned or 16})"
        text.core += f'{data}(func (export "f{number}") {core} {code} {value})'
        text.export(f"f{number}", text.signature(bad.type, True), bad.encoding)
    return text


def passing(crossings: Chunk) -> Text:
    """Its function ``runN`` calls ``fN``, an import, with a bad value."""
    text = Text(True)
    for number, (bad, _) in enumerate(crossings):
        data, code = _inits(number, bad)
        core = _core(FuncType((("x", bad.type),), None), True)
        text.import_(number, text.signature(bad.type, False), core, bad.encoding)
        text.core += f'{data}(func (export "run{number}") {code} (call $f{number} {_consts(bad)}))'
        text.export(f"run{number}", "")
    return text


def taking(crossings: Chunk) -> Text:
    """Its function ``fN`` takes a value."""
    text = Text(False)
    for number, (bad, encoding) in enumerate(crossings):
        text.core += f'(func (export "f{number}") {_core(FuncType((("x", bad.type),), None), False)})'
        text.export(f"f{number}", text.signature(bad.type, False), encoding)
    return text


def getting(crossings: Chunk) -> Text:
    """Its function ``runN`` calls ``fN``, an import, for its result."""
    text = Text(True)
    for number, (bad, encoding) in enumerate(crossings):
        type_ = FuncType((), bad.type)
        text.import_(number, text.signature(bad.type, True), _core(type_, True), encoding)
        pointer = core_type(type_, True).params
        call = f"(call $f{number} (i32.const 2048))" if pointer else f"(drop (call $f{number}))"
        text.core += f'(func (export "run{number}") {call})'
        text.export(f"run{number}", "")
    return text


def composed(inner: Text, outer: Text, count: int) -> str:
    """``outer``, which imports what ``inner`` exports, as one component with its functions ``runN``."""
    a, b = inner.whole(), outer.whole()
    given = "".join(f'(with "{name}" (type $a "{name}"))' for name in outer.types.names.values())
    given += "".join(f'(with "f{n}" (func $a "f{n}"))' for n in range(count))
    out = "".join(f'(export "run{n}" (func $b "run{n}"))' for n in range(count))
    return f"""
      (component (component $A {a}) (component $B {b})
        (instance $a (instantiate $A)) (instance $b (instantiate $B {given})) {out})
    """


TEXTS: dict[str, Callable[[Chunk], str]] = {
    "component-to-component": lambda chunk: composed(taking(chunk), passing(chunk), len(chunk)),
    "returned-to-component": lambda chunk: composed(returning(chunk), getting(chunk), len(chunk)),
    "returned-to-python": lambda chunk: f"(component {returning(chunk).whole()})",
    "python-function": lambda chunk: f"(component {passing(chunk).whole()})",
}


def reference_cause(made: ReferenceComponent, name: str, count: int) -> str:
    """What wasmtime's own implementation says; its instance is dead then."""
    instance = made.instantiate({f"f{n}": lambda _context, _value: None for n in range(count)})
    function = instance.function(name)
    with pytest.raises(wasmtime.WasmtimeError) as error:
        function()
    with pytest.raises(wasmtime.WasmtimeError, match="cannot enter component instance"):
        function()
    return str(error.value)


@pytest.mark.parametrize("where", TEXTS)
def test_bad_values(where: str, engine: str) -> None:
    """A bad value is found wherever it comes from, the cause is told, and the instance is dead."""
    if "component" in where:
        use_adapters(engine)
    called: list[Any] = []
    wrong = []
    for chunk in CHUNKS if engine != "native" else [ONE_EACH]:
        wasm, count = wat(TEXTS[where](chunk)), len(chunk)
        made, reference = Component(wasm), ReferenceComponent(wasm)
        imports = {f"f{n}": called.append for n in range(count)} if where == "python-function" else {}
        for number, (bad, encoding) in enumerate(chunk):
            name = f"f{number}" if where == "returned-to-python" else f"run{number}"
            with made.instantiate(imports, engine=engine) as instance:
                function = instance[name]
                found = []
                for _ in range(2):
                    with pytest.raises(GuestTrap) as trap:
                        function()
                    found.append(trap.value.kind)
            if found != [bad.fault.words, Fault.CANNOT_ENTER.words]:
                wrong.append((bad.name, encoding, found))
            if engine == "wasmtime":
                other = reference_cause(reference, name, len(imports))
                if not any(word in other for word in WORDS[bad.fault]):
                    wrong.append((bad.name, encoding, ["wasmtime", other]))
    assert not wrong, wrong
    assert not called
