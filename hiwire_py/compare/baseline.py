"""Compares a report with an earlier one, and tells a change from noise.

A time has changed when its two ranges are far apart: when they have nothing in common even if each is made
wider by `MARGIN` on both sides, and a nanosecond at least lies between the medians. Ranges of few runs miss
each other by chance now and then, but only just; and where code comes to lie in memory is worth a fraction of
a nanosecond. What is exact, sizes and pages, has changed when it is another number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..runner import ArgumentError
from .measure import Statistic
from .run import FORMAT

__all__ = ["MARGIN", "compare_reports", "read_report"]

MARGIN = 0.10
"""Of the medians."""

_LEAST = 1.0
_EXACT = ("module_bytes", "code_bytes", "data_bytes", "initial_pages")


def read_report(path: Path) -> dict[str, Any]:
    """A report that ``--json`` has written.

    Raises:
        ArgumentError: the file holds something else.
        OSError: it cannot be read.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArgumentError(f"{path} is no report of this command: {error}") from None
    if not isinstance(report, dict) or not isinstance(report.get("rows"), list):
        raise ArgumentError(f"{path} is no report of this command: it has no rows")
    if report.get("format") != FORMAT:
        raise ArgumentError(f"{path} is a report of format {report.get('format')}, and this reads {FORMAT}")
    try:
        compare_reports(report, report)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(f"{path} is no report of this command: {type(error).__name__}: {error}") from None
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
    for variant, old, new in _pairs(before["variants"], now["variants"], ("name",)):
        for name in _EXACT:
            if name in old and name in new:
                compared += 1
                if old[name] != new[name]:
                    changes.append(_change(variant[0], "", name, old[name], new[name]))
    for (variant_name, engine), old, new in _pairs(before["rows"], now["rows"], ("variant", "engine")):
        if old["status"] != new["status"]:
            changes.append(_change(variant_name, engine, "status", old["status"], new["status"]))
        for name in (n for n in new["statistics"] if n in old["statistics"]):
            compared += 1
            was, is_ = Statistic(**old["statistics"][name]), Statistic(**new["statistics"][name])
            apart += not was.overlaps(is_)
            far = not was.widened(MARGIN).overlaps(is_.widened(MARGIN))
            if far and abs(is_.median - was.median) >= _LEAST:
                changes.append(_change(variant_name, engine, name, was.median, is_.median))
        for name in (n for n in new["pages"] if n in old["pages"]):
            compared += 1
            if old["pages"][name] != new["pages"][name]:
                changes.append(
                    _change(variant_name, engine, f"pages.{name}", old["pages"][name], new["pages"][name])
                )
    return {
        "created": before["created"],
        "notes": notes,
        "compared": compared,
        "apart": apart,
        "changes": changes,
    }


def _pairs(
    before: list[Any], now: list[Any], keys: tuple[str, ...]
) -> list[tuple[tuple[str, ...], Any, Any]]:
    old = {tuple(item[key] for key in keys): item for item in before}
    new = {tuple(item[key] for key in keys): item for item in now}
    return [(key, old[key], item) for key, item in new.items() if key in old]


def _change(variant: str, engine: str, name: str, before: Any, after: Any) -> dict[str, Any]:
    number = isinstance(before, (int, float)) and before
    return {
        "variant": variant,
        "engine": engine,
        "name": name,
        "before": before,
        "after": after,
        "change": (after - before) / before if number else None,
    }
