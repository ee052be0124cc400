"""Plain names: imports and exports are numbered, for translators that make names of their own of them.

wasm2c makes C names of the names in a module, by rules that differ between its releases.

Requires: any module.
Leaves: the imports are ``h.i0``, ``h.i1``, ... and the exports ``x0``, ``x1``, ..., in their order; custom
sections, that of names among them, are gone. Everything else is as it was, byte for byte.
"""

from __future__ import annotations

from ..wasm.binary import vector
from ..wasm.module import Kind, Module
from ..wasm.write import Edit, Writer, export_bytes

__all__ = ["plain_names"]

_IMPORTS_FROM = "h"


def plain_names(module: Module) -> bytes:
    """The module's bytes, with plain names."""
    edit, writer = Edit(module, keeps_custom=False), Writer(module)
    imports = [
        writer.import_(wanted._replace(module=_IMPORTS_FROM, name=f"i{i}"))
        for i, wanted in enumerate(module.imports)
    ]
    if imports:
        edit.set(Kind.IMPORTS, vector(imports))
    if module.exports:
        exports = (export_bytes(f"x{i}", e.kind, e.index) for i, e in enumerate(module.exports))
        edit.set(Kind.EXPORTS, vector(exports))
    return edit.written()
