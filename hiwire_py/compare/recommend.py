"""What follows from the numbers: which variant and engine, and what deduplication costs.

Everything said here is computed. A difference counts only where the ranges do not overlap.
"""

from __future__ import annotations

import statistics
from typing import Any

__all__ = ["deduplicate_ratios", "recommend"]

_PAGE = 65536


def median(row: dict[str, Any], name: str) -> float | None:
    """A median of a row; None where it was not measured."""
    found = row["statistics"].get(name)
    return None if found is None else found["median"]


def measured(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that have numbers."""
    return [row for row in report["rows"] if row["status"] == "measured"]


def typical(report: dict[str, Any], engine: str) -> dict[str, Any] | None:
    """The row that stands for an engine where the variant hardly matters: that of the first measured."""
    rows = [row for row in measured(report) if row["engine"] == engine]
    named = [row for row in rows if row["variant"] in ("extern_realloc", "static_pages")]
    return next(iter(named or rows), None)


def deduplicate_ratios(report: dict[str, Any]) -> list[dict[str, Any]]:
    """How many times as long new_deduplicate takes as new, on each engine, from Python and in a guest.

    ``low`` and ``high`` come from the ranges: the least time of one over the greatest of the other. ``calls``
    is how many calls of host functions it makes; ``explained`` is the part of its time that these calls take,
    by the measurement guest.host; it is known for guests only.
    """
    found = []
    for engine in dict.fromkeys(row["engine"] for row in report["rows"]):
        row = typical(report, engine)
        if row is None:
            continue
        for side in ("python", "guest"):
            new = row["statistics"].get(f"{side}.new")
            for key, calls in (("new", 2), ("known", 1)):
                slow = row["statistics"].get(f"{side}.new_deduplicate_{key}")
                if new is None or slow is None or not new["low"]:
                    continue
                host = median(row, "guest.host") if side == "guest" else None
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
                        "explained": None if host is None else min(1.0, calls * host / slow["median"]),
                    }
                )
    return found


def recommend(report: dict[str, Any]) -> str:
    """One paragraph: which variant up to how many handles, and which engine."""
    rows = measured(report)
    if not rows:
        return "Nothing was measured, so there is nothing to recommend."
    sentences = [*_variants(report), *_engines(report), *_deduplicate(report)]
    if not report["complete"]:
        sentences.append("The run was interrupted: these are the numbers that it left.")
    return " ".join(sentences)


def _variants(report: dict[str, Any]) -> list[str]:
    facts = {v["name"]: v for v in report["variants"] if "module_bytes" in v}
    fixed = sorted(
        (v for n, v in facts.items() if n.startswith("static_pages")), key=lambda v: v["most_refs"]
    )
    growing = [v for v in facts.values() if v not in fixed]
    if not fixed or not growing:
        return []
    grower = facts.get("extern_realloc", growing[0])
    sentences = []
    for variant in fixed:
        most = variant["most_refs"]
        at = _common_size(report, variant["name"], grower["name"])
        if at is None:
            continue
        saved = grower["module_bytes"] - variant["module_bytes"]
        gains = []
        if saved > 0:
            gains.append(f"saves {saved:,} bytes of code")
        if len(variant["imports"]) < len(grower["imports"]):
            gains.append("asks the host for no memory")
        gains.append(_speed(report, variant["name"], grower["name"], at))
        pages = variant["initial_pages"]
        gains.append(f"has its {pages} pages from the start, full or not")
        sentences.append(f"Up to {most:,} refs {variant['name']} {_and(gains)}.")
    largest = fixed[-1]["most_refs"]
    others = [v["name"] for v in growing if v is not grower and v["module_bytes"]]
    text = f"For more than {largest:,}, or a number not known beforehand, take {grower['name']}"
    if others:
        prices = [f"{n} (+{facts[n]['module_bytes'] - grower['module_bytes']:,} bytes)" for n in others]
        text += f"; where the host cannot give memory, {' or '.join(prices)}"
    return [*sentences, f"{text}."]


def _rows_of(report: dict[str, Any], variant: str) -> dict[str, dict[str, Any]]:
    return {row["engine"]: row for row in measured(report) if row["variant"] == variant}


def _common_size(report: dict[str, Any], one: str, other: str) -> str | None:
    """The largest growth step that both variants have on an engine."""
    sizes = [
        int(name.partition(".")[2])
        for engine, row in _rows_of(report, one).items()
        for name in row["statistics"]
        if name.startswith("growth.")
        and name in _rows_of(report, other).get(engine, {"statistics": ()})["statistics"]
    ]
    return str(max(sizes)) if sizes else None


def _speed(report: dict[str, Any], one: str, other: str, size: str) -> str:
    """How growing compares, on each engine where it differs beyond the ranges."""
    said = []
    for engine, row in _rows_of(report, one).items():
        mine = row["statistics"].get(f"growth.{size}")
        theirs = _rows_of(report, other).get(engine, {"statistics": {}})["statistics"].get(f"growth.{size}")
        if mine is None or theirs is None:
            continue
        if mine["low"] <= theirs["high"] and theirs["low"] <= mine["high"]:
            continue
        said.append(f"{mine['median']:.0f} against {theirs['median']:.0f} ns on {engine}")
    size = f"{int(size):,}"
    if not said:
        return f"grows to {size} refs as fast as {other}"
    return f"grows to {size} refs at {_and(said)}"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _engines(report: dict[str, Any]) -> list[str]:
    costs = {}
    for engine in dict.fromkeys(row["engine"] for row in measured(report)):
        row = typical(report, engine)
        names = ("python.new", "python.get", "python.incref", "python.decref", "python.pop")
        values = [] if row is None else [m for n in names if (m := median(row, n)) is not None]
        if len(values) == len(names):
            costs[engine] = statistics.geometric_mean(values)
    if len(costs) < 2:
        return []
    order = sorted(costs, key=lambda name: costs[name])
    best = order[0]
    rest = ", ".join(f"{name} {costs[name] / costs[best]:.1f} times as long" for name in order[1:])
    return [f"Calls from Python are fastest on {best} ({costs[best]:,.0f} ns on average); {rest}."]


def _deduplicate(report: dict[str, Any]) -> list[str]:
    said = []
    for ratio in report["deduplicate"]:
        if ratio["key"] == "new":
            side = "from Python" if ratio["from"] == "python" else "in the guest"
            factor = f"{ratio['ratio']:.1f}" if ratio["ratio"] < 10 else f"{ratio['ratio']:.0f}"
            said.append(f"{factor} times as long {side} on {ratio['engine']}")
    if not said:
        return []
    return [
        f"Against new, new_deduplicate with a new key takes {', '.join(said)}: it calls the host twice, and"
        " in a guest a call of the host costs far more than all else that it does."
    ]
