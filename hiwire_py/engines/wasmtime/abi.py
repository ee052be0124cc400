"""Calls of wasmtime through cffi's ABI mode: for machines that had no C compiler when this package was
installed."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable
from typing import Any

import cffi
import wasmtime

from ...values import FuncType
from ..base import RawExtern
from ..cells import cells_of, set_cells
from ..release import at_release, new_token
from ..stack import StackEnd, short
from .capi import FIELDS, as_integers, refusing, set_up, strays
from .declarations import TYPES
from .store import WasmtimeStore

__all__ = ["AbiStore"]

ffi: Any = cffi.FFI()
ffi.cdef(TYPES)
_api: Any = ffi.new("hw_api *")
set_up(ffi, _api)
# cffi parses each type once, with a lock held, which a signal handler that raises would leave locked.
for _type in (
    *(f"wasmtime_{name}_t *" for name in ("context", "func", "memory")),
    *("wasm_functype_t *", "wasm_trap_t *[1]", "uintptr_t"),
    *(f"wasmtime_val_raw_t[{size}]" for size in range(1, 9)),
):
    ffi.typeof(_type)

_numbers = itertools.count(1)
_functions: dict[int, Callable[..., Any]] = {}  # what wasmtime may call, by the number that it has been given

_MESSAGE = b"a host function raised an exception"


def _trap() -> Any:
    return _api.wasmtime_trap_new(_MESSAGE, len(_MESSAGE))


def _stray(kind: Any, error: Any, traceback: Any) -> Any:
    strays.errors.append(error)
    return _trap()


def _call_python(env: int, caller: Any, values: Any, count: int) -> Any:
    return _functions[env](values)


# It is wasmtime's for good: it may call this on any thread, for as long as one of its stores lives.
_entry: Any = ffi.callback("hw_callback", _call_python, onerror=_stray)


_CALL = """\
def bind(call, context, function, new, values, traps, failed, size, short, end):
    def raw({params}):
        if short(): raise end
        v, trap = new(values), new(traps)
        {fill}
        error = call(context, function, v, size, trap)
        if error or trap[0]: failed(error, trap[0])
        {result}
    return raw
"""
_HOST = """\
def bind(function, raised, trap, NULL):
    def host(v):
        try:
            {body}
        except BaseException as error:
            raised.append(error)
            return trap()
        return NULL
    return host
"""


@functools.lru_cache(maxsize=1024)
def _call_code(functype: FuncType) -> Any:
    names = [f"a{i}" for i in range(len(functype.params))]
    fill = [f"v[{i}].{FIELDS[code]} = {a}" for i, (a, code) in enumerate(zip(names, functype.params))]
    read = [f"v[{i}].{FIELDS[code]}" for i, code in enumerate(functype.results)]
    source = _CALL.format(
        params=", ".join(names), fill="; ".join(fill) or "pass", result=f"return {', '.join(read) or None}"
    )
    return compile(source, "<hiwire_py call>", "exec")


@functools.lru_cache(maxsize=1024)
def _host_code(functype: FuncType) -> Any:
    read = [f"v[{i}].{FIELDS[code]}" for i, code in enumerate(functype.params)]
    body = f"function({', '.join(read)})"
    if functype.results:
        # All are got before the first is stored: they are stored where the parameters are.
        body = f"{', '.join(f'v[{i}].{FIELDS[code]}' for i, code in enumerate(functype.results))} = {body}"
    return compile(_HOST.format(body=body), "<hiwire_py host call>", "exec")


class AbiStore(WasmtimeStore):
    ffi = ffi
    api = _api

    _inner = (*WasmtimeStore._inner, "_hosts", "_forget")

    def _open(self) -> None:
        super()._open()
        self._hosts: list[int] = []
        self._forget = at_release(functools.partial(_forget, self._hosts))

    def _retarget(self, function: RawExtern, target: Any) -> None:
        set_cells(target, context=self._context, function=self._copy(function))

    def _copy(self, function: RawExtern) -> Any:
        """The ``wasmtime_func_t`` of a function."""
        return ffi.new("wasmtime_func_t *", self._pointer(function._func, "func")[0])

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        names: dict[str, Any] = {}
        exec(_host_code(as_integers(functype)), names)
        number = next(_numbers)
        _functions[number] = names["bind"](function, self._raised, _trap, ffi.NULL)
        self._hosts.append(number)
        type_ = self._functype(functype)
        raw = wasmtime._bindings.wasmtime_func_t()
        self.api.wasmtime_func_new_unchecked(
            self._context,
            ffi.cast("wasm_functype_t *", ctypes.cast(type_.ptr(), ctypes.c_void_p).value),
            _entry,
            number,
            ffi.NULL,
            self._pointer(raw, "func"),
        )
        return wasmtime.Func._from_raw(raw)

    def caller(self, function: RawExtern, functype: FuncType) -> Callable[..., Any]:
        params, results = codes = as_integers(functype)
        refuse = refusing(codes)
        if refuse is not None:
            return refuse
        names: dict[str, Any] = {}
        exec(_call_code(codes), names)
        size = max(len(params), len(results))
        bound: Callable[..., Any] = names["bind"](
            self.api.wasmtime_func_call_unchecked,
            self._context,
            self._copy(function),
            ffi.new,
            ffi.typeof(f"wasmtime_val_raw_t[{max(1, size)}]"),
            ffi.typeof("wasm_trap_t *[1]"),
            self.fail,
            size,
            short,
            StackEnd,
        )
        return self._made(bound, new_token(), function, cells_of(bound, "context", "function"))

    def fail(self, error: Any, trap: Any) -> None:
        """Raise what the call that just failed failed with."""
        if self._host_raised():
            if error:
                self.api.wasmtime_error_delete(error)
            if trap:
                self.api.wasm_trap_delete(trap)
            self._raise()
        raise self._failure(self._number(trap), self._number(error))


def _forget(hosts: list[int]) -> None:
    for host in hosts:
        _functions.pop(host, None)
