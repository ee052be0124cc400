"""When objects die: at the last release, or when the outermost call returns; whatever any garbage collector
does."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import weakref

import pytest
from support import Counted, Thing, guest_file, python_path, wat

from hiwire_py import NULL, Guest, GuestTrap, Hiwire
from hiwire_py.objects.layout import STATE_RECORD_COUNT

pytestmark = pytest.mark.usefixtures("no_gc")

EVERYTHING = guest_file("everything")
HOST = {
    "make": lambda number: Thing(number),
    "see": lambda thing, number: None,
    "swap": lambda a, b: (b, a),
    "again": lambda thing, number: thing,
}


def everything(engine: str) -> Guest:
    return Guest(EVERYTHING, {"env": HOST}, engine=engine)


def test_dies_at_the_last_decref(engine: str, variant: str) -> None:
    """Not before, and not later."""
    table = Hiwire(variant, engine=engine)
    thing = Thing()
    watch = weakref.ref(thing)
    ref = table.new(thing)
    table.incref(ref)
    del thing
    table.decref(ref)
    assert watch() is not None
    table.decref(ref)
    assert watch() is None


def test_pop_gives_the_last_reference(engine: str, variant: str) -> None:
    """What `pop` returns is held by the caller alone."""
    table = Hiwire(variant, engine=engine)
    ref = table.new(Thing())
    thing = table.pop(ref)
    watch = weakref.ref(thing)
    del thing
    assert watch() is None


def test_dies_with_the_call_when_not_stored(engine: str) -> None:
    """An argument that the guest only looks at does not stay."""
    guest = everything(engine)
    thing = Thing()
    watch = weakref.ref(thing)
    assert guest.exports.same(thing) is thing
    assert guest.exports.pair(1, thing) == (thing, 8)
    guest.exports.call_host(3, thing)
    del thing
    assert watch() is None


def test_stored_and_cleared(engine: str) -> None:
    """Tables and globals hold; overwriting, filling, copying over and dropping release."""
    guest = everything(engine)
    exports = guest.exports

    def stored(store: object) -> weakref.ref[Thing]:
        thing = Thing()
        store(thing)  # type: ignore[operator]
        return weakref.ref(thing)

    in_table, in_global = stored(lambda x: exports.a_set(0, x)), stored(exports.keep)
    assert in_table() is not None and in_global() is not None
    exports.a_set(2, in_table())
    exports.a_set(0, None)
    assert in_table() is not None
    exports.a_fill(0, NULL, 3)
    assert in_table() is None
    exports.keep(NULL)
    assert in_global() is None
    copied = stored(lambda x: exports.a_set(0, x))
    exports.copy_ba(1, 0, 1)
    exports.a_set(0, NULL)
    assert copied() is not None
    exports.copy_ba(1, 2, 1)
    assert copied() is None
    grown = stored(lambda x: exports.b_grow(x, 2))
    assert grown() is not None
    exports.b_fill(0, NULL, exports.b_size())
    assert grown() is None


def test_released_after_a_trap(engine: str) -> None:
    """A trap on the way does not keep arguments alive, and what was stored before it stays stored."""
    guest = everything(engine)
    stored, not_stored = Thing(), Thing()
    watch, watch_not = weakref.ref(stored), weakref.ref(not_stored)
    with pytest.raises(GuestTrap, match="unreachable"):
        guest.exports.trap_after_storing(stored)
    with pytest.raises(GuestTrap, match="out of bounds table access"):
        guest.exports.a_set(99, not_stored)
    del stored, not_stored
    guest.collect()
    assert watch_not() is None
    assert watch() is not None
    guest.exports.a_set(1, NULL)
    assert watch() is None


def test_nested_calls_keep_what_outer_frames_hold(engine: str) -> None:
    """An object in a guest's local survives its removal from the table by a call from a host function."""

    def again(thing: object, number: int) -> object:
        for _ in range(100):
            guest.exports.a_set(0, Thing())
        return NULL

    seen = []
    host = {**HOST, "again": again, "see": lambda thing, number: seen.append(thing)}
    guest = Guest(EVERYTHING, {"env": host}, engine=engine)
    held, argument = Thing(), Thing()
    watch = weakref.ref(held)
    guest.exports.a_set(0, held)
    del held
    assert guest.exports.nested(argument, 1) is argument
    assert seen == [watch()] and watch() is not None
    seen.clear()
    assert watch() is None


