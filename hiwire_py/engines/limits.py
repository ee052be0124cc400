"""What a guest may use up: limits that an engine sets, and the clock behind deadlines."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from time import monotonic

from ..real_threads import allocate_lock, get_ident, sleep, start_new_thread

from ..checks import shown

__all__ = ["TICK", "GuestLimits", "Ticker", "ticker"]

TICK = 0.01
"""Seconds: how exact deadlines are."""

_LONGEST = 1 << 40  # seconds; in ticks it must fit what engines take


@dataclass(frozen=True)
class GuestLimits:
    """GuestLimits of one space; None: there is none.

    Attributes:
        memory_limit: bytes of each memory.
        table_limit: elements of each table.
        deadline: seconds of each call from outside, host functions included.
        fuel: what each call from outside may burn: about one for each instruction.
    """

    memory_limit: int | None = None
    table_limit: int | None = None
    deadline: float | None = None
    fuel: int | None = None

    def __post_init__(self) -> None:
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
                given = shown(self.deadline) if isinstance(self.deadline, int) else str(self.deadline)
                raise ValueError(
                    f"deadline must be more than 0 seconds, and finite, at most 2**40 of them: {given}"
                )

    @property
    def names(self) -> list[str]:
        """The limits that are set."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]


class Ticker:
    """Counts time for engines while they run calls that have a deadline, on a daemon thread that starts when
    needed."""

    def __init__(self) -> None:
        self._running: dict[
            int, Callable[[], None]
        ] = {}  # number of a call's store -> what to call at each tick
        self._owners: dict[int, int] = {}  # the same number -> the thread that makes the call
        # Locks and a thread as the system has them: a greenlet would not run while a guest does.
        self._lock = allocate_lock()
        self._wake = allocate_lock()  # the thread takes it, again and again, and waits where nobody gave it back
        self._wake.acquire()
        self._awake = self._begun = False

    def start(self, key: int, tick: Callable[[], None]) -> None:
        """A call has begun: ``tick`` is called every `TICK` seconds, on another thread, until `stop`."""
        self._owners[key] = get_ident()
        self._running[key] = tick
        if not self._awake:
            self._begin()

    def stop(self, key: int) -> None:
        self._running.pop(key, None)
        self._owners.pop(key, None)

    @property
    def alive(self) -> bool:
        """Whether the thread has been started."""
        return self._begun

    def go_on(self, before: Ticker) -> None:
        """After a fork: count for those calls of the other one that this thread is in."""
        me = get_ident()
        for key, tick in before._running.items():
            if before._owners.get(key) == me:
                self.start(key, tick)

    def _begin(self) -> None:
        with self._lock:
            if not self._begun:
                start_new_thread(self._run, ())
                self._begun = True
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
                ticks = list(self._running.values())
                for _ in range(due - done):  # sleeping takes longer than it should where the machine is busy
                    for tick in ticks:
                        tick()
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
