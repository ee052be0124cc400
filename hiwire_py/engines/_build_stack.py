"""Builds what looks at the stack's end: ``cffi_modules=["hiwire_py/engines/_build_stack.py:builder"]``.

The extension is optional; without it stack.py looks through ctypes, more slowly.
"""

from __future__ import annotations

from pathlib import Path

import cffi

__all__ = ["builder"]

_HERE = Path(__file__).parent

builder = cffi.FFI()
builder.cdef("int hw_guard_into(intptr_t address);")
builder.set_source(
    "hiwire_py.engines._stack",
    "".join((_HERE / name).read_text("ascii") for name in ("stack_end.h", "stack_guard.c")),
    # Types with vectorcall are not part of the limited API of all Pythons that this package is for.
    define_macros=[("_CFFI_NO_LIMITED_API", None)],
    py_limited_api=False,
)
