"""Exports of a module's own externref tables and globals, for the host: who looks for cycles must see all
that holds a reference.

The names are not among the exports that the module declares, so no other guest can import them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..values import EXTERNREF
from .binary import Reader, leb, name, section, vector
from .module import GLOBAL, TABLE, Export, Module

__all__ = ["export_holders", "hidden_exports"]

_EXPORT = 7
_AFTER_EXPORTS = (8, 9, 10, 11, 12)  # start, elements, code, data, count of data


def hidden_exports(module: Module) -> Iterator[Export]:
    """What `export_holders` adds: the module's externref tables and globals, except imported ones."""
    taken = {export.name for export in module.exports}
    tables = [table.element == EXTERNREF for table in module.tables]
    globals_ = [global_.type == EXTERNREF for global_ in module.globals]
    for kind, holds in ((TABLE, tables), (GLOBAL, globals_)):
        for index in range(module.count_imports(kind), len(holds)):
            if holds[index]:
                hidden = f"hiwire_py.{kind}.{index}"
                while hidden in taken:
                    hidden += "."
                yield Export(hidden, kind, index)


def export_holders(wasm: bytes) -> bytes:
    """The module with its own externref tables and globals exported; the same bytes if there are none."""
    module = Module.parse(wasm)
    hidden = [name(one.name) + bytes((one.kind,)) + leb(one.index) for one in hidden_exports(module)]
    if not hidden:
        return wasm
    out, done = [wasm[:8]], False
    for kind, start, end in module.sections:
        if kind == _EXPORT:
            reader = Reader(wasm, start, end)
            count = reader.u32()
            out.append(section(_EXPORT, leb(count + len(hidden)) + wasm[reader.pos : end] + b"".join(hidden)))
            done = True
            continue
        if kind in _AFTER_EXPORTS and not done:
            out.append(section(_EXPORT, vector(hidden)))
            done = True
        out.append(section(kind, wasm[start:end]))
    if not done:
        out.append(section(_EXPORT, vector(hidden)))
    return b"".join(out)
