"""The structs with wrappers in all guests that share a table, and when Python's collector sees into them.

For the time of a collection the objects whose handles all lie in structs that have wrappers are held by those
wrappers, and not by the table: `lending` and `parking` are two ways to do that. So Python's collector sees
the references that exist in the guest's memory, and does the rest: no cycle is looked for here.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from ..objects import Space
from ..real_threads import get_ident
from .layouts import Layout
from .ways import Window
from .weaklist import WeakList

__all__ = ["Counts", "Heap"]
_LEAST = 1000
# Where slots must be read one by one, a collection that was not asked for reads this many, and 4 for each
# struct with a wrapper, and the 16th part of all. What is not enough for a table is saved for the next.
_SLOTS_A_COLLECTION, _SLOTS_A_STRUCT, _COLLECTIONS = 16_384, 4, 16


class Counts(Protocol):
    """What a table says about handles: `accounts.Accounts`, or `sidetable_accounts.SideTableAccounts`.

    Attributes:
        none: what stands in a struct's field that holds no handle.
    """

    none: int

    def cost(self) -> int:
        """How many slots must be read one by one for a collection; 0 where they are read where they lie."""

    def accounted(self, found: Mapping[int, int]) -> tuple[dict[int, int], list[int]]:
        """For `parking`.

        Args:
            found: handle -> how many copies of it were found; a negative number for one that must be kept.

        Returns:
            Handle -> key in ``space.objects``, for those handles whose count equals the copies found and
            whose object no other slot and no global holds; and the handles that were found more often than
            they are counted.
        """

    def lend(self, survey: Any, gone: dict[Any, None]) -> set[Any]:
        """For `lending`: have ``survey`` show what the handles that it found hold. See lending.c.
        ``gone`` is that of the space.

        Returns:
            The layouts that the memory did not agree with.
        """


class Heap:
    """The structs with wrappers of all guests that share a table, or of one guest without a table.

    Args:
        space: the guests'.
        accounts: of the table; None where there is none, or it cannot be seen: then nothing is parked.
        lasting: whether something else than its guests holds the heap, a table.

    Attributes:
        arenas: one for each guest.
        orphans: those of guests that are gone, with structs to be freed.
        again: whether the last collection was disturbed, by a finalizer that called the guest.
        wanted: whether a collection was put off because a guest was running.
        mistaken: layouts that the memory did not agree with.
    """

    def __init__(self, space: Space, accounts: Counts | None, lasting: bool = True) -> None:
        self.space = space
        self.accounts = accounts
        self.lasting = lasting
        self.arenas: WeakList[Any] = WeakList()
        self.orphans: deque[Any] = deque()
        self.again = self.wanted = False
        self.mistaken: set[Layout] = set()
        self.threshold = _LEAST
        self.until = _LEAST  # wrappers to be made before `many` need be asked
        self._window: Any = None
        self._earned = 0  # slots that may be read by the collections that Python begins

    def count(self) -> int:
        """How many structs have wrappers, or had and are not freed."""
        return sum(len(arena.live) for arena in self.arenas)

    def adjust(self) -> None:
        """A collection is over: the next one is due when there are twice as many structs."""
        self.wanted = False
        self.threshold = max(_LEAST, 2 * self.count())
        self.until = 0

    def many(self) -> bool:
        """Whether there are so many structs that a collection is due."""
        self.until = self.threshold - self.count()
        return self.until <= 0

    def waits(self, arena: Any) -> bool:
        """Whether dead wrappers may have left structs. An arena is given, since most heaps have no other."""
        return bool(
            arena.waiting
            or self.orphans
            or (len(self.arenas) > 1 and any(other.waiting for other in self.arenas))
        )

    def drain(self, errors: list[BaseException] | None = None) -> int:
        """Free the structs of dead wrappers, unless a guest runs. See `Arena.drain`."""
        space = self.space
        if space.busy or get_ident() != space.thread:
            return 0
        resume = space.paused
        if resume == self.settle:
            self.restore()
        elif resume is not None:
            resume()
        if space.closing:
            return 0
        freed = 0
        while True:
            arenas = [arena for arena in self.arenas if arena.waiting]
            if not arenas and not self.orphans:
                return freed
            # One call of the guest as far as the space is concerned: what dies, dies at its end, and can come
            # back here then. What a struct held may have been the last reference to another wrapper.
            now = space.as_one_call(functools.partial(self._drain_once, arenas, errors))
            if not now:  # those that wait are alive: finalizers kept them
                return freed
            freed += now

    def _drain_once(self, arenas: list[Any], errors: list[BaseException] | None) -> int:
        freed: int = sum(arena.drain(errors) for arena in arenas)
        while self.orphans:
            freed += self.orphans[0].drain(errors)
            del self.orphans[0]  # not before: a signal handler may raise
        return freed

    # ---- the window: from `park` to `restore`, Python's collector runs

    @property
    def looking(self) -> bool:
        """Whether Python's collector runs and the wrappers hold the objects."""
        return self._window is not None and self.space.paused is not None

    def park(self, asked: bool) -> None:
        """Have the wrappers, not the table, hold the objects whose every count lies in their structs.

        Args:
            asked: whether the collection was asked for, and did not begin by itself.
        """
        space, accounts = self.space, self.accounts
        self.restore()  # left open by an interrupt, or waiting for whoever comes in
        self._window = None
        if accounts is None or get_ident() != space.thread or space.closing:
            return
        if space.busy:
            self.wanted = True  # handles may be in the guest's locals
            return
        arenas = [arena for arena in self.arenas if arena.gate.owner == get_ident()]
        structs = sum(len(arena.live) for arena in arenas)
        if not structs or not (asked or self._affordable(accounts.cost(), structs)):
            return
        self._window = window = Window(self, accounts, arenas)
        space.pause(self.interrupt)
        try:
            window.open()
        except BaseException:
            self.close_window()
            raise

    def _affordable(self, slots: int, structs: int) -> bool:
        """Whether it is time again to read so many slots."""
        if slots:
            self._earned += _SLOTS_A_COLLECTION + _SLOTS_A_STRUCT * structs + slots // _COLLECTIONS
            if self._earned < slots:
                return False
            self._earned = 0
        return True

    def interrupt(self) -> None:
        """Someone comes into the guest during the window: the table must hold everything again.

        What Python has found to be garbage may be used by a finalizer; it is collected the next time.
        """
        self.again = True
        self.restore()

    def restore(self) -> None:
        """The table holds the objects again, and whoever wants can come in."""
        space, window = self.space, self._window
        if self.accounts is None:
            return
        if window is not None:
            window.close()
        space.unpause(self.interrupt, self.settle)

    def close_window(self) -> None:
        """The collection is over. The handles of what it took out are to be released before they are seen."""
        self.restore()
        self._window = None
        space = self.space
        if not space.gone or space.busy or space.closing or get_ident() != space.thread:
            return
        if self.orphans or any(arena.waiting for arena in self.arenas):
            space.pause(self.settle)

    def settle(self) -> None:
        """Someone comes in after a collection: structs of dead wrappers whose objects are gone are freed
        first. So no one but the function that frees a struct meets the handles in it."""
        self.restore()
        self.drain()
