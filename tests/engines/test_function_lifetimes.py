"""Functions in another guest's table, global or hands: they can be called as long as they are there."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest
from support import Thing, python_path, wat

from hiwire_py import Guest, GuestTrap, UnsupportedModuleError

# What a guest is called by, where it lets others put functions.
HOST = """(module
  (type $f (func (result i32)))
  (table $t (export "t") 8 64 funcref)
  (global $g (export "g") (mut funcref) (ref.null func))
  (func (export "put") (param i32 funcref) (table.set $t (local.get 0) (local.get 1)))
  (func (export "kept") (result i32)
    (table.set $t (i32.const 7) (global.get $g)) (call_indirect $t (type $f) (i32.const 7)))
  (func (export "size") (result i32) (table.size $t))
  (func (export "call") (param i32) (result i32) (call_indirect $t (type $f) (local.get 0))))"""

# Its functions give the number of a global, so that it shows when that is another's, or nobody's.
_TABLE = '(import "a" "t" (table $t 8 64 funcref))'
_OWN = "(memory 1) (global $n (mut i32) (i32.const 42)) (func $own (result i32) (global.get $n))"
WAYS = f"""(module {_TABLE}
  (import "a" "g" (global $g (mut funcref))) (import "a" "put" (func $put (param i32 funcref))) {_OWN}
  (elem declare func $own)
  (func (export "set") (table.set $t (i32.const 0) (ref.func $own)))
  (func (export "fill") (table.fill $t (i32.const 1) (ref.func $own) (i32.const 2)))
  (func (export "grow") (drop (table.grow $t (ref.func $own) (i32.const 1))))
  (func (export "give") (call $put (i32.const 3) (ref.func $own)))
  (func (export "keep") (global.set $g (ref.func $own))))"""
QUIET = f"(module {_TABLE} {_OWN} (elem (table $t) (i32.const 0) func $own))"
STOPPED = (
    f"(module {_TABLE} {_OWN} (elem (table $t) (i32.const 0) func $own) (func $s unreachable) (start $s))"
)
LONG = f"""(module {_TABLE} {_OWN} (elem (table $t) (i32.const 0) func $own)
  (elem (table $t) (i32.const 65) func $own))"""
BEYOND = f"""(module {_TABLE} {_OWN} (elem (table $t) (i32.const 0) func $own)
  (data (i32.const 65536) "x"))"""
SET_AT_START = f"""(module {_TABLE} {_OWN} (elem declare func $own)
  (func $s (table.set $t (i32.const 0) (ref.func $own)) unreachable) (start $s))"""
SECOND = f"""(module (table $t (export "t") 8 64 funcref) {_OWN} (elem (table $t) (i32.const 0) func $own))"""
COPIES = f"""(module {_TABLE} (import "b" "t" (table $b 8 64 funcref))
  (func (export "copy") (table.copy $t $b (i32.const 0) (i32.const 0) (i32.const 1))))"""
GIVEN = f"""(module {_OWN} (elem declare func $own) (func (export "own") (result funcref) (ref.func $own)))"""
TAKES = f"""(module {_TABLE} (import "b" "own" (func $own (result funcref)))
  (func (export "copy") (table.set $t (i32.const 0) (call $own))))"""


def _fails(wasm: str, imports: dict[str, dict[str, object]]) -> None:
    with pytest.raises(GuestTrap):
        Guest(wat(wasm), imports)


def _call_all(engine: str) -> None:
    """Each way in which a function comes to be somewhere else, and then calls when its guest is gone."""
    first = Guest(wat(HOST), engine=engine)
    call = first.exports.call
    given: dict[str, dict[str, object]] = {"a": {name: first.exports[name] for name in ("t", "g", "put")}}
    others = wat(_OWN.join(("(module ", ' (export "own" (func $own)))')).replace("42", "99"))

    def check(*found: int) -> None:
        gc.collect()
        gone = [Guest(others, engine=engine) for _ in range(4)]  # in the place of what was freed
        assert [guest.exports.own() for guest in gone] == [99] * 4
        del gone
        assert found == (42,) * len(found)

    guest = Guest(wat(WAYS), given)
    for name in ("set", "fill", "grow", "give", "keep"):
        guest.exports[name]()
    size = first.exports.size()
    del guest
    check()
    check(call(0), call(1), call(2), call(size - 1), call(3), first.exports.kept())
    Guest(wat(QUIET), given)
    check()
    check(call(0))
    for text in (STOPPED, LONG, SET_AT_START):
        _fails(text, given)
        check()
        check(call(0))
    _fails(BEYOND, given)
    check()
    if engine != "native":  # which looks at the data first, and then there is nothing in the table
        check(call(0))
    for source, copies, name in ((SECOND, COPIES, "t"), (GIVEN, TAKES, "own")):
        second = Guest(wat(source), {"unused": given["a"]})
        third = Guest(wat(copies), {**given, "b": {name: second.exports[name]}})
        third.exports.copy()
        del second, third
        check()
        check(call(0))


def test_functions_outlive_their_guests(engine: str) -> None:
    """A function in another's table, global or hands can be called when its own guest is gone: whatever way
    it came there, and also when that guest's start failed, or it exports nothing."""
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", __file__, engine],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
        timeout=300,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


