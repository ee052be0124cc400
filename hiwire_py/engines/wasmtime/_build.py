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

SOURCES = ("../stack_end.h", "calls.c")

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

#define HW_FAILED ...
hw_func *hw_func_new(hw_space *space, intptr_t func, size_t params, size_t results);
void hw_func_move(hw_func *f, intptr_t func);
void hw_func_drop(hw_func *f);
int hw_call(hw_func *f, wasmtime_val_raw_t *values);
int64_t hw_call_0(hw_func *f);
int64_t hw_call_1(hw_func *f, int64_t a);
int64_t hw_call_2(hw_func *f, int64_t a, int64_t b);
int64_t hw_call_3(hw_func *f, int64_t a, int64_t b, int64_t c);
int64_t hw_call_4(hw_func *f, int64_t a, int64_t b, int64_t c, int64_t d);

void hw_raise(void);
int hw_unwound(void);
int hw_host_new(hw_space *space, int64_t index, intptr_t type, const uint8_t *codes, size_t params,
    int gives, int shape, intptr_t func);
extern "Python" {
    int64_t hw_host_0(int64_t index);
    int64_t hw_host_1(int64_t index, int64_t a);
    int64_t hw_host_2(int64_t index, int64_t a, int64_t b);
    int64_t hw_host_3(int64_t index, int64_t a, int64_t b, int64_t c);
    int64_t hw_host_n(int64_t index, wasmtime_val_raw_t *values);
}
"""

_HEADER = "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"

builder = cffi.FFI()
builder.cdef(_TYPES + _OPAQUE + FUNCTIONS)
builder.set_source(
    "hiwire_py.engines.wasmtime._compiled",
    _HEADER + _TYPES + _OPAQUE + "".join((_HERE / name).read_text("ascii") for name in SOURCES),
)
