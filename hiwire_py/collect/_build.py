"""Builds the types of `traverse`: ``cffi_modules=["hiwire_py/collect/_build.py:builder"]``.

The module is optional: without it `transfer` does the same in Python.
"""

from __future__ import annotations

from pathlib import Path

import cffi

from .. import handles
from ..objects import layout

__all__ = ["builder"]

_HERE = Path(__file__).parent
_SOURCES = ("collect.h", "pointer_map.c", "wrappers.c", "trace.c", "counts.c", "show.c", "edges.c")

builder = cffi.FFI()
builder.cdef("int hw_types_into(intptr_t address);")
builder.set_source(
    "hiwire_py.collect._traverse",
    layout.as_macros(handles, layout) + "".join((_HERE / name).read_text("ascii") for name in _SOURCES),
    # The types have to know how objects are laid out, so the module is for one version of Python.
    define_macros=[("_CFFI_NO_LIMITED_API", None)],
    py_limited_api=False,
)
