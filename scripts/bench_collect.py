"""Measures `collect`: python scripts/bench_collect.py [--engine NAME] [--objects N]

Each object is a Python object that holds a wrapper, whose struct holds a handle of the object. The unit is
plain gc.collect() on the same Python heap. Calls of a guest without wrappers are timed before and after.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable

from hiwire_py import Guest, GuestObject, Hiwire, collect, layout
from hiwire_py.collect import collecting
from hiwire_py.sources import shipped

REPEATS = 5


class Holder:
    wrapper: GuestObject

    def called(self, argument: int) -> int:
        return argument


def guest(engine: str | None, name: str = "guest-cycle") -> Guest:
    invoke = {"env": {"invoke": lambda callback, x: callback(x)}}
    return Guest(shipped(name), invoke, hiwire=Hiwire("extern_realloc", engine=engine))


def best(function: Callable[[], object]) -> float:
    """Milliseconds, the least of some runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def plain() -> float:
    """Python's collector alone."""
    gc.callbacks.remove(collecting._on_collection)
    try:
        return best(gc.collect)
    finally:
        gc.callbacks.append(collecting._on_collection)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine")
    parser.add_argument("--objects", type=int, default=100_000)
    arguments = parser.parse_args()
    idle = guest(arguments.engine)
    call = idle.exports.objects_live

    def calls() -> None:
        for _ in range(100_000):
            call()

    before = best(calls)
    held, guests = objects_of(arguments.engine, arguments.objects)
    gc.collect()
    after = best(calls)
    unit = plain()
    live = best(collect)
    held.clear()
    start = time.perf_counter()
    freed = collect()
    dead = (time.perf_counter() - start) * 1e3
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"CPython {version}, {idle.instance.space.engine.name}, {arguments.objects:,} objects")
    print(f"plain gc.collect()      {unit:8.1f} ms")
    print(f"collect(), all live     {live:8.1f} ms   {live / unit:.1f} times plain")
    left = sum(one.exports.objects_live() for one in guests)
    print(f"collect(), all dead     {dead:8.1f} ms   {freed:,} structs freed, {left} left")
    print(f"100,000 guest calls     {before:8.1f} ms before the first wrapper, {after:.1f} ms after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
