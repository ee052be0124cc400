"""Whether what is given for a module's imports fits, and what the module asks for is within the limits."""

from __future__ import annotations

from typing import Any

from ..engines import GuestLimits
from ..errors import MemoryLimitError, TableLimitError, UnsupportedModuleError
from ..values import FuncType, type_name
from ..wasm.module import GLOBAL, KINDS, Global, Import, Limits, Module, TableType
from ..wasm.types import ExternType, Tag
from .instances import Extern

__all__ = ["check_fit", "check_limit", "check_sizes", "no_fit"]

_PAGE = 65536
_ERRORS = {"memory_limit": MemoryLimitError, "table_limit": TableLimitError}


def no_fit(wanted: Import, value: Any) -> TypeError:
    """What is said of ``value``, given for an import that is no function."""
    kind = KINDS[wanted.kind]
    extern = getattr(value, "__keep__", value)
    constant = isinstance(wanted.type, Global) and not wanted.type.mutable
    if not isinstance(extern, Extern):
        mutable = "mutable " if wanted.kind == GLOBAL else ""
        return TypeError(
            f"import {wanted} must be a {mutable}{kind} of another guest, not {type(value).__name__}"
        )
    if extern.kind != wanted.kind:
        return TypeError(f"import {wanted} must be a {kind}, but {extern.name!r} is a {KINDS[extern.kind]}")
    value_too = "; or give its .value" if constant else ""
    return TypeError(
        f"import {wanted} must be a {kind} of the same space, but {extern.name!r} is of another engine, table"
        " or guest: guests link if one imports from the other only, or both are given the same"
        f" hiwire={value_too}"
    )


def check_fit(wanted: Import, extern: Extern) -> None:
    """Types must match as they were before lowering: to the engine, externref and i32 are the same then."""
    have, want = extern.type, wanted.type
    if isinstance(want, FuncType):
        fits = have == want
    elif isinstance(want, Global):
        fits = (have.type, have.mutable) == (want.type, want.mutable)
    elif isinstance(want, Tag):
        fits = have.functype == want.functype
    elif isinstance(want, TableType):
        fits = have.element == want.element and _within(have.limits, want.limits)
    else:
        fits = True  # memories: the engine knows their sizes now
    if not fits:
        raise UnsupportedModuleError(
            f"import {wanted} is a {KINDS[wanted.kind]} of type {_describe(want)},"
            f" but {extern.name!r} is of type {_describe(have)}"
        )


def _within(have: Limits, want: Limits) -> bool:
    if want.maximum is None:
        return True
    return have.maximum is not None and have.maximum <= want.maximum


def _describe(type_: ExternType) -> str:
    if isinstance(type_, TableType):
        return f"table of {type_name(type_.element)} {tuple(type_.limits[:2])}"
    if isinstance(type_, Global):
        return ("mutable " if type_.mutable else "") + type_name(type_.type)
    return str(type_.functype if isinstance(type_, Tag) else type_)


def check_sizes(module: Module, limits: GuestLimits, what: str) -> None:
    """What the module asks for at the start is within the limits."""
    for memory in module.memories:
        size = memory.minimum * _PAGE
        check_limit(limits, "memory_limit", size, f"{what} asks for a memory of {size} bytes, and ")
    for table in module.tables:
        size = table.limits.minimum
        check_limit(limits, "table_limit", size, f"{what} asks for a table of {size} elements, and ")


def check_limit(limits: GuestLimits, name: str, size: int, message: str) -> None:
    """Check that a memory or table may have a size.

    Args:
        name: of the limit.
        message: what is said, before the limit, if it may not.

    Raises:
        MemoryLimitError, TableLimitError: it may not.
    """
    limit = getattr(limits, name)
    if limit is not None and size > limit:
        raise _ERRORS[name](f"{message}{limits.describe(name)}")
