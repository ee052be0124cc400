"""For setup.py: what of the engines is written in C. All of it is optional.

``stack`` looks at the stack's end; without it stack.py looks through ctypes, more slowly. ``wasmtime`` calls
wasmtime; without it calls go through cffi's ABI mode. Nothing of wasmtime is needed to build it, neither
headers nor the library: the functions' addresses come from the library that the ``wasmtime`` package has
loaded. `native_extensions` are the engine native's libraries of the modules that the package ships.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cffi

from ..errors import HiwireError
from ..requirements import Code
from ..sources import VARIANTS, shipped
from .native.build import library_name, write_source
from .native.tools import FLAGS, find_tools
from .wasmtime.declarations import TYPES

__all__ = ["native_extensions", "stack", "wasmtime"]

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


def native_extensions(directory: Path, code_for: Callable[[bytes], Code]) -> list[Any]:
    """One setuptools Extension for each module, its C source in ``directory``; none without tools.
    ``code_for`` makes of a module what is compiled."""
    from setuptools import Extension

    try:
        tools = find_tools()
        extensions = []
        for label in ("externref", *VARIANTS, "guest-wordcount"):
            code = code_for(shipped(label))
            name = library_name(code.source, code.named)
            folder = directory / label
            folder.mkdir(parents=True, exist_ok=True)
            source = write_source(code, name, folder, tools.wasm2c)
            extensions.append(
                Extension(
                    f"hiwire_py.native.{name}",
                    sources=[str(source)],
                    extra_compile_args=[*FLAGS, "-I", str(folder), *tools.wasm2c.flags()],
                    extra_link_args=["-pthread", "-lm"],
                    optional=True,
                )
            )
    except HiwireError as e:
        print(f"hiwire_py: the engine native is not built: {e}", file=sys.stderr)
        return []
    return extensions
