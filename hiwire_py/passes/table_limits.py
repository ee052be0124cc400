"""Table limits: no table grows further than an engine can take it.

Requires: any module.
Leaves: each table that the module defines has a maximum, which is ``most`` or less, or its first size if that
is more. A guest that wants more elements is given -1, as by an engine that has no room for them. Imported
tables and everything else are as they were.
"""

from __future__ import annotations

from ..wasm.binary import vector
from ..wasm.module import TABLE, Kind, Limits, Module, TableType
from ..wasm.write import Edit, Writer

__all__ = ["limit_tables"]


def limit_tables(module: Module, most: int) -> bytes:
    """The module's bytes, with tables of ``most`` elements at most; the same object if nothing changes."""
    own: list[TableType] = module.own(TABLE)
    limited = [table._replace(limits=_limited(table.limits, most)) for table in own]
    if limited == own:
        return module.wasm
    edit = Edit(module)
    edit.set(Kind.TABLES, vector(map(Writer(module).table, limited)))
    return edit.written()


def _limited(limits: Limits, most: int) -> Limits:
    if limits.maximum is not None and limits.maximum <= most:
        return limits
    return limits._replace(maximum=max(limits.minimum, most))
