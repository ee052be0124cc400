"""Plain names: wasm2c makes C names of the names in a module, by rules that differ between its releases.

So each module goes to wasm2c with its imports named ``h.i0``, ``h.i1``, ... and its exports ``x0``, ``x1``,
..., in their order, and without custom sections (that of names among them). Nothing else changes.
"""

from __future__ import annotations

from ...wasm.binary import Reader, leb, name, section, vector
from ...wasm.module import Module

__all__ = ["IMPORTS_FROM", "plain"]

IMPORTS_FROM = "h"

_CUSTOM, _IMPORT, _EXPORT = 0, 2, 7


def plain(module: Module) -> bytes:
    """The module's bytes, with plain names."""
    out = [module.wasm[:8]]
    for kind, start, end in module.sections:
        if kind == _IMPORT:
            out.append(section(kind, _imports(Reader(module.wasm, start, end))))
        elif kind == _EXPORT:
            entries = (name(f"x{i}") + bytes((e.kind,)) + leb(e.index) for i, e in enumerate(module.exports))
            out.append(section(kind, vector(entries)))
        elif kind != _CUSTOM:
            out.append(section(kind, module.wasm[start:end]))
    return b"".join(out)


def _imports(r: Reader) -> bytes:
    entries = []
    for i in range(r.u32()):
        r.name()
        r.name()
        start = r.pos
        kind = r.byte()
        if kind in (1, 3):  # the type of a table's elements; that of a global
            r.byte()
        if kind in (1, 2):
            flags = r.byte()
            r.u32()
            if flags:
                r.u32()
        elif kind == 3:
            r.byte()
        else:
            r.u32()
        entries.append(name(IMPORTS_FROM) + name(f"i{i}") + r.data[start : r.pos])
    return vector(entries)
