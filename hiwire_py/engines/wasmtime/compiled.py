"""Calls of wasmtime through functions compiled at install, of calls.c: one crossing a call."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable
from typing import Any

import wasmtime

from ...values import I32, I64, FuncType
from ..base import RawExtern
from ..release import at_release
from ..stack import StackEnd
from .capi import FIELDS, as_integers, refusing, set_up, strays
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
_STACK = 2  # what hw_failure_take says where the stack was too short
_WORDS = frozenset((I32, I64))
_CALLS = (lib.hw_call_0, lib.hw_call_1, lib.hw_call_2, lib.hw_call_3, lib.hw_call_4)
_HOSTS = 3  # parameters that go to Python as integers, and not in a buffer

_functions: dict[int, Callable[..., Any]] = {}  # what wasmtime may call, by the number that it has been given
_numbers = itertools.count(1)


def _stray(kind: Any, error: Any, traceback: Any) -> None:
    strays.errors.append(error)
    lib.hw_raise()


def _host_0(index: int) -> int:
    result: int = _functions[index]()
    return result


def _host_1(index: int, a: int) -> int:
    result: int = _functions[index](a)
    return result


def _host_2(index: int, a: int, b: int) -> int:
    result: int = _functions[index](a, b)
    return result


def _host_3(index: int, a: int, b: int, c: int) -> int:
    result: int = _functions[index](a, b, c)
    return result


def _host_n(index: int, values: Any) -> int:
    _functions[index](values)
    return 0


for _function in (_host_0, _host_1, _host_2, _host_3, _host_n):
    ffi.def_extern(name=f"hw{_function.__name__}", onerror=_stray)(_function)


# `r` is a number that says by itself whether the call failed.
_WORD_CALL = """\
def bind(call, function, new, values, failed):
    def raw({params}):
        r = call(function{args})
        if r == {FAILED}: failed()
        {result}
    return raw
"""
_CALL = """\
def bind(call, function, new, values, failed):
    def raw({params}):
        v = new(values)
        {fill}
        if call(function, v): failed()
        {result}
    return raw
"""
_HOST = """\
def bind(function, raised, mark):
    def host({params}):
        try:
            {body}
        except BaseException as error:
            raised.append(error)
            mark()
            return 0
    return host
"""


@functools.lru_cache(maxsize=1024)
def _call_code(functype: FuncType) -> tuple[Any, Any]:
    """The source of a caller, compiled, and the function of the library that it uses."""
    params, results = functype
    names = [f"a{i}" for i in range(len(params))]
    short = (
        len(params) < len(_CALLS)
        and len(results) <= 1
        and _WORDS.issuperset(params + results)
        and I64 not in results
    )
    if short:
        source = _WORD_CALL.format(
            params=", ".join(names),
            args="".join(f", {a}" for a in names),
            FAILED=_FAILED,
            result="return r" if results else "return None",
        )
    else:
        fill = [f"v[{i}].{FIELDS[code]} = {a}" for i, (a, code) in enumerate(zip(names, params))]
        read = [f"v[{i}].{FIELDS[code]}" for i, code in enumerate(results)]
        source = _CALL.format(
            params=", ".join(names),
            fill="; ".join(fill) or "pass",
            result=f"return {', '.join(read) or None}",
        )
    return compile(source, "<hiwire_py call>", "exec"), _CALLS[len(params)] if short else lib.hw_call


@functools.lru_cache(maxsize=1024)
def _host_code(functype: FuncType) -> tuple[Any, int]:
    """The source of what wasmtime calls, compiled, and its ``shape`` as ``hw_host_new`` takes it."""
    params, results = functype
    names = [f"a{i}" for i in range(len(params))]
    if len(params) <= _HOSTS and len(results) <= 1 and _WORDS.issuperset(params + results):
        call = f"function({', '.join(names)})"
        source = _HOST.format(
            params=", ".join(names), body=f"return {call}" if results else f"{call}; return 0"
        )
        return compile(source, "<hiwire_py host call>", "exec"), len(params)
    read = [f"v[{i}].{FIELDS[code]}" for i, code in enumerate(params)]
    call = f"function({', '.join(read)})"
    if len(results) == 1:
        call = f"v[0].{FIELDS[results[0]]} = {call}"
    elif results:
        targets = ", ".join(f"v[{i}].{FIELDS[code]}" for i, code in enumerate(results))
        call = f"{targets} = {call}"
    return compile(_HOST.format(params="v", body=call), "<hiwire_py host call>", "exec"), -1


class CompiledStore(WasmtimeStore):
    ffi = ffi
    api = lib.hw_wasmtime

    _inner = (*WasmtimeStore._inner, "_hosts", "_forget")
    _space: Any = None

    def _open(self) -> None:
        super()._open()
        self._hosts: list[int] = []
        # The functions are called by this store only, so they go with it.
        self._forget = at_release(functools.partial(_forget, self._hosts))
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
        codes, type_ = as_integers(functype), self._functype(functype)
        source, shape = _host_code(codes)
        names: dict[str, Any] = {}
        exec(source, names)
        number = next(_numbers)
        _functions[number] = names["bind"](function, self._raised, lib.hw_raise)
        self._hosts.append(number)
        raw = wasmtime._bindings.wasmtime_func_t()
        pointer = ctypes.cast(type_.ptr(), ctypes.c_void_p).value
        params, results = codes
        if not lib.hw_host_new(
            self._space, number, pointer, params, len(params), bool(results), shape, ctypes.addressof(raw)
        ):
            raise MemoryError("no memory for a host function")
        return wasmtime.Func._from_raw(raw)

    def caller(self, function: RawExtern, functype: FuncType) -> Callable[..., Any]:
        params, results = codes = as_integers(functype)
        refuse = refusing(codes)
        if refuse is not None:
            return refuse
        source, call = _call_code(codes)
        names: dict[str, Any] = {}
        exec(source, names)
        raw = lib.hw_func_new(self._space, ctypes.addressof(function._func), len(params), len(results))
        if not raw:
            raise MemoryError("no memory for a function")
        values = ffi.typeof(f"wasmtime_val_raw_t[{max(1, len(params), len(results))}]")
        bound: Callable[..., Any] = names["bind"](call, raw, ffi.new, values, self.fail)
        return self._made(bound, at_release(functools.partial(lib.hw_func_drop, raw)), function, raw)

    def fail(self) -> None:
        """Raise what the call that just failed failed with."""
        if self._host_raised():
            lib.hw_failure_drop(self._space)
            self._raise()
        trap, error = ffi.new("intptr_t *"), ffi.new("intptr_t *")
        taken = lib.hw_failure_take(self._space, trap, error)
        if not taken:
            raise AssertionError("a call of wasmtime failed for no reason")
        if taken == _STACK:
            raise StackEnd
        raise self._failure(trap[0], error[0])


def _forget(numbers: list[int]) -> None:
    for number in numbers:
        _functions.pop(number, None)
