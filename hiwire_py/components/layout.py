"""How values lie in a memory, and as which core values they are passed: sizes, offsets, flat types.

Format: component model, CanonicalABI.md, "Alignment", "Element Size" and "Flattening"; memories have 32 bits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..wasm.types import F32, F64, I32, I64
from ..wasm.types import FuncType as CoreFuncType
from .types import (
    STRING,
    Borrow,
    Enum,
    Flags,
    FuncType,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    Result,
    Tuple,
    ValueType,
    Variant,
    parts,
)

__all__ = [
    "MAX_FLAT_PARAMS",
    "MAX_FLAT_RESULTS",
    "MOST_BYTES",
    "Layout",
    "align",
    "cases_of",
    "contains",
    "core_type",
    "discriminant_size",
    "element_of",
    "fields_of",
    "flatten",
    "layout",
    "offsets",
    "payload_offset",
    "resources_in",
]

MAX_FLAT_PARAMS = 16
"""More core values than that are passed in memory, and so are more results than the next one."""
MAX_FLAT_RESULTS = 1
MOST_BYTES = (1 << 28) - 1
"""Of a list or string."""

_SIZES = {"bool": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "f32": 4, "char": 4}
_FLAT = {"s64": I64, "u64": I64, "f32": F32, "f64": F64}


class Layout(NamedTuple):
    """Both in bytes; the size is a multiple of the alignment."""

    size: int
    alignment: int


def align(offset: int, alignment: int) -> int:
    """The next multiple of an alignment, which is a power of two."""
    return (offset + alignment - 1) & -alignment


def fields_of(type_: ValueType) -> tuple[ValueType, ...] | None:
    """What a record or tuple is a sequence of; None: it is neither. A map's entries are tuples: see
    `cases_of` for what else stands for others."""
    if isinstance(type_, Record):
        return tuple(one for _, one in type_.fields)
    return type_.items if isinstance(type_, Tuple) else None


def cases_of(type_: ValueType) -> tuple[ValueType | None, ...] | None:
    """The payloads of the cases that a type chooses from: of a variant, enum, option or result. None: it is
    none of these."""
    if isinstance(type_, Variant):
        return tuple(payload for _, payload in type_.cases)
    if isinstance(type_, Enum):
        return (None,) * len(type_.labels)
    if isinstance(type_, Option):
        return (None, type_.payload)
    return (type_.ok, type_.error) if isinstance(type_, Result) else None


def element_of(type_: ValueType) -> ValueType | None:
    """The type of the elements of a list, or entries of a map; None: it is neither."""
    if isinstance(type_, Map):
        return Tuple((type_.key, type_.value))
    return type_.element if isinstance(type_, List) else None


def discriminant_size(cases: int) -> int:
    """Bytes of the number that says which of so many cases it is."""
    return 1 if cases <= 1 << 8 else 2 if cases <= 1 << 16 else 4


@functools.lru_cache(maxsize=4096)
def layout(type_: ValueType) -> Layout:
    """Of a value in memory."""
    if isinstance(type_, Primitive):
        if type_ == STRING:
            return Layout(8, 4)
        size = _SIZES.get(type_.name, 8)
        return Layout(size, size)
    if isinstance(type_, (Own, Borrow)):
        return Layout(4, 4)
    if isinstance(type_, Flags):
        size = 1 if len(type_.labels) <= 8 else 2 if len(type_.labels) <= 16 else 4
        return Layout(size, size)
    if isinstance(type_, List) and type_.length is not None:
        one = layout(type_.element)
        return Layout(one.size * type_.length, one.alignment)
    if isinstance(type_, (List, Map)):
        return Layout(8, 4)
    fields = fields_of(type_)
    if fields is not None:
        return _in_a_row(fields)
    cases = cases_of(type_)
    assert cases is not None
    discriminant = discriminant_size(len(cases))
    payloads = [layout(payload) for payload in cases if payload is not None]
    alignment = max([discriminant, *(one.alignment for one in payloads)])
    end = payload_offset(type_) + max((one.size for one in payloads), default=0)
    return Layout(align(end, alignment), alignment)


def _in_a_row(types: Sequence[ValueType]) -> Layout:
    alignment = max((layout(one).alignment for one in types), default=1)
    *_, end = _ends(types)
    return Layout(align(end, alignment), alignment)


def _ends(types: Iterable[ValueType]) -> Iterable[int]:
    """Where each of some values that lie in a row ends; 0 before the first."""
    end = 0
    yield end
    for one in types:
        end = align(end, layout(one).alignment) + layout(one).size
        yield end


def offsets(types: Sequence[ValueType]) -> list[int]:
    """Where each of some values lies, one behind the other."""
    return [align(end, layout(one).alignment) for end, one in zip(_ends(types), types)]


def payload_offset(type_: ValueType) -> int:
    """Where the payload of a case lies, behind the number of the case."""
    cases = cases_of(type_)
    assert cases is not None
    most = max((layout(payload).alignment for payload in cases if payload is not None), default=1)
    return align(discriminant_size(len(cases)), most)


@functools.lru_cache(maxsize=4096)
def flatten(type_: ValueType) -> bytes:
    """The codes of the core values that a value is passed as."""
    if isinstance(type_, Primitive):
        return bytes((I32, I32)) if type_ == STRING else bytes((_FLAT.get(type_.name, I32),))
    if isinstance(type_, (Own, Borrow, Flags)):
        return bytes((I32,))
    if isinstance(type_, List) and type_.length is not None:
        return flatten(type_.element) * type_.length
    if isinstance(type_, (List, Map)):
        return bytes((I32, I32))
    fields = fields_of(type_)
    if fields is not None:
        return b"".join(map(flatten, fields))
    cases = cases_of(type_)
    assert cases is not None
    joined: list[int] = []
    for payload in cases:
        for place, code in enumerate(b"" if payload is None else flatten(payload)):
            if place == len(joined):
                joined.append(code)
            else:
                joined[place] = _join(joined[place], code)
    return bytes((I32, *joined))


def _join(one: int, other: int) -> int:
    """A core type that holds values of either."""
    if one == other:
        return one
    return I32 if {one, other} == {I32, F32} else I64


def core_type(type_: FuncType, lowered: bool) -> CoreFuncType:
    """The core function type of a component's function.

    Args:
        type_: its type.
        lowered: whether it is called, and so gets the address for a result that is passed in memory; else it
            is lifted, and returns that address.
    """
    params = b"".join(map(flatten, type_.types))
    results = b"".join(map(flatten, type_.results))
    if len(params) > MAX_FLAT_PARAMS:
        params = bytes((I32,))
    if len(results) > MAX_FLAT_RESULTS:
        if lowered:
            return CoreFuncType(params + bytes((I32,)), b"")
        results = bytes((I32,))
    return CoreFuncType(params, results)


def contains(type_: ValueType, *kinds: type) -> bool:
    """Whether a type is one of these, or has one in it."""
    return isinstance(type_, kinds) or any(contains(one, *kinds) for one in parts(type_))


def resources_in(type_: ValueType) -> set[Resource]:
    """The resources that a type has handles of."""
    if isinstance(type_, (Own, Borrow)):
        return {type_.resource}
    return set[Resource]().union(*map(resources_in, parts(type_)))
