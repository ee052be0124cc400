"""A signal handler that comes in at each moment there is, and raises or calls the guest: what it interrupts
is not lost, and held no longer than else. (test_signals.py sends signals, at random.)"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable

import pytest
from collect_support import Button, Host, left
from moments import MISSING, Interrupt, each_moment, interrupt
from support import Thing, guest_file, things, wat

from hiwire_py import Guest, GuestTrap, Hiwire, collect
from hiwire_py.objects.runtime import Runtime

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

SLOTS = 16
STARTED = """(module
  (import "env" "make" (func $make (result externref)))
  (import "env" "given" (global externref))
  (table (export "t") 4 externref)
  (global $g (export "g") (mut externref) (ref.null extern))
  (func $start (table.set (i32.const 0) (call $make)) (global.set $g (call $make)))
  (start $start)
  (func (export "first") (result externref) (table.get 0 (i32.const 0))))"""

HOLDING = """(module
  (import "env" "make" (func $make (result externref)))
  (import "env" "next" (func $next (param i32) (result i32)))
  (import "env" "take" (func $take (param externref)))
  (table 4 externref)
  (func (export "run") (param i32) (result i32) (local $held externref)
    (local.set $held (call $make))
    (local.set 0 (call $next (local.get 0)))
    (call $take (local.get $held))
    (local.get 0))
  (func (export "put") (param externref) (table.set (i32.const 0) (local.get 0)))
  (func (export "cut") (result externref)
    (table.get (i32.const 0))
    (table.set (i32.const 0) (ref.null extern)))
  (func (export "pass") (param externref))
  (func (export "trap") (param externref) unreachable))"""


@pytest.mark.parametrize("handler", ["raises", "calls", "releases"])
@pytest.mark.parametrize("use", ["numbers", "pass", "store", "store few", "forget"])
def test_calls(engine: str, use: str, handler: str, no_gc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left, and nothing waits: each ordinary call afterwards sets it right."""
    monkeypatch.setattr(Runtime, "patience", 4)  # so that calls of a few objects are long ones
    imports = {"env": {"same": lambda thing: Thing(), "next": lambda n: n - 1}}
    guest = Guest(guest_file("interrupted"), imports, engine=engine)
    numbers, store, forget = guest.exports.numbers, guest.exports.store, guest.exports.forget
    pass_ = guest.exports["pass"]
    space = guest.instance.space

    def calls() -> None:
        store(Thing(), 20)
        pass_(Thing(), 6)
        forget()
        store(Thing(), 20)

    def releases() -> None:
        forget()
        space.calls.collect()

    uses: dict[str, Callable[[], object]] = {
        "numbers": lambda: numbers(3),
        "pass": lambda: pass_(Thing(), 6),
        "store": lambda: store(Thing(), 10),
        "store few": lambda: store(Thing(), 2),
        "forget": forget,
    }
    handlers = {"raises": interrupt, "calls": calls, "releases": releases}
    store(Thing(), 20)
    count = 0
    for place in each_moment(uses[use], handlers[handler]):
        count += 1
        assert space.calls.depth == 0, place
        numbers(1)
        assert things() == len(space.objects) <= SLOTS, place
        forget()
        assert things() == len(space.objects) == 0, place
        store(Thing(), 20)
    assert count >= 3


@pytest.mark.parametrize("handler", ["pass", "trap"])
def test_calls_that_hold_objects(engine: str, handler: str, no_gc: None) -> None:
    """What only a running function or the result of a call holds is not released by a handler's call, whether
    that succeeds or traps, and however little the call that it interrupted takes along."""
    taken: list[object] = []
    got: object = None
    env = {"make": Thing, "next": lambda n: n + 1, "take": taken.append}
    exports = Guest(wat(HOLDING), {"env": env}, engine=engine).exports
    run, put, cut, call = exports.run, exports.put, exports.cut, exports[handler]

    def use() -> None:
        nonlocal got
        got = run(3)
        put(Thing())
        got = got, cut()

    def call_in_between() -> None:
        with pytest.raises(GuestTrap) if handler == "trap" else contextlib.nullcontext():
            call(Thing())

    count = 0
    for place in each_moment(use, call_in_between):
        count += 1
        assert isinstance(got, tuple) and got[0] == 4 and isinstance(got[1], Thing), place
        assert isinstance(taken.pop(), Thing), place
        got = None
        assert things() == 0, place
    assert count > 10


def test_popping(engine: str, no_gc: None) -> None:
    """What comes out of a table is not released by a handler's call that finds it in no slot any more."""
    table = Hiwire(engine=engine)
    pops = [table.pop, table.exports["hiwire_pop"]]
    got: list[object] = []

    def use() -> None:
        got.extend(pop(table.new(Thing())) for pop in pops)

    for place in each_moment(use, lambda: table.decref(table.new(Thing()))):
        assert [type(one) for one in got] == [Thing, Thing], place
        got.clear()
        assert things() == table.num_refs() == 0, place