_HOLDER = """(module (import "a" "t" (table $t 8 64 funcref)) (table $own 1 externref)
  (type $f (func (result i32)))
  %s
  (func (export "hold") (param externref) (table.set $own (i32.const 0) (local.get 0)))
  (func (export "call") (result i32) (call_indirect $t (type $f) (i32.const 0))))"""
_LENDS = (
    _HOLDER
    % """(func $null (result i32) (ref.is_null (table.get $own (i32.const 0))))
  (elem (table $t) (i32.const 0) func $null)"""
)


def test_lifetime_of_a_guest_in_a_table(engine: str, no_gc: None) -> None:
    """A guest whose functions are in another's table keeps what it holds until that guest is gone too, and no
    longer; whichever goes first."""
    for first_goes_first in (True, False):
        first = Guest(wat(HOST), engine=engine)
        second = Guest(wat(_LENDS), {"a": {"t": first.exports.t}})
        thing = Thing()
        watch = weakref.ref(thing)
        second.exports.hold(thing)
        del thing
        if first_goes_first:
            del first
            assert second.exports.call() == 0
            del second
        else:
            del second
            assert first.exports.call(0) == 0 and watch() is not None
            del first
        assert watch() is None


def test_guests_that_only_call_a_table(engine: str, no_gc: None) -> None:
    """A guest that cannot put anything into the table it imports is gone when it is dropped, and so are the
    exports of others that it kept."""
    first = Guest(wat(HOST), engine=engine)
    lends = Guest(wat(QUIET), {"a": {"t": first.exports.t}})
    watches = []
    for _ in range(3):
        second = Guest(wat(_HOLDER % ""), {"a": {"t": first.exports.t}})
        thing = Thing()
        watches.append(weakref.ref(thing))
        second.exports.hold(thing)
        del thing
        assert second.exports.call() == 42
    del second, lends
    assert [watch() for watch in watches] == [None] * 3
    assert first.exports.call(0) == 42


def test_lifetimes_that_become_one(engine: str, no_gc: None) -> None:
    """Guests of two tables, and one that may copy from each to the other: all end together, without Python's
    cycle collector."""
    first = Guest(wat(HOST), engine=engine)
    second = Guest(wat(HOST), {"unused": {"t": first.exports.t}})
    things = [Thing(), Thing()]
    watches = [weakref.ref(thing) for thing in things]
    for guest, thing in zip((first, second), things):
        Guest(wat(_LENDS), {"a": {"t": guest.exports.t}}).exports.hold(thing)
    copies = Guest(wat(COPIES), {"a": {"t": first.exports.t}, "b": {"t": second.exports.t}})
    del thing, things, guest
    assert [watch() is None for watch in watches] == [False, False]
    del first, copies
    assert second.exports.call(0) == 0
    assert [watch() is None for watch in watches] == [False, False]
    del second
    assert [watch() is None for watch in watches] == [True, True]


def test_failed_link_keeps_nothing(engine: str, no_gc: None) -> None:
    """A guest that was never made, since an import did not fit, leaves nothing with the table it wanted."""
    first = Guest(wat(HOST), engine=engine)
    text = QUIET.replace("(memory 1)", "").replace(_TABLE, _TABLE + ' (import "a" "m" (memory 1))')
    memory = Guest(wat('(module (memory (export "m") 0))'), {"unused": {"t": first.exports.t}})
    before = len(first.instance.lifetime._whole()._held)
    for _ in range(3):
        with pytest.raises(UnsupportedModuleError):
            Guest(wat(text), {"a": {"t": first.exports.t, "m": memory.exports.m}})
    assert len(first.instance.lifetime._whole()._held) == before


if __name__ == "__main__":
    _call_all(sys.argv[1])
