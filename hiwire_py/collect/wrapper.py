"""Class GuestObject: the Python side of a struct in a guest's memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Union

from ..checks import check_integer, shown
from ..errors import ClosedError
from ..guest import Guest
from ..hiwire import Hiwire
from ..objects import Space
from .backend import Registry, WrapperBase
from .heap import Heap, heap_without_table
from .layouts import Layout
from .refcounts import handle_table
from .triggers import collect, install, run_if_due

__all__ = ["GuestObject"]

_WORD = 0xFFFFFFFF
_LOWEST = -(1 << 31)  # a guest's signed form of a pointer


class GuestObject(WrapperBase):  # type: ignore[misc]  # which base, is known when it runs
    """Base of wrappers: the Python object that owns a struct of a guest.

    The struct is freed after its wrapper has died: never while the guest runs, but at the next use of a
    wrapper, the making of another, or in `collect`; and if a collection has taken out what its handles named,
    before anyone comes into the table or one of its guests. Handles in the struct do not keep the wrapper
    alive forever: `collect` sees through them, by the layout.

    A subclass may have a ``__del__`` that calls the guest with `pointer`, and may store itself somewhere;
    then the struct stays too. An object can be weakly referenced; it cannot be copied or pickled.

    Args:
        guest: whose struct it is. Its handles must be of the table that was given to it (``hiwire=``).
        pointer: the struct; or a function of no arguments that makes it and returns a pointer, 0 when there
            is no memory. A function is called again after `collect` if it returned 0 or raised MemoryError.
        layout: where handles are in the struct.
        free: the export that frees a struct, which takes its pointer, and whose result is ignored. It gives
            back the handles in it.

    Raises:
        MemoryError: the guest has no memory, although unreachable objects were collected.
        ValueError: the pointer is not to a struct within the guest's memory, or the struct has a wrapper
            already.
        AttributeError: the guest has no such export.
        TypeError: ``free`` is no function that takes a pointer, or it returns a reference; or another
            argument is of the wrong kind.
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self, guest: Guest, pointer: Union[int, Callable[[], int]], *, layout: Layout, free: str
    ) -> None:
        if hasattr(self, "_guest_registry"):
            raise TypeError(f"this {type(self).__name__} has a struct already; make another wrapper")
        try:
            registry = _registry(guest)
            release = registry.freeing(guest, free)
            heap = registry.heap
            if heap.waits(registry):
                heap.free_dead()
            heap.until -= 1
            if heap.until < 0 or heap.wanted:
                run_if_due(heap)
            number = pointer
            if not isinstance(number, int):
                made = self._guest_make(pointer) if callable(pointer) else pointer
                number = check_integer(made, "a pointer, given or made by the function given,")
            if not _LOWEST <= number <= _WORD:
                raise ValueError(f"{shown(number)} is no pointer: it does not fit 32 bits")
            registry.register(self, number & _WORD, layout, release)
        except (AttributeError, TypeError):
            _check_kinds(guest, layout, free)  # only now, since this is done for every object
            raise

    @property
    def pointer(self) -> int:
        """The struct's address in the guest's memory, for calls of the guest.

        Ask for it each time: this is how a finalizer's use of the struct is noticed.

        Raises:
            ClosedError: the wrapper has no struct, as ``__init__`` failed, or Python has taken it apart.
        """
        try:
            registry = self._guest_registry
        except AttributeError:
            raise ClosedError(f"this {type(self).__name__} has no struct") from None
        pointer: int = self._guest_pointer
        if registry.waiting and not registry.heap.showing:
            registry.heap.free_dead()
        return pointer

    def _guest_make(self, function: Callable[[], int]) -> int:
        """Call what makes the struct, once more after a collection if there is no memory."""
        try:
            pointer = function()
        except MemoryError:
            pointer = 0
        if pointer == 0:
            collect()
            pointer = function()
        if pointer == 0:
            raise MemoryError(
                f"the guest has no memory for another {type(self).__name__}, and no unreachable ones are"
                " left: give it more memory"
            )
        return pointer

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: its struct has one owner")


def _check_kinds(guest: object, layout: object, free: object) -> None:
    if not isinstance(guest, Guest):
        raise TypeError(f"the guest of a wrapper must be a Guest, not {type(guest).__name__}")
    if not isinstance(layout, Layout):
        raise TypeError(f"layout must be what layout() gives, not {type(layout).__name__}")
    if not isinstance(free, str):
        raise TypeError(f"free must be the name of an export, not {type(free).__name__}")


def _registry(guest: Guest) -> Any:
    """The registry of a guest's wrappers, made for the first of them."""
    registry = guest.wrapped
    if registry is None:
        heap = _heap(guest.instance.space, guest.table)
        registry = guest.wrapped = Registry(guest, heap, guest.memory)
        install()
    return registry


def _heap(space: Space, table: Hiwire | None) -> Heap:
    if table is None:
        return heap_without_table(space)
    if table.wrapped is None:
        source = handle_table(table)
        if source is None:
            warnings.warn(
                f"cycles through {table!r} are not collected: its module does not say where its slots are;"
                " build it again with this version of hiwire, linked with module-link.txt",
                RuntimeWarning,
                stacklevel=4,
            )
        table.wrapped = Heap(space, source)
    heap: Heap = table.wrapped
    return heap
