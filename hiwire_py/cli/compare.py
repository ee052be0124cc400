"""`hiwire compare`: the variants of hiwire on the engines, measured side by side.

What is measured and how is in `hiwire_py.compare`. Here are the options, and the report on a terminal.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ..compare.findings import compare_reports, read_report
from ..compare.measure import Settings
from ..compare.report import Sheet, check_outputs, sheets, unchanged, write_outputs
from ..compare.run import compare, find_engines
from ..compare.variants import COMPILERS, DEFAULT_VARIANTS, find_variants
from .display import complain, console, progress_bar
from .options import FAILED, FILE, FOLDER, INTERRUPTED, OK

__all__ = ["compare_command"]


def _words(context: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Words with commas between them."""
    if value is None:
        return None
    words = tuple(word.strip() for word in value.split(","))
    if not all(words):
        raise click.BadParameter("a list of words with commas between them is wanted", context, param)
    return words


def _sizes(context: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Numbers of handles, ascending."""
    words = _words(context, param, value)
    size = click.IntRange(1, 10_000_000)
    return None if words is None else tuple(sorted({size(word, param, context) for word in words}))


@click.command("compare")
@click.option("--engines", callback=_words, metavar="NAME,...", help="Only these.  [default: all]")
@click.option("--variants", callback=_words, metavar="NAME,...",
              default=",".join(DEFAULT_VARIANTS), show_default=True,
              help="Also static_pages:N for any N, and paths of modules built with hiwire.")  # fmt: skip
@click.option("--sizes", callback=_sizes, metavar="N,...",
              help="Of the growth curve, in refs.  [default: 10^2 to 10^7, or 10^5]")  # fmt: skip
@click.option("--quick", is_flag=True, help="Half a minute at most, with wider ranges.")
@click.option(
    "--json", "json_file", type=FILE, help="Write the report there, as docs/compare.schema.json says."
)
@click.option("--markdown", "markdown_file", type=FILE, help="Write it there for people.")
@click.option("--plots", type=FOLDER, help="Draw pictures into this folder (needs the extra plots).")
@click.option("--toolchain", type=click.Choice(COMPILERS),
              help="Build all variants with it; none: build nothing.")  # fmt: skip
@click.option("--baseline", type=FILE, help="Mark what changed since this report of --json.")
def compare_command(
    engines: tuple[str, ...] | None,
    variants: tuple[str, ...],
    sizes: tuple[int, ...] | None,
    quick: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    plots: Path | None,
    toolchain: str | None,
    baseline: Path | None,
) -> int:
    """Measure the variants of hiwire on the engines: size, speed, growth, room, start.

    Ctrl-C ends the measuring: what was measured until then is shown and written, and the exit code is 130.

    \b
    Examples:
        hiwire compare --quick
        hiwire compare --engines wasmtime --variants static_pages:8,extern_realloc
        hiwire compare --json report.json --markdown report.md --plots pictures
        hiwire compare --baseline report.json
    """
    settings = Settings.quick() if quick else Settings()
    if sizes is not None:
        settings = replace(settings, sizes=sizes)
    earlier = None if baseline is None else read_report(baseline)
    wanted = find_engines(engines)
    check_outputs((json_file, markdown_file), plots)
    built = find_variants(variants, toolchain)
    with progress_bar() as progress:
        report = compare(built, wanted, settings, toolchain, progress)
    if earlier is not None:
        report["baseline"] = compare_reports(earlier, report)
    written = write_outputs(report, json_file, markdown_file, plots)
    _show(report)
    for path in written:
        click.echo(f"written: {path}")
    if not report["complete"]:
        return complain("interrupted; what was measured until then is above", INTERRUPTED)
    return OK if any(row["status"] == "measured" for row in report["rows"]) else FAILED


def _show(report: dict[str, Any]) -> None:
    """All tables, and at the end, where people look first, what follows from them."""
    screen = console()
    for sheet in sorted(sheets(report, brief=True), key=lambda sheet: sheet.title == "Recommendation"):
        screen.print(_table(sheet))
        if sheet.note:
            screen.print(Padding(escape(sheet.note), (0, 1, 1, 1)), style="dim")
    for sentence in unchanged(report):
        screen.print(sentence, style="bold", markup=False)


def _table(sheet: Sheet) -> Table:
    table = Table(
        title=sheet.title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", padding=(0, 1, 0, 0)
    )
    last = ""
    for number, head in enumerate(sheet.head):
        table.add_column(head, justify="right" if sheet.is_number(number) else "left", overflow="fold")
    for row in sheet.rows:
        # A name is written once for its rows: where it stands is where a variant begins.
        first = "" if row[0] == last and sheet.texts > 1 else row[0]
        last = row[0]
        table.add_row(escape(first), *map(escape, row[1:]))
    return table
