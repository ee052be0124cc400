"""Externref lowering: modules that use externref, for engines whose Python binding cannot pass one.

Every externref becomes an i32 id, and the host keeps id -> object: the design is in docs/lowering.md.

module, binary, code, names    reading and writing modules
rewrite                        the pass
analysis, liveness, frames     which externrefs a function holds while it calls others
indirect                       functions whose address is taken
segments                       what a start function does about segments of externrefs

Four are not about lowering, but need to read modules too:

holders        hidden exports, by which the host sees what a module's own tables and globals hold
escapes        which instances can come to hold functions of others, as far as types tell
deferred       what a module does at its start becomes an export, for wasmer
table_limits   a maximum for tables, for wasmer
"""

from __future__ import annotations

from ..values import EXTERNREF
from ..wasm.module import Global, Module, TableType
from .externref.indirect import ends_in_funcref
from .externref.rewrite import COMPANION_MODULE, Handle, Lowered, lower_module, refuse_lowered

__all__ = [
    "COMPANION_MODULE",
    "Handle",
    "Lowered",
    "Module",
    "lower",
    "lower_module",
    "module_needs_lowering",
    "needs_lowering",
    "refuse_lowered",
]


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
    wasm = _bytes(wasm)
    module = Module.parse(wasm)
    return lower_module(module).wasm if module_needs_lowering(module) else wasm


def needs_lowering(wasm: bytes) -> bool:
    """Whether an externref can cross the module's boundary: in a function's type, an exported or imported
    table or global. Also a segment of externrefs, which engines without externref do not take at all, and a
    function type that ends in a funcref: see `indirect`.

    Raises:
        UnsupportedModuleError: the bytes are not a module of a supported kind.
        TypeError: it is no bytes.
    """
    return module_needs_lowering(Module.parse(_bytes(wasm)))


def _bytes(wasm: bytes) -> bytes:
    if not isinstance(wasm, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"a module is given as its bytes here, not as {type(wasm).__name__}; read the file first"
        )
    return bytes(wasm)


def module_needs_lowering(module: Module) -> bool:
    if any(t.has_externref for t in module.types) or any(e.type == EXTERNREF for e in module.elements):
        return True
    if any(i.module == COMPANION_MODULE for i in module.imports):
        return False  # it has been lowered
    if any(ends_in_funcref(t) for t in module.types):
        return True
    shared: list[object] = [i.type for i in module.imports]
    for export in module.exports:
        if export.kind == 1:
            shared.append(module.tables[export.index])
        elif export.kind == 3:
            shared.append(module.globals[export.index])
    return any(
        (isinstance(x, TableType) and x.element == EXTERNREF)
        or (isinstance(x, Global) and x.type == EXTERNREF)
        for x in shared
    )
