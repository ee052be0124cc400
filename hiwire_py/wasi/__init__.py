"""WASI: what a program in WebAssembly has of a system. `Wasi` says what it is given; it gets nothing else.

wasi            class `Wasi`: what the caller gives
errors          how operations on files and streams fail: by the codes of WASI
clocks          the time, and waiting
streams         what standard input, output and errors are read from and written to
files           descriptors of files and directories; those that are in memory
directories     those of the host, which nothing leads out of
preview2        the same as imports of a component: WASI 0.2

All but the last know nothing of an ABI, so that they can serve other versions of WASI as well.
"""

from __future__ import annotations

from .clocks import Clock, ManualClock
from .wasi import Wasi

__all__ = ["Clock", "ManualClock", "Wasi"]
