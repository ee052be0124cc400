"""Finalizers and signal handlers that call the guest at the worst moment: an externref has come out of the
engine and is not looked up yet, and no slot, global or frame of the guest holds it any more."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from support import Counted, Thing, wat, weak_references_stay

from hiwire_py import ClosedError, Guest
from hiwire_py.engines import get_engine
from hiwire_py.engines.calls import Call, call_of
from hiwire_py.objects.ids import new_ids
from hiwire_py.objects.runtime import Runtime
from hiwire_py.objects.trampolines import bind_raw
from hiwire_py.values import FuncType

CROSSINGS = 5_000  # several times what may wait in a call
GUEST = """(module
  (import "env" "see" (func $see (param externref)))
  (import "env" "both" (func $both (param externref externref) (result externref)))
  (import "env" "deeper" (func $deeper (param i32)))
  (table $t 2 externref) (global $g (export "g") (mut externref) (ref.null extern))
  (func (export "put") (param externref)
    (table.set $t (i32.const 0) (local.get 0)) (global.set $g (local.get 0)))
  (func $forget (export "forget")
    (table.set $t (i32.const 0) (ref.null extern)) (global.set $g (ref.null extern)))
  (func (export "take") (result externref)
    (table.get $t (i32.const 0)) (call $forget))
  (func (export "take_two") (result externref externref)
    (table.get $t (i32.const 0)) (table.get $t (i32.const 0)) (call $forget))
  (func (export "show") (table.get $t (i32.const 0)) (call $forget) (call $see))
  (func (export "show_two")
    (drop (call $both (table.get $t (i32.const 0)) (global.get $g) (call $forget))))
  (func (export "cross") (param externref)
    (table.set $t (i32.const 1) (local.get 0)) (table.set $t (i32.const 1) (ref.null extern))
    (call $see (local.get 0)))
  (func (export "go") (param i32) (call $deeper (local.get 0))))"""


class Scene:
    """A guest, and what happens between the engine and the lookup of what it gave."""

    def __init__(self, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interrupt: Callable[[], None] | None = None
        self.seen: list[object] = []
        store = type(get_engine(engine).store())
        call, host_function = store.call, store.host_function

        def slow_call(this: Any, function: Any, functype: FuncType) -> Call:
            raw = bind_raw(call(this, function, functype), functype)

            def slow(*values: Any) -> Any:
                result = raw(*values)
                self.happen()
                return result

            return call_of(slow, functype)

        def slow_host(this: Any, function: Callable[..., Any], functype: Any) -> Any:
            def host(*values: Any) -> Any:
                self.happen()
                return function(*values)

            return host_function(this, host, functype)

        monkeypatch.setattr(store, "call", slow_call)
        monkeypatch.setattr(store, "host_function", slow_host)
        host = {
            "see": self.seen.append,
            "both": self.both,
            "deeper": lambda name: self.inner(),
        }
        self.guest = Guest(wat(GUEST), {"env": host}, engine=engine)
        self.inner: Callable[[], object] = lambda: None

    def both(self, one: object, other: object) -> object:
        self.seen += [one, other]
        return other

    def happen(self) -> None:
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            interrupt()

    def crossings(self) -> None:
        self.guest.exports.forget()
        for number in range(CROSSINGS):
            self.guest.exports.cross(Thing(number))
        del self.seen[-CROSSINGS:]


@pytest.fixture
def scene(engine: str, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(engine, monkeypatch)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("how", ["take", "take_two", "show", "show_two", "g"])
def test_what_is_on_its_way_arrives(scene: Scene, how: str, nested: bool) -> None:
    """A result, or an argument of a host function, is the object, whatever a finalizer did in between."""
    exports = scene.guest.exports
    thing = Thing("kept by nobody else")
    results: list[object] = []

    def one() -> None:
        exports.put(thing)
        scene.interrupt = scene.crossings
        if how == "g":
            results.append(exports.g.value)
        else:
            found = getattr(exports, how)()
            results.extend(found if isinstance(found, tuple) else [found])

    exports.put(thing)
    if nested:
        scene.inner = one
        exports.go(1)
    else:
        one()
    expected = {"take": [thing], "take_two": [thing, thing], "g": [thing]}.get(how, [])
    assert [x for x in results if x is not None] == expected
    assert scene.seen == {"show": [thing], "show_two": [thing, thing]}.get(how, [])
    scene.interrupt = None
    exports.forget()
    scene.guest.collect()
    assert len(scene.guest._instance.space.objects) == 0


def test_a_long_call_within_a_host_function(engine: str) -> None:
    """What it drops is released while it runs, as in a call from outside; also after a finalizer's call."""

    class Made(Counted):
        pass

    text = """(module
      (import "env" "make" (func $make (result externref)))
      (import "env" "deeper" (func $deeper))
      (func (export "go") (call $deeper))
      (func (export "many") (param i32) (loop $more (drop (call $make))
        (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
    guest: Guest

    class Last:
        """Dies in the midst of the call, and calls in turn."""

        def __del__(self) -> None:
            guest.exports.many(10)

    waiting = [Last()]

    def make() -> object:
        return waiting.pop() if waiting and Made.alive > 100 else Made()

    guest = Guest(
        wat(text), {"env": {"make": make, "deeper": lambda: guest.exports.many(20_000)}}, engine=engine
    )
    guest.exports.go()
    assert not waiting
    guest.collect()
    assert Made.alive == 0 and 1 < Made.peak <= 4096


@pytest.mark.parametrize("late", [False, True])
def test_last_calls(engine: str, late: bool) -> None:
    """Finalizers of objects that die together with their guest can call it: those of objects made before it,
    and after. What stands behind its host functions is gone then where weak references are."""
    text = """(module (import "env" "make" (func $make (param i32) (result externref)))
      (table $t 4 externref) (memory (export "m") 1)
      (func (export "store") (param externref) (result i32)
        (table.set $t (i32.const 0) (local.get 0)) (i32.store (i32.const 8) (i32.const 7))
        (i32.load (i32.const 8)))
      (func (export "make") (param i32) (result externref) (call $make (local.get 0))))"""
    said: list[object] = []

    class Last:
        guest: Guest

        def __del__(self) -> None:
            try:
                said.append(self.guest.exports.store(Thing()))
                said.append(self.guest.memory.read(8, 1))
                said.append(isinstance(self.guest.exports.make(1), Last))
            except ClosedError as error:
                said.append(str(error))

    def cycle() -> None:
        last = Last()

        def make(number: int) -> object:
            return last

        guest = Guest(wat(text), {"env": {"make": make}}, engine=engine)
        assert guest.exports.make(1) is last
        if late:
            last.guest = guest
            guest.exports.store(last)
            last = Last()
        last.guest = guest

    for _ in range(10):
        cycle()
        gc.collect()
    closed = "the guest called env.make(i32) -> (externref), but what stood behind it was closed"
    made = True if weak_references_stay() else closed
    assert said == [7, b"\x07", made] * (20 if late else 10)


def test_scene_is_real(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mark of such calls the object is lost: the tests above look at the right moment."""

    class Unaware:
        def __init__(self, *args: Any) -> None:
            self.ids = new_ids(*args)

        def enter(self, interrupting: bool) -> object:
            return self.ids.enter(False)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.ids, name)

        def __bool__(self) -> bool:
            return bool(self.ids)

    monkeypatch.setattr("hiwire_py.objects.runtime.new_ids", Unaware)
    monkeypatch.setattr(Runtime, "patience", 0)
    scene = Scene(engine, monkeypatch)
    with pytest.raises(Exception, match="was given no such object"):
        scene.guest.exports.put(Thing())
        scene.interrupt = scene.crossings
        scene.guest.exports.take()
