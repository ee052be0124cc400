"""A report as tables of text, from which the terminal and Markdown versions are made, and as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .method import METHOD, WHY_DEDUPLICATE
from .subject import GUEST_OPERATIONS, PYTHON_OPERATIONS, STARTUP

__all__ = ["Sheet", "as_json", "compared_text", "markdown", "sheets", "write_text"]

_NONE = "-"
_SIZE = 1000
_HEADS = {
    "new_deduplicate_new": "dedup. new key",
    "new_deduplicate_known": "dedup. known key",
    "in_order": "in order",
    "at_random": "at random",
    "refill": "refill",
    "host": "host call",
}


@dataclass(frozen=True)
class Sheet:
    """One table: all cells are text, and all columns after the first ``texts`` are numbers."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    texts: int = 2


def number(value: float) -> str:
    """Three digits, and no more."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def time_text(statistic: dict[str, Any] | None, unit: float = 1.0, brief: bool = False) -> str:
    """A median with its range, as ``12.3 (11.9-14.0)``, or without."""
    if statistic is None:
        return _NONE
    if brief:
        return number(statistic["median"] / unit)
    low, high = statistic["low"] / unit, statistic["high"] / unit
    return f"{number(statistic['median'] / unit)} ({number(low)}-{number(high)})"


def _spread(found: list[dict[str, Any] | None]) -> str:
    """The widest range of a row of numbers, in percent of its median."""
    wide = [(s["high"] - s["low"]) / s["median"] for s in found if s is not None and s["median"]]
    return f"{max(wide):.0%}" if wide else _NONE


def sheets(report: dict[str, Any], brief: bool = False) -> list[Sheet]:
    """All tables that have rows, in the order of reading.

    Args:
        brief: without ranges; the last column has the widest of a row.
    """
    python, guest = "From Python, ns for each call", "Inside a guest, ns for each operation"
    made = [
        _modules(report),
        _times(report, "python", PYTHON_OPERATIONS, python, brief),
        _times(report, "guest", GUEST_OPERATIONS, guest, brief),
        _growth(report, brief),
        _memory(report),
        _capacity(report),
        _times(
            report,
            "fragmentation",
            ("in_order", "at_random", "refill"),
            "Fragmentation, ns for each ref replaced",
            brief,
            "in order and at random: one decref and one new; refill: new, after all were released at random",
        ),
        _start(report, brief),
        _deduplicate(report),
        _not_measured(report),
        _changes(report),
    ]
    return [sheet for sheet in made if sheet.rows]


def _modules(report: dict[str, Any]) -> Sheet:
    rows = []
    for v in report["variants"]:
        room = f"{v['most_refs']:,}" if v["most_refs"] is not None else _NONE
        if "module_bytes" in v:
            sizes = [f"{v[key]:,}" for key in ("module_bytes", "code_bytes", "data_bytes", "initial_pages")]
            rows.append(
                (v["name"], v["source"], *sizes, str(len(v["imports"])), str(len(v["exports"])), room)
            )
        else:
            rows.append((v["name"], "not built", *[_NONE] * 6, room))
    head = ("variant", "from", "bytes", "code", "data", "first pages", "imports", "exports", "refs at most")
    return Sheet(
        "Modules",
        head,
        tuple(rows),
        "; ".join(f"{v['name']}: {v['description']}" for v in report["variants"]),
    )


def _measured(report: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for row in report["rows"]:
        if row["status"] == "measured":
            yield row["variant"], row["engine"], row


def _times(
    report: dict[str, Any], group: str, names: tuple[str, ...], title: str, brief: bool, note: str = ""
) -> Sheet:
    rows = []
    for variant, engine, row in _measured(report):
        found = [row["statistics"].get(f"{group}.{name}") for name in names]
        if any(found):
            rows.append((variant, engine, *_cells(found, brief)))
    head = ("variant", "engine", *(_HEADS.get(n, n) for n in names), *(("range",) if brief else ()))
    return Sheet(title, head, tuple(rows), note)


def _cells(found: list[dict[str, Any] | None], brief: bool, unit: float = 1.0) -> list[str]:
    return [*(time_text(s, unit, brief) for s in found), *((_spread(found),) if brief else ())]


def _sizes(report: dict[str, Any]) -> list[int]:
    sizes = report["command"]["settings"]["sizes"]
    return [n for n in sizes if any(f"growth.{n}" in row["statistics"] for _, _, row in _measured(report))]


def _growth(report: dict[str, Any], brief: bool) -> Sheet:
    sizes, rows, ends = _sizes(report), [], []
    for variant, engine, row in _measured(report):
        cells = _cells([row["statistics"].get(f"growth.{n}") for n in sizes], brief)
        if any(f"growth.{n}" in row["statistics"] for n in sizes):
            rows.append((variant, engine, *cells))
        if row["growth_stopped"]:
            ends.append(f"{variant} on {engine}: {row['growth_stopped']}")
    note = "from an empty table, inside the guest; each step ends a call from Python, which is counted"
    return Sheet(
        "Growing, ns a ref up to N refs",
        ("variant", "engine", *(f"{n:,}" for n in sizes), *(("range",) if brief else ())),
        tuple(rows),
        "; ".join([note, *ends]),
    )


def _memory(report: dict[str, Any]) -> Sheet:
    sizes, rows = _sizes(report), []
    seen = set()
    for variant, _, row in _measured(report):
        if row["pages"] and variant not in seen:
            seen.add(variant)
            cells = [
                f"{row['pages'][str(n)]:,} ({number(row['bytes_per_ref'][str(n)])})"
                if str(n) in row["pages"]
                else _NONE
                for n in sizes
            ]
            rows.append((variant, f"{row['pages']['before']:,}", *cells))
    head = ("variant", "empty", *(f"{n:,}" for n in sizes))
    note = "exact, and the same on each engine; the engine's own table of objects is not in it"
    return Sheet("Pages of memory with N refs (bytes a ref)", head, tuple(rows), note, texts=1)


def _capacity(report: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            variant,
            engine,
            f"{row['capacity']['refs']:,}",
            f"{row['capacity']['pages']:,}",
            row["capacity"]["then"],
        )
        for variant, engine, row in _measured(report)
        if row["capacity"]
    )
    return Sheet("Filled up", ("variant", "engine", "refs", "pages", "then"), rows)


def _start(report: dict[str, Any], brief: bool) -> Sheet:
    rows = tuple(
        (variant, engine, *_cells([row["statistics"].get(f"startup.{n}") for n in STARTUP], brief, _SIZE))
        for variant, engine, row in _measured(report)
        if "startup.compile" in row["statistics"]
    )
    note = "lower: only where the engine has no externref"
    head = ("variant", "engine", *STARTUP, *(("range",) if brief else ()))
    return Sheet("Starting, microseconds", head, rows, note)


def _deduplicate(report: dict[str, Any]) -> Sheet:
    rows = []
    for r in report["deduplicate"]:
        share = _NONE if r["explained"] is None else f"{r['explained']:.0%}"
        ratio = f"{number(r['ratio'])} ({number(r['low'])}-{number(r['high'])})"
        rows.append((r["engine"], f"{r['from']}, {r['key']} key", ratio, str(r["calls"]), share))
    head = ("engine", "called from", "times new", "host calls", "of its time")
    return Sheet("new_deduplicate against new", head, tuple(rows))


def _not_measured(report: dict[str, Any]) -> Sheet:
    rows = [(r["variant"], r["engine"], r["reason"]) for r in report["rows"] if r["status"] != "measured"]
    for row in report["rows"]:
        rows += [(row["variant"], row["engine"], f"{what}: {why}") for what, why in row["problems"].items()]
    return Sheet("Not measured", ("variant", "engine", "reason"), tuple(rows), texts=3)


def _changes(report: dict[str, Any]) -> Sheet:
    rows = []
    baseline = report.get("baseline") or {
        "changes": [],
        "compared": 0,
        "apart": 0,
        "created": "",
        "notes": [],
    }
    for c in baseline["changes"]:
        values = [c[key] if isinstance(c[key], str) else number(c[key]) for key in ("before", "after")]
        change = _NONE if c["change"] is None else f"{c['change']:+.0%}"
        rows.append((c["variant"], c["engine"] or _NONE, c["name"], *values, change))
    note = "; ".join([compared_text(baseline), *baseline["notes"]])
    head = ("variant", "engine", "what", "then", "now", "change")
    return Sheet(f"Changed beyond noise since {baseline['created']}", head, tuple(rows), note, texts=3)


def compared_text(baseline: dict[str, Any]) -> str:
    """How much of two reports was compared, and how much of that is apart."""
    compared, apart = baseline["compared"], baseline["apart"]
    return f"{compared} numbers compared, of which {apart} have ranges that do not overlap"


def markdown(report: dict[str, Any], pictures: dict[str, str] | None = None) -> str:
    """The report as a Markdown document.

    Args:
        pictures: the path of each picture, by what it shows.
    """
    machine, versions = report["machine"], report["versions"]
    engines = ", ".join(f"{name} {version}" for name, version in versions["engines"].items()) or "no engine"
    lines = [
        "# hiwire_py: variants and engines compared",
        "",
        f"{report['created']}: hiwire_py {versions['hiwire_py']}, {machine['python']}, {engines}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}.",
        "",
        f"**Recommendation.** {report['recommendation']}",
        "",
        "Times are medians, with the range over "
        f"{report['command']['settings']['rounds']} runs in brackets"
        + ("." if report["complete"] else "; the run was interrupted, so some have fewer."),
        "",
    ]
    baseline = report.get("baseline")
    if baseline is not None and not baseline["changes"]:
        lines += [
            f"Nothing changed beyond noise since {baseline['created']}: {compared_text(baseline)}.",
            "",
        ]
    for text, path in (pictures or {}).items():
        lines += [f"![{text}]({path})", ""]
    for sheet in sheets(report):
        lines += [f"## {sheet.title}", "", _line(sheet.head)]
        lines.append(_line(tuple("---" if n < sheet.texts else "--:" for n in range(len(sheet.head)))))
        lines += [_line(row) for row in sheet.rows]
        lines += ["", *([f"{sheet.note}.", ""] if sheet.note else [])]
    if report["deduplicate"]:
        lines += ["## Why new_deduplicate is slower", "", WHY_DEDUPLICATE, ""]
    return "\n".join([*lines, METHOD])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def as_json(report: dict[str, Any]) -> str:
    """The report as the file that ``--json`` writes."""
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"