def test_objects_of_nested_calls_do_not_pile_up(engine: str) -> None:
    """What calls from a host function leave behind is released when they return, not at the end of the outer
    call."""

    class Made(Counted):
        pass

    def again(thing: object, number: int) -> object:
        for _ in range(5000):
            guest.exports.same(Made())
        return NULL

    guest = Guest(EVERYTHING, {"env": {**HOST, "again": again}}, engine=engine)
    guest.exports.nested(NULL, 1)
    assert Made.alive == 0 and Made.peak < 2500


def test_released_in_a_nested_call_of_another_kind(engine: str) -> None:
    """The outer call is of a guest without externrefs, which knows nothing of what dies in the inner one."""
    table = Hiwire(engine=engine)
    ref = table.new(Thing())
    watch = weakref.ref(table.get(ref))
    guest = Guest(
        wat('(module (import "env" "f" (func $f)) (func (export "go") call $f))'),
        {"env": {"f": lambda: table.decref(ref)}},
        hiwire=table,
    )
    assert watch() is not None
    guest.exports.go()
    assert watch() is None


def test_finalizer_that_calls_the_guest(engine: str, variant: str) -> None:
    """Finalizers run when all is in order, and may use the table they leave."""
    table = Hiwire(variant, engine=engine)
    made = []

    class Last:
        def __del__(self) -> None:
            made.append(table.new("from a finalizer"))

    table.decref(table.new(Last()))
    assert [table.get(ref) for ref in made] == ["from a finalizer"]
    table.decref(made[0])
    assert len(table) == 0


def test_close_releases(engine: str, variant: str) -> None:
    """`close` lets go of everything, immortals too; so does losing the last reference to the table."""
    things = [Thing(), Thing(), Thing()]
    watch = [weakref.ref(x) for x in things]
    with Hiwire(variant, engine=engine) as table:
        table.new(things[0])
        table.intern(things[1])
        table.new_deduplicate(things[2])
        things.clear()
        assert None not in [w() for w in watch]
    assert [w() for w in watch] == [None] * 3

    thing = Thing()
    dropped = weakref.ref(thing)
    table = Hiwire(variant, engine=engine)
    table.new(thing)
    del thing, table
    assert dropped() is None


def test_close_from_inside(engine: str) -> None:
    """A host function may close its own guest: the call goes on, and the objects go when it returns."""

    def see(thing: object, number: int) -> None:
        guest.close()

    guest = Guest(EVERYTHING, {"env": {**HOST, "see": see, "make": lambda number: NULL}}, engine=engine)
    thing = Thing()
    watch = weakref.ref(thing)
    guest.exports.a_set(0, thing)
    guest.exports.call_host(0, thing)
    del thing
    assert watch() is None


def test_guest_of_a_shared_table_lets_go(engine: str) -> None:
    """A guest's own tables and globals are released with it, while the table it shares lives on."""
    table = Hiwire(engine=engine)
    guest = Guest(EVERYTHING, {"env": HOST}, hiwire=table)
    in_table, in_global = Thing(), Thing()
    watch = weakref.ref(in_table), weakref.ref(in_global)
    guest.exports.a_set(0, in_table)
    guest.exports.keep(in_global)
    kept = table.new("kept")
    del in_table, in_global
    guest.close()
    assert table.get(kept) == "kept"
    assert [w() for w in watch] == [None, None]


def test_dropped_guest_of_a_shared_table_lets_go(engine: str) -> None:
    """The same without `close`."""
    table = Hiwire(engine=engine)
    guest = Guest(EVERYTHING, {"env": HOST}, hiwire=table)
    in_table, in_global = Thing(), Thing()
    watch = weakref.ref(in_table), weakref.ref(in_global)
    guest.exports.a_set(0, in_table)
    guest.exports.keep(in_global)
    del in_table, in_global, guest
    assert [w() for w in watch] == [None, None]


def test_object_that_holds_its_own_guest(engine: str) -> None:
    """A cycle through a guest is visible to Python's cycle collector."""
    guest = everything(engine)
    thing = Thing()
    thing.name = guest
    watch, watch_guest = weakref.ref(thing), weakref.ref(guest)
    guest.exports.a_set(0, thing)
    del thing, guest
    assert watch() is not None
    gc.collect()
    assert watch() is None and watch_guest() is None


