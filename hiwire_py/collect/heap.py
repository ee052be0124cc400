"""Handing the objects that a table holds over to Python's collector, and back.

For the time of a collection the table lets go of every object whose handles all lie in structs that have
wrappers, and the wrappers hold those objects instead, each what its own struct holds. So Python's collector
sees the references that exist in the guest's memory, and does the rest: no cycle is looked for here.
Afterwards the table takes back the objects of all wrappers that are alive.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Mapping
from threading import get_ident
from typing import Any, Protocol

from ..errors import StaleRefError
from ..space import Space
from .arena import Arena, usable
from .layouts import Layout
from .trace import Trace
from .weaklist import WeakList

__all__ = ["GONE", "Counts", "Heap"]

_NOBODY = 0  # no thread has this number
_LEAST = 1000


class _Gone:
    """Stands in the table for an object that was collected, until the guest gives its handle back.

    A guest sees it only if its function that frees a struct uses the struct's handles.
    """

    __slots__ = ()

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise StaleRefError(
            "the handle's object was collected: only a struct that is being freed still has it"
        )

    def __getattr__(self, name: str) -> Any:
        self()

    def __repr__(self) -> str:
        return "<object that was collected>"


GONE = _Gone()


class Counts(Protocol):
    """What a table says about handles: `accounts.Accounts`, or `sidetable_accounts.SideTableAccounts`."""

    none: int

    def accounted(self, found: Mapping[int, int]) -> tuple[dict[int, Any], list[int]]:
        """See `accounts.Accounts.accounted`."""


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
        self.arenas: WeakList[Arena] = WeakList()
        self.orphans: deque[Arena] = deque()
        self.again = self.wanted = False
        self.mistaken: dict[int, Layout] = {}
        self.threshold = _LEAST
        self._window: list[Arena] | None = None

    def count(self) -> int:
        """How many structs have wrappers, or had and are not freed."""
        return sum(len(arena.live) for arena in self.arenas)

    def adjust(self) -> None:
        """A collection is over: the next one is due when there are twice as many structs."""
        self.wanted = False
        self.threshold = max(_LEAST, 2 * self.count())

    def drain(self, errors: list[BaseException] | None = None) -> int:
        """Free the structs of dead wrappers, unless a guest runs. See `Arena.drain`."""
        if self.space.busy or get_ident() != self.space.thread:
            return 0
        freed = 0
        space = self.space
        while True:
            arenas = [arena for arena in self.arenas if arena.queue]
            if not arenas and not self.orphans:
                return freed
            # One call of the guest as far as the space is concerned: what dies, dies at its end, and can come
            # back here then. What a struct held may have been the last reference to another wrapper.
            now = 0
            space.depth += 1
            try:
                for arena in arenas:
                    now += arena.drain(errors)
                while self.orphans:
                    now += self.orphans.popleft().drain(errors)
            finally:
                space.depth -= 1
                if not space.depth:
                    space.leave()
            if not now:
                return freed
            freed += now

    # ---- the window: from `park` to `restore`, Python's collector runs

    def park(self) -> None:
        """Let the wrappers hold what their structs hold, and the table let go of it."""
        space, accounts = self.space, self.accounts
        if accounts is None or get_ident() != space.thread or space.closing:
            return
        if space.busy:
            self.wanted = True  # handles may be in the guest's locals
            return
        arenas = [arena for arena in self.arenas if usable(arena)]
        if not any(arena.live for arena in arenas):
            return
        self._find_lost(arenas)
        self._window = arenas
        for gate in space.gates:
            if gate.owner == space.thread:
                gate.owner, gate.held = _NOBODY, (space.thread, self.interrupt)
        space.paused = self.interrupt
        try:
            self._park(accounts, arenas)
        except BaseException:
            self.restore()
            raise

    def _park(self, accounts: Counts, arenas: list[Arena]) -> None:
        trace = Trace(accounts.none)
        for arena in arenas:
            trace.add(arena, *_words(arena))
        keys, wrong = accounts.accounted(trace.counts())
        if wrong:
            excess = set(wrong)
            for wrapper, handles in trace.structs:
                if not excess.isdisjoint(handles):
                    trace.mistaken.add(wrapper._guest_entry.layout)
        self.mistaken.update((id(layout), layout) for layout in trace.mistaken)
        if not keys:
            return
        objects = self.space.objects
        parked = {handle: key for handle, key in keys.items() if objects[key] is not GONE}
        for wrapper, handles in trace.structs:
            held = {}
            for handle in handles:
                if handle in parked:
                    key = parked[handle]
                    held[key] = objects[key]
            if held:
                wrapper._guest_parked = held
        for key in parked.values():
            objects[key] = GONE

    def interrupt(self) -> None:
        """Someone comes into the guest during the window: the table must hold everything again.

        What Python has found to be garbage is not taken back, unless a finalizer uses its wrapper.
        """
        self.again = True
        self.restore()

    def restore(self) -> None:
        """End the window: the table takes back the objects of the wrappers that are alive."""
        arenas = self._window
        if arenas is None:
            return
        space = self.space
        space.paused = None
        for gate in space.gates:
            if gate.held is not None:
                gate.owner, gate.held = gate.held[0], None
        self._find_lost(arenas)
        objects = space.objects
        for arena in arenas:
            for entry in list(arena.live.values()):
                wrapper = entry.wrapper()
                if wrapper is not None:
                    held = wrapper._guest_parked
                    if held is not None:
                        wrapper._guest_parked = None
                        for key, value in held.items():
                            if objects.get(key) is GONE:
                                objects[key] = value

    def close_window(self) -> None:
        """The collection is over."""
        self.restore()
        self._window = None

    def take_back(self, wrapper: Any) -> None:
        """A finalizer, or whoever a finalizer gave it to, uses a wrapper that was found to be garbage."""
        held, wrapper._guest_parked = wrapper._guest_parked, None
        objects = self.space.objects
        for key, value in held.items():
            if objects.get(key) is GONE:
                objects[key] = value
        self.again = True

    def _find_lost(self, arenas: list[Arena]) -> None:
        """Find the wrappers again that finalizers kept: Python had cleared all weak references to them."""
        for arena in arenas:
            owners = arena.lost()
            if owners:
                for referrer in gc.get_referrers(*owners):
                    if hasattr(type(referrer), "_guest_owner"):
                        arena.renew(referrer, referrer._guest_owner.pointer)


def _words(arena: Arena) -> tuple[int, memoryview]:
    # The gates are closed to everyone else; this looks past them.
    gate = arena.memory.__keep__.owner.gate
    owner, gate.owner = gate.owner, get_ident()
    try:
        return arena.words()
    finally:
        gate.owner = owner
