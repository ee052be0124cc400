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


@pytest.fixture(scope="module")
def found() -> list[graph.Import]:
    return graph.imports(PACKAGE)


def test_arrows_go_down(found: list[graph.Import]) -> None:
    """No part imports one of its own layer or above, but for what is known."""
    between = graph.arrows(found)
    up, _ = graph.wrong_arrows(between, graph.read_layers())
    assert not up, [str(one) for ends in sorted(up) for one in between[ends]]


def test_no_circles(found: list[graph.Import]) -> None:
    """No modules import each other in a circle."""
    assert not graph.circles(found)


def test_every_part_has_its_line() -> None:
    """The table of layers has all parts of the package, each once, and no others."""
    named = [name for layer in graph.read_layers() for name in layer]
    parts = {graph.part(module) for module in graph.modules(PACKAGE)}
    assert len(named) == len(set(named))
    assert set(named) == parts


def test_the_picture_is_up_to_date(found: list[graph.Import]) -> None:
    """It shows the imports as they are; otherwise: scripts/import_graph.py --draw."""
    layers = graph.existing(graph.read_layers())
    assert graph.picture_shows() == graph.signature(layers, graph.arrows(found))


def test_what_it_names_exists() -> None:
    """Files and folders are there, links lead somewhere, and names of Python and C stand in the sources."""
    sources = [path for folder in (PACKAGE, ROOT / "c") for path in folder.rglob("*") if path.is_file()]
    text = "\n".join(p.read_text(encoding="utf-8") for p in sources if p.suffix in (".py", ".c", ".h"))
    for name in re.findall(r"`([^`\n]+)`", PAGE):
        if name.startswith("guest.exports"):
            continue
        path = name.split(" ")[0]
        if "/" in path or re.search(r"\.(py|c|h|md)$", path):
            places = (ROOT, PACKAGE, PACKAGE.parent / "docs")
            assert any((place / path).exists() for place in places), f"{path} is not there"
        else:
            assert all(word in text for word in re.findall(r"\w+", name)), f"{name} is nowhere in the sources"
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