def test_object_that_holds_its_own_table(engine: str, variant: str) -> None:
    """The same for a table, and for a host function that refers to its guest."""
    table = Hiwire(variant, engine=engine)
    thing = Thing(table)
    watch = weakref.ref(thing)
    table.new_deduplicate(thing)
    del thing, table
    gc.collect()
    assert watch() is None

    def make_guest() -> weakref.ref[Guest]:
        made: list[Guest] = []
        host = {**HOST, "make": lambda number: made[0] if made else NULL}
        made.append(Guest(EVERYTHING, {"env": host}, engine=engine))
        return weakref.ref(made[0])

    watch_guest = make_guest()
    gc.collect()
    assert watch_guest() is None


def test_exports_keep_their_guest_alive(engine: str) -> None:
    """A function taken out of a guest works when nothing else refers to the guest; so do its linked
    imports."""
    first = Guest(
        wat('(module (global (export "g") i32 (i32.const 42)) (memory (export "m") 1))'), engine=engine
    )
    second = Guest(
        wat(
            '(module (import "a" "g" (global i32)) (import "a" "m" (memory 1))'
            ' (func (export "get") (result i32) (i32.add (global.get 0) (i32.load (i32.const 0)))))'
        ),
        {"a": {"g": first.exports.g, "m": first.exports.m}},
    )
    first.memory.write(0, b"\1\0\0\0")
    get = second.exports["get"]
    del first, second
    gc.collect()
    junk = [bytes(i) for i in range(3000)]
    assert get() == 43 and junk


_MANY = """
import resource, sys
from hiwire_py import Guest, Hiwire
from support import guest_file
wasm = guest_file("everything")
host = {"make": lambda n: object(), "see": lambda x, n: None, "swap": lambda a, b: (b, a), "again": lambda x, n: x}
def rounds(count):
    for _ in range(count):
        guest = Guest(wasm, {"env": host}, engine=sys.argv[1])
        guest.exports.a_set(0, object())
        Hiwire(engine=sys.argv[1]).new(object())
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
rounds(500)
before = rss()
rounds(int(sys.argv[2]))
print(rss() - before)
"""


def test_many_die_at_once(engine: str) -> None:
    """All that a table lets go of in one call, except for what is stored again before it returns; and the places
    of the dead are used again."""

    class Made(Counted):
        pass

    guest = Guest(
        wat("""(module (import "env" "make" (func $make (result externref)))
        (table $t 600 externref) (global $last (mut externref) (ref.null extern))
        (func (export "fill") (param i32)
          (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (table.set $t (local.get 0) (call $make))
            (br_if 0 (local.get 0))))
        (func (export "clear")
          (global.set $last (table.get $t (i32.const 7)))
          (table.fill $t (i32.const 0) (ref.null extern) (i32.const 600))
          (table.set $t (i32.const 3) (global.get $last))
          (global.set $last (ref.null extern)))
        (func (export "kept") (result externref) (table.get $t (i32.const 3))))"""),
        {"env": {"make": Made}},
        engine=engine,
    )

    for _ in range(20):
        guest.exports.fill(600)
        guest.collect()
        assert Made.alive == 600
        kept = guest.exports.kept()
        guest.exports.clear()
        guest.collect()
        assert Made.alive == 2 and guest.exports.kept() is not kept
        del kept
        assert Made.alive == 1
    space = guest.instance.space
    assert len(space.objects) == 1
    assert space.runtime.state()[STATE_RECORD_COUNT] < 3000  # ids are used again


def test_many_guests_do_not_pile_up(engine: str) -> None:
    """Thousands of guests and tables, made and dropped: the process does not grow by more than 16 MB."""
    if not sys.platform.startswith("linux"):
        pytest.skip(f"{sys.platform} has no /proc to read the memory from")
    count = os.environ.get("HIWIRE_MANY_GUESTS", "1000")
    environment = {**os.environ, "PYTHONPATH": python_path()}
    run = subprocess.run(
        [sys.executable, "-c", _MANY, engine, count],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 16 << 20


def test_arguments_of_a_failed_call(engine: str, no_gc: None) -> None:
    """When the exception of a host function has been dealt with, nothing is left of the call: no cycle of
    tracebacks either."""
    text = """(module (import "env" "fail" (func $fail))
      (func (export "go") (param externref) (call $fail)))"""

    def fail() -> None:
        raise ValueError("on purpose")

    guest = Guest(wat(text), {"env": {"fail": fail}}, engine=engine)
    thing = Thing()
    watch = weakref.ref(thing)
    with contextlib.suppress(ValueError):
        guest.exports.go(thing)
    del thing
    guest.collect()
    assert watch() is None and len(guest._instance.space.objects) == 0
