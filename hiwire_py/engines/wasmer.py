"""The wasmer engine: ``wasmer`` and ``wasmer-compiler-cranelift`` 1.1.0, for CPython 3.10 and older.

Its binding cannot pass externrefs (any in a signature is a Rust panic), so every module that uses them is
lowered. The package is unmaintained since January 2022; wasmtime is the choice for untrusted guests.

What was found about it and shapes this file:

* Objects belong to the thread that made them; use by another is a Rust panic, and so is dropping a
  memory's buffer there. Everything else may be dropped anywhere. So no buffer object is kept: memory is
  reached by its address.
* A memory never moves: on 64-bit machines it reserves all it may ever use.
* Its compiler has threads of its own, which a child of ``os.fork`` has not, and it would wait for them for
  ever. There is no way to do without them.
* Compiled code is freed with its store only. One store a thread serves all, and modules are compiled once.
* It takes any overflow of the stack for one of a guest, and cuts off what runs there, Python's own code too.
  So host functions are not begun near the stack's end: stack.py.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping
from typing import Any

import wasmer
from wasmer_compiler_cranelift import Compiler

from ..errors import EngineUnavailableError, UnsupportedModuleError
from ..real_threads import local
from ..values import EXTERNREF, F32, F64, FUNCREF, I32, I64, V128, FuncType
from . import forks, stack
from .base import NO_LIMITS, Engine, Imports, Prepared, RawExtern, Store
from .limits import GuestLimits
from .validation import validate

__all__ = ["WasmerEngine"]

_TYPES = {
    I32: wasmer.Type.I32,
    I64: wasmer.Type.I64,
    F32: wasmer.Type.F32,
    F64: wasmer.Type.F64,
    V128: wasmer.Type.V128,
    FUNCREF: wasmer.Type.FUNC_REF,
    EXTERNREF: wasmer.Type.I32,  # what lowering makes of it
}
_CONSTANTS = {I32: wasmer.Value.i32, I64: wasmer.Value.i64, F32: wasmer.Value.f32, F64: wasmer.Value.f64}

_TRAPS = re.compile(
    r"(?:RuntimeError: )?(unreachable|integer divide by zero|integer overflow|invalid conversion to integer"
    r"|out of bounds memory access|out of bounds table access|undefined element|uninitialized element"
    r"|indirect call type mismatch|call stack exhausted|misaligned heap|unaligned atomic)"
)
_KINDS = {"undefined element": "out of bounds table access"}


_MOST_STACK = 1 << 30  # bytes; more is what "unlimited" is


class WasmerStore(Store):
    """The thread's store, as one space sees it."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def instantiate(self, prepared: Prepared, imports: Imports) -> Mapping[str, RawExtern]:
        nested: dict[str, dict[str, RawExtern]] = {}
        for (module, field), extern in imports.items():
            nested.setdefault(module, {})[field] = extern
        # Not by name: an export named __len__, say, would be hidden by the attribute of that object.
        return dict(iter(wasmer.Instance(prepared.compiled, nested).exports))

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        params, results = ([_TYPES[code] for code in side] for side in functype)
        return wasmer.Function(self._store, stack.guarded(function), wasmer.FunctionType(params, results))

    def constant(self, code: int, value: Any, mutable: bool = False) -> RawExtern:
        return wasmer.Global(self._store, _CONSTANTS[code](value), mutable=mutable)

    def caller(self, function: RawExtern, functype: FuncType, touches: bool = True) -> Callable[..., Any]:
        call: Callable[..., Any] = function
        return call

    def memory_size(self, memory: RawExtern) -> int:
        size: int = memory.data_size
        return size

    def memory_address(self, memory: RawExtern) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(memory.buffer))

    def memory_grow(self, memory: RawExtern, pages: int) -> bool:
        try:
            memory.grow(pages)
        except RuntimeError:
            return False
        return True

    def global_get(self, global_: RawExtern) -> Any:
        return global_.value

    def global_set(self, global_: RawExtern, value: Any) -> None:
        global_.value = value


class WasmerEngine(Engine):
    name = binding = "wasmer"
    externref = False
    checks_integers = True
    cached_modules = None  # wasmer keeps the code anyway

    _threads = local()
    _compiled_in: int | None = None
    """The generation of processes in which modules were compiled first: the compiler's threads are there."""

    def __init__(self) -> None:
        super().__init__()
        self._store = wasmer.Store(wasmer.engine.Universal(Compiler))

    @classmethod
    def for_this_thread(cls) -> WasmerEngine:
        engine: WasmerEngine | None = getattr(cls._threads, "engine", None)
        if engine is None:
            if stack.whole() > _MOST_STACK:
                raise EngineUnavailableError(
                    "the engine 'wasmer' has no limit for a guest's stack but that of the thread, which has"
                    f" {stack.whole() >> 30} GiB here: an endless recursion would take all memory. Set a limit"
                    " before Python is started (ulimit -s 8192), make the guest in another thread, or use"
                    ' engine="wasmtime"'
                )
            engine = cls._threads.engine = cls()
        return engine

    def store(self, limits: GuestLimits = NO_LIMITS) -> Store:
        return WasmerStore(self._store)

    def compile(self, wasm: bytes, lasting: bool = False) -> Any:
        if WasmerEngine._compiled_in is None:
            WasmerEngine._compiled_in = forks.generation()
        elif WasmerEngine._compiled_in != forks.generation():
            raise EngineUnavailableError(
                "the engine 'wasmer' cannot compile in a child of os.fork: its compiler's threads stayed in the"
                " parent. Make guests of the same modules before the fork, in the thread that forks; or start"
                ' processes by "spawn" or "forkserver" of multiprocessing; or use engine="wasmtime"'
            )
        try:
            return wasmer.Module(self._store, wasm)
        except RuntimeError as e:
            raise UnsupportedModuleError(f"wasmer does not take the module: {e}") from e

    def validate(self, wasm: bytes) -> None:
        if not wasmer.Module.validate(self._store, wasm):
            validate(wasm, self.name)  # says why; or takes it, and lowering makes of it what wasmer takes

    def trap_kind(self, error: BaseException) -> str | None:
        if type(error) is not RuntimeError:
            return None
        found = _TRAPS.match(str(error))
        return _KINDS.get(found[1], found[1]) if found else None

    def is_link_error(self, error: BaseException) -> bool:
        return type(error) is RuntimeError and str(error).startswith("Error while importing")
