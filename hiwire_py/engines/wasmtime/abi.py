"""Calls of wasmtime through cffi's ABI mode: for machines that had no C compiler when this package was
installed."""

from __future__ import annotations

import ctypes
import functools
import secrets
from collections.abc import Callable
from typing import Any

import cffi
import wasmtime

from ...values import FuncType
from .. import hosts
from ..base import RawExtern
from ..calls import Call, CallForm, HostForm, lowered
from ..release import new_token
from ..stack import StackEnd, short
from .capi import fields, set_up
from .declarations import TYPES
from .store import WasmtimeStore, failure

__all__ = ["STORE"]

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

# No guest can name a function so that a trap of its own, which tells the names of functions, reads like this.
_SAID = f"a host function raised an exception ({secrets.token_hex(8)})"
_MESSAGE = _SAID.encode()


def _call_python(env: int, caller: Any, values: Any, count: int) -> Any:
    hosts.functions[env](values)
    return ffi.NULL


def _failed(kind: Any, error: BaseException, traceback: Any) -> Any:
    hosts.put_aside(error)
    return _api.wasmtime_trap_new(_MESSAGE, len(_MESSAGE))


# It is wasmtime's for good: it may call this on any thread, for as long as one of its stores lives.
_entry: Any = ffi.callback("hw_callback", _call_python, onerror=_failed)


@functools.lru_cache(maxsize=1024)
def _call_form(functype: FuncType) -> CallForm:
    fill = (f"{field} = {{{i}}}" for i, field in enumerate(fields(functype.params)))
    code = (
        "if short(): raise stack_end",
        "v, trap = new(values), new(traps)",
        *fill,
        "failure = call(at[0], at[1], v, size, trap)",
        "if failure or trap[0]: failed(failure, trap[0])",
    )
    return CallForm(code, fields(functype.results))


class AbiStore(WasmtimeStore):
    ffi = ffi
    api = _api

    def _retarget(self, function: RawExtern, target: Any) -> None:
        target[:] = self._context, self._copy(function)

    def _copy(self, function: RawExtern) -> Any:
        """The ``wasmtime_func_t`` of a function."""
        return ffi.new("wasmtime_func_t *", self._pointer(function._func, "func")[0])

    def host_form(self, functype: FuncType) -> HostForm:
        params, results = lowered(functype)
        return HostForm(("v",), fields(params), fields(results))

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        number, keep = hosts.keep(function)
        self._hosts.append(keep)
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

    def _call(self, function: RawExtern, functype: FuncType) -> Call:
        size = max(map(len, functype))
        at = [self._context, self._copy(function)]
        names = {
            "call": self.api.wasmtime_func_call_unchecked,
            "at": at,
            "new": ffi.new,
            "values": ffi.typeof(f"wasmtime_val_raw_t[{max(1, size)}]"),
            "traps": ffi.typeof("wasm_trap_t *[1]"),
            "failed": self.fail,
            "size": size,
            "short": short,
            "stack_end": StackEnd,
        }
        token = new_token()
        self._callers[token] = function, at
        return Call(_call_form(functype), names, token)

    def _host_raised(self, error: BaseException) -> bool:
        return _SAID in str(error)

    def fail(self, error: Any, trap: Any) -> None:
        """Raise what the call that just failed failed with."""
        failed = failure(self._number(trap), self._number(error))
        try:
            if self._host_raised(failed):
                hosts.raise_again()
            raise failed
        finally:
            del failed  # else it and this frame would refer to each other


STORE = AbiStore
