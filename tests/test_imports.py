"""What a guest's imports are given: each mistake is an error that names the import, what it wants, and what
would help.

It is long because there are many mistakes.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support import Thing, wat

from hiwire_py import (
    NULL,
    Guest,
    GuestTrap,
    Hiwire,
    StaleRefError,
    UnsupportedModuleError,
    deduplicate_functions,
    lower,
)
from hiwire_py.invalid_refs import OnInvalid
from hiwire_py.sidetable import SideTable

ENGINE = "wasmtime"  # where what is tested has nothing to do with the engine
CALLS = """(module (import "env" "f" (func $f (param i32) (result i32)))
  (func (export "g") (result i32) (call $f (i32.const 5))))"""
PARTS = """(module (memory (export "m") 1) (table (export "t") 1 externref)
  (global (export "g") i32 (i32.const 7))
  (global (export "v") (mut i32) (i32.const 8)) (global (export "e") externref (ref.null extern))
  (func (export "f") (param i32) (result i32) (local.get 0)))"""


async def coroutine(number: int) -> int:
    return number


async def generator(number: int) -> Any:
    yield number


class Asynchronous:
    async def __call__(self, number: int) -> int:
        return number

    async def method(self, number: int) -> int:
        return number

    @staticmethod
    async def static(number: int) -> int:
        return number


ASYNCHRONOUS: dict[str, Callable[..., Any]] = {
    "a coroutine function": coroutine,
    "an asynchronous generator": generator,
    "a partial of one": functools.partial(coroutine),
    "a partial of a partial": functools.partial(functools.partial(coroutine, 1)),
    "an object": Asynchronous(),
    "a partial of an object": functools.partial(Asynchronous()),
    "a method": Asynchronous().method,
    "a static method": Asynchronous.static,
}


@pytest.mark.parametrize("kind", ASYNCHRONOUS)
def test_coroutine_functions(kind: str) -> None:
    """Refused when they are given, wherever a function is."""
    function = ASYNCHRONOUS[kind]
    for give, what in [
        (
            lambda: Guest(wat(CALLS), {"env": {"f": function}}, engine=ENGINE),
            r"import env\.f\(i32\) -> \(i32\)",
        ),
        (lambda: Hiwire(engine=ENGINE, on_invalid=function), "on_invalid"),
        (lambda: Hiwire(engine=ENGINE, identity=function), "identity"),
        (lambda: deduplicate_functions(function), "identity"),
        (lambda: SideTable(b"", engine=ENGINE, on_full=function), "on_full"),
    ]:
        with pytest.raises(TypeError, match=rf"{what} must be a plain callable, not a coroutine function"):
            give()  # type: ignore[no-untyped-call]


def test_a_coroutine_as_the_result(engine: str) -> None:
    """What a function gives that is not known to be one: the error says what it is."""
    running = coroutine(5)
    guest = Guest(wat(CALLS), {"env": {"f": lambda number: running}}, engine=engine)
    with pytest.raises(
        TypeError, match=r"env\.f\(i32\) -> \(i32\) must be an integer .* coroutine.*nothing awaits"
    ):
        guest.exports.g()
    running.close()


class Taking:
    def __call__(self) -> int:
        return 5


@pytest.mark.parametrize(
    "function",
    [lambda: 5, lambda a, b: 5, lambda *, a: 5, functools.partial(lambda a, b: 5, 1, 2), Taking()],
)
def test_wrong_arity(engine: str, function: Callable[..., int]) -> None:
    """A host function that does not take what the guest gives: the error names the import and its type."""
    guest = Guest(wat(CALLS), {"env": {"f": function}}, engine=engine)
    for _ in range(2):
        with pytest.raises(TypeError) as caught:
            guest.exports.g()
        assert "env.f(i32) -> (i32) is called with 1 argument, which it does not take: " in str(caught.value)
        assert isinstance(caught.value.__cause__, TypeError)


def test_errors_of_the_function_itself(engine: str) -> None:
    """A TypeError that a host function raises, of wrong arity too, comes out as itself."""
    errors: list[TypeError] = []

    def fails(number: int) -> int:
        try:
            return (lambda: 5)(number)  # type: ignore[call-arg]
        except TypeError as error:
            errors.append(error)
            raise

    class Result:
        def __index__(self) -> int:
            raise TypeError("from the result")

    guest = Guest(wat(CALLS), {"env": {"f": fails}}, engine=engine)
    with pytest.raises(TypeError) as caught:
        guest.exports.g()
    assert caught.value is errors[0] and caught.value.__cause__ is None
    guest = Guest(wat(CALLS), {"env": {"f": lambda number: Result()}}, engine=engine)
    with pytest.raises(TypeError, match="must be an integer") as caught:
        guest.exports.g()
    assert str(caught.value.__cause__) == "from the result"
    for builtin in (len, dict):  # they take one argument, but not this one
        with pytest.raises(TypeError, match="int") as caught:
            Guest(wat(CALLS), {"env": {"f": builtin}}, engine=engine).exports.g()
        assert "env.f" not in str(caught.value)


def test_errors_leave_nothing_behind(engine: str, no_gc: None) -> None:
    """An error about a host function keeps no frame and no object alive once it is dropped."""
    guest = Guest(
        wat("""(module (import "env" "f" (func $f (param externref) (result i32)))
        (func (export "g") (param externref) (result i32) (call $f (local.get 0))))"""),
        {"env": {"f": lambda: 5}},
        engine=engine,
    )
    thing = Thing()
    gone = weakref.ref(thing)
    with contextlib.suppress(TypeError):
        guest.exports.g(thing)
    del thing
    assert gone() is None


def test_wrong_counts_of_results(engine: str) -> None:
    """How many are wanted and how many came; the result itself is not shown, which might take long."""

    class Unwritten(list[int]):
        def __repr__(self) -> str:
            raise AssertionError("not to be shown")

    guest = Guest(
        wat("""(module (import "env" "f" (func $f (result i32 i32)))
        (func (export "g") (result i32 i32) (call $f)))"""),
        {"env": {"f": lambda: Unwritten([1, 2, 3])}},
        engine=engine,
    )
    with pytest.raises(
        TypeError, match=r"env\.f\(\) -> \(i32, i32\) must return 2 results.*not a Unwritten of 3"
    ):
        guest.exports.g()


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        (
            "(func (param i32) (result i32))",
            "m",
            r"env\.x\(i32\) -> \(i32\) must be a callable, not GuestMemory",
        ),
        ("(func (param i32) (result i32))", "v", "must be a callable, not GuestGlobal"),
        ("(memory 1)", "f", "env.x must be a memory, but 'f' is a function"),
        ("(memory 1)", "t", "env.x must be a memory, but 't' is a table"),
        ("(table 1 externref)", "m", "env.x must be a table, but 'm' is a memory"),
        ("(global (mut i32))", "f", "env.x must be a global, but 'f' is a function"),
        ("(global i32)", "m", "env.x must be a global, but 'm' is a memory"),
    ],
)
def test_another_kind_of_export(wanted: str, given: str, words: str) -> None:
    """Named are the import, the kind that it is, and the kind that it was given."""
    exports = Guest(wat(PARTS), engine=ENGINE).exports
    with pytest.raises(TypeError, match=words):
        Guest(wat(f'(module (import "env" "x" {wanted}))'), {"env": {"x": exports[given]}})


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        ("(memory 1)", "m", "must be a memory of the same space, but 'm' is of another"),
        ("(table 1 externref)", "t", "must be a table of the same space"),
        ("(global (mut i32))", "v", "must be a global of the same space, .* the same hiwire=$"),
        ("(global i32)", "g", "must be a global of the same space, .*; or give its .value"),
        ("(global externref)", "e", "must be a global of the same space, .*; or give its .value"),
    ],
)
def test_exports_of_another_space(wanted: str, given: str, words: str) -> None:
    """What is not a function cannot come from a guest elsewhere; the error says what would do. Nor is the
    Python object that stands for a global taken for the global's value."""
    here, there = (Guest(wat(PARTS), engine=ENGINE).exports for _ in range(2))
    text = f'(module (import "env" "f" (func (param i32) (result i32))) (import "env" "x" {wanted}))'
    with pytest.raises(TypeError, match=words):
        Guest(wat(text), {"env": {"f": here.f, "x": there[given]}})
    if given in "ge":
        assert Guest(wat(text), {"env": {"f": here.f, "x": there[given].value}})


