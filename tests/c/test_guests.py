"""The guests of c/guests, as the package ships them."""

from __future__ import annotations

import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Thing

from hiwire_py import NULL, Guest, Hiwire
from hiwire_py.sources import shipped

TABLE_FULL = -1

# The engine is the same for all examples of one test, and each example makes its own guest.
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Words:
    """The guest wordcount with its host functions."""

    def __init__(self, engine: str, **options: Any) -> None:
        self.table = Hiwire("extern_realloc", engine=engine, identity="equality", **options)
        self.source: Iterator[Any] = iter(())
        self.reported: list[tuple[Any, int]] = []
        functions = {
            "next_word": lambda: next(self.source, NULL),
            "report": lambda *pair: self.reported.append(pair),
        }
        self.guest = Guest(shipped("guest-wordcount"), {"env": functions}, hiwire=self.table)
        self.exports = self.guest.exports

    def count(self, words: Iterable[Any]) -> int:
        self.source = iter(words)
        number: int = self.exports.count_file()
        return number

    def all(self) -> dict[Any, int]:
        self.reported = []
        assert self.exports.report_all() == len(self.reported)
        return dict(self.reported)

    def top(self, n: int) -> list[tuple[Any, int]]:
        self.reported = []
        assert self.exports.report_top(n) == len(self.reported)
        return self.reported


@many
@given(files=st.lists(st.lists(st.text("ab", max_size=4), max_size=60), max_size=4), n=st.integers(0, 40))
def test_wordcount_agrees_with_counter(engine: str, files: list[list[str]], n: int) -> None:
    """Counts, the order of the top (ties as in Counter), and the handles held, for any files; then nothing is
    left."""
    words = Words(engine)
    expected: Counter[str] = Counter()
    for file in files:
        assert words.count(file) == len(file)
        expected.update(file)
    assert words.all() == expected
    assert words.top(n) == expected.most_common(n)
    assert len(words.table) == len(expected) + bool(files)
    assert {words.table.refcount(ref) for ref in words.table} <= {1}
    words.exports.release_all()
    assert len(words.table) == 0
    assert words.all() == {}
    assert words.top(5) == []


def test_wordcount_grows(engine: str) -> None:
    """Its map outgrows its first size several times, and is used again after a release."""
    words = Words(engine)
    for _ in range(2):
        assert words.count(f"w{i % 20_000}" for i in range(30_000)) == 30_000
        assert words.top(2) == [("w0", 2), ("w1", 2)]
        assert words.all() == Counter(f"w{i % 20_000}" for i in range(30_000))
        words.exports.release_all()
        assert len(words.table) == 0


def test_wordcount_survives_a_host_that_raises(engine: str) -> None:
    """An exception out of a host function leaves the words before it counted, and no handle too many."""

    def two_words() -> Iterator[str]:
        yield "one"
        yield "one"
        raise OSError("the disk is gone")

    words = Words(engine)
    with pytest.raises(OSError, match="the disk is gone"):
        words.count(two_words())
    with pytest.raises(TypeError, match="unhashable"):
        words.count(["two", []])
    assert words.all() == {"one": 2, "two": 1}
    words.exports.release_all()
    assert len(words.table) == 0


def test_wordcount_reports_to_a_host_that_raises(engine: str) -> None:
    """An exception out of report() changes nothing."""
    words = Words(engine)
    words.count(["to", "be", "or", "not", "to", "be"])
    words.reported = None  # type: ignore[assignment]  # append fails
    with pytest.raises(AttributeError):
        words.exports.report_top(2)
    assert words.top(2) == [("to", 2), ("be", 2)]
    words.exports.release_all()
    assert len(words.table) == 0


def test_wordcount_in_a_full_table(engine: str) -> None:
    """The code for a full table; what was counted stays, and there is room again after a release."""
    words = Words(engine, memory_limit=3 * 65536)
    assert words.count(map(str, range(200_000))) == TABLE_FULL
    room = words.table.capacity()
    assert len(words.table) == room
    assert words.all() == dict.fromkeys(map(str, range(room - 1)), 1)
    assert words.count(["1", "1"]) == 2, "known words need no room"
    words.exports.release_all()
    assert len(words.table) == 0
    assert words.count(["new"]) == 1


class Cache:
    """The guest lru."""

    def __init__(self, engine: str, capacity: int | None, **options: Any) -> None:
        self.table = Hiwire("extern_realloc", engine=engine, identity="equality", **options)
        self.guest = Guest(shipped("guest-lru"), hiwire=self.table)
        exports = self.guest.exports
        self.start, self.put, self.get = exports.lru_start, exports.lru_put, exports.lru_get
        self.clear, self.length = exports.lru_clear, exports.lru_len
        if capacity is not None:
            assert self.start(capacity) == 1


