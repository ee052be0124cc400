"""scripts/import_graph.py: it sees every import, and finds what goes up or round."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import import_graph as graph


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose modules import each other in all ways there are."""
    files = {
        "__init__.py": "from .one import a\n",
        "one.py": "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from .inner.two import b\na = 1\n",
        "inner/__init__.py": "",
        "inner/two.py": "import os, house.three\nfrom . import four\nb = 2\n",
        "inner/four.py": "def late():\n    from .. import one\n",
        "three.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "house"


def test_imports(package: Path) -> None:
    """Relative and absolute ones, for type checkers only, within functions; and no others' modules."""
    assert [str(one) for one in graph.imports(package)] == [
        "house:1 imports house.one",
        "house/inner/four:2 imports house.one",
        "house/inner/two:2 imports house.inner.four",
        "house/inner/two:1 imports house.three",
        "house/one:4 imports house.inner.two",
    ]


def test_circles(package: Path) -> None:
    """One that goes over an import for type checkers and one within a function."""
    assert graph.circles(graph.imports(package)) == [["house.inner.four", "house.inner.two", "house.one"]]


def test_arrows_that_do_not_go_down() -> None:
    """Up, within a layer, and to what stands in no layer."""
    layers = [["top.py"], ["left/", "right/"], ["bottom.py"]]
    good = [("top.py", "left/"), ("left/", "bottom.py"), ("top.py", "bottom.py")]
    assert graph.wrong_arrows(good, layers) == (set(), set())
    bad = [("bottom.py", "left/"), ("left/", "right/"), ("left/", "new.py")]
    assert graph.wrong_arrows([*good, *bad], layers) == (set(bad[:2]), {"new.py"})


def test_arrows_that_others_imply_are_not_drawn() -> None:
    """The way from a to c over b is drawn, the direct one is not."""
    assert graph.drawn_arrows([("a", "b"), ("b", "c"), ("a", "c")]) == [("a", "b"), ("b", "c")]


def test_the_picture_tells_what_it_shows(tmp_path: Path) -> None:
    """It can be told whether it is up to date; of another file nothing is told."""
    pytest.importorskip("matplotlib", reason="matplotlib: not installed; pip install 'hiwire_py[plots]'")
    layers, between = [["a.py"], ["b/", "c.py"], ["d.py"]], [("a.py", "b/"), ("a.py", "d.py")]
    graph.draw(layers, between, tmp_path / "picture.png")
    assert graph.picture_shows(tmp_path / "picture.png") == graph.signature(layers, between)
    assert graph.picture_shows(tmp_path / "none.png") == ""
