"""Class Hiwire: what each operation does, on every engine and variant, and against a plain dict."""

from __future__ import annotations

import weakref

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import Thing

from hiwire_py import NULL, ForgedRefError, Hiwire, HiwireError, NullRefError, StaleRefError, TableFullError
from hiwire_py.errors import RefError
from hiwire_py.sources import shipped


@pytest.fixture
def table(engine: str, variant: str) -> Hiwire:
    return Hiwire(variant, engine=engine)


def test_first_handle_and_bits(table: Hiwire) -> None:
    """The layout of the ABI: the first handle is 3, a slot's second life has the next version, immortals are
    even."""
    first = table.new("a")
    assert first == 3
    table.decref(first)
    assert table.new("b") == 3 | 1 << 26
    assert table.intern("c") == 2


def test_get_gives_the_object_itself(table: Hiwire) -> None:
    """Not a copy, and not what is equal: the identical object, None among them."""
    objects: list[object] = [[], "text", None, NULL, 0, False, table]
    for obj in objects:
        ref = table.new(obj)
        assert table.get(ref) is obj
        assert table.pop(ref) is obj
    assert len(table) == 0


def test_counts(table: Hiwire) -> None:
    """incref and decref move the count; at 0 the handle is stale."""
    ref = table.new("x")
    assert table.refcount(ref) == 1
    table.incref(ref)
    assert (table.refcount(ref), table.num_refs()) == (2, 1)
    table.decref(ref)
    assert table.is_valid(ref) and ref in table
    table.decref(ref)
    assert table.refcount(ref) == 0 and not table.is_valid(ref) and ref not in table
    with pytest.raises(StaleRefError, match=f"handle {ref} was released"):
        table.get(ref)


def test_immortals_stay(table: Hiwire) -> None:
    """Immortal handles take no part in counting."""
    ref = table.intern("forever")
    table.decref(ref)
    table.decref(ref)
    table.incref(ref)
    assert table.get(ref) == "forever" == table.pop(ref) == table.get(ref)
    assert table.num_refs() == 0 and table.is_valid(ref)


def test_null_handle(table: Hiwire) -> None:
    """Counting NULL is nothing, using it is an error."""
    table.incref(0)
    table.decref(0)
    with pytest.raises(NullRefError):
        table.get(0)
    with pytest.raises(NullRefError):
        table.pop(0)


@pytest.mark.parametrize("ref", [1, 5, 7, 2, 4, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF, -1, -3, -(1 << 31)])
@pytest.mark.parametrize("operation", ["get", "pop", "incref", "decref"])
def test_forged_handles(table: Hiwire, ref: int, operation: str) -> None:
    """Numbers that were never given out are found out by every operation, and the table goes on."""
    kept = table.new("kept")
    with pytest.raises(ForgedRefError, match="never given out"):
        getattr(table, operation)(ref)
    assert table.get(kept) == "kept" and table.num_refs() == 1


@pytest.mark.parametrize("ref", [1 << 32, -(1 << 31) - 1, 10**30])
def test_handles_that_are_no_32_bits(table: Hiwire, ref: int) -> None:
    """A number too large is forged; it is no handle for `in` either."""
    with pytest.raises(ForgedRefError, match="does not fit 32 bits"):
        table.get(ref)
    assert ref not in table and not table.is_valid(ref) and table.refcount(ref) == 0


@pytest.mark.parametrize("ref", ["3", 3.0, None, True, [3]])
def test_handles_that_are_no_integers(table: Hiwire, ref: object) -> None:
    """What is no integer is a TypeError that names the type."""
    table.new("x")
    for operation in (table.get, table.pop, table.incref, table.decref, table.refcount, table.is_valid):
        with pytest.raises(TypeError, match=f"a handle must be an integer, not {type(ref).__name__}"):
            operation(ref)  # type: ignore[arg-type]


