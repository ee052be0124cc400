"""From a module to its library, found or compiled; and whether that can be done here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path

from ...errors import ToolchainError
from ...requirements import Code, Requirements
from ...sources import VARIANTS, shipped
from ..validation import validate
from .build import compile_library, find_cached, find_installed, library_name
from .tools import find_tools, find_wasm2c, missing_tools

__all__ = [
    "REQUIRES",
    "compile_into",
    "find_library",
    "library_for",
    "shipped_modules",
    "why_unavailable",
]


REQUIRES = Requirements(no_externref_tables=True, validates=True, plain_names=True)
"""What wasm2c and the C around its output take: tables of externrefs would be left to its run time."""


def find_library(name: str) -> Path | None:
    """The library of that name, where it is installed or in the cache."""
    return find_installed(name) or find_cached(name, None if missing_tools() else find_tools())


def library_for(code: Code, what: str) -> Path:
    """The library of a module; compiled if there is none yet.

    Raises:
        ToolchainError: a tool is missing or failed; the message says which and how to get it.
        UnsupportedModuleError: the module is invalid, or uses features that are not handled.
    """
    name = library_name(code.source, code.named)
    path = find_library(name)
    if path is not None:
        return path
    missing = missing_tools()
    if missing:
        raise ToolchainError(
            f"{what} is not compiled for the engine native yet, and cannot be here: {'; '.join(missing)};"
            " or compile it elsewhere with `hiwire compile -o DIRECTORY`, and set HIWIRE_NATIVE_PATH to that"
        )
    return compile_into(code, what, None)


def compile_into(code: Code, what: str, directory: str | os.PathLike[str] | None) -> Path:
    """Compile a module, whether there is a library of it or not; for the rest see `compile_library`."""
    validate(code.source, "native")  # lowering makes some invalid modules valid, so its output is not enough
    return compile_library(code, what, directory)


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
