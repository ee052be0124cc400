"""Registries: the wrappers of one guest, and the freeing of their structs when they are dead.

`GuestObject` enters a wrapper by `CommonRegistry.register`. Its death, wherever and whenever that is, only
leaves a note. The struct is freed by `CommonRegistry.free_dead`, at a time when no guest runs.
"""

from __future__ import annotations

import abc
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

__all__ = ["CommonRegistry", "Registries"]


class Registries:
    """Those of all guests that share a table, or of one guest without a table. `Heap` is made from this.

    Args:
        space: the guests'.
        lasting: whether something else than its guests holds this, a table.

    Attributes:
        orphans: those of guests that are gone, with structs to be freed.
        again: whether the last collection was disturbed, by a finalizer that called the guest.
    """

    def __init__(self, space: Space, lasting: bool) -> None:
        self.space = space
        self.lasting = lasting
        self.orphans: deque[CommonRegistry] = deque()
        self.again = False
        # Guests hold them. To go through a WeakSet takes as long as all the rest of making a wrapper.
        self._references: list[weakref.ref[CommonRegistry]] = []

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


class CommonRegistry(abc.ABC):
    """What the registries of `traverse` and `transfer` have in common.

    Args:
        guest: whose wrappers.
        heap: of its table.
        memory: if the guest does not export its own.

    Attributes:
        live: the pointers of all structs that have wrappers, or had and are not freed.
    """

    live: Any
    waiting: int
    """How many structs may have dead wrappers, and are to be freed."""
    next_free: Callable[[], ForEach | None]
    """Gives what frees the next of those; None if there is none."""

    def __init__(self, guest: Guest, heap: Registries, memory: GuestMemory | None = None) -> None:
        # Not the guest itself, which holds this: without a cycle it dies by its reference count.
        self.heap = heap
        self.guard = guest.instance.guard
        self.exports = guest.exports
        self.memory = guest.memory if memory is None else memory
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
        """Have ``edges``, see `backend.new_edges`, find what the wrappers refer to."""
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
