"""The native engine: modules that wasm2c turns into C, compiled and called through cffi's API mode.

Its functions are C functions, so calls are the fastest there are; but a module must be compiled before it can
run, once (`native.build`). Modules are lowered, as the C of a module has nowhere to keep Python objects.

* A store's instances are used by one thread, and each is freed when nothing refers to it any more.
* A host function that raises is done, and its exception put aside, before the guest traps: no jump crosses a
  Python frame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import _cffi_backend

from ...cache import CacheError
from ...errors import UnsupportedModuleError
from ...real_threads import local
from ...requirements import Code
from ...values import EXTERNREF, FUNCREF, I32, FuncType
from ...wasm.binary import section
from ...wasm.module import FUNCTION, GLOBAL, MEMORY, TABLE, Global, Import, Limits, Module, TableType
from .. import hosts
from ..base import NO_LIMITS, Engine, Imports, RawExtern, Store
from ..calls import Call, compiled_form, crosses, lowered, refused, uncallable
from ..limits import GuestLimits
from ..release import at_release
from ..validation import validate
from .build import (
    REQUIRES,
    find_library,
    find_loaded,
    library_for,
    library_name,
    load_library,
    run_time,
    why_unavailable,
)
from .source import PUBLIC

__all__ = ["NativeEngine", "fail"]

_ffi: Any = _cffi_backend.FFI()
_NULL = _ffi.NULL
_DECLARING = range(1, 8)  # the sections from types to exports
_EXPORT_KINDS = {FUNCTION: "function", TABLE: "table", MEMORY: "memory", GLOBAL: "global"}


class LinkError(Exception):
    """Imports do not fit."""


class NativeTrap(Exception):
    """A trap, by its short name."""


def fail(why: str) -> NoReturn:
    """Raise what a call failed with; C calls this.

    Args:
        why: the name of a trap, or one of two other causes in runtime.h.
    """
    if why == "a host function raised":
        hosts.raise_again()
    if why == "no memory":
        raise MemoryError("no memory for what the module declares: its memories and tables")
    raise NativeTrap(why)


class Compiled(NamedTuple):
    """A library and what it declares, in the order of its slots and entries."""

    library: Any
    module: Module


class Native(NamedTuple):
    """A function, memory, table or global.

    Attributes:
        kind: of `wasm.module`.
        type: a function's type, after lowering; a global's value type.
        address: of its code; of the memory, table or cell.
        instance: keeps it alive; None for globals of the host.
        slot: its number among the exports of its instance.
    """

    kind: int
    type: Any
    address: Any
    instance: Instance | None
    slot: int


class HostFunction(NamedTuple):
    address: int
    type: FuncType
    owner: object


class Instance:
    """An instance in C, freed with this object."""

    def __init__(self, compiled: Compiled, store: SharedState) -> None:
        library = self.library = compiled.library
        self.keep: list[object] = [store]
        self.address = library.lib.hw_new(store.address)
        if not self.address:
            raise MemoryError("no memory for an instance")
        self._release = at_release(functools.partial(library.lib.hw_free, self.address))
        self.with_ = library.lib.hw_with(self.address)


class SharedState:
    """What a store's instances have in common, in C. Freed when the last of them is."""

    def __init__(self, lib: Any) -> None:
        self.address = lib.hw_new_store()
        if not self.address:
            raise MemoryError("no memory for a store")
        self._release = at_release(functools.partial(lib.free, self.address))


