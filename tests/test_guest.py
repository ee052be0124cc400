"""Class Guest: imports, exports and the values that cross, on every engine.

It is long because of the modules in text form.
"""

from __future__ import annotations

import math

import pytest
from support import Thing, guest_file, wat

from hiwire_py import NULL, Guest, GuestTrap, Hiwire, UnsupportedModuleError

NUMBERS = """(module
  (func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0)
  (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "two") (result i32 f64) i32.const -1 f64.const 0.5)
  (func (export "none")))"""


class Index:
    """An integer that is no int, as NumPy's are."""

    def __index__(self) -> int:
        return 7


def test_numbers(engine: str) -> None:
    """Both forms of an integer are taken, the signed one is given; floats take integers too."""
    e = Guest(wat(NUMBERS), engine=engine).exports
    assert e.i32(0xFFFFFFFF) == -1 == e.i32(-1)
    assert e.i32(1 << 31) == -(1 << 31)
    assert e.i64((1 << 64) - 1) == -1
    assert e.i32(True) == 1 and e.i32(Index()) == 7 and e.i64(Index()) == 7
    assert e.f32(0.1) == pytest.approx(0.1, abs=1e-8) and e.f64(0.1) == 0.1
    assert e.f64(3) == 3.0 and e.f32(True) == 1.0 and math.isnan(e.f64(math.nan))
    assert e.two() == (-1, 0.5) and e.none() is None


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("i32", 1 << 32, OverflowError, r"argument 1 of i32\(\) must fit i32: 4294967296"),
        ("i32", -(1 << 31) - 1, OverflowError, "must fit i32"),
        ("i64", 1 << 64, OverflowError, "must fit i64"),
        ("i64", -(1 << 63) - 1, OverflowError, "must fit i64"),
        ("i32", "1", TypeError, r"argument 1 of i32\(\) must be an integer \(i32\), not str"),
        ("i32", 1.0, TypeError, "must be an integer"),
        ("i32", None, TypeError, "must be an integer"),
        ("f64", "1", TypeError, r"must be a number \(f64\), not str"),
        ("f32", None, TypeError, "must be a number"),
    ],
)
def test_values_of_the_wrong_kind(
    engine: str, name: str, value: object, error: type[Exception], words: str
) -> None:
    """Each is an exception that names argument, type and value; the guest works on."""
    e = Guest(wat(NUMBERS), engine=engine).exports
    with pytest.raises(error, match=words):
        e[name](value)
    assert e.i32(5) == 5


def test_argument_count(engine: str) -> None:
    """Too few or too many arguments are Python's own TypeError, with the function's name."""
    e = Guest(wat(NUMBERS), engine=engine).exports
    for args in ((), (1, 2)):
        with pytest.raises(TypeError, match=r"i32\(\)"):
            e.i32(*args)


def test_exports_as_a_mapping(engine: str) -> None:
    """Attributes and items; an unknown one lists the known."""
    e = Guest(wat(NUMBERS), engine=engine).exports
    assert "two" in e and sorted(e) == ["f32", "f64", "i32", "i64", "none", "two"] and len(e) == 6
    assert e["two"] is e.two and dir(e)
    assert e.two.__name__ == "two" and "-> (i32, f64)" in e.two.__doc__
    with pytest.raises(AttributeError, match="does not export 'three'; it exports f32"):
        e.three  # noqa: B018
    with pytest.raises(KeyError, match="does not export"):
        e["three"]


def test_null_and_none(engine: str) -> None:
    """The null externref is NULL, and None an object like others."""
    seen = []
    guest = Guest(
        guest_file("everything"),
        {
            "env": {
                "make": lambda n: None,
                "see": lambda x, n: seen.append(x),
                "swap": lambda a, b: (b, a),
                "again": lambda x, n: x,
            }
        },
        engine=engine,
    )
    e = guest.exports
    assert e.same(None) is None and e.same(NULL) is NULL and e.never() is NULL
    assert e.nulls(0, None) & 1 == 0 and e.nulls(0, NULL) & 1 == 1
    assert e.call_host(0, NULL) is None and seen == [NULL, NULL]
    assert e.swap(None, NULL) == (NULL, None)
    assert e.kept() is None


