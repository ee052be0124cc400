"""`hiwire demo cycles`: rounds of objects whose callbacks capture their own wrappers, in a small memory.

The guest is c/guests/cycle.c. The same rounds run twice, with the layout of its structs and without, so that
only what Python's collector can see differs.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ..collect import GuestObject, Layout, collect, layout
from ..compare.plots import COLOURS, STYLE, need_matplotlib
from ..engines import get_engine
from ..guest import Guest
from ..hiwire import Hiwire
from ..sources import shipped
from .display import console, print_json
from .options import FAILED, FILE, OK, engine_option, json_option

__all__ = ["CycleRun", "CyclesResult", "cycles_command", "plot", "run_cycles"]

_PAGE = 65536
_PLOT_WIDTH, _PLOT_HEIGHT = 66, 6  # of the plot on a terminal, in characters
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class CycleRun:
    """One run of all rounds.

    Attributes:
        live: objects in the guest's memory at the end of each round, and where it was full.
        failed_in: the round in which the memory was full, from 1; 0 for none.
        pages: how large the memory became.
        left: objects in the guest's memory after a last `collect`.
        seconds: for all rounds.
    """

    live: list[int]
    failed_in: int
    pages: int
    left: int
    seconds: float

    def __str__(self) -> str:
        if self.failed_in:
            return f"out of memory in round {self.failed_in}, with {self.live[-1]:,} live objects"
        return f"all {len(self.live)} rounds, at most {max(self.live):,} live objects"


@dataclass(frozen=True)
class CyclesResult:
    """Both runs, of ``rounds`` rounds of ``objects`` objects: without the layout, and with it."""

    engine: str
    rounds: int
    objects: int
    without_collection: CycleRun
    with_collection: CycleRun

    @property
    def ok(self) -> bool:
        """Whether the run with the layout had memory enough, and left nothing."""
        return not self.with_collection.failed_in and not self.with_collection.left


class _Ringing(GuestObject):
    """An object of the guest whose callback holds it."""

    def __init__(self, guest: Guest, described: Layout) -> None:
        super().__init__(guest, guest.exports.object_new, layout=described, free="object_free")
        guest.exports.object_attach(self.pointer, lambda argument: (self, argument)[1] * 2)


def run_cycles(engine: str | None, rounds: int, objects: int) -> CyclesResult:
    """Make ``rounds`` times ``objects`` objects, drop them, and watch the guest's memory."""
    runs = (_run(engine, rounds, objects, described) for described in (False, True))
    return CyclesResult(get_engine(engine).name, rounds, objects, *runs)


