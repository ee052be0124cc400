"""Builds the compiled half of the wasmtime engine:
``cffi_modules=["hiwire_py/engines/wasmtime/_build.py:builder"]``.

Nothing of wasmtime is needed to build it, neither headers nor the library: the functions' addresses come from
the library that the ``wasmtime`` package has loaded. The extension is optional; without it calls go through
cffi's ABI mode.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import cffi

__all__ = ["FUNCTIONS", "SOURCES", "builder"]

SOURCES = ("../stack_end.h", "../python_calls.h", "calls.c")

_HERE = Path(__file__).parent
# By path, as the package itself cannot be imported when it is being built.
_TYPES: str = runpy.run_path(str(_HERE / "declarations.py"))["TYPES"]
_OPAQUE = """
typedef struct hw_space hw_space;
typedef struct hw_func hw_func;
"""

FUNCTIONS = """
extern hw_api hw_wasmtime;

hw_space *hw_space_new(intptr_t context);
void hw_space_drop(hw_space *space);
void hw_space_move(hw_space *space, intptr_t context);
int hw_failure_take(hw_space *space, intptr_t *trap, intptr_t *error);

hw_func *hw_func_new(hw_space *space, intptr_t func, const char *params, const char *results, intptr_t into);
void hw_func_move(hw_func *f, intptr_t func);
void hw_func_drop(hw_func *f);

int hw_unwound(void);
int hw_host_new(hw_space *space, intptr_t function, intptr_t type, const char *params, const char *results,
    intptr_t func);
"""

_HEADER = "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"

builder = cffi.FFI()
builder.cdef(_TYPES + _OPAQUE + FUNCTIONS)
builder.set_source(
    "hiwire_py.engines.wasmtime._compiled",
    _HEADER + _TYPES + _OPAQUE + "".join((_HERE / name).read_text("ascii") for name in SOURCES),
    # Functions of Python's own kind need more than its limited API.
    define_macros=[("_CFFI_NO_LIMITED_API", None)],
    py_limited_api=False,
)
