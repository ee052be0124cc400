"""What components cost: handles and strings between them, calls from Python, and making an instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from hiwire_py.components import Component
from hiwire_py.components.fuse import fuse
from hiwire_py.errors import HiwireError

from .rows import Operation, Row, available, compare, repeat, wat

__all__ = ["Reference", "from_python", "fused", "handles", "instances", "lists", "strings"]

SOURCES = Path(__file__).parent / "wat"

# Measured, the loop that does it, and the goal.
LOOPS = [
    ("resource.new + drop", "new-drop", "0.3"),
    ("resource.rep", "rep", "0.4"),
    ("borrow, a call of the definer", "borrow", "0.12"),
    ("borrow, a call through a re-exporter", "borrow-handed-on", "0.15"),
    ("own, made, passed, dropped with its destructor", "own", "0.25"),
    ("own, the same through a re-exporter", "own-handed-on", ""),
]
TEXTS = [
    ("5 bytes", "short"),
    ("10 kB of ASCII", "long"),
    ("10 kB of characters with two bytes", "long-accents"),
]


class Reference:
    """A component in wasmtime's own support.

    Args:
        wasm: its bytes; it imports nothing.
    """

    def __init__(self, wasm: bytes) -> None:
        import wasmtime
        from wasmtime import _ffi, component

        config = wasmtime.Config()
        # The package has no attribute for it.
        _ffi.wasmtime_config_concurrency_support_set(config.ptr(), False)
        self.engine = wasmtime.Engine(config)
        self.component = component.Component(self.engine, wasm)
        self.linker = component.Linker(self.engine)
        self.make()

    def make(self) -> None:
        """Make an instance, in a new store."""
        import wasmtime

        self.store = wasmtime.Store(self.engine)
        self.instance = self.linker.instantiate(self.store, self.component)

    def function(self, instance: str, name: str) -> Callable[..., Any]:
        """What calls a function of an exported instance."""
        store = self.store
        outer = self.instance.get_export_index(store, instance)
        index = self.instance.get_export_index(store, name, outer)
        assert index is not None, name
        function: Any = self.instance.get_func(store, index)
        return lambda *args: function(store, *args)


@cache
def source(name: str) -> bytes:
    """A component of benchmarks/wat. wasmtime's package assembles it, as it is needed anyway."""
    return wat((SOURCES / f"{name}.wat").read_text())


def on_each(name: str, measured: Callable[[str, Any, Reference], Iterator[Row]]) -> Iterator[Row]:
    """For each engine the rows that are measured with its name, an instance of a component, and the other
    side; or one that says why there are none."""
    component = Component(source(name))
    for engine in available():
        try:
            yield from measured(engine, component.instantiate(engine=engine), Reference(source(name)))
        except HiwireError as e:
            yield Row(f"{name}.wat on {engine}", note=f"not measured: {e}")


def handles() -> Iterator[Row]:
    """Handles inside guests: made, lent, given away, by loops in a component."""
    return on_each("handles", _handles)


def _handles(engine: str, ours: Any, other: Reference) -> Iterator[Row]:
    for what, loop, goal in LOOPS:
        function = other.function("loops", loop)
        yield compare(f"{what}, on {engine}", goal, ours["loops"][loop], function)


def from_python() -> Iterator[Row]:
    """Calls of exports from Python: numbers, handles, strings."""
    yield from on_each("handles", _handles_from_python)
    yield from on_each("strings", _strings_from_python)


def _handles_from_python(engine: str, ours: Any, other: Reference) -> Iterator[Row]:
    goal = "0.05" if engine == "wasmer" else "0.03"
    counters, make = ours["counters"], other.function("counters", "[constructor]counter")
    yield compare(
        f"from Python on {engine}, add(u32, u32)",
        goal,
        repeat(counters.add, 1, 2),
        repeat(other.function("counters", "add"), 1, 2),
    )
    lent, given = make(1), counters.Counter(1)
    get = other.function("counters", "[method]counter.get")
    yield compare(
        f"from Python on {engine}, a method of a resource", goal, repeat(given.get), repeat(get, lent)
    )
    lent.drop(other.store)
    given.close()
    yield compare(
        f"from Python on {engine}, a resource made and dropped",
        goal,
        lives(counters.Counter, lambda counter: counter.close()),
        lives(make, lambda counter: counter.drop(other.store)),
    )


def _strings_from_python(engine: str, ours: Any, other: Reference) -> Iterator[Row]:
    take, theirs = ours["texts"].take, other.function("texts", "take")
    for size in (5, 10_000):
        text = "x" * size
        name = f"from Python on {engine}, a string of {size:,} bytes"
        yield compare(name, "", repeat(take, text), repeat(theirs, text))


def lives(make: Callable[[int], Any], end: Callable[[Any], None]) -> Operation:
    """Make a resource, and destroy it."""

    def operation(count: int) -> None:
        for number in range(count):
            end(make(number))

    return operation


def strings() -> Iterator[Row]:
    """Strings that one component passes to another, in a loop of the first."""
    return on_each("strings", _strings)


def _strings(engine: str, ours: Any, other: Reference) -> Iterator[Row]:
    goal = "1.2" if engine == "wasmtime" else "2"
    for what, loop in TEXTS:
        name = f"a string parameter of {what}, on {engine}"
        theirs = other.function("loops", loop)
        yield compare(name, "" if loop == "long-accents" else goal, ours["loops"][loop], theirs)


def lists() -> Iterator[Row]:
    """A list of a hundred strings that an export returns to Python."""
    return on_each("strings", _lists)


def _lists(engine: str, ours: Any, other: Reference) -> Iterator[Row]:
    words, others = ours["texts"].words, other.function("texts", "words")
    assert words() == others()
    name = f"list<string> of 100 to Python, on {engine}"
    yield compare(name, "0.5", repeat(words), repeat(others), unit="us")


def fused() -> Iterator[Row]:
    """The same component as one core module, against its linked modules: loops of handles and strings."""
    for name, loops in (("handles", [one[:2] for one in LOOPS]), ("strings", TEXTS)):
        linked, one = Component(source(name)), Component(fuse(source(name)))
        for engine in available():
            ours, other = (each.instantiate(engine=engine) for each in (one, linked))
            goal = {"native": "0.6", "wasmtime": "1.1"}.get(engine, "")
            for what, loop in loops:
                row = f"fused / linked on {engine}: {what}"
                yield compare(row, goal, ours["loops"][loop], other["loops"][loop])


def instances() -> Iterator[Row]:
    """A second instance, of a component that comes to 13 core instances with those that are generated."""
    component, other = Component(source("handles")), Reference(source("handles"))
    for engine in available():
        component.instantiate(engine=engine).close()
        name = f"a second instance, 13 core instances, on {engine}"
        ours = repeat(partial(component.instantiate, engine=engine))
        yield compare(name, "30, and 3 ms", ours, repeat(other.make), unit="ms")
