"""For setup.py: what of the engines is written in C, but for libraries of modules: see native/_build.py.

``stack`` looks at the stack's end; without it stack.py looks through ctypes, more slowly. ``wasmtime`` calls
wasmtime; without it calls go through cffi's ABI mode. Nothing of wasmtime is needed to build it, neither
headers nor the library: the functions' addresses come from the library that the ``wasmtime`` package has
loaded.
"""

from __future__ import annotations

from pathlib import Path

import cffi

from .wasmtime.declarations import TYPES

__all__ = ["stack", "wasmtime"]

_HERE = Path(__file__).parent
_HEADER = "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"
_WASMTIME = """
extern hw_api hw_wasmtime;

intptr_t hw_thread(void);
void *hw_func_new(intptr_t thread, const char *params, const char *results, intptr_t into);
void hw_func_target(void *function, intptr_t context, intptr_t func);
void hw_func_drop(void *function);

int hw_unwound(void);
int hw_host_new(intptr_t context, intptr_t function, intptr_t type, const char *params, const char *results,
    intptr_t func);
"""


def _builder(name: str, declared: str, *sources: str, header: str = "") -> cffi.FFI:
    made = cffi.FFI()
    made.cdef(declared)
    made.set_source(
        f"hiwire_py.engines.{name}",
        header + "".join((_HERE / source).read_text("ascii") for source in sources),
        # Functions of Python's own kind need more than its limited API.
        define_macros=[("_CFFI_NO_LIMITED_API", None)],
        py_limited_api=False,
    )
    return made


stack = _builder("_stack", "int hw_guard_into(intptr_t address);", "stack_end.h", "stack_guard.c")
wasmtime = _builder(
    "wasmtime._compiled",
    TYPES + _WASMTIME,
    *("stack_end.h", "python_calls.h", "wasmtime/calls.c"),
    header=_HEADER + TYPES,
)
