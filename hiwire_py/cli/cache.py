"""`hiwire cache`: where compiled modules are kept, how many there are, and removing them."""

from __future__ import annotations

import click

from .. import cache
from .options import OK

__all__ = ["cache_command"]


@click.command("cache")
@click.argument("action", type=click.Choice(["clear"]), required=False)
def cache_command(action: str | None) -> int:
    """Show where compiled modules are kept and how many; with clear, remove them.

    Programs that run go on. Modules are compiled again when they are needed. HIWIRE_CACHE is how many MiB may
    be kept, 1024 if it is not set; with 0 nothing is kept and nothing that was is used.

    \b
    Examples:
        hiwire cache
        hiwire cache clear
        HIWIRE_CACHE=0 hiwire run guest.wasm main
    """
    if action is None:
        click.echo(cache.describe())
    else:
        gone = cache.clear()
        click.echo(
            f"{cache.root()}: {gone.files:,} compiled modules removed, {gone.size / (1 << 20):,.1f} MiB"
        )
    return OK
