"""Builds the types of wrappers for CPython's collector:
``cffi_modules=["hiwire_py/collect/_build_types.py:builder"]``.

The module is optional: without it `parking` does the same in Python.
"""

from __future__ import annotations

from pathlib import Path

import cffi

from .. import handles
from ..objects import layout

__all__ = ["builder"]

_HERE = Path(__file__).parent
_SOURCES = ("wrapper_types.c", "survey.c", "lending.c")

builder = cffi.FFI()
builder.cdef("int hw_types_into(intptr_t address);")
builder.set_source(
    "hiwire_py.collect._types",
    layout.as_macros(handles, layout) + "".join((_HERE / name).read_text("ascii") for name in _SOURCES),
    # The types have to know how objects are laid out, so the module is for one version of Python.
    define_macros=[("_CFFI_NO_LIMITED_API", None)],
    py_limited_api=False,
)
