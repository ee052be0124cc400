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
* The references in a table keep no instance alive. One whose start fails is freed at once, with its functions
  in the tables it imports. So modules that can put some there are made and started in two steps:
  passes/deferred_start.py.
* It is older than several memories a module and extended constants: passes/memories.py, passes/constants.py.
* When a guest lets a table grow, the process ends if there is no memory for it, and one instruction can ask
  for 16 GiB. So tables have a maximum.
* It takes any overflow of the stack for one of a guest, and cuts off what runs there, Python's own code too.
  So host functions are not begun near the stack's end: stack.py.
"""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import wasmer
from wasmer_compiler_cranelift import Compiler

from ..cache import CacheError
from ..errors import EngineUnavailableError, HiwireError, UnsupportedModuleError
from ..real_threads import allocate_lock, local, start_new_thread
from ..requirements import ACCESSED, Code, Requirements
from ..values import EXTERNREF, F32, F64, FUNCREF, I32, I64, V128, FuncType
from ..wasm.module import FUNCTION, Module
from . import forks, stack
from .base import NO_LIMITS, Engine, Imports, RawExtern, Store
from .calls import Call, call_of
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
_LARGEST_FRAME = 4096
_LARGEST_TABLE = 10_000_000  # elements; a module that asks for more at the start is refused by wasmer itself
_NO_MEMORY = "Insufficient resources"
_NO_BYTES = ctypes.c_char * 0  # so that it also fits a memory of size 0


_MOST_STACK = 1 << 30  # bytes; more is what "unlimited" is


class Compiled(NamedTuple):
    """A module, the export that does what it does at its start, or None where that is done when it is
    instantiated, and the accessors of its other memories: module, name and exports."""

    module: Any
    start: str | None
    accessors: tuple[tuple[Any, str, tuple[str, ...]], ...] = ()


def _is_panic(error: BaseException) -> bool:
    """Whether Rust code has failed. Each library of the binding has a class of its own for that, which is no
    Exception, and cannot be imported."""
    return type(error).__name__ == "PanicException" and type(error).__module__ == "pyo3_runtime"


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _contained(method: _Method) -> _Method:
    """No panic comes out of the store's method."""

    @functools.wraps(method)
    def contained(self: WasmerStore, *args: Any) -> Any:
        try:
            return method(self, *args)
        except BaseException as error:
            self._contain(error)
            raise

    return contained  # type: ignore[return-value]


