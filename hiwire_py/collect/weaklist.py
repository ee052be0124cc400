"""Class WeakList."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["WeakList"]

_Item = TypeVar("_Item")


class WeakList(Generic[_Item]):
    """A few objects that others keep alive.

    To go through a WeakSet takes as long as all the rest that is done when a wrapper is made.
    """

    __slots__ = ("__weakref__", "_references")

    def __init__(self) -> None:
        self._references: list[weakref.ref[_Item]] = []

    def add(self, item: _Item) -> None:
        self._references.append(weakref.ref(item, self._references.remove))

    def __len__(self) -> int:
        return len(self._references)

    def __iter__(self) -> Iterator[_Item]:
        return iter([item for reference in tuple(self._references) if (item := reference()) is not None])
