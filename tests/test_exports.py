"""What a guest exports: functions and memory as items and attributes, on every engine."""

from __future__ import annotations

import array
import copy
import ctypes
import os
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from support import Thing, wat

from hiwire_py import NULL, Guest, Hiwire, UnsupportedModuleError, memory
from hiwire_py.exports import Exports
from hiwire_py.memory import GuestMemory
from hiwire_py.sidetable import SideTable

MEMORY = """(module (memory (export "memory") 1)
  (func (export "f") (param i32) (result i32) (local.get 0)))"""
ODD = (
    *("__heap_base", "__wbindgen_malloc", "__class__", "__dict__", "__len__", "__getitem__", "__x__"),
    *("_instance", "_make", "_abc_impl", "get", "keys", "items", "values", "", "a.b", "ä", "0", "None"),
    *("__instance__", "__made__", "__keep__", "__init__", "__eq__", "__reduce_ex__", "__deepcopy__"),
)


def odd_guest(engine: str) -> Guest:
    """Each function returns the place of its name."""
    functions = [f'(func (export "{name}") (result i32) i32.const {i})' for i, name in enumerate(ODD)]
    return Guest(wat(f"(module {' '.join(functions)})"), engine=engine)


def test_any_name_is_an_item(engine: str) -> None:
    """Items are exports and nothing else, whatever they are called."""
    exports = odd_guest(engine).exports
    assert list(exports) == list(ODD) == list(exports.keys()) and len(exports) == len(ODD)
    for i, name in enumerate(ODD):
        assert name in exports and exports[name]() == i and exports[name] is exports[name]
        assert exports.get(name) is exports[name]
    assert [function() for function in exports.values()] == list(range(len(ODD)))
    assert dict(exports.items()) == exports == dict(exports)


def test_what_is_no_export_is_no_item(engine: str) -> None:
    """No attribute of the object, or of what it is made of, can be had as an item."""
    exports = Guest(wat('(module (func (export "f")))'), engine=engine).exports
    for name in ODD:
        assert name not in exports and exports.get(name) is None and exports.get(name, 5) == 5
        with pytest.raises(KeyError, match="the guest does not export"):
            exports[name]
    assert exports.f is exports["f"] and list(exports) == ["f"]


def test_attributes(engine: str) -> None:
    """Every name is an attribute too, but for a mapping's own and those with two underscores at both ends."""
    exports = odd_guest(engine).exports
    for i, name in enumerate(ODD):
        own = name in ("get", "keys", "items", "values", "_abc_impl") or name[:2] == "__" == name[-2:]
        if own:
            assert getattr(exports, name, None) is not exports[name]
        else:
            assert getattr(exports, name) is exports[name] and exports[name]() == i
            assert vars(exports)[name] is exports[name]  # found without a call from now on
    assert isinstance(exports, Mapping) and isinstance(exports.__class__, type)
    with pytest.raises(AttributeError, match=r"an export is the item \['__x__'\]"):
        exports.__x__  # noqa: B018
    with pytest.raises(AttributeError, match="cannot be set"):
        exports.new = print
    with pytest.raises(TypeError, match=r'function get is the item \["get"\]'):
        exports.get(5)  # type: ignore[arg-type]  # what was meant to call the guest
    assert set(ODD) | {"keys"} <= set(dir(exports)) and f"{len(ODD)} exports" in repr(exports)


def test_an_unknown_name_among_many() -> None:
    """The error does not list hundreds of names, but those that are nearly the same."""
    text = "".join(f'(func (export "number_{i}"))' for i in range(300))
    exports = Guest(wat(f"(module {text})"), engine="wasmtime").exports
    with pytest.raises(KeyError, match=r"other names, .*number_29.* among them") as caught:
        exports["number_29x"]
    assert len(str(caught.value)) < 200


def test_all_exports_as_imports(engine: str) -> None:
    """The exports of one guest, as they are, are the imports of another in the same space."""
    first = Guest(
        wat("""(module (memory (export "memory") 1) (table (export "t") 1 externref)
        (global (export "__stack_pointer") (mut i32) (i32.const 7))
        (func (export "__wbindgen_malloc") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
        (func (export "get") (param externref) (result externref) (local.get 0)))"""),
        engine=engine,
    )
    second = Guest(
        wat("""(module (import "env" "memory" (memory 1)) (import "env" "t" (table $t 1 externref))
        (import "env" "__stack_pointer" (global $g (mut i32)))
        (import "env" "__wbindgen_malloc" (func $malloc (param i32) (result i32)))
        (import "env" "get" (func $get (param externref) (result externref)))
        (func (export "go") (param externref) (result i32)
          (table.set $t (i32.const 0) (call $get (local.get 0)))
          (i32.store8 (i32.const 9) (i32.const 65)) (call $malloc (global.get $g))))"""),
        {"env": first.exports},
    )
    thing = Thing()
    assert second.exports.go(thing) == 14 and first.exports.t[0] is thing
    assert first.memory.read(9, 1) == b"A" and second.instance.space is first.instance.space


