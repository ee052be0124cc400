"""Host functions as C calls them: by numbers; and what becomes of an exception that one raises.

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

__all__ = ["dispatcher", "numbered", "on_error", "raise_again", "raised"]

_functions: dict[int, Callable[..., Any]] = {}
_numbers = itertools.count(1)


class _State(local):
    def __init__(self) -> None:
        self.errors: list[BaseException] = []


_state = _State()


def numbered(function: Callable[..., Any]) -> tuple[int, object]:
    """A number for a host function; and what to keep as long as C may call it."""
    number = next(_numbers)
    _functions[number] = function
    return number, at_release(functools.partial(_functions.pop, number, None))


@functools.cache
def dispatcher(count: int) -> Callable[..., Any]:
    """What C calls: it takes a number and so many arguments, and calls the host function of that number."""
    names = "".join(f", a{i}" for i in range(count))
    made: Callable[..., Any] = eval(
        f"lambda number{names}: functions[number]({names[2:]})", {"functions": _functions}
    )
    return made


def raised() -> list[BaseException]:
    """What host functions of this thread have raised and no call has passed on yet: always the same list."""
    return _state.errors


def on_error(mark: Callable[[], Any]) -> Callable[[Any, BaseException, Any], Any]:
    """What cffi calls when an exception comes out of Python code that C called.

    Args:
        mark: has the guest trap; what it returns is C's result.
    """

    def onerror(kind: Any, error: BaseException, traceback: Any) -> Any:
        errors = _state.errors
        if (
            not errors or errors[-1] is not error
        ):  # it was raised just outside of the code around the function
            errors.append(error)
        return mark()

    return onerror


def raise_again() -> None:
    """Raise what a host function raised last. `raised` has it until it has passed the call."""
    raise _state.errors[-1]
