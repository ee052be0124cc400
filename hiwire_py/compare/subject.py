"""One variant on one engine: what is done to it while the clock runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from ..engines import get_engine
from ..errors import HiwireError, TableFullError
from ..guest import Guest
from ..hiwire import Hiwire
from ..interface import A_MEMORY, check_exports
from ..memory import GuestMemory
from ..passes.runner import run
from ..sources import read_wasm, shipped
from ..wasm.module import Module
from .measure import Settings, Statistic, Times, clock, quiet, repeat

__all__ = ["GUEST_OPERATIONS", "PAGE", "PYTHON_OPERATIONS", "STARTUP", "Subject"]

PYTHON_OPERATIONS = (
    *("new", "get", "incref", "decref", "pop", "intern"),
    *("new_deduplicate_new", "new_deduplicate_known"),
)
GUEST_OPERATIONS = ("loop", "host", *PYTHON_OPERATIONS)
"""``loop`` is a turn of the loop alone, ``host`` one call of a host function with an object."""

STARTUP = ("load", "lower", "compile", "instantiate")

PAGE = 65536
_SEED = 2463534242
_INTERN_LOOPS = 10
_EXHAUST_STEP = 1 << 18

_T = TypeVar("_T")


class Subject:
    """The measurements of one variant on one engine.

    Each method that measures does one run of a group. What it finds goes into the row, times when `close` is
    called.

    Args:
        row: of the report (docs/compare.schema.json), to be filled in.
        path: of the module.
        most_refs: how many handles the variant has room for, if that is known.
        settings: how much is measured.
    """

    def __init__(self, row: dict[str, Any], path: str, most_refs: int | None, settings: Settings) -> None:
        self.row = row
        self._times = Times(list)
        self._path = path
        self._settings = settings
        self._most_refs = most_refs
        self._guest: Guest | None = None
        self._opened = ExitStack()

    @property
    def has_guest(self) -> bool:
        """Whether a guest could be opened; without one, only Python's calls and the start are measured."""
        return self._guest is not None

    def open(self) -> None:
        """Make the tables that the operations work on, one for Python and one for the guest.

        Raises:
            HiwireError: it cannot run here.
        """
        self._wasm = read_wasm(self._path)[0]
        self._table = self._opened.enter_context(self._new_table())
        self._objects = [object() for _ in range(self._settings.python_batch)]
        try:
            # A table of its own: what the bench guest holds would make the calls from Python slower where an
            # engine looks at all live references after each call.
            guest = self._bench(self._opened.enter_context(self._new_table()))
            self._held = [object() for _ in range(self._fitting(self._settings.guest_batch))]
            put = guest.exports.bench_object
            if not guest.exports.bench_reserve(len(self._held)) or not all(map(put, self._held)):
                raise HiwireError("the bench guest has no room")
            self._guest = guest
        except (HiwireError, OSError) as error:
            self.row["problems"]["guest"] = str(error)

    def close(self) -> None:
        """Let go of the tables, and write the times into the row."""
        self._guest = None
        self._opened.close()
        row = self.row
        row["statistics"] = {name: asdict(Statistic.of(runs)) for name, runs in self._times.items()}
        if row["status"] == "measured" and not row["statistics"]:
            row.update(status="impossible", reason="interrupted before its first measurement")

    # ---- one run of each group

    def start_up(self) -> None:
        """From a file to a table, step by step; each is done anew, as in a fresh process."""
        engine = get_engine(self.row["engine"])
        wasm, _ = self._timed("startup.load", 1, read_wasm, self._path)
        # The module was opened before, so it needs no validation.
        code, _ = self._timed(
            "startup.lower", 1, lambda: run(Module.parse(wasm), engine.requires, lambda wasm: None)
        )
        self._timed("startup.compile", 1, engine.compile, code)
        # Compiled before, and kept by the engine.
        self._timed("startup.instantiate", 1, self._new_table).close()

    def python(self) -> None:
        """The operations as Python code calls them."""
        count, seconds = len(self._objects), self._settings.slice
        with quiet():
            repeat(self._python_cycle, count, 5 * seconds, self._times)
            # Interned objects stay for good, so a run has a table of its own, which it then throws away.
            with self._new_table() as table:
                repeat(partial(self._python_intern, table), count, seconds / 4, self._times)

    def guest(self) -> None:
        """The operations as a guest calls them, in a loop of its own."""
        count, seconds = len(self._held), self._settings.slice
        with quiet():
            cycle = partial(self._guest_cycle, ("loop", "new", "get", "incref", "decref", "pop"))
            repeat(cycle, count, 3 * seconds, self._times, least=count)
            self._guest_intern()
            repeat(partial(self._guest_cycle, ["host"]), count, seconds, self._times)
            repeat(self._guest_deduplicate, count, 2 * seconds, self._times)

    def grow(self) -> None:
        """Fills a new table, and looks at the clock at each size on the way."""
        row, made, spent = self.row, 0, 0
        with self._new_table() as table, quiet():
            guest, thing, memory = self._bench(table), object(), _memory(table)
            fill = guest.exports.bench_fill  # bound before the clock runs
            empty = memory.size // PAGE
            for size in self._settings.sizes:
                expected = spent / made * (size - made) / 1e9 if made else 0.0
                if expected > self._settings.growth_seconds or not guest.exports.bench_reserve(size):
                    row["growth_stopped"] = f"{size:,} refs would take longer than a measurement may"
                    break
                start = clock()
                reached = fill(thing, made, size)
                spent += clock() - start
                if reached > made:
                    self._times[f"growth.{reached}"].append(spent / reached)
                    pages = memory.size // PAGE
                    row["pages"] |= {"before": empty, str(reached): pages}
                    row["bytes_per_ref"][str(reached)] = pages * PAGE / reached
                if reached < size:
                    row["growth_stopped"] = f"full at {reached:,} refs"
                    break
                made = size

    def fragment(self) -> None:
        """Replaces handles in order and at random, then releases all at random and fills the table again."""
        live = self._fitting(self._settings.live)
        with self._new_table() as table, quiet():
            exports, thing, memory = self._bench(table).exports, object(), _memory(table)
            replace, fill = exports.bench_replace, exports.bench_fill
            if not exports.bench_reserve(live) or fill(thing, 0, live) < live:
                self.row["problems"]["fragmentation"] = f"the table has no room for {live:,} refs"
                return
            before = memory.size // PAGE
            replace(thing, live, live // 10, 0)
            self._timed("fragmentation.in_order", live, replace, thing, live, live, 0)
            self._timed("fragmentation.at_random", live, replace, thing, live, live, _SEED)
            exports.bench_scatter(live, _SEED)
            self._timed("fragmentation.refill", live, fill, thing, 0, live)
            pages = {"pages_before": before, "pages_after": memory.size // PAGE}
            self.row["fragmentation"] = {"refs": live, **pages}

    def fill(self) -> None:
        """Fills a table until it is full, or as far as the settings allow, and sees what happens there."""
        with self._new_table() as table, quiet():
            exports, thing, made = self._bench(table).exports, object(), 0
            exports.bench_reserve(1)
            limit, end = self._settings.fill, clock() + int(self._settings.fill_seconds * 1e9)
            full = False
            while not full and made < limit and clock() < end:
                wanted = min(_EXHAUST_STEP, limit - made)
                got = exports.bench_exhaust(thing, wanted)
                full = got < wanted
                made += got
            pages = _memory(table).size // PAGE
            then = f"not full: the measurement ended at {made:,} refs"
            if full:
                then = _at_the_end(table, thing)
            self.row["capacity"] = {"refs": made, "full": full, "pages": pages, "then": then}

    # ---- cycles: see measure.Cycle

    def _python_cycle(self, count: int) -> Iterator[tuple[str, int]]:
        objects, table = self._objects[:count], self._table
        start = clock()
        refs = list(map(table.new, objects))
        yield "python.new", clock() - start
        for name in ("get", "incref", "decref", "pop"):
            yield f"python.{name}", _each(getattr(table, name), refs)
        start = clock()
        refs = list(map(table.new_deduplicate, objects))
        yield "python.new_deduplicate_new", clock() - start
        yield "python.new_deduplicate_known", _each(table.new_deduplicate, objects)
        for _ in range(2):
            _each(table.decref, refs)

    def _python_intern(self, table: Hiwire, count: int) -> Iterator[tuple[str, int]]:
        yield "python.intern", _each(table.intern, self._objects[:count])

    def _guest_cycle(self, names: Sequence[str], count: int) -> Iterator[tuple[str, int]]:
        for name in names:
            yield f"guest.{name}", self._call(f"bench_{name}", count)

    def _guest_deduplicate(self, count: int) -> Iterator[tuple[str, int]]:
        for key in ("new", "known"):
            yield f"guest.new_deduplicate_{key}", self._call("bench_new_deduplicate", count)
        for _ in range(2):
            self._call("bench_decref", count)

    def _guest_intern(self) -> None:
        with self._new_table() as table:
            exports, count = self._bench(table).exports, len(self._objects)
            exports.bench_reserve(count)
            for thing in self._objects:
                exports.bench_object(thing)
            intern = exports.bench_intern
            intern(count)
            spent = _each(intern, [count] * _INTERN_LOOPS)
            self._times["guest.intern"].append(spent / (_INTERN_LOOPS * count))

    def _timed(self, name: str, count: int, work: Callable[..., _T], *args: Any) -> _T:
        """Does something once that is so many operations; what comes of it."""
        start = clock()
        made = work(*args)
        self._times[name].append((clock() - start) / count)
        return made

    def _call(self, name: str, count: int) -> int:
        """The nanoseconds that one function of the bench guest takes."""
        assert self._guest is not None
        function = self._guest.exports[name]
        start = clock()
        made = function(count)
        spent = clock() - start
        if made is not None and made != count and name != "bench_host":
            raise TableFullError(f"{name} made {made} of {count} handles: the table is full")
        return spent

    def _fitting(self, count: int) -> int:
        """As many handles, or as many as leave room in the table."""
        return count if self._most_refs is None else min(count, self._most_refs * 3 // 4)

    def _new_table(self) -> Hiwire:
        return Hiwire(self._wasm, engine=self.row["engine"])

    def _bench(self, table: Hiwire) -> Guest:
        return Guest(shipped("guest-bench"), {"env": {"host": lambda thing: 0}}, hiwire=table)


def _each(operation: Callable[[Any], object], arguments: Iterable[Any]) -> int:
    """The nanoseconds that an operation takes for all arguments, one after the other."""
    start = clock()
    deque(map(operation, arguments), maxlen=0)
    return clock() - start


def _memory(table: Hiwire) -> GuestMemory:
    instance = table.exports["hiwire_new"].__keep__.owner  # type: ignore[attr-defined]
    check_exports("the table", "module whose memory can be measured", instance.module, {"memory": A_MEMORY})
    return GuestMemory(instance.extern("memory"))


def _at_the_end(table: Hiwire, thing: object) -> str:
    """What one more handle leads to, and whether the table is as good as before."""
    try:
        table.new(thing)
    except TableFullError as error:
        said = f"{type(error).__name__}: {error}"
    else:
        return "one more handle fits after all"
    table.decref(next(iter(table)))
    whole = table.get(table.new(thing)) is thing
    then = "after one decref the next new succeeds" if whole else "and the table is DAMAGED"
    return f"hiwire_new gives NULL; in Python {said}; {then}"
