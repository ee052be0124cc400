"""Several threads that collect: each has its turn."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque

import pytest

from hiwire_py import collect
from hiwire_py.collect import python_gc


def test_first_come_first_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's collector runs in the order in which threads asked for it. Without that one can wait until all
    others are done, however long they take."""
    came: list[int] = []
    ran: list[int] = []

    class Line(deque[int]):
        def append(self, thread: int) -> None:
            with lock:
                came.append(thread)
                super().append(thread)

    def on_collection(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            ran.append(threading.get_ident())
            time.sleep(0.002)  # others run meanwhile, and try

    def work() -> None:
        for _ in range(20):
            collect()

    lock = threading.Lock()
    monkeypatch.setattr(python_gc, "_line", Line())
    collect()
    came.clear()
    gc.callbacks.append(on_collection)
    gc.disable()
    try:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.enable()
        gc.callbacks.remove(on_collection)
    assert len(ran) == 60 and ran == came


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer that waits for another thread which collects does not wait for ever."""
    monkeypatch.setattr(python_gc, "_PATIENCE", 0.1)
    freed: list[int] = []

    class Waiting:
        def __del__(self) -> None:
            thread = threading.Thread(target=lambda: freed.append(collect()))
            thread.start()
            thread.join(20)
            freed.append(collect())

    cycle: list[object] = [Waiting()]
    cycle.append(cycle)
    del cycle
    began = time.monotonic()
    collect()
    assert freed == [0, 0] and time.monotonic() - began < 10


@pytest.mark.parametrize("when", ["start", "stop"])
def test_within_a_collection(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From other functions that Python's collector calls there is nothing to be done, and no wait for it."""
    collect()
    waits: list[float] = []
    monkeypatch.setattr(python_gc, "_BRIEF", 0.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    freed: list[int] = []

    def on_collection(phase: str, info: dict[str, int]) -> None:
        if phase == when and info["generation"] == 2:
            freed.append(collect())

    for at in (0, len(gc.callbacks)):
        gc.callbacks.insert(at, on_collection)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(on_collection)
    assert freed == [0, 0] and waits == []
