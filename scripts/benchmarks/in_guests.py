"""What handles cost C code inside a guest, against table instructions on true externrefs.

Our side is scripts/bench_guest.c, with hiwire linked into it. The other side is the same on every engine: the
plain package of wasmtime, since of the others none both has externrefs and lets Python pass one.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hiwire_py import Guest
from hiwire_py.compare.measure import Statistic

from .rows import ROOT, RUNS, Operation, Row, available, compare, compile_c, of_pairs, seconds, wat

# Reading is a function of its own, as hiwire_get is: an engine leaves out a table.get whose result nobody
# uses. It reads objects, not nulls, for which an engine has less to do.
RAW = """(module
  (table $t 1024 externref)
  (func $get (param i32) (result externref) (table.get $t (local.get 0)))
  (func (export "fill") (param externref)
    (table.fill $t (i32.const 0) (local.get 0) (i32.const 1024)))
  (func (export "churn") (param externref i32) (local $i i32) (loop $more
    (table.set $t (local.get $i) (local.get 0)) (drop (call $get (local.get $i)))
    (table.set $t (local.get $i) (ref.null extern))
    (local.set $i (i32.and (i32.add (local.get $i) (i32.const 1)) (i32.const 1023)))
    (br_if $more (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
  (func (export "get") (param i32) (local $i i32) (loop $more
    (drop (call $get (local.get $i)))
    (local.set $i (i32.and (i32.add (local.get $i) (i32.const 1)) (i32.const 1023)))
    (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
PAGES = 1024  # of the bench guest: room for a million handles
MOST = (1 << 25) - 1  # handles that there can be
DISTINCT = 20_000


class Thing:
    """An object that is of no use but to be held."""

    __slots__ = ()


def bench_guest(pages: int) -> bytes:
    """scripts/bench_guest.c with hiwire linked into it."""
    sources = [ROOT / "scripts" / "bench_guest.c", *(ROOT / "c" / "hiwire").glob("*.c")]
    return compile_c(sources, f"-DHIWIRE_STATIC_PAGES={pages}")


def inside_the_guest() -> Iterator[Row]:
    """hiwire_new, hiwire_get and hiwire_decref, against table.set and table.get."""
    wasm = bench_guest(PAGES)
    churn, get = _raw()
    for engine in available():
        guest = Guest(wasm, engine=engine).exports
        thing = Thing()
        guest.fill(thing, 1)
        ref = 3  # the first handle, by the ABI
        yield compare(
            f"in the guest on {engine}, new+get+decref / raw table.set+get+clear",
            "2.5",
            functools.partial(guest.churn, thing),
            churn,
        )
        yield compare(
            f"in the guest on {engine}, hiwire_get of one object / raw table.get",
            "",
            functools.partial(guest["get"], ref),
            get,
        )
        yield _distinct(engine, wasm, get)
        yield _filling(engine, wasm)


def _raw() -> tuple[Operation, Operation]:
    """Table instructions on true externrefs: a life each, a table.get each."""
    import wasmtime

    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    raw: Any = wasmtime.Instance(store, wasmtime.Module(engine, wat(RAW)), []).exports(store)
    churn, get, fill = raw["churn"], raw["get"], raw["fill"]
    thing = Thing()

    def filled(count: int) -> None:
        fill(store, thing)
        get(store, count)

    return lambda count: churn(store, thing, count), filled


def _distinct(engine: str, wasm: bytes, get: Operation) -> Row:
    """Each object of many, so that an engine cannot remember the one that it gave last."""
    guest = Guest(wasm, engine=engine).exports
    for _ in range(DISTINCT):
        guest.keep(Thing())
    return compare(
        f"in the guest on {engine}, hiwire_get of {DISTINCT:,} distinct objects / raw table.get of one",
        "4",
        guest.get_kept,
        lambda rounds: get(rounds * DISTINCT),
        many=DISTINCT,
    )


def _filling(engine: str, wasm: bytes, count: int = 1_000_000) -> Row:
    """Each run fills a fresh table, and then makes and releases as many handles in it."""
    pairs = []
    thing = Thing()
    for _ in range(RUNS):
        with Guest(wasm, engine=engine) as guest:
            filled = seconds(functools.partial(guest.exports.fill, thing, count))
            made = guest.exports.count()
            churned = seconds(functools.partial(guest.exports.churn, thing, count))
        if made != count:
            raise RuntimeError(f"the table was full after {made} handles")
        pairs.append((filled / count * 1e9, churned / count * 1e9))
    return of_pairs(
        f"in the guest on {engine}, filling a million handles, each / new+get+decref", "1.0", pairs
    )


def releases() -> Iterator[Row]:
    """Objects whose last handle goes in one call of the guest, against the same objects in a dict."""
    wasm = bench_guest(PAGES)
    for engine in available():
        guest = Guest(wasm, engine=engine).exports
        pairs = []
        for _ in range(RUNS):
            for _ in range(DISTINCT):
                guest.keep(Thing())
            objects = {number: Thing() for number in range(DISTINCT)}
            pairs.append((seconds(guest.drain) / DISTINCT * 1e9, seconds(objects.clear) / DISTINCT * 1e9))
        row = of_pairs(
            f"{DISTINCT:,} objects released in one call of a guest on {engine}, each / dict.clear",
            "300 ns beyond",
            pairs,
        )
        beyond = Statistic.of([ours - other for ours, other in pairs])
        row.note = f"{beyond.median:,.0f} ns beyond Python's own"
        yield row


def all_the_handles() -> Iterator[Row]:
    """Every handle that there can be, and back; each engine in a process of its own, whose memory is read."""
    with tempfile.TemporaryDirectory() as directory:
        wasm = Path(directory, "guest.wasm")
        wasm.write_bytes(bench_guest(32768))
        for engine in available():
            command = [sys.executable, "-m", "benchmarks.in_guests", engine, str(wasm)]
            run = subprocess.run(
                command,
                cwd=ROOT / "scripts",
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            if run.returncode:
                raise RuntimeError(f"filling all handles on {engine} failed: {run.stderr}")
            each, note = json.loads(run.stdout)
            yield Row(f"all handles at once on {engine}, each", ours=Statistic.of([each]), note=note)


def fill_all(engine: str, wasm: str) -> None:
    """One engine's part of `all_the_handles`, in a process of its own."""
    with Guest(wasm, engine=engine) as guest:
        before = _resident()
        start = time.perf_counter()
        made = guest.exports.fill(Thing(), MOST + 5)
        filled = time.perf_counter() - start
        bytes_each = (_resident() - before) / made
        start = time.perf_counter()
        drained = guest.exports.drain()
        took = time.perf_counter() - start
    note = f"{made:,} of {MOST:,} filled; {drained:,} drained in {took:.2f} s; {bytes_each:.1f} bytes each"
    print(json.dumps([filled / made * 1e9, note]))


def _resident() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    fill_all(*sys.argv[1:])
