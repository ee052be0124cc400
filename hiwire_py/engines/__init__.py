"""The engines that can run modules: which are here, why another is not, and how to get it.

base         what an engine must be able to do
wasmer       one file
wasmtime/    in C through cffi, in one of two ways: modes says which is taken, and why; moving leaves a store
             for another one
native/      build leads from a module to its library, which it compiles and keeps; source writes C around
             wasm2c's; tools finds what it takes
validation   wasmtime's answer whether a module is valid, for the others
limits       what guests may use up, and the clock of deadlines
stack        how much is left of a thread's stack; stack_end.h and stack_guard.c are the same in C
forks        how many forks ago this package was imported: threads of compilers do not come along into a child
interpreters none of them can be used in a subinterpreter
release      what an engine holds is released when Python no longer refers to it
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from dataclasses import dataclass

from ..errors import EngineUnavailableError
from . import interpreters, stack
from .base import NO_LIMITS, Engine, Imports, RawExtern, Store
from .limits import GuestLimits

interpreters.require_main()  # before the extension modules are imported, whose messages do not say what to do

__all__ = [
    "ENGINE_NAMES",
    "NO_LIMITS",
    "Engine",
    "EngineInfo",
    "GuestLimits",
    "Imports",
    "RawExtern",
    "Store",
    "engines",
    "get_engine",
]


@dataclass(frozen=True)
class EngineInfo:
    """An engine and whether it can be used here.

    Attributes:
        name: as ``engine=`` takes it.
        available: whether it can be imported.
        version: of the package, or "" where it is not installed.
        reason: why it is not available and how to get it, or "" where it is.
        note: what one should know before choosing it.
        mode: how it is called, where there are several ways; else "".
        mode_reason: why that is not the fastest way; "" if it is.
        capabilities: the limits it has for guests; empty where it is not available.
    """

    name: str
    available: bool
    version: str
    reason: str
    note: str
    mode: str = ""
    mode_reason: str = ""
    capabilities: tuple[str, ...] = ()


_CLASSES = {
    "wasmer": (".wasmer", "WasmerEngine"),
    "wasmtime": (".wasmtime.engine", "WasmtimeEngine"),
    "native": (".native.engine", "NativeEngine"),
}

ENGINE_NAMES = tuple(_CLASSES)
"""The engines, in the order of preference."""

_PACKAGES = {"wasmer": ("wasmer", "wasmer_compiler_cranelift"), "wasmtime": ("wasmtime",)}
_NOTES = {
    "wasmer": "unmaintained since 2022, CPython <= 3.10; not for untrusted guests",
    "wasmtime": "maintained; the choice for untrusted guests",
    "native": "fastest calls, modules are compiled once through C; not for untrusted guests",
}


def get_engine(name: str | None = None) -> Engine:
    """The engine of this thread.

    Args:
        name: one of `ENGINE_NAMES`. None: the environment variable ``HIWIRE_ENGINE``, else the first that is
            here.

    Raises:
        EngineUnavailableError: it is unknown or cannot be imported, or the thread's stack is too small for
            any; the message says why and what would help.
        RecursionError: too little of the stack is left.
        TypeError: ``name`` is no str.
    """
    stack.require(None)
    source = ""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"engine must be None or one of {', '.join(ENGINE_NAMES)}, not {type(name).__name__}")
    if name is None:
        name = os.environ.get("HIWIRE_ENGINE") or None
        source = " (from the environment variable HIWIRE_ENGINE)"
    if name is None:
        for candidate in ENGINE_NAMES:
            try:
                return _load(candidate)
            except ImportError:
                continue
        reasons = "; ".join(f"{i.name}: {i.reason}" for i in engines())
        raise EngineUnavailableError(f"no WebAssembly engine is installed ({reasons})")
    if name not in _CLASSES:
        known = ", ".join(ENGINE_NAMES)
        raise EngineUnavailableError(f"unknown engine {name!r}{source}; the engines are: {known}")
    try:
        return _load(name)
    except EngineUnavailableError:
        raise
    except ImportError as e:
        reason = next((i.reason for i in engines() if i.name == name), str(e))
        raise EngineUnavailableError(f"the engine {name!r}{source} is not available: {reason}") from e


def _load(name: str) -> Engine:
    module, class_ = _CLASSES[name]
    engine: Engine = getattr(importlib.import_module(module, __name__), class_).for_this_thread()
    return engine


def engines() -> list[EngineInfo]:
    """All engines this package knows, in the order of preference, available or not."""
    return [_info(name) for name in ENGINE_NAMES]


def _info(name: str) -> EngineInfo:
    note = _NOTES[name]
    if name == "native":
        from .native.build import version_here, why_unavailable

        reason = why_unavailable()
        return EngineInfo(name, not reason, "" if reason else version_here(), reason, note)
    try:
        version = importlib.metadata.version(_PACKAGES[name][0])
    except importlib.metadata.PackageNotFoundError:
        version = ""
    for package in _PACKAGES[name]:
        try:
            __import__(package)
        except ImportError as e:
            return EngineInfo(name, False, version, _reason(name, package, e), note)
    if name == "wasmer":
        return EngineInfo(name, True, version, "", note)
    try:
        from .wasmtime.engine import WasmtimeEngine
        from .wasmtime.modes import mode

        way = mode()
    except ImportError as e:
        return EngineInfo(name, False, version, str(e), note)
    limits = tuple(sorted(WasmtimeEngine.capabilities))
    return EngineInfo(name, True, version, "", note, way.name, way.reason, limits)


def _reason(name: str, package: str, error: ImportError) -> str:
    python = "{}.{}".format(*sys.version_info)
    if name == "wasmer" and sys.version_info >= (3, 11):
        return f"it has no wheels for CPython {python}; install hiwire_py under CPython 3.10"
    distribution = package.replace("_", "-")
    return f"{error}; install it with: python -m pip install {distribution}"
