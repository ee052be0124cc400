"""The modules of the side table by themselves: forged addresses, hooks that return or call back, and one
trace for all."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from sidetable_support import FORMS, PAGE, Raw, form_module, limit_table
from support import Thing

from hiwire_py import NULL, GuestTrap

SEED = int(os.environ.get("HIWIRE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


@pytest.fixture
def raw(form: str, engine: str) -> Raw:
    """A module of that form, with host functions that only take notes."""
    return Raw(form_module(form), engine)


def fill(make: Callable[[], int]) -> list[int]:
    """What ``make`` gives until it gives 0."""
    return list(iter(make, 0))


def refuses(raw: Raw, pointer: int) -> None:
    """Every function traps on this address, and nothing has changed."""
    before = raw.image()
    for use in (raw.free, raw.invoke, lambda p: raw.attach(p, Thing())):
        with pytest.raises(GuestTrap):
            use(pointer)
    assert raw.image() == before
    assert raw.invoked == []


def test_addresses_of_no_object_are_refused(raw: Raw) -> None:
    """Freed, forged, misaligned, null, out of the memory, and each place in the memory that is no object: a
    trap, and not a byte has changed."""
    objects = [raw.make() for _ in range(40)]
    for pointer in objects[:30]:
        raw.attach(pointer, Thing(pointer))
    freed = [objects[i] for i in (3, 4, 5, 29, 35)]
    for pointer in freed:
        raw.free(pointer)
    live = [pointer for pointer in objects if pointer not in freed]
    used = max(objects) + 64
    hostile = {
        0,
        1,
        8,
        -1,
        -16,
        -8,
        -(1 << 31),
        (1 << 31) - 1,
        (1 << 31) - 16,
        PAGE,
        PAGE - 1,
        PAGE - 8,
        *freed,
    }
    hostile |= {pointer + offset for pointer in live[:3] for offset in (-8, -4, -1, 1, 4, 8)}
    hostile |= set(range(0, used, 16)) - set(live)
    for pointer in sorted(hostile):
        refuses(raw, pointer)
    for pointer in live:
        held = raw.held(pointer)
        assert held is NULL if pointer in objects[30:] else held.name == pointer


@pytest.mark.parametrize("seed", [1, 2, 3, SEED], ids=["1", "2", "3", "seed"])
def test_memory_has_only_objects_where_objects_are(raw: Raw, seed: int) -> None:
    """The promise behind that check: after any use of the table, exactly the words that mark objects look
    like marks. (Compilers like to leave out the store that takes the mark away.)"""
    print(f"seed {seed}: HIWIRE_SEED={seed} repeats this")
    generator = random.Random(seed)
    live: list[int] = []
    for _ in range(2000):
        if live and generator.random() < 0.45:
            raw.free(live.pop(generator.randrange(len(live))))
        else:
            live.append(raw.make())
            if generator.random() < 0.6:
                raw.attach(live[-1], None)
    words = memoryview(raw.image()).cast("I")
    mark = words[live[0] // 4 + 1] ^ live[0]
    assert {i * 4 - 4 for i, word in enumerate(words) if word ^ mark == i * 4 - 4} == set(live)


def test_the_mark_goes_with_the_object(raw: Raw) -> None:
    """Also where nothing overwrites it: freed memory that is joined to the free memory before it keeps its
    bytes."""
    before, pointer, _ = raw.make(), raw.make(), raw.make()
    raw.free(before)
    raw.free(pointer)
    refuses(raw, pointer)
    assert (raw.make(), raw.make()) == (before, pointer)


def test_a_mark_at_a_place_where_no_object_can_be_is_no_mark(raw: Raw) -> None:
    """Objects start at multiples of 16; elsewhere the bytes of two words could look like a mark by
    accident."""
    pointer = raw.make()
    mark = int.from_bytes(raw.memory.read(pointer + 4, 4), "little") ^ pointer
    for offset in (1, 2, 4, 8, 12, 15):
        wrong = pointer + 1024 + offset
        raw.memory.write(wrong, b"\xff\xff\xff\xff" + (wrong ^ mark).to_bytes(4, "little"))
        refuses(raw, wrong)


def test_when_out_of_memory_returns(raw: Raw) -> None:
    """make_obj gives null and attach_callback does nothing; the hook is called once for each."""
    objects = fill(raw.make)
    assert raw.failures == 1
    for pointer in objects[:4]:  # two need no memory, the others are refused
        raw.attach(pointer, Thing(pointer))
    assert raw.failures == 3
    assert [raw.held(pointer) is NULL for pointer in objects[:4]] == [False, False, True, True]
    assert raw.make() == 0
    for pointer in objects[10:20]:
        raw.free(pointer)
    raw.attach(objects[2], thing := Thing())
    assert raw.held(objects[2]) is thing
    assert raw.failures == 4


def test_nodes_that_are_not_enough_are_given_back(raw: Raw) -> None:
    """Growing from 26 needs 13 nodes. With room for three it fails, each time, and the room stays."""
    for pointer in [raw.make() for _ in range(26)]:
        raw.attach(pointer, Thing())
    objects = fill(raw.make)
    for pointer in objects[:3]:
        raw.free(pointer)
    for _ in range(5):
        raw.attach(objects[9], Thing())
    assert raw.failures == 6
    assert len(fill(raw.make)) == 3


def test_when_the_table_cannot_grow(form: str, engine: str) -> None:
    """At the table's maximum a failed growth gives its nodes back: as many objects fit as without it."""
    module = limit_table(form_module(form), 5)
    plain, failing = Raw(module, engine, 1), Raw(module, engine, 1)
    for raw in (plain, failing):
        for pointer in [raw.make() for _ in range(4)]:
            raw.attach(pointer, Thing())
    last = failing.make()
    for _ in range(100):
        failing.attach(last, Thing())
    assert failing.failures == 100
    assert failing.held(last) is NULL
    assert len(fill(plain.make)) == len(fill(failing.make)) + 1


