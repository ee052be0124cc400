"""What the benchmark commands have in common: options, the machine, the rows as lines, JSON and a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hiwire_py import __version__, engines
from hiwire_py.compare.measure import Statistic
from hiwire_py.errors import HiwireError
from hiwire_py.sources import shipped

from .rows import Row, shown

__all__ = ["Subjects", "run"]

Subjects = Mapping[str, Callable[[], Iterator[Row]]]
"""By name what is measured; the first line of its docstring is what help says about it."""


def run(about: str, usual: Subjects, long: Subjects) -> int:
    """A whole benchmark command.

    Args:
        about: its docstring, to which help adds the subjects.
        usual: what it measures.
        long: what it measures too if asked to: what takes minutes.
    """
    args = _parse(about, usual, long)
    if args.table:
        print("\n".join(_table(json.loads(Path(args.table).read_text())["rows"])))
        return 0
    subjects = {**usual, **long} if args.full or args.only else usual
    subjects = {name: rows for name, rows in subjects.items() if args.only is None or name in args.only}
    found = _machine()
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    print("   ratio   what: ours / other, median (smallest..largest)")
    start = time.monotonic()
    rows: list[Row] = []
    for number, (name, subject) in enumerate(subjects.items(), 1):
        passed = time.monotonic() - start
        print(f"[{number} of {len(subjects)}, {passed:.0f} s] {name}", file=sys.stderr, flush=True)
        for row in _measured(name, subject):
            rows.append(row)
            print(row, flush=True)
    found["load after"] = _load()
    if args.json:
        lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
        text = f'{{"machine": {json.dumps(found)},\n"rows": [\n{lines}\n]}}'
        if args.json == "-":
            print(text)
        else:
            Path(args.json).write_text(text + "\n")
    return 0


def _parse(about: str, usual: Subjects, long: Subjects) -> argparse.Namespace:
    subjects = {**usual, **long}
    lines = [
        f"    {name:12}{str(rows.__doc__).splitlines()[0]}{' (with --full)' if name in long else ''}"
        for name, rows in subjects.items()
    ]
    parser = argparse.ArgumentParser(
        description=f"{about}{os.linesep.join(lines)}", formatter_class=argparse.RawDescriptionHelpFormatter
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


def _measured(name: str, subject: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a subject, or one that says why it has none."""
    try:
        yield from subject()
    except (ImportError, HiwireError) as e:
        yield Row(name, note=f"not measured: {e}")


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The rows of a JSON file as a table in Markdown."""
    yield "| ratio | goal | what | ours | the other side | |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
        sides = [row[side] and shown(Statistic(**row[side])) for side in ("ours", "other")]
        unit = "" if row["ours"] is None else f"{row['unit']}; " if row["note"] else row["unit"]
        cells = (ratio, row["goal"], row["name"], sides[0] or "", sides[1] or "", unit + row["note"])
        yield f"| {' | '.join(cells)} |"


def _machine() -> dict[str, object]:
    return {
        "hiwire_py": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": _load(),
        "engines": {i.name: i.version for i in engines() if i.available},
        "modules": {name: len(shipped(name)) for name in ("static_pages", "extern_realloc")},
    }


def _load() -> float | None:
    """How many processes wanted to run in the last minute, where the system counts them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