class NativeStore(Store):
    def __init__(self) -> None:
        self._shared: SharedState | None = None

    def instantiate(
        self, compiled: Compiled, imports: Imports, keep: Callable[[object], None]
    ) -> Mapping[str, RawExtern]:
        lib = compiled.library.lib
        if self._shared is None:
            self._shared = SharedState(lib)
        instance = Instance(compiled, self._shared)
        for index, wanted in enumerate(compiled.module.imports):
            extern = imports[wanted.module, wanted.name]
            function, with_ = self._fit(lib, index, wanted, extern)
            instance.keep.append(extern)
            lib.hw_import(instance.address, index, function, with_)
        keep(instance)
        why = lib.hw_instantiate(instance.address)
        if why:
            fail(_ffi.string(why).decode())
        exports = {}
        for index, export in enumerate(compiled.module.exports):
            type_: Any = None
            if export.kind == FUNCTION:
                type_ = compiled.module.function_type(export.index)
            elif export.kind == GLOBAL:
                type_ = compiled.module.globals[export.index].type
            address = lib.hw_export(instance.address, index)
            exports[export.name] = Native(export.kind, type_, address, instance, index)
        return exports

    def _fit(self, lib: Any, index: int, wanted: Import, extern: RawExtern) -> tuple[Any, Any]:
        if isinstance(extern, HostFunction):
            function = lib.hw_host(index)
            if wanted.type != extern.type:
                raise LinkError(f"import {wanted} is of type {wanted.type}, not {extern.type}")
            if not function:
                raise LinkError(f"import {wanted}{wanted.type} has values that Python cannot give or take")
            return function, _ffi.cast("void *", extern.address)
        if not isinstance(extern, Native) or extern.kind != wanted.kind:
            raise LinkError(f"import {wanted} must be a {_EXPORT_KINDS[wanted.kind]}")
        type_ = wanted.type
        if isinstance(type_, FuncType):
            if type_ != extern.type:
                raise LinkError(f"import {wanted} is of type {type_}, not {extern.type}")
            if FUNCREF in type_.params + type_.results:
                _same_layout(lib, extern, wanted)
            assert extern.instance is not None
            return extern.address, extern.instance.with_
        if isinstance(type_, Global):
            if type_.type != extern.type:
                raise LinkError(f"import {wanted} is a global of another type")
            if type_.type == FUNCREF:
                _same_layout(lib, extern, wanted)
        else:
            _same_layout(lib, extern, wanted)
            if isinstance(type_, (TableType, Limits)):
                limits = type_.limits if isinstance(type_, TableType) else type_
                _check_size(lib, extern, wanted, limits)
        return _NULL, extern.address

    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        return HostFunction(id(function), lowered(functype), hosts.keep(function)[1])

    def constant(self, code: int, value: Any, mutable: bool = False) -> RawExtern:
        code = I32 if code == EXTERNREF else code
        return Native(GLOBAL, code, _ffi.new(f"{PUBLIC[code]} *", value), None, 0)

    def call(self, function: RawExtern, functype: FuncType) -> Call:
        if not crosses(functype):
            return uncallable(functype)
        instance = function.instance
        names: dict[str, Any] = {"refused": refused}
        # cffi passes no Python objects; the dict's address is its id in CPython.
        if not instance.library.lib.hw_bind(instance.address, function.slot, id(names)):
            raise MemoryError("no memory for a function")
        return Call(compiled_form(function.type), names, instance)

    def memory_size(self, memory: RawExtern) -> int:
        size: int = memory.instance.library.lib.hw_memory_size(memory.address)
        return size

    def memory_address(self, memory: RawExtern) -> int:
        return int(_ffi.cast("uintptr_t", memory.instance.library.lib.hw_memory_data(memory.address)))

    def memory_grow(self, memory: RawExtern, pages: int) -> bool:
        return pages < 1 << 32 and bool(memory.instance.library.lib.hw_memory_grow(memory.address, pages))

    def global_get(self, global_: RawExtern) -> Any:
        return _cell(global_)[0]

    def global_set(self, global_: RawExtern, value: Any) -> None:
        _cell(global_)[0] = value


class NativeEngine(Engine):
    name = "native"
    binding = "cffi"  # it has no frames
    requires = REQUIRES
    cached_modules = None  # loaded libraries stay anyway

    _threads = local()

    @classmethod
    def for_this_thread(cls) -> NativeEngine:
        engine: NativeEngine | None = getattr(cls._threads, "engine", None)
        if engine is None:
            reason = why_unavailable()
            if reason:
                raise ImportError(reason)
            engine = cls._threads.engine = cls()
        return engine

    def store(self, limits: GuestLimits = NO_LIMITS) -> Store:
        return NativeStore()

    def compile(self, code: Code) -> Compiled:
        library = find_loaded(library_name(code.source, code.named))
        if library is None:
            library = load_library(library_for(code, "the module"))
        return Compiled(library, Module.parse(code.named))

    def configuration(self) -> Any:
        return run_time().hex()

    def serialize(self, compiled: Compiled) -> tuple[bytes, Any]:
        """The library has its own place in the cache; this leads there without a pass."""
        return _declarations(compiled.module), compiled.library.__name__

    def deserialize(self, contents: bytes, notes: Any) -> Compiled:
        library = find_loaded(notes)
        if library is None:
            path = find_library(notes)
            if path is None:
                raise CacheError(f"the library {notes} is in the cache no more")
            library = load_library(path)
        try:
            return Compiled(library, Module.parse(contents))
        except UnsupportedModuleError as e:
            raise CacheError(f"the declarations that were kept are none: {e}") from e

    def validate(self, wasm: bytes) -> None:
        validate(wasm, self.name)

    def trap_kind(self, error: BaseException) -> str | None:
        return str(error) if isinstance(error, NativeTrap) else None

    def is_link_error(self, error: BaseException) -> bool:
        return isinstance(error, LinkError)


def _declarations(module: Module) -> bytes:
    """The module with nothing but the sections of its types, imports and so on up to its exports."""
    wasm = module.wasm
    kept = (section(kind, wasm[start:end]) for kind, start, end in module.sections if kind in _DECLARING)
    return wasm[:8] + b"".join(kept)


def _cell(global_: Native) -> Any:
    return _ffi.cast(f"{PUBLIC[global_.type]} *", global_.address)


def _same_layout(lib: Any, extern: Native, wanted: Import) -> None:
    assert extern.instance is not None
    ours, theirs = lib.hw_layout(), extern.instance.library.lib.hw_layout()
    if _ffi.string(ours) != _ffi.string(theirs):
        raise LinkError(
            f"import {wanted} was compiled with another wasm2c, which lays memories and tables out"
            " differently: compile both modules with the same one"
        )


def _check_size(lib: Any, extern: Native, wanted: Import, limits: Limits) -> None:
    kind = "memory" if extern.kind == MEMORY else "table"
    if extern.kind == MEMORY:
        size, maximum = lib.hw_memory_size(extern.address) >> 16, lib.hw_memory_maximum(extern.address)
    else:
        size, maximum = lib.hw_table_size(extern.address), lib.hw_table_maximum(extern.address)
    if size < limits.minimum or (limits.maximum is not None and maximum > limits.maximum):
        raise LinkError(
            f"import {wanted} must be a {kind} of {limits.minimum} to {limits.maximum}, but it is one of"
            f" {size} to {maximum}"
        )
