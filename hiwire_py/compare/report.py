"""A report for people: tables of text, a Markdown document, and the files that were asked for."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HiwireError
from .findings import growth_sizes, measured
from .plots import draw, need_matplotlib
from .subject import GUEST_OPERATIONS, PYTHON_OPERATIONS, STARTUP
from .variants import RequestError

__all__ = ["Outputs", "Sheet", "markdown", "sheets", "unchanged"]

_NONE = "-"
_HEADS = {
    "new_deduplicate_new": "dedup. new key",
    "new_deduplicate_known": "dedup. known key",
    "in_order": "in order",
    "at_random": "at random",
    "host": "host call",
}


@dataclass(frozen=True)
class Sheet:
    """One table. All cells are text; the columns after the first ``texts`` hold numbers, and align right."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    texts: int = 2

    def is_number(self, column: int) -> bool:
        return column >= self.texts and self.head[column] != "then"


def number(value: float) -> str:
    """Three digits, and no more."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _range(value: float, low: float, high: float, unit: float = 1.0) -> str:
    return f"{number(value / unit)} ({number(low / unit)}-{number(high / unit)})"


def sheets(report: dict[str, Any], brief: bool = False) -> list[Sheet]:
    """All tables that have rows, in the order of reading.

    Args:
        brief: without ranges; the last column has the widest of a row, in percent of its median.
    """

    def times(title: str, group: str, names: Sequence[object], note: str = "", unit: float = 1.0) -> Sheet:
        rows = []
        for row in measured(report):
            found = [row["statistics"].get(f"{group}.{name}") for name in names]
            if any(found):
                cells = [_time(s, unit, brief) for s in found]
                wide = [(s["high"] - s["low"]) / s["median"] for s in found if s and s["median"]]
                width = [f"{max(wide):.0%}" if wide else _NONE] if brief else []
                rows.append((row["variant"], row["engine"], *cells, *width))
        heads = [f"{n:,}" if isinstance(n, int) else _HEADS.get(str(n), str(n)) for n in names]
        return Sheet(title, ("variant", "engine", *heads, *(["range"] if brief else [])), rows, note)

    stopped = [
        f"{row['variant']} on {row['engine']}: {row['growth_stopped']}"
        for row in measured(report)
        if row["growth_stopped"]
    ]
    growing = "from an empty table, inside the guest; each step ends a call from Python, which is counted"
    fragmenting = (
        "in order and at random: one decref and one new; refill: new, after all were released at random"
    )
    lowering = "lower: reading the module, and putting ids in the place of externrefs"
    made = [
        _recommendation(report),
        _modules(report),
        times("From Python, ns for each call", "python", PYTHON_OPERATIONS),
        times("Inside a guest, ns for each operation", "guest", GUEST_OPERATIONS),
        times(
            "Growing, ns a ref up to N refs", "growth", growth_sizes(report), "; ".join([growing, *stopped])
        ),
        _memory(report),
        _capacity(report),
        times(
            "Fragmentation, ns for each ref replaced",
            "fragmentation",
            ("in_order", "at_random", "refill"),
            fragmenting,
        ),
        times("Starting, microseconds", "startup", STARTUP, lowering, unit=1000.0),
        _deduplicate(report),
        _not_measured(report),
        *_changes(report),
    ]
    return [sheet for sheet in made if sheet.rows]


def _time(statistic: dict[str, Any] | None, unit: float, brief: bool) -> str:
    """A median with its range, as ``12.3 (11.9-14.0)``, or without."""
    if statistic is None:
        return _NONE
    if brief:
        return number(statistic["median"] / unit)
    return _range(statistic["median"], statistic["low"], statistic["high"], unit)


def _recommendation(report: dict[str, Any]) -> Sheet:
    head = ("for", "take", "because")
    rows = [tuple(advice[key] for key in head) for advice in report["recommendation"]]
    note = "" if report["complete"] else "the run was interrupted: these are the numbers that it left"
    return Sheet("Recommendation", head, rows, note, texts=3)


def _modules(report: dict[str, Any]) -> Sheet:
    rows = []
    for v in report["variants"]:
        room = _NONE if v["most_refs"] is None else f"{v['most_refs']:,}"
        cells = ["not built", *[_NONE] * 6]
        if "module_bytes" in v:
            sizes = (v[key] for key in ("module_bytes", "code_bytes", "data_bytes", "initial_pages"))
            cells = [v["source"], *(f"{n:,}" for n in (*sizes, len(v["imports"]), len(v["exports"])))]
        rows.append((v["name"], *cells, room))
    head = ("variant", "from", "bytes", "code", "data", "first pages", "imports", "exports", "refs at most")
    return Sheet(
        "Modules", head, rows, "; ".join(f"{v['name']}: {v['description']}" for v in report["variants"])
    )


def _memory(report: dict[str, Any]) -> Sheet:
    sizes, rows = growth_sizes(report), {}
    for row in measured(report):
        pages, each = row["pages"], row["bytes_per_ref"]
        if pages and row["variant"] not in rows:
            cells = [f"{pages[n]:,} ({number(each[n])})" if n in pages else _NONE for n in map(str, sizes)]
            rows[row["variant"]] = (row["variant"], f"{pages['before']:,}", *cells)
    head = ("variant", "empty", *(f"{n:,}" for n in sizes))
    note = "exact, and the same on each engine; the engine's own table of objects is not in it"
    return Sheet("Pages of memory with N refs (bytes a ref)", head, list(rows.values()), note, texts=1)


def _capacity(report: dict[str, Any]) -> Sheet:
    rows = [
        (row["variant"], row["engine"], f"{c['refs']:,}", f"{c['pages']:,}", c["then"])
        for row in measured(report)
        if (c := row["capacity"])
    ]
    return Sheet("Filled up", ("variant", "engine", "refs", "pages", "then"), rows)


def _deduplicate(report: dict[str, Any]) -> Sheet:
    rows = []
    for r in report["deduplicate"]:
        share = _NONE if r["explained"] is None else f"{r['explained']:.0%}"
        ratio = _range(r["ratio"], r["low"], r["high"])
        rows.append((r["engine"], f"{r['from']}, {r['key']} key", ratio, str(r["calls"]), share))
    head = ("engine", "called from", "times new", "host calls", "of its time")
    return Sheet("new_deduplicate against new", head, rows)


def _not_measured(report: dict[str, Any]) -> Sheet:
    rows = [(r["variant"], r["engine"], r["reason"]) for r in report["rows"] if r["status"] != "measured"]
    for row in report["rows"]:
        rows += [(row["variant"], row["engine"], f"{what}: {why}") for what, why in row["problems"].items()]
    return Sheet("Not measured", ("variant", "engine", "reason"), rows, texts=3)


def _changes(report: dict[str, Any]) -> Iterator[Sheet]:
    baseline = report.get("baseline")
    if baseline is not None:
        rows = []
        for c in baseline["changes"]:
            values = [c[key] if isinstance(c[key], str) else number(c[key]) for key in ("before", "after")]
            change = _NONE if c["change"] is None else f"{c['change']:+.0%}"
            rows.append((c["variant"], c["engine"] or _NONE, c["name"], *values, change))
        note = "; ".join([_compared(baseline), *baseline["notes"]])
        head = ("variant", "engine", "what", "then", "now", "change")
        yield Sheet(f"Changed beyond noise since {baseline['created']}", head, rows, note, texts=3)


def _compared(baseline: dict[str, Any]) -> str:
    compared, apart = baseline["compared"], baseline["apart"]
    return f"{compared} numbers compared, of which {apart} have ranges that do not overlap"


def unchanged(report: dict[str, Any]) -> list[str]:
    """Sentences for a report with a baseline from which nothing changed beyond noise; none for any other."""
    baseline = report.get("baseline")
    if baseline is None or baseline["changes"]:
        return []
    first = f"Nothing changed beyond noise since {baseline['created']}: {_compared(baseline)}."
    return [first, *(f"But: {note}" for note in baseline["notes"])]


def markdown(report: dict[str, Any], pictures: dict[str, str] | None = None) -> str:
    """The report as a Markdown document.

    Args:
        pictures: the path of each picture, by what it shows.
    """
    machine, versions = report["machine"], report["versions"]
    engines = ", ".join(f"{name} {version}" for name, version in versions["engines"].items()) or "no engine"
    rounds = f"with the range over {report['command']['settings']['rounds']} runs in brackets"
    parts = [
        "# hiwire_py: variants and engines compared",
        f"{report['created']}: hiwire_py {versions['hiwire_py']}, {machine['python']}, {engines}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}.",
        f"Times are medians, {rounds}"
        + ("." if report["complete"] else "; the run was interrupted, so some have fewer."),
        *unchanged(report),
    ]
    for place, sheet in enumerate(sheets(report)):
        if place == 1:
            parts += [f"![{text}]({path})" for text, path in (pictures or {}).items()]
        under = tuple("--:" if sheet.is_number(n) else "---" for n in range(len(sheet.head)))
        table = "\n".join(map(_line, (sheet.head, under, *sheet.rows)))
        parts += [f"## {sheet.title}", table, *([f"{sheet.note}."] if sheet.note else [])]
    if report["deduplicate"]:
        parts += ["## Why new_deduplicate is slower", _WHY_DEDUPLICATE]
    return "\n\n".join([*parts, _METHOD])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@dataclass(frozen=True)
class Outputs:
    """Where a report goes: the files asked for, None for those not asked for. ``plots`` is a folder."""

    json: Path | None = None
    markdown: Path | None = None
    plots: Path | None = None

    def check(self) -> None:
        """Make the folder for the pictures, and see that everything can be written.

        Raises:
            RequestError: a folder is missing or cannot be written to, or pictures cannot be made here.
        """
        if self.plots is not None:
            try:
                need_matplotlib()
                self.plots.mkdir(parents=True, exist_ok=True)
            except HiwireError as error:
                raise RequestError(f"{self.plots}: {error}") from None
            except OSError as error:
                raise RequestError(f"{self.plots}: {error.strerror}") from None
            _check_folder(self.plots)
        for path in filter(None, (self.json, self.markdown)):
            if path.is_dir():
                raise RequestError(f"{path}: a file is wanted, and this is a directory")
            _check_folder(path.parent)

    def write(self, report: dict[str, Any]) -> list[Path]:
        """Write them all.

        Returns:
            The files.

        Raises:
            OSError: one cannot be written after all.
        """
        pictures: dict[str, str] = {}
        written: list[Path] = []
        if self.json is not None:
            _write(self.json, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
            written.append(self.json)
        if self.plots is not None:
            pictures = draw(report, self.plots)
            written += [self.plots / name for name in pictures.values()]
        if self.markdown is not None:
            base = self.markdown.resolve().parent
            links = {
                text: Path(os.path.relpath((self.plots or base).resolve() / name, base)).as_posix()
                for text, name in pictures.items()
            }
            _write(self.markdown, markdown(report, links))
            written.append(self.markdown)
        return written


def _check_folder(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RequestError(f"{folder}: no file can be written there: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


_WHY_DEDUPLICATE = """\
`hiwire_new` writes one slot and one table element, and never leaves the guest. `hiwire_new_deduplicate`
must know whether the host has an equal object, and only the host can say: a known key costs one call of a
host function, a new key a second one, which stores it. The column *of its time* is what as many calls of a
host function that does nothing take (*host call* above): the rest is Python's work in the map, and what the
table does. So the factor is not a property of the table. It is the price of a call into Python over the
price of a `new` without one: a single number for it, such as the published 50 and 100, holds for one engine
and one host. From Python, where `new` pays for a call as well, it is small."""

_METHOD = """\
## How it was measured

