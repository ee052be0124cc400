#!/usr/bin/env python3
"""What a call costs, on each engine, against the engine's own package and against bare table instructions.

    scripts/bench.py [--json FILE] [--only WORD] [--full]

Prints one line for each goal: the ratio first, then both sides as median (smallest..largest) of several runs.
The sides of a ratio take turns in one process, so that what else the machine does meets both alike. Rows
whose engine is not here say so. ``--full`` adds filling a table with all the handles it can have, which takes
a minute and gigabytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hiwire_py import Guest, Hiwire, __version__, engines, lower
from hiwire_py.compare.measure import Statistic
from hiwire_py.errors import HiwireError
from hiwire_py.sources import shipped
from hiwire_py.toolchain import find_compiler

RUNS = 9
TARGET = 0.04  # seconds that one run should take

CALLS = """(module
  (import "env" "back" (func $back (param i32) (result i32)))
  (func (export "number") (param i32) (result i32) (local.get 0))
  (func (export "ref") (param externref) (result externref) (local.get 0))
  (func (export "back") (param i32) (loop $more
    (drop (call $back (local.get 0))) (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
NUMBERS = """(module (func (export "number") (param i32) (result i32) (local.get 0)))"""
# Getting is a function of its own, as hiwire_get is: an engine leaves out a table.get whose result nobody
# uses.
RAW = """(module
  (table $t 1024 externref)
  (func $get (param i32) (result externref) (table.get $t (local.get 0)))
  (func (export "raw") (param externref i32) (local $i i32) (loop $more
    (table.set $t (local.get $i) (local.get 0)) (drop (call $get (local.get $i)))
    (table.set $t (local.get $i) (ref.null extern))
    (local.set $i (i32.and (i32.add (local.get $i) (i32.const 1)) (i32.const 1023)))
    (br_if $more (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
  (func (export "get") (param i32) (local $i i32) (loop $more
    (drop (call $get (local.get $i)))
    (local.set $i (i32.and (i32.add (local.get $i) (i32.const 1)) (i32.const 1023)))
    (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
ROOT = Path(__file__).resolve().parent.parent
PAGES = 1024  # of the bench guest: room for a million handles
MOST = (1 << 25) - 1


def shown(side: Statistic) -> str:
    return f"{side.median:,.4g} ({side.low:,.4g}..{side.high:,.4g})"


@dataclass
class Row:
    """A line of the result. ``ratio`` is the median of the ratios of runs that were next to each other; the
    sides are nanoseconds an operation unless ``unit`` says otherwise."""

    name: str
    goal: str
    ratio: float | None = None
    ours: Statistic | None = None
    other: Statistic | None = None
    unit: str = "ns"
    note: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.ours is None:
            return f"     -   {self.name}: {self.note}"
        ratio = f"{self.ratio:8.3f}" if self.ratio is not None else "        "
        against = f" / {shown(self.other)}" if self.other is not None else ""
        goal = f", goal {self.goal}" if self.goal else ""
        note = f"; {self.note}" if self.note else ""
        return f"{ratio}   {self.name}: {shown(self.ours)}{against} {self.unit}{goal}{note}"


def per_operation(operation: Callable[[int], object]) -> Callable[[], float]:
    """Nanoseconds for one of the operations that ``operation(count)`` does, with a count that takes long
    enough."""
    count = 1
    while True:
        start = time.perf_counter()
        operation(count)
        took = time.perf_counter() - start
        if took > TARGET / 4 or count >= 1 << 24:
            break
        count *= 4
    count = max(1, int(count * TARGET / took))

    def run() -> float:
        start = time.perf_counter()
        operation(count)
        return (time.perf_counter() - start) / count * 1e9

    return run


def repeat(function: Callable[..., object], *args: object) -> Callable[[int], object]:
    """Call ``function`` a number of times."""

    def operation(count: int) -> None:
        for _ in range(count):
            function(*args)

    return operation


def compare(name: str, goal: str, ours: Callable[[int], object], other: Callable[[int], object]) -> Row:
    """Both sides in turn."""
    mine, theirs = per_operation(ours), per_operation(other)
    pairs = [(mine(), theirs()) for _ in range(RUNS)]
    ratio = statistics.median(a / b for a, b in pairs)
    return Row(name, goal, ratio, Statistic.of([a for a, _ in pairs]), Statistic.of([b for _, b in pairs]))


def wat(text: str) -> bytes:
    import wasmtime

    return bytes(wasmtime.wat2wasm(text))


# ---- the rows


def calls_on_wasmtime() -> Iterator[Row]:
    """Calls and callbacks, against the plain package."""
    import wasmtime

    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    i32 = wasmtime.ValType.i32()
    back = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), lambda number: number)
    plain = wasmtime.Instance(store, wasmtime.Module(engine, wat(CALLS)), [back]).exports(store)
    ours = Guest(wat(CALLS), {"env": {"back": lambda number: number}}, engine="wasmtime").exports
    thing = object()

    def export(name: str) -> Callable[..., Any]:
        found: Any = plain[name]
        return lambda *args: found(store, *args)

    number: Any = plain["number"]
    ref: Any = plain["ref"]
    what = "wasmtime, ours / plain package"
    yield compare(f"call (i32)->(i32), {what}", "0.05", repeat(ours.number, 5), repeat(number, store, 5))
    yield compare(
        f"call (externref)->(externref), {what}", "0.08", repeat(ours.ref, thing), repeat(ref, store, thing)
    )
    yield compare(f"host callback (i32)->(i32), {what}", "0.06", ours.back, export("back"))


def calls_on_wasmer() -> Iterator[Row]:
    """A call, against the function object of the package itself, looked up once."""
    import wasmer
    from wasmer_compiler_cranelift import Compiler

    store = wasmer.Store(wasmer.engine.Universal(Compiler))
    bare = wasmer.Instance(wasmer.Module(store, wat(NUMBERS))).exports.number
    ours = Guest(wat(NUMBERS), engine="wasmer").exports.number
    yield compare("call (i32)->(i32), wasmer, ours / bare package", "1.5", repeat(ours, 5), repeat(bare, 5))


def table_from_python() -> Iterator[Row]:
    """`Hiwire.get` on native against the fastest other engine."""
    gets: dict[str, Callable[[int], object]] = {}
    for info in engines():
        if info.available:
            table = Hiwire(engine=info.name)
            gets[info.name] = repeat(table.get, table.new(object()))
    others = {name: per_operation(get) for name, get in gets.items() if name != "native"}
    if "native" not in gets or not others:
        yield Row("Hiwire.get, native / fastest other engine", "0.5", note="the engine native is not here")
        return
    fastest = min(others, key=lambda name: min(others[name]() for _ in range(3)))
    row = compare(f"Hiwire.get, native / {fastest}", "0.5, and 250 ns", gets["native"], gets[fastest])
    yield row


def bench_guest(*options: str) -> bytes:
    """scripts/bench_guest.c with hiwire linked into it."""
    return compile_c([ROOT / "scripts" / "bench_guest.c", *(ROOT / "c" / "hiwire").glob("*.c")], *options)


def compile_c(sources: list[Path], *options: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "out.wasm")
        find_compiler().compile(
            sources,
            output,
            options=[f"@{ROOT / 'c' / 'wasm-cflags.txt'}", f"-I{ROOT / 'c' / 'hiwire'}", *options],
            link_options=["--allow-undefined"],
        )
        return output.read_bytes()


def inside_the_guest() -> Iterator[Row]:
    """What handles cost C code, against bare table instructions."""
    wasm, raw_wasm = bench_guest(f"-DHIWIRE_STATIC_PAGES={PAGES}"), wat(RAW)
    for info in engines():
        if info.available:
            yield from _inside(info.name, wasm, raw_wasm)


def _inside(engine: str, wasm: bytes, raw_wasm: bytes) -> Iterator[Row]:
    guest, raw = Guest(wasm, engine=engine).exports, Guest(raw_wasm, engine=engine).exports
    thing = object()
    guest.fill(thing, 1)
    ref = 3  # the first handle, by the ABI
    goals = ("2.0", "1.5", "1.0") if engine == "wasmtime" else ("", "", "")
    yield compare(
        f"in the guest on {engine}, new+get+decref / table.set+get+clear",
        goals[0],
        lambda count: guest.churn(thing, count),
        lambda count: raw.raw(thing, count),
    )
    yield compare(
        f"in the guest on {engine}, hiwire_get / table.get in a function",
        goals[1],
        lambda count: guest["get"](ref, count),
        lambda count: raw["get"](count),
    )
    yield _filling(engine, wasm, goals[2])


def _filling(engine: str, wasm: bytes, goal: str, count: int = 1_000_000) -> Row:
    """Each run fills a fresh table, and then churns as often in it."""
    filled, churned = [], []
    thing = object()
    for _ in range(RUNS):
        with Guest(wasm, engine=engine) as guest:
            start = time.perf_counter()
            made = guest.exports.fill(thing, count)
            middle = time.perf_counter()
            guest.exports.churn(thing, count)
            end = time.perf_counter()
        if made != count:
            raise RuntimeError(f"the table was full after {made} handles")
        filled.append((middle - start) / count * 1e9)
        churned.append((end - middle) / count * 1e9)
    ratio = statistics.median(a / b for a, b in zip(filled, churned))
    name = f"in the guest on {engine}, filling a million handles, per handle / new+get+decref"
    return Row(name, goal, ratio, Statistic.of(filled), Statistic.of(churned))


def all_the_keys() -> Iterator[Row]:
    """Every handle that there can be, and back; each engine in a process of its own, whose memory is read."""
    with tempfile.TemporaryDirectory() as directory:
        wasm = Path(directory, "guest.wasm")
        wasm.write_bytes(bench_guest("-DHIWIRE_STATIC_PAGES=32768"))
        for info in engines():
            if info.available:
                command = [sys.executable, __file__, "--fill-all", info.name, str(wasm)]
                run = subprocess.run(command, capture_output=True, text=True, check=False)
                if run.returncode:
                    raise RuntimeError(f"filling all handles on {info.name} failed: {run.stderr}")
                each, note = json.loads(run.stdout)
                name = f"all handles at once on {info.name}"
                yield Row(name, "completes", None, Statistic(each, each, each, 1), note=note)


def fill_all(engine: str, wasm: str) -> int:
    """One engine's part of `all_the_keys`."""
    with Guest(wasm, engine=engine) as guest:
        before = _resident()
        start = time.perf_counter()
        made = guest.exports.fill(object(), MOST + 5)
        filled = time.perf_counter() - start
        bytes_each = (_resident() - before) / made
        start = time.perf_counter()
        drained = guest.exports.drain()
        took = time.perf_counter() - start
    note = f"{made:,} of {MOST:,} filled; {drained:,} drained in {took:.2f} s; {bytes_each:.1f} bytes each"
    print(json.dumps([filled / made * 1e9, note]))
    return 0


def _resident() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def lowering() -> Iterator[Row]:
    """The lowering pass on a large module, against Cranelift's compile time."""
    import wasmtime

    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "large.c")
        source.write_text(large_program(800))
        wasm = compile_c([source], "-O2", "-Wno-everything")
    config = wasmtime.Config()
    config.parallel_compilation = False
    engine = wasmtime.Engine(config)
    size = len(wasm) / 1024

    def timed(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / size * 1e6

    pairs = [(timed(lambda: lower(wasm)), timed(lambda: wasmtime.Module(engine, wasm))) for _ in range(5)]
    yield Row(
        f"lowering / compiling with Cranelift on one core, a module of {size:,.0f} KB",
        "0.2",
        statistics.median(a / b for a, b in pairs),
        Statistic.of([a for a, _ in pairs]),
        Statistic.of([b for _, b in pairs]),
        unit="us per KB",
    )


def large_program(functions: int, seed: int = 1) -> str:
    """C code with loops, switches, calls and arithmetic; in every twentieth function a table and host
    functions."""
    r = random.Random(seed)
    out = [
        "typedef __externref_t ref; static ref things[0]; typedef double (*function)(double, int);",
        "extern function functions[8]; int numbers[4096]; double values[4096];",
        "ref make(int); int use(ref);",
    ]
    out += [f"double f{i}(double, int);" for i in range(functions)]
    for i in range(functions):
        a, b = r.randrange(functions), r.randrange(functions)
        k = [r.randrange(1, 9999) for _ in range(6)]
        kinds = (
            f"sum += values[v & {k[0]}];",
            f"sum *= 1.{k[1]}; numbers[i & 4095] ^= {k[2]};",
            f"sum -= f{a}(sum, v);",
            "numbers[v & 4095] += (int)sum;",
            "sum += functions[v & 7](sum, i);",
        )
        cases = "".join(f"case {n}: {r.choice(kinds)} break;" for n in range(5))
        refs = "__builtin_wasm_table_set(things, n, make(n));"
        refs += " sum += use(__builtin_wasm_table_get(things, n + 1));"
        out.append(
            f'__attribute__((export_name("f{i}"))) double f{i}(double x, int n) {{ double sum = x * {k[3]}.5;'
            f" for (int i = 0; i < n; i++) {{ int v = numbers[(i * {k[4]}) & 4095];"
            f" switch (v % 7) {{ {cases} default: sum /= 3.0 + v; }}"
            f" unsigned long long q = (unsigned long long)v * {k[5]}ull; q ^= q >> {r.randrange(1, 60)};"
            f" values[q & 4095] = sum; if (q & {k[0]}) sum += f{b}(sum * 0.5, v - 1); }}"
            f" {refs if i % 20 == 0 else ''} return sum; }}"
        )
    out.append(f"function functions[8] = {{{', '.join(f'f{r.randrange(functions)}' for _ in range(8))}}};")
    return "\n".join(out)


SECTIONS: dict[str, Callable[[], Iterator[Row]]] = {
    "wasmtime": calls_on_wasmtime,
    "wasmer": calls_on_wasmer,
    "native": table_from_python,
    "guest": inside_the_guest,
    "lowering": lowering,
}


def machine() -> dict[str, object]:
    return {
        "hiwire_py": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "engines": {i.name: i.version for i in engines() if i.available},
        "modules": {name: len(shipped(name)) for name in ("static_pages", "extern_realloc")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write the result as JSON; '-' is standard output"
    )
    parser.add_argument("--only", metavar="WORD", choices=[*SECTIONS, "all-keys"], help="one section")
    parser.add_argument("--full", action="store_true", help="also fill tables with 2^25 - 1 handles")
    parser.add_argument("--fill-all", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fill_all:
        return fill_all(*args.fill_all)
    sections = {**SECTIONS, **({"all-keys": all_the_keys} if args.full or args.only == "all-keys" else {})}
    found = machine()
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    print("   ratio   what: ours / other, median (smallest..largest)")
    rows: list[Row] = []
    for name, section in sections.items():
        if args.only not in (None, name):
            continue
        try:
            for row in section():
                rows.append(row)
                print(row, flush=True)
        except (ImportError, HiwireError) as e:
            rows.append(Row(name, "", note=f"not measured: {e}"))
            print(rows[-1], flush=True)
    if args.json:
        text = json.dumps({"machine": found, "rows": [asdict(row) for row in rows]}, indent=2)
        if args.json == "-":
            print(text)
        else:
            Path(args.json).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
