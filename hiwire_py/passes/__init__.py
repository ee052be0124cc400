"""Passes: each makes of a module another one, for an engine or for who looks into instances.

runner          which passes run, in which order
externref       externrefs become integers, for engines whose binding cannot pass them
holders         all that can change is exported
table_limits    a maximum for tables
constants       constant expressions have one instruction
deferred_start  what a module does at its start becomes an export
memories        a module has one memory, and calls others for the rest
plain_names     imports and exports are numbered

escapes is none: it tells which instances can come to hold functions of others, as far as types say.
"""

from __future__ import annotations

from ..wasm.module import Module
from .externref import lower_module
from .externref import needs_lowering as _needs_lowering

__all__ = ["lower", "needs_lowering"]


def lower(wasm: bytes) -> bytes:
    """The lowered form of a module; a module that does not need it, or has it, comes back as it is.

    The module is taken to be valid: lowering can turn code that confuses i32 and externref into valid code,
    so have an engine validate an untrusted module first, as `Guest` does.

    Args:
        wasm: a core WebAssembly module in the binary format.

    Returns:
        A module without externref, which imports from the module ``externref`` what it needs in its place.
        What it was stands in its custom section ``externref``.

    Raises:
        UnsupportedModuleError: the module is malformed, or uses a feature that lowering does not handle.
        TypeError: it is no bytes.
    """
    module = Module.parse(_bytes(wasm))
    return lower_module(module).wasm if _needs_lowering(module) else module.wasm


def needs_lowering(wasm: bytes) -> bool:
    """Whether an externref can cross the module's boundary: in a function's type, an exported or imported
    table or global. Also a segment of externrefs, which engines without externref do not take at all, and a
    function type that ends in a funcref, which indirect calls must still tell from lowered ones.

    Raises:
        UnsupportedModuleError: the bytes are not a module of a supported kind.
        TypeError: it is no bytes.
    """
    return _needs_lowering(Module.parse(_bytes(wasm)))


def _bytes(wasm: bytes) -> bytes:
    if not isinstance(wasm, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"a module is given as its bytes here, not as {type(wasm).__name__}; read the file first"
        )
    return bytes(wasm)
