"""Components for tests, made from their text form."""

from __future__ import annotations

import functools

import wasmtime

from hiwire_py.components import Component

__all__ = ["assemble", "component"]


@functools.lru_cache(maxsize=64)
def assemble(text: str) -> bytes:
    """The binary of a component's text, which is not validated."""
    return bytes(wasmtime.wat2wasm(text))


def component(text: str) -> Component:
    """The component of a text."""
    return Component(assemble(text))
