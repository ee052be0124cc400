"""What dies with its guest may call it to the last, in whatever order a Python does things: finalizers of a
cycle run in any order, weak references are cleared before them or after, and then the cycle is taken apart
from any end.
"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys

import pytest
from clearing import HAS_THEM, ORDERS_NEED, clear, found_dead
from support import Thing, python_path, use_engine, use_mode, wat, weak_references_stay

from hiwire_py import ClosedError, Guest, Hiwire
from hiwire_py.engines import hosts, release
from hiwire_py.engines.release import at_release

TEXT = """(module (import "env" "make" (func $make (param i32) (result externref)))
  (table $t (export "t") 4 externref) (memory (export "m") 1)
  (global $g (export "g") (mut externref) (ref.null extern))
  (func (export "store") (param externref) (result i32)
    (table.set $t (i32.const 0) (local.get 0)) (global.set $g (local.get 0))
    (i32.store (i32.const 8) (i32.const 7)) (i32.load (i32.const 8)))
  (func (export "load") (result externref) (table.get $t (i32.const 0)))
  (func (export "make") (param i32) (result externref) (call $make (local.get 0))))"""
ENGINES = ["wasmer", "wasmtime", "native"]
WAYS = [*ENGINES, "wasmtime abi"]


@pytest.fixture(params=WAYS)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine, and the other way of calling wasmtime."""
    param: str = request.param
    name, _, mode = param.partition(" ")
    use_engine(name)
    if mode:
        use_mode(mode, monkeypatch)
    return name


@pytest.fixture(params=["alone", "of a table"])
def table(engine: str, request: pytest.FixtureRequest) -> Hiwire | None:
    """What the guest shares: its space lives on in the second case, and dies with it in the first."""
    return None if request.param == "alone" else Hiwire(engine=engine)


def new_guest(engine: str, table: Hiwire | None) -> Guest:
    """A guest that dies in a cycle with what its host function holds; but a table keeps host functions."""
    box: list[Guest] = []

    def make(number: int) -> object:
        return box

    imports = {"env": {"make": make}}
    guest = (
        Guest(wat(TEXT), imports, engine=engine) if table is None else Guest(wat(TEXT), imports, hiwire=table)
    )
    if table is None:
        box.append(guest)
    whole(guest)
    return guest


def whole(guest: Guest) -> None:
    """All of the guest works; whether its host functions do is the Python's affair."""
    thing = Thing()
    assert guest.exports.store(thing) == 7
    assert guest.exports.load() is thing and guest.exports.g.value is thing
    assert guest.exports.t[0] is thing and len(guest.exports.t) == 4
    assert guest.memory.read(8, 1) == b"\x07"
    try:
        assert guest.exports.make(1) == ([guest] if guest.table is None else [])
    except ClosedError as error:
        assert str(error).startswith("the guest called env.make")
        assert str(error).endswith("but what stood behind it was closed")
        assert not weak_references_stay()


class Last:
    """Calls the guest when it dies with it."""

    def __init__(self, guest: Guest, calls: list[bool]) -> None:
        self.guest = guest
        self.calls = calls
        self.me = self

    def __del__(self) -> None:
        self.calls.append(False)
        whole(self.guest)
        self.calls[-1] = True


class Keeping:
    """Keeps the guest when it dies with it."""

    def __init__(self, guest: Guest, kept: list[Guest]) -> None:
        self.guest = guest
        self.kept = kept
        self.me = self

    def __del__(self) -> None:
        self.kept.append(self.guest)


def die_several_times(engine: str, table: Hiwire | None) -> None:
    """What follows, in a process of its own."""
    kept: list[Guest] = []
    calls: list[bool] = []
    released: list[int] = []

    def make() -> None:
        guest = new_guest(engine, table)
        guest.wrapped = at_release(lambda: released.append(1))
        Keeping(guest, kept)

    make()
    gc.collect()
    for times in range(1, 4):
        (guest,) = kept
        whole(guest)
        Last(guest, calls)
        Keeping(guest, kept)
        Last(guest, calls)
        del guest
        kept.clear()
        gc.collect()
        assert calls == [True] * 2 * times
    assert not released
    kept.clear()
    gc.collect()
    assert released == [1]
    make()
    gc.collect()
    (guest,) = kept
    (guest if table is None else table).close()
    for call in (lambda: guest.exports.store(1), lambda: guest.exports.make(0), lambda: guest.memory.size):
        try:
            call()
        except ClosedError as error:
            assert str(error) == "this guest is closed"
        else:
            raise AssertionError("it is not closed")


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_the_last_of_all_finalizers(engine: str) -> None:
    """After all finalizers of the cycle have run, those of this package's own objects too, the guest is
    whole: one of them has kept it. So it is when it dies a second time, and it is closed like any other."""
    code = "from test_dying import *; " + "; ".join(
        f"die_several_times({engine!r}, {table})" for table in ("None", f"Hiwire(engine={engine!r})")
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", "-c", code],
        env={**os.environ, "PYTHONPATH": python_path(__file__)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("generation", [0, 1, 2])
def test_finalizers_of_each_age(engine: str, table: Hiwire | None, generation: int) -> None:
    """Objects made before the guest and after, in each of the collector's generations, call it as they die:
    the collector goes through them in the order of their ages."""
    calls: list[bool] = []

    def make() -> None:
        early = [Last.__new__(Last) for _ in range(3)]
        if generation:
            gc.collect(generation - 1)
        guest = new_guest(engine, table)
        late = []
        for number, last in enumerate(early):
            last.__init__(guest, calls)  # type: ignore[misc]
            if number < generation:
                gc.collect(number)
            late.append(Last(guest, calls))
        assert not calls

    make()
    gc.collect()
    assert calls == [True] * 6


@pytest.mark.skipif(not HAS_THEM, reason=f"this needs {ORDERS_NEED}")
@pytest.mark.parametrize("order", ["first", "last", 1, 2])
def test_taken_apart_in_any_order(engine: str, table: Hiwire | None, order: str | int) -> None:
    """Whatever is cleared first, each thing is released once, and what others use works on."""

    released: list[int] = []

    def make() -> None:
        guest = new_guest(engine, table)
        other = Guest(
            wat('(module (import "a" "store" (func $f (param externref) (result i32)))'
                '  (import "a" "t" (table $t 1 externref)) (export "f" (func $f)))'),
            {"a": {"store": guest.exports.store, "t": guest.exports.t}},
        )  # fmt: skip
        held = Thing((guest, other, at_release(lambda: released.append(1))))
        if table is None:
            other.exports.f(held)
        else:  # which lives on, and would hold it
            held.me = held  # type: ignore[attr-defined]

    lasting = None if table is None else new_guest(engine, table)
    gc.collect()
    before = len(release._waiting), len(hosts.functions)
    dead = found_dead(make)
    assert len(dead) > 10 and not released
    if order == "last":
        dead.reverse()
    elif order != "first":
        random.Random(order).shuffle(dead)
    for thing in dead:
        clear(thing)
    del thing
    while dead:
        del dead[-1]
    gc.collect()
    assert released == [1]
    if lasting is None or not engine.startswith("wasmtime"):  # whose host functions go with the store
        assert (len(release._waiting), len(hosts.functions)) <= before
    if lasting is not None:
        whole(lasting)
        assert len(lasting.instance.space.objects) == 1
