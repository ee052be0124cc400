"""One variant on one engine: what is done to it while the clock runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..engines import get_engine
from ..errors import HiwireError, TableFullError, UnsupportedModuleError
from ..guest import Guest
from ..hiwire import Hiwire
from ..interface import A_MEMORY, check_exports
from ..memory import GuestMemory
from ..passes import lower
from ..sources import read_wasm, shipped
from .measure import Cycle, Settings, Times, clock, quiet, repeat

__all__ = ["GUEST_OPERATIONS", "PYTHON_OPERATIONS", "STARTUP", "Subject"]

PYTHON_OPERATIONS = (
    "new",
    "get",
    "incref",
    "decref",
    "pop",
    "intern",
    "new_deduplicate_new",
    "new_deduplicate_known",
)
GUEST_OPERATIONS = ("loop", "host", *PYTHON_OPERATIONS)
"""``loop`` is a turn of the loop alone, ``host`` one call of a host function with an object."""

STARTUP = ("load", "lower", "compile", "instantiate")

_PAGE = 65536
_SEED = 2463534242
_INTERN_LOOPS = 10


class _Object:
    """What the handles stand for: plain objects, told apart by identity."""


@dataclass
class Subject:
    """The measurements of one variant on one engine, as far as they have come.

    Attributes:
        path: of the module.
        engine: the name of the engine.
        most_refs: how many handles the variant has room for, if that is known.
        times: runs by name: ``startup.load``, ``python.new``, ``guest.new``, ``growth.1000`` and so on.
        growth: size -> pages of the table's memory when it was reached.
        pages_before: of the empty table's memory.
        growth_stopped: why the growth curve ended before its last size; "" if it did not.
        fragmentation: how many handles were replaced, and the pages before and after.
        capacity: what `fill` found.
        problems: what could not be measured, and why.
    """

    path: str
    engine: str
    most_refs: int | None
    settings: Settings
    times: Times = field(default_factory=Times)
    growth: dict[int, int] = field(default_factory=dict)
    pages_before: int = 0
    growth_stopped: str = ""
    fragmentation: dict[str, int] = field(default_factory=dict)
    capacity: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    _table: Hiwire | None = None
    _guest_table: Hiwire | None = None
    _guest: Guest | None = None

    def open(self) -> None:
        """Make the tables that the operations work on, one for Python and one for the guest.

        Raises:
            HiwireError: it cannot run here.
        """
        self._wasm = read_wasm(self.path)[0]
        self._table = Hiwire(self._wasm, engine=self.engine)
        self._objects = [_Object() for _ in range(self.settings.python_batch)]
        try:
            # A table of its own: what the bench guest holds would make the calls from Python slower where an
            # engine looks at all live references after each call.
            self._guest_table = Hiwire(self._wasm, engine=self.engine)
            guest = self._bench(self._guest_table)
            count = self.settings.guest_batch
            if self.most_refs is not None:
                count = min(count, self.most_refs * 3 // 4)
            self._held = [_Object() for _ in range(count)]
            put = guest.exports.bench_object
            if not guest.exports.bench_reserve(count) or not all(map(put, self._held)):
                raise HiwireError("the bench guest has no room")
            self._guest = guest
        except (HiwireError, OSError) as error:
            self.problems["guest"] = str(error)

    def close(self) -> None:
        """Let go of the table."""
        self._guest = None
        for table in (self._table, self._guest_table):
            if table is not None:
                table.close()
        self._table = self._guest_table = None

    # ---- one run of each group

    def start_up(self) -> None:
        """From a file to a table, step by step; each is done anew, as in a fresh process."""
        engine = get_engine(self.engine)
        start = clock()
        wasm = read_wasm(self.path)[0]
        self.times.add("startup.load", clock() - start)
        start = clock()
        wasm = lower(wasm)
        self.times.add("startup.lower", clock() - start)
        start = clock()
        try:
            engine.compile(wasm)
        except UnsupportedModuleError:
            # An engine that does its own lowering takes the original only; its time then has lowering in it.
            start = clock()
            engine.compile(self._wasm)
        self.times.add("startup.compile", clock() - start)
        start = clock()
        table = Hiwire(self._wasm, engine=self.engine)  # compiled before, and kept by the engine
        self.times.add("startup.instantiate", clock() - start)
        table.close()

    def python(self) -> None:
        """The operations as Python code calls them."""
        seconds = self.settings.slice
        with quiet():
            repeat(self._python_cycle, len(self._objects), 3 * seconds, self.times)
            repeat(self._python_deduplicate, len(self._objects), 2 * seconds, self.times)
            self._intern(from_guest=False)

    def guest(self) -> None:
        """The operations as a guest calls them, in a loop of its own."""
        if self._guest is None:
            return
        count, seconds = len(self._held), self.settings.slice
        with quiet():
            repeat(self._guest_cycle, count, 3 * seconds, self.times, least=count)
            self._intern(from_guest=True)
            repeat(self._guest_host, count, seconds, self.times)
            repeat(self._guest_deduplicate, count, 2 * seconds, self.times)

    def grow(self) -> None:
        """Fills a new table, and looks at the clock at each size on the way."""
        if self._guest is None:
            return
        with Hiwire(self._wasm, engine=self.engine) as table, quiet():
            guest, thing, made, spent = self._bench(table), _Object(), 0, 0
            memory, fill = _memory(table), guest.exports.bench_fill  # bound before the clock runs
            self.pages_before = memory.size // _PAGE
            for size in self.settings.sizes:
                expected = spent / made * (size - made) / 1e9 if made else 0.0
                if expected > self.settings.growth_seconds or not guest.exports.bench_reserve(size):
                    self.growth_stopped = f"{size:,} refs would take longer than a measurement may"
                    break
                start = clock()
                reached = fill(thing, made, size)
                spent += clock() - start
                if reached > made:
                    self.times.add(f"growth.{reached}", spent / reached)
                    self.growth[reached] = memory.size // _PAGE
                if reached < size:
                    self.growth_stopped = f"full at {reached:,} refs"
                    break
                made = size

    def fragment(self) -> None:
        """Replaces handles in order and at random, then releases all at random and fills the table again."""
        if self._guest is None:
            return
        live = self.settings.live
        if self.most_refs is not None:
            live = min(live, self.most_refs * 3 // 4)
        with Hiwire(self._wasm, engine=self.engine) as table, quiet():
            exports, thing = self._bench(table).exports, _Object()
            if not exports.bench_reserve(live) or exports.bench_fill(thing, 0, live) < live:
                self.problems["fragmentation"] = f"the table has no room for {live:,} refs"
                return
            before = _memory(table).size // _PAGE
            replace, fill = exports.bench_replace, exports.bench_fill
            replace(thing, live, live // 10, 0)
            for name, seed in (("in_order", 0), ("at_random", _SEED)):
                start = clock()
                replace(thing, live, live, seed)
                self.times.add(f"fragmentation.{name}", (clock() - start) / live)
            exports.bench_scatter(live, _SEED)
            start = clock()
            fill(thing, 0, live)
            self.times.add("fragmentation.refill", (clock() - start) / live)
            after = _memory(table).size // _PAGE
            self.fragmentation = {"refs": live, "pages_before": before, "pages_after": after}

    def fill(self) -> None:
        """Fills a table until it is full, or as far as the settings allow, and sees what happens there."""
        if self._guest is None:
            return
        with Hiwire(self.path, engine=self.engine) as table, quiet():
            exports, thing, made = self._bench(table).exports, _Object(), 0
            exports.bench_reserve(1)
            step, limit = 1 << 18, self.settings.fill
            end = clock() + int(self.settings.fill_seconds * 1e9)
            full = False
            while not full and made < limit and clock() < end:
                wanted = min(step, limit - made)
                got = exports.bench_exhaust(thing, wanted)
                full = got < wanted
                made += got
            self.capacity = {
                "refs": made,
                "full": full,
                "pages": _memory(table).size // _PAGE,
                "then": _at_the_end(table, thing)
                if full
                else f"not full: the measurement ended at {made:,} refs",
            }

    # ---- cycles: see measure.Cycle

    def _python_cycle(self, count: int) -> Iterator[tuple[str, int]]:
        assert self._table is not None
        table, objects = self._table, self._objects[:count]
        start = clock()
        refs = list(map(table.new, objects))
        yield "python.new", clock() - start
        for name in ("get", "incref", "decref", "pop"):
            operation = getattr(table, name)
            start = clock()
            deque(map(operation, refs), maxlen=0)
            yield f"python.{name}", clock() - start

    def _python_deduplicate(self, count: int) -> Iterator[tuple[str, int]]:
        assert self._table is not None
        table, objects = self._table, self._objects[:count]
        start = clock()
        refs = list(map(table.new_deduplicate, objects))
        yield "python.new_deduplicate_new", clock() - start
        start = clock()
        deque(map(table.new_deduplicate, objects), maxlen=0)
        yield "python.new_deduplicate_known", clock() - start
        for _ in range(2):
            deque(map(table.decref, refs), maxlen=0)

    def _guest_cycle(self, count: int) -> Iterator[tuple[str, int]]:
        for name in ("loop", "new", "get", "incref", "decref", "pop"):
            yield f"guest.{name}", self._call(f"bench_{name}", count)

    def _guest_host(self, count: int) -> Iterator[tuple[str, int]]:
        yield "guest.host", self._call("bench_host", count)

    def _guest_deduplicate(self, count: int) -> Iterator[tuple[str, int]]:
        yield "guest.new_deduplicate_new", self._call("bench_new_deduplicate", count)
        yield "guest.new_deduplicate_known", self._call("bench_new_deduplicate", count)
        for _ in range(2):
            self._call("bench_decref", count)

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

    def _intern(self, from_guest: bool) -> None:
        """Interned objects stay for good, so a run has a table of its own, which it then throws away."""
        with Hiwire(self._wasm, engine=self.engine) as table:
            objects = self._objects
            if not from_guest:
                repeat(_interning(table, objects), len(objects), self.settings.slice / 4, self.times)
                return
            exports, count = self._bench(table).exports, len(objects)
            exports.bench_reserve(count)
            for thing in objects:
                exports.bench_object(thing)
            function = exports.bench_intern
            function(count)
            start = clock()
            for _ in range(_INTERN_LOOPS):
                function(count)
            self.times.add("guest.intern", (clock() - start) / (_INTERN_LOOPS * count))

    def _bench(self, table: Hiwire) -> Guest:
        return Guest(shipped("guest-bench"), {"env": {"host": lambda thing: 0}}, hiwire=table)


def _interning(table: Hiwire, objects: list[_Object]) -> Cycle:
    def cycle(count: int) -> Iterator[tuple[str, int]]:
        start = clock()
        deque(map(table.intern, objects[:count]), maxlen=0)
        yield "python.intern", clock() - start

    return cycle


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
    ref = next(iter(table))
    table.decref(ref)
    again = table.new(thing)
    kept = table.get(again) is thing
    return f"hiwire_new gives NULL; in Python {said}; " + (
        "after one decref the next new succeeds" if kept else "and the table is DAMAGED"
    )
