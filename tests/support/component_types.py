"""Types of components in the text format, random ones, and their values.

A value is *neutral* here: None, numbers, str, and of the rest what two implementations can be given alike:

| type | neutral value |
|---|---|
| record | a dict |
| tuple, list | a tuple, a list |
| flags, enum | a frozenset of labels, a label |
| variant, option, result | a `Choice`: the label of the case, and the payload |
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from hiwire_py.components import Err, Ok, Some
from hiwire_py.components.classes import class_name
from hiwire_py.components.layout import (
    cases_of,
    discriminant_size,
    fields_of,
    flatten,
    layout,
    offsets,
    payload_offset,
)
from hiwire_py.components.types import (
    PRIMITIVES,
    Enum,
    Flags,
    List,
    Option,
    Primitive,
    Record,
    Result,
    Tuple,
    ValueType,
    Variant,
)

CORE = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64"}
"""The names of core types, by their codes."""


class Choice(NamedTuple):
    label: str
    payload: Any = None


# ---- random types

LEAVES = st.sampled_from(list(PRIMITIVES.values()))


def _labels(letter: str, counts: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[str, ...]]:
    return counts.map(lambda count: tuple(f"{letter}{number}" for number in range(count)))


def _larger(inner: st.SearchStrategy[ValueType]) -> st.SearchStrategy[ValueType]:
    maybe = st.none() | inner
    some = st.lists(inner, min_size=1, max_size=5)
    few = st.lists(maybe, min_size=1, max_size=4)
    many = st.sampled_from([0, 0, 0, 253]).map(lambda count: [None] * count)
    cases = st.builds(lambda one, other: one + other, few, many)
    return st.one_of(
        some.map(lambda types: Record(tuple((f"f{at}", one) for at, one in enumerate(types)))),
        some.map(lambda types: Tuple(tuple(types))),
        cases.map(lambda types: Variant(tuple((f"c{at}", one) for at, one in enumerate(types)))),
        inner.map(List),
        inner.map(List),
        inner.map(Option),
        st.builds(Result, maybe, maybe),
        _labels("b", st.sampled_from([1, 7, 8, 9, 16, 17, 31, 32])).map(Flags),
        _labels("e", st.sampled_from([1, 2, 256, 257])).map(Enum),
    )


TYPES: st.SearchStrategy[ValueType] = st.recursive(LEAVES, _larger, max_leaves=8)
"""All value types that have no handles, nested."""


# ---- random values

CHARACTERS = st.one_of(
    st.characters(max_codepoint=0x7F),
    st.characters(min_codepoint=0x80, max_codepoint=0xFF),
    st.characters(min_codepoint=0x100, max_codepoint=0xFFFF, exclude_categories=["Cs"]),
    st.characters(min_codepoint=0x10000),
    st.sampled_from("\0\x7f\x80\xff\u0100\u07ff\u0800\ud7ff\ue000\ufeff\ufffe\uffff\U00010000\U0010ffff"),
)
STRINGS = st.one_of(
    st.text(CHARACTERS, max_size=20),
    st.text(st.characters(max_codepoint=0x7F), max_size=40),
    st.text(st.characters(max_codepoint=0xFF), max_size=40),
    st.builds(lambda one, count, end: one * count + end, CHARACTERS, st.integers(1, 10_000), CHARACTERS),
)


def _primitive(type_: Primitive) -> st.SearchStrategy[Any]:
    name = type_.name
    if name == "bool":
        return st.booleans()
    if name in ("char", "string"):
        return CHARACTERS if name == "char" else STRINGS
    bits = int(name[1:])
    if name[0] == "f":
        return st.floats(width=32 if bits == 32 else 64)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if name[0] == "s" else (0, (1 << bits) - 1)
    return st.integers(low, high) | st.sampled_from([low, high])


def values(type_: ValueType) -> st.SearchStrategy[Any]:
    """Neutral values of a type."""
    if isinstance(type_, Primitive):
        return _primitive(type_)
    if isinstance(type_, Record):
        return st.fixed_dictionaries({label: values(one) for label, one in type_.fields})
    if isinstance(type_, Tuple):
        return st.tuples(*map(values, type_.items))
    if isinstance(type_, List):
        return st.lists(values(type_.element), max_size=5)
    if isinstance(type_, Flags):
        return st.frozensets(st.sampled_from(type_.labels))
    if isinstance(type_, Enum):
        return st.sampled_from(type_.labels)
    cases = cases_of(type_)
    assert cases is not None

    def chosen(pair: tuple[str, ValueType | None]) -> st.SearchStrategy[Choice]:
        label, payload = pair
        return st.builds(Choice, st.just(label), st.none() if payload is None else values(payload))

    return st.sampled_from(list(zip(case_labels(type_), cases))).flatmap(chosen)


def case_labels(type_: ValueType) -> tuple[str, ...]:
    """The labels of the cases of a variant, option or result."""
    if isinstance(type_, Variant):
        return tuple(label for label, _ in type_.cases)
    return ("none", "some") if isinstance(type_, Option) else ("ok", "error")


def same(one: Any, other: Any) -> bool:
    """Whether two neutral values are equal, and of the same Python types; all NaNs are."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


