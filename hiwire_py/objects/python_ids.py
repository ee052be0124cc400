"""The bookkeeping of ids in Python: for machines that had no C compiler when this package was installed.

Nothing that can run foreign code (a finalizer, say) happens before the bookkeeping is in order: dead objects
are collected in a list, and dropped last. Signal handlers and Python's collector come in at calls and where
a jump is taken; they may call the guest, and may raise, as the handler of Ctrl-C does. So an id is moved from
one list to another without a call in between, and the lists stay the same objects: whatever was interrupted
is continued by the next call of `Ids.release`. No jump is taken from an ``if`` whose condition is true to its
body, but one is taken to the body of a ``while``; hence the loops below, which test with ``if``. As a call
may have the runtime's memory grow, where the records lie is looked up again after each.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from typing import Any, TypeAlias

from ..passes.externref import OPAQUE
from .layout import (
    ID_INDEX,
    ID_INDEX_BITS,
    LINK_END,
    RECORD_HOLDERS,
    RECORD_ID,
    RECORD_LINK,
    RECORD_WORDS,
    STATE_FRAMES,
    STATE_FRAMES_END,
    STATE_RECORD_COUNT,
    STATE_RECORDS,
    STATE_WORDS,
    STATE_ZOMBIE_COUNT,
    STATE_ZOMBIES,
)

__all__ = ["Ids"]

_GENERATION = 1 << ID_INDEX_BITS
_WORD = 0xFFFFFFFF
_LOWEST = -(1 << 31)  # of the signed integers that ids are

_Mark: TypeAlias = tuple[int, int, int, int, bool]
"""What `Ids.enter` gives to `Ids.exit`."""


class Ids:
    """The ids of one space. `new_ids` makes it.

    It is true while there is anything to do for the end of the outermost call.

    Attributes:
        objects: id -> object.
        tombstones: ids whose objects the collector of cycles took out although handles name them still, until
            those are released. Who looks one of them up finds out by the KeyError.
    """

    def __init__(
        self,
        base: int,
        state: int,
        reserve: Callable[[int], object],
        settle: Callable[[], bool],
        patience: int,
        null: object,
        seed: int,
    ) -> None:
        self.objects: dict[int, Any] = {}
        self.tombstones: dict[int, None] = {}
        self._state = state
        self._reserve = reserve
        self._settle = settle
        self._null = null
        self._random = random.Random(seed)
        self._made = 1  # indexes that have been given an id; 0 stands for null
        self._free: list[int] = []  # ids to give out, as signed integers
        self._flight: list[int] = []
        self._unheld: list[int] = []  # what nothing held when last it was looked at
        self._floor = 0  # entries of `_flight` that are arguments of the calls on the way, or older
        self._unsettled = False  # see `enter`
        self._pending = False  # see `request`
        self._patience = patience
        self._limit = patience  # so many ids in flight are what `tidy` waits for now
        self.moved(base)

    def __bool__(self) -> bool:
        zombies = self._status[STATE_ZOMBIES] != LINK_END
        return bool(self._flight or self._unheld or self._pending or zombies)

    def moved(self, base: int) -> None:
        """The runtime's memory, with all that is in it, is at another address now."""
        self._base = base
        # Reaches as far as the memory may ever grow.
        words = memoryview((ctypes.c_char * (1 << 32)).from_address(base)).cast("B").cast("i")
        at = self._state // 4
        self._words, self._status = words, words[at : at + STATE_WORDS]

    def hold(self, value: Any) -> int:
        """A new id for an argument of a call, in flight; 0 for NULL.

        Raises:
            MemoryError: there is no room for another one.
        """
        id_ = self.give(value)
        self._floor = len(self._flight)
        return id_

    def give(self, value: Any) -> int:
        """The same for an object that comes from a host function: `sweep` may release it."""
        if value is self._null:
            return 0
        free = self._free
        while True:
            if free:
                id_ = free[-1]
                del free[-1]
                self.objects[id_] = value
                at = (self._status[STATE_RECORDS] & _WORD) // 4 + (id_ & ID_INDEX) * RECORD_WORDS
                self._words[at + RECORD_ID] = id_
                self._flight.append(id_)
                return id_
            self._make()

    def _make(self) -> None:
        index = self._made
        if index > ID_INDEX:
            raise MemoryError(f"a guest holds {ID_INDEX} objects, and there are no more ids")
        if index >= self._status[STATE_RECORD_COUNT] & _WORD:
            self._reserve(2 * index)
            return
        self._made = index + 1
        # Generations start anywhere, so that a guest cannot guess the ids of objects it was not given.
        id_ = self._random.getrandbits(32 - ID_INDEX_BITS) << ID_INDEX_BITS | index
        self._free.append((id_ - _LOWEST & _WORD) + _LOWEST)

    def release(self) -> None:
        """The outermost call has returned: release what nothing holds."""
        try:
            if self._pending:
                self._pending = False
                if self._settle():
                    for kept in (self._flight, self._unheld, self.objects, self.tombstones):
                        kept.clear()
                    return
            self._floor = 0
            self._unsettled = False
            self._limit = self._patience
            self._unlink_zombies()
            self._drop(0)
        except BaseException:
            self.request()  # the next one goes on with it
            raise

    def request(self) -> None:
        """Have the end of the outermost call do what is pending, and look for what can be released."""
        self._pending = True

    def enter(self, interrupting: bool) -> _Mark:
        """A call begins within another one; `unwind` and `exit` take what this returns.

        One that is ``interrupting`` comes from a finalizer or signal handler, perhaps between a host
        function's getting an id and looking it up: nothing but what it brings in is released meanwhile.
        """
        mark = len(self._flight), self._status[STATE_FRAMES_END], self._floor, self._limit, self._unsettled
        self._floor = mark[0]
        self._unsettled = self._unsettled or interrupting
        return mark

    def unwind(self, mark: _Mark | None = None) -> None:
        """The call has failed, and left frames behind. Without a mark it was the outermost."""
        self._status[STATE_FRAMES_END] = self._status[STATE_FRAMES] if mark is None else mark[1]

    def exit(self, mark: _Mark) -> None:
        """The call has ended: release what it brought in and nothing holds."""
        count, _, self._floor, self._limit, self._unsettled = mark
        # All calls further out stood still meanwhile, so what was made since cannot be in their locals.
        self._drop(count)

    def tidy(self) -> None:
        """In a host function, when it has looked up its arguments, and before its results get ids: see
        whether it is time to `sweep`."""
        if self._status[STATE_ZOMBIE_COUNT] > self._patience or len(self._flight) > self._limit:
            self.sweep()

    def sweep(self) -> None:
        """In the midst of a guest's call: release what no slot, no global and no frame holds.

        Only what the innermost call brought in is looked at, and what was cleared from slots. Zombies stay
        in their list until the outermost call returns, whether they are released or not; only their number
        starts again. Calls of finalizers leave ``_flight`` as they find it.
        """
        flight, floor = self._flight, self._floor
        first, end = (self._status[i] & _WORD for i in (STATE_FRAMES, STATE_FRAMES_END))
        frames = self._words[first // 4 : end // 4].tolist()
        if OPAQUE in frames or self._unsettled:
            self._limit = len(flight) + self._patience
            return
        held = {*frames, *flight[:floor]}
        kept = [id_ for id_ in dict.fromkeys(flight[floor:]) if id_ in held]
        lost = [id_ for id_ in (*flight[floor:], *self._zombies()) if id_ not in held]
        here = slice(floor, None)
        self._unheld += lost
        flight[here] = kept
        self._status[STATE_ZOMBIE_COUNT] = 0
        # So that sweeps of deep stacks cost no more than the calls.
        self._limit = 2 * len(flight) + self._patience
        self._drop(len(flight))

    def _zombies(self) -> list[int]:
        """The ids whose last slot was cleared; 0 and other ids in the place of some that were released."""
        found: list[int] = []
        link = self._status[STATE_ZOMBIES]
        while link != LINK_END:
            at = (self._status[STATE_RECORDS] & _WORD) // 4 + (link >> 1) * RECORD_WORDS
            found.append(self._words[at + RECORD_ID])
            link = self._words[at + RECORD_LINK]
        return found

    def _unlink_zombies(self) -> None:
        """Move them to ``_unheld``."""
        unheld = self._unheld
        while True:
            status, words = self._status, self._words
            zombie = status[STATE_ZOMBIES]
            if zombie != LINK_END:
                at = (status[STATE_RECORDS] & _WORD) // 4 + (zombie >> 1) * RECORD_WORDS
                status[STATE_ZOMBIES] = words[at + RECORD_LINK]
                words[at + RECORD_LINK] = 0
                unheld += (words[at + RECORD_ID],)
            else:
                break
        status[STATE_ZOMBIE_COUNT] = 0

    def _drop(self, count: int) -> None:
        """Move the ids in flight to ``_unheld``, but for the first ``count``; take those there that nothing
        holds out of service, and drop their objects."""
        objects, tombstones, free, unheld = self.objects, self.tombstones, self._free, self._unheld
        dead: list[Any] = []
        unheld += self._flight[count:]
        del self._flight[count:]
        while True:
            if unheld:
                id_ = unheld[-1]
                del unheld[-1]
                words = self._words
                at = (self._status[STATE_RECORDS] & _WORD) // 4 + (id_ & ID_INDEX) * RECORD_WORDS
                # An id can be in several lists: then its record is empty now, or another id's.
                # The cases are told apart without a jump, at which the id could be lost to a signal handler.
                if not words[at + RECORD_HOLDERS] and (id_ in objects) | (id_ in tombstones):
                    kept = (tombstones, objects)[id_ in objects]
                    dead += (kept[id_],)
                    del kept[id_]
                    words[at + RECORD_ID] = 0
                    free += ((id_ + _GENERATION - _LOWEST & _WORD) + _LOWEST,)
            else:
                break
        # Here, and not before, a finalizer may call the guest, or come here again through another object's
        # death.
        dead.clear()
