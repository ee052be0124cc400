"""Calls of wasmtime through functions compiled at install, of calls.c: one crossing a call."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import wasmtime

from ...values import I32, I64, FuncType
from .. import hosts
from ..base import RawExtern
from ..calls import Call, CallForm, HostForm, call_of
from ..release import at_release
from ..stack import StackEnd
from .capi import as_integers, fields, refusing, set_up
from .store import WasmtimeStore

try:
    from ._compiled import ffi as _ffi  # type: ignore[import-not-found]  # made at install, perhaps
    from ._compiled import lib as _lib
except ImportError as e:
    raise ImportError(
        f"its compiled part is missing ({e}); with a C compiler here, install hiwire_py from its source:"
        " python -m pip install --force-reinstall --no-binary hiwire_py hiwire_py"
    ) from None

__all__ = ["CompiledStore"]

ffi: Any = _ffi
lib: Any = _lib
set_up(ffi, lib.hw_wasmtime)

_FAILED = lib.HW_FAILED
_STACK, _RAISED = 2, 3  # what hw_failure_take says where the stack was too short, or a host function raised
_WORDS = frozenset((I32, I64))
_CALLS = (lib.hw_call_0, lib.hw_call_1, lib.hw_call_2, lib.hw_call_3, lib.hw_call_4)
_HOSTS = 3  # parameters that go to Python as integers, and not in a buffer

for _count, _name in enumerate(("hw_host_0", "hw_host_1", "hw_host_2", "hw_host_3")):
    ffi.def_extern(name=_name, onerror=hosts.on_error(lib.hw_raise))(hosts.dispatcher(_count))
ffi.def_extern(name="hw_host_n", onerror=hosts.on_error(lib.hw_raise))(hosts.dispatcher(1))


@functools.lru_cache(maxsize=1024)
def _call_form(functype: FuncType) -> tuple[CallForm, Any]:
    """How an export of a type is called, and the function of the library for it."""
    params, results = functype
    count = len(params)
    if (
        count < len(_CALLS)
        and len(results) <= 1
        and _WORDS.issuperset(params + results)
        and I64 not in results
    ):
        # The number that comes back says by itself whether the call failed.
        given = "".join(f", {{{i}}}" for i in range(count))
        code = (f"r = call(function{given})", f"if r == {_FAILED}: failed()")
        return CallForm(code, ("r",) if results else ()), _CALLS[count]
    fill = (f"{field} = {{{i}}}" for i, field in enumerate(fields(params)))
    return CallForm(
        ("v = new(values)", *fill, "if call(function, v): failed()"), fields(results)
    ), lib.hw_call


def _is_short(functype: FuncType) -> bool:
    """Whether a host function's arguments and result pass as integers, and not in an array of values."""
    params, results = functype
    return len(params) <= _HOSTS and len(results) <= 1 and _WORDS.issuperset(params + results)


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

    def host_form(self, functype: FuncType) -> HostForm:
        codes = as_integers(functype)
        if _is_short(codes):
            params = tuple(f"a{i}" for i in range(len(codes.params)))
            return HostForm(params, params, nothing="0")
        return HostForm(("v",), fields(codes.params), fields(codes.results), nothing="0")

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        codes, type_ = as_integers(functype), self._functype(functype)
        number, keep = hosts.numbered(function)
        self._hosts.append(keep)
        raw = wasmtime._bindings.wasmtime_func_t()
        pointer = ctypes.cast(type_.ptr(), ctypes.c_void_p).value
        params, results = codes
        shape = len(params) if _is_short(codes) else -1
        if not lib.hw_host_new(
            self._space, number, pointer, params, len(params), bool(results), shape, ctypes.addressof(raw)
        ):
            raise MemoryError("no memory for a host function")
        return wasmtime.Func._from_raw(raw)

    def call(self, function: RawExtern, functype: FuncType) -> Call:
        params, results = codes = as_integers(functype)
        refuse = refusing(codes)
        if refuse is not None:
            return call_of(refuse, functype)
        form, call = _call_form(codes)
        raw = lib.hw_func_new(self._space, ctypes.addressof(function._func), len(params), len(results))
        if not raw:
            raise MemoryError("no memory for a function")
        values = ffi.typeof(f"wasmtime_val_raw_t[{max(1, len(params), len(results))}]")
        names = {"call": call, "function": raw, "new": ffi.new, "values": values, "failed": self.fail}
        return Call(
            form, names, self._kept(at_release(functools.partial(lib.hw_func_drop, raw)), function, raw)
        )

    def _host_raised(self) -> bool:
        return bool(lib.hw_unwound())

    def fail(self) -> None:
        """Raise what the call that just failed failed with."""
        trap, error = ffi.new("intptr_t *"), ffi.new("intptr_t *")
        taken = lib.hw_failure_take(self._space, trap, error)
        if not taken:
            raise AssertionError("a call of wasmtime failed for no reason")
        if taken == _STACK:
            raise StackEnd
        if taken == _RAISED:
            hosts.raise_again()
        raise self._failure(trap[0], error[0])
