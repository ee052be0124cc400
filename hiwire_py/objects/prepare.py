"""From a module's bytes to what an engine can instantiate: read, rewritten as the engine requires, compiled.

The engine keeps what was prepared for it, so that the same bytes are read, rewritten and compiled once. Of
large modules another process finds that on disk: kept.py.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

from ..engines import Engine, stack
from ..passes.externref import Lowered
from ..passes.runner import run
from ..wasm.module import Module
from .kept import entry_name, keep, recall

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A module ready to be instantiated: what it declares, its compiled form, and how it was lowered, if it
    was."""

    module: Module
    compiled: Any
    lowered: Lowered | None

    @functools.cached_property
    def index(self) -> dict[str, tuple[int, int]]:
        """Its exports: name -> kind and index."""
        return {e.name: (e.kind, e.index) for e in self.module.exports}


def prepare(
    engine: Engine, wasm: bytes | Module, lasting: bool = False, least: int | None = None
) -> Prepared:
    """Parse, validate, rewrite and compile.

    Args:
        engine: for which engine; it has `Requirements`.
        wasm: the module; perhaps parsed already.
        lasting: other instances in the store come and go, while this one stays; the engine may have to
            move it.
        least: bytes of the smallest modules that are kept on disk; None: as kept.py has it.

    Raises:
        EngineUnavailableError: the thread's stack is too small for this engine.
        RecursionError: too little of it is left.
        UnsupportedModuleError: the module is malformed, invalid, or uses features that are not handled
            here.
    """
    stack.require(engine.name)
    lasting = lasting and engine.moves
    parsed = wasm if isinstance(wasm, Module) else None
    if isinstance(wasm, Module):
        wasm = wasm.wasm
    key = hashlib.blake2b(wasm, digest_size=32).digest() + bytes((lasting,))
    known = engine.prepared
    prepared: Prepared | None = known.get(key)
    if prepared is None:
        prepared = known[key] = _prepare(engine, wasm, parsed, key, lasting, least)
        if engine.cached_modules is not None and len(known) > engine.cached_modules:
            known.popitem(last=False)
    else:
        known.move_to_end(key)
    return prepared


def _prepare(
    engine: Engine, wasm: bytes, parsed: Module | None, key: bytes, lasting: bool, least: int | None
) -> Prepared:
    name = entry_name(engine, wasm, key, least)
    found = None if name is None else recall(engine, name)
    module = Module.parse(wasm) if parsed is None else parsed
    if found is not None:
        return Prepared(module, *found)
    code, lowered = run(module, engine.requires, engine.validate, lasting)
    compiled = engine.compile(code)
    if name is not None:
        keep(engine, name, compiled, lowered)
    return Prepared(module, compiled, lowered)
