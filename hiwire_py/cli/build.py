"""`hiwire build`: the WebAssembly modules, from their C sources."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from ..toolchain import TOOLCHAINS, build
from ..toolchain.process import silent
from .display import console
from .options import FOLDER, OK

__all__ = ["build_command"]


@click.command("build")
@click.option("--out", type=FOLDER, default=Path("build/wasm"), show_default=True, help="Where files go.")
@click.option("--toolchain", type=click.Choice(TOOLCHAINS), help="Use this one or none.")
@click.option("--static-pages", type=click.IntRange(1, 32768), default=64, show_default=True,
              help="Room of the variant static_pages, in pages of 1,024 handles.")  # fmt: skip
@click.option("--source", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The checkout with the C sources; default: the one this package is in.")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Show what the toolchain writes.")
def build_command(
    out: Path, toolchain: str | None, static_pages: int, source: Path | None, verbose: bool
) -> int:
    """Build the WebAssembly modules from their C sources.

    It takes the first toolchain that works: docker, podman, buildah, clang, zig; and says why not those
    before it. A container gives the bytes that the package brings; a compiler of this machine gives modules
    that do the same.

    \b
    Examples:
        hiwire build
        hiwire build --toolchain zig --out /tmp/wasm
        hiwire build --static-pages 128
    """

    log = click.echo if verbose else silent
    screen = console()
    with screen.status("building") if screen.is_terminal and not verbose else nullcontext():
        report = build(out, toolchain=toolchain, static_pages=static_pages, source=source, log=log)
    click.echo(report.describe())
    return OK
