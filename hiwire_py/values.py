"""WebAssembly value types as Python sees them: ``NULL``, function types, and the checks on what crosses the
boundary."""

from __future__ import annotations

import enum
import operator
from collections.abc import Coroutine
from typing import Any, Final

from .checks import shown
from .wasm.types import EXTERNREF, F32, F64, FUNCREF, I32, I64, V128, FuncType, type_name

__all__ = [
    "CROSSING",
    "EXTERNREF",
    "F32",
    "F64",
    "FUNCREF",
    "I32",
    "I64",
    "NULL",
    "V128",
    "FuncType",
    "NullType",
    "check_value",
    "type_name",
]

CROSSING: Final = frozenset((I32, I64, F32, F64, EXTERNREF))
"""The types that Python has values of."""


class NullType(enum.Enum):
    """The type of ``NULL``. An enum, so that type checkers narrow ``x is NULL`` and copies stay identical."""

    NULL = 0

    def __repr__(self) -> str:
        return "hiwire_py.NULL"

    def __bool__(self) -> bool:
        return False


NULL: Final = NullType.NULL
"""The null externref. ``None`` is an ordinary object and crosses the boundary as itself."""


def check_value(value: Any, code: int, what: str) -> Any:
    """``value`` as an engine takes it for type ``code``: integers are brought to their signed form.

    Args:
        value: what the caller gave.
        code: a value type's code.
        what: names the value in an error, as in ``"argument 1 of add()"``.

    Raises:
        TypeError: the value is of a type that has no such WebAssembly value.
        OverflowError: an integer does not fit.
    """
    if code in (I32, I64):
        number = _integer(value, code, what)
        bits = 32 if code == I32 else 64
        if not -(1 << (bits - 1)) <= number < 1 << bits:
            raise OverflowError(
                f"{what} must fit {type_name(code)}: {shown(number)} needs more than {bits} bits"
            )
        return number if number < 1 << (bits - 1) else number - (1 << bits)
    if code in (F32, F64):
        return _float(value, code, what)
    if code == EXTERNREF:
        return value
    raise TypeError(f"{what} is of type {type_name(code)}, which cannot cross between Python and the guest")


def _integer(value: Any, code: int, what: str) -> int:
    cause = None
    if hasattr(type(value), "__index__"):
        try:
            return operator.index(value)
        except TypeError as error:  # of an array, say
            cause = error
    raise TypeError(f"{what} must be an integer ({type_name(code)}), not {_kind(value)}") from cause


def _float(value: Any, code: int, what: str) -> float:
    cause = None
    if isinstance(value, (int, float)) or hasattr(type(value), "__float__"):
        try:
            return float(value)
        except OverflowError as error:
            raise OverflowError(f"{what} must fit {type_name(code)}: {error}") from error
        except TypeError as error:
            cause = error
    raise TypeError(f"{what} must be a number ({type_name(code)}), not {_kind(value)}") from cause


def _kind(value: Any) -> str:
    hint = " (a coroutine: nothing awaits it)" if isinstance(value, Coroutine) else ""
    return type(value).__name__ + hint
