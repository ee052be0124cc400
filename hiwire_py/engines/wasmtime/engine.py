"""The wasmtime engine through the plain ``wasmtime`` package: true externrefs, any supported Python."""

from __future__ import annotations

import ctypes
import importlib.metadata
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import wasmtime
from wasmtime._extern import wrap_extern

from ...cache import CacheError
from ...errors import UnsupportedModuleError
from ...passes.holders import export_holders
from ...real_threads import local
from ...values import EXTERNREF, F32, F64, FUNCREF, I32, I64, FuncType
from .. import forks, stack
from .. import limits as clock
from ..base import NO_LIMITS, Engine, Imports, Prepared, RawExtern, Store
from ..cells import cells_of, set_cells
from ..limits import TICK, GuestLimits
from ..release import at_release, new_token
from .moving import Lasting, Move, State, state_of

__all__ = ["WasmtimeEngine"]

_bindings: Any = wasmtime._bindings

_TYPES = {
    I32: wasmtime.ValType.i32,
    I64: wasmtime.ValType.i64,
    F32: wasmtime.ValType.f32,
    F64: wasmtime.ValType.f64,
    FUNCREF: wasmtime.ValType.funcref,
    EXTERNREF: wasmtime.ValType.externref,
}
_NEVER = 1 << 62  # ticks, or fuel
_UNLIMITED = 1 << 40  # instances and so on: the package's default is 10,000
_CONSTANTS = {
    I32: wasmtime.Val.i32,
    I64: wasmtime.Val.i64,
    F32: wasmtime.Val.f32,
    F64: wasmtime.Val.f64,
    EXTERNREF: wasmtime.Val.externref,
}
_TRAPS = {
    wasmtime.TrapCode.STACK_OVERFLOW: "call stack exhausted",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "out of bounds memory access",
    wasmtime.TrapCode.HEAP_MISALIGNED: "misaligned heap",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "out of bounds table access",
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: "uninitialized element",
    wasmtime.TrapCode.BAD_SIGNATURE: "indirect call type mismatch",
    wasmtime.TrapCode.INTEGER_OVERFLOW: "integer overflow",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer divide by zero",
    wasmtime.TrapCode.BAD_CONVERSION_TO_INTEGER: "invalid conversion to integer",
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
    wasmtime.TrapCode.INTERRUPT: "interrupt",
    wasmtime.TrapCode.OUT_OF_FUEL: "out of fuel",
}


class Compiled(NamedTuple):
    """A module with the names of what it imports and exports, in its order: the package makes objects of all
    types where it is asked for them."""

    module: wasmtime.Module
    imports: list[tuple[str, str]]
    exports: list[str]
    state: State | None  # of one that may have to be moved


