"""Element segments and tables of externrefs that a module has for itself: the same on every engine."""

from __future__ import annotations

import gc
import weakref

import pytest
from support import Thing, wat

from hiwire_py import NULL, Guest, GuestTrap, lower, needs_lowering

SEGMENTS = """(module
  (import "env" "one" (global $one externref)) (import "env" "two" (global $two externref))
  (import "env" "base" (global $base i32))
  (import "env" "wrap" (func $wrap (param externref) (result externref)))
  (type $through (func (param externref) (result externref)))
  (table $t (export "t") 8 externref) (table $own 4 externref) (table $functions 4 funcref)
  (elem (table $t) (i32.const 0) externref (global.get $one) (ref.null extern) (global.get $two))
  (elem (table $t) (global.get $base) externref (global.get $one))
  (elem (table $own) (i32.const 1) externref (global.get $one) (ref.null extern))
  (elem (table $functions) (i32.const 0) func $wrap $seen_by_start)
  (elem $passive externref (global.get $one) (ref.null extern) (global.get $two))
  (elem $declared declare externref (global.get $one))
  (elem $active (table $own) (i32.const 2) externref (global.get $two))
  (elem $nulls externref (ref.null extern) (ref.null extern))
  (func $seen_by_start (param externref) (result externref)
    (table.set $t (i32.const 7) (table.get $t (i32.const 0))) (local.get 0))
  (func $start (drop (call $seen_by_start (ref.null extern))))
  (start $start)
  (func (export "own") (param i32) (result externref) (table.get $own (local.get 0)))
  (func (export "passive") (param i32 i32 i32)
    (table.init $t $passive (local.get 0) (local.get 1) (local.get 2)))
  (func (export "declared") (param i32 i32 i32)
    (table.init $t $declared (local.get 0) (local.get 1) (local.get 2)))
  (func (export "active") (param i32 i32 i32)
    (table.init $t $active (local.get 0) (local.get 1) (local.get 2)))
  (func (export "nulls") (param i32 i32 i32)
    (table.init $t $nulls (local.get 0) (local.get 1) (local.get 2)))
  (func (export "drop") (elem.drop $passive))
  (func (export "call") (param i32 externref) (result externref)
    (call_indirect $functions (type $through) (local.get 1) (local.get 0))))"""


def _guest(engine: str, one: object, two: object) -> Guest:
    imports = {"env": {"one": one, "two": two, "base": 5, "wrap": lambda value: [value]}}
    return Guest(wat(SEGMENTS), imports, engine=engine)


def test_segments(engine: str) -> None:
    """Active, passive and declarative ones, of nulls and of imported globals; before the start function."""
    one, two = Thing(1), Thing(2)
    guest = _guest(engine, one, two)
    table = guest.exports.t
    assert [table[i] for i in range(8)] == [one, NULL, two, NULL, NULL, one, NULL, one]
    assert [guest.exports.own(i) for i in range(4)] == [NULL, one, two, NULL]
    guest.exports.passive(3, 1, 2)
    assert (table[3], table[4]) == (NULL, two)
    guest.exports.nulls(0, 0, 2)
    assert table[0] is NULL
    assert guest.exports.call(0, one) == [one] and guest.exports.call(1, two) is two
    guest.exports.drop()
    for dropped in ("passive", "declared", "active"):
        guest.exports[dropped](0, 0, 0)
        with pytest.raises(GuestTrap, match="out of bounds table access"):
            guest.exports[dropped](0, 0, 1)


def test_what_segments_hold_dies_with_the_guest(engine: str) -> None:
    """No sooner, and no later: also what a passive segment still has."""
    one, two = Thing(1), Thing(2)
    gone = weakref.ref(one), weakref.ref(two)
    guest = _guest(engine, one, two)
    del one, two
    gc.collect()
    guest.collect()
    assert guest.exports.own(1) is gone[0]() and guest.exports.own(2) is gone[1]()
    del guest
    gc.collect()
    assert gone[0]() is None and gone[1]() is None


def test_segment_that_does_not_fit(engine: str) -> None:
    """A trap at the start, as of segments of functions."""
    module = """(module (import "env" "one" (global $one externref)) (table 2 externref)
      (elem (i32.const 1) externref (global.get $one) (ref.null extern)))"""
    with pytest.raises(GuestTrap, match="the start function of the module trapped: out of bounds table"):
        Guest(wat(module), {"env": {"one": Thing()}}, engine=engine)


@pytest.mark.parametrize(
    "parts",
    [
        "(table $t 3 externref)",
        "(table $t 3 externref) (elem (table $t) (i32.const 0) externref (ref.null extern) (ref.null extern))",
        "(table $t 0 10 externref) (elem $p externref (ref.null extern)) (global externref (ref.null extern))",
    ],
)
def test_externrefs_that_stay_inside(engine: str, parts: str) -> None:
    """No externref is in the type of an import or export: the module runs all the same."""
    code = """(func (export "f") (param i32) (result i32) (local externref)
        (drop (table.grow $t (local.get 1) (i32.const 2)))
        (table.fill $t (i32.const 0) (ref.null extern) (i32.const 1))
        (i32.add (table.size $t) (ref.is_null (table.get $t (local.get 0)))))"""
    guest = Guest(wat(f"(module {parts} {code})"), engine=engine)
    size = 2 if "0 10" in parts else 5
    assert guest.exports.f(1) == size + 1
    with pytest.raises(GuestTrap, match="out of bounds table access"):
        guest.exports.f(100)


def test_functions_of_others_only(engine: str) -> None:
    """A module without functions of its own puts one with externrefs into a table: its thunk is the first."""
    giver = Guest(
        wat("""(module (import "env" "f" (func $f (param externref) (result externref)))
          (table (export "t") 1 funcref) (elem (i32.const 0) func $f))"""),
        {"env": {"f": lambda value: [value]}},
        engine=engine,
    )
    user = Guest(
        wat("""(module (import "env" "t" (table 1 funcref)) (func (export "call") (param externref)
          (result externref) (call_indirect (param externref) (result externref) (local.get 0) (i32.const 0))))"""),
        {"env": {"t": giver.exports.t}},
    )
    assert user.exports.call("x") == ["x"]


def test_segments_are_lowered() -> None:
    """What an engine without externref gets has no segment of them."""
    module = wat("(module (table 1 externref) (elem (i32.const 0) externref (ref.null extern)))")
    assert needs_lowering(module) and not needs_lowering(lower(module))
