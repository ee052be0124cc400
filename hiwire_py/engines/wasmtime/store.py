"""A store of wasmtime: what both ways of calling have in common, which is everything but the calls.

Linking, tables and limits go through the ``wasmtime`` package; memories and globals are read through the
functions of wasmtime's C API that `capi.set_up` finds.
"""

from __future__ import annotations

import ctypes
import functools
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import wasmtime
from wasmtime._extern import wrap_extern
from wasmtime._func import enter_wasm

from ...errors import ClosedError
from ...requirements import State
from ...values import EXTERNREF, FUNCREF, FuncType
from .. import hosts, stack
from .. import limits as clock
from ..base import NO_LIMITS, Imports, RawExtern, Store
from ..calls import Call, crosses, lowered, uncallable
from ..limits import TICK, GuestLimits
from ..release import at_release
from .capi import FIELDS
from .moving import Lasting, Move, global_value, table_functions

__all__ = ["Compiled", "WasmtimeStore", "failure"]

_bindings: Any = wasmtime._bindings

_TYPES = {code: getattr(wasmtime.ValType, field) for code, field in FIELDS.items()}
_TYPES |= {FUNCREF: wasmtime.ValType.funcref, EXTERNREF: wasmtime.ValType.i32}  # an id
_KINDS = ("i32", "i64", "f32", "f64")
"""The field that has the number, by the ``kind`` of a ``wasmtime_val_t``."""
_NEVER = 1 << 62  # ticks, or fuel
_UNLIMITED = 1 << 40  # instances and so on: the package's default is 10,000


class Compiled(NamedTuple):
    """A module with the names of what it imports and exports, in its order: the package makes objects of all
    types where it is asked for them."""

    module: wasmtime.Module
    imports: list[tuple[str, str]]
    exports: list[str]
    state: State | None  # of one that may have to be moved


@functools.lru_cache(maxsize=4096)
def _encoded(name: str) -> Any:
    return ctypes.create_string_buffer(name.encode())


