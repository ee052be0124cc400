"""Modules with several memories that a generator makes, on each engine and on plain wasmtime."""

from __future__ import annotations

from collections import Counter

from exercise import BEYOND, exercise, oracle
from mutants import several_memories
from wasm_tools_support import wasm_tools

from hiwire_py.wasm.module import Module

# How many modules, and how many of them must run: native compiles each, and has no vectors.
COUNT = {"wasmer": (80, 30), "wasmtime": (40, 25), "native": (12, 1)}


def test_several_memories(engine: str) -> None:
    """Whatever they export gives the same, and leaves the same in memories and globals."""
    tools = wasm_tools()
    count, least = COUNT[engine]
    seen: Counter[str] = Counter()
    for number in range(count):
        wasm = several_memories(number, tools)
        if not wasm:
            continue
        assert len(Module.parse(wasm).memories) > 1
        until = oracle(wasm, number)
        log = exercise(wasm, number, engine, until, lambda: None)
        ended = log[-1].endswith(BEYOND) or log[-1].startswith("refused")
        seen[log[-1] if ended else "ran"] += 1
        same = log if not ended else log[:-1]
        assert same == until[: len(same)], number
        assert ended or len(log) == len(until), number
    assert seen["ran"] >= least, seen
