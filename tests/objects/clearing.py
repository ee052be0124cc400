"""Taking a dead cycle apart in any order, as the Pythons do it in theirs."""

from __future__ import annotations

import ctypes
import gc
import struct
import sys
import sysconfig
from collections.abc import Callable

__all__ = ["HAS_THEM", "ORDERS_NEED", "clear", "found_dead"]

# Where a type has its tp_clear: after an object's head, and 21 words of other slots.
_AT = object.__basicsize__ + struct.calcsize("n") + 21 * struct.calcsize("P")
_clearing = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)

ORDERS_NEED = "CPython with a lock, whose objects have a head of two words"
HAS_THEM = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def found_dead(make: Callable[[], None]) -> list[object]:
    """What Python's collector finds dead of all that ``make`` left behind: weak references are cleared and
    finalizers have run, but nothing is taken apart yet."""
    gc.collect()
    gc.freeze()
    make()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
    finally:
        gc.set_debug(0)
    dead = gc.garbage[:]
    gc.garbage.clear()
    return dead


def clear(thing: object) -> None:
    """Call the function by which the collector makes an object let go of what it holds."""
    address = ctypes.c_void_p.from_address(id(type(thing)) + _AT).value
    if address:
        _clearing(address)(thing)
