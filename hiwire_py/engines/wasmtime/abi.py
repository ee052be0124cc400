"""Calls of wasmtime through cffi's ABI mode: for machines that had no C compiler when this package was
installed."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import cffi
import wasmtime

from ...values import EXTERNREF, FuncType
from ..base import NO_LIMITS, RawExtern
from ..cells import cells_of, set_cells
from ..limits import GuestLimits
from ..release import at_release, new_token
from ..stack import StackEnd, short
from .capi import FIELDS, CapiStore, Strays, no_room, refuse, set_up, strays, unsupported
from .declarations import TYPES

__all__ = ["AbiStore"]

_SPACE_BITS = 40  # an externref's data: the number of its store above its id
_ID = (1 << _SPACE_BITS) - 1
_RELEASED, _TOUCHED = 1, 2  # bits of a store's status

ffi: Any = cffi.FFI()
ffi.cdef(TYPES)
_api: Any = ffi.new("hw_api *")
set_up(ffi, _api)
# cffi parses each type once, with a lock held, which a signal handler that raises would leave locked.
for _type in (
    *(
        f"wasmtime_{name}_t *"
        for name in ("context", "val", "externref", "func", "memory", "global", "table")
    ),
    *("wasm_functype_t *", "wasm_globaltype_t *", "wasm_trap_t *[1]", "uint64_t *", "uintptr_t"),
    *(f"wasmtime_val_raw_t[{size}]" for size in range(1, 9)),
):
    ffi.typeof(_type)

_numbers = itertools.count(1)
_functions: dict[int, Callable[..., Any]] = {}  # what wasmtime may call, by the number that it has been given
_stores: dict[
    int, tuple[deque[int], list[int]]
] = {}  # number of a store -> ids that wasmtime let go of, its status


_MESSAGE = b"a host function raised an exception"


def _trap() -> Any:
    return _api.wasmtime_trap_new(_MESSAGE, len(_MESSAGE))


def _stray(kind: Any, error: Any, traceback: Any) -> Any:
    strays.errors.append(error)
    return _trap()


def _call_python(env: int, caller: Any, values: Any, count: int) -> Any:
    return _functions[env](values)


def _ignore(env: int) -> None:
    return None


def _release(data: int) -> None:
    """On any thread, perhaps within a collection by wasmtime: nothing but note it."""
    store = _stores.get(data >> _SPACE_BITS)
    if store is not None:
        waiting, status = store
        waiting.append(data & _ID)
        status[0] |= _RELEASED


def _release_again(kind: Any, error: Any, traceback: Any) -> None:
    """A signal handler raised in `_release`. Out of what wasmtime calls no exception comes: this one goes on
    in `AbiStore.collect_ids`."""
    _release(traceback.tb_frame.f_locals["data"])
    _put_off.errors.append(error)


_put_off = Strays()

# These three are wasmtime's for good: it may call them on any thread, for as long as one of its stores lives.
_entry: Any = ffi.callback("hw_callback", _call_python, onerror=_stray)
_no_longer: Any = ffi.callback("hw_finalizer", _ignore)
_finalize: Any = ffi.callback("hw_finalizer", _release, onerror=_release_again)


_CALL = """\
def bind(store, call, context, function, new, values, traps, enter, leave, unroot, failed, size, short, end):
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
def bind(function, raised, trap, enter, leave, NULL):
    def host(v):
        try:
            {body}
        except BaseException as error:
            raised.append(error)
            return trap()
        return NULL
    return host
