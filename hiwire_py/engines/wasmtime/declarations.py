"""What of wasmtime's C API is used through cffi, and whether the installed ``wasmtime`` package has it in
this form.

The declarations are ours; the truth is the package's ctypes bindings, which are made from the headers of the
very library that it brings. `differences` compares the two, so that a new release which moves a field or adds
a parameter leads to a slower way of calling and not to a crash.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

__all__ = ["STRUCTS", "TYPES", "addresses", "differences"]

STRUCTS = (
    "wasmtime_func_t",
    "wasmtime_table_t",
    "wasmtime_memory_t",
    "wasmtime_global_t",
    "wasmtime_externref_t",
    "wasmtime_val_t",
    "wasmtime_val_raw_t",
)

# Fields that only wasmtime itself reads are named p1, p2 and so on. `env` and `data` are pointers to
# wasmtime; as integers they cost less to pass and say that nothing is to be found behind them.
TYPES = """
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_caller wasmtime_caller_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasm_functype_t wasm_functype_t;
typedef struct wasm_globaltype_t wasm_globaltype_t;

typedef struct { uint64_t store_id; void *p1; } wasmtime_func_t;
typedef struct { struct { uint64_t store_id; uint32_t p1; } p; uint32_t p2; } wasmtime_table_t;
typedef struct { struct { uint64_t store_id; uint32_t p1; } p; uint32_t p2; } wasmtime_memory_t;
typedef struct { uint64_t store_id; uint32_t p1; uint32_t p2; uint32_t p3; } wasmtime_global_t;
typedef struct { uint64_t store_id; uint32_t p1; uint32_t p2; void *p3; } wasmtime_externref_t;
typedef uint8_t wasmtime_v128[16];

typedef struct {
    uint8_t kind;
    union {
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        wasmtime_externref_t externref;
        wasmtime_func_t funcref;
        wasmtime_v128 v128;
    } of;
} wasmtime_val_t;

typedef union {
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
    wasmtime_v128 v128;
    uint32_t externref;
    void *funcref;
} wasmtime_val_raw_t;

typedef void (*hw_finalizer)(intptr_t data);
typedef wasm_trap_t *(*hw_callback)(intptr_t env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
    size_t count);