- A number is the median over the runs, with the least and the greatest in brackets. A run repeats the
  operation for a slice of time and divides. The runs of one number are far apart: a round visits every
  variant on every engine before the next begins, so the range holds what the machine does over minutes.
- Nothing is subtracted. From Python: the call as `Hiwire` offers it, over objects that are all different,
  by `map`. `decref` goes from 2 to 1, `pop` from 1 to 0. Inside a guest: a loop in `c/guests/bench.c`, a
  module of its own, as guests are; each time holds one turn of the loop, reading the argument, and its
  share of the call from Python, all of which *loop* shows alone. With `--quick` fewer operations share that
  call.
- Growing starts with a new table each time, so few refs carry the cost of its first page, and of one call
  from Python for each size. All refs are of one object. A table that is full on the way has its last point
  there.
- Pages are those of the table's linear memory, 4 bytes a handle. The engine's own table of the
  objects comes on top, and is the same for all variants.
- Starting: *load* reads the file, which is in the system's cache; *compile* takes what an engine compiled and
  kept before, if it did; *instantiate* makes a `Hiwire` of a module that is compiled already. Python's cycle
  collector is off while the clock runs.

## What is noise

Two numbers whose ranges overlap are the same number. Two runs of this command on one quiet machine agree
within the ranges they print; of several hundred numbers a few miss each other, most often by a little.
`--baseline` counts them, and marks as changed only those whose ranges are apart even when each is made wider
by a tenth of its median on both sides, and by a nanosecond or more. Sizes, pages and
capacities are exact. Numbers below 5 ns and those for 100 refs depend on where code and memory come to lie,
and can differ between two processes by more than within one. Other programs on the machine widen the ranges
upwards: look at the least value then. Numbers of two machines, two Pythons, or of `--quick` and a full run,
are not comparable; `--baseline` says so.
"""