class _Exports(Mapping[str, RawExtern]):
    """What an instance exports. Each is looked up when it is asked for: libraries export thousands of
    functions, of which few are used.

    By its name, which wasmtime looks up in a table; the package's ``exports`` asks for the first, the second
    and so on, for each of which wasmtime goes through those before it.
    """

    def __init__(self, store: WasmtimeStore, instance: Any, names: list[str]) -> None:
        self._store, self._inside = store, store._inside
        self._instance = instance
        self._names = names
        self._found: dict[str, RawExtern] = {}

    def __getitem__(self, name: str) -> RawExtern:
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._look_up(name)
        return found

    def _look_up(self, name: str) -> RawExtern:
        store, encoded, item = self._store, _encoded(name), _bindings.wasmtime_extern_t()
        if store._inside is not self._inside:
            raise ClosedError(f"the export {name} is gone with the store of its instance")
        if not _bindings.wasmtime_instance_export_get(
            store._store._context(),
            ctypes.byref(self._instance),
            encoded,
            len(encoded) - 1,  # without the zero at its end
            ctypes.byref(item),
        ):
            raise KeyError(name)
        return wrap_extern(item)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class WasmtimeStore(Store):
    """A store of its own for each space: wasmtime frees instances with their store.

    It can become another one inside: see `wasmtime.moving`. Subclasses make the functions that cross.
    """

    ffi: Any
    api: Any

    _inner: tuple[str, ...] = ("_store", "_release", "made", "_address", "_context", "_hosts", "_inside")
    """What belongs to the store of wasmtime that is inside now."""

    def __init__(self, engine: wasmtime.Engine, limits: GuestLimits = NO_LIMITS) -> None:
        self._engine = engine
        self._limits = limits
        self._ticks = 0 if limits.deadline is None else math.ceil(limits.deadline / TICK) + 1
        # What `call` gave, by tokens that functions made of it hold: the export, and what `_retarget` needs.
        # Weak references to functions would not do: those to one that a finalizer keeps are gone.
        self._callers: weakref.WeakKeyDictionary[Any, tuple[RawExtern, Any]] = weakref.WeakKeyDictionary()
        self._open()

    def _open(self) -> None:
        """A new store of wasmtime becomes the one inside. Its memories and tables have no limits yet."""
        store = wasmtime.Store(self._engine)
        # Left to itself the package closes it before the finalizers of objects in the same cycle have run.
        self._release, self._store, self.made = at_release(store.close), store, 0
        self._inside = object()  # stands for it, and keeps nothing
        self._limit_sizes(None, None)
        address = ctypes.cast(store._context(), ctypes.c_void_p).value
        assert address is not None
        self._address, self._context = address, self.ffi.cast("wasmtime_context_t *", address)
        self._hosts: list[object] = []  # host functions are called by this store only, and go with it
        if self._limits.names:
            self.end()

    def limit_sizes(self) -> None:
        self._limit_sizes(self._limits.memory_limit, self._limits.table_limit)

    def _limit_sizes(self, memory: int | None, table: int | None) -> None:
        bytes_, elements = (-1 if limit is None else limit for limit in (memory, table))
        self._store.set_limits(bytes_, elements, _UNLIMITED, _UNLIMITED, _UNLIMITED)

    # ---- moving

    def lasting(
        self,
        compiled: Any,
        raw: Mapping[str, RawExtern],
        imports: Callable[[Sequence[Mapping[str, RawExtern]]], Imports],
    ) -> Lasting:
        for _ in raw.values():  # looked up, as long as the store is this one
            pass
        return Lasting(compiled, raw, table_functions(self, compiled, raw), imports)

    def move(self, lasting: Sequence[Lasting]) -> Move:
        return Move(self, lasting)

    def leave(self, before: dict[str, Any]) -> None:
        """Make a new store of wasmtime the one inside, and fill ``before``. Where that is so, and wherever
        this was interrupted, `back` or `arrive` is to be given it, and both may be repeated."""
        before.update({name: getattr(self, name) for name in self._inner})
        self._open()

    def back(self, before: dict[str, Any]) -> None:
        """As if `leave` had not been called."""
        for name, value in before.items():
            setattr(self, name, value)

    def arrive(self, before: dict[str, Any]) -> None:
        """Free the store that was left. From now on the limits hold in the new one."""
        self.limit_sizes()
        before.clear()

    def retarget(self, moved: Mapping[int, RawExtern]) -> None:
        """Make functions for exports, which have been overwritten, call what these are now. May be repeated.

        Args:
            moved: the exports by `id`.
        """
        for _token, (function, target) in list(self._callers.items()):
            if id(function) in moved:
                self._retarget(function, target)

    def _retarget(self, function: RawExtern, target: Any) -> None:
        """Make what `_kept` was given ``target`` for call ``function`` as it is now."""
        raise NotImplementedError

    # ---- calls

    def begin(self) -> None:
        if self._limits.fuel is not None:
            self._store.set_fuel(self._limits.fuel)
        if self._ticks:
            self._store.set_epoch_deadline(self._ticks)
            clock.ticker.start(id(self), self._store.engine)

    def end(self) -> None:
        if self._limits.fuel is not None:
            self._store.set_fuel(_NEVER)
        if self._ticks:
            clock.ticker.stop(id(self))
            self._store.set_epoch_deadline(_NEVER)

    def instantiate(
        self, compiled: Compiled, imports: Imports, keep: Callable[[object], None]
    ) -> Mapping[str, RawExtern]:
        if stack.short():
            raise stack.StackEnd
        externs = [imports[wanted] for wanted in compiled.imports]
        self.made += 1
        try:
            instance = self._instance(compiled.module, externs)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            if not self._host_raised(error):
                raise
        else:
            return _Exports(self, instance, compiled.exports)
        hosts.raise_again()
        raise AssertionError("not reached")

    def _instance(self, module: wasmtime.Module, externs: list[Any]) -> Any:
        """What `wasmtime.Instance` makes, without its imports of names for each of the externs."""
        given = (_bindings.wasmtime_extern_t * len(externs))(*(one._as_extern() for one in externs))
        instance = _bindings.wasmtime_instance_t()
        with enter_wasm(self._store) as trap:
            error = _bindings.wasmtime_instance_new(
                self._store._context(), module.ptr(), given, len(externs), ctypes.byref(instance), trap
            )
            if error:
                raise wasmtime.WasmtimeError._from_ptr(error)
        return instance

    def call(self, function: RawExtern, functype: FuncType) -> Call:
        return self._call(function, lowered(functype)) if crosses(functype) else uncallable(functype)

    def _call(self, function: RawExtern, functype: FuncType) -> Call:
        """`call` of a function whose values can all cross, by its type after lowering."""
        raise NotImplementedError

    def _functype(self, functype: FuncType) -> wasmtime.FuncType:
        params, results = ([_TYPES[code]() for code in side] for side in functype)
        return wasmtime.FuncType(params, results)

    def _host_raised(self, error: BaseException) -> bool:
        """Whether what has just failed with ``error`` did so because a host function raised."""
        raise NotImplementedError

    # ---- globals and memories

    def constant(self, code: int, value: Any, mutable: bool = False) -> RawExtern:
        value = getattr(wasmtime.Val, FIELDS[code])(value)
        return wasmtime.Global(self._store, wasmtime.GlobalType(_TYPES[code](), mutable), value)

    def memory_size(self, memory: RawExtern) -> int:
        size: int = self.api.wasmtime_memory_data_size(self._context, self._pointer(memory._memory, "memory"))
        return size

    def memory_address(self, memory: RawExtern) -> int:
        return self._number(
            self.api.wasmtime_memory_data(self._context, self._pointer(memory._memory, "memory"))
        )

    def memory_grow(self, memory: RawExtern, pages: int) -> bool:
        try:
            memory.grow(self._store, pages)
        except wasmtime.WasmtimeError:
            return False
        return True

    def global_get(self, global_: RawExtern) -> Any:
        value = global_value(self._store, global_)
        return getattr(value.of, _KINDS[value.kind])

    def global_set(self, global_: RawExtern, value: Any) -> None:
        global_.set_value(self._store, value)

    def _pointer(self, struct: Any, name: str) -> Any:
        """A ctypes struct as cffi's pointer to it; the struct's owner must outlive it."""
        return self.ffi.cast(f"wasmtime_{name}_t *", ctypes.addressof(struct))

    def _number(self, pointer: Any) -> int:
        return int(self.ffi.cast("uintptr_t", pointer))


def failure(trap: int, error: int) -> BaseException:
    """The package's exception for a ``wasm_trap_t *`` or else a ``wasmtime_error_t *``, which it deletes."""
    try:
        if trap:
            return wasmtime.Trap._from_ptr(ctypes.cast(trap, ctypes.POINTER(_bindings.wasm_trap_t)))
        return wasmtime.WasmtimeError._from_ptr(
            ctypes.cast(error, ctypes.POINTER(_bindings.wasmtime_error_t))
        )
    except ctypes.ArgumentError as e:  # ctypes' way to say that Python's stack is at its end here
        return RecursionError(str(e))
