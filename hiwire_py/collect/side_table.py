"""Side tables (docs/sidetable.md) as refcount sources.

A handle there is an index of the module's only table of externrefs, and belongs to one object: it counts once
as long as the slot is not null.
"""

from __future__ import annotations

from ..objects import Instance
from .refcounts import Slots

__all__ = ["NONE", "SideTableSource"]

NONE = 0xFFFFFFFF
"""Stands where an object has no handle."""


class SideTableSource:
    """The handles of one side table.

    Args:
        instance: of the module.
    """

    none = NONE

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def slots(self) -> Slots | None:
        tables = self._instance.space.runtime.table_keys(self._instance.tables)
        return Slots.of(self._instance.space, tables[0]) if len(tables) == 1 else None