# ---- neutral values and those of hiwire_py


def to_python(type_: ValueType, value: Any, classes: Mapping[ValueType, Any]) -> Any:
    """What hiwire_py takes; ``classes`` are those of variants, by type."""
    if isinstance(type_, Record):
        return {label: to_python(one, value[label], classes) for label, one in type_.fields}
    if isinstance(type_, Tuple):
        return tuple(to_python(one, part, classes) for one, part in zip(type_.items, value))
    if isinstance(type_, List):
        return [to_python(type_.element, part, classes) for part in value]
    if not isinstance(type_, (Variant, Option, Result)):
        return value
    cases = dict(zip(case_labels(type_), cases_of(type_) or ()))
    payload = cases[value.label]
    inner = None if payload is None else to_python(payload, value.payload, classes)
    if isinstance(type_, Option):
        return None if payload is None else Some(inner)
    if isinstance(type_, Result):
        return (Ok if value.label == "ok" else Err)(inner)
    case = getattr(classes[type_], class_name(value.label))
    return case() if payload is None else case(inner)


def from_python(type_: ValueType, value: Any) -> Any:
    """The neutral value of what hiwire_py gives."""
    if isinstance(type_, Record):
        return {label: from_python(one, getattr(value, label)) for label, one in type_.fields}
    if isinstance(type_, Tuple):
        assert isinstance(value, tuple)
        return tuple(from_python(one, part) for one, part in zip(type_.items, value))
    if isinstance(type_, List):
        assert isinstance(value, bytes if type_.element == PRIMITIVES["u8"] else list)
        return [from_python(type_.element, part) for part in value]
    if isinstance(type_, Flags):
        return frozenset(label for bit, label in enumerate(type_.labels) if value.value >> bit & 1)
    if isinstance(type_, Enum):
        return type_.labels[value.value]
    if isinstance(type_, Option):
        if value is None:
            return Choice("none")
        inner = value.value if isinstance(type_.payload, Option) else value
        return Choice("some", from_python(type_.payload, inner))
    if isinstance(type_, Result):
        label, payload = ("ok", type_.ok) if isinstance(value, Ok) else ("error", type_.error)
        return Choice(label, None if payload is None else from_python(payload, value.value))
    if isinstance(type_, Variant):
        payload = dict(type_.cases)[value.label]
        return Choice(value.label, None if payload is None else from_python(payload, value.value))
    return value


# ---- types in text


