"""Lifetimes inside one long call: what a guest drops is released meanwhile, and what it holds is not.

Each guest here holds an object in one particular way while host functions run, with lowered spaces out of
patience: every host function releases whatever seems to be unused.
"""

from __future__ import annotations

import pytest
from support import Counted, Thing, frame_bytes, wat

from hiwire_py import NULL, Guest, GuestTrap
from hiwire_py.objects.runtime import Runtime
from hiwire_py.passes import lower
from hiwire_py.sources import VARIANTS, shipped
from hiwire_py.wasm.module import Module

HEAD = """(module
  (import "env" "make" (func $make (result externref)))
  (import "env" "see" (func $see (param externref)))
  (import "env" "two" (func $two (result externref externref)))
  (table $t 2 externref) (global $g (mut externref) (ref.null extern))
  (func $later (param externref) (drop (call $make)) (call $see (local.get 0)))
"""

# Name -> functions; `go` is called with 3, and must show the object made first, and no other unless said.
HOLDS = {
    "as an argument only": """(func (export "go") (param i32) (local $x externref)
        (local.set $x (call $make)) (call $later (local.get $x)))""",
    "in a local over a call": """(func (export "go") (param i32) (local $x externref)
        (local.set $x (call $make)) (drop (call $make)) (table.set $t (i32.const 0) (local.get $x))
        (call $see (table.get $t (i32.const 0))))""",
    "as an operand under a call": """(func (export "go") (param i32)
        (call $make) (drop (call $make)) (call $see))""",
    "as an older value of a local": """(func (export "go") (param i32) (local $x externref)
        (local.set $x (call $make)) (local.get $x) (local.set $x (call $make)) (drop (call $make)) (call $see))""",
    "from one turn of a loop to a later one": """(func (export "go") (param i32) (local $x externref) (local $seen i32)
        (loop $more
          (if (i32.eqz (local.get $seen)) (then (local.set $x (call $make)) (local.set $seen (i32.const 1)))
            (else (if (i32.eqz (local.get 0)) (then (global.set $g (local.get $x)) (call $see (global.get $g)) (return)))))
          (drop (call $make))
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (br $more)))""",
    "as a loop's parameter": """(func (export "go") (param i32)
        (call $make)
        (loop $more (param externref) (result externref)
          (drop (call $make))
          (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (drop (call $make)) (call $see))""",
    "through an if without else": """(func (export "go") (param i32)
        (call $make)
        (if (param externref) (result externref) (i32.eq (local.get 0) (i32.const 99))
          (then (drop) (ref.null extern)))
        (drop (call $make)) (call $see))""",
    "as the first of two results": """(func (export "go") (param i32)
        (call $two) (drop) (drop (call $make)) (call $see))""",
    "out of a table that forgets it": """(func (export "go") (param i32)
        (table.set $t (i32.const 0) (call $make)) (table.get $t (i32.const 0))
        (table.set $t (i32.const 0) (ref.null extern)) (drop (call $make)) (call $see))""",
    "out of a global that forgets it": """(func (export "go") (param i32)
        (global.set $g (call $make)) (global.get $g) (global.set $g (ref.null extern)) (drop (call $make)) (call $see))""",
    "out of a select and a block": """(func (export "go") (param i32)
        (block (result externref) (select (result externref) (call $make) (ref.null extern) (local.get 0))
          (br_if 0 (local.get 0)) (drop) (ref.null extern))
        (drop (call $make)) (call $see))""",
    "in a parameter set anew": """(func $inner (param externref i32)
        (local.set 0 (call $make)) (drop (call $make)) (call $see (local.get 0)))
        (func (export "go") (param i32) (call $inner (ref.null extern) (local.get 0)))""",
    "over returns and branches out": """(func $early (param i32) (result externref) (local $x externref)
        (local.set $x (call $make))
        (if (local.get 0) (then (drop (call $make)) (return (local.get $x))))
        (br 0 (ref.null extern)))
        (func (export "go") (param i32) (call $early (local.get 0)) (drop (call $early (i32.const 0))) (call $see))""",
    "with several results of its own": """(func $pair (param i32) (result externref i32) (local $x externref)
        (local.set $x (call $make)) (drop (call $make)) (local.get $x) (i32.const 5))
        (func (export "go") (param i32) (call $pair (local.get 0)) (drop) (drop (call $make)) (call $see))""",
}


