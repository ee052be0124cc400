"""Modules with several memories do what the plain ``wasmtime`` package makes of them: on an engine that has
one memory a module, by the pass, and on those that take them as they are.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import TRAPS
from support import use_engine, wat

from hiwire_py import Guest, GuestTrap, UnsupportedModuleError
from hiwire_py.objects import new_space, prepare
from hiwire_py.passes import runner
from hiwire_py.passes.memories import one_memory
from hiwire_py.requirements import ACCESSED, Code, Requirements
from hiwire_py.wasm.module import Module

PAGE = 65536
ENGINE = wasmtime.Engine()
_REQUIRES = Requirements(short_constants=True, one_memory=True)

_ACCESSES = {
    "i32": "i32.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u i32.store i32.store8 i32.store16",
    "i64": "i64.load i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u"
    " i64.store i64.store8 i64.store16 i64.store32",
    "f32": "f32.load f32.store",
    "f64": "f64.load f64.store",
}
_OFFSETS = itertools.cycle((0, 1, 65530, 0, 0xFFFFFFFF))
_COUNT = 3
_DATA = ("passive data, of which a part is taken", "x")
PROVIDER = '(module (memory (export "x") 1 4) (memory (export "y") 1 3))'
MEMORIES = {
    "its own": "(memory $m0 1 3) (memory $m1 1 2) (memory $m2 1)",
    "imported, one of them twice": '(import "a" "x" (memory $m0 1)) (import "a" "y" (memory $m1 1 3))'
    ' (import "a" "y" (memory $m2 1))',
    "the first twice": '(import "a" "x" (memory $m0 1)) (import "a" "x" (memory $m1 1)) (memory $m2 2 2)',
}


def _functions() -> Iterator[tuple[str, str, str]]:
    """Everything that can be done with each memory: name of the export, types of parameters, and text."""
    three = "(local.get 0) (local.get 1) (local.get 2)"
    for k in range(_COUNT):
        m = f"$m{k}"
        yield f"size{k}", "", f"(result i32) (memory.size {m})"
        yield f"grow{k}", "p", f"(param i32) (result i32) (memory.grow {m} (local.get 0))"
        yield f"fill{k}", "aic", f"(param i32 i32 i32) (memory.fill {m} {three})"
        for j in range(_COUNT):
            yield f"copy{k}{j}", "aac", f"(param i32 i32 i32) (memory.copy {m} $m{j} {three})"
        for d in range(len(_DATA)):
            yield f"init{k}{d}", "adc", f"(param i32 i32 i32) (memory.init {m} $d{d} {three})"
        for type_, names in _ACCESSES.items():
            integer = type_.replace("f", "i")
            for name in names.split():
                access = f"{name} {m} offset={0 if name == 'i64.store' else next(_OFFSETS)}"
                if "load" in name:
                    loaded = f"({access} (local.get 0))"
                    if type_ != integer:
                        loaded = f"({integer}.reinterpret_{type_} {loaded})"
                    yield f"{name} {k}", "a", f"(param i32) (result {integer}) {loaded}"
                else:
                    value = "(local.get 1)"
                    if type_ != integer:
                        value = f"({type_}.reinterpret_{integer} {value})"
                    short = "i" if integer == "i32" else "j"
                    yield (
                        f"{name} {k}",
                        f"a{short}",
                        f"(param i32 {integer}) ({access} (local.get 0) {value})",
                    )
    for d in range(len(_DATA)):
        yield f"drop{d}", "", f"(data.drop $d{d})"


FUNCTIONS = list(_functions())


def module(memories: str) -> bytes:
    """All these functions, with three memories, and active data in each."""
    functions = "".join(f'(func (export "{name}") {text})' for name, _, text in FUNCTIONS)
    exports = "".join(f'(export "m{k}" (memory $m{k}))' for k in range(_COUNT))
    passive = "".join(f'(data $d{d} "{text}")' for d, text in enumerate(_DATA))
    active = '(data (memory $m1) (i32.const 3) "active") (data (i32.const 5) "first")'
    return wat(f"(module {memories} {functions} {exports} {passive} {active})")


# ---- who runs them


class Side:
    """An instance somewhere; what it does can be compared with what others do."""

    call: Callable[..., Any]

    def done(self, name: str, *args: int) -> Any:
        """What a call gives, or how it traps."""
        raise NotImplementedError

    def contents(self, name: str) -> bytes:
        raise NotImplementedError

    def state(self) -> list[tuple[int, int]]:
        """Size and contents of each memory."""
        found = [self.contents(f"m{k}") for k in range(_COUNT)]
        return [(len(one), zlib.crc32(one)) for one in found]


class Plain(Side):
    """On the plain package, as it is, or what the pass made of it."""

    def __init__(self, wasm: bytes, passed: bool) -> None:
        self.store = wasmtime.Store(ENGINE)
        make = instantiate_passed if passed else instantiate
        given = {("a", n): one for n, one in make(self.store, wat(PROVIDER), {}).items()}
        self.exports = make(self.store, wasm, given)

    def done(self, name: str, *args: int) -> Any:
        try:
            return self.exports[name](self.store, *args)
        except wasmtime.Trap as error:
            return TRAPS[error.trap_code]  # type: ignore[index]

    def contents(self, name: str) -> bytes:
        return bytes(self.exports[name].read(self.store))


class OnEngine(Side):
    """On an engine of this package."""

    def __init__(self, wasm: bytes, engine: str) -> None:
        provider = Guest(wat(PROVIDER), engine=engine)
        given = {name: provider.exports[name] for name in ("x", "y")}
        self.guest = Guest(wasm, {"a": given}, engine=engine)

    def done(self, name: str, *args: int) -> Any:
        try:
            return self.guest.exports[name](*args)
        except GuestTrap as error:
            return error.kind

    def contents(self, name: str) -> bytes:
        memory = self.guest.exports[name]
        return bytes(memory.read(0, memory.size))


@functools.cache
def _compiled(wasm: bytes) -> wasmtime.Module:
    return wasmtime.Module(ENGINE, wasm)


def instantiate(store: wasmtime.Store, wasm: bytes, given: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """The exports of a module."""
    compiled = _compiled(wasm)
    externs = [given[wanted.module, wanted.name or ""] for wanted in compiled.imports]
    exports = wasmtime.Instance(store, compiled, externs).exports(store)
    return {export.name: exports[export.name] for export in compiled.exports}


@functools.cache
def passed(wasm: bytes) -> Code:
    """What the passes make of a module for an engine with one memory a module."""

    def validate(wasm: bytes) -> None:
        wasmtime.Module.validate(ENGINE, wasm)

    code = runner.run(Module.parse(wasm), _REQUIRES, validate).code
    for one in (code.wasm, *(accessor.wasm for accessor in code.accessors)):
        validate(one)
        assert len(Module.parse(one).memories) <= 1
    return code


def instantiate_passed(
    store: wasmtime.Store, wasm: bytes, given: Mapping[tuple[str, str], Any]
) -> dict[str, Any]:
    """The same exports, of what the passes made of it: as an engine does it."""
    code, externs, others = passed(wasm), dict(given), {}
    for accessor in code.accessors:
        made = instantiate(store, accessor.wasm, given)
        others.update(dict.fromkeys(accessor.exports, made.pop(ACCESSED)))
        externs.update({(accessor.name, field): one for field, one in made.items()})
    exports = instantiate(store, code.wasm, externs)
    if code.start is not None:
        exports.pop(code.start)(store)
    return {**exports, **others}


@pytest.fixture(params=["passed", "wasmer", "native"])
def side(request: pytest.FixtureRequest) -> Callable[[bytes], Side]:
    """Makes an instance of a module: on the plain package after the pass, or on an engine."""
    name: str = request.param
    if name == "passed":
        return lambda wasm: Plain(wasm, True)
    use_engine(name)
    return lambda wasm: OnEngine(wasm, name)


# ---- what is done

_EDGES = [edge * PAGE + more for edge in (0, 1, 2, 3) for more in (-65, -64, -33, -9, -8, -3, -1, 0, 1, 7)]
_ADDRESSES = st.one_of(
    st.integers(0, 200),
    st.sampled_from([edge & 0xFFFFFFFF for edge in _EDGES]),
    st.sampled_from([0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF9]),
)
_COUNTS = st.one_of(
    st.integers(0, 10),
    st.integers(0, 300),
    st.sampled_from([63, 64, 65, 127, 128, 129, 1000, PAGE, PAGE + 1, 0x80000000, 0xFFFFFFFF]),
)
_ARGUMENTS = {
    "a": _ADDRESSES,
    "c": _COUNTS,
    "d": st.integers(0, 50),
    "i": st.integers(0, (1 << 32) - 1),
    "j": st.integers(0, (1 << 64) - 1),
    "p": st.sampled_from([0, 1, 1, 2, 4, 0xFFFFFFFF]),
}
_WEIGHTS = [one for one in FUNCTIONS for _ in range(1 if "load" in one[0] or "store" in one[0] else 12)]


def _signed(value: int, letter: str) -> int:
    bits = 64 if letter == "j" else 32
    return value - (1 << bits) if value >> (bits - 1) else value


memories = pytest.mark.parametrize("name", MEMORIES)


@st.composite
def _calls(draw: Any) -> tuple[Any, ...]:
    name, letters, _ = draw(st.sampled_from(_WEIGHTS))
    return (name, *(_signed(draw(_ARGUMENTS[letter]), letter) for letter in letters))


# Something to copy: otherwise nearly all bytes are zero.
_SPREAD = [
    (f"i64.store {k}", at, 0x0123456789ABCDEF * (at + k + 1) % (1 << 62))
    for k in range(_COUNT)
    for at in range(0, 400, 8)
]


@memories
def test_same_as_without_the_pass(side: Callable[[bytes], Side], name: str) -> None:
    """Random calls give the same results and the same traps, and leave the same bytes."""
    wasm = module(MEMORIES[name])

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(_calls(), min_size=1, max_size=40))
    def run(calls: list[tuple[Any, ...]]) -> None:
        oracle, other = Plain(wasm, False), side(wasm)
        assert other.state() == oracle.state()
        for call in [*_SPREAD, *calls]:
            assert (call, other.done(*call)) == (call, oracle.done(*call))
        assert other.state() == oracle.state()

    run()


@memories
def test_copies(side: Callable[[bytes], Side], name: str) -> None:
    """Copies of every length around the steps in which they are made, up and down, that overlap where two
    memories are one."""
    wasm = module(MEMORIES[name])
    oracle, other = Plain(wasm, False), side(wasm)
    for one in (oracle, other):
        for call in _SPREAD:
            one.done(*call)
    pairs = [f"copy{k}{j}" for k in range(_COUNT) for j in range(_COUNT)]
    for count in [*range(20), 31, 33, 63, 64, 65, 66, 71, 72, 127, 128, 129, 200]:
        for to, from_ in (
            (3, 90),
            (90, 3),
            (40, 41),
            (41, 40),
            (17, 17),
            (PAGE - count, 0),
            (0, PAGE - count),
        ):
            for pair in pairs:
                assert other.done(pair, to, from_, count) is oracle.done(pair, to, from_, count) is None
        assert other.state() == oracle.state(), count


def test_nothing_is_written_by_a_copy_that_does_not_fit(side: Callable[[bytes], Side]) -> None:
    """A copy that is out of bounds by one byte on one side traps, and has changed nothing."""
    other = side(module(MEMORIES["its own"]))
    for call in _SPREAD:
        other.done(*call)
    before = other.state()
    for k in range(_COUNT):
        for j in range(_COUNT):
            for to, from_, count in (
                (0, PAGE - 99, 100),
                (PAGE - 99, 0, 100),
                (PAGE + 1, 0, 0),
                (0, PAGE + 1, 0),
            ):
                assert other.done(f"copy{k}{j}", to, from_, count) == "out of bounds memory access"
            assert other.done(f"copy{k}{j}", PAGE, PAGE, 0) is None
    assert other.state() == before


_ACTIVE = """(module (import "a" "x" (memory $m0 1)) (import "a" "y" (memory $m1 1))
  (data (memory $m1) (i32.const 0) "one") (data (memory $m0) (i32.const 0) "two")
  (data (memory $m1) (i32.const 65535) "no") (data (memory $m1) (i32.const 8) "never"))"""


def test_active_data_is_written_in_order(engine: str) -> None:
    """Of segments before one that does not fit, what was written stays, in every memory; of those behind it
    there is nothing."""
    guest = Guest(wat(PROVIDER), engine=engine)
    with pytest.raises(GuestTrap) as caught:
        Guest(wat(_ACTIVE), {"a": {name: guest.exports[name] for name in ("x", "y")}})
    assert caught.value.kind == "out of bounds memory access"
    assert guest.exports.x.read(0, 4) == b"two\0" and guest.exports.y.read(0, 16) == b"one" + bytes(13)


@pytest.mark.parametrize("make", [instantiate, instantiate_passed])
def test_active_data_of_the_plain_package(make: Callable[..., dict[str, Any]]) -> None:
    """The same on the plain package, with the pass and without it."""
    store = wasmtime.Store(ENGINE)
    provider = instantiate(store, wat(PROVIDER), {})
    with pytest.raises(wasmtime.Trap):
        make(store, wat(_ACTIVE), {("a", name): one for name, one in provider.items()})
    assert bytes(provider["x"].read(store, 0, 4)) == b"two\0"
    assert bytes(provider["y"].read(store, 0, 16)) == b"one" + bytes(13)


# ---- the rest of a module


def test_memories_go_from_guest_to_guest(engine: str) -> None:
    """A memory that is not its module's first is exported under two names, imported by others, grown from
    Python, and stays when the guest that made it is gone."""
    first = Guest(
        wat("""(module (memory 1) (memory $m (export "m") (export "n") 1 3)
        (func (export "put") (param i32 i32) (i32.store $m (local.get 0) (local.get 1)))
        (func (export "size") (result i32) (memory.size $m)))"""),
        engine=engine,
    )
    text = """(module (import "a" "n" (memory $n 1)) (memory $own 1)
      (func (export "fetch") (param i32) (result i32) (i32.load $n (local.get 0)))
      (func (export "copy") (memory.copy $own $n (i32.const 0) (i32.const 0) (i32.const 100)))
      (func (export "own") (param i32) (result i32) (i32.load $own (local.get 0))))"""
    second = Guest(wat(text), {"a": {"n": first.exports.n}})
    first.exports.put(8, 77)
    assert second.exports.fetch(8) == 77 and first.exports.m.read(8, 1) == b"M"
    assert first.exports.n.grow(1) == PAGE and first.exports.size() == 2 and first.exports.m.size == 2 * PAGE
    both = {"a": {"m": first.exports.m, "n": first.exports.n}}
    with pytest.raises(UnsupportedModuleError, match=r"a\W+n\b"):
        Guest(wat('(module (import "a" "m" (memory 1)) (import "a" "n" (memory 9)))'), both)
    both.clear()
    del first
    second.exports.copy()
    assert second.exports.own(8) == 77


def test_functions_keep_their_places(side: Callable[[bytes], Side]) -> None:
    """Functions that are called directly, by tables and references, and at the start are those that were
    meant, though others come before them."""
    wasm = wat("""(module (memory $m0 (export "m0") 1) (memory $m1 (export "m1") 1)
      (memory $m2 (export "m2") 1)
      (type $f (func (result i32))) (table $t 3 funcref) (elem (i32.const 0) $one $two)
      (elem $e declare func $three) (global $g (mut i32) (i32.const 5))
      (func $one (result i32) (i32.load8_u $m1 (i32.const 0)))
      (func $two (result i32) (i32.add (call $one) (i32.const 1)))
      (func $three (result i32) (i32.add (call $two) (global.get $g)))
      (func $start (i32.store8 $m1 (i32.const 0) (i32.const 40)) (global.set $g (i32.const 9))
        (table.set $t (i32.const 2) (ref.func $three)))
      (start $start)
      (func (export "by") (param i32) (result i32) (call_indirect $t (type $f) (local.get 0)))
      (func (export "three") (result i32) (call $three)))""")
    other = side(wasm)
    assert [other.done("by", place) for place in range(4)] == [40, 41, 50, "out of bounds table access"]
    assert other.done("three") == 50


def test_vectors() -> None:
    """Vectors are loaded and stored, also by lanes, in other memories than the first."""
    wasm = wat("""(module (memory $m0 (export "m0") 1) (memory $m1 (export "m1") 1)
      (memory $m2 (export "m2") 1)
      (func (export "go") (param i32)
        (v128.store $m1 offset=16 (local.get 0) (v128.load32_lane $m2 2 (local.get 0)
          (v128.load8x8_s $m1 (i32.const 1))))
        (v128.store16_lane $m2 offset=3 3 (local.get 0) (v128.load $m1 offset=7 (local.get 0))))
      (func (export "put") (param i32 i64) (i64.store $m1 (local.get 0) (local.get 1))
        (i64.store $m2 (local.get 0) (i64.rotl (local.get 1) (i64.const 9)))))""")
    sides = [
        Plain(wasm, False),
        Plain(wasm, True),
        OnEngine(wasm, "wasmtime"),
        OnEngine(wasm, use_engine("wasmer")),
    ]
    for call in (("put", 1, 0x1234567890ABCDEF), ("go", 1), ("go", 60), ("go", PAGE - 20), ("go", -1)):
        assert len({repr(one.done(*call)) for one in sides}) == 1
    assert len({repr(one.state()) for one in sides}) == 1


def test_data_is_kept_where_it_is_used() -> None:
    """A segment that only another memory is filled from is in that memory's module, and no more in the first;
    one that both use is in both. Where nothing uses it, it is nowhere."""
    code = passed(
        wat("""(module (memory 1) (memory $m 1)
      (data $a "only for m") (data $b "for both") (data $c "for none")
      (func (export "f") (memory.init $m $a (i32.const 0) (i32.const 0) (i32.const 1))
        (memory.init $m $b (i32.const 0) (i32.const 0) (i32.const 1))
        (memory.init 0 $b (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $a) (data.drop $c)))""")
    )
    (accessor,) = code.accessors
    assert [text in code.wasm for text in (b"only for m", b"for both", b"for none")] == [False, True, False]
    assert [text in accessor.wasm for text in (b"only for m", b"for both", b"for none")] == [
        True,
        True,
        False,
    ]


def test_names_that_are_taken() -> None:
    """A module that imports from a name that an accessor would have is given what it asks for."""
    wasm = wat("""(module (import "memory 1" "28+0" (func $f (param i32) (result i32)))
      (memory 1) (memory $m 1)
      (func (export "go") (result i32) (i32.store $m (i32.const 0) (i32.const 7))
        (i32.add (call $f (i32.const 1)) (i32.load $m (i32.const 0)))))""")
    code = passed(wasm)
    assert [accessor.name for accessor in code.accessors] == ["memory 1'"]
    for engine in ("wasmer", "wasmtime"):
        guest = Guest(wasm, {"memory 1": {"28+0": lambda n: n + 1}}, engine=use_engine(engine))
        assert guest.exports.go() == 9


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(memory 1) (memory 1 2 shared)", "memory 1 is shared"),
        ("(memory 1) (memory i64 1)", "memory 1 has 64 bits"),
        (
            "(memory 1) (memory $m 1) (func (drop (i32.atomic.load $m (i32.const 0))))",
            "an atomic instruction uses memory 1",
        ),
        (
            "(memory i64 1) (memory 1) (func (memory.copy 0 1 (i64.const 0) (i32.const 0) (i32.const 0)))",
            "memory.copy between memories 0 and 1, of which one has 64 bits",
        ),
    ],
)
def test_refusals(text: str, why: str) -> None:
    """What the pass cannot do is refused by its name."""
    with pytest.raises(UnsupportedModuleError, match=why):
        one_memory(Module.parse(wat(f"(module {text})")))


def test_compiled_modules_are_kept(engine: str) -> None:
    """What an engine has compiled can be written down and read again, with all its memories."""
    space = new_space(engine)
    wasm = wat("""(module (memory 1) (memory $m (export "m") 1) (memory $n (export "n") 2)
      (data (memory $n) (i32.const 1) "text")
      (func (export "f") (result i32) (memory.copy $m $n (i32.const 0) (i32.const 0) (i32.const 9))
        (i32.load8_u $m (i32.const 2))))""")
    prepared = prepare(space.engine, wasm)
    contents, notes = space.engine.serialize(prepared.compiled)
    again = space.engine.deserialize(bytes(contents), notes)
    kept: list[object] = []
    raw = space.store.instantiate(again, {}, kept.append)
    assert space.store.memory_size(raw["n"]) == 2 * PAGE and space.store.memory_size(raw["m"]) == PAGE
