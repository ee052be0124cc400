"""Checks of arguments that callers give. The errors name the argument and say what is wrong with it."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["arguments", "check_callable", "check_integer", "shown", "takes"]

_MOST_BITS = 128


def check_integer(value: Any, what: str) -> int:
    """An integer, NumPy's among them; a bool is none here.

    Args:
        value: what the caller gave.
        what: names it in the error, as in ``"the address"``.

    Raises:
        TypeError: it is no integer.
    """
    if value.__class__ is int:
        number: int = value
        return number
    cause: TypeError | None = None
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError as error:
            cause = error
    raise TypeError(f"{what} must be an integer, not {type(value).__name__}") from cause


def shown(number: int) -> str:
    """An integer as errors show it. Python refuses to write one of thousands of digits."""
    bits = number.bit_length()
    return str(number) if bits <= _MOST_BITS else f"{'-' if number < 0 else ''}2**{bits - 1} and more"


def check_callable(function: Any, what: str, count: int | None = None) -> None:
    """Check that ``function`` can be called, and gives its result when it returns.

    Args:
        function: what the caller gave.
        what: names it in the error, as in ``"import env.f"``.
        count: how many arguments it must take; None: any number.

    Raises:
        TypeError: it is no callable, or a coroutine function or asynchronous generator function, or takes
            another number of arguments.
    """
    if not callable(function):
        raise TypeError(f"{what} must be a callable, not {type(function).__name__}")
    if _is_asynchronous(function):
        raise TypeError(
            f"{what} must be a plain callable, not a coroutine function (async def): nothing would await it;"
            " give a function that runs it, as with asyncio.run"
        )
    if count is not None and not takes(function, count):
        raise TypeError(
            f"{what} must be a callable that takes {arguments(count)}: {_name(function)} does not"
        )


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a callable takes so many arguments; True where that is not known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def arguments(count: int) -> str:
    """So many arguments, in words, for errors."""
    return "no arguments" if count == 0 else "1 argument" if count == 1 else f"{count} arguments"


def _is_asynchronous(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function).__call__  # of an object that can be called
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
