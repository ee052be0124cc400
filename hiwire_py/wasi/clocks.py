"""The time that a guest sees, and how it waits."""

from __future__ import annotations

import time

from ..checks import check_integer

__all__ = ["Clock", "ManualClock"]

_LONGEST = 24 * 3600  # seconds; time.sleep refuses what is many years


class Clock:
    """The system's clocks; the monotonic one starts at 0 here, since that of the system tells how long it
    runs. A subclass may tell another time. All times are nanoseconds."""

    resolution: int = 1000
    """The shortest time between two different times: a microsecond."""

    def __init__(self) -> None:
        self._start = time.monotonic_ns()

    def wall(self) -> int:
        """Since the beginning of 1970, in UTC; never below 0."""
        return time.time_ns()

    def monotonic(self) -> int:
        """Since some time; it never goes back."""
        return time.monotonic_ns() - self._start

    def sleep(self, duration: int) -> None:
        """Wait for so long, or shorter: whoever waits looks at the time afterwards, and may wait again."""
        time.sleep(min(duration / 1e9, _LONGEST))


class ManualClock(Clock):
    """A clock that stands still, so that runs can be repeated. Who waits for it advances it, and so does
    `sleep` from outside.

    Args:
        wall: the time of day at the beginning, in nanoseconds since 1970.
    """

    resolution = 1

    def __init__(self, wall: int = 0) -> None:
        super().__init__()
        self._wall = check_integer(wall, "wall")
        if self._wall < 0:
            raise ValueError(f"wall must be 0 or more, not {wall}")
        self._now = 0

    def wall(self) -> int:
        return self._wall + self._now

    def monotonic(self) -> int:
        return self._now

    def sleep(self, duration: int) -> None:
        self._now += max(duration, 0)