def test_tables(engine: str, no_gc: None) -> None:
    """A handle is lost with the call that was to return it, as any other result is; the table is in order."""
    table = Hiwire(engine=engine)
    handle = table.new(Thing())
    uses: list[Callable[[], object]] = [
        lambda: table.new(Thing()),
        lambda: table.pop(table.new(Thing())),
        lambda: table.decref(table.new(Thing())),
        lambda: table.get(handle),
    ]
    count = 0
    for use in uses:
        for place in each_moment(use):
            count += 1
            assert table.space.calls.depth == 0, place
            assert isinstance(table.get(handle), Thing), place
            assert things() == table.num_refs() == len(table.space.objects), place
    assert count > 20
    table.close()
    assert things() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_new_guests(engine: str, no_gc: None) -> None:
    """One that is half made, and one that is being closed, leave nothing behind."""
    imports = {"env": {"make": Thing, "given": Thing()}}

    def use() -> None:
        guest = Guest(wat(STARTED), imports, engine=engine)
        assert isinstance(guest.exports.first(), Thing)
        guest.close()

    use()
    count = 0
    for place in each_moment(use, step=41):  # a thousand of them make ids
        count += 1
        assert things() == 1, place
    assert count > 8


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_guests_that_are_gone(engine: str, no_gc: None) -> None:
    """What they have held is released after the call in which they went, although a handler interrupted that,
    and others were made meanwhile."""
    table = Hiwire(engine=engine)
    imports = {"env": {"make": Thing, "given": Thing()}}
    guests: list[Guest] = []
    roots = table.space.roots
    places: list[str] = []

    def use() -> None:
        for place in each_moment(guests.clear):
            places.append(place)
            guests.clear()
            roots._look = 0
            guests.append(Guest(wat(STARTED), imports, hiwire=table))

    text = '(module (import "env" "use" (func $use)) (func (export "run") (call $use)))'
    run = Guest(wat(text), {"env": {"use": use}}, hiwire=table).exports.run
    living = len(roots.living)
    guests.append(Guest(wat(STARTED), imports, hiwire=table))
    run()
    assert len(places) > 5 and not guests
    assert things() == 1 and len(roots.living) == living and not any(roots.orphans), places


def test_an_interrupted_start_function(engine: str) -> None:
    """It is not taken for an error of linking."""

    def make() -> Thing:
        raise Interrupt

    with pytest.raises(Interrupt):
        Guest(wat(STARTED), {"env": {"make": make, "given": None}}, engine=engine)


def test_collecting(host: Host, no_gc: None) -> None:
    """Wrappers that are alive work after it, and those that are not are collected by the next one. What may
    be lost to the guest is a struct that was just made and has no wrapper yet, or was just to be freed."""
    kept = [Button(host) for _ in range(4)]

    def use() -> None:
        for _ in range(3):
            Button(host)
        collect()

    use()
    count = lost = 0
    for place in each_moment(use):
        count += 1
        assert host.guest.instance.space.calls.depth == 0, place
        assert [button.fire(3) for button in kept] == [6] * 4, place
        while collect():
            pass
        structs, handles, objects = left(host)
        before, lost = lost, structs - len(kept)
        assert before <= lost <= before + 1, place
        assert handles == objects + len(host.table.space.tombstones) <= structs, place
    assert count > 100


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_moving() -> None:
    """A table that moves to another store of wasmtime is in one of the two afterwards, and open."""
    table = Hiwire(engine="wasmtime")
    space, things_ = table.space, [Thing(i) for i in range(20)]
    refs = [table.new(thing) for thing in things_]
    exported = table.exports["hiwire_get"]

    def use() -> None:
        space.mover._move()

    use()
    count = 0
    for place in each_moment(use, step=13):
        count += 1
        assert space.calls.depth == 0 and space.calls.paused is None and gc.isenabled(), place
        for ref, thing in zip(refs, things_):
            assert table.get(ref) is exported(ref) is thing, place
        table.decref(table.new(Thing()))
        assert things() == len(space.objects) == table.num_refs() == 20, place
    assert count > 8 and space.mover.moves > 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_guests_of_a_table_that_moves(no_gc: None) -> None:
    """A guest whose end is interrupted, so that its guard is not forgotten, is not taken for an open one,
    which would keep the table in its store for ever."""
    table = Hiwire(engine="wasmtime")
    mover = table.space.mover

    def use() -> None:
        guests.clear()

    guests = [Guest(wat("(module)"), hiwire=table)]
    assert "1 guests of the table are open" in mover._why_not()
    count = 0
    for place in each_moment(use):
        count += 1
        assert not mover._why_not(), place
        guests.append(Guest(wat("(module)"), hiwire=table))
    assert count > 3
