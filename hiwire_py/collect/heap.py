"""A heap: the structs with wrappers in all guests that share a table, and when Python's collector sees into
them.

For the time of a collection the objects whose references all lie in structs that have wrappers are held by
those wrappers, and not by the table (`backend`). So Python's collector sees the references that exist in the
guest's memory, and does the rest: no cycle is looked for here.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from typing import Any

from ..guest import Guest
from ..objects import Space
from ..real_threads import get_ident
from .backend import new_edges
from .handle_table import HandleTableSource
from .layouts import Layout
from .refcounts import RefcountSource
from .registry import CommonRegistry, Registries

__all__ = ["Heap", "heap_of", "heaps_here"]

_LEAST = 1000

_heaps: weakref.WeakSet[Heap] = weakref.WeakSet()


def heaps_here() -> list[Heap]:
    """Those of the calling thread."""
    me = get_ident()
    return [heap for heap in list(_heaps) if heap.space.calls.thread == me]


def heap_of(guest: Guest) -> Heap:
    """The heap of a guest's table."""
    space, table = guest.instance.space, guest.table
    if table is None:
        found = next((known for known in list(_heaps) if known.space is space), None)
        return Heap(space, None) if found is None else found
    heap: Heap | None = table.wrapped
    if heap is None:
        source = HandleTableSource.of(table)
        if source is None:
            warnings.warn(
                f"cycles through {table!r} are not collected: its module does not say where its slots are;"
                " build it again with this version of hiwire, linked with module-link.txt",
                RuntimeWarning,
                stacklevel=4,
            )
        heap = table.wrapped = Heap(space, source)
    return heap


class Heap(Registries):
    """The structs with wrappers of all guests that share a table, or of one guest without a table.

    Args:
        space: the guests'.
        source: counts the references; None where there is none, or it cannot be seen: then Python's collector
            is shown nothing.
        lasting: whether something else than its guests holds the heap, a table.

    Attributes:
        wanted: whether a collection was put off because a guest was running.
        mistaken: layouts that the memory did not agree with.
        until: wrappers to be made before `many` need be asked.
    """

    def __init__(self, space: Space, source: RefcountSource | None, lasting: bool = True) -> None:
        super().__init__(space, lasting)
        self.source = source
        self.wanted = False
        self.mistaken: set[Layout] = set()
        self.until = _LEAST
        self._threshold = _LEAST
        self._edges: Any = None
        _heaps.add(self)

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
        edges = new_edges(source.none)  # calls users' functions that give layouts
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
