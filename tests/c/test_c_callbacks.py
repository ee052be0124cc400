"""Host functions that raise, call back into the table or tell it lies: the table stays right in each case."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import wasmtime
from c_support import Instance, library_module

pytestmark = pytest.mark.once

GET, INCREF, DECREF = 1, 2, 3


class Boom(Exception):
    """What the host functions of this file raise."""


class Host:
    """A table with its host: an identity map, a growing memory, and a place to step in before each call."""

    def __init__(self, *options: str) -> None:
        self.map: dict[int, int] = {}
        self.invalid: list[tuple[int, int]] = []
        self.sizes: list[int] = []
        self.before: dict[str, Callable[..., object]] = {}
        self.refuse_memory = False
        self.table = Instance(
            library_module(*(options or ("-DSTATIC_PAGES=1",)), "-DEXTERN_DEDUPLICATE", "-DEXTERN_FAIL"),
            {
                ("env", "hiwire_deduplicate_get"): self.dedup_get,
                ("env", "hiwire_deduplicate_set"): self.dedup_set,
                ("env", "hiwire_deduplicate_delete"): self.dedup_delete,
                ("env", "hiwire_invalid_ref"): self.invalid_ref,
                ("env", "hiwire_realloc"): self.realloc,
            },
        )

    def _step_in(self, name: str, *arguments: object) -> None:
        if name in self.before:
            self.before[name](*arguments)

    def dedup_get(self, value: object) -> int:
        self._step_in("get", value)
        return self.map.get(id(value), 0)

    def dedup_set(self, value: object, ref: int) -> None:
        self._step_in("set", value, ref)
        self.map[id(value)] = ref

    def dedup_delete(self, value: object) -> None:
        self._step_in("delete", value)
        del self.map[id(value)]

    def invalid_ref(self, kind: int, ref: int) -> None:
        self.invalid.append((kind, ref))
        self._step_in("invalid", kind, ref)

    def realloc(self, old: int, size: int) -> int:
        self.sizes.append(size)
        self._step_in("realloc", old, size)
        if self.refuse_memory:
            return 0
        memory = self.table.exports["memory"]
        base = self.table.exports["__heap_base"]
        assert isinstance(memory, wasmtime.Memory) and isinstance(base, wasmtime.Global)
        start = base.value(self.table.store)
        lacking = start + size - memory.data_len(self.table.store)
        if lacking > 0:
            memory.grow(self.table.store, -(-lacking // 65536))
        return int(start)

    def new(self, value: object) -> int:
        return self.table.ref("hiwire_new", value)

    def dedup(self, value: object) -> int:
        return self.table.ref("hiwire_new_deduplicate", value)

    def decref(self, ref: int) -> None:
        self.table.call("hiwire_decref", ref)

    def raises_once(self, name: str) -> None:
        def boom(*_arguments: object) -> None:
            del self.before[name]
            raise Boom(name)

        self.before[name] = boom

    def once(self, name: str, action: Callable[..., object]) -> None:
        def step(*arguments: object) -> None:
            del self.before[name]
            action(*arguments)

        self.before[name] = step


@pytest.mark.parametrize("step", ["get", "set"])
def test_map_raises_in_new_deduplicate(step: str) -> None:
    """An exception in the map leaves no ref behind; the next try gets the ref that was meant before."""
    host = Host()
    host.new("other")
    before = host.table.image()
    host.raises_once(step)
    value = object()
    with pytest.raises(Boom):
        host.dedup(value)
    assert host.table.image() == before
    assert host.map == {}
    assert host.dedup(value) == 5


def test_map_raises_in_the_last_decref() -> None:
    """When the map cannot delete, the ref is as alive as before, and a second decref succeeds."""
    host = Host()
    value = object()
    ref = host.dedup(value)
    before = host.table.image()
    for function in ("hiwire_decref", "hiwire_pop"):
        host.raises_once("delete")
        with pytest.raises(Boom):
            host.table.call(function, ref)
        assert host.table.image() == before
        assert host.map == {id(value): ref}
    host.decref(ref)
    assert host.map == {} and host.table.live() == []


def test_hook_raises() -> None:
    """A raising hook comes out as itself, and nothing has changed."""
    host = Host()
    stale = host.new("a")
    host.decref(stale)
    live = host.new("b")
    before = host.table.image()
    for function, kind in (("get", GET), ("incref", INCREF), ("decref", DECREF), ("pop", GET)):
        host.raises_once("invalid")
        with pytest.raises(Boom):
            host.table.call(f"hiwire_{function}", stale)
        assert host.invalid.pop() == (kind, stale)
        assert host.table.image() == before
    assert host.table.call("hiwire_get", live) == "b"


@pytest.mark.parametrize("deduplicate", [False, True])
@pytest.mark.parametrize("how", ["raise", "refuse"])
@pytest.mark.parametrize("size", [0, 1023, 2047])
def test_growth_fails(how: str, size: int, deduplicate: bool) -> None:
    """hiwire_realloc raises or gives NULL, at the first growth or later: nothing is lost, also repeatedly."""
    host = Host("-DEXTERN_REALLOC")
    values = [object() for _ in range(size)]
    refs = [host.new(value) for value in values]
    before = host.table.image()
    make = host.dedup if deduplicate else host.new
    host.refuse_memory = how == "refuse"
    for _ in range(3):
        if how == "raise":
            host.raises_once("realloc")
            with pytest.raises(Boom):
                make("more")
        else:
            assert make("more") == 0
        assert host.table.image() == before
        assert host.map == {}
    host.refuse_memory = False
    assert make("more") == 2 * (size + 1) + 1
    assert [host.table.call("hiwire_get", ref) for ref in refs] == values


def test_sizes_asked_of_the_host() -> None:
    """The first five thousand refs take 4096 bytes more at a time."""
    host = Host("-DEXTERN_REALLOC")
    for _ in range(5000):
        host.new("x")
    assert host.sizes == [4096, 8192, 12288, 16384, 20480]


@pytest.mark.parametrize("lie", [3, 5, 2, 4, 0x04000003, 0xFFFFFFFF, 0x7FFFFFFE, 0x80000001, 1])
def test_map_tells_a_wrong_ref(lie: int) -> None:
    """What the map returns is checked: a stale, forged or foreign ref is reported and replaced."""
    host = Host()
    plain = host.new("plain")  # live, but nothing that the map was told: this is lie 3
    value = object()
    host.map[id(value)] = lie
    ref = host.dedup(value)
    assert host.invalid == [(INCREF, lie - (1 << 32) if lie >> 31 else lie)]
    assert host.map == {id(value): ref}
    assert host.table.call("hiwire_get", ref) is value
    assert host.table.call("hiwire_refcount", plain) == 1
    assert host.table.live() == [plain, ref]


def test_map_tells_a_wrong_ref_and_the_hook_raises() -> None:
    """The same with a hook that raises: nothing is made."""
    host = Host()
    value = object()
    host.map[id(value)] = 99
    host.raises_once("invalid")
    before = host.table.image()
    with pytest.raises(Boom):
        host.dedup(value)
    assert host.table.image() == before
    assert host.map == {id(value): 99}


@pytest.mark.parametrize("options", ["-DSTATIC_PAGES=1", "-DEXTERN_REALLOC"])
@pytest.mark.parametrize("step", ["get", "set"])
@pytest.mark.parametrize("others", [0, 1021, 1022])
def test_map_makes_refs_meanwhile(step: str, options: str, others: int) -> None:
    """The map makes a ref of its own meanwhile: both refs are good, and no slot is used twice."""
    host = Host(options)
    for number in range(others):
        host.new(number)
    made: list[int] = []
    host.once(step, lambda *_: made.append(host.new("inner")))
    value = object()
    ref = host.dedup(value)
    (inner,) = made
    assert inner != 0
    assert host.table.call("hiwire_get", inner) == "inner"
    if options == "-DSTATIC_PAGES=1" and others == 1022:
        assert ref == 0 and host.map == {}  # that was the last slot
    else:
        assert ref not in (0, inner)
        assert host.map == {id(value): ref}
        assert host.table.call("hiwire_get", ref) is value
        host.decref(ref)
    host.decref(inner)
    assert host.map == {} and len(host.table.live()) == others and host.invalid == []


def test_map_makes_and_releases_refs_always() -> None:
    """A map that uses the offered slot in every call (a __hash__ that does, say) is no obstacle."""
    host = Host()

    def use_a_slot(*_: object) -> None:
        host.decref(host.new("inner"))

    host.before = {"get": use_a_slot, "set": use_a_slot, "delete": use_a_slot}
    value = object()
    for _ in range(200):
        ref = host.dedup(value)
        assert host.dedup(value) == ref
        assert host.map == {id(value): ref}
        host.decref(ref)
        host.decref(ref)
        assert host.map == {} and host.table.live() == []


def test_growing_for_a_second_offer_loses_no_slot() -> None:
    """With one slot left and that one used by the map, the table grows, and keeps the slot that was left."""
    host = Host("-DEXTERN_REALLOC")
    for number in range(1022):
        host.new(number)
    host.once("set", lambda *_: host.decref(host.new("inner")))
    assert host.dedup(object()) != 0
    assert host.sizes == [4096, 8192]
    for _ in range(2047 - 1023):
        assert host.new("more") != 0
    assert host.sizes == [4096, 8192]
    assert len(host.table.live()) == 2047


def test_map_uses_up_the_table_always() -> None:
    """A map that fills and empties the whole table in each call gets NULL, and keeps no entry."""
    host = Host()

    def use_all(*_: object) -> None:
        refs = []
        while ref := host.new("inner"):
            refs.append(ref)
        for ref in refs:
            host.decref(ref)

    host.before["set"] = use_all
    assert host.dedup(object()) == 0
    assert host.map == {} and host.table.live() == []
    del host.before["set"]
    assert host.dedup(object()) != 0


def test_map_releases_refs_meanwhile() -> None:
    """Refs released by the map go in front of the offered slot, which is still found."""
    host = Host()
    old = [host.new(number) for number in range(5)]

    def release(*_: object) -> None:
        for ref in old:
            host.decref(ref)

    host.once("set", release)
    value = object()
    ref = host.dedup(value)
    assert host.table.live() == [ref] and host.map == {id(value): ref}
    refs = [host.new(number) for number in range(1022)]
    assert 0 not in refs and len(set(refs)) == 1022 and host.new("more") == 0


def test_map_takes_a_count_in_the_last_decref() -> None:
    """A count taken while the entry is deleted keeps the ref alive; it is no longer marked as mapped."""
    host = Host()
    value = object()
    ref = host.dedup(value)
    host.once("delete", lambda *_: host.table.call("hiwire_incref", ref))
    host.decref(ref)
    assert host.map == {} and host.table.call("hiwire_refcount", ref) == 1
    assert host.table.call("hiwire_get", ref) is value
    host.decref(ref)  # deletes no entry: that would raise KeyError
    assert host.table.live() == [] and host.invalid == []


def test_map_releases_the_ref_itself() -> None:
    """The map releases the very count that is being given back: the second release is reported."""
    host = Host()
    value = object()
    ref = host.dedup(value)
    other = host.new("other")

    def release(*_: object) -> None:
        host.decref(ref)  # asks for the same entry to be deleted, which this inner call does
        host.map[id(value)] = ref  # so that the outer one finds it too

    host.once("delete", release)
    host.decref(ref)
    assert host.table.live() == [other]
    assert host.map == {} and host.invalid == [(DECREF, ref)]


def test_growth_calls_back() -> None:
    """Even a hiwire_realloc that breaks its contract and makes refs does not get the table wrong."""
    host = Host("-DEXTERN_REALLOC")
    made: list[int] = []
    host.once("realloc", lambda *_: made.append(host.new("inner")))
    outer = host.new("outer")
    assert {host.table.call("hiwire_get", ref) for ref in (outer, *made)} == {"outer", "inner"}
    assert host.table.live() == sorted([outer, *made])
