"""Exposed table: a module's one table of externrefs is exported, for who knows what is in it.

The modules of docs/sidetable.md do not export theirs, and C has no way to.

Requires: any module.
Leaves: the table is exported, under a name that no other export has, if it is the module's own, and its only
place for externrefs. Everything else is as it was, byte for byte.
"""

from __future__ import annotations

from ..wasm.module import TABLE, Module
from ..wasm.types import EXTERNREF
from ..wasm.write import Edit

__all__ = ["expose_table"]


def expose_table(module: Module) -> tuple[bytes, str | None]:
    """The module with its table of externrefs exported.

    Returns:
        The module's bytes, and the name of the export, which may have been there before. None, and the same
        bytes, for a module that has no such table of its own, or other places for externrefs too.
    """
    tables = [index for index, table in enumerate(module.tables) if table.element == EXTERNREF]
    if len(tables) != 1 or any(declared.type == EXTERNREF for declared in module.globals):
        return module.wasm, None
    (index,) = tables
    if index < module.count_imports(TABLE):
        return module.wasm, None
    for known, exported in module.exported(TABLE).items():
        if exported == index:
            return module.wasm, known
    edit = Edit(module)
    added = edit.export("objects", TABLE, index)
    return edit.written(), added
