"""Leaving a store of wasmtime for another one.

wasmtime frees nothing that a store holds before the store itself: an instance keeps some 15 KB, its memory
4 GiB of the address space and two of the 65,530 mappings that Linux lets a process have. Where guests come
and go, the few instances that stay, the lasting ones, are made again in a new store, with the state of the
old ones, and the old store is freed. objects/moving.py says when.

What Python holds of lasting instances stays good: `Move.end` overwrites the structs in the objects of the
wasmtime package, and points functions at their new targets. It can be repeated where it was interrupted.
"""

from __future__ import annotations

import array
import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import wasmtime

from ...requirements import State
from ..base import Imports, RawExtern
from ..stack import StackEnd
from .capi import HOLDS

__all__ = ["Lasting", "Move", "global_value", "table_functions"]

_bindings: Any = wasmtime._bindings
_PAGE = 65536

_Saved: TypeAlias = tuple[list[tuple[int, int]], list[Any]]
"""The state of an instance: its memories by address and size, good as long as the old store is there, and its
globals that are numbers."""


class Lasting(NamedTuple):
    """An instance that may be moved.

    Attributes:
        compiled: its module, with its `State`.
        raw: its exports.
        functions: what its tables of functions held when it was made.
        imports: for the exports of the instances that were moved before it, in their order, what it imports.
    """

    compiled: Any
    raw: Mapping[str, RawExtern]
    functions: list[list[int]]
    imports: Callable[[Sequence[Mapping[str, RawExtern]]], Imports]

    def why_fixed(self, store: Any) -> str:
        """Why it cannot be moved, or ""."""
        state: State = self.compiled.state
        if not state.why_fixed and table_functions(store, self.compiled, self.raw) != self.functions:
            return "its table of functions has been changed"
        return state.why_fixed


class Move:
    """One move: `make`, and whatever came of that, `end`. A signal handler may raise at any time, and `end`
    can be called again.

    Args:
        store: the store that is to be another one inside. No call of it is on its way.
        lasting: the instances to take along; each imports of those before it only.

    Attributes:
        made: whether all is in the new store. If not, nothing that Python holds has changed.
    """

    def __init__(self, store: Any, lasting: Sequence[Lasting]) -> None:
        self.made = False
        self._store = store
        self._lasting = lasting
        self._before: dict[str, Any] = {}
        self._made: list[Mapping[str, RawExtern]] = []
        self._functions: list[list[list[int]]] = []

    def make(self) -> None:
        """Make the instances anew, with what the first ones hold.

        Raises:
            MemoryError: there is no room for that.
        """
        store = self._store
        try:
            saved = [_save(store, one) for one in self._lasting]
            store.leave(self._before)
            for one, state in zip(self._lasting, saved):
                self._made.append(store.instantiate(one.compiled, one.imports(self._made), lambda made: None))
                self._functions.append(table_functions(store, one.compiled, self._made[-1]))
                _restore(store, one.compiled.state, self._made[-1], state)
        except (wasmtime.WasmtimeError, wasmtime.Trap, RecursionError, StackEnd) as error:
            raise MemoryError(" ".join(str(error).split())) from error
        self.made = True

    def end(self) -> None:
        """Point all that Python holds at the new store, and free the old one; or go back to that."""
        if not self._before:
            return
        if not self.made:
            self._store.back(self._before)
            self._before.clear()
            return
        moved: dict[int, RawExtern] = {}
        for one, made, functions in zip(self._lasting, self._made, self._functions):
            one.functions[:] = functions
            for name, extern in one.raw.items():
                _overwrite(extern, made[name])
                moved[id(extern)] = extern
        self._store.retarget(moved)
        self._store.arrive(self._before)


def _save(store: Any, one: Lasting) -> _Saved:
    state: State = one.compiled.state
    raw = one.raw
    return (
        [(store.memory_address(raw[name]), store.memory_size(raw[name])) for name in state.memories],
        [global_value(store._store, raw[name]) for name in state.numbers],
    )


def _restore(store: Any, state: State, raw: Mapping[str, RawExtern], saved: _Saved) -> None:
    memories, numbers = saved
    for name, (address, size) in zip(state.memories, memories):
        missing = size - store.memory_size(raw[name])
        if missing > 0 and not store.memory_grow(raw[name], missing // _PAGE):
            raise MemoryError(f"wasmtime has no room for another memory of {size} bytes")
        ctypes.memmove(store.memory_address(raw[name]), address, size)
    context = store._store._context()
    for name, number in zip(state.numbers, numbers):
        error = _bindings.wasmtime_global_set(context, ctypes.byref(raw[name]._global), ctypes.byref(number))
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)


def global_value(store: wasmtime.Store, global_: RawExtern) -> Any:
    """A global's ``wasmtime_val_t``. It has all bits, which those of a NaN in Python are not."""
    value = _bindings.wasmtime_val_t()
    _bindings.wasmtime_global_get(store._context(), ctypes.byref(global_._global), ctypes.byref(value))
    return value


def table_functions(store: Any, compiled: Any, raw: Mapping[str, RawExtern]) -> list[list[int]]:
    """Where the functions in an instance's tables are, 0 for null."""
    context = store._store._context()
    value = _bindings.wasmtime_val_t()
    place = ctypes.addressof(value.of.funcref)
    words = (ctypes.c_int64 * 2).from_address(place)  # the store's number, and the function's address
    tables = []
    for name in compiled.state.functions:
        found, pointer = array.array("q"), ctypes.byref(raw[name]._table)
        for index in range(raw[name].size(store._store)):
            _bindings.wasmtime_table_get(context, pointer, index, ctypes.byref(value))
            found.append(words[1] if words[0] else 0)
        tables.append(found.tolist())
    return tables


def _overwrite(old: RawExtern, new: RawExtern) -> None:
    target, source = (getattr(extern, HOLDS[type(old)]) for extern in (old, new))
    ctypes.memmove(ctypes.addressof(target), ctypes.addressof(source), ctypes.sizeof(target))
