"""Exceptions of WebAssembly that no guest catches, and those of the first proposal, which no engine has."""

from __future__ import annotations

import pytest
from support import Thing, things, use_engine, wat

from hiwire_py import Guest, GuestTrap, UnsupportedModuleError

THROW = """(module (tag $t (param externref)) (import "env" "call" (func $call (param externref)))
  (func (export "throw") (param externref) (throw $t (local.get 0)))
  (func $named (@name "thrown Wasm exception") (export "stop") unreachable)
  (func (export "through") (param externref) (result i32)
    (block $caught (try_table (catch_all $caught) (call $call (local.get 0)) (return (i32.const 1))))
    (i32.const 2)))"""

# (func (result externref) try (result externref) ref.null extern catch_all ref.null extern end)
LEGACY = bytes.fromhex("0061736d01000000010501600001" + "6f" + "030201000a0c010a00066fd06f19d06f0b0b")


def test_uncaught() -> None:
    """A trap that says so, also out of a start function and through a host function, which is not caught."""
    engine = use_engine("wasmtime")
    guest: Guest

    def call(value: object) -> None:
        guest.exports.throw(value)

    guest = Guest(wat(THROW), {"env": {"call": call}}, engine=engine)
    for name in ("throw", "through"):
        with pytest.raises(GuestTrap, match="trapped: uncaught exception") as caught:
            guest.exports[name](Thing())
        assert caught.value.kind == "uncaught exception"
        del caught
        assert things() == 0
    with pytest.raises(GuestTrap, match="trapped: unreachable"):
        guest.exports.stop()
    with pytest.raises(GuestTrap, match="the start function of the module trapped: uncaught exception"):
        Guest(wat("(module (tag $t) (func $start (throw $t)) (start $start))"), engine=engine)


def test_legacy() -> None:
    """The message has a remedy."""
    with pytest.raises(UnsupportedModuleError, match=r"legacy_exceptions.*wasm-opt --translate-to-exnref"):
        Guest(LEGACY, engine=use_engine("wasmtime"))
