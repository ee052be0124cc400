"""Deduplication: three notions of sameness, and host code in the middle of it that fails or comes back."""

from __future__ import annotations

import pytest
from support import Thing

from hiwire_py import Hiwire, HiwireError, deduplicate_functions


def test_identity_is_not_equality(engine: str, variant: str) -> None:
    """Equal objects that are not identical get different handles."""
    table = Hiwire(variant, engine=engine)
    a, b = [1], [1]
    first = table.new_deduplicate(a)
    assert table.new_deduplicate(a) == first != table.new_deduplicate(b)
    assert table.refcount(first) == 2


def test_new_does_not_share(engine: str, variant: str) -> None:
    """Handles from `new` are not found by `new_deduplicate`."""
    table = Hiwire(variant, engine=engine)
    a = Thing()
    assert table.new(a) != table.new_deduplicate(a)


def test_equality(engine: str, variant: str) -> None:
    """Equal and hashed alike: one handle, the first object."""
    table = Hiwire(variant, engine=engine, identity="equality")
    first = "".join(["wo", "rd"])
    ref = table.new_deduplicate(first)
    assert table.new_deduplicate("".join(["w", "ord"])) == ref
    assert table.get(ref) is first
    table.decref(ref)
    table.decref(ref)
    again = table.new_deduplicate("word")
    assert again != ref and table.refcount(again) == 1


def test_key_function(engine: str, variant: str) -> None:
    """Sameness by a key."""
    table = Hiwire(variant, engine=engine, identity=str.lower)
    assert table.new_deduplicate("Word") == table.new_deduplicate("wORD") != table.new_deduplicate("other")


def test_unhashable(engine: str, variant: str) -> None:
    """Out of the guest call comes Python's own TypeError, and the table is as before."""
    table = Hiwire(variant, engine=engine, identity="equality")
    kept = table.new_deduplicate("kept")
    for _ in range(3):
        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            table.new_deduplicate([])
    assert table.num_refs() == 1 and table.get(kept) == "kept" and list(table) == [kept]
    assert table.new_deduplicate("kept") == kept


def test_key_that_fails_at_the_last_release(engine: str, variant: str) -> None:
    """When the map cannot be told of the release, nothing is released."""

    def key(value: object) -> object:
        if broken:
            raise RuntimeError("no key now")
        return value

    broken = False
    table = Hiwire(variant, engine=engine, identity=key)
    ref = table.new_deduplicate("x")
    broken = True
    with pytest.raises(RuntimeError, match="no key now"):
        table.decref(ref)
    assert table.get(ref) == "x" and table.refcount(ref) == 1
    broken = False
    table.decref(ref)
    assert not table.is_valid(ref)


def test_key_function_that_uses_the_table(engine: str, variant: str) -> None:
    """Host functions may come back into the same table while it asks them."""
    inner: list[int] = []

    def key(value: object) -> object:
        inner.append(table.new(Thing()))
        if len(inner) > 3:
            table.decref(inner.pop(0))
        return value

    table = Hiwire(variant, engine=engine, identity=key)
    refs = [table.new_deduplicate(i % 5) for i in range(50)]
    assert refs[:5] == refs[5:10] and len(set(refs)) == 5
    for ref in refs:
        table.decref(ref)
    assert sorted(table) == sorted(inner)


def test_many_keys(engine: str) -> None:
    """Thousands of keys, known and new."""
    table = Hiwire("extern_realloc", engine=engine, identity="equality")
    count = 3000
    refs = [table.new_deduplicate(str(i)) for i in range(count)]
    assert [table.new_deduplicate(str(i)) for i in range(count)] == refs
    assert len(table) == count
    for ref in refs + refs:
        table.decref(ref)
    assert len(table) == 0


def test_functions_alone() -> None:
    """Plain functions over a map, for any engine's imports."""
    functions = deduplicate_functions("equality")
    assert sorted(functions) == [
        "hiwire_deduplicate_delete",
        "hiwire_deduplicate_get",
        "hiwire_deduplicate_set",
    ]
    get, set_ = functions["hiwire_deduplicate_get"], functions["hiwire_deduplicate_set"]
    assert get("x") == 0
    set_("x", 7)
    assert get("x") == 7
    functions["hiwire_deduplicate_delete"]("x")
    assert get("x") == 0


def test_identity_when_addresses_are_reused() -> None:
    """The map keeps its objects, so a new object at an old address cannot be taken for one that is gone."""
    functions = deduplicate_functions()
    for i in range(1000):
        thing = Thing()
        assert functions["hiwire_deduplicate_get"](thing) == 0
        functions["hiwire_deduplicate_set"](thing, i + 1)


def test_bad_notions() -> None:
    """A misspelt notion is an error that lists them."""
    with pytest.raises(ValueError, match='"identity", "equality" or a function'):
        deduplicate_functions("same")
    with pytest.raises(TypeError, match="not int"):
        deduplicate_functions(3)  # type: ignore[arg-type]
    assert issubclass(HiwireError, Exception)
