"""The pictures: growth, cost by engine, size against room, and what deduplication costs.

Made for a column of 800 pixels. Colours are those of Okabe and Ito, which people with any kind of colour
vision tell apart; markers and hatches say the same once more.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from .findings import growth, growth_sizes, measured, measured_engines, typical
from .subject import PYTHON_OPERATIONS
from .variants import RequestError

__all__ = ["COLOURS", "STYLE", "draw", "need_matplotlib"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7A00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_HATCHES = ("", "//", "..", "xx")
_LABELS = {
    "new_deduplicate_new": "new_deduplicate\nnew key",
    "new_deduplicate_known": "new_deduplicate\nknown key",
}
_WIDTH, _DPI = 8.0, 100
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "figure.dpi": _DPI,
    "savefig.dpi": _DPI,
    "legend.frameon": False,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
}


def need_matplotlib() -> None:
    """Raises RequestError unless matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise RequestError(
            "pictures need matplotlib, which is not installed: python -m pip install 'hiwire_py[plots]'"
        )


def draw(report: dict[str, Any], folder: Path) -> dict[str, str]:
    """Draw what the report has numbers for, with matplotlib.

    Args:
        folder: where the PNG files go; it must exist.

    Returns:
        The names of the files by what they show.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pictures = (
        ("Time for each ref while a table grows, against the fastest variant", "growth.png", _growth),
        ("Cost of each operation from Python and inside a guest", "operations.png", _operations),
        ("Memory against room", "room.png", _room),
        ("How many times as long new_deduplicate takes as new", "deduplicate.png", _deduplicate),
    )
    made = {}
    with matplotlib.rc_context(STYLE):
        for text, name, function in pictures:
            figure = Figure(layout="constrained")
            FigureCanvasAgg(figure)
            if function(report, figure):
                _save(figure, folder / name)
                made[text] = name
    return made


def _save(figure: Any, path: Path) -> None:
    """As a PNG of few colours: a fourth of the size that matplotlib would make."""
    from PIL import Image  # matplotlib needs it too

    figure.canvas.draw()
    size, pixels = figure.canvas.get_width_height(), figure.canvas.buffer_rgba()
    Image.frombuffer("RGBA", size, pixels).convert("RGB").quantize(48).save(path, optimize=True)


def _points(ranges: dict[float, dict[str, Any]]) -> tuple[list[float], list[float], list[list[float]]]:
    """Where ranges are, their medians, and how far they reach below and above: what matplotlib draws."""
    medians = [r["median"] for r in ranges.values()]
    below = [r["median"] - r["low"] for r in ranges.values()]
    above = [r["high"] - r["median"] for r in ranges.values()]
    return list(ranges), medians, [below, above]


def _legend(figure: Any, ncols: int) -> None:
    """What all panels show, below them."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=ncols)


