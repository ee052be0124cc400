"""What the commands share of the terminal: where they print, JSON, tables of facts, a progress bar."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["complain", "console", "facts", "print_json", "progress_bar"]

# A pipe has no width, but the layout of tables needs one.
_PIPE_WIDTH = 160


def complain(message: str, code: int) -> int:
    """Print an error in one line on the standard error; gives ``code``, which the command then returns."""
    print(f"hiwire: error: {message}", file=sys.stderr)
    return code


def console() -> Console:
    """A console on the standard output as it is now."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=_PIPE_WIDTH if piped else None)


def print_json(value: object) -> None:
    """Print what ``--json`` asks for; a dataclass as an object of its fields."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=asdict))


def facts(indent: int = 1) -> Table:
    """An empty table without lines or head, for rows of a name and what there is to say."""
    return Table(box=None, show_header=False, padding=(0, 2, 0, indent))


@contextmanager
def progress_bar(what: str = "") -> Iterator[Callable[..., None]]:
    """A progress bar with the time that is left, which vanishes at the end; none where the output is no
    terminal.

    Gives a function that takes how much is done, how much there is, and what is done now (``what`` if it does
    not say).
    """
    screen = console()
    columns = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(escape(what), total=None)

        def report(done: float, total: float, now: str = what) -> None:
            bar.update(task, completed=done, total=total, description=escape(now))

        yield report
