"""The wasmtime engine with its hot paths through cffi: how the way of calling is chosen, and what the ways
share.

There are three ways, the best first: functions compiled at install (`wasmtime.compiled`), cffi's ABI mode,
which needs no compiler (`wasmtime.abi`), and the plain package (`wasmtime`). All use the library that the
package has loaded, and all leave compiling, linking and configuration to the package.
"""

from __future__ import annotations

import array
import ctypes
import functools
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import wasmtime

from ...errors import MemoryLimitError
from ...real_threads import local
from ...values import EXTERNREF, F32, F64, I32, I64, FuncType, type_name
from ..base import NO_LIMITS, Imports, RawExtern, RefStore
from ..limits import GuestLimits
from .engine import WasmtimeStore

__all__ = [
    "FIELDS",
    "MODES",
    "CapiStore",
    "Mode",
    "Strays",
    "mode",
    "no_room",
    "refuse",
    "set_up",
    "strays",
    "unsupported",
]

MODES = {"compiled": "cffi (compiled)", "abi": "cffi (ABI)", "package": "wasmtime package"}
"""What HIWIRE_WASMTIME_MODE may say -> the name of that way of calling."""

FIELDS = {I32: "i32", I64: "i64", F32: "f32", F64: "f64"}
"""Where ``wasmtime_val_t`` and ``wasmtime_val_raw_t`` have a number of each type."""

_KINDS = {I32: 0, I64: 1, F32: 2, F64: 3, EXTERNREF: 6}
_CONTEXT = "wasmtime_context_t *"


@dataclass(frozen=True)
class Mode:
    """A way of calling.

    Attributes:
        name: as `MODES` has it.
        reason: why it is not a better one, or "".
        store: the class of its stores.
    """

    name: str
    reason: str
    store: type[WasmtimeStore]


