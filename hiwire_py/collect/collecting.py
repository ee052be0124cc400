"""When cycles are looked for: on demand, and with each full collection of Python's collector."""

from __future__ import annotations

import _thread
import gc
import signal
import threading
import warnings
import weakref
from typing import Any

from ..guest import Guest
from ..real_threads import get_ident, local
from . import turns
from .accounts import Accounts
from .heap import Heap

__all__ = ["collect", "heap_of", "run", "watch"]

_FULL = 2  # the generation that Python's collector names when it looks at all objects
_MOST_PASSES = 10
_AGAIN = 0.02  # seconds

_heaps: weakref.WeakSet[Heap] = weakref.WeakSet()


class _State(local):
    """Of each thread. A heap belongs to one thread, and one thread at a time runs Python's collector: so no
    lock is needed, and none can be waited for in a finalizer."""

    error: BaseException | None = None
    asked = False  # whether `run` began the collection


_state = _State()


def collect() -> int:
    """Free the guest objects that only cycles through guests keep alive, and those of dead wrappers.

    This runs Python's collector. It sees the tables and guests of the calling thread, but not those with a
    call on the way: theirs are collected when they are used next.

    Returns:
        How many wrapped structs were freed.

    Raises:
        Exception: what the guest raised while it freed a struct; the others are freed all the same.
    """
    errors: list[BaseException] = []
    freed = run(errors)
    if errors:
        raise errors[0]
    return freed


def run(errors: list[BaseException] | None) -> int:
    """What `collect` does. ``errors`` is as in `Heap.drain`; what went wrong with the collection itself is
    raised."""
    freed = _drain(errors)
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)
    for _ in range(_MOST_PASSES):
        for heap in _mine():
            heap.again = False
        heap = None  # type: ignore[assignment]
        _state.asked = True
        try:
            turns.collect_python()
        finally:
            _state.asked = False
        freed += _drain(errors)
        # A finalizer used a wrapper, and so kept it; it will not run again.
        if not any(heap.again for heap in _mine()):
            break
    for heap in _mine():
        heap.adjust()
    error, _state.error = _state.error, None
    if error is not None:
        if errors is None:
            raise error
        errors.append(error)
    if errors is not None:
        _warn()
    return freed


def heap_of(guest: Guest) -> Heap:
    """The heap of a guest's table."""
    space, table = guest.instance.space, guest.table
    heap: Heap | None
    if table is not None:
        heap = table.wrapped
    else:
        heap = next((known for known in list(_heaps) if known.space is space), None)
    if heap is None and table is not None:
        accounts = Accounts.of(table)
        if accounts is None:
            warnings.warn(
                f"cycles through {table!r} are not collected: its module does not say where its slots are;"
                " build it again with this version of hiwire, linked with module-link.txt",
                RuntimeWarning,
                stacklevel=4,
            )
        heap = table.wrapped = Heap(space, accounts)
    elif heap is None:
        heap = Heap(space, None)
    watch(heap)
    return heap


def watch(heap: Heap) -> None:
    """See to it that collections look at a heap."""
    _heaps.add(heap)
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)


def _mine() -> list[Heap]:
    me = get_ident()
    return [heap for heap in list(_heaps) if heap.space.thread == me]


def _drain(errors: list[BaseException] | None) -> int:
    return sum(heap.drain(errors) for heap in _mine())


def _on_collection(phase: str, info: dict[str, Any]) -> None:
    """Called by Python's collector before and after its work."""
    if info["generation"] != _FULL:
        return
    try:
        if phase == "start":
            turns.began()
            for heap in _mine():
                heap.park(_state.asked)
        else:
            turns.ended()
            for heap in _mine():
                heap.close_window()
    except KeyboardInterrupt:
        # Python's collector would only print it. So the key is pressed once more, when the collector is done.
        again = threading.Timer(_AGAIN, _press_ctrl_c)
        again.daemon = True
        again.start()
    except BaseException as error:
        _state.error = error


def _press_ctrl_c() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # also ends a system call that it waits in
    else:
        _thread.interrupt_main()


def _warn() -> None:
    for heap in _mine():
        for layout in heap.mistaken:
            warnings.warn(
                f"{layout} does not describe the guest's memory: handles are in it more often than they are"
                " counted, or structs have two owners; what they hold is kept",
                RuntimeWarning,
                stacklevel=4,
            )
        heap.mistaken.clear()
