"""What a measurement is: two sides in turn, and a row that says what came out."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hiwire_py import engines
from hiwire_py.compare.measure import Statistic
from hiwire_py.toolchain import find_compiler

RUNS = 15
TARGET = 0.025  # seconds that one run should take
NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6}
ROOT = Path(__file__).resolve().parent.parent.parent

Operation = Callable[[int], object]
"""Does something as often as its argument says."""


@dataclass
class Row:
    """A line of the result.

    Attributes:
        ratio: the median of the ratios of runs that were next to each other; None where nothing is compared.
        ours, other: the two sides, in ``unit`` an operation; None where nothing was measured.
        goal: what the first numbers should be at most; "" where the row has none.
        note: why nothing was measured, or what else is to be known.
        runs: the values that ``ours`` and ``other`` are of, in the order in which they were measured.
    """

    name: str
    goal: str = ""
    ratio: float | None = None
    ours: Statistic | None = None
    other: Statistic | None = None
    unit: str = "ns"
    note: str = ""
    runs: list[list[float]] = field(default_factory=list)

    def __str__(self) -> str:
        if self.ours is None:
            return f"     -   {self.name}: {self.note}"
        ratio = f"{self.ratio:8.3f}" if self.ratio is not None else "        "
        against = f" / {shown(self.other)}" if self.other is not None else ""
        goal = f", goal {self.goal}" if self.goal else ""
        note = f"; {self.note}" if self.note else ""
        return f"{ratio}   {self.name}: {shown(self.ours)}{against} {self.unit}{goal}{note}"


def shown(side: Statistic) -> str:
    """The median, and between which values the runs are."""
    return f"{_number(side.median)} ({_number(side.low)}..{_number(side.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def of_pairs(name: str, goal: str, pairs: list[tuple[float, float]], unit: str = "ns") -> Row:
    """The row of runs of both sides, each pair of runs made next to each other."""
    ours, other = ([float(f"{pair[side]:.5g}") for pair in pairs] for side in (0, 1))
    ratio = statistics.median(a / b for a, b in pairs)
    return Row(name, goal, ratio, Statistic.of(ours), Statistic.of(other), unit, runs=[ours, other])


def compare(name: str, goal: str, ours: Operation, other: Operation, many: int = 1, unit: str = "ns") -> Row:
    """Measure both sides in turn; ``many`` operations are done where they are told one."""
    mine, theirs = per_operation(ours, many), per_operation(other, many)
    scale = NANOSECONDS[unit]
    return of_pairs(name, goal, [(mine() / scale, theirs() / scale) for _ in range(RUNS)], unit)


def per_operation(operation: Operation, many: int = 1) -> Callable[[], float]:
    """A function that measures the nanoseconds of one operation, of so many that they take long enough."""
    count = 1
    while True:
        took = seconds(partial(operation, count))
        if took > TARGET / 4 or count >= 1 << 24:
            break
        count *= 4
    count = max(1, int(count * TARGET / took))
    return lambda: seconds(partial(operation, count)) / (count * many) * 1e9


def seconds(work: Callable[[], object]) -> float:
    """Of processor time: what other processes take of the machine is not counted."""
    start = time.process_time()
    work()
    return time.process_time() - start


def repeat(function: Callable[..., object], *args: object) -> Operation:
    """Call ``function`` a number of times."""

    def operation(count: int) -> None:
        for _ in range(count):
            function(*args)

    return operation


def available() -> list[str]:
    """The names of the engines that are here."""
    return [info.name for info in engines() if info.available]


def wat(text: str) -> bytes:
    import wasmtime

    return bytes(wasmtime.wat2wasm(text))


def compile_c(sources: list[Path], *options: str) -> bytes:
    """A module of C sources, which may use hiwire's header."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "out.wasm")
        find_compiler().compile(
            sources,
            output,
            options=[f"@{ROOT / 'c' / 'wasm-cflags.txt'}", f"-I{ROOT / 'c' / 'hiwire'}", *options],
            link_options=["--allow-undefined"],
        )
        return output.read_bytes()
