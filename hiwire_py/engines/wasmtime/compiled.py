"""Calls of wasmtime through functions compiled at install, of calls.c: one crossing a call."""

from __future__ import annotations

import array
import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import wasmtime

from ...values import EXTERNREF, I32, I64, FuncType
from ..base import RawExtern
from ..release import at_release
from ..stack import StackEnd
from .capi import FIELDS, CapiStore, no_room, refuse, set_up, strays, unsupported

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
_collect, _take = lib.hw_collect, lib.hw_take  # finding them in `lib` costs as much as calling them
_WORDS = frozenset((I32, I64, EXTERNREF))
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


def _field(code: int) -> str:
    return FIELDS.get(code, "i64")


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
        fill = [f"v[{i}].{_field(code)} = {a}" for i, (a, code) in enumerate(zip(names, params))]
        read = [f"v[{i}].{_field(code)}" for i, code in enumerate(results)]
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
    read = [f"v[{i}].{_field(code)}" for i, code in enumerate(params)]
    call = f"function({', '.join(read)})"
    if len(results) == 1:
        call = f"v[0].{_field(results[0])} = {call}"
    elif results:
        targets = ", ".join(f"v[{i}].{_field(code)}" for i, code in enumerate(results))
        call = f"{targets} = {call}"
    return compile(_HOST.format(params="v", body=call), "<hiwire_py host call>", "exec"), -1


class CompiledStore(CapiStore):
    ffi = ffi
    api = lib.hw_wasmtime

    _inner = (*CapiStore._inner, "_hosts", "_forget")
    _space: Any = None

    def _open(self) -> None:
        super()._open()
        self._hosts: list[int] = []
        # The functions are called by this store only, so they go with it.
        self._forget = at_release(functools.partial(_forget, self._hosts))
        if self._space is not None:
            lib.hw_space_leave(self._space, self._address)
            return
        space = lib.hw_space_new(self._address)
        if not space:
            raise MemoryError("no memory for the state of a store")
        self._space = space
        self._drop = at_release(functools.partial(lib.hw_space_drop, space))
        self.status = lib.hw_space_status(self._space)

    def back(self, before: dict[str, Any]) -> None:
        super().back(before)
        lib.hw_space_back(self._space, self._address)

    def arrive(self, before: dict[str, Any]) -> None:
        lib.hw_space_arrive(self._space)
        super().arrive(before)

    def _retarget(self, function: RawExtern, target: Any) -> None:
        lib.hw_func_move(target, ctypes.addressof(function._func))

    def fill_table(self, table: RawExtern, references: Sequence[int]) -> None:
        self._grow_to(table, len(references))
        ids = array.array("q", references)
        if ids and lib.hw_table_fill(
            self._space, ctypes.addressof(table._table), ffi.from_buffer("int64_t[]", ids), len(ids)
        ):
            raise no_room(self._limits)

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        codes = self._codes(functype)
        type_ = self._functype(functype)
        source, shape = _host_code(codes)
        names: dict[str, Any] = {}
        exec(source, names)
        number = next(_numbers)
        _functions[number] = names["bind"](
            refuse(codes) if any(unsupported(codes)) else function, self._raised, lib.hw_raise
        )
        self._hosts.append(number)
        raw = wasmtime._bindings.wasmtime_func_t()
        pointer = ctypes.cast(type_.ptr(), ctypes.c_void_p).value
        made = lib.hw_host_new(
            self._space,
            number,
            pointer,
            codes.params + codes.results,
            len(codes.params),
            len(codes.results),
            shape,
            ctypes.addressof(raw),
        )
        if not made:
            raise MemoryError("no memory for a host function")
        return wasmtime.Func._from_raw(raw)

    def caller(self, function: RawExtern, functype: FuncType, touches: bool = True) -> Callable[..., Any]:
        codes = self._codes(functype)
        if any(unsupported(codes)):
            return refuse(codes)
        source, call = _call_code(codes)
        names: dict[str, Any] = {}
        exec(source, names)
        params, results = codes
        raw = lib.hw_func_new(
            self._space, ctypes.addressof(function._func), params + results, len(params), len(results),
            touches and not self._lowered,
        )  # fmt: skip
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
        raise self.failure(trap[0], error[0])

    def root(self, id_: int, value: Any) -> None:
        if id_ and not lib.hw_value_new(self._space, id_, self._number(value)):
            raise self.failure(0, 0)

    def id_of(self, value: Any) -> int:
        if not value.of.externref.store_id:
            return 0
        id_: int = lib.hw_value_id(self._space, self._number(value))
        return id_

    def collect_ids(self) -> list[int]:
        id_ = _collect(self._space)
        if id_ >= 0:
            return [id_] if id_ else []
        ids = []
        while id_ < 0:
            ids.append(-id_)
            id_ = _take(self._space)
        if id_:
            ids.append(id_)
        return ids

    def count_held(self) -> int:
        count: int = lib.hw_space_held(self._space)
        return count

    def held_ids(self) -> set[int]:
        room = lib.hw_space_ids(self._space, ffi.NULL, 0)
        ids = ffi.new("int64_t[]", room)
        lib.hw_space_ids(self._space, ids, room)
        return set(ffi.unpack(ids, room)) if room else set()

    def table_ids(self, table: RawExtern) -> array.array[int]:
        ids = array.array("q", bytes(8 * self.table_size(table)))
        if ids:
            room = ffi.from_buffer("int64_t[]", ids)
            if lib.hw_table_ids(self._space, ctypes.addressof(table._table), room, len(ids)):
                raise AssertionError("a table of wasmtime has fewer slots than its size")
        return ids

    def touched(self) -> None:
        lib.hw_touched(self._space)


def _forget(numbers: list[int]) -> None:
    for number in numbers:
        _functions.pop(number, None)
