"""Running Python's collector in turn.

It does nothing at all while another thread runs it, and there are few moments at which it lets others run
that are not within a collection. So who only tried again and again could wait until all others are done.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from time import monotonic

from ..real_threads import get_ident, local, sleep

__all__ = ["began", "collect_python", "ended"]

_PATIENCE = 30.0  # seconds, for other threads that collect; not for ever, as their finalizers may wait for us
_BRIEF = 0.1  # seconds, for collections that nobody knows of
_PAUSE = 0.001

_line: deque[int] = deque()  # the threads that wait, and first the one whose turn it is


_collecting: int | None = None
"""The thread in which a full collection is on the way, as far as it is known."""


class _State(local):
    """Of each thread."""

    runs = 0


_state = _State()


def began() -> None:
    """A full collection has begun in this thread."""
    global _collecting
    _collecting = get_ident()
    _state.runs += 1


def ended() -> None:
    """It has ended."""
    global _collecting
    _collecting = None


def collect_python() -> None:
    """Run Python's collector once, after those who came before. Nothing to do within a collection."""
    me = get_ident()
    if _collecting == me:
        # If that is so, this does nothing. Else an interrupt came where the end should have been noted.
        gc.collect()
        return
    if me in _line.copy():
        return
    before, end = _state.runs, monotonic() + _PATIENCE
    try:
        _line.append(me)
        while _line[0] != me and monotonic() < end:
            sleep(_PAUSE)
        known = monotonic()
        while True:
            gc.collect()
            now = monotonic()
            if _state.runs != before or now > end:
                return
            if _collecting is not None:
                known = now  # it began by itself, in another thread
            elif now - known >= _BRIEF:
                return  # in this thread, with someone else's function of gc.callbacks above us
            sleep(_PAUSE)
    finally:
        if me in _line:
            _line.remove(me)


def _after_fork() -> None:
    global _collecting
    me = get_ident()  # the only thread there is now
    _line.clear()
    if _collecting != me:
        _collecting = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