def test_host_function_results(engine: str) -> None:
    """What a host function returns is checked against its WebAssembly type."""
    results: list[object] = []
    guest = Guest(
        wat("""(module (import "env" "int" (func $i (result i32))) (import "env" "float" (func $f (result f64)))
        (import "env" "two" (func $t (result i32 externref))) (import "env" "none" (func $n))
        (func (export "int") (result i32) call $i) (func (export "float") (result f64) call $f)
        (func (export "two") (result i32 externref) call $t) (func (export "none") call $n))"""),
        {"env": dict.fromkeys(("int", "float", "two", "none"), lambda: results[0])},
        engine=engine,
    )

    def give(name: str, value: object) -> object:
        results[:] = [value]
        return guest.exports[name]()

    assert give("int", 0xFFFFFFFF) == -1 and give("int", -5) == -5 and give("int", True) == 1
    assert give("float", 3) == 3.0 and give("none", "ignored") is None
    assert give("two", (1, None)) == (1, None) and give("two", [2, NULL]) == (2, NULL)
    for name, value, error, words in [
        ("int", "a", TypeError, r"the result of host function env.int\(\) -> \(i32\) must be an integer"),
        ("int", None, TypeError, "must be an integer"),
        ("int", 1 << 32, OverflowError, "must fit i32"),
        ("float", "a", TypeError, "must be a number"),
        ("two", (1,), TypeError, r"env.two\(\) -> \(i32, externref\) must return 2 results"),
        ("two", (1, 2, 3), TypeError, r"env.two\(\) -> \(i32, externref\) must return 2 results"),
        ("two", 5, TypeError, r"env.two\(\) -> \(i32, externref\) must return 2 results"),
        ("two", ("a", 1), TypeError, r"result 1 of host function env.two\(.*\) must be an integer"),
    ]:
        with pytest.raises(error, match=words):
            give(name, value)
    assert give("int", 1) == 1


def test_host_exceptions_come_out_as_themselves(engine: str) -> None:
    """The identical exception, with the traceback into the host function; BaseExceptions too."""

    class Stop(BaseException):
        pass

    error: BaseException

    def fail() -> None:
        raise error

    guest = Guest(
        wat('(module (import "env" "fail" (func $f)) (func (export "go") call $f))'),
        {"env": {"fail": fail}},
        engine=engine,
    )
    for error in (
        ValueError("x"),
        RuntimeError("unreachable"),
        KeyError(5),
        Stop("now"),
        KeyboardInterrupt(),
        GuestTrap("t"),
    ):
        with pytest.raises(type(error)) as caught:
            guest.exports.go()
        assert caught.value is error
        assert "fail" in [entry.name for entry in caught.traceback]


def test_traps_have_kinds(engine: str) -> None:
    """Each trap is a GuestTrap that names the export and the trap in the specification's words."""
    guest = Guest(
        wat("""(module (memory 1) (table 2 funcref) (type $t (func))
        (func $g (param i32)) (elem (i32.const 1) $g)
        (func (export "unreachable") unreachable)
        (func (export "divide") (result i32) (i32.div_s (i32.const 1) (i32.const 0)))
        (func (export "overflow") (result i32) (i32.div_s (i32.const 0x80000000) (i32.const -1)))
        (func (export "convert") (result i32) (i32.trunc_f64_s (f64.const nan)))
        (func (export "memory") (result i32) (i32.load (i32.const -4)))
        (func (export "uninitialized") (call_indirect (type $t) (i32.const 0)))
        (func (export "mismatch") (call_indirect (type $t) (i32.const 1)))
        (func (export "outside") (call_indirect (type $t) (i32.const 9)))
        (func $r (export "recursion") (result i32) (i32.add (i32.const 1) (call $r))))"""),
        engine=engine,
    )
    expected = {
        "unreachable": "unreachable",
        "divide": "integer divide by zero",
        "overflow": "integer overflow",
        "convert": "invalid conversion to integer",
        "memory": "out of bounds memory access",
        "uninitialized": "uninitialized element",
        "mismatch": "indirect call type mismatch",
        "outside": "out of bounds table access",
        "recursion": "call stack exhausted",
    }
    for name, kind in expected.items():
        with pytest.raises(GuestTrap, match=rf"{name}\(\) trapped: {kind}") as caught:
            guest.exports[name]()
        assert caught.value.kind == kind


def test_memory(engine: str) -> None:
    """Bytes in and out, growth, and bounds."""
    guest = Guest(wat('(module (memory (export "memory") 1 3) (data (i32.const 16) "hello"))'), engine=engine)
    memory = guest.memory
    assert memory.size == 65536 and memory.read(16, 5) == b"hello"
    memory.write(65532, b"tail")
    assert memory.read(65532, 4) == b"tail"
    for address, count in ((65533, 4), (-1, 2), (0, 65537), (1 << 40, 1), (5, -1)):
        with pytest.raises(IndexError, match="not within the memory of 65536 bytes"):
            memory.read(address, count)
    with pytest.raises(IndexError):
        memory.write(65533, b"tail")
    assert memory.read(65532, 4) == b"tail"
    assert memory.grow(2) == 65536 and memory.size == 3 * 65536 and memory.read(65532, 8) == b"tail\0\0\0\0"
    with pytest.raises(MemoryError, match="cannot grow by 1"):
        memory.grow(1)
    with pytest.raises(AttributeError, match="exports no memory"):
        Guest(wat("(module)"), engine=engine).memory  # noqa: B018


