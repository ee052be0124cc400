"""Run by test_function_references.py in a process of its own: calls of imported functions by their address.

    python function_references.py ENGINE

For each way in which an imported function's address can be taken, once with a host function and once with
another guest's export, all the addresses are called.
"""

from __future__ import annotations

import contextlib
import sys

from support import wat

from hiwire_py import Guest, GuestTrap

# Slots: 0, 1 active; 2, 3 active with an offset from a global; 4, 5 passive; 6 ref.func in code; 7 from a global;
# 8 an imported function that is exported again, whose export another guest put there; 9 null.
_TAKER = """(module
  (import "env" "base" (global $base i32))
  (import "env" "unused" (func $unused (param i64)))
  (import "env" "f" (func $f (param i32) (result i32)))
  (import "env" "g" (func $g (param i32 i32) (result i32)))
  (type $one (func (param i32) (result i32))) (type $two (func (param i32 i32) (result i32)))
  (table $t (export "table") 12 funcref)
  (func $own (param i32) (result i32) (i32.add (local.get 0) (i32.const 1000)))
  (global $held funcref (ref.func $f))
  (elem (table $t) (i32.const 0) func $f $g)
  (elem (table $t) (global.get $base) funcref (ref.func $f) (ref.func $own))
  (elem $passive funcref (ref.func $own) (ref.func $f) (ref.null func))
  (elem $again func $g $f)
  (elem declare func $f $g)
  (func (export "fill")
    (table.init $t $passive (i32.const 4) (i32.const 0) (i32.const 2))
    (elem.drop $passive)
    (table.init $t $again (i32.const 10) (i32.const 0) (i32.const 2))
    (table.set $t (i32.const 6) (ref.func $f))
    (table.set $t (i32.const 7) (global.get $held)))
  (func (export "call") (param i32 i32) (result i32)
    (call_indirect $t (type $one) (local.get 1) (local.get 0)))
  (func (export "call_two") (param i32 i32) (result i32)
    (call_indirect $t (type $two) (local.get 1) (i32.const 1) (local.get 0)))
  (func (export "is_null") (param i32) (result i32) (ref.is_null (table.get $t (local.get 0))))
  (export "f_again" (func $f)))"""

# Puts what it imports into a table of another guest, at the start.
_GIVER = """(module
  (import "env" "table" (table $t 12 funcref))
  (import "env" "f_again" (func $f (param i32) (result i32)))
  (elem (table $t) (i32.const 8) func $f)
  (func (export "nothing")))"""

_OTHER = """(module (global $calls (mut i32) (i32.const 0))
  (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 100)))
  (func (export "g") (param i32 i32) (result i32) (i32.mul (local.get 0) (i32.add (local.get 1) (i32.const 1)))))"""


def check(engine: str, f: object, g: object) -> None:
    """Every slot gives what its function does."""
    guest = Guest(wat(_TAKER), {"env": {"base": 2, "unused": lambda x: None, "f": f, "g": g}}, engine=engine)
    exports = guest.exports
    exports.fill()
    giver = Guest(wat(_GIVER), {"env": {"table": exports.table, "f_again": exports.f_again}})
    for slot in (0, 2, 5, 6, 7, 8, 11):
        assert exports.call(slot, 5) == 105, slot
    for slot in (3, 4):
        assert exports.call(slot, 5) == 1005, slot
    for slot in (1, 10):
        assert exports.call_two(slot, 7) == 14, slot
        try:
            exports.call(slot, 5)
        except GuestTrap as error:
            assert error.kind == "indirect call type mismatch", error.kind
        else:
            raise AssertionError("a function of another type was called")
    assert exports.is_null(9) == 1 and exports.is_null(8) == 0
    assert exports.f_again(5) == 105
    del giver


def main(engine: str) -> None:
    check(engine, lambda x: x + 100, lambda x, y: x * (y + 1))
    other = Guest(wat(_OTHER), engine=engine)
    check(engine, other.exports.f, other.exports.g)
    # The imports' object is called with what it was made with, not with another import's number.
    seen: list[int] = []
    guest = Guest(
        wat(_TAKER),
        {"env": {"base": 2, "unused": seen.append, "f": seen.append, "g": lambda x, y: 0}},
        engine=engine,
    )
    with contextlib.suppress(TypeError):  # append gives None, which is no i32
        guest.exports.call(0, 77)
    assert seen == [77]


if __name__ == "__main__":
    main(sys.argv[1])
