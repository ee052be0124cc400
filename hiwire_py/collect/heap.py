"""Heaps and registries: the structs with wrappers in all guests that share a table, and when Python's
collector sees into them; the wrappers of each guest, and the freeing of their structs when they are dead.

For the time of a collection the objects whose references all lie in structs that have wrappers are held by
those wrappers, and not by the table (`backend`). So Python's collector sees the references that exist in the
guest's memory, and does the rest: no cycle is looked for here.

`GuestObject` enters a wrapper by `CommonRegistry.register`. Its death, wherever and whenever that is, only
leaves a note. The struct is freed by `CommonRegistry.free_dead`, at a time when no guest runs.
"""

from __future__ import annotations

import abc
import functools
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from ..exports import unknown
from ..guest import Guest
from ..memory import GuestMemory
from ..objects import Extern, Space
from ..objects.trampolines import ForEach
from ..real_threads import get_ident
from .layouts import Layout
from .refcounts import RefcountSource

__all__ = ["CommonRegistry", "Heap", "heap_without_table", "heaps_here"]

_LEAST = 1000

_heaps: weakref.WeakSet[Heap] = weakref.WeakSet()


def heaps_here() -> list[Heap]:
    """Those of the calling thread."""
    me = get_ident()
    return [heap for heap in list(_heaps) if heap.space.calls.thread == me]


def heap_without_table(space: Space) -> Heap:
    """The heap of the guests of a space that has no table."""
    found = next((known for known in list(_heaps) if known.space is space), None)
    return Heap(space, None) if found is None else found