def test_tables_and_globals(engine: str) -> None:
    """Exported tables of externrefs are sequences; globals have values."""
    guest = Guest(
        wat("""(module (table (export "t") 2 4 externref) (table (export "f") 1 funcref)
        (global (export "i") (mut i32) (i32.const 5)) (global (export "c") i64 (i64.const -1))
        (global $e (export "e") (mut externref) (ref.null extern))
        (func (export "e_set") (param externref) (global.set $e (local.get 0)))
        (func (export "get") (param i32) (result externref) (table.get 0 (local.get 0))))"""),
        engine=engine,
    )
    e = guest.exports
    thing = Thing()
    e.t[1] = thing
    assert e["get"](1) is thing is e.t[1] and e.t[0] is NULL and len(e.t) == 2
    assert e.t.grow(2, None) == 2 and e.t[3] is None
    with pytest.raises(MemoryError, match="cannot grow by 1"):
        e.t.grow(1, NULL)
    for index in (4, -1):
        with pytest.raises(IndexError, match=f"index {index}"):
            e.t[index]
        with pytest.raises(IndexError):
            e.t[index] = thing
    with pytest.raises(Exception, match="holds functions"):
        e.f[0]
    e.i.value = 0xFFFFFFFF
    assert e.i.value == -1 and e.c.value == -1 and e.e.value is NULL
    e.e_set(thing)
    assert e.e.value is thing
    with pytest.raises(TypeError, match="is immutable"):
        e.c.value = 1
    with pytest.raises(TypeError, match="only the guest can set"):
        e.e.value = thing
    with pytest.raises(OverflowError):
        e.i.value = 1 << 32


EXPORTER = """(module
  (table $t (export "t") 2 externref) (global $g (export "g") (mut externref) (ref.null extern))
  (memory (export "m") 1) (global (export "k") i32 (i32.const 11))
  (table $f (export "f") 2 funcref) (elem (table $f) (i32.const 1) func $put)
  (func $put (export "put") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
  (func (export "take") (param i32) (result externref) (table.get $t (local.get 0))))"""
IMPORTER = """(module
  (type $put (func (param i32 externref))) (type $confused (func (param i32 i32)))
  (import "a" "put" (func $put (param i32 externref))) (import "a" "take" (func $take (param i32) (result externref)))
  (import "a" "t" (table $t 2 externref)) (import "a" "g" (global $g (mut externref)))
  (import "a" "m" (memory 1)) (import "a" "k" (global $k i32)) (import "a" "f" (table $f 2 funcref))
  (func (export "move") (param i32 i32) (call $put (local.get 1) (call $take (local.get 0))))
  (func (export "keep") (param i32) (global.set $g (table.get $t (local.get 0))))
  (func (export "kept") (result externref) (global.get $g))
  (func (export "indirect") (param i32 externref)
    (call_indirect $f (type $put) (local.get 0) (local.get 1) (i32.const 1)))
  (func (export "confused") (param i32 i32)
    (call_indirect $f (type $confused) (local.get 0) (local.get 1) (i32.const 1)))
  (func (export "k") (result i32) (i32.add (global.get $k) (i32.load (i32.const 0)))))"""


def test_guests_that_share(engine: str) -> None:
    """Functions, tables, globals and memories of one guest in another; objects keep their identity."""
    first = Guest(wat(EXPORTER), engine=engine)
    second = Guest(wat(IMPORTER), {"a": first.exports})
    thing, other = Thing(), Thing()
    first.exports.put(0, thing)
    second.exports.move(0, 1)
    assert first.exports.take(1) is thing
    second.exports.keep(1)
    assert second.exports.kept() is thing is first.exports.g.value
    second.exports.indirect(0, other)
    assert first.exports.t[0] is other
    first.memory.write(0, b"\5")
    assert second.exports.k() == 16


def test_indirect_calls_tell_externref_from_i32(engine: str) -> None:
    """Lowered types stay different: no integer can be passed off as an object, also across guests."""
    first = Guest(wat(EXPORTER), engine=engine)
    second = Guest(wat(IMPORTER), {"a": first.exports})
    with pytest.raises(GuestTrap, match="indirect call type mismatch"):
        second.exports.confused(0, 1)


def test_imports_of_the_wrong_type(engine: str) -> None:
    """What does not fit is refused by its original type, before and after lowering."""
    exporter = Guest(wat(EXPORTER), engine=engine)
    for text, words in [
        (
            '(import "a" "put" (func (param i32 i32)))',
            r"of type \(i32, i32\) -> \(\), but 'put' is of type \(i32, externref\)",
        ),
        ('(import "a" "g" (global externref))', "of type externref, but 'g' is of type mutable externref"),
        ('(import "a" "g" (global (mut i32)))', "of type mutable i32"),
        ('(import "a" "t" (table 1 funcref))', "of type table of funcref"),
        ('(import "a" "t" (table 1 4 externref))', "of type table of externref"),
    ]:
        with pytest.raises(UnsupportedModuleError, match=words):
            Guest(wat(f"(module {text})"), {"a": exporter.exports})


