"""`hiwire lower`: a module as engines get it, without externrefs."""

from __future__ import annotations

from pathlib import Path

import click

from ..passes import lower
from .options import FILE, INPUT, OK

__all__ = ["lower_command"]


@click.command("lower")
@click.argument("source", metavar="IN", type=INPUT)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--in-place", is_flag=True, help="Allow OUT to be the same file as IN.")
def lower_command(source: Path, target: Path, in_place: bool) -> int:
    """Write the lowered form of the module IN to OUT: externrefs become 32-bit ids.

    Guests are lowered when they are loaded; this shows what the engine gets. A module that
    does not need it is copied.

    \b
    Examples:
        hiwire lower guest.wasm guest-lowered.wasm
        hiwire lower --in-place guest.wasm guest.wasm
    """
    if target.exists() and target.samefile(source) and not in_place:
        raise click.UsageError(f"{target} is IN itself; to replace it, add --in-place")
    wasm = source.read_bytes()
    lowered = lower(wasm)
    target.write_bytes(lowered)
    note = f"{len(wasm):,} -> {len(lowered):,} bytes"
    click.echo(f"{target}: {note if lowered != wasm else 'copied: it does not need lowering'}")
    return OK
