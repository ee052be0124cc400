"""Releasing what an engine holds, when Python no longer refers to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import _cffi_backend

__all__ = ["at_release", "new_token", "watch_of"]

_new = _cffi_backend.FFI().new


class _Watch(weakref.ref[Any]):
    __slots__ = ("function",)

    function: Callable[[], object]


_waiting: dict[int, _Watch] = {}  # by id, as an interrupt may come before a watch has its hash


def _gone(watch: Any, waiting: dict[int, _Watch] = _waiting) -> None:
    if waiting.pop(id(watch), None) is not None:  # else an interrupt came before it was noted
        watch.function()


def new_token() -> object:
    """What is gone when its holder is, and not before: Python's collector clears weak references to all that
    it finds in a dead cycle, and a finalizer may keep it after that, but it does not know tokens."""
    return _new("char *")


def at_release(function: Callable[[], object]) -> object:
    """A token to keep with an object: ``function`` is called when the token is gone, in whatever thread.

    `weakref.finalize`, ``__del__`` and ``ffi.gc`` come too early where a cycle dies: other finalizers of that
    cycle may still call a guest, which would then be gone already. This comes when the cycle is taken apart,
    which Python does when all its finalizers have run and none of them has kept it.

    That depends on no order in which a Python goes about it, because its collector does not know the token:
    only an object's count ends one, and its holder lets go of it when it is cleared itself. Every instance
    of a class that is written in Python is known to the collector, but cffi's plain data are not.

    Holders are cleared in any order. What must outlive something else is referred to by that one's
    ``function``, which is dropped after its call.

    Args:
        function: what it refers to may not refer to the token: it is kept elsewhere until then.
    """
    token = new_token()
    watch = _Watch(token, _gone)
    watch.function = function
    _waiting[id(watch)] = watch
    return token


def watch_of(token: object) -> Callable[[], object | None]:
    """Says whether a token of `at_release` is there: the token or None, as a weak reference does, whether the
    function was called or a signal handler kept it from that.

    An ordinary weak reference would not do where it can be a part of a dead cycle that a finalizer keeps:
    Python's collector clears those, whatever they refer to. This one is held from outside of all cycles.
    """
    watch: Callable[[], object | None] = weakref.getweakrefs(token)[0]
    return watch
