"""How long a guest of a large module takes to make, the first time and in later processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hiwire_py import cache
from hiwire_py.compare.measure import Statistic

from .foreign import NotMeasured, fetch
from .rows import ROOT, Row, available

# A compiler written in Go, most of it code; and a dictionary with what looks words up in it, most of it data.
CODE = ("esbuild-wasm", "0.25.0", "esbuild.wasm")
DATA = ("lindera-wasm-ipadic", "1.0.0", "lindera_wasm_bg.wasm")
LATER = 5  # processes after the first
GOAL = "0.1"

# Imported functions are stand-ins that are never called. The engine is imported first, which is not what is
# measured.
START = """
import os, sys
from hiwire_py import Guest
from hiwire_py.engines import get_engine
from hiwire_py.wasm.module import FUNCTION, Module
path, engine = sys.argv[1:]
imports = {}
with open(path, "rb") as file:
    for wanted in Module.parse(file.read()).imports:
        assert wanted.kind == FUNCTION, wanted
        imports.setdefault(wanted.module, {})[wanted.name] = lambda *args: 0
get_engine(engine)
begin = sum(os.times()[:4])
guest = Guest(path, imports, engine=engine)
print(sum(os.times()[:4]) - begin)
"""


def later_starts() -> Iterator[Row]:
    """A guest of a large module in a later process, against the first."""
    for package, version, member in (CODE, DATA):
        for engine in available():
            name = f"a guest of {package} {version} on {engine}, in a later process / in the first"
            if engine == "native":
                note = "gcc takes 20 minutes for the smaller one and longer for the other"
                yield Row(name, GOAL, note=f"not measured: {note}")
                continue
            try:
                path = fetch(package, version, member)
            except NotMeasured as e:
                yield Row(name, GOAL, note=str(e))
                continue
            yield against_the_first(name, path, engine)


def against_the_first(name: str, path: Path, engine: str, program: str = START, goal: str = GOAL) -> Row:
    """One row; the cache is a new directory beside the user's, which the first process finds empty.

    Args:
        program: makes what is measured, of a file and on an engine, and prints the seconds of processors.
    """
    place = cache.root().parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix="hiwire-bench-") as home:
        first = start(program, path, engine, home)
        later = [start(program, path, engine, home) for _ in range(LATER)]
        kept = sum(file.stat().st_size for file in Path(home).rglob("*") if file.is_file())
    return Row(
        name,
        goal,
        statistics.median(later) / first,
        Statistic.of(later),
        Statistic.of([first]),
        "s",
        f"{path.stat().st_size / 1e6:.1f} MB; {kept / 1e6:.1f} MB are kept",
        [later, [first]],
    )


def start(program: str, path: Path, engine: str, home: str) -> float:
    """Seconds of processors, with what compilers take in processes of their own, from file to instance."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), engine],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "XDG_CACHE_HOME": home},
        cwd=ROOT,
    )
    return float(done.stdout)
