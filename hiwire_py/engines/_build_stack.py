"""Builds the guard of the stack's end: ``cffi_modules=["hiwire_py/engines/_build_stack.py:builder"]``.

The extension is optional; without it the engine wasmer does not look, see docs/limits.md.
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
    (_HERE / "stack_guard.c").read_text("ascii"),
    # Types with vectorcall are not part of the limited API of the Pythons that wasmer is for.
    define_macros=[("_CFFI_NO_LIMITED_API", None)],
    py_limited_api=False,
)