def test_functions_of_another_space(engine: str) -> None:
    """A function of a guest elsewhere works too, through Python."""
    first, second = Guest(wat(EXPORTER), engine=engine), Guest(wat(EXPORTER), engine=engine)
    third = Guest(
        wat(
            '(module (import "a" "put" (func $p (param i32 externref))) (import "b" "take" (func $t (param i32) (result externref)))'
            '(func (export "go") (param i32) (call $p (local.get 0) (call $t (local.get 0)))))'
        ),
        {"a": {"put": first.exports.put}, "b": {"take": second.exports.take}},
    )
    thing = Thing()
    second.exports.put(1, thing)
    third.exports.go(1)
    assert first.exports.take(1) is thing
    with pytest.raises(TypeError, match="must be a memory of the same space"):
        Guest(
            wat('(module (import "a" "put" (func (param i32 externref))) (import "b" "m" (memory 1)))'),
            {"a": {"put": first.exports.put}, "b": {"m": second.exports.m}},
        )


def test_global_imports(engine: str) -> None:
    """Immutable globals take values, objects among them."""
    thing = Thing()
    guest = Guest(
        wat("""(module (import "e" "i" (global $i i32)) (import "e" "f" (global $f f64)) (import "e" "o" (global $o externref))
        (func (export "i") (result i32) (global.get $i)) (func (export "f") (result f64) (global.get $f))
        (func (export "o") (result externref) (global.get $o)))"""),
        {"e": {"i": 7, "f": 2, "o": thing}},
        engine=engine,
    )
    assert (guest.exports.i(), guest.exports.f()) == (7, 2.0) and guest.exports.o() is thing
    with pytest.raises(TypeError, match=r"import e\.i must be an integer"):
        Guest(wat('(module (import "e" "i" (global i32)))'), {"e": {"i": "x"}}, engine=engine)
    with pytest.raises(TypeError, match="mutable global"):
        Guest(wat('(module (import "e" "i" (global (mut i32))))'), {"e": {"i": 1}}, engine=engine)


HANDLES = """(module
  (import "env" "hiwire_new" (func $new (param externref) (result i32)))
  (import "hiwire" "hiwire_get" (func $get (param i32) (result externref)))
  (import "env" "hiwire_decref" (func $decref (param i32)))
  (func (export "put") (param externref) (result i32) (call $new (local.get 0)))
  (func (export "take") (param i32) (result externref) (call $get (local.get 0)))
  (func (export "drop") (param i32) (call $decref (local.get 0))))"""


def test_guest_shares_a_table(engine: str, variant: str) -> None:
    """Handles made in the guest are good in Python, and the other way round; invalid ones raise out of the
    guest."""
    table = Hiwire(variant, engine=engine)
    for guest in (
        Guest(wat(HANDLES), hiwire=table),
        Guest(wat(HANDLES), {"env": table.exports, "hiwire": table.exports}),
    ):
        thing = Thing()
        ref = guest.exports.put(thing)
        assert table.get(ref) is thing and table.refcount(ref) == 1
        guest.exports.drop(ref)
        assert not table.is_valid(ref)
        mine = table.new(thing)
        assert guest.exports.take(mine) is thing
        table.decref(mine)
        with pytest.raises(LookupError, match="was released"):
            guest.exports.take(mine)
    with pytest.raises(ValueError, match="cannot run on"):
        Guest(wat(HANDLES), hiwire=table, engine="wasmtime" if engine != "wasmtime" else "native")


def test_handles_with_the_top_bit(engine: str) -> None:
    """A handle that a guest gives as a negative number is the same handle."""
    table = Hiwire(engine=engine)
    guest = Guest(wat(HANDLES), hiwire=table)
    for _ in range(40):
        ref = guest.exports.put("x")
        assert table.get(ref) == "x" and table.is_valid(ref)
        guest.exports.drop(ref)
    assert ref < 0


def test_initialize_runs_once(engine: str) -> None:
    """A reactor's `_initialize` is called when the guest is made."""
    guest = Guest(
        wat("""(module (global $n (export "n") (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 1)))))"""),
        engine=engine,
    )
    assert guest.exports.n.value == 1


def test_engine_by_environment(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HIWIRE_ENGINE decides where no engine is named."""
    monkeypatch.setenv("HIWIRE_ENGINE", engine)
    assert engine in repr(Guest(wat("(module)"))) and engine in repr(Hiwire())
