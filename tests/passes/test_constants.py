"""Constant expressions of several instructions: folded, or computed at the start, they have the values that
the plain ``wasmtime`` package gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import use_engine, wat
from test_memories import ENGINE, instantiate, instantiate_passed, passed

from hiwire_py import Guest, GuestTrap, UnsupportedModuleError
from hiwire_py.passes.constants import fold_constants, has_long_constants
from hiwire_py.wasm.module import Module

_IMPORTS = '(import "a" "base" (global $base i32)) (import "a" "wide" (global $wide i64))'
_GIVEN = {"base": 40, "wide": -(1 << 40)}
_GLOBALS = """
  (global $a i32 (i32.mul (i32.const 6) (i32.sub (i32.const 3) (i32.const -4))))
  (global $b i32 (i32.add (global.get $base) (i32.const 4)))
  (global $c (mut i64) (i64.sub (i64.mul (global.get $wide) (i64.const 3)) (i64.const 1)))
  (global $d i64 (i64.mul (i64.const 0x7fffffffffffffff) (i64.const 5)))
  (global $e (mut i32) (global.get $base))
  (global $f i32 (i32.const -1))
  (func (export "a") (result i32) (global.get $a)) (func (export "b") (result i32) (global.get $b))
  (func (export "c") (result i64) (global.get $c)) (func (export "d") (result i64) (global.get $d))
  (func (export "e") (result i32) (global.get $e)) (func (export "f") (result i32) (global.get $f))
  (export "A" (global $a)) (export "C" (global $c)) (export "D" (global $d))"""
_SEGMENTS = """(memory (export "m") 1) (table $t 60 funcref) (type $n (func (result i32)))
  (func $one (type $n) (i32.const 1)) (func $two (type $n) (i32.const 2))
  (data (offset (i32.sub (i32.const 9) (i32.const 4))) "folded")
  (data (offset (i32.mul (global.get $base) (i32.const 2))) "computed")
  (elem (offset (i32.add (i32.const 1) (i32.const 2))) $one)
  (elem (offset (i32.add (global.get $base) (i32.const 2))) $two $one)
  (func (export "by") (param i32) (result i32) (call_indirect $t (type $n) (local.get 0)))"""


def test_globals(engine: str) -> None:
    """Globals that are folded and globals that depend on imported ones; exported ones have their values in
    Python, too."""
    guest = Guest(wat(f"(module {_IMPORTS} {_GLOBALS})"), {"a": _GIVEN}, engine=engine)
    exports = guest.exports
    c, d = -(3 << 40) - 1, (0x7FFFFFFFFFFFFFFF * 5 + (1 << 63)) % (1 << 64) - (1 << 63)
    assert [exports[name]() for name in "abcdef"] == [42, 44, c, d, 40, -1]
    assert [exports[name].value for name in "ACD"] == [42, c, d]


def test_segments(engine: str) -> None:
    """Offsets of data and of elements."""
    guest = Guest(wat(f"(module {_IMPORTS} {_SEGMENTS})"), {"a": _GIVEN}, engine=engine)
    assert guest.memory.read(5, 6) == b"folded" and guest.memory.read(80, 8) == b"computed"
    assert [guest.exports.by(place) for place in (3, 42, 43)] == [1, 2, 1]


def test_what_is_out_of_bounds(engine: str) -> None:
    """An offset that is computed at the start, and is beyond the memory, is a trap; what came before it is
    written."""
    text = """(module (import "a" "base" (global $base i32)) (import "b" "m" (memory 1))
      (data (i32.const 0) "yes") (data (offset (i32.sub (global.get $base) (i32.const 41))) "no"))"""
    owner = Guest(wat('(module (memory (export "m") 1))'), engine=engine)
    with pytest.raises(GuestTrap) as caught:
        Guest(wat(text), {"a": _GIVEN, "b": {"m": owner.exports.m}})
    assert caught.value.kind == "out of bounds memory access"
    assert owner.memory.read(0, 4) == b"yes\0"


@pytest.mark.parametrize("name", ["wasmer", "native"])
def test_refusal(name: str) -> None:
    """An immutable global that others can import cannot be computed at the start: it says so, by its name."""
    text = f'(module {_IMPORTS} (global (export "g") i32 (i32.add (global.get $base) (i32.const 4))))'
    with pytest.raises(UnsupportedModuleError, match="the global 'g' is exported, immutable, and computed"):
        Guest(wat(text), {"a": _GIVEN}, engine=use_engine(name))
    assert Guest(wat(text), {"a": _GIVEN}, engine="wasmtime").exports.g.value == 44


def test_others_are_left_alone() -> None:
    """A module whose constants are all of one instruction is not looked at further; of one that has another,
    sections without any stay as they are, byte for byte."""
    plain = '(global i32 (i32.const 70000)) (memory 1) (data (i32.const 1) "x") (table 1 funcref)'
    assert not has_long_constants(Module.parse(wat(f"(module {plain} (elem (i32.const 0) func))")))
    wasm = wat(f"(module {_IMPORTS} {plain} (global i64 (i64.add (i64.const 1) (i64.const 2))))")
    module = Module.parse(wasm)
    made = fold_constants(module)
    assert has_long_constants(module) and not made.before and not made.late
    again = Module.parse(made.wasm)
    for (kind, start, end), (other, begin, stop) in zip(module.sections, again.sections, strict=True):
        assert kind == other and (kind == 6 or wasm[start:end] == made.wasm[begin:stop])


def _expressions(bits: int, leaf: str) -> st.SearchStrategy[str]:
    number = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1).map(lambda n: f"(i{bits}.const {n})")
    return st.recursive(
        st.one_of(number, number, st.just(leaf)),
        lambda inner: st.builds(
            lambda op, one, other: f"(i{bits}.{op} {one} {other})",
            st.sampled_from(["add", "sub", "mul"]),
            inner,
            inner,
        ),
        max_leaves=8,
    )


_SOME = st.lists(
    st.one_of(
        st.tuples(st.just("i32"), _expressions(32, "(global.get $base)")),
        st.tuples(st.just("i64"), _expressions(64, "(global.get $wide)")),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(_SOME)
def test_any_expression(some: list[tuple[str, str]]) -> None:
    """Expressions of any depth have the same value with the pass and without it."""
    globals_ = "".join(
        f'(global $g{i} {type_} {text}) (func (export "f{i}") (result {type_}) (global.get $g{i}))'
        for i, (type_, text) in enumerate(some)
    )
    wasm = wat(f"(module {_IMPORTS} {globals_})")
    assert not has_long_constants(Module.parse(passed(wasm).wasm))

    def values(make: Callable[..., dict[str, Any]]) -> list[int]:
        store = wasmtime.Store(ENGINE)
        values = {"base": wasmtime.Val.i32, "wide": wasmtime.Val.i64}
        types = {"base": wasmtime.ValType.i32(), "wide": wasmtime.ValType.i64()}
        given = {
            ("a", name): wasmtime.Global(store, wasmtime.GlobalType(types[name], False), value(_GIVEN[name]))
            for name, value in values.items()
        }
        exports = make(store, wasm, given)
        return [exports[f"f{i}"](store) for i in range(len(some))]

    assert values(instantiate_passed) == values(instantiate)