def test_the_memory_whatever_its_name(engine: str) -> None:
    """`Guest.memory` finds it, and so does each item: under the name that it should have, if it has that."""
    names = ("__class__", "__memory", "get", "_instance", "mem")
    text = " ".join(f'(export "{name}" (memory 0))' for name in names)
    guest = Guest(wat(f'(module (memory 1) (data (i32.const 4) "there") {text})'), engine=engine)
    assert guest.memory is guest.exports["__class__"] and guest.memory.read(4, 5) == b"there"
    for name in names:
        assert guest.exports[name].read(4, 5) == b"there" and guest.exports[name] is guest.exports[name]


def test_no_copies(engine: str) -> None:
    """Nothing that stands for something in the engine can be copied or pickled."""
    guest = Guest(
        wat("""(module (memory (export "m") 1) (table (export "t") 1 externref)
        (global (export "g") i32 (i32.const 1)) (func (export "__deepcopy__")))"""),
        engine=engine,
    )
    e = guest.exports
    things: list[object] = [guest, e, e.m, e.t, e.g, Hiwire(engine=engine)]
    things.append(SideTable.__new__(SideTable))
    ways: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy, pickle.dumps]
    for thing in things:
        for way in ways:
            with pytest.raises(
                TypeError, match=f"a {type(thing).__name__} cannot be copied or pickled: what"
            ):
                way(thing)
        with pytest.raises(TypeError, match="cannot be copied"):
            copy.deepcopy({"in": [thing]})
    assert copy.deepcopy({"null": NULL})["null"] is NULL


