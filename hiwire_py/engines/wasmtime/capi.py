"""wasmtime's C API through cffi: that the installed ``wasmtime`` package has it as it is declared here, and
what both ways of calling say about values.

Both use the library that the package has loaded, and leave compiling, linking and configuration to the
package.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import wasmtime

from ...values import EXTERNREF, F32, F64, I32, I64, FuncType, type_name
from .declarations import addresses, differences

__all__ = ["FIELDS", "as_integers", "fields", "refusing", "set_up"]

FIELDS = {I32: "i32", I64: "i64", F32: "f32", F64: "f64"}
"""Where ``wasmtime_val_t`` and ``wasmtime_val_raw_t`` have a number of each type."""

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
    for name, address in addresses(ffi, bindings.dll).items():
        setattr(api, name, ffi.cast(ffi.typeof(getattr(api, name)), address))


def _check_objects() -> None:
    """The package's objects keep their C structs where `WasmtimeStore` looks for them.

    No engine is made for this: making one installs wasmtime's signal handlers, and asking which engines there
    are must not.
    """
    bindings = wasmtime._bindings
    class_: Any
    for class_, struct, name in (
        (wasmtime.Func, bindings.wasmtime_func_t, "_func"),
        (wasmtime.Global, bindings.wasmtime_global_t, "_global"),
        (wasmtime.Memory, bindings.wasmtime_memory_t, "_memory"),
        (wasmtime.Table, bindings.wasmtime_table_t, "_table"),
    ):
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


def as_integers(functype: FuncType) -> FuncType:
    """The type as it is after lowering: externrefs are i32."""
    params, results = (side.replace(bytes((EXTERNREF,)), bytes((I32,))) for side in functype)
    return FuncType(params, results)


def fields(codes: bytes) -> tuple[str, ...]:
    """Where an array ``v`` of ``wasmtime_val_raw_t`` has values of these types: Python source."""
    return tuple(f"v[{i}].{FIELDS[code]}" for i, code in enumerate(codes))


def refusing(functype: FuncType) -> Callable[..., Any] | None:
    """What to call in place of a function with such a type, where its values cannot cross; else None."""
    stuck = ", ".join(type_name(code) for code in functype.params + functype.results if code not in FIELDS)
    if not stuck:
        return None

    def refuse(*args: Any) -> Any:
        raise TypeError(
            f"a function of type {functype} cannot be called from or in Python: {stuck} cannot cross"
        )

    return refuse
