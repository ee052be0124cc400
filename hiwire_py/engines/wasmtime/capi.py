"""wasmtime's C API through cffi: that the installed ``wasmtime`` package has it as it is declared here, and
what both ways of calling say about values.

Both use the library that the package has loaded, and leave compiling, linking and configuration to the
package.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from typing import Any

import wasmtime

from ...values import F32, F64, I32, I64
from .declarations import differences

__all__ = ["FIELDS", "HOLDS", "fields", "set_up"]

FIELDS = {I32: "i32", I64: "i64", F32: "f32", F64: "f64"}
"""Where ``wasmtime_val_t`` and ``wasmtime_val_raw_t`` have a number of each type. The package has classes and
functions of these names."""

HOLDS: dict[Any, str] = {
    wasmtime.Func: "_func",
    wasmtime.Global: "_global",
    wasmtime.Memory: "_memory",
    wasmtime.Table: "_table",
}
"""The attribute in which the package's objects have their C structs."""

_OLDEST, _NEWEST = 46, 50
"""Versions of the package that are known to work: the tests have passed with them."""


def set_up(ffi: Any, api: Any) -> None:
    """Fill ``api``, an ``hw_api``, with the addresses of the functions, if all is as it is declared.

    Raises:
        ImportError: the package's library or objects are not what they were when this was written; with the
            reason.
    """
    bindings: Any = wasmtime._bindings
    different = list(differences(ffi, bindings))
    if different:
        raise _other_version(f"differs from what is declared here: {'; '.join(different)}")
    _check_objects()
    for name, field in ffi.typeof("hw_api").fields:
        address = ctypes.cast(getattr(bindings.dll, name), ctypes.c_void_p).value
        setattr(api, name, ffi.cast(field.type, address))


def _check_objects() -> None:
    """The package's objects keep their C structs where `WasmtimeStore` looks for them.

    No engine is made for this: making one installs wasmtime's signal handlers, and asking which engines there
    are must not.
    """
    class_: Any
    for class_, name in HOLDS.items():
        struct = getattr(wasmtime._bindings, f"wasmtime{name}_t")
        if not hasattr(class_, "_from_raw") or not hasattr(class_._from_raw(struct()), name):
            raise _other_version(f"keeps the struct of wasmtime.{class_.__name__} elsewhere")
    for class_, name in (
        (wasmtime.Store, "_context"),
        (wasmtime.Trap, "_from_ptr"),
        (wasmtime.WasmtimeError, "_from_ptr"),
        (wasmtime.TrapCode, "OUT_OF_FUEL"),
    ):
        if not hasattr(class_, name):
            raise _other_version(f"has no {name} in wasmtime.{class_.__name__}")


def _other_version(how: str) -> ImportError:
    version = importlib.metadata.version("wasmtime")
    return ImportError(
        f"wasmtime {version} {how}; versions {_OLDEST} to {_NEWEST} are known to work:"
        f' python -m pip install "wasmtime>={_OLDEST},<{_NEWEST + 1}"'
    )


def fields(codes: bytes) -> tuple[str, ...]:
    """Where an array ``v`` of ``wasmtime_val_raw_t`` has values of these types: Python source."""
    return tuple(f"v[{i}].{FIELDS[code]}" for i, code in enumerate(codes))