def test_out_of_memory_may_call_the_guest(raw: Raw) -> None:
    """The hook frees objects, also the one that is being given a callback elsewhere, and makes new ones."""
    objects = fill(raw.make)
    things = {pointer: Thing(pointer) for pointer in objects[:2]}
    for pointer in things:
        raw.attach(pointer, things[pointer])
    made: list[int] = []

    def hook() -> None:
        raw.free(objects[0])
        raw.free(objects[5])
        made.append(raw.make())
        raw.attach(made[0], thing)

    thing = Thing("from the hook")
    raw.when_full = hook
    raw.attach(objects[2], Thing())
    assert raw.held(objects[2]) is NULL
    assert raw.held(made[0]) is thing
    assert raw.held(objects[1]) is things[objects[1]]
    raw.when_full = lambda: pytest.fail("the block of the node that the hook used is free")
    raw.attach(objects[2], thing)
    assert raw.held(objects[2]) is thing


def trace(wasm: bytes, engine: str, seed: int) -> list[Any]:
    """What a module does in a random use of it, as numbers: results, what it invoked, failures. Checks each
    step."""
    generator = random.Random(seed)
    raw = Raw(wasm, engine, 2)
    state: dict[int, Any] = {}
    seen: list[Any] = []
    first = handled = emptied = 0
    for step in range(4000):
        choice = generator.random()
        pointer = generator.choice(list(state)[-50:]) if state else 0
        failures = raw.failures
        if pointer == 0 or choice < 0.5:
            for _ in range(10):
                made = raw.make()
                first = first or made
                seen.append(made and made - first)
                if made:
                    assert made not in state
                    state[made] = NULL
        elif choice < 0.8:
            for pointer in list(state)[-10:]:
                raw.attach(pointer, step)
                if raw.failures == failures:
                    state[pointer] = step
                failures = raw.failures
        elif choice < 0.9:
            assert raw.held(pointer) == state[pointer]
        else:  # a few, or most when there was no room: so that it is full, and nearly empty, several times
            full = raw.failures > handled
            for pointer in generator.sample(sorted(state), len(state) * 9 // 10 if full else 1):
                raw.free(pointer)
                del state[pointer]
            handled = raw.failures
            emptied += full
        seen.append(raw.failures)
    assert emptied > 1
    for pointer, expected in state.items():
        assert raw.held(pointer) == expected
    seen.append(
        [
            raw.memory.size,
            *((pointer - first, value) for pointer, value in state.items() if value is not NULL),
        ]
    )
    return seen


def test_all_forms_do_the_same(engine: str) -> None:
    """A random use, through full memory and back several times: the same results, addresses and failures from
    all three."""
    print(f"seed {SEED}: HIWIRE_SEED={SEED} repeats this")
    wat, assembly, c = (trace(form_module(form), engine, SEED) for form in FORMS)
    assert wat[-1][0] == 2 * PAGE
    assert wat == assembly
    assert wat == c
