"""Builds the bookkeeping of ids: ``cffi_modules=["hiwire_py/objects/_build_ids.py:builder"]``.

The module is optional: without it `python_ids` does the same in Python.
"""

from __future__ import annotations

from pathlib import Path

import cffi

from . import layout

__all__ = ["builder"]

_HERE = Path(__file__).parent
_SOURCES = ("ids_lists.c", "ids_release.c", "ids_sweep.c", "ids.c")

builder = cffi.FFI()
builder.cdef("int hw_ids_into(intptr_t address);")
builder.set_source(
    "hiwire_py.objects._ids",
    layout.as_macros(layout) + "".join((_HERE / name).read_text("ascii") for name in _SOURCES),
    # The type has to know how objects are laid out, so the module is for one version of Python.
    define_macros=[("_CFFI_NO_LIMITED_API", None)],
    py_limited_api=False,
)
