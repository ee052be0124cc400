"""Value types and function types out of their definitions: indexes become the types that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .definitions import FuncDef, Handle, Shape, ValueRef
from .types import (
    PRIMITIVES,
    Borrow,
    Enum,
    Flags,
    FuncType,
    List,
    Map,
    Option,
    Own,
    Record,
    Result,
    Tuple,
    ValueType,
    Variant,
)

__all__ = ["evaluate", "value_type"]


def value_type(ref: ValueRef, types: Sequence[Any]) -> ValueType:
    """What a use of a value type means, where ``types`` is the space of types."""
    found: ValueType = PRIMITIVES[ref] if isinstance(ref, str) else types[ref]
    return found


def evaluate(defined: Shape | Handle | FuncDef, types: Sequence[Any]) -> ValueType | FuncType:
    """A new type. The definition is valid, or will be found not to be: only its indexes must be within
    ``types``."""
    if isinstance(defined, Handle):
        return (Own if defined.form == "own" else Borrow)(types[defined.resource])
    if isinstance(defined, FuncDef):
        params = tuple((label, value_type(ref, types)) for label, ref in defined.params)
        result = None if defined.result is None else value_type(defined.result, types)
        return FuncType(params, result, is_async=defined.is_async)
    form = defined.form
    if form == "flags":
        return Flags(defined.labels)
    if form == "enum":
        return Enum(defined.labels)
    optional = [None if ref is None else value_type(ref, types) for ref in defined.types]
    if form == "variant":
        return Variant(tuple(zip(defined.labels, optional)))
    if form == "result":
        return Result(*optional)
    found = [one for one in optional if one is not None]
    if form == "record":
        return Record(tuple(zip(defined.labels, found)))
    if form == "tuple":
        return Tuple(tuple(found))
    if form == "list":
        return List(found[0], defined.length)
    if form == "option":
        return Option(found[0])
    if form == "map":
        return Map(*found)
    return replace(found[0])  # a primitive type that was given an index, and may be given a name
