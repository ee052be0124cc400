"""What collections make of a table: how much of it they look at, where its slots are, and what the handles of
collected objects are to everyone else."""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import collect_support
import pytest
from c_support import library_module
from collect_support import Button, Host, left
from support import Thing, wat

from hiwire_py import Guest, GuestObject, Hiwire, StaleRefError, collect, layout
from hiwire_py.collect import backend
from hiwire_py.sources import shipped

# ---- how much is looked at


class _Watching:
    """Counts the calls of Python's functions and of C's in a collection, and what its window is like."""

    def __init__(self, table: Hiwire) -> None:
        self.objects = table.space.objects
        self.calls = 0
        self.in_sight: list[bool] = []
        gc.callbacks.append(self._inside)

    def _inside(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            self.in_sight.append(gc.is_tracked(self.objects))

    def _count(self, *event: Any) -> None:
        self.calls += 1

    def collect(self) -> int:
        self.calls = 0
        sys.setprofile(self._count)
        try:
            collect()
        finally:
            sys.setprofile(None)
        return self.calls


@pytest.fixture
def watching(host: Host) -> Iterator[_Watching]:
    watching = _Watching(host.table)
    yield watching
    gc.callbacks.remove(watching._inside)


@pytest.mark.parametrize("handle", [False, True], ids=["empty", "one"])
def test_handles_that_no_struct_describes(host: Host, watching: _Watching, handle: bool) -> None:
    """They cost a collection no call. Where no struct has a handle, the dict of objects stays in the sight of
    Python's collector, so that nothing is shown in its place."""
    button = Button(host)
    if not handle:
        host.guest.memory.write(button.pointer, bytes(4))
    refs = [host.table.new(Thing()) for _ in range(100)]
    collect()
    few = watching.collect()
    refs += [host.table.new(Thing()) for _ in range(4000)]
    collect()
    many = watching.collect()
    assert few - 10 <= many <= few + 10
    if backend.BACKEND == "types":
        assert set(watching.in_sight) == {not handle}
    if handle:
        assert button.fire(3) == 6


# ---- where the slots are


def test_the_last_slots_of_a_table_that_retires_them(engine: str) -> None:
    """Its capacity is not the number of its slots: cycles in the last ones are collected like all others."""
    options = ("-DHIWIRE_EXTERN_DEDUPLICATE", "-DHIWIRE_EXTERN_FAIL", "-DHIWIRE_RETIRE_SLOTS")
    table = Hiwire(str(library_module("-DHIWIRE_STATIC_PAGES=1", *options)), engine=engine)
    new, decref = table.new, table.decref
    while table.capacity() > 800:
        decref(new(None))
    host = Host(engine, table)
    kept = [table.new(None) for _ in range(table.capacity() - 21)]
    watches = [weakref.ref(Button(host)) for _ in range(20)]
    alive = Button(host, abs)
    indexes = [handle >> 1 & 0x1FFFFFF for handle in table if handle not in set(kept)]
    assert len(indexes) == 21 and max(indexes) == 1023 > table.capacity()
    collect()
    assert [watch() for watch in watches] == [None] * 20 and host.live == 1
    assert alive.pointer and table.num_refs() == len(kept) + 1
    table.close()


def test_a_module_that_does_not_say_where_its_slots_are(engine: str) -> None:
    """One that was built with an older version is refused with a warning that says what to do: wrappers
    work, and cycles stay."""
    old = shipped("static_pages").replace(b"_hiwire_state", b"_hiwire_stata")
    host = Host(engine, Hiwire(old, engine=engine))
    with pytest.warns(RuntimeWarning, match=r"are not collected: .* build it again") as caught:
        button = Button(host)
    assert caught[0].filename == collect_support.__file__
    assert button.fire(2) == 4
    del button
    Button(host, abs)
    assert collect() == 1 and host.live == 1


# ---- handles of collected objects

TAKER = """(module (import "env" "hiwire_get" (func $get (param i32) (result externref)))
  (import "env" "see" (func $see (param externref)))
  (func (export "take") (param i32) (call $see (call $get (local.get 0)))))"""

ACCESSES: dict[str, Callable[[Hiwire, Guest, int], object]] = {
    "get": lambda table, guest, handle: table.get(handle),
    "pop": lambda table, guest, handle: table.pop(handle),
    "incref": lambda table, guest, handle: table.incref(handle),
    "decref": lambda table, guest, handle: table.decref(handle),
    "in a guest": lambda table, guest, handle: guest.exports.take(handle),
}
LOOKS: dict[str, Callable[[Hiwire, int], object]] = {
    "is_valid": lambda table, handle: table.is_valid(handle),
    "in": lambda table, handle: handle in table,
    "refcount": lambda table, handle: table.refcount(handle),
    "len": lambda table, handle: len(table),
    "iteration": lambda table, handle: len(list(table)),
    "a new handle": lambda table, handle: int(table.new_deduplicate(3) == handle),
}


def _handle(host: Host, button: Button) -> int:
    return int.from_bytes(host.guest.memory.read(button.pointer, 4), "little")


def test_handles_of_collected_objects_are_stale(host: Host) -> None:
    """Whoever comes in first after a collection by Python, by whatever way, finds them released: structs are
    freed before."""
    seen: list[object] = []
    guest = Guest(wat(TAKER), {"env": {"see": seen.append}}, hiwire=host.table)
    for access in ACCESSES.values():
        handle = _handle(host, Button(host))
        gc.collect()
        with pytest.raises(StaleRefError, match="was released"):
            access(host.table, guest, handle)
        assert left(host) == (0, 0, 0)
    for look in LOOKS.values():
        handle = _handle(host, Button(host))
        gc.collect()
        assert not look(host.table, handle)
    assert not seen and host.live == 0 and not host.table.space.tombstones


def test_counts_in_several_structs(host: Host) -> None:
    """A handle of two counts, each in a struct, is good as long as one of the wrappers lives."""
    thing = Thing()
    one, other = Button(host, thing), Button(host, abs)
    handle = _handle(host, one)
    host.table.incref(handle)
    host.guest.memory.write(other.pointer, handle.to_bytes(4, "little"))
    thing.name = one
    watch = weakref.ref(thing)
    del one, thing
    gc.collect()
    assert host.table.get(handle) is watch() and host.table.refcount(handle) == 2
    watch().name = [other, watch().name]  # type: ignore[union-attr]
    del other
    assert collect() >= 2 and watch() is None
    with pytest.raises(StaleRefError):
        host.table.get(handle)
    assert not host.table.is_valid(handle) and not host.table.space.tombstones


def test_deduplicated_handles_keep_their_objects(host: Host) -> None:
    """The map of equal objects holds them, so they are neither collected nor stale."""
    button = Button(host)
    handle = host.table.new_deduplicate(button)
    host.table.decref(_handle(host, button))
    host.guest.memory.write(button.pointer, handle.to_bytes(4, "little"))
    del button
    gc.collect()
    again = host.table.get(handle)
    assert isinstance(again, Button) and host.table.new_deduplicate(again) == handle


NOT_GIVING_BACK = '(module (memory (export "memory") 1) (func (export "free") (param i32)))'


def test_a_free_that_gives_nothing_back(host: Host) -> None:
    """Then the handle stays counted, and is only good for being released; its id is used again after that."""
    guest = Guest(wat(NOT_GIVING_BACK), hiwire=host.table)
    space = host.table.space

    def ring() -> int:
        wrapper = GuestObject(guest, 64, layout=layout(4, handles=[0]), free="free")
        thing = Thing(wrapper)
        handle = host.table.new(thing)
        guest.memory.write(64, handle.to_bytes(4, "little"))
        return handle

    for _ in range(3):
        handle = ring()
        assert collect() == 1 and left(host) == (0, 1, 0) and len(space.tombstones) == 1
        host.table.incref(handle)
        for access in (host.table.get, host.table.pop):
            with pytest.raises(StaleRefError, match="an object that was collected"):
                access(handle)
        assert left(host) == (0, 1, 0), "pop gave its count back"
        assert collect() == 0
        host.table.decref(handle)
        assert left(host) == (0, 0, 0) and not space.tombstones


class _Late:
    """Not one of the objects that Python's collector looks at: it dies in the midst of its work."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()


def test_someone_comes_in_while_python_takes_cycles_apart(host: Host) -> None:
    """Then a handle gives its object, or is stale; nothing stands for an object that is gone."""
    seen: list[object] = []

    def look(handle: int) -> None:
        try:
            seen.append(host.table.get(handle))
        except StaleRefError as error:
            seen.append(error)

    for _ in range(4):
        button = Button(host)
        handle = _handle(host, button)
        gc.collect()
        late = _Late(functools.partial(look, handle))
        button.__dict__["late"] = late
        del button, late
        collect()
        collect()
        assert seen and all(
            isinstance(one, StaleRefError) or getattr(one, "__name__", "") == "pressed" for one in seen
        )
        seen.clear()
    collect()
    assert left(host) == (0, 0, 0)
