"""What a call between Python and wasmtime costs through hiwire_py and through the plain ``wasmtime`` package.

    python scripts/bench_calls.py [--json FILE] [--rounds N] [--profile]

Both sides run in one process, in turns, so that a busy machine slows both. `measure` is there to be imported.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import platform
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime

sys.path.insert(0, str(Path(__file__).parent.parent))

from hiwire_py import Guest
from hiwire_py.engines.wasmtime_capi import mode

__all__ = ["GOALS", "measure"]

GOALS = {"call (i32)->(i32)": 0.05, "call (externref)->(externref)": 0.08, "host callback (i32)->(i32)": 0.06}
"""Ours divided by the plain package's: what is wanted."""

_MODULE = """(module (import "env" "host" (func $host (param i32) (result i32)))
  (func (export "number") (param i32) (result i32) local.get 0)
  (func (export "ref") (param externref) (result externref) local.get 0)
  (func (export "callbacks") (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (call $host (local.get 1)))
      (br_if $again (i32.lt_s (local.get 1) (local.get 0))))
    (local.get 1)))"""


def _plain(wasm: bytes) -> dict[str, Callable[[int], object]]:
    """name -> function that does it so many times, through the package alone."""
    store = wasmtime.Store()
    i32 = wasmtime.ValType.i32()
    host = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), lambda n: n + 1)
    exports: Any = wasmtime.Instance(store, wasmtime.Module(store.engine, wasm), [host]).exports(store)
    number, ref, callbacks = exports["number"], exports["ref"], exports["callbacks"]
    thing = object()

    def numbers(count: int) -> None:
        for _ in range(count):
            number(store, 5)

    def refs(count: int) -> None:
        for _ in range(count):
            ref(store, thing)
        store.gc()

    return dict(zip(GOALS, (numbers, refs, lambda count: callbacks(store, count))))


def _ours(wasm: bytes) -> dict[str, Callable[[int], object]]:
    exports = Guest(wasm, {"env": {"host": lambda n: n + 1}}, engine="wasmtime").exports
    number, ref = exports.number, exports.ref
    thing = object()

    def numbers(count: int) -> None:
        for _ in range(count):
            number(5)

    def refs(count: int) -> None:
        for _ in range(count):
            ref(thing)

    return dict(zip(GOALS, (numbers, refs, exports.callbacks)))


def _time(function: Callable[[int], object], count: int) -> float:
    began = time.perf_counter_ns()
    function(count)
    return (time.perf_counter_ns() - began) / count


def measure(rounds: int = 15, count: int = 20_000) -> dict[str, dict[str, Any]]:
    """Nanoseconds of each call on both sides, and the ratio of each pair of rounds.

    Args:
        rounds: how many times each side is measured, in turns.
        count: calls of ours in a round; the package gets a tenth.
    """
    wasm = bytes(wasmtime.wat2wasm(_MODULE))
    ours, plain = _ours(wasm), _plain(wasm)
    result: dict[str, dict[str, Any]] = {}
    for name, goal in GOALS.items():
        pairs = []
        for i in range(rounds + 1):
            pair = _time(ours[name], count), _time(plain[name], count // 10)
            if i:  # the first round warms up
                pairs.append(pair)
        ratios = [a / b for a, b in pairs]
        result[name] = {
            "ratio": _spread(ratios),
            "goal": goal,
            "reached": statistics.median(ratios) <= goal,
            "ours_ns": _spread([a for a, _ in pairs]),
            "plain_ns": _spread([b for _, b in pairs]),
        }
    return result


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _profile() -> None:
    """Where the time of each of our calls goes, as far as Python can see."""
    for name, function in _ours(bytes(wasmtime.wat2wasm(_MODULE))).items():
        profile = cProfile.Profile()
        profile.runcall(function, 100_000)
        print(f"\n== {name}, 100,000 times under the profiler ==")
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--profile", action="store_true", help="show where the time goes, and measure nothing"
    )
    options = parser.parse_args()
    if options.profile:
        _profile()
        return
    here = f"Python {platform.python_version()}, {mode().name}, {os.cpu_count()} cores"
    print(here)
    print(f"{'':32}{'ratio':>7}  {'range':>13}  {'goal':>5}  {'ours ns':>8}  {'plain ns':>8}")
    result = measure(options.rounds)
    for name, row in result.items():
        r = row["ratio"]
        print(
            f"{name:32}{r['median']:7.3f}  {r['min']:.3f}-{r['max']:.3f}    {row['goal']:.2f}"
            f"  {row['ours_ns']['median']:8.0f}  {row['plain_ns']['median']:8.0f}"
            f"  {'reached' if row['reached'] else 'NOT reached'}"
        )
    if options.json:
        options.json.write_text(json.dumps({"where": here, "calls": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
