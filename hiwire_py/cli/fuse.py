"""`hiwire fuse`: a component as one core module."""

from __future__ import annotations

from pathlib import Path

import click

from ..components import fuse
from .options import FILE, INPUT, OK

__all__ = ["fuse_command"]


@click.command("fuse")
@click.argument("source", metavar="COMPONENT", type=INPUT)
@click.option("-o", "--output", metavar="OUT", type=FILE, required=True, help="Where the module goes.")
@click.option(
    "--table-in-memory",
    is_flag=True,
    help="Handle tables of instances that hold handles of others' resources lie in their own memories.",
)
def fuse_command(source: Path, output: Path, table_in_memory: bool) -> int:
    """Write a component as one core module, with its handle tables and the calls between its instances.

    Component runs the module as it runs the component. Other hosts call it by the names that
    docs/fuse.md lists. It takes an engine that has several memories in a module.

    \b
    Examples:
        hiwire fuse app.wasm -o app.fused.wasm
        hiwire fuse app.wasm -o app.fused.wasm --table-in-memory
    """
    if output.exists() and output.samefile(source):
        raise click.UsageError(f"{output} is COMPONENT itself")
    wasm = source.read_bytes()
    fused = fuse(wasm, table_in_memory=table_in_memory)
    output.write_bytes(fused)
    click.echo(f"{output}: {len(wasm):,} -> {len(fused):,} bytes")
    return OK
