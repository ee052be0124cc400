"""Wrappers, layouts and `collect` on each engine, in the situations that docs/cycles.md has a sentence for."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Generator
from typing import Any

import pytest
from collect_support import Button, Host, left
from support import Thing, wat

from hiwire_py import NULL, ClosedError, Guest, GuestObject, Hiwire, collect, layout
from hiwire_py.collect import Layout

# ---- the guarantee


def test_a_cycle_is_collected(host: Host) -> None:
    """What Python's collector alone cannot free, and reference counts neither."""
    button = Button(host)
    watch = weakref.ref(button)
    assert button.fire(4) == 8
    assert collect() == 0 and button.fire(5) == 10
    del button
    assert watch() is not None
    assert collect() == 1
    assert watch() is None and left(host) == (0, 0, 0)


def test_without_a_cycle_no_collector_is_needed(host: Host, no_gc: None) -> None:
    """A wrapper dies by its count; its struct is freed when a wrapper is used next."""
    one, other = Button(host, abs), Button(host, abs)
    del one
    assert host.live == 2
    assert other.fire(-3) == 3
    assert host.live == 1


def test_cycles_over_several_wrappers_and_guests(engine: str) -> None:
    """A ring through structs of two guests that share a table."""
    table = Hiwire(engine=engine)
    first, second = Host(engine, table), Host(engine, table)
    one, thing = Button(first, first_thing := Thing()), Thing()
    other = Button(second, thing)
    first_thing.name, thing.name = other, one
    del one, other, thing, first_thing
    assert collect() == 2
    assert left(first) == (0, 0, 0) == left(second)


def test_a_global_keeps(host: Host) -> None:
    """A count that is in no struct keeps the object, and so all that it refers to."""
    button = Button(host)
    handle = int.from_bytes(host.guest.memory.read(button.pointer, 4), "little")
    host.table.incref(handle)
    del button
    assert collect() == 0 and host.live == 1
    assert host.table.get(handle)(21) == 42
    host.table.decref(handle)
    assert collect() == 1 and left(host) == (0, 0, 0)


def test_saturated_deduplicated_and_immortal_stay(host: Host) -> None:
    """Handles without a true count, and those that the map of equal objects knows, are left alone."""
    interned, same = Button(host), Button(host)
    host.table.intern(interned.pressed)
    method = interned.pressed
    host.guest.exports.object_attach(interned.pointer, host.table.get(host.table.intern(method)))
    ref = host.table.new_deduplicate(same)
    host.guest.memory.write(same.pointer, ref.to_bytes(4, "little"))
    del method, same, interned
    collect()
    assert host.live == 2


# ---- other holders of references


def test_generators(host: Host) -> None:
    """A suspended generator that holds its wrapper is part of a cycle like any object."""

    def wait(button: list[Button]) -> Generator[int, None, None]:
        yield 1
        print(button)

    ring: list[Button] = []
    generator = wait(ring)
    assert next(generator) == 1
    ring.append(Button(host, generator))
    watch = weakref.ref(generator)
    del ring, generator
    assert collect() == 1 and watch() is None


def test_exceptions(host: Host) -> None:
    """An exception keeps the wrappers of its frames as long as it lives, in a struct too."""

    def fail(argument: int) -> int:
        local = Button(host)
        raise ValueError(local)

    button = Button(host, fail)
    with pytest.raises(ValueError) as caught:
        button.fire(1)
    error = caught.value
    assert collect() == 0 and host.live == 2
    host.guest.exports.object_attach(button.pointer, error)
    del error, button, caught
    assert collect() == 2 and left(host) == (0, 0, 0)


def test_gc_freeze(host: Host) -> None:
    """What is frozen is not collected, and neither is what it refers to; nothing else is kept."""
    frozen = Button(host)
    gc.freeze()
    try:
        Button(host)
        frozen.fire(1)
        del frozen
        assert collect() == 1 and host.live == 1
    finally:
        gc.unfreeze()
    assert collect() == 1


def test_gc_disabled(host: Host, no_gc: None) -> None:
    """collect() works and leaves the collector off; nothing is collected on its own."""
    for _ in range(1500):
        Button(host)
    assert host.live == 1500
    assert collect() == 1500
    assert not gc.isenabled()


def test_a_guest_on_the_stack(host: Host) -> None:
    """Nothing of a guest that runs is collected; it is when it is used next."""
    found = []
    Button(host)

    def inside(argument: int) -> int:
        found.append((collect(), gc.collect() and 0, host.live))
        return 0

    button = Button(host, inside)
    button.fire(1)
    assert found == [(0, 0, 2)]
    Button(host, abs)
    assert host.live <= 2, "the collection that was put off has run"


