"""Programs for WASI, compiled from C when a test wants them, and made components by other people's tools."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from wasm_tools_support import wasm_tools

__all__ = ["PROGRAMS", "program"]

PROGRAMS = Path(__file__).resolve().parents[1] / "wasi" / "programs"

# Makes a component of a module for preview 1; its package has it as a file.
_ADAPTER_PACKAGE = "@bytecodealliance/jco@1.35.0"
_ADAPTER = "package/lib/wasi_snapshot_preview1.command.wasm"


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    """A place of this process, which is removed at its end."""
    return tempfile.TemporaryDirectory(prefix="hiwire-wasi-")


@functools.cache
def _adapter() -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here, from which the adapter for preview 1 comes")
    place = Path(_directory().name)
    packed = subprocess.run(
        [npm, "pack", "--silent", _ADAPTER_PACKAGE], cwd=place, capture_output=True, text=True, timeout=300
    )
    if packed.returncode:
        pytest.skip(f"npm does not give {_ADAPTER_PACKAGE}: {packed.stderr[-300:]}")
    adapter = place / "adapter.wasm"
    with tarfile.open(place / packed.stdout.split()[-1]) as package:
        member = package.extractfile(_ADAPTER)
        assert member is not None
        adapter.write_bytes(member.read())
    return adapter


@functools.cache
def program(name: str) -> Path:
    """The component of ``programs/NAME.c``; skips the test where a tool is missing that makes it."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not here, a C compiler that has a library for WASI")
    tools, adapter, place = wasm_tools(), _adapter(), Path(_directory().name)
    module, component = place / f"{name}.wasm", place / f"{name}.component.wasm"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-Os"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, *warnings, str(PROGRAMS / f"{name}.c"), "-o", str(module)], check=True)
    adapted = f"wasi_snapshot_preview1={adapter}"
    made = [tools, "component", "new", str(module), "--adapt", adapted, "-o", str(component)]
    subprocess.run(made, check=True)
    return component
