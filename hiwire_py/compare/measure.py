"""Numbers from a clock: what one run is, and what is left of several.

A *run* of a measurement is one slice of time in which its operation is repeated; its value is the time
divided by the number of operations. Runs of one measurement are far apart, with all others between them, so
that the range over the runs shows how much the machine's speed changes over minutes, and not only from one
moment to the next.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Settings", "Statistic", "Times", "clock", "number", "quiet", "repeat"]

clock = time.perf_counter_ns

_QUICK_SIZES = (100, 1_000, 10_000, 100_000)
_SIZES = (*_QUICK_SIZES, 1_000_000, 10_000_000)


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        rounds: runs of each measurement.
        slice: seconds that one group of operations is repeated in a run, at least once.
        sizes: of the growth curve, in handles, ascending.
        python_batch, guest_batch: operations at a time, at most.
        live: handles in the table whose fragmentation is measured, at most.
        growth_seconds: no step of the growth curve is begun that would take longer.
        fill: handles up to which a table is filled to find its end.
        fill_seconds: and how long, at most.
    """

    rounds: int = 7
    slice: float = 0.05
    sizes: tuple[int, ...] = _SIZES
    python_batch: int = 1000
    guest_batch: int = 10_000
    live: int = 100_000
    growth_seconds: float = 3.0
    fill: int = 1 << 26
    fill_seconds: float = 8.0

    @classmethod
    def quick(cls) -> Settings:
        """Less of everything: wider ranges, the same measurements."""
        return cls(3, 0.005, _QUICK_SIZES, 200, 4000, 10_000, 0.5, 200_000, 0.5)


@dataclass(frozen=True)
class Statistic:
    """The median of some runs, the least and the greatest, and how many they were."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: list[float]) -> Statistic:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def overlaps(self, other: Statistic, margin: float = 0.0) -> bool:
        """Whether the two ranges have a value in common, also if each is made wider on both sides by
        ``margin`` times its median."""
        room = margin * (self.median + other.median)
        return self.low <= other.high + room and other.low <= self.high + room


def number(value: float) -> str:
    """Three digits, and no more."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


Times = defaultdict[str, list[float]]
"""The runs of many measurements by name: nanoseconds for each operation."""

Cycle = Callable[[int], Iterator[tuple[str, int]]]
"""Does one batch of some operations, as many as its argument says, and gives the name and the nanoseconds of
each kind."""


def repeat(cycle: Cycle, most: int, seconds: float, times: Times, least: int = 20) -> None:
    """One run of the measurements that a cycle makes.

    A small batch comes first and does not count: it warms the caches up, and says how large a batch fits.

    Args:
        cycle: see `Cycle`.
        most: the largest batch.
        seconds: how long to repeat; one batch is done in any case.
        times: where the run goes.
        least: the smallest batch.
    """
    warm = min(least, most)
    start = clock()
    for _ in cycle(warm):
        pass
    each = max(clock() - start, 1) / warm
    batch = max(warm, min(most, int(seconds * 1e9 / each)))
    totals: dict[str, int] = {}
    done = 0
    end = clock() + int(seconds * 1e9)
    while done == 0 or clock() < end:
        for name, spent in cycle(batch):
            totals[name] = totals.get(name, 0) + spent
        done += batch
    for name, total in totals.items():
        times[name].append(total / done)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Python's cycle collector, which would otherwise run in whichever slice makes it full."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
