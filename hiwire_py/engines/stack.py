"""How much stack is left in the running thread, which decides what may still begin there.

stack_end.h draws how a stack is shared out between Python, guests and host functions; here is what Python
needs of it. Compiled at install (stack_guard.c) it costs next to nothing; without a C compiler the same is
found through ctypes, in about a microsecond.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ..compiled_types import load_types
from ..errors import EngineUnavailableError
from ..real_threads import local

__all__ = [
    "COMPILED",
    "SEEN",
    "StackEnd",
    "guarded",
    "guest_share",
    "left",
    "require",
    "short",
    "size",
    "whole",
]

# As in stack_end.h.
_HOST, _GUEST, _MOST = 1 << 20, 512 << 10, 64 << 20

# Bytes of stack that it takes to find an engine, with all that Python imports for it, and to make a guest,
# with the engine's compiler. They are one and a half times what was measured.
_TO_FIND = 40 << 10
_TO_MAKE = {"wasmer": 96 << 10, "wasmtime": 96 << 10, "native": 48 << 10}


class StackEnd(RuntimeError):
    """Too little stack is left in this thread for a call of a guest, so it was not begun."""

    def __init__(self) -> None:
        super().__init__("call stack exhausted")


def guest_share() -> int:
    """The bytes that a guest may use of this thread's stack."""
    return min(size() // 4, _GUEST)


def require(engine: str | None) -> None:
    """See to it that there is stack for making a guest, or for finding an engine.

    Raises:
        EngineUnavailableError: this thread's whole stack is too small.
        RecursionError: too little of it is left.
    """
    needed = _TO_FIND if engine is None else _TO_MAKE[engine.partition("-")[0]]
    if left() >= needed:
        return
    what = "finding an engine" if engine is None else f"making a guest on the engine {engine!r}"
    if size() <= needed + _OUTERMOST:
        raise EngineUnavailableError(
            f"{what} takes {needed >> 10} KiB of stack beside what Python takes, and this thread has a stack"
            f" of {size() >> 10} KiB: set threading.stack_size before the thread is started"
        )
    raise RecursionError(
        f"{what} takes {needed >> 10} KiB of stack, and {max(0, left()) >> 10} KiB are left (infinite"
        " recursion?)"
    )


# ---- without a compiler


class _Bounds(NamedTuple):
    """As ``hw_stack`` in stack_end.h."""

    low: int
    size: int
    whole: int


class _State(local):
    """Of each thread."""

    bounds: _Bounds | None = None

    def __init__(self) -> None:
        self.context = (ctypes.c_uint64 * 1024)()


_state = _State()
_OUTERMOST = 32 << 10  # bytes that Python has taken where a thread's own code begins, and some calls later
_POINTER_AT = {"x86_64": 160, "aarch64": 432}  # of the stack pointer in a ``ucontext_t`` of glibc


# Calls of a PyDLL keep Python's lock: these are too short to give it up.
_libc: Any = ctypes.PyDLL(None) if os.name == "posix" else None
_getcontext = getattr(_libc, "getcontext", None) if sys.platform.startswith("linux") else None
_pointer_at = _POINTER_AT.get(platform.machine())


def _here() -> int:
    """The stack pointer, or 0 where it cannot be known."""
    if _getcontext is None or _pointer_at is None:
        return 0
    context = _state.context
    _getcontext(context)
    return context[_pointer_at // 8]


def _find_bounds() -> _Bounds:
    attributes = (ctypes.c_uint64 * 64)()
    low, size = ctypes.c_void_p(), ctypes.c_size_t()
    try:
        libc = _libc
        libc.pthread_self.restype = ctypes.c_void_p
        good = not libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes)
        if good:
            libc.pthread_attr_getstack(attributes, ctypes.byref(low), ctypes.byref(size))
            libc.pthread_attr_destroy(attributes)
    except (AttributeError, OSError, TypeError):
        good = False
    here, lowest, length = _here(), low.value or 0, size.value
    if not good or not here or not lowest < here <= lowest + length:
        length = 64 << 10
        lowest = max(0, here - length)
    whole = length
    if length > _MOST:
        lowest, length = lowest + length - _MOST, _MOST
    return _Bounds(lowest, length, whole)


def _bounds() -> _Bounds:
    bounds = _state.bounds
    if bounds is None:
        bounds = _state.bounds = _find_bounds()
    return bounds


def _size() -> int:
    return _bounds().size


def _whole() -> int:
    return _bounds().whole


def _left() -> int:
    bounds, here = _bounds(), _here()
    return here - bounds.low if here else bounds.size


def _short() -> bool:
    whole = _size()
    return _left() < min(whole // 4, _HOST) + min(whole // 4, _GUEST)


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    def guard(*args: Any) -> Any:
        if _left() < min(_size() // 4, _HOST):
            raise StackEnd
        return function(*args)

    return guard


def _load() -> dict[str, Any] | None:
    try:
        from ._stack import lib  # type: ignore[import-not-found]  # made at install, perhaps

        found = load_types(lib.hw_guard_into)
    except ImportError:
        return None
    # One that lacks a function was compiled from older source, in a checkout where it is to be built again.
    return found if "whole" in found else None


_compiled = _load()
COMPILED = _compiled is not None
"""Whether this was compiled at install."""

SEEN = COMPILED or (_getcontext is not None and _pointer_at is not None)
"""Whether it can be known how much is left."""

size: Callable[[], int] = _size if _compiled is None else _compiled["size"]
"""The size of this thread's stack in bytes, or 64 MiB of a larger one."""

whole: Callable[[], int] = _whole if _compiled is None else _compiled["whole"]
"""The size of this thread's stack in bytes, however large."""

left: Callable[[], int] = _left if _compiled is None else _compiled["left"]
"""How many bytes of it are left."""

short: Callable[[], bool] = _short if _compiled is None else _compiled["short"]
"""Whether too little is left for a call of a guest that may use its share."""

guarded: Callable[[Callable[..., Any]], Callable[..., Any]] = (
    _guarded if _compiled is None else _compiled["Guard"]
)
"""A function that calls another, or raises RuntimeError where too little is left for a host function."""