def test_handle_of_another_table(engine: str, variant: str) -> None:
    """A handle that is not live here is found out, whichever table gave it."""
    one, other = Hiwire(variant, engine=engine), Hiwire(variant, engine=engine)
    refs = [one.new(i) for i in range(3)]
    with pytest.raises(RefError):
        other.get(refs[2])


def test_versions_wrap_after_64_lives(table: Hiwire) -> None:
    """The layout has 6 bits of version: the 64th reuse of a slot gives the first handle again."""
    refs = []
    for i in range(65):
        refs.append(table.new(i))
        table.decref(refs[-1])
    assert len(set(refs[:64])) == 64 and refs[64] == refs[0]


def test_iteration_and_length(table: Hiwire) -> None:
    """Iterating gives the live handles."""
    refs = [table.new(i) for i in range(2000)]
    for ref in refs[::2]:
        table.decref(ref)
    assert list(table) == refs[1::2]
    assert len(table) == 1000
    assert [table.get(ref) for ref in table] == list(range(1, 2000, 2))


def test_full_static_table(engine: str) -> None:
    """A full table says so, and takes objects again when one has left."""
    table = Hiwire("static_pages", engine=engine)
    capacity = table.capacity()
    refs = [table.new(i) for i in range(capacity)]
    for operation in (table.new, table.new_deduplicate):
        with pytest.raises(TableFullError, match=f"static_pages is full: {capacity} of {capacity}"):
            operation("one more")
    table.decref(refs[7])
    assert table.get(table.new("fits")) == "fits"
    assert all(table.get(ref) == i for i, ref in enumerate(refs) if i != 7)


def test_memory_limit(engine: str) -> None:
    """Over the limit: TableFullError that says so, and nothing is lost."""
    table = Hiwire("extern_realloc", engine=engine, memory_limit=96 * 1024)
    refs: list[int] = []
    with pytest.raises(MemoryError, match="memory_limit is 98304"):
        while True:
            refs.append(table.new(len(refs)))
    assert len(refs) == table.num_refs() == table.capacity() > 1000
    assert [table.get(ref) for ref in refs] == list(range(len(refs)))
    table.decref(refs.pop())
    refs.append(table.new("again"))
    assert table.get(refs[-1]) == "again"
    assert isinstance(TableFullError(), HiwireError)


def test_growth(engine: str) -> None:
    """extern_realloc grows as it is used; objects and handles survive it."""
    table = Hiwire("extern_realloc", engine=engine)
    count = 20_000 if engine == "wasmer" else 3_000
    refs = [table.new(i) for i in range(count)]
    assert table.capacity() >= count
    assert all(table.get(ref) == i for i, ref in enumerate(refs))


def test_on_invalid(engine: str, variant: str) -> None:
    """`ignore` gives NULL; a function sees code and handle, and may raise."""
    table = Hiwire(variant, engine=engine, on_invalid="ignore")
    assert table.get(5) is NULL
    table.decref(5)
    seen: list[tuple[int, int]] = []
    table = Hiwire(variant, engine=engine, on_invalid=lambda code, ref: seen.append((code, ref)))
    assert table.pop(0xFFFFFFFF) is NULL
    table.incref(5)
    table.decref(7)
    assert seen[0] == (1, 0xFFFFFFFF) and seen[-2:] == [(2, 5), (3, 7)]

    def refuse(code: int, ref: int) -> None:
        raise KeyError(code, ref)

    table = Hiwire(variant, engine=engine, on_invalid=refuse)
    with pytest.raises(KeyError, match=r"\(1, 9\)"):
        table.get(9)
    with pytest.raises(ValueError, match="on_invalid must be"):
        Hiwire(variant, engine=engine, on_invalid="explode")


def test_variant_from_bytes_and_path(engine: str, tmp_path: object) -> None:
    """A module built elsewhere is given as bytes or as a path; a misspelt variant is an error that lists
    them."""
    data = shipped("static_pages")
    path = tmp_path / "mine.wasm"  # type: ignore[operator]
    path.write_bytes(data)
    for variant in (data, str(path), path):
        assert Hiwire(variant, engine=engine).new("x") == 3
    with pytest.raises(ValueError, match="static_pages, extern_realloc"):
        Hiwire("static-pages", engine=engine)


