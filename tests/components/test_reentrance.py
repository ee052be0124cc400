"""A component that contains another may be called back by it, while its own call is out."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime
from component_guests import ReferenceComponent
from support import wat

from hiwire_py import GuestTrap
from hiwire_py.components import Component
from hiwire_py.components.faults import Fault


def _text(inside: str) -> str:
    """The outer component lends a handle of the inner one's resource to it, by ``run``; it is called back,
    and does something with that handle. Then ``after`` may be done with it."""
    return f"""
    (component
      (component $D (core module $m (func (export "rep") (param i32) (result i32) (local.get 0)))
        (core instance $m (instantiate $m))
        (type $rr (resource (rep i32))) (export $r "r" (type $rr))
        (core func $new (canon resource.new $r))
        (core module $n (import "" "new" (func $new (param i32) (result i32)))
          (func (export "make") (result i32) (call $new (i32.const 5))))
        (core instance $n (instantiate $n (with "" (instance (export "new" (func $new))))))
        (func (export "make") (result (own $r)) (canon lift (core func $n "make")))
        (func (export "get") (param "x" (borrow $r)) (result u32) (canon lift (core func $m "rep"))))
      (instance $d (instantiate $D))
      (alias export $d "r" (type $r))
      (core func $make (canon lower (func $d "make"))) (core func $get (canon lower (func $d "get")))
      (core func $drop (canon resource.drop $r))
      (core module $state (global (export "h") (mut i32) (i32.const 0)))
      (core instance $state (instantiate $state))
      (core module $back
        (import "" "h" (global $h (mut i32))) (import "" "make" (func $make (result i32)))
        (import "" "get" (func $get (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
        (func (export "back") (result i32) (local $n i32) {inside}))
      (core instance $back (instantiate $back (with "" (instance (export "h" (global $state "h"))
        (export "make" (func $make)) (export "get" (func $get)) (export "drop" (func $drop))))))
      (func $back (result u32) (canon lift (core func $back "back")))
      (component $C
        (import "r" (type $r (sub resource))) (import "back" (func $back (result u32)))
        (core func $back (canon lower (func $back))) (core func $drop (canon resource.drop $r))
        (core module $m (import "" "back" (func $back (result i32)))
          (import "" "drop" (func $drop (param i32)))
          (func (export "call") (param i32) (result i32) (local $n i32)
            (local.set $n (call $back)) (call $drop (local.get 0)) (local.get $n)))
        (core instance $m (instantiate $m (with "" (instance
          (export "back" (func $back)) (export "drop" (func $drop))))))
        (func (export "call") (param "x" (borrow $r)) (result u32) (canon lift (core func $m "call"))))
      (instance $c (instantiate $C (with "r" (type $r)) (with "back" (func $back))))
      (core func $call (canon lower (func $c "call")))
      (core module $m (import "" "h" (global $h (mut i32))) (import "" "make" (func $make (result i32)))
        (import "" "call" (func $call (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
        (func (export "run") (result i32) (local $n i32)
          (global.set $h (call $make))
          (local.set $n (call $call (global.get $h)))
          (call $drop (global.get $h)) (local.get $n)))
      (core instance $m (instantiate $m (with "" (instance (export "h" (global $state "h"))
        (export "make" (func $make)) (export "call" (func $call)) (export "drop" (func $drop))))))
      (func (export "run") (result u32) (canon lift (core func $m "run"))))
    """


_OTHER = "(local.set $n (call $make)) (drop (call $get (local.get $n)))"
_USED = "(drop (call $get (global.get $h)))"
BAD = {
    "at-once": "(call $drop (global.get $h)) (i32.const 1)",
    "after-another-call": f"{_OTHER} (call $drop (global.get $h)) (i32.const 1)",
    "after-it-was-lent-again": f"{_USED} (call $drop (global.get $h)) (i32.const 1)",
}


@pytest.mark.parametrize("name", BAD)
def test_lent_further_out(name: str, engine: str) -> None:
    """What is lent to the call that is out cannot be dropped in the call that came back, whatever else was
    lent in it."""
    wasm = wat(_text(BAD[name]))
    with Component(wasm).instantiate(engine=engine) as instance:
        with pytest.raises(GuestTrap) as trap:
            instance["run"]()
        assert trap.value.kind == Fault.LENT.words
    with pytest.raises(wasmtime.WasmtimeError, match="cannot remove owned resource while borrowed"):
        ReferenceComponent(wasm).instantiate().function("run")()


GOOD = {
    "use": "(call $get (global.get $h))",
    "another": f"{_OTHER} (call $drop (local.get $n)) (i32.const 5)",
    "both": f"{_USED} {_OTHER} (call $drop (local.get $n)) (call $get (global.get $h))",
}


@pytest.mark.parametrize("name", GOOD)
def test_called_back(name: str, engine: str) -> None:
    """What was lent in the call that came back is not lent behind it, nor what was lent further out once all
    have returned."""
    wasm = wat(_text(GOOD[name]))
    reference: Any = ReferenceComponent(wasm).instantiate().function("run")
    with Component(wasm).instantiate(engine=engine) as instance:
        for _ in range(2):
            assert instance["run"]() == reference() == 5
