"""What follows from the numbers: of one report, what to take, and of two, what has changed.

Within a report, a difference counts only where the ranges do not overlap. Between two reports, made on two
days, a time has changed when its ranges are far apart: when they have nothing in common even if each is made
wider by `MARGIN` on both sides, and a nanosecond at least lies between the medians. Ranges of few runs miss
each other by chance now and then, but only just; and where code comes to lie in memory is worth a fraction of
a nanosecond. Sizes and pages are exact: any difference is a change.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .measure import Statistic, number
from .variants import RequestError

__all__ = [
    "FORMAT",
    "MARGIN",
    "compare_reports",
    "deduplicate_ratios",
    "growth",
    "growth_sizes",
    "measured",
    "measured_engines",
    "read_report",
    "recommend",
    "typical",
]

FORMAT = 2
"""Of the report; raised when a reader of the last one would not understand it."""

MARGIN = 0.10
"""Of the medians."""

_LEAST = 1.0
_EXACT = ("module_bytes", "code_bytes", "data_bytes", "initial_pages")


def measured(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that have numbers."""
    return [row for row in report["rows"] if row["status"] == "measured"]


def measured_engines(report: dict[str, Any]) -> list[str]:
    """The engines of these rows, each once."""
    return list(dict.fromkeys(row["engine"] for row in measured(report)))


def typical(report: dict[str, Any], engine: str) -> dict[str, Any]:
    """The measured row that stands for an engine where the variant hardly matters."""
    rows = [row for row in measured(report) if row["engine"] == engine]
    named = [row for row in rows if row["variant"] in ("extern_realloc", "static_pages")]
    return (named or rows)[0]