class WasmtimeStore(Store):
    """A store of its own for each space: wasmtime frees instances with their store.

    It can become another one inside: see `wasmtime.moving`.
    """

    null: Any = None
    """The null externref, as it is in this store's Python."""

    _inner: tuple[str, ...] = ("_store", "_release", "made")
    """What belongs to the store of wasmtime that is inside now."""

    def __init__(self, engine: wasmtime.Engine, lowered: bool, limits: GuestLimits = NO_LIMITS) -> None:
        self._engine = engine
        self._limits = limits
        self._ticks = 0 if limits.deadline is None else math.ceil(limits.deadline / TICK) + 1
        self._lowered = lowered
        # What `caller` made, by tokens that they hold: of which export, and what `_retarget` needs. Weak
        # references to them would not do: those to a function that a finalizer keeps are gone.
        self._callers: weakref.WeakKeyDictionary[Any, tuple[RawExtern, Any]] = weakref.WeakKeyDictionary()
        self._open()

    def _open(self) -> None:
        """A new store of wasmtime becomes the one inside."""
        store, limits = wasmtime.Store(self._engine), self._limits
        # Left to itself the package closes it before the finalizers of objects in the same cycle have run.
        self._release, self._store, self.made = at_release(store.close), store, 0
        memory, table = (-1 if x is None else x for x in (limits.memory_limit, limits.table_limit))
        store.set_limits(memory, table, _UNLIMITED, _UNLIMITED, _UNLIMITED)
        if limits.names:
            self.end()

    def collect(self) -> None:
        if not self._lowered:
            self._store.gc()

    # ---- moving

    def lasting(
        self,
        prepared: Prepared,
        raw: Mapping[str, RawExtern],
        imports: Callable[[Sequence[Mapping[str, RawExtern]]], Imports],
    ) -> Lasting:
        return Lasting.of(self, prepared, raw, imports)

    def move(self, lasting: Sequence[Lasting]) -> Move:
        return Move(self, lasting)

    def leave(self, before: dict[str, Any]) -> None:
        """Make a new store of wasmtime the one inside, and fill ``before``. Where that is so, and wherever
        this was interrupted, `back` or `arrive` is to be given it, and both may be repeated."""
        before.update({name: getattr(self, name) for name in self._inner})
        self._depart()
        self._open()

    def _depart(self) -> None:
        """`leave` has noted what there is now."""

    def back(self, before: dict[str, Any]) -> None:
        """As if `leave` had not been called."""
        for name, value in before.items():
            setattr(self, name, value)

    def arrive(self, before: dict[str, Any]) -> None:
        """Free the store that was left."""
        before.clear()

    def retarget(self, moved: Mapping[int, RawExtern]) -> None:
        """Make callables of exports, which have been overwritten, call what these are now. May be repeated.

        Args:
            moved: the exports by `id`.
        """
        for _token, (function, target) in list(self._callers.items()):
            if id(function) in moved:
                self._retarget(function, target)

    def _retarget(self, function: RawExtern, target: Any) -> None:
        set_cells(target, store=self._store)

    def table_references(self, table: RawExtern) -> Sequence[Any]:
        """What is in the slots of an externref table, as the space knows it."""
        get = WasmtimeStore.table_operations(self, table)["get"]
        return list(map(get, range(table.size(self._store))))

    def fill_table(self, table: RawExtern, references: Sequence[Any]) -> None:
        """Make a new table hold these."""
        missing = len(references) - table.size(self._store)
        if missing > 0:
            table.grow(self._store, missing, wasmtime.Val.externref(None))
        for index, reference in enumerate(references):
            if reference is not None:
                table.set(self._store, index, reference)

    def copy_reference(self, source: RawExtern, at: int, target: RawExtern, to: int) -> None:
        """From a slot of a table to one of another."""
        target.set(self._store, to, source.get(self._store, at))

    def put_reference(self, global_: RawExtern, reference: Any, found: tuple[RawExtern, int] | None) -> None:
        """Set a global to one that is also in the slot ``found`` of a table, if it is in any."""
        if reference is not None:
            global_.set_value(self._store, wasmtime.Val.externref(reference))

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

    def _type(self, code: int) -> wasmtime.ValType:
        return _TYPES[I32 if self._lowered and code == EXTERNREF else code]()

    def instantiate(
        self, prepared: Prepared, imports: Imports, keep: Callable[[object], None]
    ) -> Mapping[str, RawExtern]:
        if stack.short():
            raise stack.StackEnd
        compiled: Compiled = prepared.compiled
        externs = [imports[wanted] for wanted in compiled.imports]
        self.made += 1
        instance = wasmtime.Instance(self._store, compiled.module, externs)
        return {name: self._export(instance, name) for name in compiled.exports}

    def _export(self, instance: wasmtime.Instance, name: str) -> RawExtern:
        """By its name, which wasmtime looks up in a table; the package's ``exports`` asks for the first, the
        second and so on, for each of which wasmtime goes through those before it."""
        encoded, item = name.encode(), _bindings.wasmtime_extern_t()
        if not _bindings.wasmtime_instance_export_get(
            self._store._context(),
            ctypes.byref(instance._instance),
            ctypes.create_string_buffer(encoded),
            len(encoded),
            ctypes.byref(item),
        ):
            raise AssertionError(f"an instance lacks the export {name!r} of its module")
        return wrap_extern(item)

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        params, results = ([self._type(code) for code in side] for side in functype)
        return wasmtime.Func(self._store, wasmtime.FuncType(params, results), function)

    def constant(self, code: int, value: Any, mutable: bool = False) -> RawExtern:
        if self._lowered and code == EXTERNREF:
            code = I32
        return wasmtime.Global(
            self._store, wasmtime.GlobalType(self._type(code), mutable), _CONSTANTS[code](value)
        )

    def caller(self, function: RawExtern, functype: FuncType, touches: bool = True) -> Callable[..., Any]:
        store = self._store

        def call(*args: Any) -> Any:
            if stack.short():
                raise stack.StackEnd
            return function(store, *args)

        return self._made(call, new_token(), function, cells_of(call, "store"))

    def _made(
        self, bound: Callable[..., Any], token: object, function: RawExtern, target: Any
    ) -> Callable[..., Any]:
        bound.__token__ = token  # type: ignore[attr-defined]
        self._callers[token] = function, target
        return bound

    def memory_size(self, memory: RawExtern) -> int:
        size: int = memory.data_len(self._store)
        return size

    def memory_address(self, memory: RawExtern) -> int:
        return ctypes.cast(memory.data_ptr(self._store), ctypes.c_void_p).value or 0

    def memory_grow(self, memory: RawExtern, pages: int) -> bool:
        try:
            memory.grow(self._store, pages)
        except wasmtime.WasmtimeError:
            return False
        return True

    def table_operations(self, table: RawExtern) -> dict[str, Callable[..., Any]]:
        store = self._store

        def set_(index: int, ref: Any) -> None:
            try:
                table.set(store, index & 0xFFFFFFFF, ref)
            except wasmtime.WasmtimeError as e:
                raise IndexError(index) from e

        def get(index: int) -> Any:
            if index & 0xFFFFFFFF >= table.size(store):
                raise IndexError(index)
            return _unwrap(table.get(store, index & 0xFFFFFFFF))

        def grow(ref: Any, count: int) -> int:
            try:
                old: int = table.grow(store, count, ref)
            except wasmtime.WasmtimeError:
                return -1
            return old

        return {"get": get, "set": set_, "size": lambda: table.size(store), "grow": grow}

    def global_get(self, global_: RawExtern) -> Any:
        return _unwrap(global_.value(self._store))

    def global_set(self, global_: RawExtern, value: Any) -> None:
        global_.set_value(self._store, value)


