"""docs/architecture.md: the import graph is as it says, and what it names exists."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import import_graph as graph  # noqa: E402

PACKAGE = ROOT / "hiwire_py"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

# What is not yet as the page says. A test fails where one of these is gone, so that they only grow fewer.
ARROWS_UP = {
    ("engines/", "passes/"): "engines apply passes; they are to declare what they require of modules",
    ("wasm/", "values.py"): "the types of the binary format are among the values",
}
CIRCLES: set[str] = set()  # within these folders
PARTS_TO_COME = {"ahead.py", "cache.py", "requirements.py"}
FILES_TO_COME = {"passes/runner.py"}


@pytest.fixture(scope="module")
def found() -> list[graph.Import]:
    return graph.imports(PACKAGE)


def test_arrows_go_down(found: list[graph.Import]) -> None:
    """No part imports one of its own layer or above, but for what is known."""
    between = graph.arrows(found)
    up, _ = graph.wrong_arrows(between, graph.read_layers())
    new = up - ARROWS_UP.keys()
    assert not new, [str(one) for ends in sorted(new) for one in between[ends]]
    assert ARROWS_UP.keys() <= up, "these go down now: take them out of ARROWS_UP"


def test_no_circles(found: list[graph.Import]) -> None:
    """No modules import each other in a circle, but for those within folders that are known."""
    folders: set[str] = set()
    for group in graph.circles(found):
        parts = {graph.part(module) for module in group}
        assert len(parts) == 1 and parts <= CIRCLES, f"a circle: {', '.join(group)}"
        folders |= parts
    assert folders == CIRCLES, "there is no circle any more: take the folder out of CIRCLES"


def test_every_part_has_its_line() -> None:
    """The table of layers has all parts of the package, each once, and no others."""
    named = [name for layer in graph.read_layers() for name in layer]
    parts = {graph.part(module) for module in graph.modules(PACKAGE)}
    assert len(named) == len(set(named))
    assert parts - set(named) == set(), "they need a line in docs/architecture.md"
    assert set(named) - parts == PARTS_TO_COME, "it names what is not there, or PARTS_TO_COME what is"


def test_the_picture_is_up_to_date(found: list[graph.Import]) -> None:
    """It shows the imports as they are; otherwise: scripts/import_graph.py --draw."""
    layers = graph.existing(graph.read_layers())
    assert graph.picture_shows() == graph.signature(layers, graph.arrows(found))


def test_what_it_names_exists() -> None:
    """Files and folders are there, links lead somewhere, and names of Python and C stand in the sources."""
    sources = [path for folder in (PACKAGE, ROOT / "c") for path in folder.rglob("*") if path.is_file()]
    text = "\n".join(p.read_text(encoding="utf-8") for p in sources if p.suffix in (".py", ".c", ".h"))
    for name in re.findall(r"`([^`\n]+)`", PAGE):
        if name in PARTS_TO_COME | FILES_TO_COME or name.startswith("guest.exports"):
            continue
        path = name.split(" ")[0]
        if "/" in path or re.search(r"\.(py|c|h|md)$", path):
            places = (ROOT, PACKAGE, PACKAGE.parent / "docs")
            assert any((place / path).exists() for place in places), f"{path} is not there"
        else:
            assert all(word in text for word in re.findall(r"\w+", name)), f"{name} is nowhere in the sources"
    assert not [name for name in FILES_TO_COME if (PACKAGE / name).exists()], "take them out of FILES_TO_COME"
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
