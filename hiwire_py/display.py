"""How the results of the commands look on a terminal and in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from .cycles import CycleRun, CyclesResult
from .demo import DemoResult
from .demo import Progress as Report
from .describe import Description, Item
from .doctor import Finding
from .doctor import Report as Examination

__all__ = ["console", "counting", "show_cycles", "show_demo", "show_description", "show_examination"]

# In a pipe there is no width to keep to, but tables need one.
_PIPE_WIDTH = 160
_PLOT_WIDTH, _PLOT_HEIGHT = 66, 6
_BLOCKS = " ▁▂▃▄▅▆▇█"


def console() -> Console:
    """A console on the standard output as it is now."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=_PIPE_WIDTH if piped else None)


@contextmanager
def counting(what: str) -> Iterator[Report | None]:
    """A progress bar while text is counted, which vanishes at the end; None where the output is no
    terminal."""
    screen = console()
    if not screen.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(escape(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_demo(results: Sequence[DemoResult]) -> None:
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
        screen.print(_demo_facts(result))
        if len(results) > 1:
            screen.print()


def _demo_facts(result: DemoResult) -> Table:
    check = "every count equals that of collections.Counter"
    bad = result.difference
    files = "1 file" if result.files == 1 else f"{result.files:,} files"
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 1))
    facts.add_row("words", f"{result.words:,}, of them distinct {result.distinct:,}, in {files}")
    facts.add_row(
        "speed", f"{result.words_per_second:,.0f} words per second ({result.seconds:.2f} s in the guest)"
    )
    facts.add_row("engine", result.engine)
    facts.add_row("variant", result.variant)
    refs = f"{result.refs_before:,} before, {result.refs_peak:,} at the peak, {result.refs_after:,} after"
    facts.add_row("live refs", refs)
    facts.add_row("check", f"[bold red]WRONG[/]: {escape(bad)}" if bad else f"[green]{check}[/]")
    if result.refs_after != result.refs_before:
        facts.add_row("", "[bold red]LEAK[/]: the guest has released everything, but handles are left")
    return facts


def show_cycles(result: CyclesResult) -> None:
    """Live objects round by round, both runs in the same scale."""
    screen = console()
    screen.print(
        f"{result.rounds} rounds of {result.objects:,} objects, each with a callback that captures its own"
        f" wrapper; engine {result.engine}",
        soft_wrap=True,
    )
    top = max(*result.without.live, *result.with_.live, 1)
    for title, run, style in (
        ("without collection (no layout)", result.without, "yellow"),
        ("with collection", result.with_, "blue"),
    ):
        outcome = (
            f"OUT OF MEMORY in round {run.failed_in}, with {run.live[-1]:,} live objects"
            if run.failed_in
            else f"all {result.rounds} rounds, at most {max(run.live):,} live objects;"
            f" {run.left:,} left at the end"
        )
        screen.print(f"\n[bold]{title}[/]: {outcome}, {run.pages} pages, {run.seconds:.2f} s", soft_wrap=True)
        for label, line in _plot(run, top, result.rounds):
            screen.print(f"{label:>8} ┤[{style}]{line}[/]", soft_wrap=True)
        screen.print(" " * 9 + "└" + "─" * min(result.rounds, _PLOT_WIDTH) + " rounds", soft_wrap=True)
    if result.with_.left or result.with_.failed_in:
        screen.print("[bold red]WRONG[/]: with collection, memory must suffice and nothing be left")


def _plot(run: CycleRun, top: int, rounds: int) -> Iterator[tuple[str, str]]:
    """Columns of blocks, from the top line down; an x above the round that found no memory."""
    width = min(rounds, _PLOT_WIDTH)
    columns = [0] * width
    for number, live in enumerate(run.live):
        at = number * width // rounds
        columns[at] = max(columns[at], live)
    failed = (run.failed_in - 1) * width // rounds if run.failed_in else -1
    for line in range(_PLOT_HEIGHT - 1, -1, -1):
        filled = [round(live / top * _PLOT_HEIGHT * 8) - line * 8 for live in columns]
        blocks = [_BLOCKS[min(max(eighths, 0), 8)] for eighths in filled]
        if line == _PLOT_HEIGHT - 1 and failed >= 0 and failed + 1 < width:
            blocks[failed + 1] = "x"
        yield (f"{top:,}" if line == _PLOT_HEIGHT - 1 else "", "".join(blocks).rstrip())


def show_examination(report: Examination) -> None:
    """What works here, group by group."""
    screen = console()
    screen.print(f"hiwire_py {report.package}, {escape(report.python)}", soft_wrap=True)
    groups = (
        (f"engines (default: {report.default_engine or 'none'})", report.engines),
        ("modules in the package", report.modules),
        ("collector of cycles", report.collector),
        ("cache of compiled modules", report.cache),
        ("toolchains, for hiwire build only", report.toolchains),
    )
    for title, findings in groups:
        screen.print()
        screen.print(title, style="bold")
        screen.print(_findings(findings))
    if not any(finding.ok for finding in report.engines):
        screen.print("\n[bold red]No engine works[/]: install one of them to run guests.")
    elif not report.ok:
        screen.print("\n[bold red]A module of the package is damaged or missing.[/]")


def _findings(findings: Iterable[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 1))
    for finding in findings:
        mark = "[green]yes[/]" if finding.ok else "[yellow]no[/]"
        detail = f"{finding.detail}; {finding.note}" if finding.ok and finding.note else finding.detail
        table.add_row(mark, escape(finding.name), escape(detail))
    return table


def show_description(name: str, found: Description) -> None:
    """What a module declares."""
    screen = console()
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_row("size", f"{found.size:,} bytes")
    lowering = "yes, on engines without externref" if found.needs_lowering else "no"
    facts.add_row("needs lowering", lowering)
    facts.add_row("features", ", ".join(found.features) or "none beyond the first release of WebAssembly")
    facts.add_row("memory", "; ".join(found.memories) or "none")
    facts.add_row("tables", "; ".join(found.tables) or "none")
    if found.custom_sections:
        facts.add_row("custom sections", escape(", ".join(found.custom_sections)))
    screen.print(escape(name), style="bold", soft_wrap=True)
    screen.print(facts)
    for title, items in (("imports", found.imports), ("exports", found.exports)):
        screen.print(f"\n{title}" if items else f"\n{title}: none", style="bold")
        if items:
            screen.print(_items(items))


def _items(items: Iterable[Item]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for item in items:
        table.add_row(item.kind, escape(item.name), escape(item.type))
    return table
