"""A guest that is stopped by its fuel in the midst of one instruction on a table of externrefs: the table and
the counts of what it holds agree afterwards, wherever that was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from support import Thing, things, wat

from hiwire_py import NULL, FuelError, Guest
from hiwire_py.objects import Space
from hiwire_py.objects.layout import ID_INDEX, RECORD_HOLDERS, RECORD_WORDS

SLOTS = 24
MODULE = wat(
    f"""(module (table $t (export "t") {SLOTS} externref) (table $u (export "u") {SLOTS} externref)
    (func (export "put") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
    (func (export "fill") (param externref)
      (table.fill $t (i32.const 2) (local.get 0) (i32.const {SLOTS - 4})))
    (func (export "copy") (table.copy $u $t (i32.const 1) (i32.const 0) (i32.const {SLOTS - 1})))
    (func (export "up") (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const {SLOTS - 1})))
    (func (export "grow") (param externref) (result i32)
      (table.grow $t (local.get 0) (i32.const {SLOTS})))
    (func (export "grow much") (result i32) (table.grow $t (ref.null extern) (i32.const 100000))))"""
)
USES: dict[str, Callable[[Guest], object]] = {
    "fill": lambda guest: guest.exports.fill(Thing("filled")),
    "copy": lambda guest: guest.exports.copy(),
    "up": lambda guest: guest.exports.up(),
    "grow": lambda guest: guest.exports.grow(Thing("grown")),
}


def agree(space: Space, guest: Guest) -> int:
    """Check that each object is counted as often as it is held; how many slots there are."""
    slots = [id_ for table in space.runtime.table_keys(guest.instance.tables) for id_ in table.view()]
    held = Counter(id_ for id_ in slots if id_)
    assert held.keys() == space.objects.keys()
    records = space.runtime.holder_records().view()
    holders = [records[(id_ & ID_INDEX) * RECORD_WORDS + RECORD_HOLDERS] for id_ in held]
    assert holders == list(held.values())
    return len(slots)


@pytest.mark.parametrize("use", USES)
def test_stopped_in_an_instruction(use: str, no_gc: None) -> None:
    """Each amount of fuel up to what the instruction takes, nearly: it is stopped in many places, and nothing
    is held for longer or for less long than its slots say."""
    stopped = whole = 0
    for fuel in range(150, 4000, 11):
        guest = Guest(MODULE, engine="wasmtime", fuel=fuel)
        space = guest.instance.space
        for index in range(SLOTS):
            guest.exports.put(index, Thing(index))
        try:
            USES[use](guest)
        except FuelError:
            stopped += 1
            assert agree(space, guest) == 2 * SLOTS
        else:
            whole += 1
            agree(space, guest)
            if whole == 5:
                break
        for table in (guest.exports.t, guest.exports.u):
            for index in range(len(table)):
                table[index] = NULL
        guest.collect()
        assert things() == 0
    assert stopped > 8 and whole == 5


def test_a_guest_that_is_stopped_again_and_again() -> None:
    """The memory that tables grow into is not used up by it: what a stopped instruction had taken is taken
    again."""
    guest = Guest(MODULE, engine="wasmtime", fuel=1500)
    store, memory = guest.instance.space.store, guest.instance.space.runtime.exports["memory"]
    sizes = set()
    for _ in range(200):
        with pytest.raises(FuelError):
            guest.exports["grow much"]()
        sizes.add(store.memory_size(memory))
    assert len(sizes) == 1 and len(guest.exports.t) == SLOTS
