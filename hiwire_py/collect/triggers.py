"""When a collection begins: on demand, with each full collection of Python's collector, and when a wrapper is
made and there are many."""

from __future__ import annotations

import _thread
import gc
import signal
import threading
import warnings
from typing import Any

from ..real_threads import local
from . import python_gc
from .heap import Heap, heaps_here

__all__ = ["collect", "install", "run", "run_if_due"]

_FULL = 2  # the generation that Python's collector names when it looks at all objects
_MOST_PASSES = 10
_AGAIN = 0.02  # seconds


class _State(local):
    """Of each thread. A heap belongs to one thread, and one thread at a time runs Python's collector: so no
    lock is needed, and none can be waited for in a finalizer."""

    error: BaseException | None = None


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
    """What `collect` does.

    Args:
        errors: as of `Heap.free_dead`; with None, what went wrong with the collection itself is raised.
    """
    freed = _free_dead(errors)
    install()
    for _ in range(_MOST_PASSES):
        for heap in heaps_here():
            heap.again = False
        heap = None  # type: ignore[assignment]
        python_gc.collect_python()
        freed += _free_dead(errors)
        # A finalizer used a wrapper, and so kept it; it will not run again.
        if not any(heap.again for heap in heaps_here()):
            break
    for heap in heaps_here():
        heap.adjust()
    error, _state.error = _state.error, None
    if error is not None:
        if errors is None:
            raise error
        errors.append(error)
    if errors is not None:
        _warn()
    return freed


def run_if_due(heap: Heap) -> None:
    """A wrapper is about to be made: collect if there are many of them, or a collection was put off."""
    if heap.many() or heap.wanted:
        if heap.space.calls.busy:
            heap.wanted = True
        elif gc.isenabled():
            run(None)


def install() -> None:
    """See to it that collections of Python's look at the heaps, from the first wrapper on."""
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)


def _free_dead(errors: list[BaseException] | None) -> int:
    return sum(heap.free_dead(errors) for heap in heaps_here())


def _on_collection(phase: str, info: dict[str, Any]) -> None:
    """Called by Python's collector before and after its work."""
    if info["generation"] != _FULL:
        return
    try:
        if phase == "start":
            python_gc.began()
            for heap in heaps_here():
                heap.begin()
        else:
            python_gc.ended()
            for heap in heaps_here():
                heap.end()
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
    for heap in heaps_here():
        for layout in heap.mistaken:
            warnings.warn(
                f"{layout} does not describe the guest's memory: handles are in it more often than they are"
                " counted, or structs have two owners; what they hold is kept",
                RuntimeWarning,
                stacklevel=4,
            )
        heap.mistaken.clear()
