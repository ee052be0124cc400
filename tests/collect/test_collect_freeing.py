"""How the structs of dead wrappers are freed: what the guest sees, and what happens when it fails."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from collect_support import Button, Host, left
from support import wat

from hiwire_py import (
    DeadlineError,
    FuelError,
    Guest,
    GuestObject,
    GuestTrap,
    StaleRefError,
    collect,
    layout,
)


def test_freeing_meets_no_collected_object(host: Host) -> None:
    """A free that passes on what the handles in its struct named is told that they are stale; what it does
    not give back then stays counted, without an object."""
    seen: list[Any] = []
    nosy = Guest(
        wat("""(module (import "env" "use" (func $use (param externref)))
        (import "env" "hiwire_get" (func $get (param i32) (result externref)))
        (import "env" "hiwire_decref" (func $decref (param i32)))
        (memory (export "memory") 1)
        (func (export "free") (param i32)
          (call $use (call $get (i32.load (local.get 0)))) (call $decref (i32.load (local.get 0)))))"""),
        {"env": {"use": seen.append}},
        hiwire=host.table,
    )

    class Nosy(GuestObject):
        def __init__(self) -> None:
            super().__init__(nosy, 64, layout=layout(4, handles=[0]), free="free")
            nosy.memory.write(64, host.table.new(self).to_bytes(4, "little"))

    Nosy()
    with pytest.raises(StaleRefError, match=r"env\.use.* was given an object that was collected"):
        collect()
    assert not seen and left(host) == (0, 1, 0)
    (handle,) = host.table
    with pytest.raises(StaleRefError, match="was collected"):
        host.table.get(handle)
    host.table.decref(handle)
    assert left(host) == (0, 0, 0) and not host.table.space.tombstones


def test_errors_of_free(host: Host) -> None:
    """What the guest raises while it frees comes out of collect(), and the others are freed."""
    guest = Guest(wat('(module (memory (export "memory") 1) (func (export "free") (param i32) unreachable))'),
                  hiwire=host.table)  # fmt: skip
    Button(host)
    bad = GuestObject(guest, 64, layout=layout(4), free="free")
    del bad
    with pytest.raises(GuestTrap, match="unreachable"):
        collect()
    assert host.live == 0
    assert collect() == 0


# Structs at multiples of 16; what freeing does is at the struct's beginning.
MOODY = """(module (import "env" "free" (func $host (param i32)))
  (memory (export "memory") 1)
  (global $freed (export "freed") (mut i32) (i32.const 0))
  (func (export "free") (param i32)
    (global.set $freed (i32.add (global.get $freed) (i32.const 1)))
    (if (i32.eq (i32.load (local.get 0)) (i32.const 1)) (then (unreachable)))
    (if (i32.eq (i32.load (local.get 0)) (i32.const 2)) (then (loop (br 0))))
    (if (i32.eq (i32.load (local.get 0)) (i32.const 3)) (then (call $host (local.get 0)))))
  (func (export "wrong") (param i64))
  (func (export "more") (param i32) (result i32 f64) (local.get 0) (f64.const 1))
  (func (export "reference") (param i32) (result externref) (ref.null extern)))"""


def moody(guest: Guest, moods: list[int]) -> list[GuestObject]:
    """Wrappers of structs, each with what is to happen when it is freed."""
    wrappers = []
    for i, mood in enumerate(moods, 1):
        guest.memory.write(16 * i, bytes([mood]))
        wrappers.append(GuestObject(guest, 16 * i, layout=layout(16), free="free"))
    return wrappers


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """What collect() says it freed is of this test alone."""
    collect()


def drop(wrappers: list[GuestObject]) -> None:
    """They die in the order in which they were made."""
    while wrappers:
        del wrappers[0]


def test_every_error_is_its_own(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each struct is freed once, whatever the others do; without collect() errors go the way of those of
    finalizers."""

    def host(pointer: int) -> None:
        raise LookupError(f"no {pointer}")

    guest = Guest(wat(MOODY), {"env": {"free": host}}, engine=engine)
    drop(moody(guest, [0, 1, 0, 3, 1, 0]))
    with pytest.raises(GuestTrap, match=r"free\(\) trapped: unreachable"):
        collect()
    assert guest.exports.freed.value == 6 and collect() == 0
    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: said.append(str(found.exc_value)))
    drop(moody(guest, [3, 0, 1]))
    last = GuestObject(guest, 0x100, layout=layout(16), free="free")
    assert said == ["no 16", "free() trapped: unreachable"]
    assert guest.exports.freed.value == 9 and last.pointer == 0x100


