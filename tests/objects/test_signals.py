"""A signal handler that raises, as that of Ctrl-C does, at any moment: the exception comes out of the call
that it interrupted, and nothing that was on its way is lost or held forever. These are signals, at random
moments; test_moments.py goes through all there are."""

from __future__ import annotations

import gc
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from collect_support import Button, Host, left
from moments import Interrupt
from support import Thing, guest_file, things

from hiwire_py import Guest, Hiwire, collect
from hiwire_py.collect.heap import Heap

if not hasattr(signal, "setitimer"):
    pytest.skip("this system has no timer signals", allow_module_level=True)

INTERRUPTS = 100


def left_things() -> int:
    """How many are left when Python's collector has been, as what was raised may be in cycles."""
    gc.collect()
    return things()


@pytest.fixture
def interrupted() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Calls a function until a signal interrupts it."""

    def handler(number: int, frame: object) -> None:
        raise Interrupt

    def run(function: Callable[[], object]) -> None:
        with pytest.raises(Interrupt):
            # Once more after a while: out of a finalizer or a weak reference's callback it does not come.
            signal.setitimer(signal.ITIMER_REAL, chosen.uniform(0.0002, 0.002), 0.03)
            try:
                for _ in range(1_000_000):
                    function()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

    chosen = random.Random(1)
    before = signal.signal(signal.SIGALRM, handler)
    yield run
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_calls_of_guests(
    engine: str, interrupted: Callable[[Callable[[], object]], None], no_gc: None
) -> None:
    """In guests, in host functions, and in what happens before and after a call."""
    imports = {"env": {"same": lambda thing: Thing(), "next": lambda n: n - 1}}
    guest = Guest(guest_file("interrupted"), imports, engine=engine)
    exports = guest.exports
    numbers, pass_, store = exports.numbers, exports["pass"], exports.store
    uses: list[Callable[[], object]] = [
        lambda: numbers(500),
        lambda: pass_(Thing(), 500),
        lambda: store(Thing(), 500),
        lambda: store(Thing(), 1),
    ]
    for i in range(INTERRUPTS):
        interrupted(uses[i % len(uses)])
        assert guest.instance.space.calls.depth == 0
    exports.forget()
    guest.instance.space.calls.collect()
    assert left_things() == 0 and len(guest.instance.space.objects) == 0


def test_calls_of_a_table(
    engine: str, interrupted: Callable[[Callable[[], object]], None], no_gc: None
) -> None:
    """A handle is lost with the call that was to return it, as any other result is; the table is in order."""
    table = Hiwire(engine=engine)
    handle = table.new(Thing())

    def count() -> None:
        table.incref(handle)
        table.decref(handle)

    uses: list[Callable[[], object]] = [
        lambda: table.decref(table.new(Thing())),
        lambda: table.get(handle),
        count,
        lambda: table.pop(table.new(Thing())),
    ]
    for i in range(INTERRUPTS):
        interrupted(uses[i % len(uses)])
        assert table.space.calls.depth == 0
    assert isinstance(table.get(handle), Thing)
    table.space.calls.collect()
    assert left_things() == table.num_refs() <= 1 + INTERRUPTS
    table.close()
    assert left_things() == 0


def test_collecting(
    host: Host, interrupted: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrappers that are alive work after it, and those that are not are collected by the next one."""
    # pytest's hook would be interrupted too, and say so: it takes longer than the signal's pause.
    monkeypatch.setattr(sys, "unraisablehook", id)
    kept = [Button(host) for _ in range(50)]

    def use() -> None:
        for _ in range(50):
            Button(host)
        collect()

    for _ in range(INTERRUPTS):
        interrupted(use)
        assert host.guest.instance.space.calls.depth == 0
        assert kept[7].fire(3) == 6
    while collect():
        pass
    assert [button.fire(4) for button in kept] == [8] * 50
    lost = host.live - 50
    del kept
    while collect():
        pass
    # The guest keeps a struct that was just made and has no wrapper yet, and one that was just to be freed.
    structs, handles, objects = left(host)
    objects += len(host.table.space.tombstones)  # such a struct keeps its handle, though not the object
    assert handles == objects <= structs == lost <= INTERRUPTS


def test_ctrl_c_in_a_collection(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of what Python's collector calls no exception comes. So the key is pressed again."""
    button = Button(host)

    def interrupted(self: Heap) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Heap, "begin", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
    with pytest.raises(KeyboardInterrupt):
        gc.collect()
        time.sleep(10)
    signal.signal(signal.SIGINT, before)
    assert collect() == 0 and button.fire(2) == 4
