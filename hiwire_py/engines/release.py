"""Releasing what an engine holds, when Python no longer refers to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

__all__ = ["at_release"]

_numbers = itertools.count(1)
_waiting: dict[int, Callable[[], object]] = {}


class _Dead:
    """Made by a token's finalizer, and kept by the token. As Python's collector does not know it yet, it dies
    when the token does, not with the finalizers of the token's cycle."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self, waiting: dict[int, Callable[[], object]] = _waiting) -> None:
        waiting.pop(self._number)()


class _Token:
    __slots__ = ("_dead", "_number")

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self, dead: type[_Dead] = _Dead) -> None:
        self._dead = dead(self._number)


def at_release(function: Callable[[], object]) -> object:
    """A token to keep with an object: ``function`` is called when the token is gone, in whatever thread.

    `weakref.finalize`, ``__del__`` and ``ffi.gc`` come too early where a cycle dies: other finalizers of that
    cycle may still call a guest, which would then be gone already. This comes when the cycle is taken apart.

    Args:
        function: what it refers to may not refer to the token: it is kept elsewhere until then.
    """
    number = next(_numbers)
    _waiting[number] = function
    return _Token(number)
