"""Compiling modules for the engine native ahead of time, for machines without a compiler."""

from __future__ import annotations

import os
from pathlib import Path

from . import cache
from .engines.native.build import REQUIRES, compile_library, find_installed, library_for, library_name
from .engines.validation import validate
from .passes.runner import run
from .requirements import Code
from .sources import WasmSource, read_wasm
from .wasm.module import Module

__all__ = ["code_for_native", "compile_native"]


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
    code = code_for_native(data)
    if directory is not None:
        return compile_library(code, what, directory)
    if find_installed(library_name(code.source, code.named)) is None:
        cache.require()
    return library_for(code, what)


def code_for_native(wasm: bytes) -> Code:
    """The module as the engine native compiles it.

    Raises:
        UnsupportedModuleError: it is malformed, or uses features that are not handled.
    """
    return run(Module.parse(wasm), REQUIRES, lambda module: validate(module, "native")).code