class Heap:
    """The structs with wrappers of all guests that share a table, or of one guest without a table.

    Args:
        space: the guests'.
        source: counts the references; None where there is none, or it cannot be seen: then Python's collector
            is shown nothing.
        lasting: whether something else than its guests holds the heap, a table.

    Attributes:
        orphans: registries of guests that are gone, with structs to be freed.
        again: whether the last collection was disturbed, by a finalizer that called the guest.
        wanted: whether a collection was put off because a guest was running.
        mistaken: layouts that the memory did not agree with.
        until: wrappers to be made before `many` need be asked.
    """

    def __init__(self, space: Space, source: RefcountSource | None, lasting: bool = True) -> None:
        self.space = space
        self.source = source
        self.lasting = lasting
        self.orphans: deque[CommonRegistry] = deque()
        self.again = False
        self.wanted = False
        self.mistaken: set[Layout] = set()
        self.until = _LEAST
        self._threshold = _LEAST
        self._edges: Any = None
        # Guests hold them. To go through a WeakSet takes as long as all the rest of making a wrapper.
        self._references: list[weakref.ref[CommonRegistry]] = []
        _heaps.add(self)

    @property
    def registries(self) -> list[CommonRegistry]:
        """One for each guest that has, or had, wrappers."""
        return [one for reference in tuple(self._references) if (one := reference()) is not None]

    def add(self, registry: CommonRegistry) -> None:
        self._references.append(weakref.ref(registry, self._references.remove))

    def waits(self, registry: CommonRegistry) -> bool:
        """Whether dead wrappers may have left structs. A registry is given, since most have no others beside
        them."""
        return bool(
            registry.waiting
            or self.orphans
            or (len(self._references) > 1 and any(other.waiting for other in self.registries))
        )

    def count(self) -> int:
        """How many structs have wrappers, or had and are not freed."""
        return sum(len(registry.live) for registry in self.registries)

    def adjust(self) -> None:
        """A collection is over: the next one is due when there are twice as many structs."""
        self.wanted = False
        self._threshold = max(_LEAST, 2 * self.count())
        self.until = 0

    def many(self) -> bool:
        """Whether there are so many structs that a collection is due."""
        self.until = self._threshold - self.count()
        return self.until <= 0

    def free_dead(self, errors: list[BaseException] | None = None) -> int:
        """Free the structs of dead wrappers, unless a guest runs. See `CommonRegistry.free_dead`."""
        calls = self.space.calls
        if calls.busy or get_ident() != calls.thread:
            return 0
        resume = calls.paused
        if resume == self.settle:
            self.restore()
        elif resume is not None:
            resume()
        if calls.closing:
            return 0
        freed = 0
        while True:
            registries = [registry for registry in self.registries if registry.waiting]
            if not registries and not self.orphans:
                return freed
            # What a struct held may have been the last reference to another wrapper, and comes back here when
            # it dies.
            now = calls.as_one_call(functools.partial(self._free_once, registries, errors))
            if not now:  # those that wait are alive: finalizers kept them
                return freed
            freed += now

    def _free_once(self, registries: list[CommonRegistry], errors: list[BaseException] | None) -> int:
        freed = sum(registry.free_dead(errors) for registry in registries)
        while self.orphans:
            freed += self.orphans[0].free_dead(errors)
            del self.orphans[0]  # not before: a signal handler may raise
        return freed

    # ---- from `begin` to `end` Python's collector runs

    @property
    def showing(self) -> bool:
        """Whether Python's collector runs and the wrappers hold the objects."""
        return self._edges is not None and self.space.calls.paused is not None

    def begin(self) -> None:
        """Have the wrappers, not the table, hold the objects whose every count lies in their structs."""
        space, calls, source = self.space, self.space.calls, self.source
        self.restore()  # left open by an interrupt, or waiting for whoever comes in
        self._edges = None
        if source is None or get_ident() != calls.thread or calls.closing:
            return
        if calls.busy:
            self.wanted = True  # handles may be in the guest's locals
            return
        registries = [one for one in self.registries if one.guard.owner == get_ident() and one.live]
        if not registries:
            return
        edges = registries[0].new_edges(source.none)
        if calls.closing:
            return
        self._edges = edges
        calls.pause(self.interrupt)
        try:
            for registry in registries:
                registry.find_edges(edges)
            slots = source.slots()
            if slots is not None:
                self.mistaken.update(edges.show(space.objects, space.tombstones, slots))
        except BaseException:
            self.end()
            raise

    def interrupt(self) -> None:
        """Someone comes into the guest before the collection is over: the table must hold everything again.

        What Python has found to be garbage may be used by a finalizer; it is collected the next time.
        """
        self.again = True
        self.restore()

    def restore(self) -> None:
        """The table holds the objects again, and whoever wants can come in."""
        if self.source is None:
            return
        if self._edges is not None:
            self._edges.end()
        self.space.calls.unpause(self.interrupt, self.settle)

    def end(self) -> None:
        """The collection is over. The handles of what it took out are to be released before they are seen."""
        self.restore()
        self._edges = None
        space, calls = self.space, self.space.calls
        if not space.tombstones or calls.busy or calls.closing or get_ident() != calls.thread:
            return
        if self.orphans or any(registry.waiting for registry in self.registries):
            calls.pause(self.settle)

    def settle(self) -> None:
        """Someone comes in after a collection: structs of dead wrappers whose objects are gone are freed
        first. So no one but the function that frees a struct meets the handles in it."""
        self.restore()
        self.free_dead()


