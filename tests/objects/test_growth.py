"""Cost that must not grow with what a module declares, or with what is long gone.

It is long because each kind of growth needs a module of its own, in text form.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import wasmtime
from support import Thing, python_path, use_mode, wat

from hiwire_py import NULL, ClosedError, Guest, Hiwire, HiwireError, StaleRefError
from hiwire_py.engines.wasmtime.modes import MODES
from hiwire_py.objects import ThreadGuard, instantiate, keep_last, moving, new_space, prepare


@pytest.fixture(params=MODES)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of calling wasmtime in turn."""
    return use_mode(request.param, monkeypatch)


def test_exports_are_not_counted_off(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """wasmtime finds the export of a number by going through those before it, so none is asked for like that:
    neither those of the module nor those added to see its references."""

    def nth(*args: object) -> bool:
        raise AssertionError("an export was asked for by its number")

    monkeypatch.setattr(wasmtime._ffi, "wasmtime_instance_export_nth", nth)
    guest = Guest(
        wat("""(module (global $hidden (mut externref) (ref.null extern))
        (func (export "") (result i32) i32.const 3)
        (func (export "a\\00b") (param externref) (result externref) local.get 0)
        (global (export "\\c3\\a9") i32 (i32.const 5)))"""),
        engine="wasmtime",
    )
    assert list(guest.exports) == ["", "a\0b", "é"]
    assert guest.exports[""]() == 3 and guest.exports["a\0b"]("x") == "x" and guest.exports["é"].value == 5


# ---- guests that come and go

USER = wat("""(module (import "env" "hiwire_get" (func $get (param i32) (result externref)))
  (import "env" "host" (func $host (param externref) (result externref)))
  (memory (export "memory") 1) (table $t 4 externref) (global $g (mut externref) (ref.null extern))
  (func (export "find") (param i32) (result externref) (call $host (call $get (local.get 0))))
  (func (export "keep") (param externref)
    (global.set $g (local.get 0)) (table.set $t (i32.const 2) (local.get 0))))""")


def use(table: Hiwire, ref: int, wanted: object) -> Guest:
    """A guest of a table, which holds an object and finds another one in the table."""
    guest = Guest(USER, {"env": {"host": lambda x: x}}, hiwire=table)
    guest.exports.keep(Thing())
    assert guest.exports.find(ref) is wanted
    return guest


class Ways:
    """All ways to come to a table that people may hold on to."""

    def __init__(self, engine: str, variant: str = "static_pages") -> None:
        self.table = Hiwire(variant, engine=engine)
        self.get, self.exported = self.table.get, self.table.exports["hiwire_get"]
        self.things = [Thing(i) for i in range(100)]
        self.refs = [self.table.new(thing) for thing in self.things]
        self.same = self.table.new_deduplicate("same")
        self.immortal = self.table.intern("immortal")

    def check(self) -> None:
        """Everything is there, and what is released is gone."""
        table = self.table
        for ref, thing in zip(self.refs, self.things):
            assert self.get(ref) is self.exported(ref) is table.get(ref) is thing
        assert table.new_deduplicate("same") == self.same and table.refcount(self.same) > 1
        assert table.get(self.immortal) == "immortal" and table.num_refs() == 101
        thing = Thing()
        watch = weakref.ref(thing)
        ref = table.new(thing)
        del thing
        assert watch() is not None and self.table.is_valid(ref)
        self.exported(ref)
        table.decref(ref)
        table.space.calls.collect()
        assert watch() is None
        with pytest.raises(StaleRefError):
            self.get(ref)


def moves(table: Hiwire) -> int:
    return table.space.mover.moves


def test_a_table_moves_with_all_it_holds(way: str) -> None:
    """Whatever people hold of a table goes on working when it has left its store, and what closed guests held
    is gone."""
    moves_with_all(Ways("wasmtime"))


def test_a_table_that_grows_moves_too() -> None:
    """The memory of its slots is the host's to give."""
    moves_with_all(Ways("wasmtime", "extern_realloc"))


def moves_with_all(ways: Ways) -> None:
    guests, watches = [], []
    for index in range(50):
        guest = use(ways.table, ways.refs[index], ways.things[index])
        thing = Thing()
        watches.append(weakref.ref(thing))
        guest.exports.keep(thing)
        del thing
        guest.close()
        if index % 10 == 0:
            guests.append((guest, guest.exports.keep, guest.memory))
            ways.check()
    assert moves(ways.table) >= 2 and ways.table.space.store.made < 40
    assert sum(watch() is not None for watch in watches) < 40
    ways.check()
    for guest, keep, memory in guests:
        for late in (keep, guest.exports.find, lambda _, memory=memory: memory.size):
            with pytest.raises(ClosedError):
                late(1)
    more = [ways.table.new(thing) for thing in map(Thing, range(3000))]
    for ref in more:
        ways.table.decref(ref)
    ways.table.close()
    with pytest.raises(ClosedError):
        ways.get(ways.refs[0])


MANY = """
import resource, sys
from hiwire_py import Hiwire
from test_growth import use
engine, count = sys.argv[1], int(sys.argv[2])
table = Hiwire(engine=engine)
ref = table.new("x")
def rounds(count):
    for index in range(count // 5):
        guests = [use(table, ref, "x") for _ in range(1 + index % 4)]
        guests.append(use(table, ref, "x"))
        if index % 2:
            guests[0].close()
        del guests
def used():
    return [int(n) * resource.getpagesize() >> 20 for n in open("/proc/self/statm").read().split()[:2]]
rounds(60)
before = used()
rounds(count)
after = used()
print(after[0] - before[0], after[1] - before[1])
"""


def test_guests_that_come_and_go_leave_nothing_behind(engine: str) -> None:
    """Of hundreds of guests of one table, some at the same time, neither memory nor address space remains;
    nor of as many as HIWIRE_MANY_GUESTS says."""
    if not sys.platform.startswith("linux"):
        pytest.skip(f"{sys.platform} has no /proc to read the memory from")
    run = subprocess.run(
        [sys.executable, "-c", MANY, engine, os.environ.get("HIWIRE_MANY_GUESTS", "200")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path(__file__)},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    space, resident = map(int, run.stdout.split())  # MB
    assert resident < 16 and space < 50 * 4200


def test_host_functions_go_with_their_guest(engine: str) -> None:
    """A table does not hold what its guests were given, even where a function refers to its own guest."""

    def make() -> weakref.ref[object]:
        holder: list[Guest] = []

        def host(x: object) -> object:
            assert holder
            return x

        holder.append(Guest(USER, {"env": {"host": host}}, hiwire=table))
        assert holder[0].exports.find(ref) == "x"
        return weakref.ref(host)

    table = Hiwire(engine=engine)
    ref = table.new("x")
    watch = make()
    gc.collect()
    assert watch() is None


def test_guests_that_never_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one guest is open at any time nothing can be freed, and the error before wasmtime's own says what
    to do; then it goes on."""
    monkeypatch.setattr(moving, "MOST", 50)
    table = Hiwire(engine="wasmtime")
    ref = table.new("x")
    last = use(table, ref, "x")
    with pytest.raises(HiwireError, match="1 guests of the table are open; close all guests of a table now"):
        for _ in range(60):
            last = use(table, ref, "x")
    assert table.space.store.made == 50 and moves(table) == 0 and last.exports.find(ref) == "x"
    last.close()
    use(table, ref, "x")
    assert moves(table) == 1
    first = Guest(wat('(module (func (export "f")))'), engine="wasmtime")
    with pytest.raises(HiwireError, match="they share the space of a guest, not of a table"):
        for _ in range(60):
            Guest(wat('(module (import "a" "f" (func)))'), {"a": {"f": first.exports.f}})


def test_no_move_within_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a host function makes is made in the same store, which is left when the call has returned."""
    monkeypatch.setattr(moving, "MOST", 50)
    table = Hiwire(engine="wasmtime")
    ref = table.new("x")

    def host(x: object) -> object:
        for _ in range(20):
            use(table, ref, "x").close()
        return x

    guest = Guest(USER, {"env": {"host": host}}, hiwire=table)
    assert guest.exports.find(ref) == "x" and guest.exports.find(ref) == "x" and moves(table) == 0
    with pytest.raises(HiwireError, match="while a call is on its way"):
        guest.exports.find(ref)
    guest.close()
    use(table, ref, "x")
    assert moves(table) == 1


STATE = """(module (import "env" "host" (func $host (param externref) (result externref)))
  (memory (export "memory") 1) (memory.export)
  (data (i32.const 8) "data") (table $f 2 funcref) (elem (i32.const 1) $host)
  (table $a 3 externref) (table $b 0 externref)
  (global $i (mut i32) (i32.const 1)) (global $j (mut i64) (i64.const 1)) (global $x (mut f32) (f32.const 1))
  (global $y (mut f64) (f64.const 1)) (global $e (mut externref) (ref.null extern))
  (global (export "const") i32 (i32.const 7))
  (func (export "put") (param externref externref)
    (table.set $a (i32.const 0) (local.get 0)) (table.set $a (i32.const 2) (local.get 1))
    (drop (table.grow $b (local.get 0) (i32.const 5))) (global.set $e (local.get 1))
    (global.set $i (i32.const -2)) (global.set $j (i64.const -3)) (global.set $y (f64.const -0))
    (global.set $x (f32.reinterpret_i32 (i32.const 0x7fa00001)))
    (drop (memory.grow (i32.const 2))) (i32.store (i32.const 131080) (i32.const 99))
    (i32.store (i32.const 8) (i32.const 98)))
  (func (export "numbers") (result i32 i64 i32 i64 i32 i32 i32)
    (global.get $i) (global.get $j)
    (i32.reinterpret_f32 (global.get $x)) (i64.reinterpret_f64 (global.get $y))
    (memory.size) (i32.load (i32.const 131080)) (i32.load (i32.const 8)))
  (func (export "refs") (result externref externref externref externref externref)
    (table.get $a (i32.const 0)) (table.get $a (i32.const 1)) (table.get $a (i32.const 2))
    (table.get $b (i32.const 4)) (global.get $e))
  (func (export "clear") (table.fill $a (i32.const 0) (ref.null extern) (i32.const 3))
    (table.fill $b (i32.const 0) (ref.null extern) (i32.const 4)))
  (func (export "none") (table.set $b (i32.const 4) (ref.null extern)) (global.set $e (ref.null extern)))
  (func (export "call") (param externref) (result externref)
    (call_indirect $f (param externref) (result externref) (local.get 0) (i32.const 1)))
  (func (export "change") (table.set $f (i32.const 0) (ref.func $host))))""".replace("(memory.export)", "")


class Moved:
    """An instance of a module that lasts in its space."""

    def __init__(self, engine: str, text: str) -> None:
        self.space = new_space(engine)
        self.prepared = prepare(self.space.engine, wat(text), lasting=True)
        self.guard = ThreadGuard("table")
        self.instance = instantiate(self.space, self.prepared, lambda wanted: self.host, self.guard, "it")
        keep_last(self.instance)
        self.call = SimpleNamespace(
            **{name: self.instance.function(name) for name in self.prepared.module.exported(0)}
        )

    @staticmethod
    def host(x: object) -> object:
        return [x]

    def move(self) -> str:
        """Why it was not moved, or ""."""
        mover, before = self.space.mover, self.space.mover.moves
        why = mover._why_not()
        if not why:
            why = mover._move()
        assert why or mover.moves == before + 1
        return why


def test_all_state_moves(way: str) -> None:
    """Memories with their size, numbers with all their bits, tables, globals, and a reference that several of
    them hold; each of these lets go of it for itself."""
    it = Moved("wasmtime", STATE)
    one, two = Thing(1), Thing(2)
    it.call.put(one, two)
    numbers = (-2, -3, 0x7FA00001, -1 << 63, 3, 99, 98)
    for _ in range(3):
        assert tuple(it.call.numbers()) == numbers
        refs = it.call.refs()
        assert [refs[0], *refs[2:]] == [one, two, one, two] and refs[1] is NULL
        assert it.call.call("x") == ["x"]
        del refs
        assert it.move() == ""
    assert tuple(it.call.numbers()) == numbers and len(it.space.objects) == 2
    watches = weakref.ref(one), weakref.ref(two)
    del one, two
    it.call.clear()
    it.space.calls.collect()
    assert len(it.space.objects) == 2 and all(watch() is not None for watch in watches)
    assert it.call.refs()[3] is watches[0]() and it.call.refs()[4] is watches[1]()
    it.call.none()
    it.space.calls.collect()
    assert len(it.space.objects) == 0 and not any(watch() for watch in watches)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '(module (func $s) (start $s) (import "a" "b" (func (param externref))))',
            "it has a start function",
        ),
        ("(module (global (mut funcref) (ref.null func)))", "mutable global of type funcref"),
        ('(module (memory 1) (data $d "x"))', "it has passive segments"),
        ("(module (func $f) (elem func $f))", "it has passive segments"),
    ],
)
def test_modules_that_stay_where_they_are(text: str, why: str) -> None:
    """A module whose state cannot be read is not moved, and the reason is at hand."""
    text = text.replace(
        '(func $s) (start $s) (import "a" "b" (func (param externref)))', "(func $s) (start $s)"
    )
    assert why in Moved("wasmtime", text).move()


