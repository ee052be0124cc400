#!/usr/bin/env python3
"""What calls, handles and lowering cost on each engine, against plain packages and bare table instructions.

Prints one line for each measurement: the ratio first, then both sides as median (smallest..largest) of
several runs. Times are of the processor. The sides of a ratio take turns in one process, so that what else
the machine does meets both alike. What is not here, an engine or a module of others, has a line that says
so.

    scripts/bench.py                            all but what takes minutes
    scripts/bench.py --full --json all.json     all, and each run's numbers in a file
    scripts/bench.py --only guest --only lives  two subjects
    scripts/bench.py --only modules             lowering on modules of others, which npm fetches once
    scripts/bench.py --table all.json           the numbers in that file as the table of docs/performance.md

Subjects:
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import from_python, in_guests, lowerings, starts
from benchmarks.rows import Row, shown

from hiwire_py import __version__, engines
from hiwire_py.compare.measure import Statistic
from hiwire_py.errors import HiwireError
from hiwire_py.sources import shipped

SUBJECTS: dict[str, Callable[[], Iterator[Row]]] = {
    "wasmtime": from_python.calls_on_wasmtime,
    "wasmer": from_python.calls_on_wasmer,
    "native": from_python.native_get,
    "lives": from_python.lives,
    "guest": in_guests.inside_the_guest,
    "releases": in_guests.releases,
    "lowering": lowerings.lowering,
}
LONG: dict[str, Callable[[], Iterator[Row]]] = {
    "modules": lowerings.foreign_modules,
    "starts": starts.later_starts,
    "all-handles": in_guests.all_the_handles,
}


def main() -> int:
    args = parse()
    if args.table:
        print("\n".join(table(json.loads(Path(args.table).read_text())["rows"])))
        return 0
    subjects = {**SUBJECTS, **LONG} if args.full or args.only else SUBJECTS
    subjects = {name: rows for name, rows in subjects.items() if args.only is None or name in args.only}
    found = machine()
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    print("   ratio   what: ours / other, median (smallest..largest)")
    start = time.monotonic()
    rows: list[Row] = []
    for number, (name, subject) in enumerate(subjects.items(), 1):
        passed = time.monotonic() - start
        print(f"[{number} of {len(subjects)}, {passed:.0f} s] {name}", file=sys.stderr, flush=True)
        for row in measured(name, subject):
            rows.append(row)
            print(row, flush=True)
    found["load after"] = load()
    if args.json:
        lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
        text = f'{{"machine": {json.dumps(found)},\n"rows": [\n{lines}\n]}}'
        if args.json == "-":
            print(text)
        else:
            Path(args.json).write_text(text + "\n")
    return 0


def parse() -> argparse.Namespace:
    subjects = {**SUBJECTS, **LONG}
    lines = [
        f"    {name:12}{str(rows.__doc__).splitlines()[0]}{' (with --full)' if name in LONG else ''}"
        for name, rows in subjects.items()
    ]
    parser = argparse.ArgumentParser(
        description=f"{__doc__}{os.linesep.join(lines)}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write the result as JSON; '-' is standard output"
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=subjects, help="this subject; may be repeated"
    )
    parser.add_argument("--table", metavar="FILE", help="measure nothing; show such a file in Markdown")
    parser.add_argument("--full", action="store_true", help="also what takes minutes, and gigabytes")
    return parser.parse_args()


def measured(name: str, subject: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a subject, or one that says why it has none."""
    try:
        yield from subject()
    except (ImportError, HiwireError) as e:
        yield Row(name, note=f"not measured: {e}")


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The rows of a JSON file as a table in Markdown."""
    yield "| ratio | goal | what | ours | the other side | |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
        sides = [row[side] and shown(Statistic(**row[side])) for side in ("ours", "other")]
        unit = "" if row["ours"] is None else f"{row['unit']}; " if row["note"] else row["unit"]
        cells = (ratio, row["goal"], row["name"], sides[0] or "", sides[1] or "", unit + row["note"])
        yield f"| {' | '.join(cells)} |"


def machine() -> dict[str, object]:
    return {
        "hiwire_py": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": load(),
        "engines": {i.name: i.version for i in engines() if i.available},
        "modules": {name: len(shipped(name)) for name in ("static_pages", "extern_realloc")},
    }


def load() -> float | None:
    """How many processes wanted to run in the last minute, where the system counts them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


if __name__ == "__main__":
    sys.exit(main())