@pytest.mark.parametrize("how", HOLDS)
def test_held_in_a_frame(engine: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object is there when the guest shows it, however long ago it got it."""
    monkeypatch.setattr(Runtime, "patience", 0)
    made: list[int] = []
    seen: list[Thing] = []

    def make() -> Thing:
        made.append(len(made))
        return Thing(made[-1])

    guest = Guest(
        wat(HEAD + HOLDS[how] + ")"),
        {"env": {"make": make, "see": seen.append, "two": lambda: (make(), Thing("second"))}},
        engine=engine,
    )
    guest.exports.go(3)
    assert [thing.name for thing in seen] == [0] and len(made) > 1


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("dropped", "(drop (call $make))"),
        ("in a local", "(local.set $x (call $make))"),
        ("shown", "(local.set $x (call $make)) (call $see (local.get $x))"),
        ("stored and overwritten", "(table.set $t (i32.const 0) (call $make))"),
        (
            "stored, taken out and shown",
            """(table.set $t (i32.const 0) (call $make)) (local.set $x (table.get $t (i32.const 0)))
          (table.set $t (i32.const 0) (ref.null extern)) (call $see (local.get $x))""",
        ),
        ("passed on", "(call $later (call $make))"),
    ],
)
def test_a_long_call_does_not_pile_up(engine: str, name: str, body: str) -> None:
    """However many objects pass through one call, no more than 4,096 that it did not store are alive at any
    time."""

    class Made(Counted):
        pass

    count = 1_000_000 if engine == "wasmer" and name == "dropped" else 20_000
    guest = Guest(
        wat(
            HEAD
            + f"""(func (export "go") (param i32) (local $x externref)
          (loop $more {body} (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
          (func (export "clear") (table.set $t (i32.const 0) (ref.null extern))))"""
        ),
        {"env": {"make": Made, "see": lambda thing: None, "two": lambda: (NULL, NULL)}},
        engine=engine,
    )
    guest.exports.go(count)
    guest.exports.clear()
    assert Made.alive == 0 and 1 < Made.peak <= 4096


def test_frames_end_with_a_trap(engine: str) -> None:
    """A trap leaves no frames behind: what they held is released, and deep recursion is a trap of its own."""
    guest = Guest(
        wat(
            HEAD
            + """(func $deep (export "deep") (param i32) (local $x externref)
          (local.set $x (call $make)) (call $deep (i32.add (local.get 0) (i32.const 1))) (call $see (local.get $x)))
          (func (export "trap") (local $x externref) (local.set $x (call $make)) (call $later (local.get $x)) unreachable))"""
        ),
        {"env": {"make": Thing, "see": lambda thing: None, "two": lambda: (NULL, NULL)}},
        engine=engine,
    )
    space = guest._instance.space
    for _ in range(3):
        with pytest.raises(GuestTrap, match="unreachable"):
            guest.exports.trap()
        with pytest.raises(GuestTrap, match="call stack exhausted"):
            guest.exports.deep(0)
        guest.collect()
        assert len(space.objects) == 0 and frame_bytes(space) == 0


def test_functions_that_need_no_frame() -> None:
    """Of hiwire's own functions, those that use an object up before they call anything keep no frame."""
    for variant in VARIANTS:
        low = lower(shipped(variant))
        module = Module.parse(low)
        enter = [i.name for i in module.imports if i.kind == 0].index("enter")
        code = next(low[s.start : s.end] for s in module.sections if s.kind == 10)
        # i32.const SIZE, call enter, local.set: the first instructions of a function that keeps a frame
        frames = sum(code.count(bytes((0x41, 4 * words, 0x10, enter, 0x21))) for words in range(1, 8))
        own = len(module.functions) - module.count_imports(0)
        assert frames <= own // 4