def test_a_guests_function_as_an_object() -> None:
    """Given for a global of externref it is the object that the global holds."""
    function = Guest(wat(PARTS), engine=ENGINE).exports.f
    guest = Guest(
        wat("""(module (import "env" "x" (global $x externref))
        (func (export "x") (result externref) (global.get $x)))"""),
        {"env": {"x": function}},
    )
    assert guest.exports.x() is function


def test_missing_hiwire_functions() -> None:
    """They come from a table: the error says how to pass one, or that it has no such function."""
    text = '(module (import "{}" "{}" (func)))'
    for module in ("env", "hiwire"):
        with pytest.raises(
            UnsupportedModuleError,
            match=rf"function {module}\.hiwire_new\(\) -> \(\); .* pass hiwire=Hiwire\(\)$",
        ):
            Guest(wat(text.format(module, "hiwire_new")), engine=ENGINE)
    table = Hiwire(engine=ENGINE)
    with pytest.raises(
        UnsupportedModuleError, match=r"<Hiwire static_pages .*> has no hiwire_other: build its module"
    ):
        Guest(wat(text.format("env", "hiwire_other")), hiwire=table)
    for module, name in (("env", "new"), ("other", "hiwire_new")):
        with pytest.raises(UnsupportedModuleError, match=rf"function {module}\.{name}\(\) -> \(\)$"):
            Guest(wat(text.format(module, name)), hiwire=table)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('(func (export "_initialize") (param i32))', r"a function of type \(i32\) -> \(\)"),
        ('(func (export "_initialize") (result i32) (i32.const 1))', r"a function of type \(\) -> \(i32\)"),
        ('(memory (export "_initialize") 1)', "a memory"),
        ('(global (export "_initialize") i32 (i32.const 1))', "a global"),
    ],
)
def test_initialize_that_is_none(text: str, found: str) -> None:
    """Refused before anything of the module has run."""
    run: list[int] = []
    module = f'(module (import "env" "start" (func $s)) (start $s) {text})'
    with pytest.raises(
        UnsupportedModuleError, match=rf"exports '_initialize' as {found}.*, not as a function of type"
    ):
        Guest(wat(module), {"env": {"start": lambda: run.append(1)}}, engine=ENGINE)
    assert not run


