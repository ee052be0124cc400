"""From a module's bytes to what an engine can instantiate: read, rewritten as the engine requires, compiled.

The engine keeps what was prepared for it, so that the same bytes are read, rewritten and compiled once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from ..engines import Engine, stack
from ..passes.externref import Lowered
from ..passes.runner import run
from ..wasm.module import Module

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A module ready to be instantiated: what it declares, its compiled form, and how it was lowered, if it
    was."""

    module: Module
    compiled: Any
    lowered: Lowered | None


def prepare(engine: Engine, wasm: bytes, lasting: bool = False) -> Prepared:
    """Parse, validate, rewrite and compile.

    Args:
        engine: for which engine; it has `Requirements`.
        wasm: the module.
        lasting: other instances in the store come and go, while this one stays; the engine may have to
            move it.

    Raises:
        EngineUnavailableError: the thread's stack is too small for this engine.
        RecursionError: too little of it is left.
        UnsupportedModuleError: the module is malformed, invalid, or uses features that are not handled
            here.
    """
    stack.require(engine.name)
    lasting = lasting and engine.moves
    key = hashlib.blake2b(wasm, digest_size=32).digest() + bytes((lasting,))
    kept = engine.prepared
    prepared: Prepared | None = kept.get(key)
    if prepared is None:
        module = Module.parse(wasm)
        code, lowered = run(module, engine.requires, engine.validate, lasting)
        prepared = kept[key] = Prepared(module, engine.compile(code), lowered)
        if engine.cached_modules is not None and len(kept) > engine.cached_modules:
            kept.popitem(last=False)
    else:
        kept.move_to_end(key)
    return prepared