def _run(engine: str | None, rounds: int, objects: int, described: bool) -> CycleRun:
    host = {"env": {"invoke": lambda callback, x: callback(x)}}
    with Hiwire("extern_realloc", engine=engine) as table:
        guest = Guest(shipped("guest-cycle"), host, hiwire=table)
        known = layout(guest, "object")
        # The same struct, without a word of the handle in it.
        used = known if described else layout(known.size)
        live: list[int] = []
        failed_in = 0
        start = time.perf_counter()
        while not failed_in and len(live) < rounds:
            try:
                made = [_Ringing(guest, used) for _ in range(objects)]
                assert guest.exports.object_fire(made[-1].pointer, 21) == 42
                del made
            except MemoryError:
                failed_in = len(live) + 1
            live.append(guest.exports.objects_live())
        seconds = time.perf_counter() - start
        collect()
        run = CycleRun(live, failed_in, guest.memory.size // _PAGE, guest.exports.objects_live(), seconds)
    gc.collect()
    return run


def plot(result: CyclesResult, path: Path) -> None:
    """Draw both runs into a PNG file, with matplotlib."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    without, with_ = result.without_collection, result.with_collection
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for name, run, colour, line in (
            ("without collection", without, COLOURS[1], "o-"),
            ("with collection", with_, COLOURS[0], "-"),
        ):
            rounds = range(1, len(run.live) + 1)
            axes.plot(rounds, run.live, line, color=colour, markersize=4, label=f"{name}: {run}")
            if run.failed_in:
                axes.plot(run.failed_in, run.live[-1], "X", color=colour, markersize=11)
        axes.legend()
        axes.set(
            xlim=(0, result.rounds + 1),
            ylim=(0, max(without.live) * 1.15),
            xlabel=f"round, of {result.objects:,} new objects each",
            ylabel="live guest objects",
            title=f"Callbacks that capture their own wrapper, in {without.pages} pages of memory",
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        figure.savefig(path)


@click.command("demo cycles")
@engine_option
@click.option("--rounds", type=click.IntRange(1), default=100, show_default=True, help="How many rounds.")
@click.option("--objects", type=click.IntRange(1), default=1000, show_default=True,
              help="Objects in each round.")  # fmt: skip
@click.option("--png", type=FILE, help="Draw the plot into this file too.")
@json_option
def cycles_command(engine: str | None, rounds: int, objects: int, png: Path | None, as_json: bool) -> int:
    """Collect cycles that pass through a guest's memory, beside the same without collection.

    The guest has ten pages of memory. In each round objects are made in it whose callbacks capture their own
    wrappers, and dropped. The exit code is 1 if the memory was full although cycles were collected.

    \b
    Examples:
        hiwire demo cycles
        hiwire demo cycles --engine wasmtime --rounds 20
        hiwire demo cycles --png cycles.png
    """
    if png is not None:
        need_matplotlib()
    result = run_cycles(engine, rounds, objects)
    if as_json:
        print_json({"ok": result.ok, **asdict(result)})
    else:
        _show(result)
    if png is not None:
        plot(result, png)
    return OK if result.ok else FAILED


def _show(result: CyclesResult) -> None:
    """Live objects round by round, both runs in the same scale."""
    screen = console()
    screen.print(
        f"{result.rounds} rounds of {result.objects:,} objects, each with a callback that captures its own"
        f" wrapper; engine {result.engine}",
        soft_wrap=True,
    )
    top = max(*result.without_collection.live, *result.with_collection.live, 1)
    for title, run, style in (
        ("without collection (no layout)", result.without_collection, "yellow"),
        ("with collection", result.with_collection, "blue"),
    ):
        facts = f"{run}; {run.left:,} left at the end, {run.pages} pages, {run.seconds:.2f} s"
        screen.print(f"\n[bold]{title}[/]: {facts}", soft_wrap=True)
        for label, line in _lines(run, top, result.rounds):
            screen.print(f"{label:>8} ┤[{style}]{line}[/]", soft_wrap=True)
        screen.print(" " * 9 + "└" + "─" * min(result.rounds, _PLOT_WIDTH) + " rounds", soft_wrap=True)
    if not result.ok:
        screen.print("[bold red]WRONG[/]: with collection, memory must suffice and nothing be left")


def _lines(run: CycleRun, top: int, rounds: int) -> Iterator[tuple[str, str]]:
    """Columns of blocks, from the top line down; an x above the round that found no memory."""
    width = min(rounds, _PLOT_WIDTH)
    columns = [0] * width
    for number, live in enumerate(run.live):
        at = number * width // rounds
        columns[at] = max(columns[at], live)
    failed = (run.failed_in - 1) * width // rounds if run.failed_in else -1
    for line in range(_PLOT_HEIGHT - 1, -1, -1):
        filled = [round(live / top * _PLOT_HEIGHT * 8) - line * 8 for live in columns]
        blocks = [_BLOCKS[min(max(eighths, 0), 8)] for eighths in filled]
        if line == _PLOT_HEIGHT - 1 and failed >= 0 and failed + 1 < width:
            blocks[failed + 1] = "x"
        yield (f"{top:,}" if line == _PLOT_HEIGHT - 1 else "", "".join(blocks).rstrip())
