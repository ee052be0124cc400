"""Calls of wasmtime through functions compiled at install, of calls.c: one crossing a call."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import wasmtime

from ...errors import WrongThreadError
from ...values import F32, F64, I32, I64, FuncType
from .. import hosts
from ..base import RawExtern
from ..calls import Call, CallForm, Quick, call_of
from ..release import at_release
from ..stack import StackEnd
from .capi import as_integers, refusing, set_up
from .store import WasmtimeStore

try:
    from ._compiled import ffi as _ffi  # type: ignore[import-not-found]  # made at install, perhaps
    from ._compiled import lib as _lib
except ImportError as e:
    raise ImportError(
        f"its compiled part is missing ({e}); with a C compiler here, install hiwire_py from its source:"
        " python -m pip install --force-reinstall --no-binary hiwire_py hiwire_py"
    ) from None

__all__ = ["STORE"]

ffi: Any = _ffi
lib: Any = _lib
set_up(ffi, lib.hw_wasmtime)

_STACK, _RAISED = 2, 3  # what hw_failure_take says where the stack was too short, or a host function raised
_LETTERS = {I32: "i", I64: "j", F32: "f", F64: "d"}
_QUICK = Quick(done="r is not False and r is not None", refused="r is None")


@functools.lru_cache(maxsize=1024)
def _call_form(functype: FuncType) -> CallForm:
    given = ", ".join(["{mark}", *(f"{{{i}}}" for i in range(len(functype.params)))])
    count = len(functype.results)
    results = ("r",) if count == 1 else tuple(f"r[{i}]" for i in range(count))
    return CallForm((f"r = call({given})", "if r is False or r is None: failed()"), results, _QUICK)


def _letters(codes: bytes) -> bytes:
    return "".join(_LETTERS.get(code, "?") for code in codes).encode()


def _drop_function(raw: Any, space: object) -> None:
    lib.hw_func_drop(raw)


class CompiledStore(WasmtimeStore):
    ffi = ffi
    api = lib.hw_wasmtime

    _inner = (*WasmtimeStore._inner, "_hosts")
    _space: Any = None

    def _open(self) -> None:
        super()._open()
        self._hosts: list[object] = []  # host functions are called by this store only, and go with it
        if self._space is not None:
            lib.hw_space_move(self._space, self._address)
            return
        space = lib.hw_space_new(self._address)
        if not space:
            raise MemoryError("no memory for the state of a store")
        self._space = space
        self._drop = at_release(functools.partial(lib.hw_space_drop, space))

    def back(self, before: dict[str, Any]) -> None:
        super().back(before)
        lib.hw_space_move(self._space, self._address)

    def _retarget(self, function: RawExtern, target: Any) -> None:
        lib.hw_func_move(target, ctypes.addressof(function._func))

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        params, results = map(_letters, as_integers(functype))
        type_, raw = self._functype(functype), wasmtime._bindings.wasmtime_func_t()
        self._hosts.append(hosts.keep(function)[1])
        pointer = ctypes.cast(type_.ptr(), ctypes.c_void_p).value
        if not lib.hw_host_new(self._space, id(function), pointer, params, results, ctypes.addressof(raw)):
            raise MemoryError("no memory for a host function")
        return wasmtime.Func._from_raw(raw)

    def call(self, function: RawExtern, functype: FuncType) -> Call:
        codes = as_integers(functype)
        refuse = refusing(codes)
        if refuse is not None:
            return call_of(refuse, functype)
        names: dict[str, Any] = {"failed": self.fail}
        # cffi passes no Python objects; the dict's address is its id in CPython.
        raw = lib.hw_func_new(self._space, ctypes.addressof(function._func), *map(_letters, codes), id(names))
        if not raw:
            raise MemoryError("no memory for a function")
        # The function in C refers to the space, which is therefore dropped after it.
        token = at_release(functools.partial(_drop_function, raw, self._drop))
        return Call(_call_form(codes), names, self._kept(token, function, raw))

    def _host_raised(self, error: BaseException) -> bool:
        return bool(lib.hw_unwound())

    def fail(self) -> None:
        """Raise what the call that just failed failed with."""
        trap, error = ffi.new("intptr_t *"), ffi.new("intptr_t *")
        taken = lib.hw_failure_take(self._space, trap, error)
        if not taken:
            raise WrongThreadError("the guest belongs to another thread, which has ended")
        if taken == _STACK:
            raise StackEnd
        if taken == _RAISED:
            hosts.raise_again()
        raise self._failure(trap[0], error[0])


STORE = CompiledStore