def test_wrong_mappings() -> None:
    """What is no mapping of mappings is refused, and by name."""
    for imports, words in [
        ([1], "imports must be a mapping of module names to mappings, .* not list"),
        ({"env": 5}, "for 'env' it has int"),
        ({"env": [("f", print)]}, "for 'env' it has list"),
    ]:
        with pytest.raises(TypeError, match=words):
            Guest(wat("(module)"), imports)  # type: ignore[arg-type]


TABLE = """(module (import "env" "hiwire_invalid_ref" (func $invalid (param i32 i32)))
  (func (export "hiwire_new") (param externref) (result i32) (i32.const 3))
  (func (export "hiwire_intern") (param externref) (result i32) (i32.const 2))
  (func (export "hiwire_get") (param i32) (result externref)
    (call $invalid (i32.const 1) (local.get 0)) (ref.null extern))
  (func (export "hiwire_pop") (param i32) (result externref) (ref.null extern))
  (func (export "hiwire_incref") (param i32)) (func (export "hiwire_decref") (param i32))
  (func (export "hiwire_num_refs") (result i32) (i32.const 0))
  (func (export "hiwire_refcount") (param i32) (result i32) (i32.const 0))
  (func (export "hiwire_is_valid") (param i32) (result i32) (i32.const 0))
  (func (export "hiwire_next") (param i32) (result i32) (i32.const 0))
  (func (export "hiwire_capacity") (result i32) {capacity})
  (func (export "_hiwire_slot_info") (param i32) (result i32) {slot_info}))"""


