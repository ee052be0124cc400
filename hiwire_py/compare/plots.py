"""The pictures: growth, cost by engine, size against room, and what deduplication costs.

Made for a column of 800 pixels. Colours are those of Okabe and Ito, which people with any kind of colour
vision tell apart; markers and hatches say the same once more.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ..errors import HiwireError
from .findings import measured, typical
from .subject import PYTHON_OPERATIONS

__all__ = ["draw", "need_matplotlib"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7A00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_HATCHES = ("", "//", "..", "xx")
_LABELS = {
    "new_deduplicate_new": "new_deduplicate\nnew key",
    "new_deduplicate_known": "new_deduplicate\nknown key",
}
_WIDTH, _DPI = 8.0, 100
_STYLE: Any = {
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
    """Raises HiwireError unless matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise HiwireError(
            "pictures need matplotlib, which is not installed: python -m pip install 'hiwire_py[plots]'"
        )


def draw(report: dict[str, Any], folder: Path) -> dict[str, str]:
    """Draw what the report has numbers for.

    Args:
        folder: where the PNG files go; it must exist.

    Returns:
        The names of the files by what they show.

    Raises:
        HiwireError: matplotlib is not installed.
    """
    need_matplotlib()
    import matplotlib

    pictures = (
        ("Time for each ref while a table grows, against the fastest variant", "growth.png", _growth),
        ("Cost of each operation from Python and inside a guest", "operations.png", _operations),
        ("Memory against room", "room.png", _room),
        ("How many times as long new_deduplicate takes as new", "deduplicate.png", _deduplicate),
    )
    made = {}
    with matplotlib.rc_context(_STYLE):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

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


def _error_bars(statistics: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [s["median"] - s["low"] for s in statistics], [s["high"] - s["median"] for s in statistics]


def _engine_names(report: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["engine"] for row in measured(report)))


def _styles(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each variant, the same in all pictures."""
    return {
        v["name"]: {
            "color": _COLOURS[n % len(_COLOURS)],
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
    from matplotlib.ticker import FuncFormatter

    rows = [row for row in measured(report) if _curve(row)]
    names = list(dict.fromkeys(row["engine"] for row in rows))
    if not names:
        return False
    figure.set_size_inches(_WIDTH, 1.0 + 2.1 * len(names))
    panels = figure.subplots(len(names), 1, sharey=True, squeeze=False)[:, 0]
    styles = _styles(report)
    sizes = sorted({n for row in rows for n in _curve(row) if n in report["command"]["settings"]["sizes"]})
    highest = 1.0
    for panel, engine in zip(panels, names):
        here = [row for row in rows if row["engine"] == engine]
        best = {n: min(_curve(row)[n]["median"] for row in here if n in _curve(row)) for n in sizes}
        for number, row in enumerate(here):
            curve = _curve(row)
            places = [place for place, n in enumerate(sizes) if n in curve]
            ratios = [
                {k: curve[sizes[p]][k] / best[sizes[p]] for k in ("median", "low", "high")} for p in places
            ]
            highest = max(highest, *(r["median"] for r in ratios))
            aside = (number - (len(here) - 1) / 2) * 0.09
            panel.errorbar(
                [place + aside for place in places],
                [r["median"] for r in ratios],
                yerr=_error_bars(ratios),
                label=row["variant"],
                linewidth=0.8,
                elinewidth=1.3,
                capsize=2,
                **styles[row["variant"]],
            )
        panel.axhline(1, color="#555555", linewidth=1)
        panel.set_xticks(
            range(len(sizes)),
            [f"{n:,}\n{_short(best[n])} ns" if n in best else f"{n:,}" for n in sizes],
        )
        panel.set(title=f"on {engine}", ylabel="times the fastest")
        panel.grid(axis="x", visible=False)
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f}"))
    panels[0].set_ylim(0.9, 1 + (highest - 1) * 1.15 + 0.05)
    panels[-1].set_xlabel("refs in the table, and the time of the fastest variant for each of them")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return True


def _curve(row: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The growth of a table: a statistic for each number of refs."""
    return {int(n.partition(".")[2]): s for n, s in row["statistics"].items() if n.startswith("growth.")}


def _operations(report: dict[str, Any], figure: Any) -> bool:
    from matplotlib.ticker import FuncFormatter

    rows = [row for engine in _engine_names(report) if (row := typical(report, engine)) is not None]
    if not rows:
        return False
    figure.set_size_inches(_WIDTH, 7.6)
    panels = figure.subplots(2, 1, sharex=True)
    width = 0.8 / len(rows)
    for panel, side, where in zip(panels, ("python", "guest"), ("called from Python", "inside a guest")):
        for number, row in enumerate(rows):
            places, values = [], []
            for place, name in enumerate(PYTHON_OPERATIONS):
                found = row["statistics"].get(f"{side}.{name}")
                if found is not None:
                    places.append(place + (number - (len(rows) - 1) / 2) * width)
                    values.append(found)
            bars = panel.bar(
                places,
                [s["median"] for s in values],
                width * 0.92,
                yerr=_error_bars(values),
                label=f"{row['engine']}, {row['variant']}",
                color=_COLOURS[number % len(_COLOURS)],
                hatch=_HATCHES[number % len(_HATCHES)],
                edgecolor="white",
                error_kw={"elinewidth": 1, "capsize": 2},
            )
            labels = [_short(s["median"]) for s in values]
            panel.bar_label(bars, labels, padding=3, fontsize=8)
        panel.set(title=where, ylabel="ns for each operation", yscale="log")
        panel.margins(y=0.12)
        panel.grid(axis="x", visible=False)
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panels[1].set_xticks(
        range(len(PYTHON_OPERATIONS)), [_LABELS.get(n, n) for n in PYTHON_OPERATIONS], rotation=25, ha="right"
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(rows)))
    return True