def _styles(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each variant, the same in all pictures."""
    return {
        v["name"]: {
            "color": COLOURS[n % len(COLOURS)],
            "marker": _MARKERS[n % len(_MARKERS)],
            # Hollow, and each smaller than the one below it: lines that coincide can still be seen.
            "markerfacecolor": "none",
            "markeredgewidth": 1.6,
            "markersize": max(5, 13 - 1.6 * n),
        }
        for n, v in enumerate(report["variants"])
    }


def _growth(report: dict[str, Any], figure: Any) -> bool:
    """Ratios to the fastest variant at each size, as lines of absolute times would hide each other; what the
    fastest takes stands below each size."""
    rows = [row for row in measured(report) if growth(row)]
    names = list(dict.fromkeys(row["engine"] for row in rows))
    if not names:
        return False
    figure.set_size_inches(_WIDTH, 1.0 + 2.1 * len(names))
    panels = figure.subplots(len(names), 1, sharey=True, squeeze=False)[:, 0]
    styles, sizes, highest = _styles(report), growth_sizes(report), 1.0
    for panel, engine in zip(panels, names):
        curves = {row["variant"]: growth(row) for row in rows if row["engine"] == engine}
        best = {n: min(c[n]["median"] for c in curves.values() if n in c) for n in sizes
                if any(n in c for c in curves.values())}  # fmt: skip
        for number, (variant, curve) in enumerate(curves.items()):
            aside = (number - (len(curves) - 1) / 2) * 0.09
            ratios = {
                place + aside: {k: curve[n][k] / best[n] for k in ("median", "low", "high")}
                for place, n in enumerate(sizes)
                if n in curve
            }
            places, medians, bars = _points(ratios)
            highest = max(highest, *medians)
            panel.errorbar(places, medians, bars, label=variant, linewidth=0.8, elinewidth=1.3, capsize=2,
                           **styles[variant])  # fmt: skip
        panel.axhline(1, color="#555555", linewidth=1)
        under = [f"{n:,}\n{_short(best[n])} ns" if n in best else f"{n:,}" for n in sizes]
        panel.set_xticks(range(len(sizes)), under)
        panel.set(title=f"on {engine}", ylabel="times the fastest")
        panel.grid(axis="x", visible=False)
        panel.yaxis.set_major_formatter("{x:.1f}")
    panels[0].set_ylim(0.9, 1 + (highest - 1) * 1.15 + 0.05)
    panels[-1].set_xlabel("refs in the table, and the time of the fastest variant for each of them")
    _legend(figure, 3)
    return True


def _operations(report: dict[str, Any], figure: Any) -> bool:
    rows = [typical(report, engine) for engine in measured_engines(report)]
    if not rows:
        return False
    figure.set_size_inches(_WIDTH, 7.6)
    panels = figure.subplots(2, 1, sharex=True)
    width = 0.8 / len(rows)
    for panel, side, where in zip(panels, ("python", "guest"), ("called from Python", "inside a guest")):
        for number, row in enumerate(rows):
            aside = (number - (len(rows) - 1) / 2) * width
            found = {
                place + aside: row["statistics"][f"{side}.{name}"]
                for place, name in enumerate(PYTHON_OPERATIONS)
                if f"{side}.{name}" in row["statistics"]
            }
            places, medians, errors = _points(found)
            bars = panel.bar(places, medians, width * 0.92, yerr=errors,
                             label=f"{row['engine']}, {row['variant']}", **_bar_style(number))  # fmt: skip
            panel.bar_label(bars, list(map(_short, medians)), padding=3, fontsize=8)
        panel.set(title=where, ylabel="ns for each operation", yscale="log")
        panel.margins(y=0.12)
        panel.grid(axis="x", visible=False)
        panel.yaxis.set_major_formatter("{x:,.0f}")
    labels = [_LABELS.get(name, name) for name in PYTHON_OPERATIONS]
    panels[1].set_xticks(range(len(labels)), labels, rotation=25, ha="right")
    _legend(figure, min(3, len(rows)))
    return True


def _bar_style(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "hatch": _HATCHES[number % len(_HATCHES)],
        "edgecolor": "white",
        "error_kw": {"elinewidth": 1, "capsize": 2},
    }


def _short(value: float) -> str:
    if value >= 999.5:
        return f"{value / 1000:.1f}k" if value < 99_950 else f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def _room(report: dict[str, Any], figure: Any) -> bool:
    # The pages are the same on each engine: the first row of a variant will do.
    rows = {row["variant"]: row for row in reversed(measured(report)) if row["pages"]}
    if not rows:
        return False
    figure.set_size_inches(_WIDTH, 5.2)
    panel = figure.subplots()
    for facts in report["variants"]:
        row, style = rows.get(facts["name"]), _styles(report)[facts["name"]]
        if row is None:
            continue
        kib = {int(n): pages * 64 for n, pages in row["pages"].items() if n != "before"}
        filled = row["capacity"]
        if filled and filled["full"]:
            kib[filled["refs"]] = end = filled["pages"] * 64
            panel.plot(filled["refs"], end, "|", markersize=22, markeredgewidth=3, color=style["color"])
        text = f"{facts['name']}: {facts['module_bytes'] / 1024:.1f} KiB of code"
        panel.plot(list(kib), list(kib.values()), label=text, linewidth=1.3, **style)
    panel.set(
        xscale="log",
        yscale="log",
        xlabel="refs in the table; a bar ends a line where the table is full",
        ylabel="memory of the table, KiB",
        title="How much memory a table of so many refs has",
    )
    panel.yaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=10)
    return True


def _deduplicate(report: dict[str, Any], figure: Any) -> bool:
    ratios = report["deduplicate"][::-1]
    if not ratios:
        return False
    figure.set_size_inches(_WIDTH, 1.6 + 0.38 * len(ratios))
    panel = figure.subplots()
    for place, r in enumerate(ratios):
        places, ratio, errors = _points({place: {**r, "median": r["ratio"]}})
        panel.barh(places, ratio, xerr=errors, **_bar_style(0 if r["from"] == "python" else 1))
        panel.annotate(
            _short(r["ratio"]),
            (r["high"], place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    sides = {"python": "from Python", "guest": "in a guest"}
    labels = [f"{r['engine']}, {sides[r['from']]}, {r['key']} key" for r in ratios]
    panel.set_yticks(range(len(labels)), labels)
    panel.set(xscale="log", xlabel="times as long as new")
    panel.set_title("new_deduplicate against new; dashed: published claims", pad=24)
    for claim in (50, 100):
        panel.axvline(claim, color="#555555", linestyle="--", linewidth=1.2)
        panel.annotate(f"{claim}x", (claim, 1), (0, 3), xycoords=("data", "axes fraction"), ha="center",
                       textcoords="offset points", fontsize=10)  # fmt: skip
    ticks = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    panel.set_xticks(ticks, map(str, ticks))
    panel.set_xlim(0.8, max(r["high"] for r in ratios) * 2)
    panel.minorticks_off()
    panel.grid(axis="y", visible=False)
    return True