"""


def _read(i: int, code: int) -> str:
    return f"leave(v[{i}].externref)" if code == EXTERNREF else f"v[{i}].{FIELDS[code]}"


@functools.lru_cache(maxsize=1024)
def _call_code(functype: FuncType) -> Any:
    names = [f"a{i}" for i in range(len(functype.params))]
    refs = [a for a, code in zip(names, functype.params) if code == EXTERNREF]
    fill = [
        f"v[{i}].{FIELDS[c]} = {a}" for i, (a, c) in enumerate(zip(names, functype.params)) if c != EXTERNREF
    ]
    if refs:
        # All at once: a number does not protect its externref while another one is made.
        targets = ", ".join(f"v[{i}].externref" for i, c in enumerate(functype.params) if c == EXTERNREF)
        fill.append(f"{targets}, = enter({', '.join(refs)})")
    read = [_read(i, code) for i, code in enumerate(functype.results)]
    source = _CALL.format(
        params=", ".join(names), fill="; ".join(fill) or "pass", result=f"return {', '.join(read) or None}"
    )
    return compile(source, "<hiwire_py call>", "exec")


@functools.lru_cache(maxsize=1024)
def _host_code(functype: FuncType) -> Any:
    params, results = functype
    call = f"function({', '.join(_read(i, code) for i, code in enumerate(params))})"
    if not results:
        return compile(_HOST.format(body=call), "<hiwire_py host call>", "exec")
    names = [f"r{i}" for i in range(len(results))]
    body = [f"{', '.join(names)} = {call}"]
    body += [f"v[{i}].{FIELDS[c]} = {r}" for i, (r, c) in enumerate(zip(names, results)) if c != EXTERNREF]
    refs = [(i, r) for i, (r, c) in enumerate(zip(names, results)) if c == EXTERNREF]
    if refs:
        targets = ", ".join(f"v[{i}].externref" for i, _ in refs)
        body.append(f"{targets}, = enter({', '.join(r for _, r in refs)})")
    return compile(_HOST.format(body="; ".join(body)), "<hiwire_py host call>", "exec")


class AbiStore(CapiStore):
    ffi = ffi
    api = _api

    _inner = (*CapiStore._inner, "_number_of_store", "_make_ref", "_hosts", "_forget")

    def __init__(self, engine: wasmtime.Engine, lowered: bool, limits: GuestLimits = NO_LIMITS) -> None:
        self._held: set[int] = set()
        self._left: set[int] | None = None  # what the store that is being left holds
        self._waiting: deque[int] = deque()
        self.status = [0] * 5
        super().__init__(engine, lowered, limits)

    def _open(self) -> None:
        super()._open()
        self._number_of_store = next(_numbers)
        self._hosts: list[int] = []
        _stores[self._number_of_store] = self._waiting, self.status
        self._make_ref = self._ref_maker()
        self._forget = at_release(functools.partial(_forget, self._number_of_store, self._hosts))

    def _depart(self) -> None:
        self._left = set(self._held)
        self._held.clear()

    def back(self, before: dict[str, Any]) -> None:
        if self._number_of_store != before.get("_number_of_store", self._number_of_store):
            _stores.pop(self._number_of_store, None)  # what it lets go of when it is freed is held elsewhere
        super().back(before)
        if self._left is not None:
            self._held.clear()
            self._held.update(self._left)
            self._left = None

    def arrive(self, before: dict[str, Any]) -> None:
        self._left = None
        _stores.pop(before.get("_number_of_store", 0), None)
        super().arrive(before)

    def _retarget(self, function: RawExtern, target: Any) -> None:
        enter, leave = self._entering()
        copy = ffi.new("wasmtime_func_t *", self._pointer(function._func, "func")[0])
        set_cells(target, context=self._context, function=copy, enter=enter, leave=leave)

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        codes = self._codes(functype)
        if any(unsupported(codes)):
            call: Any = lambda v: refuse(codes)()  # noqa: E731
            body = compile(_HOST.format(body="function(v)"), "<hiwire_py host call>", "exec")
        else:
            call, body = function, _host_code(codes)
        names: dict[str, Any] = {}
        exec(body, names)
        number = next(_numbers)
        enter, leave = self._entering()
        _functions[number] = names["bind"](call, self._raised, _trap, enter, leave, ffi.NULL)
        self._hosts.append(number)
        type_ = self._functype(functype)
        raw = wasmtime._bindings.wasmtime_func_t()
        self.api.wasmtime_func_new_unchecked(
            self._context,
            self._cast("wasm_functype_t *", type_.ptr()),
            _entry,
            number,
            _no_longer,
            self._pointer(raw, "func"),
        )
        return wasmtime.Func._from_raw(raw)

    def caller(self, function: RawExtern, functype: FuncType, touches: bool = True) -> Callable[..., Any]:
        codes = self._codes(functype)
        if any(unsupported(codes)):
            return refuse(codes)
        names: dict[str, Any] = {}
        exec(_call_code(codes), names)
        params, results = codes
        size = max(len(params), len(results))
        enter, leave = self._entering()
        bound: Callable[..., Any] = names["bind"](
            self,
            self._touching_call() if touches and not self._lowered else self.api.wasmtime_func_call_unchecked,
            self._context,
            ffi.new("wasmtime_func_t *", self._pointer(function._func, "func")[0]),
            ffi.new,
            ffi.typeof(f"wasmtime_val_raw_t[{max(1, size)}]"),
            ffi.typeof("wasm_trap_t *[1]"),
            enter,
            leave,
            self.api.wasmtime_externref_unroot,
            self.fail,
            size,
            short,
            StackEnd,
        )
        cells = cells_of(bound, "context", "function", "enter", "leave")
        return self._made(bound, new_token(), function, cells)

    def _touching_call(self) -> Callable[..., Any]:
        call, held, status = self.api.wasmtime_func_call_unchecked, self._held, self.status

        def touching(*args: Any) -> Any:
            if held:
                status[0] |= _TOUCHED
            return call(*args)

        return touching

    def fail(self, error: Any, trap: Any) -> None:
        """Raise what the call that just failed failed with."""
        if self._host_raised():
            if error:
                self.api.wasmtime_error_delete(error)
            if trap:
                self.api.wasm_trap_delete(trap)
            self._raise()
        raise self.failure(self._number(trap), self._number(error))

    # ---- references

    def _ref_maker(self) -> Callable[[int, Any], None]:
        """What makes the externref for an id, in its second argument, and does not hold the store."""
        context, held, status, limits = self._context, self._held, self.status, self._limits
        new, first = self.api.wasmtime_externref_new, self._number_of_store << _SPACE_BITS

        def make_ref(id_: int, ref: Any) -> None:
            status[0] |= _TOUCHED
            if not new(context, first | id_, _finalize, ref):
                raise no_room(limits)
            held.add(id_)

        return make_ref

    def _entering(self) -> tuple[Callable[..., list[int]], Callable[[int], int]]:
        """ids -> externrefs as wasmtime passes them, and one of these -> its id. They do not hold the
        store."""
        api, context, make_ref = self.api, self._context, self._make_ref
        to_raw, from_raw, unroot = (
            api.wasmtime_externref_to_raw,
            api.wasmtime_externref_from_raw,
            api.wasmtime_externref_unroot,
        )
        data_of = api.wasmtime_externref_data
        new = ffi.new
        number = self._number_of_store

        def enter(*ids: int) -> list[int]:
            refs: list[Any] = []
            try:
                for id_ in ids:
                    if id_:
                        ref = new("wasmtime_externref_t *")
                        refs.append(ref)  # a signal handler may raise before it is made: then it is null
                        make_ref(id_, ref)
                    else:
                        refs.append(None)
                return [0 if ref is None else to_raw(context, ref) for ref in refs]
            finally:
                for ref in refs:
                    if ref is not None:
                        unroot(ref)

        def leave(raw: int) -> int:
            if not raw:
                return 0
            ref = new("wasmtime_externref_t *")
            try:
                from_raw(context, raw, ref)
                data: int = data_of(context, ref)
            finally:
                unroot(ref)
            return data & _ID if data >> _SPACE_BITS == number else -1

        return enter, leave

    def root(self, id_: int, value: Any) -> None:
        if id_:
            self._make_ref(id_, ffi.addressof(value.of, "externref"))

    def id_of(self, value: Any) -> int:
        ref = ffi.addressof(value.of, "externref")
        if not value.of.externref.store_id:
            return 0
        data: int = self.api.wasmtime_externref_data(self._context, ref)
        return data & _ID if data >> _SPACE_BITS == self._number_of_store else -1

    def collect_ids(self) -> list[int]:
        ids: list[int] = []
        waiting, held = self._waiting, self._held
        status, self.status[0] = self.status[0], 0
        if status & _TOUCHED:
            error = self.api.wasmtime_context_gc(self._context)
            if error:
                self.api.wasmtime_error_delete(error)
        while True:
            # Signal handlers come in only at calls and where a jump is taken, so none interrupts a step.
            if waiting:
                id_ = waiting[0]
                del waiting[0]
                held -= {id_}
                ids += (id_,)
            else:
                break
        if _put_off.errors:
            raise _put_off.errors.pop()
        return ids

    def count_held(self) -> int:
        return len(self._held)

    def held_ids(self) -> set[int]:
        return set(self._held)

    def touched(self) -> None:
        if self._held:
            self.status[0] |= _TOUCHED


def _forget(number: int, hosts: list[int]) -> None:
    _stores.pop(number, None)
    for host in hosts:
        _functions.pop(host, None)