typedef struct {
    wasmtime_error_t *(*wasmtime_context_gc)(wasmtime_context_t *context);
    void (*wasmtime_func_new_unchecked)(wasmtime_context_t *context, const wasm_functype_t *type,
        hw_callback callback, intptr_t env, hw_finalizer finalizer, wasmtime_func_t *func);
    wasmtime_error_t *(*wasmtime_func_call_unchecked)(wasmtime_context_t *context,
        const wasmtime_func_t *func, wasmtime_val_raw_t *values, size_t count, wasm_trap_t **trap);
    bool (*wasmtime_externref_new)(wasmtime_context_t *context, intptr_t data, hw_finalizer finalizer,
        wasmtime_externref_t *ref);
    intptr_t (*wasmtime_externref_data)(wasmtime_context_t *context, const wasmtime_externref_t *ref);
    void (*wasmtime_externref_unroot)(wasmtime_externref_t *ref);
    void (*wasmtime_externref_from_raw)(wasmtime_context_t *context, uint32_t raw, wasmtime_externref_t *ref);
    uint32_t (*wasmtime_externref_to_raw)(wasmtime_context_t *context, const wasmtime_externref_t *ref);
    wasmtime_error_t *(*wasmtime_global_new)(wasmtime_context_t *context, const wasm_globaltype_t *type,
        const wasmtime_val_t *value, wasmtime_global_t *global_);
    void (*wasmtime_global_get)(wasmtime_context_t *context, const wasmtime_global_t *global_,
        wasmtime_val_t *value);
    wasmtime_error_t *(*wasmtime_global_set)(wasmtime_context_t *context, const wasmtime_global_t *global_,
        const wasmtime_val_t *value);
    uint8_t *(*wasmtime_memory_data)(wasmtime_context_t *context, const wasmtime_memory_t *memory);
    size_t (*wasmtime_memory_data_size)(wasmtime_context_t *context, const wasmtime_memory_t *memory);
    bool (*wasmtime_table_get)(wasmtime_context_t *context, const wasmtime_table_t *table, uint64_t index,
        wasmtime_val_t *value);
    wasmtime_error_t *(*wasmtime_table_set)(wasmtime_context_t *context, const wasmtime_table_t *table,
        uint64_t index, const wasmtime_val_t *value);
    uint64_t (*wasmtime_table_size)(wasmtime_context_t *context, const wasmtime_table_t *table);
    wasmtime_error_t *(*wasmtime_table_grow)(wasmtime_context_t *context, const wasmtime_table_t *table,
        uint64_t count, const wasmtime_val_t *value, uint64_t *before);
    wasm_trap_t *(*wasmtime_trap_new)(const char *message, size_t length);
    void (*wasm_trap_delete)(wasm_trap_t *trap);
    void (*wasmtime_error_delete)(wasmtime_error_t *error);
} hw_api;
"""


def addresses(ffi: Any, dll: ctypes.CDLL) -> dict[str, int]:
    """Where the functions of ``hw_api`` are in the library that the package loaded; `AttributeError` if one
    is not."""
    names = (name for name, _ in ffi.typeof("hw_api").fields)
    return {name: ctypes.cast(getattr(dll, name), ctypes.c_void_p).value or 0 for name in names}


def differences(ffi: Any, bindings: Any) -> Iterator[str]:
    """How the declarations as ``ffi`` sees them differ from ``bindings``, the package's module
    `wasmtime._bindings`."""
    for name in STRUCTS:
        ours = ffi.typeof(name)
        theirs = getattr(bindings, name, None)
        if theirs is None:
            yield f"there is no {name}"
            continue
        if (ffi.sizeof(ours), ffi.alignof(ours)) != (ctypes.sizeof(theirs), ctypes.alignment(theirs)):
            yield f"{name} has {ctypes.sizeof(theirs)} bytes, not {ffi.sizeof(ours)}"
        yield from _fields(ffi, ours, theirs, name)
    for name, field in ffi.typeof("hw_api").fields:
        function = getattr(bindings.dll, name, None)
        if function is None:
            yield f"there is no function {name}"
            continue
        want = [_class(ffi, t) for t in (field.type.result, *field.type.args)]
        have = [_ctypes_class(t) for t in (function.restype, *(function.argtypes or ()))]
        if want != have:
            yield f"{name} is ({', '.join(have[1:])}) -> {have[0]}, not ({', '.join(want[1:])}) -> {want[0]}"


def _fields(ffi: Any, ours: Any, theirs: Any, where: str) -> Iterator[str]:
    """Fields in their order; those of a union by their names, as we do not declare all."""
    mine = list(ours.fields)
    other = [(entry[0], entry[1], getattr(theirs, entry[0])) for entry in theirs._fields_]
    if ours.kind == "union":
        named = {name: (name, type_, place) for name, type_, place in other}
        missing = [name for name, _ in mine if name not in named]
        if missing:
            yield f"{where} has no {', '.join(missing)}"
            return
        other = [named[name] for name, _ in mine]
    if len(mine) != len(other):
        yield f"{where} has {len(other)} fields, not {len(mine)}"
        return
    for (name, field), (_, type_, place) in zip(mine, other):
        at = f"{where}.{name}"
        if (field.offset, ffi.sizeof(field.type)) != (place.offset, place.size):
            size = ffi.sizeof(field.type)
            yield f"{at} has {place.size} bytes at {place.offset}, not {size} at {field.offset}"
        elif field.type.kind in ("struct", "union"):
            yield from _fields(ffi, field.type, type_, at)


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