def test_overflow_pins_the_handle(engine: str) -> None:
    """The reference that fills the count of 24 bits says that the handle is pinned, and nothing undoes
    that."""
    if engine != "wasmer":
        pytest.skip(
            f"{engine}: sixteen million calls from Python take minutes there; tests/c does this inside the guest"
        )
    table = Hiwire(engine=engine)
    ref = table.new("x")
    raw = table.exports["hiwire_incref"].__keep__.raw  # type: ignore[attr-defined]
    for _ in range((1 << 24) - 3):
        raw(ref)
    with pytest.raises(HiwireError, match="at its limit"):
        table.incref(ref)
    for _ in range(3):
        table.decref(ref)
    assert table.get(ref) == "x" and table.refcount(ref) == (1 << 24) - 1


class Model(RuleBasedStateMachine):
    """Random operations, compared with a dict."""

    engine: str
    variant: str

    def __init__(self) -> None:
        super().__init__()
        self.table = Hiwire(self.variant, engine=self.engine, identity="equality")
        self.live: dict[int, tuple[object, int]] = {}
        self.known: dict[object, int] = {}
        self.stale: list[int] = []

    @rule()
    def new(self) -> None:
        obj = Thing()
        ref = self.table.new(obj)
        assert ref not in self.live
        self.live[ref] = (obj, 1)
        self.stale = [old for old in self.stale if old != ref]

    @rule(key=st.integers(0, 5))
    def deduplicate(self, key: int) -> None:
        ref = self.table.new_deduplicate(key)
        if key in self.known:
            assert ref == self.known[key]
            self.live[ref] = (self.live[ref][0], self.live[ref][1] + 1)
        else:
            self.known[key] = ref
            self.live[ref] = (key, 1)
            self.stale = [old for old in self.stale if old != ref]

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def incref(self, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(sorted(self.live)))
        self.table.incref(ref)
        self.live[ref] = (self.live[ref][0], self.live[ref][1] + 1)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), pop=st.booleans())
    def decref(self, data: st.DataObject, pop: bool) -> None:
        ref = data.draw(st.sampled_from(sorted(self.live)))
        obj, count = self.live[ref]
        if pop:
            assert self.table.pop(ref) is obj
        else:
            self.table.decref(ref)
        if count > 1:
            self.live[ref] = (obj, count - 1)
        else:
            del self.live[ref]
            self.stale.append(ref)
            if not isinstance(obj, Thing):
                del self.known[obj]

    @rule(ref=st.integers(-(1 << 33), 1 << 33))
    def any_number(self, ref: int) -> None:
        if ref % (1 << 32) in self.live and -(1 << 31) <= ref < 1 << 32:
            return
        with pytest.raises(RefError):
            self.table.get(ref)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def use_stale(self, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(self.stale))
        with pytest.raises(RefError):
            self.table.get(ref)
        with pytest.raises(RefError):
            self.table.decref(ref)

    @invariant()
    def same(self) -> None:
        assert sorted(self.table) == sorted(self.live)
        for ref, (obj, count) in self.live.items():
            assert self.table.get(ref) is obj
            assert self.table.refcount(ref) == count

    def teardown(self) -> None:
        watch = [weakref.ref(obj) for obj, _ in self.live.values() if isinstance(obj, Thing)]
        for ref, (_, count) in self.live.items():
            for _ in range(count):
                self.table.decref(ref)
        self.live.clear()
        assert len(self.table) == 0
        assert [w() for w in watch if w() is not None] == []


def test_against_a_dict(engine: str, variant: str) -> None:
    """Hypothesis looks for a sequence of operations after which table and dict differ."""
    machine = type("Model", (Model,), {"engine": engine, "variant": variant})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
