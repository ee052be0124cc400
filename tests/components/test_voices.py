"""Strings from one component to another and back: two components in C, each with a memory of its own, on
every engine. What the plain ``wasmtime.component`` gives is the reference.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import wasmtime
from c_support import scratch
from component_builds import part, run
from wasm_tools_support import wasm_tools
from wasmtime import component as reference

from hiwire_py.components import Component
from hiwire_py.errors import GuestTrap

TEXTS = ["", "a", "words", "brød €😀", "x" * 31, "y" * 64, "z" * 65, "é" * 500, "0123456789" * 1000]


@functools.cache
def voices() -> bytes:
    """The component that is made of both."""
    speaker, listener = (part(world, "voices.wit") for world in ("speaker", "listener"))
    whole = scratch() / "voices.wasm"
    run(wasm_tools(), "compose", listener, "-d", speaker, "-o", whole)
    return whole.read_bytes()


class _Reference:
    """The same component on the plain package."""

    def __init__(self, wasm: bytes) -> None:
        config = wasmtime.Config()
        config.wasm_component_model = True
        self.engine = wasmtime.Engine(config)
        self.store = wasmtime.Store(self.engine)
        made = reference.Component(self.engine, wasm)
        self.instance = reference.Linker(self.engine).instantiate(self.store, made)

    def call(self, name: str, *args: Any) -> Any:
        function = self.instance.get_func(self.store, name)
        assert function is not None
        result = function(self.store, *args)
        function.post_return(self.store)
        return result


def test_strings(engine: str) -> None:
    """Strings of every length and width, alone and in lists, come and go as on the reference."""
    wasm = voices()
    theirs = _Reference(wasm)
    with Component(wasm).instantiate(engine=engine) as ours:
        for text in TEXTS:
            answer = ours["ask"](text)
            assert answer == theirs.call("ask", text)
            assert answer[0] + answer[-2:] == "<!>" and len(answer) == len(text) + 3
            data = text.encode()
            sum_ = 3 * (len(data) + (data[0] + data[-1] if data else 0))
            assert ours["hear"](text, 3) == theirs.call("hear", text, 3) == sum_
        for parts in (0, 1, 2, 6, 200):
            assert ours["longest"]("a sentence", parts) == theirs.call("longest", "a sentence", parts)


def test_half_a_character(engine: str) -> None:
    """A string that was cut within a character is found out on its way, and the cause is told."""
    with (
        Component(voices()).instantiate(engine=engine) as ours,
        pytest.raises(GuestTrap, match="not valid in its encoding"),
    ):
        ours["longest"]("é", 2)


def test_many(engine: str) -> None:
    """A thousand strings of 10 kB through the same memory."""
    with Component(voices()).instantiate(engine=engine) as ours:
        assert ours["hear"]("0123456789" * 1000, 1000) == 1000 * (10_000 + ord("0") + ord("9"))
