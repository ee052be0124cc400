"""The structs of one guest that have wrappers: what both ways of collecting have in common."""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..guest import Guest, GuestMemory
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

    def __init__(self, guest: Guest, heap: Heap, memory: GuestMemory | None = None) -> None:
        # Not the guest itself, which holds this: without a cycle it dies by its reference count.
        self.heap = heap
        self.gate = guest.instance.gate
        self.exports = guest.exports
        self.memory = guest.memory if memory is None else memory
        heap.arenas.add(self)

    def __del__(self) -> None:
        # The guest and its wrappers are gone, but a table that others use may still hold what they held.
        if self.waiting and self.heap.lasting and self.gate.owner is not None:
            self.heap.orphans.append(self)

    @abc.abstractmethod
    def adopt(self, wrapper: Any, pointer: int, layout: Layout, free: Callable[[int], object]) -> None:
        """Enter a struct whose ownership goes over to ``wrapper``.

        Raises:
            ValueError: no struct of that layout can be at the pointer, or it has a wrapper already.
        """

    @abc.abstractmethod
    def drain(self, errors: list[BaseException] | None) -> int:
        """Free the structs of dead wrappers. `Heap.drain` says when.

        Args:
            errors: takes what the guest raises; None: it goes where Python sends exceptions of finalizers.

        Returns:
            How many were freed.
        """

    def check(self, pointer: int, layout: Layout) -> None:
        """What `adopt` raises."""
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

    def free(self, pointer: int, free: Callable[[int], object], errors: list[BaseException] | None) -> int:
        """Have the guest free a struct, which is not in ``live`` any more; 0 if its memory is gone."""
        if self.gate.owner is None or self.heap.space.closing:
            return 0
        try:
            free(pointer)
        except Exception as error:
            if errors is None:
                sys.unraisablehook(_Unraisable(error, free))
            else:
                errors.append(error)
        return 1

    def extent(self) -> tuple[int, int]:
        """The memory's address, and its size in bytes; also while the gates are closed to everyone else."""
        gate = self.memory.__keep__.owner.gate
        owner, gate.owner = gate.owner, get_ident()
        try:
            return self.memory.address, self.memory.size
        finally:
            gate.owner = owner


class _Unraisable:
    """What `sys.unraisablehook` takes."""

    def __init__(self, error: BaseException, free: object) -> None:
        self.exc_type: type[BaseException] = type(error)
        self.exc_value: BaseException | None = error
        self.exc_traceback: TracebackType | None = error.__traceback__
        self.err_msg: str | None = "Exception ignored while a struct was freed"
        self.object: object = free