@pytest.mark.parametrize(
    ("capacity", "slot_info", "name"),
    [
        ("(i32.const 5)", "unreachable", "_hiwire_slot_info"),
        ("unreachable", "(i32.const 0)", "hiwire_capacity"),
    ],
)
def test_traps_while_an_invalid_handle_is_explained(
    engine: str, capacity: str, slot_info: str, name: str
) -> None:
    """A module of someone else that traps when the host asks it about a handle: a GuestTrap, as from any
    call, and no exception of an engine."""
    table = Hiwire(wat(TABLE.format(capacity=capacity, slot_info=slot_info)), engine=engine)
    for _ in range(2):
        with pytest.raises(GuestTrap, match=rf"{name}\(\) trapped: unreachable"):
            table.get(3)
    assert table.new("x") == 3


def test_what_on_invalid_raises(engine: str, variant: str) -> None:
    """Whatever it is, it comes out of the call as itself: also where it looks like an engine's own, or comes
    from another guest that trapped meanwhile."""
    other = Guest(wat('(module (func (export "f") unreachable))'), engine=engine)
    errors: list[BaseException] = []

    def raising(error: BaseException) -> Callable[[int, int], None]:
        def refuse(code: int, ref: int) -> None:
            raise error

        return refuse

    def trapping(code: int, ref: int) -> None:
        try:
            other.exports.f()
        except GuestTrap as error:
            errors.append(error)
            raise

    policies: list[OnInvalid] = [trapping]
    for error in (
        RuntimeError("unreachable"),
        KeyError(5),
        KeyError("x"),
        KeyError(),
        TypeError("x"),
        SystemExit(3),
    ):
        errors.insert(0, error)
        policies.insert(0, raising(error))
    for i, policy in enumerate(policies):
        table = Hiwire(variant, engine=engine, on_invalid=policy)
        with pytest.raises(BaseException) as caught:
            table.get(5)
        assert caught.value is errors[i]
        assert table.get(table.new("x")) == "x"


def test_a_key_error_from_elsewhere(engine: str) -> None:
    """Only the key that is an id is taken for an externref that was forged: a KeyError out of a signal
    handler, say, comes out as itself."""
    space = Guest(wat("(module)"), engine=engine).instance.space
    for error in (KeyError("x"), KeyError(), KeyError(1, 2)):
        space.explain(error, "f()")  # raises nothing


def test_iterating_while_the_table_changes(engine: str, variant: str) -> None:
    """Handles that are made or released meanwhile may be missed; all others come once each."""
    table = Hiwire(variant, engine=engine)
    refs = [table.new(i) for i in range(100)]
    seen = []
    for ref in table:
        seen.append(ref)
        if len(seen) == 10:
            for old in [refs[3], refs[9], *refs[20:30]]:  # before, where it stands, and after
                table.decref(old)
        if len(seen) < 200:
            table.new("more")
    assert len(seen) == len(set(seen)) and set(refs[:20] + refs[30:]) <= set(seen) | {refs[3], refs[9]}
    assert not set(refs[20:30]) & set(seen)
    iterator = iter(table)
    assert next(iterator) == refs[0]
    for ref in list(table):
        table.decref(ref)
    assert list(iterator) == [] and len(table) == 0
    with pytest.raises(StaleRefError):
        table.get(refs[0])


def test_what_is_in_a_table(engine: str) -> None:
    """`in` never raises: what cannot be a handle is not in the table."""
    table = Hiwire(engine=engine)
    ref = table.new(NULL)

    class Index:
        def __index__(self) -> int:
            return ref

    assert ref in table and Index() in table and ref | -(1 << 32) not in table
    for other in (None, True, "x", 3.0, [], -1, 1 << 70, 5, object()):
        assert other not in table


def test_malformed_code_is_named() -> None:
    """Lowering says that an index leads nowhere, and not which of Python's lists was too short."""
    wasm = bytearray(wat("(module (func (param externref) (drop (local.get 0))) (func (call 1)))"))
    at = wasm.rindex(b"\x10\x01")
    wasm[at + 1] = 0x50
    with pytest.raises(
        UnsupportedModuleError, match="refers to a type, function, table, global or local that it does not"
    ):
        lower(bytes(wasm))
