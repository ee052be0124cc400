"""Whether this process is a child of ``os.fork``.

Only the thread that forks goes on in the child. The engines' compilers have threads of their own, for which
the child would wait for ever. So engines ask here whether they were made before a fork, and then compile
without such threads (wasmtime), or refuse to (wasmer).
"""

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
