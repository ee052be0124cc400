"""Measures `collect`: python scripts/bench_collect.py [--engine NAME] [--objects N] [--handles N]

Each object is a Python object that holds a wrapper, whose struct holds a handle of the object. The unit is
plain gc.collect() on the same Python heap. Calls of a guest without wrappers are timed before and after. All
times are the thread's, on the processor.

With --handles, a table has so many handles that no struct describes, and 0, 1, 100 or as many wrappers beside
them: what collect() takes, and what gc.collect() takes, which looks at them too.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable

from hiwire_py import Guest, GuestObject, Hiwire, collect, layout
from hiwire_py.collect import backend, triggers
from hiwire_py.compare.measure import Statistic
from hiwire_py.sources import shipped

REPEATS = 7


class Holder:
    wrapper: GuestObject

    def called(self, argument: int) -> int:
        return argument


def guest(engine: str | None, name: str = "guest-cycle") -> Guest:
    invoke = {"env": {"invoke": lambda callback, x: callback(x)}}
    return Guest(shipped(name), invoke, hiwire=Hiwire("extern_realloc", engine=engine))


def milliseconds(function: Callable[[], object]) -> float:
    start = time.thread_time()
    function()
    return (time.thread_time() - start) * 1e3


def plain() -> float:
    """Python's collector alone."""
    gc.callbacks.remove(triggers._on_collection)
    try:
        return milliseconds(gc.collect)
    finally:
        gc.callbacks.append(triggers._on_collection)


def objects_of(engine: str | None, count: int) -> tuple[list[Holder], list[Guest]]:
    """As many as asked for; each guest has room for some 12,000."""
    gc.disable()
    table = Hiwire("extern_realloc", engine=engine)
    held: list[Holder] = []
    guests = []
    while len(held) < count:
        one = Guest(
            shipped("guest-cycle"), {"env": {"invoke": lambda callback, x: callback(x)}}, hiwire=table
        )
        guests.append(one)
        described = layout(one, "object")
        for _ in range(min(12_000, count - len(held))):
            holder = Holder()
            make, attach = one.exports.object_new, one.exports.object_attach
            holder.wrapper = GuestObject(one, make, layout=described, free="object_free")
            attach(holder.wrapper.pointer, holder)
            held.append(holder)
    gc.enable()
    return held, guests


def beside(engine: str | None, handles: int, wrappers: int) -> None:
    """A few wrappers in a table of many handles."""
    held, guests = objects_of(engine, wrappers)
    table = guests[0].table if guests else Hiwire("extern_realloc", engine=engine)
    assert table is not None
    for _ in range(handles):
        table.new(Holder())
    collect()
    units, asked, own = [], [], []
    for _ in range(REPEATS):
        units.append(plain())
        asked.append(milliseconds(collect))
        own.append(milliseconds(gc.collect))
    unit = Statistic.of(units).median
    print(f"{handles:,} handles that no struct describes, {len(held):,} wrappers", flush=True)
    line("  plain gc.collect()", units)
    line("  collect()", [t / unit for t in asked], "times")
    line("  gc.collect()", [t / unit for t in own], "times")
    table.close()


def line(what: str, values: list[float], unit: str = "ms") -> None:
    """Median and range."""
    one = Statistic.of(values)
    print(f"{what:24}{one.median:9.2f} {unit:5}  {one.low:.2f} to {one.high:.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", help="wasmer, wasmtime or native; the best one if not given")
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--handles", type=int, help="measure a few wrappers beside so many handles")
    arguments = parser.parse_args()
    idle = guest(arguments.engine)
    version = ".".join(map(str, sys.version_info[:3]))
    name = idle.instance.space.engine.name
    if arguments.handles is not None:
        print(f"CPython {version}, {name}, {backend.BACKEND}, {REPEATS} rounds")
        for wrappers in (0, 1, 100, arguments.handles):
            beside(arguments.engine, arguments.handles, wrappers)
        return 0
    call = idle.exports.objects_live

    def calls() -> None:
        for _ in range(100_000):
            call()

    before = [milliseconds(calls) for _ in range(REPEATS)]
    units, live, dead = [], [], []
    left = freed = 0
    for _ in range(REPEATS):
        held, guests = objects_of(arguments.engine, arguments.objects)
        gc.collect()
        units.append(plain())
        live.append(milliseconds(collect))
        units.append(plain())
        held.clear()
        start = time.thread_time()
        freed += collect()
        dead.append((time.thread_time() - start) * 1e3)
        left += sum(one.exports.objects_live() for one in guests)
        for one in guests:
            one.close()
        del guests, one
    after = [milliseconds(calls) for _ in range(REPEATS)]
    print(f"CPython {version}, {name}, {backend.BACKEND}, {arguments.objects:,} objects, {REPEATS} rounds")
    line("plain gc.collect()", units)
    line("collect(), all live", live)
    line("  of plain", [2 * t / (a + b) for t, a, b in zip(live, units[::2], units[1::2])], "times")
    line("collect(), all dead", dead)
    print(f"{freed:,} structs freed, {left} left")
    line("100,000 guest calls", before)
    line("  after wrappers", after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
