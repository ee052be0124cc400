"""What guests must do: the plain ``wasmtime`` package runs them, with the engine's own externrefs.

Nothing of hiwire_py's engines, lowering and bookkeeping takes part. To the package None is the null
externref, which is NULL here; so it is given objects in boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wasmtime

from hiwire_py import NULL

__all__ = ["TRAPS", "Oracle", "OracleTrap"]

TRAPS = {
    wasmtime.TrapCode.STACK_OVERFLOW: "call stack exhausted",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "out of bounds memory access",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "out of bounds table access",
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: "uninitialized element",
    wasmtime.TrapCode.BAD_SIGNATURE: "indirect call type mismatch",
    wasmtime.TrapCode.INTEGER_OVERFLOW: "integer overflow",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer divide by zero",
    wasmtime.TrapCode.BAD_CONVERSION_TO_INTEGER: "invalid conversion to integer",
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
}


class OracleTrap(Exception):
    """A guest trapped.

    Attributes:
        kind: as `GuestTrap` has it.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Box:
    """An object, as the engine is given it."""

    def __init__(self, thing: object) -> None:
        self.thing = thing


class Oracle:
    """An instance of a module.

    Args:
        wasm: the module.
        functions: what it imports, by name; they are given objects, and NULL for null.
    """

    def __init__(self, wasm: bytes, functions: dict[str, Callable[..., Any]]) -> None:
        self._store = wasmtime.Store(wasmtime.Engine())
        module = wasmtime.Module(self._store.engine, wasm)
        imports = [self._host(wanted.type, functions[wanted.name or ""]) for wanted in module.imports]
        self._exports = wasmtime.Instance(self._store, module, imports).exports(self._store)
        self._types = {e.name: e.type for e in module.exports if isinstance(e.type, wasmtime.FuncType)}

    def call(self, name: str, *args: Any) -> Any:
        """What an export gives.

        Raises:
            OracleTrap: it trapped.
        """
        type_ = self._types[name]
        given = [_in(arg, kind) for arg, kind in zip(args, type_.params)]
        try:
            results = self._exports[name](self._store, *given)  # type: ignore[operator]
        except wasmtime.Trap as error:
            code = error.trap_code
            raise OracleTrap("trap" if code is None else TRAPS[code]) from None
        if isinstance(results, list):
            return tuple(map(_out, results, type_.results))
        return _out(results, type_.results[0]) if type_.results else None

    def _host(self, functype: Any, function: Callable[..., Any]) -> wasmtime.Func:
        params, results = functype.params, functype.results

        def host(*args: Any) -> Any:
            given = function(*map(_out, args, params))
            if len(results) > 1:
                return list(map(_in, given, results))
            return _in(given, results[0]) if results else None

        return wasmtime.Func(self._store, functype, host)


def _in(value: Any, kind: wasmtime.ValType) -> Any:
    if kind != wasmtime.ValType.externref():
        return value
    return None if value is NULL else _Box(value)


def _out(value: Any, kind: wasmtime.ValType) -> Any:
    if kind != wasmtime.ValType.externref():
        return value
    return NULL if value is None else value.thing
