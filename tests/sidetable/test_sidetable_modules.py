"""Side tables of another make, which the collector sees through or leaves alone."""

from __future__ import annotations

import weakref

import pytest
from sidetable_support import ring
from support import wat

from hiwire_py import collect
from hiwire_py.sidetable import SideTable, WasmObject


def _other_module(handle_at: int, first: str, mark: str, more: str = "") -> bytes:
    """A module with the functions of a side table, whose objects are never reused.

    Args:
        handle_at: where in an object the handle is, -1 before something is attached.
        first: what is written in the first word before that.
        mark: what is in the second one.
        more: goes in before the functions.
    """
    handle = f"(i32.load offset={handle_at} (local.get $p))"
    return wat(f"""(module
      (import "env" "memory" (memory 1))
      (import "rt" "invoke" (func $invoke (param externref)))
      (import "rt" "out_of_memory" (func))
      (table $t 0 externref) {more}
      (global $next (mut i32) (i32.const 16))
      (func (export "make_obj") (result i32) (local $p i32)
        (local.set $p (global.get $next))
        (global.set $next (i32.add (local.get $p) (i32.const 16)))
        (i32.store (local.get $p) {first})
        (i32.store offset=4 (local.get $p) {mark})
        (i32.store offset={handle_at} (local.get $p) (i32.const -1))
        (local.get $p))
      (func (export "free_obj") (param $p i32)
        (if (i32.ne {handle} (i32.const -1))
          (then (table.set $t {handle} (ref.null extern)))))
      (func (export "attach_callback") (param $p i32) (param $c externref)
        (if (i32.eq {handle} (i32.const -1))
          (then
            (i32.store offset={handle_at} (local.get $p)
              (table.grow $t (ref.null extern) (i32.const 1)))))
        (table.set $t {handle} (local.get $c)))
      (func (export "invoke_callback") (param $p i32)
        (call $invoke (table.get $t {handle}))))""")


_MARK = "(i32.xor (local.get $p) (i32.const 0xA9D3517E))"
_NUMBER = "(i32.sub (i32.div_u (local.get $p) (i32.const 16)) (i32.const {}))"
_COPIES = {
    "a slot": """(func (export "copy") (param $p i32)
      (drop (table.grow $t (table.get $t (i32.load (local.get $p))) (i32.const 1))))""",
    "a global": """(global $g (mut externref) (ref.null extern)) (func (export "copy") (param $p i32)
      (global.set $g (table.get $t (i32.load (local.get $p)))))""",
}


@pytest.mark.parametrize("place", _COPIES)
def test_a_module_of_another_make(engine: str, place: str) -> None:
    """If its objects look the same it is collected like the three; what it has copied to a slot or global of
    which no wrapper knows is kept."""
    table = SideTable(_other_module(0, "(i32.const -1)", _MARK, _COPIES[place]), engine=engine)
    watches = []
    for copied in (False, True):
        made, node = ring(table)
        watches.append(weakref.ref(node))
        if copied:
            table._guest.exports.copy(made.pointer)
    del made, node
    collect()
    assert [watch() is None for watch in watches] == [True, False]
    table.close()


@pytest.mark.parametrize(
    ("first", "mark", "more"),
    [
        # The first word is the slot of the object that was made before.
        pytest.param(_NUMBER.format(2), "(i32.const 0)", "", id="other objects"),
        pytest.param("(i32.const -1)", _MARK, '(table (export "u") 1 externref)', id="two tables"),
    ],
)
def test_modules_that_cannot_be_seen(engine: str, first: str, mark: str, more: str) -> None:
    """A module whose objects look different, or which has another table of externrefs, is left alone: its
    cycles stay, and nothing is lost."""
    at = 0 if mark is _MARK else 8
    table = SideTable(_other_module(at, first, mark, more), engine=engine)
    kept, node = ring(table)
    other = WasmObject(table)
    other.attach_callback(node)
    cycle: list[object] = [other]
    cycle.append(cycle)
    watch = weakref.ref(ring(table)[1])
    del other, cycle, node
    assert collect() == 1 and len(table) == 2
    assert watch() is not None
    kept.invoke_callback()
    table.close()
