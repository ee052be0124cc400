"""How much stack is left in the running thread, which decides what may still begin there.

stack_end.h draws how a stack is shared out between Python, guests and host functions; here is what Python
needs of it. Compiled at install (stack_guard.c) it costs next to nothing. A machine without a C compiler, as
a slim container image is, finds the same through ctypes, in about a microsecond.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from ..compiled_types import load_types
from ..errors import EngineUnavailableError
from ..real_threads import local

__all__ = ["COMPILED", "SEEN", "StackEnd", "guarded", "guest_share", "look", "require", "short"]

# As in stack_end.h.
_HOST, _GUEST, _MOST = 1 << 20, 512 << 10, 64 << 20

# Bytes of stack that it takes to find an engine, with all that Python imports for it, and to make a guest,
# with the engine's compiler. They are one and a half times what was measured.
_TO_FIND = 40 << 10
_TO_MAKE = {"wasmer": 96 << 10, "wasmtime": 96 << 10, "native": 48 << 10}
_OUTERMOST = 32 << 10  # bytes that Python has taken where a thread's own code begins, and some calls later


class StackEnd(RuntimeError):
    """Too little stack is left in this thread for a call of a guest, so it was not begun."""

    def __init__(self) -> None:
        super().__init__("call stack exhausted")


def guest_share() -> int:
    """The bytes that a guest may use of this thread's stack."""
    return min(look()[1] // 4, _GUEST)


def short() -> bool:
    """Whether too little is left for a call of a guest that may use its share."""
    left, size, _whole = look()
    return left < min(size // 4, _HOST) + min(size // 4, _GUEST)


def require(engine: str | None) -> None:
    """See to it that there is stack for making a guest, or for finding an engine.

    Raises:
        EngineUnavailableError: this thread's whole stack is too small.
        RecursionError: too little of it is left.
    """
    needed = _TO_FIND if engine is None else _TO_MAKE[engine]
    left, size, _whole = look()
    if left >= needed:
        return
    what = "finding an engine" if engine is None else f"making a guest on the engine {engine!r}"
    if size <= needed + _OUTERMOST:
        raise EngineUnavailableError(
            f"{what} takes {needed >> 10} KiB of stack beside what Python takes, and this thread has a stack"
            f" of {size >> 10} KiB: set threading.stack_size before the thread is started"
        )
    raise RecursionError(
        f"{what} takes {needed >> 10} KiB of stack, and {max(0, left) >> 10} KiB are left (infinite"
        " recursion?)"
    )


# ---- without a compiler

_POINTER_AT = {"x86_64": 160, "aarch64": 432}  # of the stack pointer in a ``ucontext_t`` of glibc
_pointer_at = _POINTER_AT.get(platform.machine())
# Calls of a PyDLL keep Python's lock: these are too short to give it up.
_libc: Any = ctypes.PyDLL(None) if os.name == "posix" else None
_getcontext = getattr(_libc, "getcontext", None) if sys.platform.startswith("linux") else None


class _State(local):
    """Of each thread: room for a ``ucontext_t``, and the lowest address and the two sizes of its stack."""

    bounds: tuple[int, int, int] | None = None

    def __init__(self) -> None:
        self.context = (ctypes.c_uint64 * 1024)()


_state = _State()


def _find_bounds(here: int) -> tuple[int, int, int]:
    """As ``hw_find_stack`` in stack_end.h."""
    attributes = (ctypes.c_uint64 * 64)()
    lowest, length = ctypes.c_size_t(), ctypes.c_size_t()
    try:
        _libc.pthread_self.restype = ctypes.c_void_p
        if not _libc.pthread_getattr_np(ctypes.c_void_p(_libc.pthread_self()), attributes):
            _libc.pthread_attr_getstack(attributes, ctypes.byref(lowest), ctypes.byref(length))
            _libc.pthread_attr_destroy(attributes)
    except (AttributeError, OSError, TypeError):
        pass
    low, whole = lowest.value, length.value
    if not low < here <= low + whole:
        low, whole = max(0, here - (64 << 10)), 64 << 10
    size = min(whole, _MOST)
    return low + whole - size, size, whole


def _look() -> tuple[int, int, int]:
    here = 0  # where it cannot be known: then all is left
    if _getcontext is not None and _pointer_at is not None:
        _getcontext(_state.context)
        here = _state.context[_pointer_at // 8]
    if _state.bounds is None:
        _state.bounds = _find_bounds(here)
    low, size, whole = _state.bounds
    return here - low if here else size, size, whole


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    def guard(*args: Any) -> Any:
        left, size, _whole = look()
        if left < min(size // 4, _HOST):
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
    return found if "guarded" in found else None


_compiled = _load()
COMPILED = _compiled is not None
"""Whether this was compiled at install."""

SEEN = COMPILED or (_getcontext is not None and _pointer_at is not None)
"""Whether it can be known how much is left."""

look: Callable[[], tuple[int, int, int]] = _look if _compiled is None else _compiled["look"]
"""What is seen of this thread's stack, in bytes: how many are left; its size, or 64 MiB of a larger one; and
its size however large."""

guarded: Callable[[Callable[..., Any]], Callable[..., Any]] = (
    _guarded if _compiled is None else _compiled["guarded"]
)
"""A function that calls another, or raises RuntimeError where too little is left for a host function."""
