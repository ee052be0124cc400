"""`hiwire stub`: the types of a component for type checkers."""

from __future__ import annotations

from pathlib import Path

import click

from ..components import Component
from .options import FILE, INPUT, OK

__all__ = ["stub_command"]


@click.command("stub")
@click.argument("component", type=INPUT)
@click.option("-o", "--output", type=FILE, help="Write to this file, not to the standard output.")
def stub_command(component: Path, output: Path | None) -> int:
    """Write the types of COMPONENT for type checkers, as a .pyi file.

    It describes a module of two lines, beside which it is to lie:

    \b
        from hiwire_py import Component
        instantiate = Component("app.wasm").instantiate

    \b
    Examples:
        hiwire stub app.wasm
        hiwire stub app.wasm -o app.pyi
    """
    text = Component(component).stub(component.name)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    return OK