def test_tables_of_functions_that_changed_stay(way: str) -> None:
    """They are looked at, and what the module made of them itself is no obstacle."""
    it = Moved("wasmtime", STATE)
    assert it.move() == "" and it.move() == ""
    it.call.change()
    assert "its table of functions has been changed" in it.move()
    assert it.call.call(1) == [1]


def test_a_move_that_fails_changes_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for a second memory the table stays where it is, and guests are added there."""
    ways = Ways("wasmtime")
    store = ways.table.space.store
    left = []

    def grow(memory: object, pages: int) -> bool:
        left.append(pages)
        return False

    for _ in range(3):
        use(ways.table, ways.refs[0], ways.things[0]).close()
    monkeypatch.setattr(type(store), "memory_grow", grow, raising=True)
    monkeypatch.setattr(type(store), "instantiate", failing(type(store).instantiate, after=1))
    assert ways.table.space.mover._move() == "moving the table has failed (no room)"
    monkeypatch.undo()
    assert moves(ways.table) == 0
    ways.check()
    use(ways.table, ways.refs[0], ways.things[0]).close()
    ways.check()
    for _ in range(20):
        use(ways.table, ways.refs[0], ways.things[0]).close()
    assert moves(ways.table) == 1
    ways.check()


def failing(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    """The function, but after some calls there is no room."""
    calls = iter(range(after))

    def fail(*args: object) -> object:
        result = function(*args)
        if next(calls, None) is None or (isinstance(result, Mapping) and "hiwire_get" in result):
            raise MemoryError("no room")
        return result

    return fail


def test_an_interrupted_move_is_finished(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt before the point of no return takes all back; after it all is done, and then it is
    raised."""
    ways = Ways("wasmtime")
    space, store = ways.table.space, type(ways.table.space.store)
    for name, moved in (("instantiate", 0), ("memory_grow", 0), ("retarget", 1), ("arrive", 2)):
        monkeypatch.setattr(store, name, interrupted(getattr(store, name)))
        interrupts = 0
        try:
            space.mover._move()
        except KeyboardInterrupt:
            interrupts = 1
        monkeypatch.undo()
        assert interrupts or name == "memory_grow"
        assert moves(ways.table) >= moved
        ways.check()
        use(ways.table, ways.refs[0], ways.things[0]).close()
        ways.check()


def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, but the first call is followed by an interrupt."""
    calls = iter([1])

    def interrupting(*args: object) -> object:
        result = function(*args)
        if next(calls, None):
            raise KeyboardInterrupt
        return result

    return interrupting