class Strays(local):
    """What was raised just outside of the code that would have caught it: an interrupt, or no memory."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []


strays = Strays()


def mode() -> Mode:
    """The best way there is, or the one that the environment variable HIWIRE_WASMTIME_MODE names.

    Raises:
        ImportError: it names one that is not there, or that does not exist.
    """
    return _mode(os.environ.get("HIWIRE_WASMTIME_MODE") or None)


@functools.cache
def _mode(wanted: str | None) -> Mode:
    if wanted is not None and wanted not in MODES:
        raise ImportError(f"HIWIRE_WASMTIME_MODE is {wanted!r}; it can be {', '.join(MODES)}")
    reasons = []
    for key, name in MODES.items():
        if wanted is not None and key != wanted:
            continue
        try:
            store = _LOADERS[key]()
        except (ImportError, AttributeError) as e:
            reasons.append(f"{name} is not used: {e}")
            continue
        if wanted is not None:
            reasons.append("HIWIRE_WASMTIME_MODE asks for it")
        return Mode(name, "; ".join(reasons), store)
    raise ImportError(f"HIWIRE_WASMTIME_MODE is {wanted!r}, but {'; '.join(reasons)}")


def _compiled() -> type[WasmtimeStore]:
    from .compiled import CompiledStore

    return CompiledStore


def _abi() -> type[WasmtimeStore]:
    from .abi import AbiStore

    return AbiStore


_LOADERS: dict[str, Callable[[], type[WasmtimeStore]]] = {
    "compiled": _compiled,
    "abi": _abi,
    "package": lambda: WasmtimeStore,
}


def set_up(ffi: Any, api: Any) -> None:
    """Fill ``api``, an ``hw_api``, with the addresses of the functions, if all is as it is declared.

    Raises:
        ImportError: the package's library or objects are not what they were when this was written; with the
            reason.
    """
    _bindings: Any = wasmtime._bindings

    from .declarations import addresses, differences

    different = list(differences(ffi, _bindings))
    if different:
        raise ImportError(f"wasmtime {_version()} differs from what is declared here: {'; '.join(different)}")
    _check_objects()
    for name, address in addresses(ffi, _bindings.dll).items():
        setattr(api, name, ffi.cast(ffi.typeof(getattr(api, name)), address))


def _check_objects() -> None:
    """The package's objects keep their C structs where `CapiStore` looks for them.

    No engine is made for this: making one installs wasmtime's signal handlers, and asking which engines there
    are must not.
    """
    bindings = wasmtime._bindings
    class_: Any
    for class_, struct, name in (
        (wasmtime.Func, bindings.wasmtime_func_t, "_func"),
        (wasmtime.Global, bindings.wasmtime_global_t, "_global"),
        (wasmtime.Memory, bindings.wasmtime_memory_t, "_memory"),
        (wasmtime.Table, bindings.wasmtime_table_t, "_table"),
    ):
        if not hasattr(class_, "_from_raw") or not hasattr(class_._from_raw(struct()), name):
            raise ImportError(
                f"wasmtime.{class_.__name__} of version {_version()} keeps its struct elsewhere"
            )
    for class_, name in (
        (wasmtime.Store, "_context"),
        (wasmtime.Trap, "_from_ptr"),
        (wasmtime.WasmtimeError, "_from_ptr"),
    ):
        if not hasattr(class_, name):
            raise ImportError(f"wasmtime.{class_.__name__} of version {_version()} has no {name}")


def _version() -> str:
    return importlib.metadata.version("wasmtime")


class CapiStore(WasmtimeStore, RefStore):
    """What the two ways through cffi share: all that is not hot.

    Subclasses say how ids and wasmtime's references turn into each other.
    """

    ffi: Any
    api: Any

    null = 0
    _inner = (*WasmtimeStore._inner, "_address", "_context")

    def __init__(self, engine: wasmtime.Engine, lowered: bool, limits: GuestLimits = NO_LIMITS) -> None:
        self._raised: list[BaseException] = []  # by a host function; the call it unwinds to raises it again
        super().__init__(engine, lowered, limits)

    def _open(self) -> None:
        super()._open()
        context = ctypes.cast(self._store._context(), ctypes.c_void_p).value
        assert context is not None
        self._address = context
        self._context = self.ffi.cast(_CONTEXT, context)

    # ---- references

    def root(self, id_: int, value: Any) -> None:
        """Make what `_value` gave a new externref for ``id_``, or null.

        Raises:
            MemoryError: wasmtime has no room for another one.
        """
        raise NotImplementedError

    def id_of(self, value: Any) -> int:
        """The id of the externref in a ``wasmtime_val_t *``."""
        raise NotImplementedError

    def _value(self) -> tuple[Any, Callable[[], object]]:
        """A ``wasmtime_val_t *`` that holds a null externref, and what unroots the one that will be there.

        No code of Python's runs in that function: a signal handler cannot come in before it has been called.
        """
        value = self.ffi.new("wasmtime_val_t *")
        value.kind = _KINDS[EXTERNREF]
        ref = self.ffi.addressof(value.of, "externref")
        return value, functools.partial(self.api.wasmtime_externref_unroot, ref)

    # ---- instances

    def instantiate(
        self, compiled: Any, imports: Imports, keep: Callable[[object], None]
    ) -> Mapping[str, RawExtern]:
        try:
            return super().instantiate(compiled, imports, keep)
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            if not self._host_raised():
                raise
        self._raise()
        raise AssertionError("not reached")

    def _codes(self, functype: FuncType) -> FuncType:
        """The type as the engine sees it."""
        if not self._lowered:
            return functype
        params, results = (side.replace(bytes((EXTERNREF,)), bytes((I32,))) for side in functype)
        return FuncType(params, results)

    def _functype(self, functype: FuncType) -> wasmtime.FuncType:
        params, results = ([self._type(code) for code in side] for side in functype)
        return wasmtime.FuncType(params, results)

    def _host_raised(self) -> bool:
        """Whether it was a host function that raised, for `_raise` to raise it again."""
        if strays.errors:
            self._raised.append(strays.errors.pop())
        return bool(self._raised)

    def _raise(self) -> None:
        """Raise what a host function raised, with its traceback."""
        error = self._raised.pop()
        self._raised.clear()
        try:
            raise error
        finally:
            del error  # else it and this frame would refer to each other

    def failure(self, trap: int, error: int) -> BaseException:
        """The package's exception for a ``wasm_trap_t *`` or ``wasmtime_error_t *``, which it will delete."""
        bindings = wasmtime._bindings
        try:
            if trap:
                return wasmtime.Trap._from_ptr(ctypes.cast(trap, ctypes.POINTER(bindings.wasm_trap_t)))
            if error:
                return wasmtime.WasmtimeError._from_ptr(
                    ctypes.cast(error, ctypes.POINTER(bindings.wasmtime_error_t))
                )
        except ctypes.ArgumentError as e:  # ctypes' way to say that Python's stack is at its end here
            return RecursionError(str(e))
        return no_room(self._limits)

    # ---- globals, memories, tables

    def constant(self, code: int, value: Any, mutable: bool = False) -> RawExtern:
        if self._lowered or code != EXTERNREF:
            return super().constant(code, value, mutable)
        type_ = wasmtime.GlobalType(self._type(code), mutable)
        raw = wasmtime._bindings.wasmtime_global_t()
        of, unroot = self._value()
        try:
            self.root(value, of)
            error = self.api.wasmtime_global_new(
                self._context,
                self._cast("wasm_globaltype_t *", type_.ptr()),
                of,
                self.ffi.cast("wasmtime_global_t *", ctypes.addressof(raw)),
            )
        finally:
            unroot()
        if error:
            raise self.failure(0, self._number(error))
        return wasmtime.Global._from_raw(raw)

    def memory_size(self, memory: RawExtern) -> int:
        size: int = self.api.wasmtime_memory_data_size(self._context, self._pointer(memory._memory, "memory"))
        return size

    def memory_address(self, memory: RawExtern) -> int:
        return self._number(
            self.api.wasmtime_memory_data(self._context, self._pointer(memory._memory, "memory"))
        )

    def global_get(self, global_: RawExtern) -> Any:
        value, unroot = self._value()
        try:
            self.api.wasmtime_global_get(self._context, self._pointer(global_._global, "global"), value)
            if value.kind == _KINDS[EXTERNREF]:
                return self.id_of(value)
            fields = (FIELDS[code] for code, kind in _KINDS.items() if kind == value.kind)
            return next((getattr(value.of, field) for field in fields), None)
        finally:
            if value.kind == _KINDS[EXTERNREF]:
                unroot()

    def table_operations(self, table: RawExtern) -> dict[str, Callable[..., Any]]:
        ffi, api, context = self.ffi, self.api, self._context
        raw = self._pointer(table._table, "table")

        def get(index: int) -> int:
            value, unroot = self._value()
            try:
                if not api.wasmtime_table_get(context, raw, index & 0xFFFFFFFF, value):
                    raise IndexError(index)
                return self.id_of(value)
            finally:
                unroot()

        def set_(index: int, id_: int) -> None:
            value, unroot = self._value()
            try:
                self.root(id_, value)
                error = api.wasmtime_table_set(context, raw, index & 0xFFFFFFFF, value)
            finally:
                unroot()
            self.touched()
            if error:
                api.wasmtime_error_delete(error)
                raise IndexError(index)

        def grow(id_: int, count: int) -> int:
            value, unroot = self._value()
            before = ffi.new("uint64_t *")
            try:
                self.root(id_, value)
                error = api.wasmtime_table_grow(context, raw, count & 0xFFFFFFFF, value, before)
            finally:
                unroot()
            if error:
                api.wasmtime_error_delete(error)
                return -1
            old: int = before[0]
            return old

        return {"get": get, "set": set_, "size": lambda: api.wasmtime_table_size(context, raw), "grow": grow}

    # ---- moving: references are ids

    def table_references(self, table: RawExtern) -> Sequence[int]:
        return self.table_ids(table)

    def _grow_to(self, table: RawExtern, size: int) -> None:
        missing = size - self.table_size(table)
        if missing > 0 and self.table_operations(table)["grow"](0, missing) == -1:
            raise MemoryError(f"wasmtime has no room for another table of {size} externrefs")

    def fill_table(self, table: RawExtern, references: Sequence[int]) -> None:
        self._grow_to(table, len(references))
        set_ = self.table_operations(table)["set"]
        for index, id_ in enumerate(references):
            if id_:
                set_(index, id_)

    def copy_reference(self, source: RawExtern, at: int, target: RawExtern, to: int) -> None:
        value, unroot = self._value()
        try:
            self.api.wasmtime_table_get(self._context, self._pointer(source._table, "table"), at, value)
            error = self.api.wasmtime_table_set(
                self._context, self._pointer(target._table, "table"), to, value
            )
        finally:
            unroot()
        if error:
            raise self.failure(0, self._number(error))

    def put_reference(self, global_: RawExtern, reference: int, found: tuple[RawExtern, int] | None) -> None:
        value, unroot = self._value()
        try:
            if found is None:
                self.root(reference, value)
            else:
                self.api.wasmtime_table_get(
                    self._context, self._pointer(found[0]._table, "table"), found[1], value
                )
            error = self.api.wasmtime_global_set(
                self._context, self._pointer(global_._global, "global"), value
            )
        finally:
            unroot()
        if error:
            raise self.failure(0, self._number(error))

    def table_size(self, table: RawExtern) -> int:
        size: int = self.api.wasmtime_table_size(self._context, self._pointer(table._table, "table"))
        return size

    def table_ids(self, table: RawExtern) -> array.array[int]:
        get = self.table_operations(table)["get"]
        return array.array("q", map(get, range(self.table_size(table))))

    def _pointer(self, struct: Any, name: str) -> Any:
        """A ctypes struct as cffi's pointer to it; the struct's owner must outlive it."""
        return self.ffi.cast(f"wasmtime_{name}_t *", ctypes.addressof(struct))

    def _cast(self, type_: str, pointer: Any) -> Any:
        return self.ffi.cast(type_, ctypes.cast(pointer, ctypes.c_void_p).value)

    def _number(self, pointer: Any) -> int:
        return int(self.ffi.cast("uintptr_t", pointer))


def no_room(limits: GuestLimits) -> BaseException:
    """What an externref that could not be made leads to."""
    if limits.memory_limit is not None:
        return MemoryLimitError(
            f"no room for another externref: they take memory too, and {limits.describe('memory_limit')}"
        )
    return MemoryError("wasmtime has no room for another externref")


def unsupported(functype: FuncType) -> Iterator[str]:
    """The types in ``functype`` that cannot cross."""
    return (type_name(code) for code in functype.params + functype.results if code not in _KINDS)


def refuse(functype: FuncType) -> Callable[..., Any]:
    """What to call in place of a function of such a type."""
    names = ", ".join(unsupported(functype))

    def refusing(*args: Any) -> Any:
        raise TypeError(
            f"a function of type {functype} cannot be called from or in Python: {names} cannot cross"
        )

    return refusing
