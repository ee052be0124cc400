"""Exports of a module's own externref tables and globals, for the host: who looks for cycles must see all
that holds a reference. And of all its state, for an instance that is to be moved to another store.

The names are not among the exports that the module declares, so no other guest can import them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..values import EXTERNREF, FUNCREF, V128
from ..wasm.binary import Reader, leb, name, section, vector
from ..wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, TABLE, Export, Module
from .externref.rewrite import COMPANION_MODULE

__all__ = ["export_holders", "hidden_exports", "why_fixed"]

_EXPORT = 7
_START, _DATA = 8, 11
_PASSIVE = 1  # of the flags of a segment
_AFTER_EXPORTS = (8, 9, 10, 11, 12)  # start, elements, code, data, count of data


def hidden_exports(module: Module, whole: bool = False) -> Iterator[Export]:
    """What `export_holders` adds: the module's externref tables and globals, except imported ones.

    Args:
        whole: also all else that can change: other tables, mutable globals, memories.
    """
    taken = {export.name for export in module.exports}
    tables = [whole or table.element == EXTERNREF for table in module.tables]
    globals_ = [global_.type == EXTERNREF or (whole and global_.mutable) for global_ in module.globals]
    memories = [whole] * len(module.memories)
    for kind, holds in ((TABLE, tables), (MEMORY, memories), (GLOBAL, globals_)):
        for index in range(module.count_imports(kind), len(holds)):
            if holds[index]:
                hidden = f"hiwire_py.{kind}.{index}"
                while hidden in taken:
                    hidden += "."
                yield Export(hidden, kind, index)


def why_fixed(module: Module) -> str:
    """Why an instance of the module cannot be made a second time with the state of the first, as far as the
    module says; "" if it can."""
    for wanted in module.imports:
        if wanted.kind != FUNCTION and wanted.module != COMPANION_MODULE:
            return f"it imports the {KINDS[wanted.kind]} {wanted}"
    if any(section.kind == _START for section in module.sections):
        return "it has a start function"
    if any(global_.mutable and global_.type in (FUNCREF, V128) for global_ in module.globals):
        return "it has a mutable global of type funcref or v128"
    # Whether one has been dropped cannot be asked.
    if any(element.flags & 3 == _PASSIVE for element in module.elements) or _PASSIVE in _data_flags(module):
        return "it has passive segments"
    return ""


def _data_flags(module: Module) -> Iterator[int]:
    for kind, start, end in module.sections:
        if kind == _DATA:
            reader = Reader(module.wasm, start, end)
            for _ in range(reader.u32()):
                flags = reader.u32()
                if flags == 2:
                    reader.u32()
                if flags != _PASSIVE:
                    module.skip_expression(reader)
                reader.take(reader.u32())
                yield flags


def export_holders(wasm: bytes, whole: bool = False) -> bytes:
    """The module with its own externref tables and globals exported, and for ``whole`` all else that can
    change; the same bytes if there are none."""
    module = Module.parse(wasm)
    hidden = [name(one.name) + bytes((one.kind,)) + leb(one.index) for one in hidden_exports(module, whole)]
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
