"""Python objects as resources: their table, who owns them, and cycles through them."""

from __future__ import annotations

import gc
import weakref

import pytest
from component_support import component
from support import use_engine

from hiwire_py.components import ComponentInstance, HostResource
from hiwire_py.errors import GuestTrap, MemoryLimitError, UnsupportedModuleError

LOGS = """
(component
 (import "demo:log/log" (instance $log
   (export "logger" (type $L (sub resource)))
   (export "[constructor]logger" (func (param "name" string) (result (own $L))))
   (export "[method]logger.write" (func (param "self" (borrow $L)) (param "n" u32) (result u32)))
   (export "[static]logger.count" (func (result u32)))))
 (alias export $log "logger" (type $L))
 (core module $mm (memory (export "m") 1) (global $top (mut i32) (i32.const 1024))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (global.get $top) (global.set $top
    (i32.add (global.get $top) (local.get 3))))
  (data (i32.const 8) "guest"))
 (core instance $mi (instantiate $mm))
 (core func $new (canon lower (func $log "[constructor]logger") (memory (core memory $mi "m"))
   (realloc (core func $mi "realloc"))))
 (core func $write (canon lower (func $log "[method]logger.write")))
 (core func $count (canon lower (func $log "[static]logger.count")))
 (core func $drop (canon resource.drop $L))
 (core module $m
  (import "" "new" (func $new (param i32 i32) (result i32))) (import "" "write" (func $write
    (param i32 i32) (result i32)))
  (import "" "drop" (func $drop (param i32))) (import "" "count" (func $count (result i32)))
  (global $held (mut i32) (i32.const 0))
  (func (export "run") (param i32) (result i32) (local i32 i32)
    (local.set 1 (call $new (i32.const 8) (i32.const 5)))
    (local.set 2 (call $write (local.get 1) (local.get 0)))
    (call $drop (local.get 1)) (i32.add (local.get 2) (call $count)))
  (func (export "hold") (param i32) (global.set $held (local.get 0)))
  (func (export "use") (param i32) (result i32) (local i32) (local.set 1 (call $write (local.get 0)
    (i32.const 7))) (call $drop (local.get 0)) (local.get 1))
  (func (export "leak") (param i32) (result i32) (i32.const 7))
  (func (export "give") (result i32) (global.get $held)))
 (core instance $i (instantiate $m (with "" (instance (export "new" (func $new)) (export "write"
   (func $write)) (export "drop" (func $drop)) (export "count" (func $count))))))
 (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))
 (func (export "hold") (param "l" (own $L)) (canon lift (core func $i "hold")))
 (func (export "use") (param "l" (borrow $L)) (result u32) (canon lift (core func $i "use")))
 (func (export "leak") (param "l" (borrow $L)) (result u32) (canon lift (core func $i "leak")))
 (func (export "give") (result (own $L)) (canon lift (core func $i "give"))))
"""


class Logger:
    """What the component imports as ``logger``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.instance: object = None

    def write(self, number: int) -> int:
        """Twice the number."""
        return number * 2

    @staticmethod
    def count() -> int:
        """A number of its own."""
        return 1000


def logging(engine: str) -> ComponentInstance:
    """An instance of the component on an engine."""
    imports = {"demo:log/log": {"logger": HostResource(Logger)}}
    return component(LOGS).instantiate(imports, engine=engine)


def held(instance: ComponentInstance) -> int:
    """How many objects the table has."""
    table = instance._resources.table
    assert table is not None
    return len(table)


def test_constructor_method_static(engine: str) -> None:
    """A guest makes an object, calls its method and a static function, and drops it."""
    instance = logging(engine)
    assert instance["run"](21) == 42 + 1000
    assert held(instance) == 0


def test_lent_for_a_call(engine: str) -> None:
    """What is lent to a guest is in the table for the call only."""
    instance = logging(engine)
    assert instance["use"](Logger("p")) == 14
    assert held(instance) == 0


def test_given_away_and_back(engine: str) -> None:
    """A guest that owns an object is all that holds it; what it gives back is the same object."""
    instance = logging(engine)
    logger = Logger("p")
    instance["hold"](logger)
    assert held(instance) == 1
    there = weakref.ref(logger)
    del logger
    assert there() is not None
    back = instance["give"]()
    assert back is there() and held(instance) == 0
    del back
    assert there() is None


def test_cycle(engine: str) -> None:
    """An object that a guest owns, and that refers to the instance, does not keep it alive."""
    instance = logging(engine)
    logger = Logger("p")
    logger.instance = instance
    instance["hold"](logger)
    there = weakref.ref(logger)
    del logger, instance
    gc.collect()
    assert there() is None


def test_closing_lets_go(engine: str) -> None:
    """A closed instance holds no object."""
    instance = logging(engine)
    logger = Logger("p")
    instance["hold"](logger)
    there = weakref.ref(logger)
    del logger
    instance.close()
    assert there() is None


def test_kept_borrow(engine: str) -> None:
    """A guest that keeps what it was lent traps, and cannot be entered any more."""
    instance = logging(engine)
    with pytest.raises(GuestTrap, match="leak trapped: borrow handles still remain at the end of the call"):
        instance["leak"](Logger("p"))
    with pytest.raises(GuestTrap, match="cannot enter component instance"):
        instance["run"](1)


def test_wrong_object(engine: str) -> None:
    """Only objects of the class are taken, and nothing has changed after an error."""
    instance = logging(engine)
    with pytest.raises(TypeError, match="a Logger is wanted, not int"):
        instance["hold"](3)
    assert held(instance) == 0
    assert instance["run"](1) == 1002


def test_missing_resource(engine: str) -> None:
    """A resource that was not given is named, and so is one that is no HostResource."""
    with pytest.raises(UnsupportedModuleError, match="'demo:log/log' 'logger'"):
        component(LOGS).instantiate({}, engine=engine)
    with pytest.raises(TypeError, match="must be a HostResource, not type"):
        component(LOGS).instantiate({"demo:log/log": {"logger": Logger}}, engine=engine)


def test_limits_hold() -> None:
    """The table for objects is under the limits that the instance was given; only wasmtime has some."""
    imports = {"demo:log/log": {"logger": HostResource(Logger)}}
    with pytest.raises((MemoryLimitError, UnsupportedModuleError)):
        component(LOGS).instantiate(imports, engine=use_engine("wasmtime"), memory_limit=0)
