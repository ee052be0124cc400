"""What several commands take and return: options, paths as arguments, exit codes."""

from __future__ import annotations

from pathlib import Path

import click

from ..engines import ENGINE_NAMES

__all__ = [
    "FAILED",
    "FILE",
    "FOLDER",
    "INPUT",
    "INTERRUPTED",
    "OK",
    "USAGE",
    "engine_option",
    "json_option",
]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""The exit codes; ``hiwire --help`` says what each means."""

INPUT = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

engine_option = click.option(
    "--engine", type=click.Choice(ENGINE_NAMES), help="Run on this engine, not on the default one."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
