"""The runner of passes: what engines require is there afterwards, and nothing else has changed."""

from __future__ import annotations

import pytest
import wasmtime
from support import wat

from hiwire_py import UnsupportedModuleError
from hiwire_py.passes import runner
from hiwire_py.requirements import ACCESSED, Code, Requirements
from hiwire_py.wasm.module import GLOBAL, MEMORY, TABLE, Kind, Module

_ENGINE = wasmtime.Engine()
_TEXT = """(module (import "a" "t" (table 3 funcref)) (import "a" "f" (func $f (param externref)))
  (table $own (export "own") 2 funcref) (memory (export "hiwire_py.2.0") 1) (global $g (mut i32) (i32.const 1))
  (func $start (global.set $g (i32.const 2))) (start $start)
  (func (export "start") (param externref) (call $f (local.get 0))) (elem (i32.const 0) $start))"""
_ALL = Requirements(largest_table=50, separate_start=True, plain_names=True)


def validate(wasm: bytes) -> None:
    """As an engine's."""
    try:
        wasmtime.Module.validate(_ENGINE, wasm)
    except wasmtime.WasmtimeError as error:
        raise UnsupportedModuleError(str(error)) from error


def run(text: str, requires: Requirements, lasting: bool = False) -> Code:
    code = runner.run(Module.parse(wat(text)), requires, validate, lasting).code
    validate(code.wasm)
    return code


def test_nothing_required() -> None:
    """A module of which nothing is required stays the same object."""
    plain = Module.parse(wat('(module (func (export "f") (param i32)))'))
    assert runner.run(plain, Requirements(), validate).code == Code(plain.wasm, plain.wasm, plain.wasm)


def test_everything_required() -> None:
    """All passes together: each leaves what it promises, though others come after it."""
    code = run(_TEXT, _ALL, lasting=True)
    named, made = Module.parse(code.named), Module.parse(code.wasm)
    assert not any(functype.has_externref for functype in named.types)
    assert all(table.limits.maximum == 50 for table in named.tables[1:])
    assert named.start is None and all(element.offset is None for element in named.elements)
    assert code.start == "start'" and code.start in {e.name for e in named.exports}
    assert code.state is not None and code.state.why_fixed == "it imports the table a.t"
    names = {e.name: (e.kind, e.index) for e in named.exports}
    for hidden, kind in (
        (code.state.memories, MEMORY),
        (code.state.numbers, GLOBAL),
        (code.state.functions, TABLE),
    ):
        assert hidden and all(names[name][0] == kind for name in hidden)
    assert code.state.memories == ["hiwire_py.2.0'"]  # the module has an export of the other name
    assert [e.name for e in made.exports] == [f"x{i}" for i in range(len(named.exports))]
    assert [(i.module, i.name) for i in made.imports] == [("h", f"i{i}") for i in range(len(named.imports))]
    assert [(e.kind, e.index) for e in made.exports] == [(e.kind, e.index) for e in named.exports]
    assert all(kind != Kind.CUSTOM for kind, _, _ in made.sections)


_SEVERAL = """(module (import "a" "t" (table 3 funcref)) (import "a" "g" (global $g i32))
  (import "a" "f" (func $f (param externref))) (memory (export "m") 1) (memory $n (export "n") 1)
  (global $h i32 (i32.add (global.get $g) (i32.const 1))) (global $i i32 (i32.mul (i32.const 6) (i32.const 7)))
  (data (memory $n) (offset (i32.sub (global.get $g) (i32.const 1))) "x")
  (func (export "go") (param externref) (result i32) (call $f (local.get 0))
    (i32.add (global.get $h) (i32.load $n (global.get $i)))) (elem (i32.const 0) $f))"""


def test_several_memories_and_long_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass leaves a valid module, though the start is deferred between the two that need it."""
    monkeypatch.setenv("HIWIRE_CHECK_PASSES", "1")
    code = run(_SEVERAL, _ALL._replace(short_constants=True, one_memory=True))
    named, (accessor,) = Module.parse(code.named), code.accessors
    validate(accessor.wasm)
    assert len(named.memories) == 1 and accessor.exports == ("n",) and accessor.name == "memory 1"
    assert [e.name for e in named.exports] == ["m", "go", "start"] and code.start == "start"
    assert all(code.named[slice(*g.init)] == b"\x41\0\x0b" for g in named.own(GLOBAL)[:1] if g.init)
    assert b"\x41\x2a\x0b" in code.named
    wanted = {e.name for e in Module.parse(accessor.wasm).exports} - {ACCESSED}
    assert wanted == {i.name for i in named.imports if i.module == accessor.name}
    assert wanted == {"init0", "drop0", "28+0"}


def test_invalid_modules_are_found_before_lowering() -> None:
    """Lowering makes valid what takes an externref for an i32: so the module is validated first."""
    wasm = bytearray(wat("(module (func (param externref i32) (result i32) (i32.eqz (local.get 1))))"))
    at = wasm.index(b"\x20\x01\x45")
    wasm[at + 1] = 0
    with pytest.raises(UnsupportedModuleError, match="type mismatch"):
        runner.run(Module.parse(bytes(wasm)), Requirements(), validate)


def test_debug_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With HIWIRE_CHECK_PASSES a pass that makes an invalid module is named."""
    run(_TEXT, _ALL)
    monkeypatch.setattr(runner, "limit_tables", lambda module, most: module.wasm + b"\x0b\2\1\x07")
    monkeypatch.setenv("HIWIRE_CHECK_PASSES", "1")
    with pytest.raises(AssertionError, match="the pass table_limits made an invalid module"):
        run(_TEXT, _ALL)