def test_threads(engine: str) -> None:
    """Each thread collects its own, while the others work and collect theirs."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            host = Host(engine)
            kept = [Button(host) for _ in range(20)]
            for turn in range(20):
                for _ in range(5):
                    Button(host)
                collect()
                if host.live != 20:
                    raise AssertionError(f"turn {turn}: {host.live} structs")
                assert [button.fire(turn) for button in kept] == [2 * turn] * 20
            kept.clear()
            assert collect() == 20
            host.table.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_dropped_in_another_thread(host: Host) -> None:
    """A wrapper may die anywhere; its struct is freed in its own thread."""
    buttons = [Button(host, abs)]
    thread = threading.Thread(target=buttons.clear)
    thread.start()
    thread.join()
    assert host.live == 1
    assert collect() == 1


# ---- when it happens by itself


def test_full_collections_of_python(host: Host) -> None:
    """Plain gc.collect() finds the cycles; structs are freed at the next use."""
    watch = weakref.ref(Button(host))
    gc.collect()
    assert watch() is None
    Button(host, abs)
    assert host.live <= 2
    collect()
    assert left(host) == (0, 0, 0)


def test_many_objects(host: Host) -> None:
    """More than a thousand, and twice what survived last time, lead to a collection: memory stays bounded, where
    20 rounds of 1,000 need more than there is."""
    most = 0
    for _ in range(20):
        buttons = [Button(host) for _ in range(1000)]
        assert buttons[7].fire(1) == 2
        del buttons
        most = max(most, host.live)
    assert most <= 2500


def test_the_guest_is_out_of_memory(host: Host, no_gc: None) -> None:
    """Then unreachable objects are collected and it is asked again, also while Python's collector is off."""
    for _ in range(14_000):
        Button(host, None)
    kept: list[Button] = []
    with pytest.raises(MemoryError, match="no memory for another Button"):
        while True:
            kept.append(Button(host))
    assert 10_000 < host.live == len(kept)


def test_missing_layout_is_a_leak(host: Host) -> None:
    """Without the field in the layout everything works, and cycles stay."""
    host.layout = layout(48)
    Button(host)
    assert collect() == 0 and host.live == 1


# ---- what is refused, and what ends


def test_wrapper_errors(host: Host) -> None:
    """Each names what is wrong."""
    exports = host.guest.exports

    def make(pointer: Any, free: str = "object_free", size: Layout = host.layout) -> GuestObject:
        return GuestObject(host.guest, pointer, layout=size, free=free)

    button = Button(host)
    with pytest.raises(ValueError, match="has a wrapper already"):
        make(button.pointer)
    with pytest.raises(TypeError, match="struct already"):
        button.__init__(host)  # type: ignore[misc]
    for pointer in (3, -4, 1 << 31, 0, host.guest.memory.size - 44):
        with pytest.raises(ValueError, match="no pointer to a struct of 48 bytes"):
            make(pointer)
    with pytest.raises(AttributeError, match="does not export 'gone'"):
        make(exports.object_new, free="gone")
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.copy(button)
    with pytest.raises(ClosedError, match="has no struct"):
        GuestObject.__new__(GuestObject).pointer  # noqa: B018
    assert button.fire(1) == 2


def test_closed_and_dropped(engine: str) -> None:
    """A closed table ends its wrappers; one that is only reachable from its cycles is collected whole."""
    host = Host(engine)
    button = Button(host)
    host.table.close()
    assert collect() == 0
    del button
    assert collect() == 0
    host = Host(engine)
    Button(host)
    watch = weakref.ref(host.guest)
    del host
    gc.collect()
    gc.collect()
    assert watch() is None


def test_a_guest_without_a_table(engine: str) -> None:
    """Wrappers work; there is nothing to look at."""
    guest = Guest(wat('(module (memory (export "memory") 1) (func (export "free") (param i32)))'),
                  engine=engine)  # fmt: skip
    wrapper = GuestObject(guest, 16, layout=layout(8, handles=[4]), free="free")
    assert wrapper.pointer == 16 and collect() == 0
    del wrapper
    assert collect() == 1


def test_a_table_of_the_guest_holds(host: Host) -> None:
    """What a guest's own externref table holds stays, and is collected when it is taken out."""
    guest = Guest(wat("""(module (import "env" "hiwire_get" (func $get (param i32) (result externref)))
        (table $t 4 externref)
        (func (export "keep") (param i32) (table.set $t (i32.const 0) (call $get (local.get 0))))
        (func (export "kept") (result externref) (table.get $t (i32.const 0)))
        (func (export "drop") (table.set $t (i32.const 0) (ref.null extern))))"""), hiwire=host.table)  # fmt: skip
    button = Button(host)
    guest.exports.keep(int.from_bytes(host.guest.memory.read(button.pointer, 4), "little"))
    del button
    assert collect() == 0 and guest.exports.kept()(4) == 8
    guest.exports.drop()
    assert guest.exports.kept() is NULL
    assert collect() == 1
