"""From a module to its library: lowered, found or compiled; and whether that can be done here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import Any

from ... import cache
from ...errors import ToolchainError, UnsupportedModuleError
from ...passes import Lowered, Module, lower_module, module_needs_lowering, refuse_lowered
from ...sources import VARIANTS, WasmSource, read_wasm, shipped
from ...values import EXTERNREF
from ..validation import validate
from .build import (
    compile_library,
    find_cached,
    find_installed,
    find_loaded,
    library_name,
    load_library,
)
from .tools import find_tools, find_wasm2c, missing_tools

__all__ = [
    "compile_native",
    "library_for",
    "lower_for_native",
    "open_library",
    "reopen_library",
    "shipped_modules",
    "why_unavailable",
]


def compile_native(wasm: WasmSource, directory: str | os.PathLike[str] | None = None) -> Path:
    """Compile a module for the engine native, so that a guest of it starts at once. Idempotent.

    Args:
        wasm: the module's bytes, or the path of its file.
        directory: where to put the library, for machines without a compiler; there, name the directory in the
            environment variable ``HIWIRE_NATIVE_PATH``. The library is for this version of Python and of this
            package. None: into the cache.

    Returns:
        The library's path.

    Raises:
        ToolchainError: a tool is missing or failed; the message says which and how to get it. Or there is no
            ``directory``, and the cache cannot be used; the message says why.
        UnsupportedModuleError: the module is malformed, invalid, or uses features that are not handled.
    """
    data, what = read_wasm(wasm)
    _, lowered = lower_for_native(data)
    code = data if lowered is None else lowered.wasm
    if directory is None:
        if find_installed(library_name(data, code)) is None:
            cache.require()
        return library_for(data, code, what)
    validate(data, "native")
    return compile_library(data, code, what, directory)


def lower_for_native(wasm: bytes) -> tuple[Module, Lowered | None]:
    """The module, and its lowered form if it has one.

    Raises:
        UnsupportedModuleError: it is malformed, or uses features that are not handled.
    """
    module = Module.parse(wasm)
    refuse_lowered(module)
    # wasm2c leaves every table of externrefs to its run time, and here they are the companion's.
    if not module_needs_lowering(module) and all(t.element != EXTERNREF for t in module.tables):
        return module, None
    try:
        return module, lower_module(module)
    except UnsupportedModuleError:
        validate(wasm, "native")  # for the better message
        raise


def open_library(wasm: bytes, code: bytes) -> Any:
    """The extension module of `library_for` the same."""
    loaded = find_loaded(library_name(wasm, code))
    return load_library(library_for(wasm, code, "the module")) if loaded is None else loaded


def reopen_library(name: str) -> Any:
    """The extension module of that name, which was compiled before.

    Raises:
        CacheError: it is nowhere any more.
    """
    loaded = find_loaded(name)
    if loaded is not None:
        return loaded
    path = find_installed(name) or find_cached(name, None if missing_tools() else find_tools())
    if path is None:
        raise cache.CacheError(f"the library {name} is in the cache no more")
    return load_library(path)


def library_for(wasm: bytes, code: bytes, what: str) -> Path:
    """The library of a module, ``code`` being its lowered form; compiled if there is none yet.

    Raises:
        ToolchainError, UnsupportedModuleError: as `compile_native` does.
    """
    name = library_name(wasm, code)
    path = find_installed(name)
    if path is not None:
        return path
    missing = missing_tools()
    path = find_cached(name, None if missing else find_tools())
    if path is not None:
        return path
    if missing:
        raise ToolchainError(
            f"{what} is not compiled for the engine native yet, and cannot be here: {'; '.join(missing)};"
            " or compile it elsewhere with `hiwire compile -o DIRECTORY`, and set HIWIRE_NATIVE_PATH to that"
        )
    validate(wasm, "native")  # lowering makes some invalid modules valid, so the lowered form is not enough
    return compile_library(wasm, code, what)


def shipped_modules() -> dict[str, bytes]:
    """The modules whose libraries are built when the package is installed."""
    return {name: shipped(name) for name in ("externref", *VARIANTS, "guest-wordcount")}


def why_unavailable() -> str:
    """Why the engine cannot be used here, and how to get it; "" when it can be."""
    if importlib.util.find_spec("_cffi_backend") is None:
        return "cffi is missing; install it with: python -m pip install cffi"
    if _shipped_are_built():
        return ""
    missing = missing_tools()
    if not missing:
        return ""
    return f"it was not built with hiwire_py, and modules cannot be compiled here: {'; '.join(missing)}"


def version_here() -> str:
    """The versions of what it runs on: cffi, and wasm2c if there is one."""
    wasm2c = find_wasm2c()
    cffi = f"cffi {importlib.metadata.version('cffi')}"
    return cffi if wasm2c is None else f"{cffi}, wasm2c {wasm2c.version}"


def _shipped_are_built() -> bool:
    try:
        runtime = shipped("externref")
    except FileNotFoundError:  # a damaged installation, of which others have more to say
        return False
    name = library_name(runtime, runtime)
    return (find_installed(name) or find_cached(name, None)) is not None
