"""Host functions as C calls them, and what becomes of an exception that one raises.

C cannot pass a Python exception on. So it is put aside, for the thread, and the guest traps; the call that it
unwinds to raises the exception again. A finalizer or signal handler may call a guest in between, so there may
be several, the innermost last.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from ..real_threads import local
from .release import at_release

__all__ = ["functions", "keep", "put_aside", "raise_again", "raised"]

functions: dict[int, Callable[..., Any]] = {}
"""What C may call, by number; one may be there several times."""

_numbers = itertools.count(1)


class _State(local):
    def __init__(self) -> None:
        self.errors: list[BaseException] = []


_state = _State()


def keep(function: Callable[..., Any]) -> tuple[int, object]:
    """A number for a function that C may call, in `functions`, and what keeps it there. Where C can call the
    function itself, it knows it by its address, which is its `id`."""
    number = next(_numbers)
    functions[number] = function
    return number, at_release(functools.partial(functions.pop, number, None))


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