class WasmerStore(Store):
    """The thread's store, as one space sees it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._close: Callable[[], None] = lambda: None  # the space is not there yet

    def on_panic(self, close: Callable[[], None]) -> None:
        self._close = close

    def panic(self, error: BaseException) -> HiwireError | None:
        if not _is_panic(error):
            return None
        self._close()
        return HiwireError(
            f"the engine wasmer failed ({error}), so the guest, and what shares its space, is closed;"
            ' another engine may do better: engine="wasmtime"'
        )

    def _contain(self, error: BaseException) -> None:
        """Raise what stands for ``error`` if that is a panic."""
        failure = self.panic(error)
        if failure is not None:
            raise failure from error

    @_contained
    def instantiate(
        self, compiled: Compiled, imports: Imports, keep: Callable[[object], None]
    ) -> Mapping[str, RawExtern]:
        nested: dict[str, dict[str, RawExtern]] = {}
        for (module, field), extern in imports.items():
            nested.setdefault(module, {})[field] = extern
        memories: dict[str, RawExtern] = {}
        for module, name, fields in compiled.accessors:
            made = self._instantiate(module, nested, keep)
            memories |= dict.fromkeys(fields, made.pop(ACCESSED))
            nested[name] = made
        exports = self._instantiate(compiled.module, nested, keep)
        if compiled.start is not None:
            exports.pop(compiled.start)()
        return exports | memories

    def _instantiate(
        self, module: Any, imports: Mapping[str, Mapping[str, RawExtern]], keep: Callable[[object], None]
    ) -> dict[str, RawExtern]:
        try:
            instance = wasmer.Instance(module, imports)
        except RuntimeError as e:
            if str(e).startswith(_NO_MEMORY):
                raise MemoryError(f"wasmer cannot make the guest: {e}") from e
            raise
        keep(instance)
        # Not by name: an export named __len__, say, would be hidden by the attribute of that object.
        return dict(iter(instance.exports))

    @_contained
    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        params, results = ([_TYPES[code] for code in side] for side in functype)
        return wasmer.Function(self._store, stack.guarded(function), wasmer.FunctionType(params, results))

    @_contained
    def constant(self, code: int, value: Any, mutable: bool = False) -> RawExtern:
        return wasmer.Global(self._store, _CONSTANTS[code](value), mutable=mutable)

    def call(self, function: RawExtern, functype: FuncType) -> Call:
        return call_of(function, functype)

    def memory_size(self, memory: RawExtern) -> int:
        try:
            size: int = memory.data_size
        except BaseException as error:
            self._contain(error)
            raise
        return size

    def memory_address(self, memory: RawExtern) -> int:
        try:
            return ctypes.addressof(_NO_BYTES.from_buffer(memory.buffer))
        except BaseException as error:
            self._contain(error)
            raise

    @_contained
    def memory_grow(self, memory: RawExtern, pages: int) -> bool:
        try:
            memory.grow(pages)
        except RuntimeError:
            return False
        return True

    @_contained
    def global_get(self, global_: RawExtern) -> Any:
        return global_.value

    @_contained
    def global_set(self, global_: RawExtern, value: Any) -> None:
        global_.value = value


def _check_types(module: Module) -> None:
    """Raise UnsupportedModuleError if the module has a function type at which the compiler panics.

    It makes code that converts arguments and results, for each type, and another for each import. That fails
    if its frame is larger than a page. What was found by trying is a little more than is let through here.
    """
    wanted = [("import", str(i), i.type) for i in module.imports if isinstance(i.type, FuncType)]
    wanted += [("export", name, module.function_type(i)) for name, i in module.exported(FUNCTION).items()]
    wanted += [("type", str(index), functype) for index, functype in enumerate(module.types)]
    for kind, name, functype in wanted:
        params, results = functype
        # A vector is aligned, too, so it can take the place of three.
        size = 8 * (len(params) + len(results) + 2 * (params + results).count(V128))
        if kind == "import":
            size += 16 * max(len(params), len(results))
        if size > _LARGEST_FRAME:
            raise UnsupportedModuleError(
                f"{kind} {name}, of {len(params)} parameters and {len(results)} results, is too much for"
                ' wasmer\'s compiler: take another engine, as engine="wasmtime"'
            )


def _new_store() -> Any:
    return wasmer.Store(wasmer.engine.Universal(Compiler))


def _compile_elsewhere(wasm: bytes) -> bytes:
    """The compiled module in serialized form, made in a thread of its own: the second panic of the compiler
    in a thread ends the process, since the first is caught by another library than the one that counts it."""
    made: list[Any] = []
    done = allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            made.append(wasmer.Module(_new_store(), wasm).serialize())
        except BaseException as error:
            made.append(error)
        finally:
            done.release()

    start_new_thread(run, ())
    with done:
        pass
    if isinstance(made[0], BaseException):
        raise made[0]
    code: bytes = made[0]
    return code


class WasmerEngine(Engine):
    name = binding = "wasmer"
    requires = Requirements(
        largest_table=_LARGEST_TABLE, separate_start=True, short_constants=True, one_memory=True
    )
    cached_modules = None  # wasmer keeps the code anyway

    _threads = local()
    _compiled_in: int | None = None
    """The generation of processes in which modules were compiled first: the compiler's threads are there."""

    def __init__(self) -> None:
        super().__init__()
        self._store = _new_store()
        self._compiler_failed = False

    @classmethod
    def for_this_thread(cls) -> WasmerEngine:
        engine: WasmerEngine | None = getattr(cls._threads, "engine", None)
        if engine is None:
            whole = stack.look()[2]
            if whole > _MOST_STACK:
                raise EngineUnavailableError(
                    "the engine 'wasmer' has no limit for a guest's stack but that of the thread, which has"
                    f" {whole >> 30} GiB here: an endless recursion would take all memory. Set a limit"
                    " before Python is started (ulimit -s 8192), make the guest in another thread, or use"
                    ' engine="wasmtime"'
                )
            engine = cls._threads.engine = cls()
        return engine

    def store(self, limits: GuestLimits = NO_LIMITS) -> Store:
        return WasmerStore(self._store)

    def compile(self, code: Code) -> Any:
        if WasmerEngine._compiled_in is None:
            WasmerEngine._compiled_in = forks.generation()
        elif WasmerEngine._compiled_in != forks.generation():
            raise EngineUnavailableError(
                "the engine 'wasmer' cannot compile in a child of os.fork: its compiler's threads stayed in"
                " the parent. Make guests of the same modules before the fork, in the thread that forks; or"
                ' start processes by "spawn" or "forkserver" of multiprocessing; or use engine="wasmtime"'
            )
        _check_types(Module.parse(code.wasm))
        accessors = ((self._compile(one.wasm), one.name, one.exports) for one in code.accessors)
        return Compiled(self._compile(code.wasm), code.start, tuple(accessors))

    def _compile(self, wasm: bytes) -> Any:
        try:
            if self._compiler_failed:
                return wasmer.Module.deserialize(self._store, _compile_elsewhere(wasm))
            return wasmer.Module(self._store, wasm)
        except BaseException as e:
            panic = _is_panic(e)
            if not panic and type(e) is not RuntimeError:
                raise
            self._compiler_failed = self._compiler_failed or panic
            how = 'fails at the module, which another engine may take (engine="wasmtime")'
            raise UnsupportedModuleError(f"wasmer {how if panic else 'does not take the module'}: {e}") from e

    def configuration(self) -> Any:
        # It does not check that the processor has what code needs, and elsewhere that is not in the name.
        return wasmer.__version__ if sys.platform == "linux" else None

    def serialize(self, compiled: Compiled) -> tuple[bytes | bytearray, Any]:
        modules = [one[0].serialize() for one in (compiled, *compiled.accessors)]
        others = [rest for _, *rest in compiled.accessors]
        return b"".join(modules), (list(map(len, modules)), compiled.start, others)

    def deserialize(self, contents: bytes, notes: Any) -> Compiled:
        sizes, start, accessors = notes
        modules, at = [], 0
        try:
            for size in sizes:
                modules.append(wasmer.Module.deserialize(self._store, contents[at : at + size]))
                at += size
        except BaseException as e:
            if not _is_panic(e) and type(e) is not RuntimeError:
                raise
            raise CacheError(f"wasmer does not take what it compiled before: {e}") from e
        others = ((code, name, tuple(fields)) for code, (name, fields) in zip(modules[1:], accessors))
        return Compiled(modules[0], start, tuple(others))

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
