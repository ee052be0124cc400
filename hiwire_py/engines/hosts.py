"""Host functions as C calls them, and what becomes of an exception that one raises.

C cannot pass a Python exception on. So it is put aside, for the thread, and the guest traps; the call that it
unwinds to raises the exception again. A finalizer or signal handler may call a guest in between, so there may
be several, the innermost last.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..real_threads import local
from .release import at_release

__all__ = ["call", "keep", "put_aside", "raise_again", "raised"]

_functions: dict[int, Callable[..., Any]] = {}  # what C may call, by their addresses, which it knows them by


class _State(local):
    def __init__(self) -> None:
        self.errors: list[BaseException] = []


_state = _State()


def keep(function: Callable[..., Any]) -> tuple[int, object]:
    """The address of a function for C, which no other has as long as what comes with it is kept."""
    address = id(function)
    _functions[address] = function
    return address, at_release(functools.partial(_functions.pop, address, None))


def call(address: int, *args: Any) -> Any:
    """What cffi's callbacks do, which cannot call a Python function by its address."""
    return _functions[address](*args)


def raised() -> list[BaseException]:
    """What host functions of this thread have raised and no call has passed on yet: always the same list."""
    return _state.errors


def put_aside(error: BaseException) -> None:
    """An exception has come out of a host function."""
    errors = _state.errors
    if not errors or errors[-1] is not error:  # it was raised just outside of the code around the function
        errors.append(error)


def raise_again() -> None:
    """Raise what a host function raised last. `raised` has it until it has passed the call."""
    raise _state.errors[-1]
