"""Types of components, free of the index spaces that a binary writes them in.

Value types are equal if their structure is, with one exception: a `Resource` is equal to itself only, and so
are the handles to it. Each place that makes a type (a definition, an import, an export) makes an object of
its
own, which is what names are kept by: two records of the same fields may have two names.

Format: component model, Explainer.md, "Type Definitions" and "Type Checking".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Union

__all__ = [
    "BOOL",
    "CHAR",
    "F32",
    "F64",
    "PRIMITIVES",
    "S8",
    "S16",
    "S32",
    "S64",
    "STRING",
    "U8",
    "U16",
    "U32",
    "U64",
    "Borrow",
    "Enum",
    "Flags",
    "FuncType",
    "List",
    "Map",
    "Option",
    "Own",
    "Primitive",
    "Record",
    "Resource",
    "Result",
    "Tuple",
    "ValueType",
    "Variant",
    "parts",
    "resources_of",
]


@dataclass(frozen=True)
class Primitive:
    """A type without parts; ``name`` is that of WIT."""

    name: str

    def __str__(self) -> str:
        return self.name


BOOL, CHAR, STRING = Primitive("bool"), Primitive("char"), Primitive("string")
S8, S16, S32, S64 = (Primitive(f"s{bits}") for bits in (8, 16, 32, 64))
U8, U16, U32, U64 = (Primitive(f"u{bits}") for bits in (8, 16, 32, 64))
F32, F64 = Primitive("f32"), Primitive("f64")
PRIMITIVES = {one.name: one for one in (BOOL, S8, U8, S16, U16, S32, U32, S64, U64, F32, F64, CHAR, STRING)}


@dataclass(frozen=True)
class Record:
    """Fields by their labels, at least one."""

    fields: tuple[tuple[str, ValueType], ...]


@dataclass(frozen=True)
class Variant:
    """Cases by their labels, at least one; None: the case has no payload."""

    cases: tuple[tuple[str, ValueType | None], ...]


@dataclass(frozen=True)
class List:
    """``length``: how many elements there are always; None: as many as there happen to be."""

    element: ValueType
    length: int | None = None


@dataclass(frozen=True)
class Tuple:
    items: tuple[ValueType, ...]


@dataclass(frozen=True)
class Flags:
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Enum:
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Option:
    payload: ValueType


@dataclass(frozen=True)
class Result:
    """None: that side has no payload."""

    ok: ValueType | None
    error: ValueType | None


@dataclass(frozen=True)
class Map:
    key: ValueType
    value: ValueType


@dataclass(frozen=True)
class Own:
    """A handle that has its resource: it is given away, or destroyed."""

    resource: Resource


@dataclass(frozen=True)
class Borrow:
    """A handle that is lent for a call."""

    resource: Resource


@dataclass(eq=False)
class Resource:
    """A resource type: equal to nothing but itself.

    Attributes:
        name: what it is called where it was named first; "" as long as it was not.
    """

    name: str = ""

    def __repr__(self) -> str:
        return f"<Resource {self.name or hex(id(self))}>"


ValueType = Union[Primitive, Record, Variant, List, Tuple, Flags, Enum, Option, Result, Map, Own, Borrow]


@dataclass(frozen=True)
class FuncType:
    """``result`` is None where nothing is returned."""

    params: tuple[tuple[str, ValueType], ...]
    result: ValueType | None = None
    is_async: bool = field(default=False, kw_only=True)

    @property
    def types(self) -> tuple[ValueType, ...]:
        """Those of the parameters."""
        return tuple(type_ for _, type_ in self.params)

    @property
    def results(self) -> tuple[ValueType, ...]:
        """The result as a tuple of one or none."""
        return () if self.result is None else (self.result,)


def parts(type_: ValueType) -> Iterator[ValueType]:
    """The value types that a type is made of directly, payloads that are there included."""
    if isinstance(type_, Record):
        yield from (one for _, one in type_.fields)
    elif isinstance(type_, Variant):
        yield from (one for _, one in type_.cases if one is not None)
    elif isinstance(type_, List):
        yield type_.element
    elif isinstance(type_, Tuple):
        yield from type_.items
    elif isinstance(type_, Option):
        yield type_.payload
    elif isinstance(type_, Result):
        yield from (one for one in (type_.ok, type_.error) if one is not None)
    elif isinstance(type_, Map):
        yield type_.key
        yield type_.value


def resources_of(type_: ValueType | None) -> Iterator[tuple[Resource, bool]]:
    """The resources of which a value has handles; each with whether such a handle is owned."""
    if isinstance(type_, (Own, Borrow)):
        yield type_.resource, isinstance(type_, Own)
    elif type_ is not None:
        for part in parts(type_):
            yield from resources_of(part)
