"""What of wasmtime's C API is used through cffi, and whether the installed ``wasmtime`` package has it in
this form.

The declarations are ours; the truth is the package's ctypes bindings, which are made from the headers of the
very library that it brings. `differences` compares the two, so that a new release which moves a field or adds
a parameter is refused and does not crash.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

__all__ = ["STRUCTS", "TYPES", "differences"]

STRUCTS = ("wasmtime_func_t", "wasmtime_val_raw_t")

_UNREAD = "p1"  # a field that only wasmtime itself reads

# `env` and `data` are pointers to wasmtime; as integers they cost less to pass and say that nothing is to be
# found behind them.
TYPES = """
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_caller wasmtime_caller_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasm_functype_t wasm_functype_t;
typedef struct wasmtime_memory wasmtime_memory_t;

typedef struct { uint64_t store_id; void *p1; } wasmtime_func_t;
typedef uint8_t wasmtime_v128[16];

typedef union {
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
    wasmtime_v128 v128;
    void *funcref;
} wasmtime_val_raw_t;

typedef void (*hw_finalizer)(intptr_t data);
typedef wasm_trap_t *(*hw_callback)(intptr_t env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
    size_t count);

typedef struct {
    void (*wasmtime_func_new_unchecked)(wasmtime_context_t *context, const wasm_functype_t *type,
        hw_callback callback, intptr_t env, hw_finalizer finalizer, wasmtime_func_t *func);
    wasmtime_error_t *(*wasmtime_func_call_unchecked)(wasmtime_context_t *context,
        const wasmtime_func_t *func, wasmtime_val_raw_t *values, size_t count, wasm_trap_t **trap);
    uint8_t *(*wasmtime_memory_data)(wasmtime_context_t *context, const wasmtime_memory_t *memory);
    size_t (*wasmtime_memory_data_size)(wasmtime_context_t *context, const wasmtime_memory_t *memory);
    wasm_trap_t *(*wasmtime_trap_new)(const char *message, size_t length);
} hw_api;
"""


def differences(ffi: Any, bindings: Any) -> Iterator[str]:
    """How the declarations as ``ffi`` sees them differ from ``bindings``, the package's module
    `wasmtime._bindings`."""
    for name in STRUCTS:
        ours, theirs = ffi.typeof(name), getattr(bindings, name, None)
        if theirs is None:
            yield f"there is no {name}"
            continue
        if (ffi.sizeof(ours), ffi.alignof(ours)) != (ctypes.sizeof(theirs), ctypes.alignment(theirs)):
            yield f"{name} has {ctypes.sizeof(theirs)} bytes, not {ffi.sizeof(ours)}"
        for key, field in ours.fields:
            place, size = getattr(theirs, key, None), ffi.sizeof(field.type)
            if place is None and key != _UNREAD:
                yield f"{name} has no {key}"
            elif place is not None and (place.offset, place.size) != (field.offset, size):
                yield f"{name}.{key} has {place.size} bytes at {place.offset}, not {size} at {field.offset}"
    for name, field in ffi.typeof("hw_api").fields:
        function = getattr(bindings.dll, name, None)
        if function is None:
            yield f"there is no function {name}"
            continue
        want = [_class(ffi, t) for t in (field.type.result, *field.type.args)]
        have = [_ctypes_class(t) for t in (function.restype, *(function.argtypes or ()))]
        if want != have:
            yield f"{name} is ({', '.join(have[1:])}) -> {have[0]}, not ({', '.join(want[1:])}) -> {want[0]}"


def _class(ffi: Any, type_: Any) -> str:
    """How a value is passed: all that matters of a parameter's type to a call."""
    if type_.kind == "void":
        return "void"
    if type_.kind in ("pointer", "function"):
        return "word8"
    return f"{'float' if type_.cname in ('float', 'double') else 'word'}{ffi.sizeof(type_)}"


def _ctypes_class(type_: Any) -> str:
    if type_ is None:
        return "void"
    return f"{'float' if type_ in (ctypes.c_float, ctypes.c_double) else 'word'}{ctypes.sizeof(type_)}"
