"""The engine wasmtime: its configuration, compiling, and what its traps mean."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

import wasmtime

from ...cache import CacheError
from ...errors import UnsupportedModuleError
from ...real_threads import local
from ...requirements import Code, Requirements, State
from .. import forks, stack
from ..base import NO_LIMITS, Engine, Store
from ..limits import GuestLimits
from .modes import mode
from .store import Compiled

__all__ = ["WasmtimeEngine"]

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
    getattr(wasmtime.TrapCode, "OUT_OF_FUEL", None): "out of fuel",  # `capi` refuses versions that lack it
}
_THROWN = "Caused by:\n    thrown Wasm exception\n"
_OUTDATED = "legacy_exceptions feature required"
_UPDATE = (
    "; it was built for the first proposal of exceptions: build it with -mllvm -wasm-use-legacy-eh=false, or"
    " rewrite it with wasm-opt --translate-to-exnref"
)


class WasmtimeEngine(Engine):
    """An engine of the ``wasmtime`` package.

    Attributes:
        mode: the way of calling; see `wasmtime.modes`.
    """

    name = binding = "wasmtime"
    requires = Requirements()
    moves = True
    capabilities = frozenset(("memory_limit", "table_limit", "deadline", "fuel"))

    _threads = local()

    def __init__(self, deadline: bool = False, fuel: bool = False) -> None:
        super().__init__()
        self.mode = mode()
        self._compiled_for = deadline, fuel
        self._generation = forks.generation()
        self._engine = self._new_engine()

    def _new_engine(self) -> wasmtime.Engine:
        config = wasmtime.Config()
        # Both cost some speed, so only guests with such limits are compiled for them.
        config.epoch_interruption, config.consume_fuel = self._compiled_for
        # Wasmtime counts from where a store's outermost call begins; `stack.short` is asked before that call
        # whether so much is left.
        config.max_wasm_stack = stack.guest_share()
        if forks.generation():
            config.parallel_compilation = False  # the threads for it stayed in the parent
        return wasmtime.Engine(config)

    @classmethod
    def for_this_thread(cls, deadline: bool = False, fuel: bool = False) -> WasmtimeEngine:
        engines: dict[object, WasmtimeEngine] = cls._threads.__dict__.setdefault("engines", {})
        key = deadline, fuel, mode()
        engine = engines.get(key)
        if engine is None:
            engine = engines[key] = cls(deadline, fuel)
        return engine

    def limited(self, limits: GuestLimits) -> Engine:
        super().limited(limits)
        return self.for_this_thread(limits.deadline is not None, limits.fuel is not None)

    def store(self, limits: GuestLimits = NO_LIMITS) -> Store:
        return self.mode.store(self._engine, limits)

    def _compiling(self) -> wasmtime.Engine:
        """This one's engine, or if it was made before a fork, one like it that needs no other threads."""
        return self._engine if forks.generation() == self._generation else self._new_engine()

    def compile(self, code: Code) -> Any:
        engine = self._compiling()
        try:
            module = wasmtime.Module(engine, code.wasm)
            if engine is not self._engine:
                module = wasmtime.Module.deserialize(self._engine, module.serialize())
        except wasmtime.WasmtimeError as e:
            raise UnsupportedModuleError(f"wasmtime does not take the module: {_one_line(e)}") from e
        return Compiled(
            module,
            [(i.module, i.name or "") for i in module.imports],
            [e.name for e in module.exports],
            code.state,
        )

    def configuration(self) -> Any:
        return _version(), self._compiled_for

    def serialize(self, compiled: Compiled) -> tuple[bytes | bytearray, Any]:
        return compiled.module.serialize(), compiled[1:]

    def deserialize(self, contents: bytes, notes: Any) -> Compiled:
        imports, exports, state = notes
        try:
            # Not from the file, which would be mapped, and could change after it was checked.
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
        code = error.trap_code if isinstance(error, wasmtime.Trap) else None
        if code is not None:
            return _TRAPS.get(code, str(code))
        # Out of an instantiation it comes as a WasmtimeError.
        if isinstance(error, (wasmtime.Trap, wasmtime.WasmtimeError)) and str(error).endswith(_THROWN):
            return "uncaught exception"
        return "trap" if isinstance(error, wasmtime.Trap) else None

    def is_link_error(self, error: BaseException) -> bool:
        return isinstance(error, wasmtime.WasmtimeError)


@functools.lru_cache(maxsize=1)
def _version() -> str:
    return importlib.metadata.version("wasmtime")


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split())
    return line + _UPDATE if _OUTDATED in line else line
