"""Guests that lie to the collector: whatever is in their memories, and in their table's, a collection ends
and raises nothing but what freeing a struct raised.

HIWIRE_LIES_CASES says how many games are played on each engine, HIWIRE_LIES_SEED where their seeds start; a
failure names its seed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import struct
import sys
import weakref
from typing import Any

import pytest
from support import wat

from hiwire_py import Guest, GuestObject, GuestTrap, Hiwire, HiwireError, collect, layout
from hiwire_py.collect import Layout
from hiwire_py.memory import GuestMemory

CASES = int(os.environ.get("HIWIRE_LIES_CASES", "6"))
SEED = int(os.environ.get("HIWIRE_LIES_SEED", "0"))
PAGE = 65536

_GUEST = """(module
  (import "env" "hiwire_decref" (func $decref (param i32)))
  (import "env" "meanwhile" (func $meanwhile))
  (memory (export "memory") 1 8)
  (func (export "free") (param i32) (call $decref (i32.load (local.get 0))))
  (func (export "more") (param i32)
    (call $meanwhile) (drop (memory.grow (i32.const 1))) (call $decref (i32.load offset=4 (local.get 0)))))"""

RING: Layout = layout(12, handles=[0], owns={4: lambda: RING, 8: lambda: RING})
WIDE = layout(4 * 64, handles=range(0, 4 * 64, 4))
HUGE = layout(PAGE + 4, handles=[0, PAGE], owns={4: layout(1 << 32, handles=[(1 << 32) - 4])})
LAYOUTS = (layout(4, handles=[0]), layout(12, handles=[0, 4], owns={8: RING}), RING, WIDE, HUGE)


class Thing:
    """Keeps others, and plays on when it dies, in the midst of a collection."""

    def __init__(self, game: Game) -> None:
        self.game, self.kept = game, [game.any_wrapper()]

    def __del__(self) -> None:
        self.game.meanwhile()


class Wrapper(GuestObject):
    kept: Any = None


class Game:
    """One table, one or two guests, and a dealer of wrong numbers."""

    def __init__(self, engine: str, seed: int) -> None:
        self.r = random.Random(seed)
        variant = self.r.choice(("static_pages", "extern_realloc"))
        self.table = Hiwire(variant, engine=engine, memory_limit=2 << 20)
        self.instance = self.table.exports["hiwire_get"].__keep__.owner  # type: ignore[attr-defined]
        memory = GuestMemory(self.instance.extern("memory"))
        state = self.instance.function("_hiwire_state")()
        self.slots = memory, state
        imports = {"env": {"meanwhile": self.meanwhile}}
        self.guests = [Guest(wat(_GUEST), imports, hiwire=self.table) for _ in range(self.r.choice((1, 2)))]
        self.wrappers: list[Wrapper] = []
        self.handles = [0, 1, 2]
        self.watches: list[weakref.ref[Thing]] = []
        self.depth = 0

    def any_wrapper(self) -> Wrapper | None:
        return self.r.choice(self.wrappers) if self.wrappers else None

    def number(self) -> int:
        """A handle, one that is nearly right, a pointer, or anything."""
        r = self.r
        return r.choice(
            (
                r.choice(self.handles),
                r.choice(self.handles),
                r.choice(self.handles) ^ 1 << r.randrange(32),
                r.randrange(0, PAGE, 4),
                PAGE - 4 * r.randrange(4),
                r.getrandbits(32),
                r.randrange(8),
                0xFFFFFFFF,
            )
        )

    def scribble(self, memory: GuestMemory, at: int, count: int) -> None:
        words = [self.number() for _ in range(count)]
        at = max(0, min(at, memory.size - 4 * count))
        memory.write(at, struct.pack(f"<{count}I", *words))

    def step(self) -> None:
        r = self.r
        guest = r.choice(self.guests)
        kind = r.randrange(12)
        if kind <= 2:
            made = Wrapper(
                guest, r.randrange(0, 400, 4), layout=r.choice(LAYOUTS), free=r.choice(("free", "more"))
            )
            made.kept = [self.any_wrapper()]
            self.wrappers.append(made)
        elif kind == 3 and self.wrappers:
            del self.wrappers[r.randrange(len(self.wrappers))]
        elif kind <= 5:
            thing = Thing(self)
            self.watches.append(weakref.ref(thing))
            self.handles.append(self.table.new(thing))
        elif kind == 6:
            self.table.incref(r.choice(self.handles))
        elif kind == 7:
            self.scribble(guest.memory, r.randrange(0, 800, 4), r.randrange(1, 40))
        elif kind == 8:
            guest.memory.grow(1)
        elif kind == 9:
            self.lie_about_slots()
        elif kind == 10:
            for _ in range(r.choice((1, 1, 1, 1, 1100))):
                self.table.new(None)
        else:
            gc.collect() if r.random() < 0.5 else collect()

    def lie_about_slots(self) -> None:
        """For one collection: table functions would take a wrong number of slots for a reason to grow."""
        memory, state = self.slots
        before = memory.read(state, 8)
        at, count = struct.unpack("<2I", before)
        where = self.r.choice((state, state + 4, at, at + 4 * self.r.randrange(count + 1)))
        self.scribble(memory, where, 1 if where == state + 4 else self.r.choice((1, 2, 300)))
        try:
            gc.collect() if self.r.random() < 0.5 else collect()
        finally:
            memory.write(state, before)

    def steps(self, count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(HiwireError, ValueError, MemoryError):  # said to whoever did it
                self.step()

    def meanwhile(self) -> None:
        """Someone goes on playing while structs are freed, or cycles are taken apart."""
        if self.depth < 2:
            self.depth += 1
            self.steps(2)
            self.depth -= 1


def play(engine: str, seed: int) -> None:
    game = Game(engine, seed)
    try:
        game.steps(60)
        game.wrappers.clear()
        game.steps(5)
    finally:
        game.table.close()


@pytest.mark.filterwarnings("ignore:.*does not describe the guest's memory:RuntimeWarning")
def test_lies(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but exceptions of this package, and those only from what frees structs."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: unraisable.append((it.exc_type, str(it.exc_value))))
    for seed in range(SEED, SEED + CASES):
        play(engine, seed)
        gc.collect()
        wrong = [one for one in unraisable if not issubclass(one[0], HiwireError)]
        assert not wrong, f"seed {seed}: {wrong}"
        unraisable.clear()


TABLE = """(module
  (memory (export "memory") 1) (table $objects 16 externref) (table $others 16 externref)
  (global $count (mut i32) (i32.const 0))
  (func $new (export "hiwire_new") (param externref) (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (table.set $objects (global.get $count) (local.get 0))
    (i32.or (i32.shl (global.get $count) (i32.const 1)) (i32.const 1)))
  (func (export "hiwire_intern") (param externref) (result i32) (call $new (local.get 0)))
  (func (export "hiwire_get") (param i32) (result externref)
    (table.get $objects (i32.and (i32.shr_u (local.get 0) (i32.const 1)) (i32.const 15))))
  (func (export "hiwire_incref") (param i32)) (func (export "hiwire_decref") (param i32))
  (func (export "hiwire_pop") (param i32) (result externref) (table.get $objects (i32.const 1)))
  (func (export "hiwire_num_refs") (result i32) (i32.const -1))
  (func (export "hiwire_refcount") (param i32) (result i32) (i32.const 1))
  (func (export "hiwire_is_valid") (param i32) (result i32) (i32.const 1))
  (func (export "hiwire_capacity") (result i32) (i32.const -1))
  (func (export "hiwire_next") (param i32) (result i32) (i32.const 3))
  {state})"""
LIAR = """(global $at (mut i32) (i32.const 0))
  (func (export "hiwire_lie") (param i32) (global.set $at (local.get 0)))
  (func (export "_hiwire_state") (result i32)
    (if (i32.eq (global.get $at) (i32.const 99)) (then (unreachable))) (global.get $at))"""
OCCUPIED = struct.pack("<4I", *(1 | 1 << 2,) * 4)
# What the function returns, and what is in the memory at which addresses.
STATES: dict[str, tuple[int, dict[int, bytes]]] = {
    "beyond the memory": (65532, {}),
    "unaligned": (7, {}),
    "negative": (-8, {}),
    "slots beyond the memory": (8, {8: struct.pack("<2I", 65532, 2)}),
    "unaligned slots": (8, {8: struct.pack("<2I", 17, 16), 17: OCCUPIED}),
    "too many slots": (8, {8: struct.pack("<2I", 0, 0xFFFFFFFF)}),
    "more slots than objects": (8, {8: struct.pack("<2I", 16, 0x2000), 20: OCCUPIED, 0x120: OCCUPIED}),
}
NO_STATES = {
    "another type": '(func (export "_hiwire_state") (param i32) (result i32) (i32.const 8))',
    "no function": '(global (export "_hiwire_state") i32 (i32.const 8))',
}


def _struct_of_handles(table: Hiwire) -> GuestObject:
    guest = Guest(wat(_GUEST), {"env": {"meanwhile": list}}, hiwire=table)
    guest.memory.write(64, struct.pack("<40I", *(2 * i + 1 for i in range(40))))
    return GuestObject(guest, 64, layout=WIDE, free="free")


@pytest.mark.filterwarnings("ignore:cycles through:RuntimeWarning")
@pytest.mark.parametrize("lie", STATES)
def test_tables_that_lie(engine: str, lie: str) -> None:
    """A table may say anything of its slots: nothing outside of its memory is read, and at worst its own
    objects are taken for collected."""
    table = Hiwire(wat(TABLE.format(state=LIAR)), engine=engine)
    at, words = STATES[lie]
    instance = table.exports["hiwire_get"].__keep__.owner  # type: ignore[attr-defined]
    memory = GuestMemory(instance.extern("memory"))
    for address, data in words.items():
        memory.write(address, data)
    table.exports["hiwire_lie"](at)
    wrapper = _struct_of_handles(table)
    for _ in range(4):
        table.new([wrapper])
    assert collect() == 0
    assert wrapper.pointer == 64
    del wrapper
    collect()
    gc.collect()
    table.close()


def test_a_table_that_traps_when_asked(engine: str) -> None:
    """Who makes the first wrapper is told."""
    table = Hiwire(wat(TABLE.format(state=LIAR)), engine=engine)
    table.exports["hiwire_lie"](99)
    with pytest.raises(GuestTrap, match="_hiwire_state"):
        _struct_of_handles(table)


@pytest.mark.parametrize("state", NO_STATES)
def test_something_else_of_that_name(state: str) -> None:
    """It is not called."""
    table = Hiwire(wat(TABLE.format(state=NO_STATES[state])), engine="wasmtime")
    with pytest.warns(RuntimeWarning, match="are not collected"):
        assert _struct_of_handles(table).pointer == 64
