"""Collecting with nothing but Python: for the time of a collection the wrappers hold what their structs hold.

The table lets go of every object whose handles all lie in structs that have wrappers, and each wrapper gets a
dict of those in its own struct. So Python's collector sees the references that exist in the guest's memory.
Afterwards the table takes back the objects of all wrappers that are alive. `lending` does the same faster.
"""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..guest import Guest
from ..memory import GuestMemory
from ..objects import Space
from ..objects.calls import ForEach
from .arena import CommonArena
from .layouts import Layout
from .trace import Trace

if TYPE_CHECKING:
    from .heap import Counts, Heap

__all__ = ["Arena", "Window", "WrapperBase"]


class WrapperBase:
    """What `GuestObject` is made from."""

    __slots__ = ("_guest_arena", "_guest_owner", "_guest_parked")

    _guest_arena: Arena
    _guest_owner: _Owner
    _guest_parked: dict[int, Any] | None

    @property
    def _guest_pointer(self) -> int:
        arena = self._guest_arena
        pointer = self._guest_owner.pointer
        if self._guest_parked is not None:
            arena.take_back(self)
            arena.renew(self, pointer)
        return pointer


class _Owner:
    """The pointer to a struct, held by its wrapper alone: when this is gone, the struct is to be freed.

    The finalizer only queues. Python runs it for all of a cycle's objects before it knows which of them
    another finalizer has kept, and runs it once. So the entry holds a weak reference, by which `Arena.drain`
    finds out later whether the owner is dead. It is made here, because Python has cleared all older ones by
    now, also those to objects that stay alive.
    """

    __slots__ = ("__weakref__", "pointer", "queue")

    def __init__(self, pointer: int, queue: deque[tuple[int, weakref.ref[_Owner]]]) -> None:
        self.pointer = pointer
        self.queue = queue

    def __del__(self) -> None:
        if hasattr(self, "queue"):  # else a signal handler raised before it was made
            self.queue.append((self.pointer, weakref.ref(self)))


class _Entry(NamedTuple):
    """A struct with a wrapper."""

    wrapper: weakref.ref[Any]
    layout: Layout
    free: ForEach


class Arena(CommonArena):
    """Attributes:
    live: pointer -> entry, from when the wrapper is made until the struct is freed.
    queue: pointers of dead or dying owners.
    """

    def __init__(self, guest: Guest, heap: Heap, memory: GuestMemory | None = None) -> None:
        super().__init__(guest, heap, memory)
        self.live: dict[int, _Entry] = {}
        self.queue: deque[tuple[int, weakref.ref[_Owner]]] = deque()

    @property
    def waiting(self) -> int:  # type: ignore[override]  # a plain attribute where types are compiled
        return len(self.queue)

    def adopt(self, wrapper: Any, pointer: int, layout: Layout, free: ForEach) -> None:
        self.check(pointer, layout)
        self.live[pointer] = _Entry(weakref.ref(wrapper), layout, free)
        wrapper._guest_parked = None
        wrapper._guest_owner = _Owner(pointer, self.queue)
        wrapper._guest_arena = self

    def next_free(self) -> ForEach | None:
        queue = self.queue
        for _ in range(len(queue)):
            pointer, owner = queue[0]
            if owner() is None:
                return self.live[pointer].free
            queue.rotate(-1)
        return None

    def dead(self, free: ForEach) -> Iterator[int]:
        queue, live = self.queue, self.live
        while queue:
            pointer, owner = queue[0]
            if owner() is not None or live[pointer].free is not free:
                return
            del queue[0]
            del live[pointer]
            yield (pointer ^ 1 << 31) - (1 << 31)

    def take_back(self, wrapper: Any) -> None:
        """A finalizer, or whoever a finalizer gave it to, uses a wrapper that was found to be garbage."""
        _give_back(wrapper, wrapper._guest_parked, self.heap.space)
        self.heap.again = True

    def renew(self, wrapper: Any, pointer: int) -> None:
        """A finalizer kept the wrapper: find it again from now on."""
        entry = self.live.get(pointer)
        if entry is not None and entry.wrapper() is not wrapper:
            self.live[pointer] = entry._replace(wrapper=weakref.ref(wrapper))

    def find_lost(self) -> None:
        """Find the wrappers again that finalizers kept: Python had cleared all weak references to them."""
        lost = []
        for pointer, reference in list(self.queue):
            owner = reference()
            if owner is not None and pointer in self.live and self.live[pointer].wrapper() is None:
                lost.append(owner)
        if lost:
            for referrer in gc.get_referrers(*lost):
                if isinstance(referrer, WrapperBase):
                    self.renew(referrer, referrer._guest_owner.pointer)

    def words(self) -> tuple[int, memoryview]:
        """The memory's address, and its words. Good until the memory grows."""
        address, size = self.extent()
        return address, memoryview((ctypes.c_char * size).from_address(address)).cast("B").cast("I")


class Window:
    """The time from when objects are parked until they are taken back."""

    def __init__(self, heap: Heap, accounts: Counts, arenas: list[Any]) -> None:
        self._heap = heap
        self._accounts = accounts
        self._arenas: list[Arena] = arenas
        self._over = False  # someone came into a guest, perhaps while this was opened

    def open(self) -> None:
        """Let the wrappers hold what their structs hold, and the table let go of it."""
        trace = Trace(self._accounts.none)
        for arena in self._arenas:
            arena.find_lost()
            trace.add(arena, *arena.words())
        keys, wrong = self._accounts.accounted(trace.counts())
        if wrong:
            excess = set(wrong)
            for wrapper, handles in trace.structs:
                if not excess.isdisjoint(handles):
                    trace.mistaken.add(trace.layout_of(wrapper))
        self._heap.mistaken.update(trace.mistaken)
        if not keys:
            return
        objects, gone = self._heap.space.objects, self._heap.space.gone
        parked = {handle: key for handle, key in keys.items() if key in objects}
        for wrapper, handles in trace.structs:
            held = {}
            for handle in handles:
                if handle in parked:
                    key = parked[handle]
                    held[key] = objects[key]
            if held:
                wrapper._guest_parked = held
        for key in parked.values():
            if not self._over and key in objects:  # of two handles with one object, the first took it
                gone[key] = None
                del objects[key]

    def close(self) -> None:
        """The table takes back the objects of the wrappers that are alive. May be called again, when the
        collection is over: finalizers may have kept more of them."""
        space = self._heap.space
        self._over = True
        for arena in self._arenas:
            arena.find_lost()
            for entry in list(arena.live.values()):
                wrapper = entry.wrapper()
                if wrapper is not None:
                    held = wrapper._guest_parked
                    if held is not None:
                        _give_back(wrapper, held, space)


def _give_back(wrapper: Any, held: dict[int, Any], space: Space) -> None:
    objects, gone = space.objects, space.gone
    for key, value in held.items():
        if key in gone:
            objects[key] = value
            del gone[key]
    wrapper._guest_parked = None  # last, for who is interrupted begins again
