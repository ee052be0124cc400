"""Modules whose start is told from their making do the same things in the same order."""

from __future__ import annotations

import pytest
import wasmtime
from support import wat

from hiwire_py.passes import Module
from hiwire_py.passes.deferred import defer_start

_BASE = """(import "a" "t" (table $t 6 funcref)) (import "a" "at" (global $at i32)) (table $u 4 funcref)
  (type $n (func (result i32)))
  (memory (export "m") 1) (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
  (func (export "t") (param i32) (result i32) (call_indirect $t (type $n) (local.get 0)))
  (func (export "u") (param i32) (result i32) (call_indirect $u (type $n) (local.get 0)))"""
_MODULES = {
    "functions": "(elem (i32.const 1) $one $two) (elem $u (offset (i32.const 2)) func $two)",
    "expressions": "(elem (global.get $at) funcref (ref.func $one) (ref.null func))"
    " (elem (table $u) (i32.const 0) funcref (ref.func $two))",
    "passive": """(elem $p func $one) (elem declare func $two)
        (elem $q funcref (ref.null func) (ref.func $two))
        (data $d "passive") (data (i32.const 8) "active")
        (func $s (table.init $t $p (i32.const 0) (i32.const 0) (i32.const 1))
          (table.init $u $q (i32.const 1) (i32.const 0) (i32.const 2))
          (memory.init $d (i32.const 0) (i32.const 0) (i32.const 7))) (start $s)""",
    "data": '(data (i32.const 0) "one") (data (global.get $at) "two") (data (i32.const 65536) "")',
    "start": "(func $s (i32.store (i32.const 0) (i32.const 0x21))) (start $s)",
    "start last": '(data (i32.const 0) "a") (elem (i32.const 0) $one) (func $s (i32.store8 (i32.const 1)'
    " (call_indirect $t (type $n) (i32.const 0)))) (start $s)",
    "beyond a table": '(elem (i32.const 0) $one) (elem (i32.const 6) $one) (data (i32.const 0) "no")',
    "beyond the memory": '(elem (i32.const 0) $one) (data (i32.const 0) "yes") (data (i32.const 65536) "x")',
    "a start that traps": "(elem (i32.const 0) $one) (func $s unreachable) (start $s)",
    "a name that is taken": '(func (export "start") (export "start\'")) (elem (i32.const 0) $one)',
    "long": f'(elem (i32.const 0) {"$one " * 6}) (data (i32.const 100) "{"x" * 9000}")',
}
_CALLER = """(module (table (export "t") 6 funcref) (global (export "at") i32 (i32.const 3))
  (type $n (func (result i32))) (func (export "call") (param i32) (result i32)
    (call_indirect (type $n) (local.get 0))))"""


def _run(wasm: bytes, start: str | None) -> list[object]:
    """What is there when a module has been started, whether that went well or not."""
    store = wasmtime.Store()
    caller = wasmtime.Instance(store, wasmtime.Module(store.engine, wat(_CALLER)), []).exports(store)
    linker = wasmtime.Linker(store.engine)
    for name in ("t", "at"):
        linker.define(store, "a", name, caller[name])
    found: list[object] = []
    exports = None
    try:
        exports = linker.instantiate(store, wasmtime.Module(store.engine, wasm)).exports(store)
        if start is not None:
            exports[start](store)  # type: ignore[operator]
    except wasmtime.Trap as e:
        found.append(e.trap_code)
        exports = None  # nobody sees them where the start is not deferred

    def call(function: object, index: int) -> object:
        try:
            return function(store, index)  # type: ignore[operator]
        except wasmtime.Trap as e:
            return e.trap_code

    found += [call(caller["call"], i) for i in range(7)]
    if exports is not None:
        found += [call(exports["u"], i) for i in range(5)]
        found.append(bytes(exports["m"].read(store, 0, 65536)))  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("name", _MODULES)
def test_same_start(name: str) -> None:
    """Tables, memory and the trap of a module started at once and of the same module started later."""
    wasm = wat(f"(module {_BASE} {_MODULES[name]})")
    deferred = defer_start(Module.parse(wasm))
    assert deferred is not None
    later, start = deferred
    assert start not in {export.name for export in Module.parse(wasm).exports}
    assert _run(later, start) == _run(wasm, None)


def test_nothing_to_defer() -> None:
    """A module that does nothing at its start is left alone."""
    assert defer_start(Module.parse(wat(f'(module {_BASE} (data "x") (elem func $one))'))) is None
