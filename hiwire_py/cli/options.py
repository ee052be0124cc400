"""What several commands take and return: options, paths as arguments, exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..engines import ENGINE_NAMES

__all__ = [
    "DIRECTORY",
    "FAILED",
    "FILE",
    "FOLDER",
    "INPUT",
    "INTERRUPTED",
    "OK",
    "USAGE",
    "engine_option",
    "json_option",
    "limit_options",
]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""The exit codes; ``hiwire --help`` says what each means."""

INPUT = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(exists=True, file_okay=False)
FOLDER = click.Path(file_okay=False, path_type=Path)

engine_option = click.option(
    "--engine", type=click.Choice(ENGINE_NAMES), help="Run on this engine, not on the default one."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_limits = (
    click.option(
        "--memory-limit", type=click.IntRange(min=0), metavar="BYTES", help="How large each memory may grow."
    ),
    click.option(
        "--table-limit", type=click.IntRange(min=0), metavar="N", help="How many elements a table may have."
    ),
    click.option("--deadline", type=float, metavar="SECONDS", help="How long a call may take."),
    click.option("--fuel", type=click.IntRange(min=1), metavar="N", help="How many steps a call may take."),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for limits of what runs; those that are not used are None."""
    for option in reversed(_limits):
        command = option(command)
    return command
