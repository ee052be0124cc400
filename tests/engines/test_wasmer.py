"""The engine wasmer: what its binding would fail at, and what becomes of such failures."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import python_path, wat

from hiwire_py import ClosedError, Guest, HiwireError, UnsupportedModuleError, engines

_INFO = next(info for info in engines() if info.name == "wasmer")
pytestmark = pytest.mark.skipif(not _INFO.available, reason=f"wasmer: {_INFO.reason}")

_AT_THE_BOUNDARY = """(module
  (func $f (export "give") (result funcref) (ref.func $f)) (func (export "take") (param funcref))
  (global (export "g") (mut funcref) (ref.null func)) (table (export "t") 2 funcref)
  (func (export "ok") (result i32) (i32.const 7)))"""


def _guest(text: str, imports: dict[str, dict[str, Any]] | None = None) -> Guest:
    return Guest(wat(text), imports, engine="wasmer")


def _of(kind: str, params: int, results: int) -> str:
    """A module with a function of so many parameters and results."""
    functype = f"(param {'i32 ' * params}) (result {'i64 ' * results})"
    if kind == "import":
        return f'(module (import "env" "wide" (func {functype})))'
    if kind == "export":
        return f'(module (func (export "wide") {functype} unreachable))'
    return f"(module (type {functype.join(('(func ', ')'))}))"


def _refused(text: str, *words: str) -> None:
    with pytest.raises(UnsupportedModuleError) as caught:
        _guest(text, {"env": {"wide": lambda *args: None}})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def _scenario() -> None:
    """What the binding panics at, each twice, since a second panic can end the process."""
    for _ in range(2):
        for params, results in ((600, 0), (0, 600), (300, 300), (1000, 1000)):
            for kind in ("export", "type", "import"):
                _refused(_of(kind, params, results), f"{kind} ", f"{params} parameters")
        _refused(_of("import", 200, 0), "import env.wide", "wasmtime")
        for functype in ("(param funcref)", "(result funcref)"):
            text = f'(module (import "env" "wide" (func {functype})))'
            _refused(text, "import env.wide", "funcref", "another guest")
    guest = _guest(_AT_THE_BOUNDARY)
    for _ in range(2):
        for call in (guest.exports.give, lambda: guest.exports.take(None)):
            with pytest.raises(TypeError, match="funcref, which cannot cross"):
                call()
    assert guest.exports.ok() == 7 and guest.exports.t is guest.exports.t


def _compiler_fails() -> None:
    """Modules at which the compiler panics are refused one by one, and others run as before."""
    vars(importlib.import_module("hiwire_py.engines.wasmer"))["_check_types"] = lambda declared: None
    text = """(module (import "e" "f" (func $f (param externref) (result externref))) (table 2 externref)
      (func (export "go") (param externref) (result externref)
        (table.set 0 (i32.const 1) (local.get 0)) (call $f (table.get 0 (i32.const 1)))))"""
    for number in range(3):
        _refused(_of("export", 600 + number, 0), "wasmer fails at the module")
        sent = object()
        guest = _guest(f'{text[:-1]} (func (export "n{number}")))', {"e": {"f": lambda x: [x]}})
        assert guest.exports.go(sent) == [sent]


@pytest.mark.parametrize("scenario", [_scenario, _compiler_fails])
def test_panics(scenario: Callable[[], None]) -> None:
    """What the binding panics at is refused with the reason, and nothing ends. In a process of its own, which
    a second panic would end."""
    run = subprocess.run(
        [sys.executable, __file__, scenario.__name__],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert scenario is _compiler_fails or run.stderr == ""


@pytest.mark.parametrize(("kind", "params", "results"), [("export", 512, 0), ("export", 256, 256)])
def test_types_that_are_just_small_enough(kind: str, params: int, results: int) -> None:
    """The largest types of functions that are let through compile."""
    _guest(_of(kind, params, results))
    _refused(_of(kind, params + 1, results), f"{kind} wide", f"{params + 1} parameters")


def test_imports_that_are_just_small_enough() -> None:
    """The largest import that is let through is called with all its arguments."""
    text = f"""(module (import "e" "f" (func $f (param {"i32 " * 170}) (result i32)))
      (func (export "go") (result i32) (call $f {"".join(f"(i32.const {i})" for i in range(170))})))"""
    assert _guest(text, {"e": {"f": lambda *args: sum(args)}}).exports.go() == sum(range(170))
    text = f"""(module (import "e" "f" (func $f (result {"i32 " * 170})))
      (func (export "go") (result i32) (call $f) {"i32.add " * 169}))"""
    assert _guest(text, {"e": {"f": lambda: range(170)}}).exports.go() == sum(range(170))


_PARTS = """(module (memory (export "m") 1) (global (export "g") (mut i32) (i32.const 3))
  (func (export "f") (result i32) (i32.const 1)))"""


def _elsewhere() -> Guest:
    """A guest whose objects of the binding panic here: they belong to another thread, which has ended."""
    made: list[Guest] = []
    thread = threading.Thread(target=lambda: made.append(_guest(_PARTS)))
    thread.start()
    thread.join()
    return made[0]


_USES: dict[str, Callable[[Guest], object]] = {
    "call": lambda guest: guest.exports.f(),
    "size": lambda guest: guest.memory.size,
    "read": lambda guest: guest.memory.read(0, 1),
    "grow": lambda guest: guest.memory.grow(1),
    "global": lambda guest: guest.exports.g.value,
    "set": lambda guest: setattr(guest.exports.g, "value", 1),
    "import": lambda guest: Guest(
        wat('(module (import "e" "f" (func (result i32))))'), {"e": {"f": guest.exports.f}}
    ),
}


@pytest.mark.parametrize("use", _USES)
def test_failures_of_the_engine(use: str) -> None:
    """A panic becomes a HiwireError, and the guest is closed; others are not concerned."""
    guest, other = _guest(_PARTS), _guest(_PARTS)
    guest.instance.raw = _elsewhere().instance.raw  # nothing that is known leads to a panic by itself
    with pytest.raises(HiwireError, match=r"the engine wasmer failed \(.*unsendable.* is closed") as caught:
        _USES[use](guest)
    assert type(caught.value) is HiwireError
    with pytest.raises(ClosedError):
        _ = guest.memory.size
    assert other.exports.f() == 1 and other.memory.size == 65536
    assert _guest(_PARTS).exports.f() == 1


def test_failure_inside_a_host_function() -> None:
    """The guests around the one at which the engine failed see an ordinary exception."""
    inner = _guest(_PARTS)
    inner.instance.raw = _elsewhere().instance.raw
    outer = _guest(
        '(module (import "e" "f" (func $f (result i32))) (func (export "go") (result i32) (call $f)))',
        {"e": {"f": lambda: inner.exports.f()}},
    )
    for error in (HiwireError, ClosedError):
        with pytest.raises(error) as caught:
            outer.exports.go()
        assert type(caught.value) is error


def test_memory_without_a_byte() -> None:
    """A memory of size 0 has an address, and grows there."""
    guest = _guest('(module (memory (export "m") 0 2))')
    address = guest.memory.address
    assert guest.memory.read(0, 0) == b""
    guest.memory.grow(1)
    assert guest.memory.address == address and guest.memory.read(0, 2) == b"\0\0"


def test_no_room_for_a_memory() -> None:
    """Where the machine has no address space for one more memory, that is a MemoryError."""
    text = wat('(module (memory (export "m") 1))')
    code = (
        f"import resource; from hiwire_py import Guest; wasm = {text!r}\n"
        "first = Guest(wasm, engine='wasmer')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34)); kept = []\n"
        "try:\n    while True: kept.append(Guest(wasm, engine='wasmer'))\n"
        "except MemoryError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("wasmer cannot make the guest: Insufficient resources")


def test_tables_that_grow() -> None:
    """A table grows up to ten million elements, whatever its maximum; more is refused to the guest. Tables
    that are linked have the limits that their modules declare."""
    text = """(module (table $a (export "a") 1 funcref) (table $b (export "b") 2 4294967295 funcref)
      (table $c (export "c") 3 9 funcref) (func $f (result i32) (i32.const 5))
      (elem (table $b) (i32.const 1) func $f)
      (func (export "a_grow") (param i32) (result i32) (table.grow $a (ref.null func) (local.get 0)))
      (func (export "b_grow") (param i32) (result i32) (table.grow $b (ref.null func) (local.get 0)))
      (func (export "c_grow") (param i32) (result i32) (table.grow $c (ref.null func) (local.get 0)))
      (func (export "b_call") (param i32) (result i32) (call_indirect $b (result i32) (local.get 0))))"""
    grow = _guest(text).exports
    assert [grow.a_grow(n) for n in (-1, 1 << 31, 1 << 24, 10_000_000, 2, 0)] == [-1, -1, -1, -1, 1, 3]
    assert [grow.b_grow(n) for n in (-1, 1 << 24, 9_999_998, 1)] == [-1, -1, 2, -1] and grow.b_call(1) == 5
    assert [grow.c_grow(n) for n in (7, 6, 1)] == [-1, 3, -1]
    wanted = ("1 funcref", "1 4294967295 funcref", "3 10 funcref")
    for name, limits in zip("abc", wanted):
        imports = {"e": {"t": grow[name]}}
        Guest(wat(f'(module (import "e" "t" (table {limits})))'), imports)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
