"""What a guest may use up: limits that an engine sets, and the clock behind deadlines."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from time import monotonic
from typing import Protocol

from ..checks import shown
from ..real_threads import allocate_lock, get_ident, sleep, start_new_thread

__all__ = ["MEMORY_DEFAULT", "TABLE_DEFAULT", "TICK", "Clocked", "GuestLimits", "Ticker", "ticker"]

TICK = 0.01
"""Seconds: how exact deadlines are."""

_LONGEST = 1 << 40  # seconds; in ticks it must fit what engines take

# A guest is stopped between instructions, and one instruction can fill, copy or grow a whole memory or table.
# These sizes keep the longest one well below a second (it took 0.8 s for a memory that was never touched, on
# a machine with three times as much to do as it has processors).
MEMORY_DEFAULT = 256 << 20
"""Bytes of each memory where there is a deadline or fuel, and no ``memory_limit``."""
TABLE_DEFAULT = 1 << 22
"""Elements of each table where there is a deadline or fuel, and no ``table_limit``."""


@dataclass(frozen=True)
class GuestLimits:
    """GuestLimits of one space; None: there is none.

    Attributes:
        memory_limit: bytes of each memory.
        table_limit: elements of each table.
        deadline: seconds of each call from outside, host functions included.
        fuel: what each call from outside may burn: about one for each instruction.
        memory_default: what ``memory_limit`` is where it is not given, but a deadline or fuel is.
        names: the limits that were given. Defaults promise nothing: an engine may have other means.
    """

    memory_limit: int | None = None
    table_limit: int | None = None
    deadline: float | None = None
    fuel: int | None = None
    memory_default: int = MEMORY_DEFAULT
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        given = (f.name for f in fields(self)[:4] if getattr(self, f.name) is not None)
        object.__setattr__(self, "names", tuple(given))
        for name in ("memory_limit", "table_limit", "fuel"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, not {type(value).__name__}")
            if not 0 <= value < 1 << 63:
                raise ValueError(f"{name} must be 0 or more, and below 2**63: {shown(value)}")
        if self.deadline is not None:
            if isinstance(self.deadline, bool) or not isinstance(self.deadline, (int, float)):
                raise TypeError(f"deadline must be a number of seconds, not {type(self.deadline).__name__}")
            if not 0 < self.deadline <= _LONGEST:
                seconds = shown(self.deadline) if isinstance(self.deadline, int) else str(self.deadline)
                raise ValueError(
                    f"deadline must be more than 0 seconds, and finite, at most 2**40 of them: {seconds}"
                )
        if self.timed:
            defaults = {"memory_limit": self.memory_default, "table_limit": TABLE_DEFAULT}
            for name in defaults.keys() - self.names:
                object.__setattr__(self, name, defaults[name])

    @property
    def timed(self) -> bool:
        """Whether the engine must know when a call from outside begins and ends."""
        return self.deadline is not None or self.fuel is not None

    def describe(self, name: str) -> str:
        """A limit and its value, for messages; of a default also where it comes from."""
        said = f"{name} is {getattr(self, name)}"
        if name in self.names:
            return said
        return f"{said}, as for all with a deadline or fuel; give {name} to have another"


class Clocked(Protocol):
    """An engine whose epoch is the clock of all its stores."""

    def increment_epoch(self) -> None:
        """Advance it by one. May be called on any thread."""


class Ticker:
    """Counts time for engines while they run calls that have a deadline, on a daemon thread that starts when
    needed; ``begun``: whether it has."""

    def __init__(self) -> None:
        # Number of a call's store -> its engine, and the thread that makes the call. Stores that share an
        # engine share its epoch, so that advances once a tick, however many of them run calls.
        self._running: dict[int, tuple[Clocked, int]] = {}
        # Locks and a thread as the system has them: a greenlet would not run while a guest does.
        self._lock = allocate_lock()
        # The thread takes it, again and again, and waits where nobody gave it back.
        self._wake = allocate_lock()
        self._wake.acquire()
        self._awake = self.begun = False

    def start(self, key: int, engine: Clocked) -> None:
        """A call of the store ``key`` has begun: its engine's epoch advances every `TICK` seconds, on another
        thread, until `stop`."""
        self._running[key] = engine, get_ident()
        if not self._awake:
            self._begin()

    def stop(self, key: int) -> None:
        self._running.pop(key, None)

    def go_on(self, before: Ticker) -> None:
        """After a fork: count for those calls of the other one that this thread is in."""
        me = get_ident()
        for key, (engine, owner) in before._running.items():
            if owner == me:
                self.start(key, engine)

    def _begin(self) -> None:
        with self._lock:
            if not self.begun:
                start_new_thread(self._run, ())
                self.begun = True
            if self._wake.locked():
                self._wake.release()
            self._awake = True

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            done, began = 0, monotonic()
            while self._running:
                sleep(TICK)
                due = int((monotonic() - began) / TICK)
                engines = {id(engine): engine for engine, _owner in list(self._running.values())}
                for _ in range(due - done):  # sleeping takes longer than it should where the machine is busy
                    for engine in engines.values():
                        engine.increment_epoch()
                done = due
            self._awake = False
            if self._running:  # begun just before
                self._begin()


ticker = Ticker()


def _after_fork() -> None:
    global ticker
    before, ticker = ticker, Ticker()  # threads do not come along
    ticker.go_on(before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
