"""The main job, without its command line."""

from __future__ import annotations

import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hiwire_py import Hiwire, TableFullError
from hiwire_py.cli import demo
from hiwire_py.cli.demo import count_words, standard_library, words_of


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """Two files: ties, words of other scripts, numbers, names with digits."""
    paths = [tmp_path / "one.txt", tmp_path / "two.txt"]
    paths[0].write_text("to be, or not to be: that is 2 questions\nβ x1 x1 _y", encoding="utf-8")
    paths[1].write_text("be β naïve", encoding="utf-8")
    return paths


def test_result(engine: str, variant: str, texts: list[Path]) -> None:
    """Counts, order, handles and names, on each engine and variant."""
    seen: list[tuple[float, float]] = []
    result = count_words(
        texts, engine=engine, variant=variant, top=3, progress=lambda *sizes: seen.append(sizes)
    )
    assert result.top == [("be", 3), ("to", 2), ("β", 2)]
    assert (result.files, result.words, result.distinct) == (2, 16, 11)
    assert result.live_refs == {"before": 0, "peak": 12, "after": 0}
    assert (result.engine, result.variant, result.difference) == (engine, variant, "")
    assert result.ok
    sizes = [path.stat().st_size for path in texts]
    assert seen == [(sizes[0] / sum(sizes), 1), (1, 1)]


@pytest.mark.parametrize("top", [0, 1, 100])
def test_top(engine: str, texts: list[Path], top: int) -> None:
    """As many words as asked for, or as there are."""
    result = count_words(texts, engine=engine, top=top)
    assert result.ok
    assert len(result.top) == min(top, 11)


def test_no_words(engine: str, tmp_path: Path) -> None:
    """Nothing at all, and a file without words."""
    assert count_words([], engine=engine).ok
    (tmp_path / "empty").write_text("1 2 3 !")
    result = count_words([tmp_path / "empty"], engine=engine)
    assert result.ok
    assert (result.words, result.top, result.words_per_second) == (0, [], 0)


def test_not_utf_8(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 part words, and do not end the demo."""
    (tmp_path / "latin1").write_bytes("caf\xe9s".encode("latin-1"))
    assert words_of(tmp_path / "latin1") == ["caf", "s"]


class Miscounting(Counter[str]):
    """Sees a word more than there is in each file."""

    def update(self, words: Any = (), /, **counts: int) -> None:
        super().update([*words, "be"] if words else ())


class Missing(Counter[str]):
    """Sees no words."""

    def update(self, words: Any = (), /, **counts: int) -> None:
        pass


class Missorting(Counter[str]):
    """Gives the most frequent words in another order, and one word less."""

    def most_common(self, n: int | None = None) -> list[tuple[str, int]]:
        return super().most_common(n)[:0:-1]


@pytest.mark.parametrize(
    ("counter", "difference"),
    [
        (Miscounting, "1 word differs, first 'be': counted 3, expected 5"),
        (Missing, "11 words differ, first '_y': counted 1, expected 0"),
        (Missorting, "place 1 differs: 'be' with 3, expected 'β' with 2"),
    ],
)
def test_wrong_counts_are_found(
    texts: list[Path], counter: type[Counter[str]], difference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the guest and Counter disagree, the result is not right, and the word is named."""
    monkeypatch.setattr(demo, "Counter", counter)
    result = count_words(texts, top=3)
    assert result.difference == difference and not result.ok


def test_reported_words_must_be_as_many(texts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of the most frequent words that ends too late is found out."""
    monkeypatch.setattr(Counter, "most_common", lambda counter, n: [("be", 3)])
    assert count_words(texts, top=2).difference == "place 2 differs: 'to' with 2, expected no word"


def test_leaks_are_found(texts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Handles that are left at the end make the result wrong."""
    live = iter([0, 12, 12, 12])
    monkeypatch.setattr(Hiwire, "num_refs", lambda table: next(live))
    result = count_words(texts)
    assert result.difference == ""
    assert result.live_refs == {"before": 0, "peak": 12, "after": 12}
    assert not result.ok


def test_full_table(engine: str, tmp_path: Path) -> None:
    """static_pages has room for 65,535 handles; one word more is refused with the remedy."""
    fits, too_many = tmp_path / "fits", tmp_path / "too_many"
    fits.write_text(" ".join(f"w{i}" for i in range(65_534)))
    too_many.write_text("one_more")
    assert count_words([fits], engine=engine, variant="static_pages").live_refs["peak"] == 65_535
    with pytest.raises(
        TableFullError, match=r"variant static_pages has handles \(65,535\); take --variant extern_realloc"
    ):
        count_words([fits, too_many], engine=engine, variant="static_pages")
    assert count_words([fits, too_many], engine=engine).ok


def test_limit(engine: str) -> None:
    """More of the text for more time, and no more of it than there is."""
    library = standard_library()
    little, more = (count_words(library, limit=limit, engine=engine) for limit in (1e-9, 0.2))
    assert little.ok and more.ok
    assert 1 == little.files < more.files < len(library)
    assert little.seconds < 0.2 <= more.seconds
    assert count_words(library[:2], limit=60, engine=engine).files == 2


def test_progress_with_a_limit() -> None:
    """What is nearer to its end counts: the time or the text."""
    seen: list[float] = []
    count_words(standard_library(), limit=0.1, progress=lambda done, total: seen.append(done / total))
    assert len(seen) > 1 and seen == sorted(seen) and seen[-1] >= 1


def test_default_text() -> None:
    """Sources of this Python's library, in a fixed order."""
    found = standard_library()
    folder = Path(sysconfig.get_path("stdlib"))
    assert len(found) > 100 and found == standard_library()
    assert all(path.suffix == ".py" and folder in path.parents for path in found)
    assert not any("site-packages" in path.parts for path in found)


def test_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Python without sources says what to do."""
    monkeypatch.setattr("hiwire_py.cli.demo.sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="name text files"):
        standard_library()


def test_words() -> None:
    """What a word is."""
    assert Counter(demo._WORDS.findall("a a1 1a _b é-f 12 3_")) == Counter(
        ["a", "a", "a1", "_b", "é", "f", "_"]
    )
