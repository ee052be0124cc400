"""The command `hiwire compile`: modules for the engine native, ahead of their first use."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from .engines.native_compile import compile_native
from .errors import HiwireError

__all__ = ["compile_command"]


@click.command("compile")
@click.argument("guest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="DIRECTORY",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put the library there, and not into the cache. HIWIRE_NATIVE_PATH names such directories.",
)
def compile_command(guest: Path, output: Path | None) -> None:
    """Compile GUEST, a WebAssembly module, for the engine native, and print the path of its library.

    Nothing is done if the cache has it. Guests are also compiled when they are first used.
    """
    logging.getLogger("hiwire_py.native").setLevel(logging.INFO)
    try:
        click.echo(compile_native(guest, output))
    except HiwireError as e:
        raise click.ClickException(str(e)) from e
