"""Calls of exports from Python: handles on their way, and what is made of a resource's functions."""

from __future__ import annotations

import gc
import inspect
from pathlib import Path
from typing import Any

import pytest
from component_support import assemble, component

from hiwire_py.components import Component
from hiwire_py.engines import get_engine
from hiwire_py.errors import GuestTrap, ResourceMovedError
from hiwire_py.objects.kept import LEAST

# A resource that traps when it is asked to, or when it is destroyed with the number 13; and an interface
# beside it with a function that makes one.
COUNTERS = """
(component
  (component $definer
    (core module $before
      (table (export "table") 1 1 funcref)
      (func (export "dtor") (param i32) (call_indirect (param i32) (local.get 0) (i32.const 0))))
    (core instance $before (instantiate $before))
    (type $counter (resource (rep i32) (dtor (core func $before "dtor"))))
    (core func $new (canon resource.new $counter))
    (core module $main
      (import "" "new" (func $new (param i32) (result i32)))
      (import "" "table" (table 1 1 funcref))
      (global $destroyed (mut i32) (i32.const 0))
      (func (export "make") (param i32) (result i32)
        (if (i32.eq (local.get 0) (i32.const 12)) (then unreachable))
        (call $new (local.get 0)))
      (func (export "get") (param i32) (result i32) (local.get 0))
      (func (export "second") (param i32 i32) (result i32) (local.get 1))
      (func (export "fail") (param i32) unreachable)
      (func (export "destroyed") (result i32) (global.get $destroyed))
      (func $dtor (param i32)
        (if (i32.eq (local.get 0) (i32.const 13)) (then unreachable))
        (global.set $destroyed (i32.add (global.get $destroyed) (i32.const 1))))
      (elem (i32.const 0) func $dtor))
    (core instance $main (instantiate $main
      (with "" (instance (export "new" (func $new)) (export "table" (table $before "table"))))))
    (export $c "counter" (type $counter))
    (func (export "[constructor]counter") (param "start" u32) (result (own $c))
      (canon lift (core func $main "make")))
    (func (export "[method]counter.get") (param "self" (borrow $c)) (result u32)
      (canon lift (core func $main "get")))
    (func (export "[method]counter.fail") (param "self" (borrow $c)) (canon lift (core func $main "fail")))
    (func (export "get-second") (param "first" (borrow $c)) (param "second" (borrow $c)) (result u32)
      (canon lift (core func $main "second")))
    (func (export "destroyed") (result u32) (canon lift (core func $main "destroyed"))))
  (component $user
    (import "counters" (instance $from
      (export "counter" (type $c (sub resource)))
      (export "[constructor]counter" (func (param "start" u32) (result (own $c))))))
    (alias export $from "counter" (type $c))
    (core func $make (canon lower (func $from "[constructor]counter")))
    (core module $main
      (import "" "make" (func $make (param i32) (result i32)))
      (func (export "made") (result i32) (call $make (i32.const 7))))
    (core instance $main (instantiate $main (with "" (instance (export "make" (func $make))))))
    (func (export "made") (result (own $c)) (canon lift (core func $main "made"))))
  (instance $counters (instantiate $definer))
  (instance $user (instantiate $user (with "counters" (instance $counters))))
  (export "counters" (instance $counters))
  (export "user" (instance $user)))
"""


@pytest.fixture
def instance(engine: str) -> Any:
    return component(COUNTERS).instantiate(engine=engine)


def test_class_of_another_interface(instance: Any) -> None:
    """A function gives objects of a resource's class, with its methods, also where the interface that exports
    the resource has not been looked at."""
    made = instance["user"].made()
    assert made.get() == 7
    assert isinstance(made, instance["counters"].Counter)


def test_wrong_values(instance: Any) -> None:
    """What is no handle of the class, or no number of the type, is refused before the guest is called."""
    counters = instance["counters"]
    counter = counters.Counter(5)
    with pytest.raises(TypeError, match="a Counter is wanted, not int"):
        counters.get_second(counter, 5)
    with pytest.raises(TypeError, match="a Counter is wanted, not Counter of another instance"):
        counters.get_second(counter, component(COUNTERS).instantiate()["counters"].Counter(1))
    with pytest.raises(OverflowError, match="-1 is no u32"):
        counters.Counter(-1)
    with pytest.raises(TypeError, match="counter"):
        counters.Counter()
    assert counters.get_second(counter, counters.Counter(6)) == 6
    assert counters.get_second(counter, counter) == 5
    counter.close()
    with pytest.raises(ResourceMovedError, match="was closed"):
        counters.get_second(counters.Counter(1), counter)
    assert counters.get_second.__name__ == "get-second"


def test_lent_until_the_end(instance: Any) -> None:
    """A handle is lent as long as a call lasts, also where that fails or was never begun."""
    counters = instance["counters"]
    one, other = counters.Counter(1), counters.Counter(2)
    other.close()
    with pytest.raises(ResourceMovedError):
        counters.get_second(one, other)
    assert one.get() == 1
    with pytest.raises(GuestTrap, match=r"\[method\]counter.fail trapped: unreachable"):
        one.fail()
    with pytest.raises(GuestTrap, match="cannot enter component instance"):
        one.close()  # it is not lent any more, but the instance cannot be entered after a trap


def test_made_once(instance: Any) -> None:
    """A constructor that fails makes nothing to destroy; one that is called again is refused."""
    counters = instance["counters"]
    counter = counters.Counter(1)
    with pytest.raises(TypeError, match="this Counter was made already"):
        counter.__init__(2)
    assert counter.get() == 1
    blank = counters.Counter.__new__(counters.Counter)
    with pytest.raises(ResourceMovedError, match="was never made"):
        blank.get()
    blank.close()
    counter.close()
    counter.close()
    assert counters.destroyed() == 1
    with pytest.raises(GuestTrap, match=r"\[constructor\]counter trapped"):
        counters.Counter(12)


def test_dropped(instance: Any) -> None:
    """What Python does not use any more is destroyed, once; so is what a with block ends."""
    counters = instance["counters"]
    with counters.Counter(1):
        pass
    counters.Counter(2)
    counters["[constructor]counter"](3)
    gc.collect()
    assert counters.destroyed() == 3


def test_a_destructor_that_traps(instance: Any) -> None:
    """Closing says that the destructor trapped."""
    with pytest.raises(GuestTrap, match="unreachable"):
        instance["counters"].Counter(13).close()


def test_methods_are_functions(instance: Any) -> None:
    """A method has its name in Python, and a text that says where it is from."""
    method = instance["counters"].Counter.get
    assert inspect.isfunction(method)
    assert (method.__name__, method.__qualname__.split(".")[-1]) == ("get", "get")
    assert "[method]counter.get" in (method.__doc__ or "")


def test_all_modules_are_kept(cache_home: Path) -> None:
    """Where a module of a component is large enough to be kept on disk, all of them are; else none is."""
    data = f'(memory 2) (data "{"x" * LEAST}")'
    text = COUNTERS.replace("(global $destroyed (mut", data + "(global $destroyed (mut")
    modules = cache_home / "hiwire" / "modules"
    component(COUNTERS).instantiate(engine="wasmtime").close()
    assert not modules.exists()
    get_engine("wasmtime").prepared.clear()  # as in another process
    large = Component(assemble(text))
    large.instantiate(engine="wasmtime").close()
    assert len([*modules.iterdir()]) >= len({stage.module.wasm for stage in large._assembly.stages}) > 5
