"""`hiwire compile`: a module as the native library that the engine native loads."""

from __future__ import annotations

from pathlib import Path

import click

from ..engines.native.compile import compile_native
from .options import FOLDER, INPUT, OK

__all__ = ["compile_command"]


@click.command("compile")
@click.argument("module", type=INPUT)
@click.option("--output", "-o", type=FOLDER, metavar="DIRECTORY",
              help="Put the library there, not into the cache; see HIWIRE_NATIVE_PATH.")  # fmt: skip
def compile_command(module: Path, output: Path | None) -> int:
    """Compile MODULE for the engine native, and print the path of its library.

    Nothing is done if the cache has it. Guests are also compiled when they are first used; this does it
    ahead. HIWIRE_NATIVE_PATH names directories with libraries for machines without a compiler. It takes a C
    compiler and wasm2c: see hiwire doctor.

    \b
    Examples:
        hiwire compile guest.wasm
        hiwire compile guest.wasm --output libraries
    """
    click.echo(compile_native(module, output))
    return OK
