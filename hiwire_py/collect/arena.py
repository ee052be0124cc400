"""The structs of one guest that have wrappers, and the queue of those to be freed."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections import deque
from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..guest import Guest, GuestMemory
from .layouts import Layout

if TYPE_CHECKING:
    from .heap import Heap

__all__ = ["Arena", "Entry", "Owner"]


class Owner:
    """The pointer to a struct, held by its wrapper alone: when this is gone, the struct is to be freed.

    The finalizer only queues. Python runs it for all of a cycle's objects before it knows which of them
    another finalizer has kept, and runs it once. So the entry holds a weak reference, by which `Arena.drain`
    finds out later whether the owner is dead. It is made here, because Python has cleared all older ones by
    now, also those to objects that stay alive.
    """

    __slots__ = ("__weakref__", "pointer", "queue")

    def __init__(self, pointer: int, queue: deque[tuple[int, weakref.ref[Owner]]]) -> None:
        self.pointer = pointer
        self.queue = queue

    def __del__(self) -> None:
        self.queue.append((self.pointer, weakref.ref(self)))


class Entry(NamedTuple):
    """A struct with a wrapper."""

    wrapper: weakref.ref[Any]
    layout: Layout
    free: Callable[[int], object]


class Arena:
    """Of one guest.

    Args:
        guest: whose.
        heap: of its table.
        memory: if the guest does not export its own.

    Attributes:
        live: pointer -> entry, from when the wrapper is made until the struct is freed.
        queue: pointers of dead or dying owners.
    """

    def __init__(self, guest: Guest, heap: Heap, memory: GuestMemory | None = None) -> None:
        # Not the guest itself, which holds this: without a cycle it dies by its reference count.
        self.heap = heap
        self.gate = guest.instance.gate
        self.exports = guest.exports
        self.memory = guest.memory if memory is None else memory
        self.live: dict[int, Entry] = {}
        self.queue: deque[tuple[int, weakref.ref[Owner]]] = deque()
        heap.arenas.add(self)

    def __del__(self) -> None:
        # The guest and its wrappers are gone, but a table that others use may still hold what they held.
        if self.queue and self.heap.lasting and self.gate.owner is not None:
            self.heap.orphans.append(self)

    def adopt(self, wrapper: Any, pointer: int, layout: Layout, free: Callable[[int], object]) -> Owner:
        """Enter a struct whose ownership goes over to ``wrapper``.

        Raises:
            ValueError: no struct of that layout can be at the pointer, or it has a wrapper already.
        """
        size = self.memory.size
        if pointer % 4 or not 0 < pointer <= size - layout.size:
            raise ValueError(
                f"{pointer:#x} is no pointer to a struct of {layout.size} bytes: it must be a multiple of 4"
                f" and lie within the memory of {size:#x} bytes"
            )
        if pointer in self.live:
            raise ValueError(
                f"the struct at {pointer:#x} has a wrapper already: use that one, since both would free it"
            )
        self.live[pointer] = Entry(weakref.ref(wrapper), layout, free)
        return Owner(pointer, self.queue)

    def renew(self, wrapper: Any, pointer: int) -> None:
        """A finalizer kept the wrapper: find it again from now on."""
        entry = self.live.get(pointer)
        if entry is not None and entry.wrapper() is not wrapper:
            self.live[pointer] = entry._replace(wrapper=weakref.ref(wrapper))

    def drain(self, errors: list[BaseException] | None) -> int:
        """Free the structs whose owners are dead. `Heap.drain` says when.

        Args:
            errors: takes what the guest raises; None: it goes where Python sends exceptions of finalizers.

        Returns:
            How many were freed.
        """
        freed = 0
        queue = self.queue
        space = self.heap.space
        for _ in range(len(queue)):
            pointer, owner = queue.popleft()
            if owner() is not None:
                queue.append((pointer, owner))
                continue
            free = self.live.pop(pointer).free
            if self.gate.owner is None or space.closing:
                continue  # the memory is gone
            freed += 1
            try:
                free(pointer)
            except Exception as error:
                if errors is None:
                    sys.unraisablehook(_Unraisable(error, free))
                else:
                    errors.append(error)
        return freed

    def lost(self) -> list[Owner]:
        """Owners that were finalized and then kept, whose wrappers cannot be found any more."""
        found = []
        for pointer, reference in list(self.queue):
            owner = reference()
            if owner is not None and pointer in self.live and self.live[pointer].wrapper() is None:
                found.append(owner)
        return found

    def words(self) -> tuple[int, memoryview]:
        """The memory's address, and its words. Good until the memory grows."""
        size = self.memory.size
        address = self.memory.address
        return address, memoryview((ctypes.c_char * size).from_address(address)).cast("B").cast("I")


class _Unraisable:
    """What `sys.unraisablehook` takes."""

    def __init__(self, error: BaseException, free: object) -> None:
        self.exc_type: type[BaseException] = type(error)
        self.exc_value: BaseException | None = error
        self.exc_traceback: TracebackType | None = error.__traceback__
        self.err_msg: str | None = "Exception ignored while a struct was freed"
        self.object: object = free


def usable(arena: Arena) -> bool:
    """Whether this thread may look at the guest's memory now."""
    return arena.gate.owner == get_ident()