class Definitions:
    """The definitions of types in one component, on its imports' side or on its exports' side.

    Args:
        imported: whether types that need names are imported, or else exported.

    Attributes:
        names: under what names those are there.
        text: what has been defined.
    """

    def __init__(self, imported: bool) -> None:
        self.imported = imported
        self.names: dict[ValueType, str] = {}
        self.text: list[str] = []
        self._known: dict[ValueType, str] = {}
        self._letter = "i" if imported else "x"

    def ref(self, type_: ValueType | None) -> str:
        """How a type is used; it is defined before."""
        if type_ is None:
            return ""
        if isinstance(type_, Primitive):
            return type_.name
        if type_ not in self._known:
            self._known[type_] = self._define(type_)
        return self._known[type_]

    def _define(self, type_: ValueType) -> str:
        body = self._body(type_)
        number = len(self._known)
        name, raw = f"${self._letter}{number}", f"${self._letter}raw{number}"
        if not isinstance(type_, (Record, Variant, Enum, Flags)):
            self.text.append(f"(type {name} {body})")
            return name
        label = self.names[type_] = f"t{number}"
        self.text.append(f"(type {raw} {body})")
        if self.imported:
            self.text.append(f'(import "{label}" (type {name} (eq {raw})))')
        else:
            self.text.append(f'(export {name} "{label}" (type {raw}))')
        return name

    def _body(self, type_: ValueType) -> str:
        if isinstance(type_, Record):
            return f"(record {' '.join(f'(field {_quoted(n)} {self.ref(t)})' for n, t in type_.fields)})"
        if isinstance(type_, Variant):
            return f"(variant {' '.join(f'(case {_quoted(n)} {self.ref(t)})' for n, t in type_.cases)})"
        if isinstance(type_, List):
            return f"(list {self.ref(type_.element)})"
        if isinstance(type_, Tuple):
            return f"(tuple {' '.join(map(self.ref, type_.items))})"
        if isinstance(type_, (Flags, Enum)):
            kind = "flags" if isinstance(type_, Flags) else "enum"
            return f"({kind} {' '.join(map(_quoted, type_.labels))})"
        if isinstance(type_, Option):
            return f"(option {self.ref(type_.payload)})"
        assert isinstance(type_, Result)
        error = f"(error {self.ref(type_.error)})" if type_.error is not None else ""
        return f"(result {self.ref(type_.ok)} {error})"


def _quoted(label: str) -> str:
    return f'"{label}"'


# ---- code that writes a value of core values into memory

_STORES = {
    "bool": "i32.store8", "s8": "i32.store8", "u8": "i32.store8", "s16": "i32.store16", "u16": "i32.store16",
    "s64": "i64.store", "u64": "i64.store", "f32": "f32.store", "f64": "f64.store",
}  # fmt: skip
_BY_SIZE = {1: "i32.store8", 2: "i32.store16", 4: "i32.store"}
_NARROW = {
    ("i64", "i32"): "(i32.wrap_i64 {})",
    ("i32", "f32"): "(f32.reinterpret_i32 {})",
    ("i64", "f32"): "(f32.reinterpret_i32 (i32.wrap_i64 {}))",
    ("i64", "f64"): "(f64.reinterpret_i64 {})",
}


def stored(type_: ValueType, at: int, locals_: list[tuple[str, str]]) -> str:
    """Text that stores a value, which is in core values, at a constant address.

    Args:
        locals_: for each core value the expression that reads it, and its core type.
    """

    def put(operation: str, want: str) -> str:
        value, have = locals_[0]
        return f"({operation} (i32.const {at}) {_NARROW.get((have, want), '{}').format(value)})"

    if isinstance(type_, Primitive) and type_.name != "string":
        return put(_STORES.get(type_.name, "i32.store"), CORE[flatten(type_)[0]])
    if isinstance(type_, (Primitive, List)):
        second = stored(PRIMITIVES["u32"], at + 4, locals_[1:])
        return stored(PRIMITIVES["u32"], at, locals_) + second
    if isinstance(type_, Flags):
        return put(_BY_SIZE[layout(type_).size], "i32")
    fields = fields_of(type_)
    if fields is not None:
        out, passed = "", 0
        for one, offset in zip(fields, offsets(fields)):
            out += stored(one, at + offset, locals_[passed:])
            passed += len(flatten(one))
        return out
    cases = cases_of(type_)
    assert cases is not None
    out = put(_BY_SIZE[discriminant_size(len(cases))], "i32")
    number = _NARROW.get((locals_[0][1], "i32"), "{}").format(locals_[0][0])
    for place, payload in enumerate(cases):
        if payload is not None:
            inner = [
                (_NARROW.get((have, want), "{}").format(value), want)
                for (value, have), want in zip(locals_[1:], map(CORE.get, flatten(type_)[1:]))
                if want is not None
            ]
            then = stored(payload, at + payload_offset(type_), inner)
            out += f"(if (i32.eq {number} (i32.const {place})) (then {then}))"
    return out
