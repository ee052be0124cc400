"""When instances and what they hold die, and what may happen while Python reads and writes their memories."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from component_guests import MEMORY, options
from support import wat

from hiwire_py import GuestTrap
from hiwire_py.components import Component, Err
from hiwire_py.components.faults import Fault

_CALLS = f"""
(component (import "f" (func $f (param "x" string))) {MEMORY}
  (core func $f (canon lower (func $f) {options()}))
  (core module $m (import "" "f" (func $f (param i32 i32)))
    (func (export "run") (param i32) (call $f (local.get 0) (i32.const 1))))
  (core instance $m (instantiate $m (with "" (instance (export "f" (func $f))))))
  (func (export "run") (param "at" u32) (canon lift (core func $m "run")))
  (func (export "text") (param "x" string) (canon lift (core func $m "run2") {options()})))
""".replace(
    '(func (export "run") (param i32) (call',
    '(func (export "run2") (param i32 i32)) (func (export "run") (param i32) (call',
)


class Function:
    """A host function whose death can be seen."""

    def __call__(self, text: str) -> None:
        pass


@pytest.mark.parametrize("at", [0, 0xFFFFFFFF])
def test_dies_with_its_last_reference(at: int, engine: str, no_gc: None) -> None:
    """An instance is in no reference cycle, also after a trap in a host function's side."""
    function = Function()
    dead = weakref.ref(function)
    instance = Component(wat(_CALLS)).instantiate({"f": function}, engine=engine)
    del function
    instance["text"]("abc")
    if at:
        with pytest.raises(GuestTrap, match="out of bounds"):
            instance["run"](at)
    else:
        instance["run"](at)
    assert dead() is not None
    del instance
    assert dead() is None


def test_functions_keep_the_instance(engine: str) -> None:
    """A function can be called after the instance was let go of."""
    heard: list[str] = []
    run = Component(wat(_CALLS)).instantiate({"f": heard.append}, engine=engine)["run"]
    gc.collect()
    run(0)
    assert heard == ["\0"]


def test_trap_in_a_cycle(engine: str) -> None:
    """An exception that is in a reference cycle with the frames that read a guest's memory is collected."""
    text = f"""
    (component {MEMORY}
      (core module $m (import "libc" "memory" (memory 1))
        (data (i32.const 16) "\\40\\00\\00\\00\\01\\00\\00\\00")
        (data (i32.const 64) "\\ff\\ff\\ff\\ff\\01\\00\\00\\00")
        (func (export "f") (result i32) (i32.const 16)))
      (core instance $m (instantiate $m (with "libc" (instance $libc))))
      (func (export "f") (result (list string)) (canon lift (core func $m "f") {options("utf8")})))
    """
    instance = Component(wat(text)).instantiate(engine=engine)

    def call() -> None:
        try:
            instance["f"]()
        except GuestTrap as error:
            kept: Any = error  # its traceback has this frame, which has it
            assert kept.kind == Fault.STRING_BOUNDS.words

    call()
    gc.collect()
    instance.close()


_RESOURCE = f"""
(component
  (core module $d (global $dead (mut i32) (i32.const 0))
    (func (export "dtor") (param i32) (global.set $dead (i32.add (global.get $dead) (i32.const 1))))
    (func (export "dead") (result i32) (global.get $dead)))
  (core instance $d (instantiate $d))
  (type $rr (resource (rep i32) (dtor (core func $d "dtor")))) (export $r "r" (type $rr))
  (core func $new (canon resource.new $r)) {MEMORY}
  (core module $m (import "" "new" (func $new (param i32) (result i32))) (import "libc" "memory" (memory 1))
    (func (export "make") (result i32) (call $new (i32.const 1)))
    (func (export "takes") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
  (core instance $m (instantiate $m
    (with "" (instance (export "new" (func $new)))) (with "libc" (instance $libc))))
  (func (export "make") (result (own $r)) (canon lift (core func $m "make")))
  (func (export "dead") (result u32) (canon lift (core func $d "dead")))
  (func (export "numbers") (param "x" (list u32)) (result (list u32))
    (canon lift (core func $m "takes") {options()}))
  (func (export "back") (param "x" (list (own $r))) (result (list (own $r)))
    (canon lift (core func $m "takes") {options()})))
"""


def test_handle_dies_inside_a_call(engine: str) -> None:
    """A handle that dies while Python writes a parameter is destroyed when the call is over."""
    with Component(wat(_RESOURCE)).instantiate(engine=engine) as instance:
        made = [instance["make"]()]

        class Number:
            def __index__(self) -> int:
                made.clear()
                return 7

        assert instance["numbers"]([1, Number()]) == [1, 7]
        assert instance["dead"]() == 1


def test_nothing_is_given_if_a_call_is_not_made(engine: str) -> None:
    """Handles that were lowered before a parameter was found to be wrong are Python's again, and new handles
    have the numbers that they would have had."""
    with Component(wat(_RESOURCE)).instantiate(engine=engine) as instance:
        made = [instance["make"]() for _ in range(3)]
        with pytest.raises(TypeError):
            instance["back"]([*made, 1])
        assert instance["dead"]() == 0
        back = instance["back"](made)
        assert len(back) == 3
        for one in back:
            one.close()
        assert instance["dead"]() == 3


def test_class_before_its_export(engine: str) -> None:
    """A function that gives a resource is asked for before the resource's class: it is the same class."""
    with Component(wat(_RESOURCE)).instantiate(engine=engine) as instance:
        made = instance["make"]()
        assert type(made) is instance["r"]


def test_start_function(engine: str) -> None:
    """What traps in a start function, in generated code, is told."""
    text = """
    (component (import "f" (func $f)) (type $r (resource (rep i32)))
      (core func $drop (canon resource.drop $r))
      (core module $m (import "" "drop" (func $drop (param i32)))
        (func $start (call $drop (i32.const 9))) (start $start))
      (core instance $m (instantiate $m (with "" (instance (export "drop" (func $drop)))))))
    """
    with pytest.raises(GuestTrap) as trap:
        Component(wat(text)).instantiate({"f": lambda: None}, engine=engine)
    assert trap.value.kind == Fault.UNKNOWN_HANDLE.words


def test_large_floats(engine: str) -> None:
    """A number that is too large for f32 is infinite, wherever it is passed."""
    text = f"""
    (component {MEMORY}
      (core module $m (import "libc" "memory" (memory 1))
        (func (export "one") (param f32) (result f32) (local.get 0))
        (func (export "case") (param i32 i32) (result i32)
          (i32.store8 (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))
        (func (export "list") (param i32 i32) (result i32)
          (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
      (core instance $m (instantiate $m (with "libc" (instance $libc))))
      (func (export "one") (param "x" f32) (result f32) (canon lift (core func $m "one")))
      (func (export "case") (param "x" (option (result u32 (error f32)))) (result u32)
        (canon lift (core func $m "one2")))
      (func (export "list") (param "x" (list f32)) (result (list f32))
        (canon lift (core func $m "list") {options()})))
    """
    text = text.replace(
        '(func (export "case")',
        '(func (export "one2") (param i32 i32 i32) (result i32) (local.get 2))(func (export "case")',
        1,
    )
    with Component(wat(text)).instantiate(engine=engine) as instance:
        assert instance["list"]([1e300, -1e300, 1.5]) == [float("inf"), float("-inf"), 1.5]
        assert instance["case"](Err(1e300)) == 0x7F800000
        assert instance["one"](1e300) == float("inf")