def test_an_interrupt_while_freeing(engine: str) -> None:
    """Ctrl-C goes up at once, and the structs that were not freed yet are freed the next time."""

    def host(pointer: int) -> None:
        raise KeyboardInterrupt

    guest = Guest(wat(MOODY), {"env": {"free": host}}, engine=engine)
    drop(moody(guest, [0, 3, 0, 0]))
    with pytest.raises(KeyboardInterrupt):
        collect()
    assert guest.exports.freed.value == 2
    assert collect() == 2 and guest.exports.freed.value == 4


def test_closed_while_freeing(engine: str) -> None:
    """A host function closes the guest: no other struct of it is touched."""
    closing: list[Guest] = []
    guest = Guest(wat(MOODY), {"env": {"free": lambda _: closing.pop().close()}}, engine=engine)
    closing.append(guest)
    drop(moody(guest, [0, 3, 0, 0]))
    assert collect() == 2 and not closing and collect() == 0


def test_a_host_function_that_makes_a_wrapper(engine: str) -> None:
    """The struct that is being freed may be used again at once, the others that wait may not."""
    made: list[GuestObject] = []

    def host(pointer: int) -> None:
        guest.memory.write(pointer, bytes([0]))
        made.append(GuestObject(guest, pointer, layout=layout(16), free="free"))
        with pytest.raises(ValueError, match="has a wrapper already"):
            GuestObject(guest, pointer + 16, layout=layout(16), free="free")

    guest = Guest(wat(MOODY), {"env": {"free": host}}, engine=engine)
    drop(moody(guest, [3, 0]))
    assert collect() == 2 and [wrapper.pointer for wrapper in made] == [16]
    made.clear()
    assert collect() == 1 and guest.exports.freed.value == 3


@pytest.mark.parametrize(("limit", "error"), [("deadline", DeadlineError), ("fuel", FuelError)])
def test_freeing_is_limited(limit: str, error: type[Exception]) -> None:
    """A guest that never returns from freeing is stopped like any other; each struct has its own limit."""
    limits: dict[str, Any] = {limit: 0.2 if limit == "deadline" else 300}
    guest = Guest(wat(MOODY), {"env": {"free": abs}}, engine="wasmtime", **limits)
    moody(guest, [0] * 50 + [2] + [0] * 50).clear()
    with pytest.raises(error):
        collect()
    assert guest.exports.freed.value == 101


def test_what_frees_must_take_a_pointer(host: Host) -> None:
    """Said when the wrapper is made, not when it dies. Numbers that it returns are ignored."""
    guest = Guest(wat(MOODY), {"env": {"free": abs}}, hiwire=host.table)
    refused = {"wrong": r" and .*, not \(i64\) -> \(\)", "reference": ".*-> \\(externref\\)", "memory": "$"}
    for name, said in refused.items():
        with pytest.raises(TypeError, match=f"{name} must be a function that takes a pointer{said}"):
            GuestObject(guest, 16, layout=layout(16), free=name)
    assert collect() == 0
    GuestObject(guest, 16, layout=layout(16), free="more")
    assert collect() == 1


def test_a_pointer_in_the_upper_half(engine: str) -> None:
    """Pointers are unsigned: one above two gigabytes is freed as well."""
    try:
        guest = Guest(
            wat("""(module (memory (export "memory") 40000)
            (global $last (export "last") (mut i32) (i32.const 0))
            (func (export "free") (param i32) (global.set $last (local.get 0))))"""),
            engine=engine,
        )
    except MemoryError:
        pytest.skip("this machine has no address space for a guest of 2.5 GB")
    GuestObject(guest, 0x9000_0000, layout=layout(16), free="free")
    assert collect() == 1 and guest.exports.last.value & 0xFFFFFFFF == 0x9000_0000
