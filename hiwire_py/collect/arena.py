"""The structs of one guest that have wrappers: what both ways of collecting have in common."""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..exports import unknown
from ..guest import Guest
from ..memory import GuestMemory
from ..objects.calls import ForEach
from ..real_threads import get_ident
from .layouts import Layout

if TYPE_CHECKING:
    from .heap import Heap

__all__ = ["CommonArena"]


class CommonArena(abc.ABC):
    """Of one guest.

    Args:
        guest: whose.
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

    def __init__(self, guest: Guest, heap: Heap, memory: GuestMemory | None = None) -> None:
        # Not the guest itself, which holds this: without a cycle it dies by its reference count.
        self.heap = heap
        self.gate = guest.instance.gate
        self.exports = guest.exports
        self.memory = guest.memory if memory is None else memory
        self._size = 0  # of the memory, as last seen
        self._freeing: dict[str, ForEach] = {}
        heap.arenas.add(self)

    def __del__(self) -> None:
        # The guest and its wrappers are gone, but a table that others use may still hold what they held.
        if self.waiting and self.heap.lasting and self.gate.owner is not None:
            self.heap.orphans.append(self)

    @abc.abstractmethod
    def adopt(self, wrapper: Any, pointer: int, layout: Layout, free: ForEach) -> None:
        """Enter a struct whose ownership goes over to ``wrapper``.

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

    def drain(self, errors: list[BaseException] | None) -> int:
        """Free the structs of dead wrappers. `Heap.drain` says when.

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
        """What `adopt` raises."""
        if get_ident() != self.gate.owner:
            self.gate.refuse()
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

    def extent(self) -> tuple[int, int]:
        """The memory's address, and its size in bytes; also while the gates are closed to everyone else."""
        gate = self.memory.__keep__.owner.gate
        owner, gate.owner = gate.owner, get_ident()
        try:
            return self.memory.address, self.memory.size
        finally:
            gate.owner = owner


def _unraisable(error: BaseException) -> None:
    sys.unraisablehook(_Unraisable(error))


class _Unraisable:
    """What `sys.unraisablehook` takes."""

    def __init__(self, error: BaseException) -> None:
        self.exc_type: type[BaseException] = type(error)
        self.exc_value: BaseException | None = error
        self.exc_traceback: TracebackType | None = error.__traceback__
        self.err_msg: str | None = "Exception ignored while a struct was freed"
        self.object: object = None
