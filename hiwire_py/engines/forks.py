"""Children of ``os.fork``: the threads of the engines' compilers do not come along, and who waits for them
waits for ever."""

from __future__ import annotations

import os

__all__ = ["generation"]

_forks = 0


def generation() -> int:
    """How many forks lie between the process in which this package was imported and this one."""
    return _forks


def _after_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
