"""Releasing what an engine holds, when Python no longer refers to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

__all__ = ["at_release"]

_numbers = itertools.count(1)
_waiting: dict[int, Callable[[], object]] = {}


# Both are integers, so that no signal handler comes in while one is made: its exception would be lost.


class _Dead(int):
    """Made by a token's finalizer, and kept by the token. As Python's collector does not know it yet, it dies
    when the token does, not with the finalizers of the token's cycle."""

    def __del__(self, waiting: dict[int, Callable[[], object]] = _waiting) -> None:
        function = waiting.pop(self, None)
        if function is not None:  # else an interrupt came before it was noted
            function()


class _Token(int):
    _dead: _Dead

    def __del__(self, dead: type[_Dead] = _Dead) -> None:
        self._dead = dead(self)


def at_release(function: Callable[[], object]) -> object:
    """A token to keep with an object: ``function`` is called when the token is gone, in whatever thread.

    `weakref.finalize`, ``__del__`` and ``ffi.gc`` come too early where a cycle dies: other finalizers of that
    cycle may still call a guest, which would then be gone already. This comes when the cycle is taken apart.

    Args:
        function: what it refers to may not refer to the token: it is kept elsewhere until then.
    """
    token = _Token(next(_numbers))
    _waiting[int(token)] = function
    return token
