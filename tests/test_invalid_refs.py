"""Which error an invalid handle raises: at both ends of the slots, after growing, and for retired slots."""

from __future__ import annotations

import pytest
from c_support import library_module

from hiwire_py import ForgedRefError, Hiwire, StaleRefError

OPTIONS = {
    "static": ("-DSTATIC_PAGES=1",),
    "growing": ("-DEXTERN_REALLOC",),
    "static, retiring": ("-DSTATIC_PAGES=1", "-DRETIRE_SLOTS"),
    "growing, retiring": ("-DEXTERN_REALLOC", "-DRETIRE_SLOTS"),
}
LAST = 1023


@pytest.fixture(params=OPTIONS)
def table(request: pytest.FixtureRequest, engine: str) -> Hiwire:
    """A table of one page, made with these options."""
    return Hiwire(library_module(*OPTIONS[request.param], "-DEXTERN_FAIL"), engine=engine)


def handle(index: int, version: int) -> int:
    return version << 26 | index << 1 | 1


def fill(table: Hiwire) -> int:
    """Makes handles until the table has no more room, as it is; the last one."""
    ref = table.new("first")
    while table.num_refs() < table.capacity():
        ref = table.new("filler")
    return ref


def lives(table: Hiwire, count: int) -> int:
    """Uses the slot that is next so often; the last of its handles, released."""
    ref = 0
    for number in range(count):
        ref = table.new(number)
        table.decref(ref)
    return ref


def test_first_and_last_slot(table: Hiwire) -> None:
    """A released handle is stale in the first slot and in the last; behind the last, any is forged."""
    last = fill(table)
    assert last == handle(LAST, 0)
    for ref in (handle(1, 0), last):
        table.decref(ref)
        with pytest.raises(StaleRefError, match=f"handle {ref} was released"):
            table.get(ref)
        with pytest.raises(ForgedRefError, match="was never given out"):
            table.get(ref + (1 << 26))
    for ref in (handle(0, 0), handle(LAST + 1, 0), handle(LAST + 1, 5), handle((1 << 25) - 1, 63)):
        with pytest.raises(ForgedRefError, match=f"this table has no slot {ref >> 1 & 0x1FFFFFF}"):
            table.get(ref)


def test_last_slot_after_growth(engine: str) -> None:
    """The last slot moves as the table grows, and what was behind it is in it."""
    table = Hiwire("extern_realloc", engine=engine)
    with pytest.raises(ForgedRefError, match="no slot 1"):
        table.get(handle(1, 0))
    fill(table)
    with pytest.raises(ForgedRefError, match="no slot 1024"):
        table.get(handle(LAST + 1, 0))
    table.new("one more, so that there are more slots")
    last = fill(table)
    assert last == handle(2047, 0)
    table.decref(last)
    with pytest.raises(StaleRefError):
        table.get(last)
    with pytest.raises(ForgedRefError, match="no slot 2048"):
        table.get(handle(2048, 0))


def test_handles_of_many_lives(table: Hiwire) -> None:
    """After all versions of a slot, its handles are released ones, whichever way it goes on from there."""
    last = fill(table)
    table.decref(last)
    newest = lives(table, 63)
    assert newest == handle(LAST, 63)
    for version in (0, 1, 62, 63):
        if table.capacity() == LAST and version == 0:
            continue  # the version that comes again next
        with pytest.raises(StaleRefError, match="was released"):
            table.get(handle(LAST, version))
    assert table.num_refs() == LAST - 1


@pytest.mark.parametrize("pages", ["-DSTATIC_PAGES=1", "-DEXTERN_REALLOC"])
def test_retired_slots(pages: str, engine: str) -> None:
    """Slots that retired are no room any more, but the handles that they gave out are stale."""
    table = Hiwire(library_module(pages, "-DRETIRE_SLOTS", "-DEXTERN_FAIL"), engine=engine)
    last = fill(table)
    for index in (1, 2, 3, LAST):
        ref = handle(index, 0)
        table.decref(ref)
        assert lives(table, 63) == handle(index, 63)
    assert table.capacity() == LAST - 4
    for index in (1, 2, 3, LAST):
        for version in (0, 62, 63):
            with pytest.raises(StaleRefError, match="was released"):
                table.get(handle(index, version))
    table.decref(handle(500, 0))
    assert lives(table, 62) == handle(500, 62)
    with pytest.raises(ForgedRefError, match="slot 500 is free and will give it out next"):
        table.get(handle(500, 63))  # its last version, which looks like none of a retired slot
    assert last == handle(LAST, 0)
    with pytest.raises(ForgedRefError, match=f"no slot {LAST + 1}"):
        table.get(handle(LAST + 1, 0))
