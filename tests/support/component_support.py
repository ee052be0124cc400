"""Components for tests, made from their text form."""

from __future__ import annotations

import functools
from collections.abc import Callable

import wasmtime
from wasm_tools_support import wasm_tools

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
