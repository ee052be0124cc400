"""Calls of wasmtime through functions compiled at install, of calls.c: one crossing a call."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, NoReturn

import wasmtime

from ...values import F32, F64, I32, I64, FuncType
from .. import hosts
from ..base import NO_LIMITS, RawExtern
from ..calls import Call, compiled_form, lowered, refused
from ..limits import GuestLimits
from ..release import at_release
from ..stack import StackEnd
from .capi import set_up
from .store import WasmtimeStore, failure

try:
    from ._compiled import ffi as _ffi  # type: ignore[import-not-found]  # made at install, perhaps
    from ._compiled import lib as _lib
except ImportError as e:
    raise ImportError(
        f"its compiled part is missing ({e}); with a C compiler here, install hiwire_py from its source:"
        " python -m pip install --force-reinstall --no-binary hiwire_py hiwire_py"
    ) from None

__all__ = ["STORE", "fail"]

ffi: Any = _ffi
lib: Any = _lib
set_up(ffi, lib.hw_wasmtime)
_thread = lib.hw_thread  # not there in one that was compiled from older source

_LETTERS = {I32: "i", I64: "j", F32: "f", F64: "d"}


def _letters(codes: bytes) -> bytes:
    return "".join(_LETTERS.get(code, "?") for code in codes).encode()


def fail(raised: int, trap: int, error: int) -> NoReturn:
    """Raise what a call failed with; C calls this.

    Args:
        raised: whether a host function raised; the trap says nothing more then.
        trap, error: for `failure`. Both are 0 where the call has not begun, since the stack is too short.
    """
    if not trap and not error:
        raise StackEnd
    if raised:
        failure(trap, error)  # deletes them
        hosts.raise_again()
    raise failure(trap, error)


class CompiledStore(WasmtimeStore):
    ffi = ffi
    api = lib.hw_wasmtime

    def __init__(self, engine: wasmtime.Engine, limits: GuestLimits = NO_LIMITS) -> None:
        super().__init__(engine, limits)
        self._thread = _thread()

    def _retarget(self, function: RawExtern, target: Any) -> None:
        lib.hw_func_target(target, self._address, ctypes.addressof(function._func))

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        params, results = map(_letters, lowered(functype))
        type_, raw = self._functype(functype), wasmtime._bindings.wasmtime_func_t()
        self._hosts.append(hosts.keep(function)[1])
        pointer = ctypes.cast(type_.ptr(), ctypes.c_void_p).value
        if not lib.hw_host_new(self._address, id(function), pointer, params, results, ctypes.addressof(raw)):
            raise MemoryError("no memory for a host function")
        return wasmtime.Func._from_raw(raw)

    def _call(self, function: RawExtern, functype: FuncType) -> Call:
        names: dict[str, Any] = {"refused": refused}
        # cffi passes no Python objects; the dict's address is its id in CPython.
        raw = lib.hw_func_new(self._thread, *map(_letters, functype), id(names))
        if not raw:
            raise MemoryError("no memory for a function")
        token = at_release(functools.partial(lib.hw_func_drop, raw))
        self._retarget(function, raw)
        self._callers[token] = function, raw
        return Call(compiled_form(functype), names, token)

    def _host_raised(self, error: BaseException) -> bool:
        return bool(lib.hw_unwound())


STORE = CompiledStore