def _short(value: float) -> str:
    if value >= 999.5:
        return f"{value / 1000:.1f}k" if value < 99_950 else f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def _room(report: dict[str, Any], figure: Any) -> bool:
    from matplotlib.ticker import FuncFormatter

    rows: dict[str, dict[str, Any]] = {}
    for row in measured(report):
        if row["pages"]:
            rows.setdefault(row["variant"], row)
    if not rows:
        return False
    figure.set_size_inches(_WIDTH, 5.2)
    panel = figure.subplots()
    styles = _styles(report)
    facts = {v["name"]: v for v in report["variants"]}
    for name, row in rows.items():
        sizes = sorted(int(n) for n in row["pages"] if n != "before")
        kib = [row["pages"][str(n)] * 64 for n in sizes]
        filled = row["capacity"]
        if filled and filled["full"] and filled["refs"] not in sizes:
            sizes.append(filled["refs"])
            kib.append(filled["pages"] * 64)
        text = f"{name}: {facts[name]['module_bytes'] / 1024:.1f} KiB of code"
        panel.plot(sizes, kib, label=text, linewidth=1.3, **styles[name])
        if filled and filled["full"]:
            panel.plot([filled["refs"]], [filled["pages"] * 64], "|", markersize=22, markeredgewidth=3,
                       color=styles[name]["color"])  # fmt: skip
    panel.set(
        xscale="log",
        yscale="log",
        xlabel="refs in the table; a bar ends a line where the table is full",
        ylabel="memory of the table, KiB",
        title="How much memory a table of so many refs has",
    )
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.legend(loc="outside lower center", ncols=2, fontsize=10)
    return True


def _deduplicate(report: dict[str, Any], figure: Any) -> bool:
    ratios = report["deduplicate"]
    if not ratios:
        return False
    figure.set_size_inches(_WIDTH, 1.6 + 0.38 * len(ratios))
    panel = figure.subplots()
    for place, r in enumerate(reversed(ratios)):
        at_home = r["from"] == "python"
        panel.barh(
            place,
            r["ratio"],
            xerr=([r["ratio"] - r["low"]], [r["high"] - r["ratio"]]),
            color=_COLOURS[0 if at_home else 1],
            hatch="" if at_home else "//",
            edgecolor="white",
            error_kw={"elinewidth": 1, "capsize": 2},
        )
        text = f"{r['ratio']:.1f}" if r["ratio"] < 10 else f"{r['ratio']:.0f}"
        panel.annotate(text, (r["high"], place), (6, 0), textcoords="offset points", va="center", fontsize=10)
    sides = {"python": "from Python", "guest": "in a guest"}
    panel.set_yticks(
        range(len(ratios)), [f"{r['engine']}, {sides[r['from']]}, {r['key']} key" for r in reversed(ratios)]
    )
    panel.set(xscale="log", xlabel="times as long as new")
    panel.set_title("new_deduplicate against new; dashed: published claims", pad=24)
    panel.set_xlim(0.8, max(r["high"] for r in ratios) * 2)
    for claim in (50, 100):
        panel.axvline(claim, color="#555555", linestyle="--", linewidth=1.2)
        panel.annotate(f"{claim}x", (claim, 1), (0, 3), xycoords=("data", "axes fraction"), ha="center",
                       textcoords="offset points", fontsize=10)  # fmt: skip
    panel.set_xticks(
        [1, 2, 5, 10, 20, 50, 100, 200, 500], ["1", "2", "5", "10", "20", "50", "100", "200", "500"]
    )
    panel.set_xlim(0.8, max(r["high"] for r in ratios) * 2)
    panel.minorticks_off()
    panel.grid(axis="y", visible=False)
    return True
