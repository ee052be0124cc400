"""Arguments of the wrong kind, to everything public: each answer is a sentence that this package wrote."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import wat

import hiwire_py
from hiwire_py import Guest, GuestObject, Hiwire, deduplicate_functions, layout, lower, needs_lowering
from hiwire_py.errors import HiwireError
from hiwire_py.sidetable import SideTable, WasmObject
from hiwire_py.toolchain import build

PACKAGE = Path(hiwire_py.__file__).parent
VALUES: dict[str, Any] = {
    "None": None,
    "True": True,
    "5": 5,
    "-1": -1,
    "2**70": 1 << 70,
    "10**5000": 10**5000,  # Python refuses to write it
    "5.0": 5.0,
    "'x'": "x",
    "b''": b"",
    "[]": [],
    "{}": {},
    "object()": object(),
    "a class": int,
    "NULL": hiwire_py.NULL,
}
GUEST = """(module (memory (export "memory") 1 2) (table (export "t") 2 4 externref)
  (global (export "i") (mut i32) (i32.const 0)) (global (export "l") (mut i64) (i64.const 0))
  (global (export "f") (mut f32) (f32.const 0)) (global (export "d") (mut f64) (f64.const 0))
  (func (export "take_i") (param i32)) (func (export "take_l") (param i64))
  (func (export "take_f") (param f32)) (func (export "take_d") (param f64))
  (func (export "free") (param i32)))"""
IMPORTS = """(module (import "env" "f" (func (param i32) (result i32))))"""
CONSTANT = """(module (import "env" "g" (global i32)))"""
MEMORY = """(module (import "env" "m" (memory 1)))"""
TABLE = """(module (import "env" "t" (table 1 externref)))"""
EMPTY = "(module)"
SIDE_TABLE = """(module (import "env" "memory" (memory 1 10)) (global $next (mut i32) (i32.const 64))
  (func (export "make_obj") (result i32)
    (global.set $next (i32.add (global.get $next) (i32.const 8))) (global.get $next))
  (func (export "free_obj") (param i32)) (func (export "attach_callback") (param i32 externref))
  (func (export "invoke_callback") (param i32)))"""
EXPECTED = (
    *(HiwireError, TypeError, ValueError, LookupError, AttributeError, OverflowError, MemoryError, OSError),
)
OK = layout(8, handles=[0])


def set_value(target: Any, value: Any) -> None:
    target.value = value


def set_element(target: Any, index: Any) -> None:
    target[index] = "x"


def host_result(env: Any, value: Any) -> None:
    guest = Guest(
        wat('(module (import "env" "f" (func $f (result i32))) (func (export "g") (drop (call $f))))'),
        {"env": {"f": lambda: value}},
        engine=env.engine,
    )
    guest.exports.g()


def host_results(env: Any, value: Any) -> None:
    guest = Guest(
        wat(
            '(module (import "env" "f" (func $f (result i32 f64)))'
            ' (func (export "g") (result i32 f64) (call $f)))'
        ),
        {"env": {"f": lambda: value}},
        engine=env.engine,
    )
    guest.exports.g()


# What is called with each value, and the values that it rightly takes.
CASES: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "Guest(x)": (lambda env, x: Guest(x, engine=env.engine), ""),
    "Guest(imports=x)": (lambda env, x: Guest(wat(EMPTY), x, engine=env.engine), "None, {}"),
    "Guest(imports={'env': x})": (lambda env, x: Guest(wat(EMPTY), {"env": x}, engine=env.engine), "{}"),
    "an imported function": (
        lambda env, x: Guest(wat(IMPORTS), {"env": {"f": x}}, engine=env.engine),
        "a class",
    ),
    "an imported global": (
        lambda env, x: Guest(wat(CONSTANT), {"env": {"g": x}}, engine=env.engine),
        "True, 5, -1",
    ),
    "an imported memory": (lambda env, x: Guest(wat(MEMORY), {"env": {"m": x}}, engine=env.engine), ""),
    "an imported table": (lambda env, x: Guest(wat(TABLE), {"env": {"t": x}}, engine=env.engine), ""),
    "Guest(engine=x)": (lambda env, x: Guest(wat(EMPTY), engine=x), "None"),
    "Guest(hiwire=x)": (lambda env, x: Guest(wat(EMPTY), engine=env.engine, hiwire=x), "None"),
    "Guest(memory_limit=x)": (lambda env, x: Guest(wat(EMPTY), engine="wasmtime", memory_limit=x), "None, 5"),
    "Guest(table_limit=x)": (lambda env, x: Guest(wat(EMPTY), engine="wasmtime", table_limit=x), "None, 5"),
    "Guest(deadline=x)": (lambda env, x: Guest(wat(EMPTY), engine="wasmtime", deadline=x), "None, 5, 5.0"),
    "Guest(fuel=x)": (lambda env, x: Guest(wat(EMPTY), engine="wasmtime", fuel=x), "None, 5"),
    "exports[x]": (lambda env, x: env.guest.exports[x if x.__hash__ else ()], ""),
    "exports.get(x)": (lambda env, x: env.guest.exports.get(x), "'x'"),
    "an i32 argument": (lambda env, x: env.guest.exports.take_i(x), "True, 5, -1"),
    "an i64 argument": (lambda env, x: env.guest.exports.take_l(x), "True, 5, -1"),
    "an f32 argument": (lambda env, x: env.guest.exports.take_f(x), "True, 5, -1, 2**70, 5.0"),
    "an f64 argument": (lambda env, x: env.guest.exports.take_d(x), "True, 5, -1, 2**70, 5.0"),
    "a host function's result": (host_result, "True, 5, -1"),
    "a host function's results": (host_results, ""),
    "memory.read(x, 1)": (lambda env, x: env.guest.memory.read(x, 1), "5"),
    "memory.read(0, x)": (lambda env, x: env.guest.memory.read(0, x), "5"),
    "memory.write(x, b'')": (lambda env, x: env.guest.memory.write(x, b""), "5"),
    "memory.write(0, x)": (lambda env, x: env.guest.memory.write(0, x), "b''"),
    "memory.grow(x)": (lambda env, x: env.guest.memory.grow(x), ""),
    "table[x]": (lambda env, x: env.guest.exports.t[x], ""),
    "table[x] = 'x'": (lambda env, x: set_element(env.guest.exports.t, x), ""),
    "table.grow(x, None)": (lambda env, x: env.guest.exports.t.grow(x, None), ""),
    "i32 global": (lambda env, x: set_value(env.guest.exports.i, x), "True, 5, -1"),
    "i64 global": (lambda env, x: set_value(env.guest.exports.l, x), "True, 5, -1"),
    "f32 global": (lambda env, x: set_value(env.guest.exports.f, x), "True, 5, -1, 2**70, 5.0"),
    "f64 global": (lambda env, x: set_value(env.guest.exports.d, x), "True, 5, -1, 2**70, 5.0"),
    "Hiwire(x)": (lambda env, x: Hiwire(x, engine=env.engine), ""),
    "Hiwire(engine=x)": (lambda env, x: Hiwire(engine=x), "None"),
    "Hiwire(identity=x)": (lambda env, x: Hiwire(engine=env.engine, identity=x), "a class"),
    "Hiwire(on_invalid=x)": (lambda env, x: Hiwire(engine=env.engine, on_invalid=x), "a class"),
    "Hiwire(memory_limit=x)": (
        lambda env, x: Hiwire(engine=env.engine, memory_limit=x),
        "5, 2**70, 10**5000",
    ),
    "table.get(x)": (lambda env, x: env.table.get(x), ""),
    "table.pop(x)": (lambda env, x: env.table.pop(x), ""),
    "table.incref(x)": (lambda env, x: env.table.incref(x), ""),
    "table.decref(x)": (lambda env, x: env.table.decref(x), ""),
    "table.refcount(x)": (lambda env, x: env.table.refcount(x), "5, -1, 2**70, 10**5000"),
    "table.is_valid(x)": (lambda env, x: env.table.is_valid(x), "5, -1, 2**70, 10**5000"),
    "deduplicate_functions(x)": (lambda env, x: deduplicate_functions(x), "a class"),
    "lower(x)": (lambda env, x: lower(x), ""),
    "needs_lowering(x)": (lambda env, x: needs_lowering(x), ""),
    "layout(x)": (lambda env, x: layout(x), "5"),
    "layout(guest, x)": (lambda env, x: layout(env.guest, x), ""),
    "layout(handles=x)": (lambda env, x: layout(8, handles=x), "b'', [], {}"),
    "layout(handles=[x])": (lambda env, x: layout(8, handles=[x]), ""),
    "layout(owns=x)": (lambda env, x: layout(8, owns=x), "None, {}"),
    "layout(owns={4: x})": (lambda env, x: layout(8, owns={4: x}), "a class"),
    "GuestObject(x, ...)": (lambda env, x: GuestObject(x, 64, layout=OK, free="free"), ""),
    "GuestObject(pointer=x)": (lambda env, x: GuestObject(env.guest, x, layout=OK, free="free"), ""),
    "GuestObject(pointer=a function)": (
        lambda env, x: GuestObject(env.guest, lambda: x, layout=OK, free="free"),
        "",
    ),
    "GuestObject(layout=x)": (lambda env, x: GuestObject(env.guest, 64, layout=x, free="free"), ""),
    "GuestObject(free=x)": (lambda env, x: GuestObject(env.guest, 64, layout=OK, free=x), ""),
    "SideTable(x)": (lambda env, x: SideTable(x, engine=env.engine), ""),
    "SideTable(engine=x)": (lambda env, x: SideTable(env.module, engine=x), "None"),
    "SideTable(memory_limit=x)": (
        lambda env, x: SideTable(env.module, engine=env.engine, memory_limit=x),
        "",
    ),
    "SideTable(on_full=x)": (
        lambda env, x: SideTable(env.module, engine=env.engine, on_full=x),
        "None, a class",
    ),
    "WasmObject(x)": (lambda env, x: WasmObject(x), ""),
    "attach_callback(x)": (lambda env, x: WasmObject(env.side).attach_callback(x), "a class"),
    "build(static_pages=x)": (lambda env, x: build("nowhere", static_pages=x, toolchain="x"), ""),
}


def ours(error: BaseException) -> bool:
    """Whether it was raised by a statement of this package, and not by Python in the midst of its code; or by
    the system, about a file."""
    if isinstance(error, OSError):
        return error.filename is not None
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename.startswith("<hiwire_py "):  # made when the guest was
        return str(error).startswith("host function ")
    line = linecache.getline(last.filename, last.lineno or 0)
    return PACKAGE in Path(last.filename).parents and line.lstrip().startswith("raise ")


@pytest.mark.parametrize("case", CASES)
def test_wrong_arguments(engine: str, case: str) -> None:
    """Taken where it makes sense; else an exception of ours, of the right kind, with a text."""
    use, taken = CASES[case]
    env = SimpleNamespace(
        engine=engine,
        guest=Guest(wat(GUEST), engine=engine),
        table=Hiwire(engine=engine),
        module=wat(SIDE_TABLE),
    )
    env.side = SideTable(env.module, engine=engine) if "attach" in case else None
    for name, value in VALUES.items():
        try:
            use(env, value)
        except EXPECTED as error:
            assert name not in taken.split(", "), (name, error)
            assert ours(error) and len(str(error)) > 15, (name, repr(error))
        else:
            assert name in taken.split(", "), f"{case} took {name}"
    assert env.guest.exports.take_i(5) is None and len(env.table) == 0
