#!/usr/bin/env python3
"""How long it takes to make a guest of a large module, the first time and in later processes.

    scripts/bench_start.py [--engines NAME,...] [--module PACKAGE@VERSION:FILE] [--json FILE] [--turns N]

Each start is a process of its own, and what is timed is `Guest(path, imports)` alone, from the file to the
instance; imported functions are stand-ins that are never called. The cache is a new directory beside the
user's, so that the first process of each engine finds it empty. npm fetches the modules.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from hiwire_py import cache, engines

ROOT = Path(__file__).resolve().parent.parent
FETCHED = ROOT / "build" / "foreign"
# A compiler written in Go, most of it code; and a dictionary with what looks words up in it, most of it data.
MODULES = ("esbuild-wasm@0.25.0:esbuild.wasm", "lindera-wasm-ipadic@1.0.0:lindera_wasm_bg.wasm")
# gcc takes longer for the code of the first one than anybody waits.
NOT_NATIVE = MODULES[:1]
START = """
import os, sys, time
from hiwire_py import Guest
from hiwire_py.engines import get_engine
from hiwire_py.wasm.module import FUNCTION, Module
path, engine = sys.argv[1:]
imports = {}
with open(path, "rb") as file:
    for wanted in Module.parse(file.read()).imports:
        assert wanted.kind == FUNCTION, wanted
        imports.setdefault(wanted.module, {})[wanted.name] = lambda *args: 0
get_engine(engine)  # is imported, which is not what is measured
begin, work = time.perf_counter(), sum(os.times()[:4])
guest = Guest(path, imports, engine=engine)
print(time.perf_counter() - begin, sum(os.times()[:4]) - work)
"""


def fetch(module: str) -> Path:
    """The file of a module that npm has."""
    package, _, member = module.partition(":")
    FETCHED.mkdir(parents=True, exist_ok=True)
    archive = FETCHED / f"{package.replace('@', '-').lstrip('-').replace('/', '-')}.tgz"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=FETCHED) as scratch:
            subprocess.run(["npm", "pack", "--silent", package], cwd=scratch, check=True, capture_output=True)
            next(Path(scratch).iterdir()).rename(archive)
    target = FETCHED / f"{archive.stem}-{Path(member).name}"
    if not target.exists():
        with tarfile.open(archive) as opened:
            found = opened.extractfile(f"package/{member}")
            assert found is not None, f"{package} has no {member}"
            target.write_bytes(found.read())
    return target


def start(path: Path, engine: str, home: str) -> tuple[float, ...]:
    """Seconds of a guest; those of processors, with what compilers take in processes of their own; and the
    seconds of the whole process."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", START, str(path), engine],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "XDG_CACHE_HOME": home},
        cwd=ROOT,
    )
    return (*map(float, done.stdout.split()), time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engines", default=",".join(one.name for one in engines() if one.available))
    parser.add_argument("--module", action="append")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for module in options.module or MODULES:
        path = fetch(module)
        for engine in options.engines.split(","):
            if engine == "native" and module in NOT_NATIVE:
                continue
            place = cache.root().parent
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place, prefix="hiwire-bench-") as home:
                first = start(path, engine, home)
                later = [start(path, engine, home) for _ in range(options.turns)]
                kept = sum(file.stat().st_size for file in Path(home).rglob("*") if file.is_file())
            second = [statistics.median(side) for side in zip(*later)]
            size = path.stat().st_size
            print(
                f"{path.name}, {size:,} bytes, on {engine}: {first[0]:.2f} s, later {second[0]:.3f} s, ratio"
                f" {second[0] / first[0]:.4f}; of processors {first[1]:.2f} and {second[1]:.3f} s, ratio"
                f" {second[1] / first[1]:.4f}; the whole process {first[2]:.2f} and {second[2]:.3f} s; kept"
                f" {kept:,} bytes",
                flush=True,
            )
            row: dict[str, Any] = {"module": module, "bytes": size, "engine": engine, "kept": kept}
            for name, once, again in zip(("seconds", "processor_seconds", "process_seconds"), first, second):
                row[name] = {"first": once, "later": again, "ratio": again / once}
            rows.append(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
