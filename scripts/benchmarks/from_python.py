"""What Python pays: calls and host callbacks, `Hiwire.get`, an object's whole life."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from hiwire_py import Guest, Hiwire

from .rows import Operation, Row, available, compare, per_operation, repeat, wat

CALLS = """(module
  (import "env" "back" (func $back (param i32) (result i32)))
  (func (export "number") (param i32) (result i32) (local.get 0))
  (func (export "ref") (param externref) (result externref) (local.get 0))
  (func (export "back") (param i32) (loop $more
    (drop (call $back (local.get 0))) (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
NUMBERS = """(module (func (export "number") (param i32) (result i32) (local.get 0)))"""


def calls_on_wasmtime() -> Iterator[Row]:
    """Calls and host callbacks on wasmtime, against the plain package."""
    import wasmtime

    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    i32 = wasmtime.ValType.i32()
    back = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), lambda number: number)
    plain: Any = wasmtime.Instance(store, wasmtime.Module(engine, wat(CALLS)), [back]).exports(store)
    ours = Guest(wat(CALLS), {"env": {"back": lambda number: number}}, engine="wasmtime").exports
    thing = object()
    number, ref, call_back = plain["number"], plain["ref"], plain["back"]
    what = "wasmtime, ours / plain package"
    yield compare(f"call (i32)->(i32), {what}", "0.017", repeat(ours.number, 5), repeat(number, store, 5))
    yield compare(
        f"call (externref)->(externref), {what}", "0.05", repeat(ours.ref, thing), repeat(ref, store, thing)
    )
    yield compare(
        f"host callback (i32)->(i32), {what}", "0.04", ours.back, lambda count: call_back(store, count)
    )


def calls_on_wasmer() -> Iterator[Row]:
    """A call on wasmer, against the function object of the plain package, looked up once."""
    import wasmer
    from wasmer_compiler_cranelift import Compiler

    store = wasmer.Store(wasmer.engine.Universal(Compiler))
    bare = wasmer.Instance(wasmer.Module(store, wat(NUMBERS))).exports.number
    ours = Guest(wat(NUMBERS), engine="wasmer").exports.number
    yield compare("call (i32)->(i32), wasmer, ours / plain package", "1.5", repeat(ours, 5), repeat(bare, 5))


def native_get() -> Iterator[Row]:
    """`Hiwire.get` on native, against the fastest other engine."""
    gets: dict[str, Callable[[int], object]] = {}
    for engine in available():
        table = Hiwire(engine=engine)
        gets[engine] = repeat(table.get, table.new(object()))
    others = {name: per_operation(get) for name, get in gets.items() if name != "native"}
    if "native" not in gets or not others:
        yield Row("Hiwire.get, native / fastest other engine", note="the engine native is not here")
        return
    fastest = min(others, key=lambda name: min(others[name]() for _ in range(3)))
    yield compare(f"Hiwire.get, native / {fastest}", "0.5, and 140 ns", gets["native"], gets[fastest])


class Plain:
    """A plain dict with counters: the least that does in Python what a table of handles does."""

    def __init__(self) -> None:
        self.objects: dict[int, object] = {}
        self.counts: dict[int, int] = {}
        self.keys = itertools.count(1)

    def new(self, thing: object) -> int:
        key = next(self.keys)
        self.objects[key] = thing
        self.counts[key] = 1
        return key

    def get(self, key: int) -> object:
        return self.objects[key]

    def decref(self, key: int) -> None:
        self.counts[key] -= 1
        if not self.counts[key]:
            del self.counts[key], self.objects[key]


def in_a_dict(count: int) -> None:
    """Lives in a dict whose keys are counted up, written out: no call but that of the counter."""
    objects: dict[int, object] = {}
    keys = itertools.count(1)
    thing = object()
    for _ in range(count):
        key = next(keys)
        objects[key] = thing
        objects[key]
        del objects[key]


def lives() -> Iterator[Row]:
    """An object's life from Python (new, get, decref), against the same in a plain dict with counters."""
    for engine in available():
        ours = life(Hiwire(engine=engine))
        name = f"new, get, decref from Python on {engine}"
        goal = "6" if engine == "native" else "12"
        yield compare(f"{name} / the same in a plain dict with counters", goal, ours, life(Plain()))
        yield compare(f"{name} / the dict's statements alone", "", ours, in_a_dict)


def life(table: Hiwire | Plain) -> Operation:
    """The life of one object after another in a table."""
    new: Callable[[object], Any] = table.new
    get: Callable[[Any], object] = table.get
    decref: Callable[[Any], object] = table.decref
    thing = object()

    def operation(count: int) -> None:
        for _ in range(count):
            ref = new(thing)
            get(ref)
            decref(ref)

    return operation