def test_large_reads(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read in one piece that no C int can count takes another way, here from 8 bytes on; the contents
    go on after zeros."""
    monkeypatch.setattr(memory, "_MOST_AT_ONCE", 8)
    guest = Guest(wat(MEMORY), engine=engine)
    guest.memory.write(8, b"ab\0\0cdefgh")
    for count in (0, 4, 8, 9, 10, 65528):
        assert guest.memory.read(8, count) == b"ab\0\0cdefgh".ljust(count, b"\0")[:count]
    with pytest.raises(IndexError, match="bytes 8 to 65537"):
        guest.memory.read(8, 65529)


@pytest.mark.skipif(
    not os.environ.get("HIWIRE_TEST_LARGE"), reason="needs 8 GB of memory: HIWIRE_TEST_LARGE=1 runs it"
)
def test_more_than_two_gigabytes(engine: str) -> None:
    """Reads and writes of 2 GiB and more, and at addresses above."""
    size, pages = (1 << 31) + 65536, (1 << 15) + 1
    guest = Guest(wat('(module (memory (export "memory") 1 65536))'), engine=engine)
    m: GuestMemory = guest.memory
    assert m.grow(pages - 1) == 65536 and m.size == size
    m.write(5, b"first")
    m.write(size - 4, b"last")
    for start, count in ((0, size), (0, 1 << 31), (1, (1 << 31) - 1), (0, (1 << 31) + 1)):
        data = m.read(start, count)
        assert len(data) == count and data[5 - start : 10 - start] == b"first"
        assert (data[-4:] == b"last") == (start + count == size)
    data = m.read(0, size).replace(b"first", b"other")
    m.write(0, data)
    assert m.read(5, 5) == b"other" and m.read(size - 4, 4) == b"last"
    with pytest.raises(IndexError):
        m.write(1, data)
    assert m.grow(65535 - pages) == size and m.size == (1 << 32) - 65536  # on two engines there is no more
    m.write(m.size - 3, b"end")
    assert m.read(m.size - 3, 3) == b"end"
    with pytest.raises(MemoryError):
        m.grow(2)


def test_what_can_be_written(engine: str) -> None:
    """All that has the buffer protocol: its bytes in order. What has not is refused, numbers among it."""
    m = Guest(wat(MEMORY), engine=engine).memory
    every_second = memoryview(b"a-b-c-")[::2]
    backwards = memoryview(b"abc")[::-1]
    numbers = array.array("H", [0x6261, 0x6463])
    table = memoryview(bytes(range(65, 71))).cast("B", [2, 3])
    for data, expected in [
        (bytearray(b"xyz"), b"xyz"),
        (every_second, b"abc"),
        (backwards, b"cba"),
        (numbers, numbers.tobytes()),
        (table, b"ABCDEF"),
        (b"", b""),
    ]:
        m.write(0, bytes(8))
        m.write(0, data)  # type: ignore[arg-type]
        assert m.read(0, 8) == expected.ljust(8, b"\0")
    for wrong, words in [
        (5, "buffer protocol, not int"),
        ("x", "not str; encode it first"),
        ([1], "not list"),
    ]:
        with pytest.raises(TypeError, match=words):
            m.write(0, wrong)  # type: ignore[arg-type]
    assert m.read(0, 8) == bytes(8)


def test_numpy_arrays(engine: str) -> None:
    """NumPy's arrays can be written, and its integers are addresses, sizes, arguments and handles."""
    numpy = pytest.importorskip("numpy", reason="NumPy is not installed")
    guest = Guest(wat(MEMORY), engine=engine)
    m = guest.memory
    m.write(numpy.uint64(8), numpy.arange(6, dtype="<u2")[::2])
    assert m.read(numpy.int32(8), numpy.int8(6)) == b"\0\0\2\0\4\0"
    assert guest.exports.f(numpy.int64(5)) == 5
    table = Hiwire(engine=engine)
    ref = numpy.uint32(table.new("x"))
    assert table.get(ref) == "x" and ref in table and table.pop(ref) == "x" and ref not in table
    for wrong in (numpy.arange(3), numpy.float64(8)):
        with pytest.raises(TypeError, match="must be an integer, not"):
            m.read(wrong, 1)
        with pytest.raises(TypeError, match="must be an integer, not"):
            table.get(wrong)
    with pytest.raises(TypeError, match="not an array of Python objects"):
        m.write(0, numpy.array([object()]))


def test_a_view_of_the_memory_itself(engine: str) -> None:
    """What is written may overlap with where it goes."""
    m = Guest(wat(MEMORY), engine=engine).memory
    m.write(0, b"abcdef")
    m.write(2, (ctypes.c_char * 6).from_address(m.address))
    assert m.read(0, 8) == b"ababcdef"


def test_memory_of_no_pages(engine: str) -> None:
    """It can be read and written, no bytes at a time, and can grow."""
    m = Guest(wat('(module (memory (export "memory") 0 2))'), engine=engine).memory
    assert m.size == 0 and m.read(0, 0) == b""
    m.write(0, b"")
    with pytest.raises(IndexError, match="within the memory of 0 bytes"):
        m.read(0, 1)
    assert m.grow(0) == 0 and m.grow(1) == 0
    m.write(0, b"x")
    assert m.read(0, 1) == b"x"


@pytest.mark.parametrize(
    "pages", [3, 65536, 1 << 16 | 1, 1 << 32, (1 << 32) + 1, 1 << 64, (1 << 64) + 1, 1 << 70]
)
def test_growth_by_too_much(engine: str, pages: int) -> None:
    """Whatever the low bits of the number say, the memory or table does not grow."""
    guest = Guest(
        wat('(module (memory (export "memory") 1 3) (table (export "t") 1 3 externref))'), engine=engine
    )
    with pytest.raises(MemoryError, match="of 65536 bytes cannot grow"):
        guest.memory.grow(pages)
    with pytest.raises(MemoryError, match="of 1 elements cannot grow"):
        guest.exports.t.grow(pages, "x")
    assert guest.memory.size == 65536 and len(guest.exports.t) == 1
    for what in (guest.memory.grow, lambda n: guest.exports.t.grow(n, "x")):
        with pytest.raises(ValueError, match="must be 0 or more, not -1"):
            what(-1)


def test_a_signed_pointer_is_explained(engine: str) -> None:
    """Of an address that came from a guest as a negative number the error says what to do."""
    m = Guest(wat(MEMORY), engine=engine).memory
    with pytest.raises(IndexError, match="take & 0xFFFFFFFF"):
        m.read(-(1 << 32) + 8, 4)
    with pytest.raises(IndexError, match=r"not within the memory of 65536 bytes$"):
        m.read(-8, 4)


def test_table_indexes(engine: str) -> None:
    """Integers within the table, and nothing that Python's lists would take as well."""
    t = Guest(wat('(module (table (export "t") 2 externref))'), engine=engine).exports.t
    t[1] = "x"
    assert list(t) == [NULL, "x"] and "x" in t and list(reversed(t)) == ["x", NULL]
    for wrong, error, words in [
        (slice(0, 1), TypeError, "not by a slice"),
        (True, TypeError, "the index must be an integer, not bool"),
        (1.0, TypeError, "not float"),
        (2, IndexError, "index 2 is not within the table of 2 elements"),
        ((1 << 32) + 1, IndexError, "not within"),
        ((1 << 64) + 1, IndexError, "not within"),
        (-1, IndexError, "index -1"),
    ]:
        with pytest.raises(error, match=words):
            t[wrong]
        with pytest.raises(error, match=words):
            t[wrong] = "y"
    assert list(t) == [NULL, "x"]


def test_integer_globals_at_their_limits(engine: str) -> None:
    """Both forms of each integer are taken, the signed one is given, and one beyond is refused."""
    e = Guest(
        wat("""(module (global (export "i32") (mut i32) (i32.const 0))
        (global (export "i64") (mut i64) (i64.const 0)))"""),
        engine=engine,
    ).exports
    for code, low, high in (("i32", -(1 << 31), (1 << 32) - 1), ("i64", -(1 << 63), (1 << 64) - 1)):
        g = e[code]
        for number in (low, high, low + 1, -low, -1):
            g.value = number
            assert g.value == (number if number < -low else number - high - 1)
        for number in (low - 1, high + 1, 1 << 70):
            with pytest.raises(OverflowError, match=f"the global '{code}' must fit {code}"):
                g.value = number
        assert g.value == -1


def test_float_globals(engine: str) -> None:
    """What is no number, or a number that no float can be, is refused by name."""
    e = Guest(
        wat(
            '(module (global (export "f") (mut f32) (f32.const 0))'
            ' (global (export "d") (mut f64) (f64.const 0)))'
        ),
        engine=engine,
    ).exports
    for g in (e.f, e.d):
        g.value = 0.5
        assert g.value == 0.5
        g.value = 1e300  # as f32 it is infinity
        assert g.value in (1e300, float("inf"))
        with pytest.raises(OverflowError, match=r"the global '[fd]' must fit f\d\d"):
            g.value = 10**400


VECTORS = """(module (import "env" "f" (func $f (param i32)))
  (global (export "v") (mut v128) (v128.const i64x2 1 2)) (global (export "c") v128 (v128.const i64x2 1 2))
  (global (export "r") (mut funcref) (ref.null func)) (func (export "take") (param v128))
  (func (export "give") (result v128) (v128.const i64x2 1 2))
  (func (export "plain") (result i32) i32.const 5))"""


def test_types_that_cannot_cross(engine: str) -> None:
    """v128 and funcref: a module with them at its boundary is refused, or runs, and what has them is refused
    by name when it is used; nothing comes out as something else."""
    try:
        e = Guest(wat(VECTORS), {"env": {"f": print}}, engine=engine).exports
    except UnsupportedModuleError as error:
        assert "v128" in str(error) or "SIMD" in str(error) or "funcref" in str(error)
        return
    assert e.plain() == 5
    for name, code in (("v", "v128"), ("c", "v128"), ("r", "funcref")):
        with pytest.raises(TypeError, match=f"the global '{name}' is of type {code}, which cannot cross"):
            e[name].value  # noqa: B018
    for name, code in (("v", "v128"), ("r", "funcref")):
        with pytest.raises(TypeError, match=f"of type {code}, which cannot cross"):
            e[name].value = 5
    for name, args in (("take", (5,)), ("give", ())):
        with pytest.raises(TypeError, match="v128, which cannot cross"):
            e[name](*args)


@pytest.mark.parametrize("functype", ["(param v128)", "(result v128)", "(param i32 v128) (result i32)"])
def test_host_functions_of_vectors(engine: str, functype: str) -> None:
    """Refused when the guest is made: the import and its type are named."""
    text = f'(module (import "env" "f" (func $f {functype})))'
    with pytest.raises(UnsupportedModuleError, match=r"env\.f\(.*v128.*cannot|v128|SIMD"):
        Guest(wat(text), {"env": {"f": print}}, engine=engine)


def test_exports_keep_no_guest_in_a_cycle(engine: str, no_gc: None) -> None:
    """Using every way to reach an export leaves nothing for Python's collector: an object that the guest
    holds dies with it by its counts."""
    import weakref

    guest = Guest(
        wat("""(module (table (export "get") 1 externref)
        (func (export "f") (param externref) (table.set 0 (i32.const 0) (local.get 0))))"""),
        engine=engine,
    )
    thing = Thing()
    guest.exports.f(thing)
    assert guest.exports["get"][0] is thing and list(guest.exports.items()) and Exports(guest.instance)
    gone = weakref.ref(thing)
    del thing, guest
    assert gone() is None