_keys = st.integers(0, 7)
_steps = st.one_of(
    st.tuples(st.just("put"), _keys, st.integers()),
    st.tuples(st.just("get"), _keys),
    st.tuples(st.just("clear")),
    st.tuples(st.just("start"), st.integers(1, 5)),
)


@many
@given(capacity=st.integers(1, 5), steps=st.lists(_steps, max_size=80))
def test_lru_agrees_with_an_ordered_dict(engine: str, capacity: int, steps: list[tuple[Any, ...]]) -> None:
    """Random operations against collections.OrderedDict, handles counted after each."""
    cache = Cache(engine, capacity)
    model: OrderedDict[int, int] = OrderedDict()
    for name, *args in steps:
        if name == "put":
            key, value = args
            assert cache.put(key, value) == 1
            model[key] = value
            model.move_to_end(key)
            if len(model) > capacity:
                model.popitem(last=False)
        elif name == "get":
            assert cache.get(args[0]) == model.get(args[0], NULL)
            if args[0] in model:
                model.move_to_end(args[0])
        elif name == "clear":
            cache.clear()
            model.clear()
        else:
            capacity = args[0]
            assert cache.start(capacity) == 1
            model.clear()
        assert cache.length() == len(model)
        assert len(cache.table) == 2 * len(model)
        assert {cache.table.refcount(ref) for ref in cache.table} <= {1}
    for key, value in list(model.items()):
        assert cache.get(key) == value


def test_lru_lets_objects_die(engine: str, no_gc: None) -> None:
    """A value dies when it is replaced, pushed out or cleared, and not before."""
    cache = Cache(engine, 2)
    things = [Thing(i) for i in range(4)]
    watch = [weakref.ref(thing) for thing in things]
    cache.put("a", things[0])
    cache.put("a", things[1])
    cache.put("b", things[2])
    cache.put("c", things[3])
    del things
    assert [ref() is None for ref in watch] == [True, True, False, False]
    cache.clear()
    assert [ref() is None for ref in watch] == [True] * 4


def test_lru_keys(engine: str) -> None:
    """Keys are the same as in a dict; None is a value like any other, and an absent key gives NULL."""
    cache = Cache(engine, 10)
    cache.put(1, "one")
    assert cache.get(1.0) == cache.get(True) == "one"
    cache.put((1, "x"), None)
    assert cache.get((1, "x")) is None
    assert cache.get("absent") is NULL


def test_lru_refuses(engine: str) -> None:
    """Before its start, of a size that cannot be, and a key without a hash."""
    cache = Cache(engine, None)
    assert cache.put("key", "value") == 0
    assert cache.get("key") is NULL
    assert [cache.start(size) for size in (0, 2**26 + 1, -1)] == [0, 0, 0]
    assert cache.start(1) == 1
    cache.put("key", "value")
    with pytest.raises(TypeError, match="unhashable"):
        cache.put([], "other")
    with pytest.raises(TypeError, match="unhashable"):
        cache.get({})
    assert cache.start(2**26 + 1) == 0
    assert cache.get("key") == "value"
    assert len(cache.table) == 2


def test_lru_in_a_full_table(engine: str) -> None:
    """With no handle left, or only one, a put is refused and changes nothing."""
    cache = Cache(engine, 5, memory_limit=2 * 65536)
    cache.put("key", "value")
    refs = []
    while (ref := cache.table.exports["hiwire_new"](None)) != 0:
        refs.append(ref)
    for free in range(2):
        before = len(cache.table)
        assert cache.put("new", "value") == 0, f"with {free} free"
        assert len(cache.table) == before
        cache.table.decref(refs.pop())
    assert cache.put("new", "value") == 1
    assert (cache.get("key"), cache.get("new")) == ("value", "value")


@pytest.mark.parametrize("capacity", [2, 10])
def test_lru_called_again_from_a_key(engine: str, capacity: int) -> None:
    """A key's __hash__ that uses the cache itself does not confuse it, even where it pushes out the key asked
    for."""
    cache = Cache(engine, capacity)

    class Key:
        def __init__(self, name: str) -> None:
            self.name = name
            self.busy = False

        def __hash__(self) -> int:
            if not self.busy:
                self.busy = True
                cache.put("from " + self.name, self.name)
                assert cache.get("from " + self.name) == self.name
                self.busy = False
            return 7

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and self.name == other.name

    a, b = Key("a"), Key("b")
    for _ in range(3):
        assert cache.put(a, 1) == 1
        assert cache.put(b, 2) == 1
        found = [cache.get(key) for key in (a, b, "from a", "from b")]
        if capacity == 10:
            assert found == [1, 2, "a", "b"]
        assert cache.length() == min(4, capacity)
        assert len(cache.table) == 2 * cache.length()
        assert {cache.table.refcount(ref) for ref in cache.table} == {1}
    a.busy = b.busy = True  # quiet, so that the last release of a key adds nothing
    cache.clear()
    assert len(cache.table) == 0
