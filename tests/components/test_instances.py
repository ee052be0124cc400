"""Instances of components, and handles to their resources: threads, closing, limits, calls that come back,
and the ends of all of them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from component_support import component
from support import use_engine

from hiwire_py.components import ComponentInstance
from hiwire_py.errors import (
    ClosedError,
    DeadlineError,
    EngineUnavailableError,
    FuelError,
    GuestTrap,
    MemoryLimitError,
    ResourceMovedError,
    WrongThreadError,
)

# The component `things` defines the resource; `user` calls it, and the host. The destructor counts.
TEXT = """
(component
 (import "host" (func $host (param "n" u32) (result u32)))
 (component $things
  (core module $state (memory 1) (global (mut i32) (i32.const 0))
   (func (export "destroy") (param i32) (global.set 0 (i32.add (global.get 0) (i32.const 1)))
    (if (i32.eq (local.get 0) (i32.const 666)) (then unreachable)))
   (func (export "dead-count") (result i32) (global.get 0))
   (func (export "spin") (loop (br 0)))
   (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
   (func (export "number") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $state))
  (type $thing' (resource (rep i32) (dtor (core func $i "destroy"))))
  (export $thing "thing" (type $thing'))
  (core func $new (canon resource.new $thing))
  (core module $m (import "" "new" (func $new (param i32) (result i32)))
   (func (export "make") (param i32) (result i32) (call $new (local.get 0))))
  (core instance $j (instantiate $m (with "" (instance (export "new" (func $new))))))
  (func (export "[constructor]thing") (param "n" u32) (result (own $thing))
   (canon lift (core func $j "make")))
  (func (export "[method]thing.number") (param "self" (borrow $thing)) (result u32)
   (canon lift (core func $i "number")))
  (func (export "dead") (result u32) (canon lift (core func $i "dead-count")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $i "grow"))))
 (instance $t (instantiate $things))
 (component $user
  (import "t" (instance $t (export "spin" (func)) (export "grow" (func (param "pages" u32) (result s32)))))
  (import "host" (func $host (param "n" u32) (result u32)))
  (core func $spin (canon lower (func $t "spin")))
  (core func $grow (canon lower (func $t "grow")))
  (core func $host' (canon lower (func $host)))
  (core module $m (import "" "spin" (func $spin)) (import "" "grow" (func $grow (param i32) (result i32)))
   (import "" "host" (func $host (param i32) (result i32)))
   (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
   (func (export "spin") (call $spin))
   (func (export "grow") (param i32) (result i32) (call $grow (local.get 0)))
   (func (export "ask") (param i32) (result i32) (i32.add (call $host (local.get 0)) (i32.const 1))))
  (core instance $i (instantiate $m (with "" (instance
   (export "spin" (func $spin)) (export "grow" (func $grow)) (export "host" (func $host'))))))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $i "grow")))
  (func (export "ask") (param "n" u32) (result u32) (canon lift (core func $i "ask"))))
 (instance $u (instantiate $user (with "t" (instance $t)) (with "host" (func $host))))
 (export "things" (instance $t))
 (export "add" (func $u "add")) (export "spin" (func $u "spin")) (export "grow" (func $u "grow"))
 (export "ask" (func $u "ask")))
"""


def new(engine: str, host: Callable[[int], int] = abs, **limits: Any) -> ComponentInstance:
    """An instance, with what serves its import."""
    return component(TEXT).instantiate({"host": host}, engine=engine, **limits)


def in_thread(function: Callable[[], Any]) -> Any:
    """What a call in another thread gives or raises."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found.pop()


# ---- threads


def test_another_thread_is_refused(engine: str) -> None:
    """Functions, methods, constructors, closing: only the thread that made an instance may; nothing
    breaks."""
    instance = new(engine)
    things = instance["things"]
    thing = things.Thing(7)
    for what in (
        lambda: instance["add"](1, 2),
        lambda: things.dead(),
        lambda: things.Thing(1),
        lambda: thing.number(),
        thing.close,
        instance.close,
    ):
        assert type(in_thread(what)) is WrongThreadError
    assert instance["add"](1, 2) == 3 and thing.number() == 7
    thing.close()
    assert things.dead() == 1


def test_one_component_in_two_threads(engine: str) -> None:
    """Each thread may have an instance of its own of one component."""
    instance = new(engine)
    assert in_thread(lambda: new(engine)["add"](2, 3)) == 5 == instance["add"](2, 3)


def test_a_finalizer_in_another_thread_queues(engine: str) -> None:
    """A handle that dies in another thread is destroyed by the next call of its own thread."""
    instance = new(engine)
    things = instance["things"]
    held = [things.Thing(7)]
    destroyed = instance._resources.dead
    assert in_thread(held.clear) is None
    assert len(destroyed) == 1
    assert things.dead() == 1 and not destroyed


# ---- closing


def test_closed(engine: str) -> None:
    """A closed instance lets no one in; closing it again, and closing a handle, do nothing."""
    instance = new(engine)
    things = instance["things"]
    thing, other = things.Thing(7), things.Thing(8)
    instance.close()
    instance.close()
    assert repr(instance).startswith("<closed instance of ")
    for what in (lambda: instance["add"](1, 2), lambda: things.Thing(1), thing.number, things.dead):
        with pytest.raises(ClosedError):
            what()
    thing.close()
    thing.close()
    with other:
        pass
    del thing, other
    gc.collect()


def test_with_block(engine: str) -> None:
    """At the end of a ``with`` block the instance is closed, and so is a handle at the end of its own."""
    with new(engine) as instance:
        with instance["things"].Thing(7) as thing:
            assert thing.number() == 7
        with pytest.raises(ResourceMovedError, match="this Thing was closed"):
            thing.number()
        assert instance["things"].dead() == 1
    with pytest.raises(ClosedError):
        instance["add"](1, 2)


def test_handles_hold_the_instance(engine: str) -> None:
    """A handle works as long as it is there; when it is gone as well, nothing is left."""
    instance = new(engine)
    thing = instance["things"].Thing(7)
    there = weakref.ref(instance._resources.linked)
    del instance
    gc.collect()
    assert thing.number() == 7
    del thing
    gc.collect()
    assert there() is None


def test_what_is_in_a_cycle_is_collected(engine: str) -> None:
    """An instance whose host function refers to it goes with it."""
    there = weakref.ref(_in_a_cycle(engine))
    gc.collect()
    assert there() is None


def _in_a_cycle(engine: str) -> ComponentInstance:
    held: list[Any] = []
    instance = new(engine, lambda number: number + len(held))
    held.extend((instance, instance["things"].Thing(7)))
    assert instance["ask"](1) == 4
    return instance


# ---- two instances


def test_instances_are_apart(engine: str) -> None:
    """Two instances of one component have their own state and classes; what belongs to one is refused by the
    other, and stays what it was."""
    one, two = new(engine), new(engine)
    first, second = one["things"], two["things"]
    assert first.Thing is not second.Thing
    thing = first.Thing(7)
    with pytest.raises(TypeError, match="a Thing is wanted, not Thing of another instance"):
        second["[method]thing.number"](thing)
    assert thing.number() == 7
    thing.close()
    assert (first.dead(), second.dead()) == (1, 0)
    one.close()
    assert two["add"](1, 2) == 3


# ---- host functions


def test_host_function_raises(engine: str) -> None:
    """What a host function raises comes out as itself; the instance has trapped, and is not entered again."""
    raised = LookupError("mine")

    def host(number: int) -> int:
        raise raised

    instance = new(engine, host)
    with pytest.raises(LookupError) as caught:
        instance["ask"](1)
    assert caught.value is raised
    for name, args in (("add", (1, 2)), ("ask", (1,))):
        with pytest.raises(GuestTrap, match="cannot enter component instance"):
            instance[name](*args)


def test_interrupt_in_a_host_function(engine: str) -> None:
    """A KeyboardInterrupt comes out too."""

    def host(number: int) -> int:
        raise KeyboardInterrupt

    instance = new(engine, host)
    with pytest.raises(KeyboardInterrupt):
        instance["ask"](1)


def test_coming_back(engine: str) -> None:
    """A host function that calls the instance which called it gets the trap that the canonical ABI specifies,
    for each instance of the component, and a handle that it drops waits."""
    told: list[str] = []
    things: list[Any] = []

    def host(number: int) -> int:
        calls: list[Callable[[], Any]] = [
            lambda: instance["add"](1, 2),
            lambda: instance["ask"](1),
            lambda: instance["things"].dead(),
            lambda: instance["things"].Thing(1),
        ]
        for what in calls:
            with pytest.raises(GuestTrap) as caught:
                what()
            told.append(caught.value.kind)
        things.clear()
        return number

    instance = new(engine, host)
    things.append(instance["things"].Thing(7))
    assert instance["ask"](5) == 6
    assert told == ["cannot enter component instance"] * 4
    assert instance["things"].dead() == 1  # all goes on
    assert instance["add"](1, 2) == 3


def test_host_function_uses_another_instance(engine: str) -> None:
    """Another instance can be called, also one of the same component."""
    other = new(engine)
    instance = new(engine, lambda number: other["add"](number, 10))
    assert instance["ask"](5) == 16


def test_host_function_closes_the_instance(engine: str) -> None:
    """The running call ends, and no other begins."""

    def host(number: int) -> int:
        instance.close()
        return number

    instance = new(engine, host)
    assert instance["ask"](5) == 6
    with pytest.raises(ClosedError):
        instance["add"](1, 2)


def test_dropped_while_it_runs(engine: str) -> None:
    """An instance that nobody has any more goes on until the call returns."""
    held: list[Any] = []

    def host(number: int) -> int:
        held.clear()
        gc.collect()
        return number

    held.append(new(engine, host))
    assert held[0]["ask"](5) == 6


def test_instances_without_end(engine: str) -> None:
    """Host functions that make an instance each, and call it, come to an end with RecursionError."""

    def host(number: int) -> int:
        result: int = new(engine, host)["ask"](number)
        return result

    with pytest.raises(RecursionError):
        host(1)


def test_class_derived_from_that_of_a_resource(engine: str) -> None:
    """Python may derive from the class of a resource; its objects are as good."""
    things = new(engine)["things"]

    class Other(things.Thing):  # type: ignore[misc,name-defined]
        def number(self) -> int:
            result: int = super().number() + 1000
            return result

    other = Other(5)
    assert other.number() == 1005 and things["[method]thing.number"](other) == 5
    other.close()
    assert things.dead() == 1


def test_host_function_gives_something_else(engine: str) -> None:
    """What is no u32 is a TypeError or OverflowError that comes out of the call."""
    with pytest.raises(TypeError):
        new(engine, lambda number: "no number")["ask"](1)  # type: ignore[arg-type,return-value]
    with pytest.raises(OverflowError):
        new(engine, lambda number: 2**32)["ask"](1)


# ---- destructors


def test_a_destructor_that_traps(engine: str) -> None:
    """Its trap comes out where the handle is closed; the instance is not entered any more, and handles that
    are left are let go of quietly."""
    instance = new(engine)
    things = instance["things"]
    bad, good = things.Thing(666), things.Thing(7)
    with pytest.raises(GuestTrap, match="unreachable"):
        bad.close()
    bad.close()
    with pytest.raises(GuestTrap, match="cannot enter component instance"):
        good.number()
    del good, bad
    gc.collect()


def test_destroyed_once(engine: str) -> None:
    """A thousand handles, closed or dropped in some order: each is destroyed once."""
    instance = new(engine)
    things = instance["things"]
    made = [things.Thing(number) for number in range(1000, 2000)]
    for thing in made[::3]:
        thing.close()
    for thing in made[::-2]:
        thing.close()
    del made[::5], thing
    made.clear()
    gc.collect()
    assert things.dead() == 1000


# ---- limits


def test_deadline() -> None:
    """A loop in a component that another calls is stopped, and the error names what Python called."""
    instance = new(use_engine("wasmtime"), deadline=0.2)
    assert instance["add"](1, 2) == 3
    with pytest.raises(DeadlineError, match=r"^spin"):
        instance["spin"]()
    with pytest.raises(GuestTrap, match="cannot enter component instance"):
        instance["add"](1, 2)


def test_fuel() -> None:
    """The same, by how much is executed; each call has all of the fuel again."""
    instance = new(use_engine("wasmtime"), fuel=100_000)
    for number in range(10_000):
        assert instance["add"](number, 2) == number + 2
    with pytest.raises(FuelError, match=r"^spin"):
        instance["spin"]()


def test_memory_limit() -> None:
    """A memory of a component grows up to the limit, and one that is larger at the start is refused."""
    use_engine("wasmtime")
    instance = new("wasmtime", memory_limit=4 << 16)
    assert instance["grow"](3) == 1
    assert instance["grow"](1) == -1
    assert instance["add"](1, 2) == 3
    with pytest.raises(MemoryLimitError):
        new("wasmtime", memory_limit=1)


@pytest.mark.parametrize("engine", ["wasmer", "native"])
def test_limits_that_an_engine_does_not_have(engine: str) -> None:
    """They are refused, and not left out."""
    with pytest.raises((EngineUnavailableError, ValueError)):
        new(use_engine(engine), deadline=1)
