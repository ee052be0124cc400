"""Collecting with types of CPython's collector: for the time of a collection the wrappers show it what their
structs hold.

No object changes hands: the functions by which the collector visits a wrapper's references, compiled of
wrapper_types.c, survey.c and lending.c, visit those in the guest's memory too. `parking` is the way without
a compiler.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..compiled_types import load_types
from ..guest import Guest
from ..memory import GuestMemory
from ..objects.calls import ForEach
from ._types import lib as _lib  # type: ignore[import-not-found]  # made at install, perhaps
from .arena import CommonArena
from .layouts import Layout

if TYPE_CHECKING:
    from .heap import Counts, Heap

__all__ = ["Arena", "Window", "WrapperBase"]


_types = load_types(_lib.hw_types_into)
Shape: Any = _types["Shape"]
ArenaBase: Any = _types["ArenaBase"]
Survey: Any = _types["Survey"]
WrapperBase: Any = _types["WrapperBase"]

_unresolved: list[Layout] = []


def _shape_of(layout: Layout) -> Any:
    """A layout as the survey reads it. What its owning pointers lead to is looked up before the next survey:
    it may not be there yet."""
    if layout.shape is None:
        layout.shape = Shape(layout, layout.size, layout.handles, tuple(layout.owned))
        _unresolved.append(layout)
    return layout.shape


def _resolve() -> None:
    while True:
        layout = _unresolved[-1] if _unresolved else None
        if layout is None:
            return
        for i, (_, target) in enumerate(layout.owns()):
            layout.shape.own(i, _shape_of(target))
        if layout in _unresolved:  # else a signal handler collected meanwhile
            _unresolved.remove(layout)


class Arena(ArenaBase, CommonArena):  # type: ignore[misc]  # the base is known when it runs
    """``live`` is a set of pointers."""

    def __init__(self, guest: Guest, heap: Heap, memory: GuestMemory | None = None) -> None:
        CommonArena.__init__(self, guest, heap, memory)

    def adopt(self, wrapper: Any, pointer: int, layout: Layout, free: ForEach) -> None:
        self.check(pointer, layout)
        self.own(wrapper, pointer, _shape_of(layout), free)

    def dead(self, free: ForEach) -> Iterator[int]:
        return iter(functools.partial(self.next_dead, free), None)


class Window:
    """The time during which objects are lent."""

    def __init__(self, heap: Heap, accounts: Counts, arenas: list[Any]) -> None:
        self._heap = heap
        self._accounts = accounts
        self._arenas: list[Arena] = arenas
        self._survey = Survey(accounts.none)  # which, once ended, takes no more

    def open(self) -> None:
        """Have the wrappers show what their structs hold."""
        _resolve()
        for arena in self._arenas:
            self._survey.add(arena, *arena.extent())
        self._heap.mistaken.update(self._accounts.lend(self._survey, self._heap.space.gone))

    def close(self) -> None:
        """The table alone shows its objects again."""
        self._survey.end()
