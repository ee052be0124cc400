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

from .demo import DemoResult
from .demo import Progress as Report
from .describe import Description, Item
from .doctor import Finding
from .doctor import Report as Examination

__all__ = ["console", "counting", "show_demo", "show_description", "show_examination"]

# In a pipe there is no width to keep to, but tables need one.
_PIPE_WIDTH = 160


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


def show_examination(report: Examination) -> None:
    """What works here, group by group."""
    screen = console()
    screen.print(f"hiwire_py {report.package}, {escape(report.python)}", soft_wrap=True)
    groups = (
        (f"engines (default: {report.default_engine or 'none'})", report.engines),
        ("modules in the package", report.modules),
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
