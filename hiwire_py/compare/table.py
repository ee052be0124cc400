"""A report on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from .report import Sheet, compared_text, sheets
from .run import Progress as Report

__all__ = ["progress_bar", "show"]


@contextmanager
def progress_bar(screen: Console) -> Iterator[Report | None]:
    """A bar with the time left, which vanishes at the end; None where the output is no terminal."""
    if not screen.is_terminal:
        yield None
        return
    columns = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(done: float, total: float, what: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(what))

        yield report


def show(report: dict[str, Any], screen: Console) -> None:
    """All tables, and what follows from them."""
    for sheet in sheets(report, brief=True):
        screen.print(_table(sheet))
        if sheet.note:
            screen.print(Padding(escape(sheet.note), (0, 1, 1, 1)), style="dim")
    baseline = report.get("baseline")
    if baseline is not None and not baseline["changes"]:
        text = f"Nothing changed beyond noise since {baseline['created']}: {compared_text(baseline)}."
        screen.print(text, style="bold", markup=False)
        for note in baseline["notes"]:
            screen.print(f"But: {note}", markup=False)
    screen.print(Padding(escape(report["recommendation"]), (0, 1)))


def _table(sheet: Sheet) -> Table:
    table = Table(
        title=sheet.title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", padding=(0, 1, 0, 0)
    )
    last = ""
    for number, head in enumerate(sheet.head):
        table.add_column(
            head, justify="left" if number < sheet.texts or head == "then" else "right", overflow="fold"
        )
    for row in sheet.rows:
        # A name is written once for its rows: where it stands is where a variant begins.
        first = "" if row[0] == last and sheet.texts > 1 else row[0]
        last = row[0]
        table.add_row(escape(first), *map(escape, row[1:]))
    return table
