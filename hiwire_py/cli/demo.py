"""`hiwire demo`: C code counts the words of real text; the words are Python strings that it holds through
handles.

The guest is c/guests/wordcount.c. Here is its host's side: what the words are, where the text comes from, how
much of it is taken, and the comparison of the result with `collections.Counter`.
"""

from __future__ import annotations

import itertools
import os
import platform
import re
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from ..engines import engines
from ..errors import HiwireError, TableFullError
from ..guest import Guest
from ..hiwire import Hiwire
from ..sources import VARIANTS, shipped
from ..values import NULL
from .display import console, facts, print_json, progress_bar
from .options import FAILED, INPUT, OK, engine_option, json_option

__all__ = ["DemoResult", "count_words", "demo_command", "standard_library", "words_of"]

_WORDS = re.compile(r"[^\W\d]\w*")
_TABLE_FULL, _OUT_OF_MEMORY = -1, -2


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        difference: where the guest and `collections.Counter` disagree; "" when they agree about every word.
        distinct: how many different words there were.
        seconds: the time spent in the guest, host functions and all; reading and splitting the text is
            outside.
        counter_seconds: the time that `collections.Counter` takes for the same words.
        live_refs: live handles ``before`` the first word, at the ``peak``, with all words counted, and
            ``after`` the guest has released them.
        top: the most frequent words and their counts, as the guest reported them.
    """

    difference: str
    engine: str
    variant: str
    files: int
    words: int
    distinct: int
    seconds: float
    counter_seconds: float
    live_refs: dict[str, int]
    top: list[tuple[str, int]]

    @property
    def words_per_second(self) -> float:
        return self.words / self.seconds if self.seconds else 0.0

    @property
    def leaks(self) -> bool:
        """Whether handles are left."""
        return self.live_refs["after"] != self.live_refs["before"]

    @property
    def ok(self) -> bool:
        """Whether the counts are right and no handle is left."""
        return not self.difference and not self.leaks

    def as_json(self) -> dict[str, Any]:
        """The result as `json` writes it."""
        speed = round(self.words_per_second)
        version = platform.python_version()
        return {"ok": self.ok, "python": version, "words_per_second": speed, **asdict(self)}


def words_of(path: Path) -> list[str]:
    """The words of a text file: runs of letters, digits and ``_`` that do not start with a digit.

    The file is taken for UTF-8; bytes that are not become U+FFFD and part words, so that any file can be
    counted.

    Raises:
        OSError: the file cannot be read.
    """
    return _WORDS.findall(path.read_text(encoding="utf-8", errors="replace"))


def standard_library() -> list[Path]:
    """Sources of this Python's standard library, in the order of their paths.

    Raises:
        FileNotFoundError: the standard library is not there as source files.
    """
    found = []
    # Installed packages live inside.
    for folder, inner, names in os.walk(sysconfig.get_path("stdlib")):
        inner[:] = sorted(set(inner) - {"site-packages", "dist-packages", "__pycache__"})
        found += [Path(folder, name) for name in sorted(names) if name.endswith(".py")]
    if not found:
        raise FileNotFoundError(
            "this Python has no sources of its standard library; name text files to count instead"
        )
    return found


def count_words(
    files: Sequence[Path],
    *,
    limit: float | None = None,
    engine: str | None = None,
    variant: str = "extern_realloc",
    top: int = 20,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> DemoResult:
    """Count the words of the files in the guest, and compare all of it with `collections.Counter`.

    Args:
        limit: no file is begun after so many seconds in the guest.
        progress: takes how much is done, and how much there is.

    Raises:
        OSError: a file cannot be read.
        TableFullError: there are more distinct words than the table has room for.
        MemoryError: the guest's own memory cannot grow.
    """
    expected: Counter[str] = Counter()
    seconds = counter_seconds = 0.0
    read, done, size = 0, 0, sum(file.stat().st_size for file in files)
    words: list[str] = []
    reported: list[tuple[str, int]] = []

    def next_words() -> Iterator[Any]:
        while True:
            yield from words
            yield NULL

    # next_word is a builtin method, and goes through the list by itself: a word takes no Python bytecode.
    host = {"next_word": next_words().__next__, "report": lambda word, count: reported.append((word, count))}
    with (
        Hiwire(variant, engine=engine, identity="equality") as table,
        Guest(shipped("guest-wordcount"), {"env": host}, hiwire=table) as guest,
    ):
        before = peak = table.num_refs()
        for file in files:
            words = words_of(file)
            started = time.perf_counter()
            code = guest.exports.count_file()
            counted = time.perf_counter()
            _check(code, table, variant)
            expected.update(words)
            counter_seconds += time.perf_counter() - counted
            seconds += counted - started
            peak = max(peak, table.num_refs())
            read += 1
            done += file.stat().st_size
            progress(max(done / size if size else 1.0, seconds / limit if limit else 0.0), 1.0)
            if limit is not None and seconds >= limit:
                break
        _check(guest.exports.report_top(top), table, variant)
        best = reported[:]
        _check(guest.exports.report_all(), table, variant)
        difference = _difference(dict(reported[len(best) :]), expected, best, top)
        guest.exports.release_all()
        return DemoResult(
            difference=difference,
            engine=table.space.engine.name,
            variant=variant,
            files=read,
            words=expected.total(),
            distinct=len(expected),
            seconds=seconds,
            counter_seconds=counter_seconds,
            live_refs={"before": before, "peak": peak, "after": table.num_refs()},
            top=best,
        )


def _check(code: int, table: Hiwire, variant: str) -> None:
    """Raises what a result of the guest below 0 means."""
    if code == _TABLE_FULL:
        room = table.capacity()
        raise TableFullError(
            f"the text has more distinct words than the variant {variant} has handles ({room:,}); "
            "take --variant extern_realloc, which grows"
        )
    if code == _OUT_OF_MEMORY:
        raise MemoryError("the word counting guest is out of memory: its engine grants no more")
    if code < 0:
        raise HiwireError(f"the word counting guest returned the unknown code {code}")


def _difference(counted: dict[str, int], expected: Counter[str], best: list[tuple[str, int]], n: int) -> str:
    """The first difference in words, or else in the most frequent ones; "" if there is none."""
    if counted != expected:
        wrong = [word for word in sorted({*counted, *expected}) if counted.get(word, 0) != expected[word]]
        word = wrong[0]
        what = "1 word differs" if len(wrong) == 1 else f"{len(wrong)} words differ"
        return f"{what}, first {word!r}: counted {counted.get(word, 0)}, expected {expected[word]}"
    for place, pair in enumerate(itertools.zip_longest(best, expected.most_common(n)), 1):
        found, right = (f"{one[0]!r} with {one[1]}" if one else "no word" for one in pair)
        if found != right:
            return f"place {place} differs: {found}, expected {right}"
    return ""


@click.command("demo")
@click.argument("files", nargs=-1, type=INPUT, metavar="[FILE]...")
@engine_option
@click.option("--variant", type=click.Choice(VARIANTS), default="extern_realloc", show_default=True,
              help="The variant of hiwire; static_pages has room for 65,535 handles.")  # fmt: skip
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Show this many words."
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              help="Without FILE: take as much text as that lasts, if there is so much.")  # fmt: skip
@click.option("--all-engines", is_flag=True, help="On every engine that is here, one after the other.")
@json_option
def demo_command(
    files: tuple[Path, ...],
    engine: str | None,
    variant: str,
    top: int,
    seconds: float,
    all_engines: bool,
    as_json: bool,
) -> int:
    """Count the words of text files in C; the words are Python strings.

    Without FILE it reads the sources of the running Python's standard library. Files are taken for UTF-8;
    what is not becomes U+FFFD. The counts are compared with collections.Counter: on any difference the exit
    code is 1.

    \b
    Examples:
        hiwire demo
        hiwire demo --engine wasmtime --seconds 3
        hiwire demo --all-engines --seconds 2
        hiwire demo --top 5 README.md CHANGELOG.md
        hiwire demo --json | python -m json.tool
    """
    if all_engines and engine is not None:
        raise click.UsageError("--engine and --all-engines exclude each other")
    names = [info.name for info in engines() if info.available] if all_engines else [engine]
    results = []
    for name in names:
        with progress_bar("counting words" + (f" on {name}" if all_engines else "")) as progress:
            chosen, limit = (files, None) if files else (standard_library(), seconds)
            results.append(
                count_words(chosen, limit=limit, engine=name, variant=variant, top=top, progress=progress)
            )
    if as_json:
        found = [result.as_json() for result in results]
        print_json({"runs": found} if all_engines else found[0])
    else:
        _show(results)
    return OK if all(result.ok for result in results) else FAILED


def _show(results: Sequence[DemoResult]) -> None:
    """The most frequent words of the first result, and what it took to count them on each engine."""
    screen = console()
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right", style="dim")
    table.add_column("word", overflow="fold")
    table.add_column("count", justify="right")
    for place, (word, count) in enumerate(results[0].top, 1):
        table.add_row(str(place), escape(word), f"{count:,}")
    if results[0].top:
        screen.print(table)
    for result in results:
        screen.print(_facts(result))
        if len(results) > 1:
            screen.print()


def _facts(result: DemoResult) -> Table:
    files = "1 file" if result.files == 1 else f"{result.files:,} files"
    speed = f"{result.words_per_second:,.0f} words per second ({result.seconds:.2f} s in the guest)"
    refs = "{before:,} before, {peak:,} at the peak, {after:,} after".format(**result.live_refs)
    check = "[green]every count equals that of collections.Counter[/]"
    if result.difference:
        check = f"[bold red]WRONG[/]: {escape(result.difference)}"
    table = facts()
    table.add_row("words", f"{result.words:,}, of them distinct {result.distinct:,}, in {files}")
    table.add_row("speed", speed)
    table.add_row("engine", result.engine)
    table.add_row("variant", result.variant)
    table.add_row("live refs", refs)
    table.add_row("check", check)
    if result.leaks:
        table.add_row("", "[bold red]LEAK[/]: the guest has released everything, but handles are left")
    return table
