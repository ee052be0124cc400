"""A report for people: tables of text, a Markdown document, and the files that were asked for."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from .findings import growth_sizes, measured
from .measure import number
from .plots import draw, need_matplotlib
from .subject import GUEST_OPERATIONS, PYTHON_OPERATIONS, STARTUP
from .variants import RequestError

__all__ = ["Sheet", "check_outputs", "markdown", "sheets", "unchanged", "write_outputs"]

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
                cells = [_range(s, unit, brief) for s in found]
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
        *([_changes(report["baseline"])] if "baseline" in report else []),
    ]
    return [sheet for sheet in made if sheet.rows]


def _range(numbers: dict[str, Any] | None, unit: float = 1.0, brief: bool = False) -> str:
    """A median with its range, as ``12.3 (11.9-14.0)``, or without."""
    if numbers is None:
        return _NONE
    median, low, high = (number(numbers[key] / unit) for key in ("median", "low", "high"))
    return median if brief else f"{median} ({low}-{high})"


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
        ratio = _range({**r, "median": r["ratio"]})
        rows.append((r["engine"], f"{r['from']}, {r['key']} key", ratio, str(r["calls"]), share))
    head = ("engine", "called from", "times new", "host calls", "of its time")
    return Sheet("new_deduplicate against new", head, rows)


def _not_measured(report: dict[str, Any]) -> Sheet:
    rows = [(r["variant"], r["engine"], r["reason"]) for r in report["rows"] if r["status"] != "measured"]
    for row in report["rows"]:
        rows += [(row["variant"], row["engine"], f"{what}: {why}") for what, why in row["problems"].items()]
    return Sheet("Not measured", ("variant", "engine", "reason"), rows, texts=3)


def _changes(baseline: dict[str, Any]) -> Sheet:
    rows = []
    for c in baseline["changes"]:
        values = [c[key] if isinstance(c[key], str) else number(c[key]) for key in ("before", "after")]
        change = _NONE if c["change"] is None else f"{c['change']:+.0%}"
        rows.append((c["variant"], c["engine"] or _NONE, c["name"], *values, change))
    note = "; ".join([_compared(baseline), *baseline["notes"]])
    head = ("variant", "engine", "what", "then", "now", "change")
    return Sheet(f"Changed beyond noise since {baseline['created']}", head, rows, note, texts=3)


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
    method = resources.files(__package__).joinpath("method.md")
    return "\n\n".join([*parts, method.read_text(encoding="utf-8")])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def check_outputs(files: Sequence[Path | None], plots: Path | None) -> None:
    """Make the folder for the pictures, and see that everything can be written.

    Args:
        files: those asked for, None for one that was not.
        plots: the folder for pictures; None: none are wanted.

    Raises:
        RequestError: a folder is missing or cannot be written to, or pictures cannot be made here.
        OSError: the folder for the pictures cannot be made.
    """
    if plots is not None:
        need_matplotlib()
        plots.mkdir(parents=True, exist_ok=True)
    for folder in filter(None, [plots, *(file and file.parent for file in files)]):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise RequestError(f"{folder}: no file can be written there: {error.strerror}") from None


def write_outputs(
    report: dict[str, Any], json_file: Path | None, markdown_file: Path | None, plots: Path | None
) -> list[Path]:
    """Write the files that were asked for, and the pictures into the folder ``plots``; the files' paths.

    Raises:
        OSError: one cannot be written after all.
    """
    pictures: dict[str, str] = {}
    written: list[Path] = []
    if json_file is not None:
        _write(json_file, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        written.append(json_file)
    if plots is not None:
        pictures = draw(report, plots)
        written += [plots / name for name in pictures.values()]
    if markdown_file is not None:
        base = markdown_file.resolve().parent
        links = {
            text: Path(os.path.relpath((plots or base).resolve() / name, base)).as_posix()
            for text, name in pictures.items()
        }
        _write(markdown_file, markdown(report, links))
        written.append(markdown_file)
    return written


def _write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
