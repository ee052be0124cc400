#!/usr/bin/env python3
"""The import graph of hiwire_py: whether it goes down the layers in docs/architecture.md, in no circle.

    scripts/import_graph.py             check, and say what is wrong
    scripts/import_graph.py --draw      the same, and draw docs/architecture.png anew (needs matplotlib)
    scripts/import_graph.py --edges     every arrow between two parts, with the imports it is made of

The layers are a table in docs/architecture.md: this script reads them there. Every import counts: those for
type checkers only, and those within functions.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "hiwire_py"
PAGE = ROOT / "docs" / "architecture.md"


@dataclass(frozen=True, order=True)
class Import:
    """One import statement: the module it stands in, the module it names, and its line."""

    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source.replace('.', '/')}:{self.line} imports {self.target}"


def modules(package: Path) -> dict[str, Path]:
    """The modules of a package by their dotted names; a package's own name is its ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> list[Import]:
    """All imports of one module of the package by another."""
    known = modules(package)
    found = set()
    for name, path in known.items():
        inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            for target in _targets(node, inside, known):
                if target != name:
                    found.add(Import(name, target, node.lineno))  # type: ignore[attr-defined]
    return sorted(found)


def _targets(node: ast.AST, inside: str, known: Iterable[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = inside.split(".")[: len(inside.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            # What is named may be a module of its own, or a name within the package.
            whole = f"{base}.{alias.name}"
            if whole in known:
                yield whole
            elif base in known:
                yield base


def read_layers(page: Path = PAGE) -> list[list[str]]:
    """The table of layers, from the top: the parts of each, as their paths in the package."""
    table = page.read_text(encoding="utf-8").split("\n## Layers\n")[1].split("\n## ")[0]
    layers: dict[int, list[str]] = {}
    for number, name in re.findall(r"^\| (\d+) \| `([^`]+)` \|", table, re.MULTILINE):
        layers.setdefault(int(number), []).append(name)
    return [layers[number] for number in sorted(layers, reverse=True)]


def existing(layers: list[list[str]], package: Path = ROOT / PACKAGE) -> list[list[str]]:
    """The layers without parts that the package has not."""
    return [found for names in layers if (found := [n for n in names if (package / n).exists()])]


def part(module: str) -> str:
    """The folder or file at the top of the package that a module belongs to, as a path."""
    names = module.split(".")
    if len(names) == 1:
        return "__init__.py"
    package = ROOT.joinpath(*names[:2])
    return f"{names[1]}/" if package.is_dir() else f"{names[1]}.py"


def arrows(found: Iterable[Import]) -> dict[tuple[str, str], list[Import]]:
    """The arrows between different parts, with the imports that each is made of."""
    made: dict[tuple[str, str], list[Import]] = {}
    for one in found:
        ends = part(one.source), part(one.target)
        if ends[0] != ends[1]:
            made.setdefault(ends, []).append(one)
    return made


def wrong_arrows(
    between: Iterable[tuple[str, str]], layers: list[list[str]]
) -> tuple[set[tuple[str, str]], set[str]]:
    """The arrows that do not go down, and the parts that stand in no layer."""
    between = list(between)
    height = {name: -row for row, names in enumerate(layers) for name in names}
    strangers = {name for ends in between for name in ends} - height.keys()
    up = {(a, b) for a, b in between if not {a, b} & strangers and height[a] <= height[b]}
    return up, strangers


def circles(found: Iterable[Import]) -> list[list[str]]:
    """Groups of modules each of which imports all others of its group, by way of some of them."""
    after: dict[str, set[str]] = {}
    for one in found:
        after.setdefault(one.source, set()).add(one.target)
    reach = {name: _reachable(name, after) for name in after}
    groups = {
        frozenset(other for other in reach[name] if name in reach.get(other, ()))
        for name in after
        if name in reach[name]
    }
    return sorted(sorted(group) for group in groups)


def _reachable(start: str, after: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    rest = [start]
    while rest:
        for name in after.get(rest.pop(), set()) - seen:
            seen.add(name)
            rest.append(name)
    return seen


def drawn_arrows(between: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows without those that a way over other arrows implies, so that a picture can be read."""
    after: dict[str, set[str]] = {}
    for source, target in between:
        after.setdefault(source, set()).add(target)
    return sorted(
        (a, b)
        for a, targets in after.items()
        for b in targets
        if not any(b in _reachable(other, after) for other in targets - {b})
    )


# ---- the picture

PICTURE = ROOT / "docs" / "architecture.png"
_KEY = "Arrows"  # of the picture's own text, by which it can be told whether it is up to date


def signature(layers: list[list[str]], between: Iterable[tuple[str, str]]) -> str:
    """What the picture shows, as text."""
    rows = "; ".join(" ".join(names) for names in layers)
    return f"{rows} | {', '.join(f'{a} -> {b}' for a, b in drawn_arrows(between))}"


def draw(layers: list[list[str]], between: Iterable[tuple[str, str]], path: Path = PICTURE) -> None:
    """Draw the parts in their layers, and the arrows between them.

    A row is a layer. An arrow that crosses rows passes between their parts: it has a place in each of them.
    The places of a row stand in the order of their neighbours in the rows above and below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Line
    from PIL import Image  # matplotlib needs it too
    from PIL.PngImagePlugin import PngInfo

    between = list(between)
    known = {name for names in layers for name in names}
    shown = [ends for ends in drawn_arrows(between) if set(ends) <= known]
    rows, chains = _places(layers, shown)
    # Inches: a character of a part takes 0.095, and so that boxes do not touch, each part three more of them.
    wide = max(8.0, max(0.095 * sum(_width(name, name in known) for name in names) for names in rows))
    figure = Figure(figsize=(wide, 0.62 * len(layers)), dpi=110, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    at = {name: (x, -float(row)) for row, names in enumerate(rows) for name, x in names.items()}
    for row in range(len(layers)):
        if row % 2 == 0:
            axes.axhspan(-row - 0.5, -row + 0.5, color="#f2f4f7", zorder=0)
    for chain in chains:
        points = [at[name] for name in chain]
        down = points[-1][1] < points[0][1]
        points[0] = (points[0][0], points[0][1] - 0.2 if down else points[0][1] + 0.2)
        points[-1] = (points[-1][0], points[-1][1] + 0.22 if down else points[-1][1] - 0.22)
        vertices, codes = [points[0]], [Line.MOVETO]
        for (x, y), (to_x, to_y) in itertools.pairwise(points):
            middle = (y + to_y) / 2
            vertices += [(x, middle), (to_x, middle), (to_x, to_y)]
            codes += [Line.CURVE4] * 3
        colour = "#4a6fa5" if down else "#d55e00"
        axes.add_patch(
            FancyArrowPatch(path=Line(vertices, codes), arrowstyle="-|>", mutation_scale=9, color=colour,
                            linewidth=1.1, zorder=1)
        )  # fmt: skip
    for name in known:
        folder = name.endswith("/")
        axes.text(
            *at[name], name, ha="center", va="center", fontsize=10, zorder=2,
            weight="bold" if folder else "normal",
            bbox={"boxstyle": "round,pad=0.32", "facecolor": "#fff" if not folder else "#dce6f2",
                  "edgecolor": "#4a6fa5", "linewidth": 0.9},
        )  # fmt: skip
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-len(layers) + 0.5, 0.5)
    axes.axis("off")
    canvas.draw()
    size, pixels = canvas.get_width_height(), canvas.buffer_rgba()
    told = PngInfo()
    told.add_text(_KEY, signature(layers, between))
    # Of few colours, which makes a fourth of the size.
    Image.frombuffer("RGBA", size, pixels).convert("RGB").quantize(128).save(
        path, optimize=True, pnginfo=told
    )


def _places(
    layers: list[list[str]], shown: list[tuple[str, str]]
) -> tuple[list[dict[str, float]], list[list[str]]]:
    """Where in its row each part is, from 0 to 1, and the way of each arrow over the places of its rows."""
    row_of = {name: row for row, names in enumerate(layers) for name in names}
    orders = [list(names) for names in layers]
    chains = []
    for source, target in shown:
        start, end = row_of[source], row_of[target]
        between = range(start + 1, end) if start < end else range(start - 1, end, -1)
        stops = [f"{source} -> {target} @ {row}" for row in between]
        for row, stop in zip(between, stops):
            orders[row].append(stop)
        chains.append([source, *stops, target])
    near: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in itertools.pairwise(chain):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
    width = {name: _width(name, name in row_of) for names in orders for name in names}
    x: dict[str, float] = {}
    for names in orders:
        x.update(_spread(names, width))
    for turn in range(40):
        for names in orders if turn % 2 == 0 else reversed(orders):
            pull = {n: sum(x[m] for m in near[n]) / len(near[n]) if n in near else x[n] for n in names}
            names.sort(key=lambda n: pull[n])
            x.update(_spread(names, width))
    return [{name: x[name] for name in names} for names in orders], chains


def _width(name: str, is_part: bool) -> float:
    """What a place of a row takes, in characters: a part, or an arrow that passes."""
    return 3.0 + len(name) if is_part else 4.0


def _spread(names: list[str], width: dict[str, float]) -> dict[str, float]:
    """Places from left to right, each as wide as it must be."""
    total = sum(width[name] for name in names)
    found, left = {}, 0.0
    for name in names:
        found[name] = (left + width[name] / 2) / total
        left += width[name]
    return found


def picture_shows(path: Path = PICTURE) -> str:
    """What a picture that `draw` made shows, as `signature` has it; "" for any other file."""
    data = path.read_bytes() if path.exists() else b""
    place = 8
    while place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + size]
        if kind == b"tEXt" and body.startswith(_KEY.encode() + b"\0"):
            return body[len(_KEY) + 1 :].decode("latin-1")
        place += size + 12
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--draw", action="store_true", help="draw docs/architecture.png anew")
    parser.add_argument("--edges", action="store_true", help="print every arrow with its imports")
    options = parser.parse_args()
    found = imports(ROOT / PACKAGE)
    between, layers = arrows(found), existing(read_layers())
    if options.edges:
        for (source, target), made_of in sorted(between.items()):
            print(f"{source} -> {target}", *(f"    {one}" for one in made_of), sep="\n")
    if options.draw:
        draw(layers, between)
        print(f"drawn: {PICTURE.relative_to(ROOT)}")
    up, strangers = wrong_arrows(between, layers)
    for source, target in sorted(up):
        print(
            f"{source} -> {target} does not go down:",
            *(f"    {o}" for o in between[source, target]),
            sep="\n",
        )
    for name in sorted(strangers):
        print(f"{name} stands in no layer of {PAGE.relative_to(ROOT)}")
    for group in circles(found):
        print(f"a circle: {', '.join(group)}")
    return 1 if up or strangers or circles(found) else 0


if __name__ == "__main__":
    sys.exit(main())