class CommonRegistry(abc.ABC):
    """What the registries of `traverse` and `transfer` have in common.

    Args:
        guest: whose wrappers.
        heap: of its table.
        memory: where the structs are.

    Attributes:
        live: the pointers of all structs that have wrappers, or had and are not freed.
        waiting: how many structs may have dead wrappers, and are to be freed.
        next_free: gives what frees the next of those; None if there is none.
    """

    live: Any
    waiting: int
    next_free: Callable[[], ForEach | None]

    def __init__(self, guest: Guest, heap: Heap, memory: GuestMemory) -> None:
        # Not the guest itself, which holds this: without a cycle it dies by its reference count.
        self.heap = heap
        self.guard = guest.instance.guard
        self.exports = guest.exports
        self.memory = memory
        self._size = 0  # of the memory, as last seen
        self._freeing: dict[str, ForEach] = {}
        heap.add(self)

    def __del__(self) -> None:
        # The guest and its wrappers are gone, but a table that others use may still hold what they held.
        if self.waiting and self.heap.lasting and self.guard.owner is not None:
            self.heap.orphans.append(self)

    @abc.abstractmethod
    def register(self, wrapper: Any, pointer: int, layout: Layout, free: ForEach) -> None:
        """Enter a struct whose ownership goes over to ``wrapper``.

        Args:
            free: what will free it, see `freeing`.

        Raises:
            ValueError: no struct of that layout can be at the pointer, or it has a wrapper already.
        """

    @abc.abstractmethod
    def dead(self, free: ForEach) -> Iterator[int]:
        """Take out the structs, by their pointers as signed integers, for as long as ``free`` is what
        frees the next. Where a signal handler raises, one is taken out at most that is not freed."""

    @abc.abstractmethod
    def new_edges(self, none: int) -> Any:
        """What the wrappers of some registries refer to, for one collection. It calls the functions that give
        layouts.

        add(registry, address, size): find what its wrappers refer to, in a memory.
        show(objects, tombstones, slots): have the wrappers hold what is theirs alone, until `end`: the
            objects of the dict ``objects`` whose every count was found, by the `Slots` of a refcount source.
            Keys of objects that die with their wrappers go from there into the dict ``tombstones``. Returns
            the layouts that the memory did not agree with.
        end(): the wrappers that are alive give everything back. It can be called again, and nothing is shown
            by who calls `show` after it.

        Args:
            none: a number that stands for no reference.
        """

    def freeing(self, guest: Guest, name: str) -> ForEach:
        """What frees structs by the guest's export ``name``.

        Raises:
            AttributeError: there is no such export.
            TypeError: it is not a function that takes a pointer.
        """
        free = self._freeing.get(name)
        if free is None:
            if name not in guest.exports:
                raise AttributeError(unknown(name, guest.exports))
            free = self._freeing[name] = guest.instance.for_each(name)
        return free

    def free_dead(self, errors: list[BaseException] | None) -> int:
        """Free the structs of dead wrappers. `Heap.free_dead` says when.

        Args:
            errors: takes what the guest raises; None: it goes where Python sends exceptions of finalizers.

        Returns:
            How many were freed.
        """
        failed = _unraisable if errors is None else errors.append
        freed = 0
        for _ in range(self.waiting):
            free = self.next_free()
            if free is None:
                break
            freed += free(self.dead(free), failed)
        return freed

    def check(self, pointer: int, layout: Layout) -> None:
        """What `register` raises."""
        if get_ident() != self.guard.owner:
            self.guard.refuse()
        size = self._size
        if pointer > size - layout.size:  # it only grows
            size = self._size = self.memory.size
        if pointer % 4 or not 0 < pointer <= size - layout.size:
            raise ValueError(
                f"{pointer:#x} is no pointer to a struct of {layout.size} bytes: it must be a multiple of 4"
                f" and lie within the memory of {size:#x} bytes"
            )
        if pointer in self.live:
            raise ValueError(
                f"the struct at {pointer:#x} has a wrapper already: use that one, since both would free it"
            )

    def find_edges(self, edges: Any) -> None:
        """Have ``edges``, see `new_edges`, find what the wrappers refer to."""
        memory: Extern = self.memory.__keep__
        store = memory.space.store  # asked without the memory's guard, which is shut
        edges.add(self, store.memory_address(memory.raw), store.memory_size(memory.raw))


def _unraisable(error: BaseException) -> None:
    given: Any = SimpleNamespace(
        exc_type=type(error),
        exc_value=error,
        exc_traceback=error.__traceback__,
        err_msg="Exception ignored while a struct was freed",
        object=None,
    )
    sys.unraisablehook(given)