class WasmtimeEngine(Engine):
    """``lowered``: treat it as an engine without externrefs; for tests and comparisons.

    Attributes:
        mode: the way of calling; see `wasmtime.capi`.
    """

    name = binding = "wasmtime"
    externref = True
    moves = True
    capabilities = frozenset(("memory_limit", "table_limit", "deadline", "fuel"))

    _threads = local()

    def __init__(self, lowered: bool = False, deadline: bool = False, fuel: bool = False) -> None:
        from .capi import mode

        super().__init__()
        self.mode = mode()
        self._compiled_for = deadline, fuel
        self._generation = forks.generation()
        self._engine = self._new_engine()
        self.externref_ids = self.mode.store is not WasmtimeStore
        if lowered:
            self.name = "wasmtime-lowered"
            self.externref = False
            # Its tables are in a memory that all its guests share.
            self.capabilities = frozenset(("deadline", "fuel"))

    def _new_engine(self) -> wasmtime.Engine:
        config = wasmtime.Config()
        # Both cost some speed, so only guests with such limits are compiled for them.
        config.epoch_interruption, config.consume_fuel = self._compiled_for
        # Each store counts from where its outermost call begins. That there is so much is seen to there.
        config.max_wasm_stack = stack.guest_share()
        if forks.generation():
            config.parallel_compilation = False  # the threads for it stayed in the parent
        return wasmtime.Engine(config)

    @classmethod
    def for_this_thread(
        cls, lowered: bool = False, deadline: bool = False, fuel: bool = False
    ) -> WasmtimeEngine:
        from .capi import mode

        engines: dict[object, WasmtimeEngine] = cls._threads.__dict__.setdefault("engines", {})
        key = lowered, deadline, fuel, mode()
        engine = engines.get(key)
        if engine is None:
            engine = engines[key] = cls(lowered, deadline, fuel)
        return engine

    def limited(self, limits: GuestLimits) -> Engine:
        super().limited(limits)
        return self.for_this_thread(not self.externref, limits.deadline is not None, limits.fuel is not None)

    def store(self, limits: GuestLimits = NO_LIMITS) -> Store:
        return self.mode.store(self._engine, not self.externref, limits)

    def _compiling(self) -> wasmtime.Engine:
        """This one's engine, or if it was made before a fork, one like it that needs no other threads."""
        return self._engine if forks.generation() == self._generation else self._new_engine()

    def compile(self, wasm: bytes, lasting: bool = False) -> Any:
        engine = self._compiling()
        try:
            # Where references are the engine's, the space must be able to see who holds them.
            seen = export_holders(wasm, lasting) if lasting or self.externref else wasm
            module = wasmtime.Module(engine, seen)
            if engine is not self._engine:
                module = wasmtime.Module.deserialize(self._engine, module.serialize())
        except wasmtime.WasmtimeError as e:
            raise UnsupportedModuleError(f"wasmtime does not take the module: {_one_line(e)}") from e
        return Compiled(
            module,
            [(i.module, i.name or "") for i in module.imports],
            [e.name for e in module.exports],
            state_of(wasm) if lasting else None,
        )

    def configuration(self) -> Sequence[Any]:
        return importlib.metadata.version("wasmtime"), self._compiled_for

    def serialize(self, compiled: Compiled) -> tuple[bytes | bytearray, Any]:
        return compiled.module.serialize(), compiled[1:]

    def deserialize(self, contents: bytes, more: Any) -> Compiled:
        imports, exports, state = more
        try:
            module = wasmtime.Module.deserialize(self._engine, contents)
        except wasmtime.WasmtimeError as e:
            raise CacheError(f"wasmtime does not take what it compiled before: {_one_line(e)}") from e
        return Compiled(
            module, [(a, b) for a, b in imports], exports, None if state is None else State(*state)
        )

    def validate(self, wasm: bytes) -> None:
        try:
            wasmtime.Module.validate(self._compiling(), wasm)
        except wasmtime.WasmtimeError as e:
            raise UnsupportedModuleError(f"wasmtime does not take the module: {_one_line(e)}") from e

    def trap_kind(self, error: BaseException) -> str | None:
        if isinstance(error, stack.StackEnd):
            return str(error)
        if not isinstance(error, wasmtime.Trap):
            return None
        code = error.trap_code
        return _TRAPS.get(code, str(code)) if code is not None else "trap"

    def is_link_error(self, error: BaseException) -> bool:
        return isinstance(error, wasmtime.WasmtimeError)


def _unwrap(value: Any) -> Any:
    """The package gives null references as a Val around None here, and other values bare."""
    return value.value if isinstance(value, wasmtime.Val) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