def growth(row: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The growth curve of a row: a statistic for each number of refs."""
    return {int(n.partition(".")[2]): s for n, s in row["statistics"].items() if n.startswith("growth.")}


def growth_sizes(report: dict[str, Any]) -> list[int]:
    """The sizes asked for that a table has reached."""
    reached = {n for row in measured(report) for n in growth(row)}
    return [n for n in report["command"]["settings"]["sizes"] if n in reached]


def deduplicate_ratios(report: dict[str, Any]) -> list[dict[str, Any]]:
    """How many times as long new_deduplicate takes as new, on each engine, from Python and in a guest.

    ``low`` and ``high`` come from the ranges: the least time of one over the greatest of the other. ``calls``
    is how many calls of host functions it makes; ``explained`` is the part of its time that these calls take,
    by the measurement guest.host; it is known for guests only.
    """
    found = []
    for engine in measured_engines(report):
        row = typical(report, engine)
        numbers = row["statistics"]
        for side, key in ((s, k) for s in ("python", "guest") for k in ("new", "known")):
            new, slow = numbers.get(f"{side}.new"), numbers.get(f"{side}.new_deduplicate_{key}")
            if new and slow and new["low"]:
                calls = 2 if key == "new" else 1
                host = numbers.get("guest.host") if side == "guest" else None
                found.append(
                    {
                        "engine": engine,
                        "variant": row["variant"],
                        "from": side,
                        "key": key,
                        "ratio": slow["median"] / new["median"],
                        "low": slow["low"] / new["high"],
                        "high": slow["high"] / new["low"],
                        "calls": calls,
                        "explained": None
                        if host is None
                        else min(1.0, calls * host["median"] / slow["median"]),
                    }
                )
    return found


def recommend(report: dict[str, Any]) -> list[dict[str, str]]:
    """What to take for what, each with one sentence that says why: ``for``, ``take``, ``because``."""
    advice = (*_variants(report), *_engines(report), *_deduplicate(report))
    return [{"for": what_for, "take": take, "because": because} for what_for, take, because in advice]


def _variants(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    built = [v for v in report["variants"] if "module_bytes" in v]
    fixed = [v for v in built if v["name"].startswith("static_pages")]
    growing = sorted((v for v in built if v not in fixed), key=lambda v: v["name"] != "extern_realloc")
    rows = {(row["variant"], row["engine"]): row for row in measured(report)}
    if not fixed or not growing or not rows:
        return
    grower, *others = growing
    for variant in sorted(fixed, key=lambda v: v["most_refs"]):
        pairs = {
            engine: (growth(row), growth(rows[grower["name"], engine]))
            for (name, engine), row in rows.items()
            if name == variant["name"] and (grower["name"], engine) in rows
        }
        common = [n for mine, theirs in pairs.values() for n in mine if n in theirs]
        if common:
            pages, size = variant["initial_pages"], variant["module_bytes"]
            because = (
                f"It asks the host for no memory, has its {pages} pages from the start, and is {size:,} bytes"
                f" long, against {grower['module_bytes']:,}{_faster(pairs, max(common))}."
            )
            yield f"up to {variant['most_refs']:,} refs", variant["name"], because
    most = "" if grower["most_refs"] is None else f", up to {grower['most_refs']:,} refs"
    because = f"It takes memory as it needs it{most}."
    yield "more refs, or a number not known beforehand", grower["name"], because
    if others:
        others.sort(key=lambda v: v["module_bytes"])
        more = [f"{v['module_bytes'] - grower['module_bytes']:,} more" for v in others]
        because = f"It grows without the host, for {more[0]} bytes of code"
        because += "".join(f"; {v['name']} takes {bytes_}" for v, bytes_ in zip(others[1:], more[1:]))
        yield "the same, where the host gives no memory", others[0]["name"], f"{because}."


def _faster(pairs: dict[str, tuple[dict[int, Any], dict[int, Any]]], size: int) -> str:
    """How the time for each ref compares, on the engines where it differs beyond the ranges; "" for none."""
    said = []
    for engine, curves in pairs.items():
        mine, theirs = (curve.get(size) for curve in curves)
        if mine and theirs and not Statistic(**mine).overlaps(Statistic(**theirs)):
            said.append(f"{mine['median']:.0f} against {theirs['median']:.0f} ns on {engine}")
    return f"; growing to {size:,} refs takes {_and(said)} for each" if said else ""


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _engines(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The fastest engine, for calls from Python and for what guests do by themselves."""
    for side, what_for in (("python", "calls from Python"), ("guest", "calls within a guest")):
        names = [f"{side}.{name}" for name in ("new", "get", "incref", "decref", "pop")]
        costs = {}
        for engine in measured_engines(report):
            numbers = typical(report, engine)["statistics"]
            values = [numbers[name]["median"] for name in names if name in numbers]
            if len(values) == len(names) and all(values):
                costs[engine] = statistics.geometric_mean(values)
        if len(costs) > 1:
            best, *rest = sorted(costs, key=lambda name: costs[name])
            others = [f"{number(costs[name] / costs[best])} times as long on {name}" for name in rest]
            yield what_for, best, f"An operation takes {number(costs[best])} ns on average, {_and(others)}."


def _deduplicate(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    said = []
    for side, where in (("python", "from Python"), ("guest", "in a guest")):
        ratios = [r["ratio"] for r in report["deduplicate"] if (r["from"], r["key"]) == (side, "new")]
        if ratios:
            least, most = number(min(ratios)), number(max(ratios))
            said.append(f"{least if least == most else f'{least} to {most}'} times as long {where}")
    if said:
        because = f"With a new key new_deduplicate takes {_and(said)}: it calls the host twice."
        yield "objects known to be new", "new", because


def read_report(path: Path) -> dict[str, Any]:
    """A report that ``--json`` has written.

    Raises:
        RequestError: the file holds something else.
        OSError: it cannot be read.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path} is no report of this command: {error}") from None
    if not isinstance(report, dict) or not isinstance(report.get("rows"), list):
        raise RequestError(f"{path} is no report of this command: it has no rows")
    if report.get("format") != FORMAT:
        raise RequestError(f"{path} is a report of format {report.get('format')}, and this reads {FORMAT}")
    try:
        compare_reports(report, report)
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{path} is no report of this command: {type(error).__name__}: {error}") from None
    return report


def compare_reports(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What changed between two reports.

    Returns:
        ``created``: when the earlier one was made; ``notes``: what makes them hard to compare; ``compared``:
        how many numbers both have; ``apart``: how many times have ranges that do not overlap; ``changes``:
        each with variant, engine ("" for a module), name, before, after, and the change as a fraction of
        before.
    """
    notes = [
        f"another {what}: {before[part][what]} then, {now[part][what]} now"
        for part, what in (("machine", "processor"), ("machine", "python"), ("versions", "hiwire_py"))
        if before[part][what] != now[part][what]
    ]
    if before["command"]["settings"] != now["command"]["settings"]:
        notes.append("the settings are not the same (--quick or --sizes), and times depend on them")
    engines, then = now["versions"]["engines"], before["versions"]["engines"]
    notes += [
        f"another {n}: {then[n]} then, {engines[n]} now" for n in then if engines.get(n, then[n]) != then[n]
    ]
    changes: list[dict[str, Any]] = []
    compared = apart = 0
    earlier = _values(before)
    for place, is_ in _values(now).items():
        was = earlier.get(place)
        if was is None:
            continue
        compared += place[-1] != "status"
        changed = was != is_
        if isinstance(is_, Statistic):
            apart += not was.overlaps(is_)
            changed = not was.overlaps(is_, MARGIN) and abs(is_.median - was.median) >= _LEAST
            was, is_ = was.median, is_.median
        if changed:
            part = (is_ - was) / was if isinstance(was, (int, float)) and was else None
            values = {"before": was, "after": is_, "change": part}
            changes.append({**dict(zip(("variant", "engine", "name"), place)), **values})
    counts = {"compared": compared, "apart": apart}
    return {"created": before["created"], "notes": notes, **counts, "changes": changes}


def _values(report: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    """What can change, by variant, engine ("" for a module) and name: times, exact numbers, and statuses."""
    found = {(v["name"], "", name): v[name] for v in report["variants"] for name in _EXACT if name in v}
    for row in report["rows"]:
        values = {
            "status": row["status"],
            **{name: Statistic(**value) for name, value in row["statistics"].items()},
            **{f"pages.{name}": value for name, value in row["pages"].items()},
        }
        found |= {(row["variant"], row["engine"], name): value for name, value in values.items()}
    return found
