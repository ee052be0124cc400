"""What a side table (docs/sidetable.md) says about its handles, to the collector of cycles.

A handle there is an index of the module's table of externrefs, and belongs to one object: its count is 1 as
long as the slot is not null. The modules do not export their table, and C has no way to. So the export is
added before a module is instantiated; its code stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..objects import Extern, Numbers
from ..values import EXTERNREF
from ..wasm.binary import leb, name, section, vector
from ..wasm.module import TABLE, Module

__all__ = ["NONE", "SideTableAccounts", "expose_table"]

NONE = 0xFFFFFFFF
"""Stands where an object has no handle."""

_EXPORTS = 7  # the section


class SideTableAccounts:
    """The accounts of one side table.

    Args:
        table: the table of externrefs. Nothing else in its instance may be able to hold any.
    """

    none = NONE

    def __init__(self, table: Extern) -> None:
        self._keep = table
        self.space = table.space

    def cost(self) -> int:
        """As `Counts.cost`."""
        return 0

    def lend(self, survey: Any, gone: dict[Any, None]) -> set[Any]:
        """As `Accounts.lend`."""
        space = self.space
        if not survey.copies and not survey.again:
            return set()
        keys, records = self._keys(), space.holder_records()
        mistaken: set[Any] = survey.lend(
            space.objects,
            gone,
            1,
            *(0, 0),
            *(keys.address, keys.count, False),
            *(records.address, records.count),
            *(0, 0),
        )
        return mistaken

    def _keys(self) -> Numbers:
        """The keys in all slots; 0 for null."""
        (keys,) = self.space.table_keys(self._keep.owner)
        return keys

    def accounted(self, found: Mapping[int, int]) -> tuple[dict[int, int], list[int]]:
        """As `Accounts.accounted`: index -> key, for the slots that were found once and are not null, and
        whose object nothing else holds."""
        if not found:
            return {}, []
        all_keys = self._keys().view()
        held = {index: key for index in found if index < len(all_keys) and (key := all_keys[index])}
        keys = {index: held[index] for index, copies in found.items() if copies == 1 and index in held}
        wrong = [index for index, copies in found.items() if copies > 1 and index in held]
        # Those whose object is in one slot only: a module can copy what it was given.
        places = self.space.places(keys.values())
        return {index: key for (index, key), count in zip(keys.items(), places) if count == 1}, wrong


def expose_table(wasm: bytes) -> tuple[bytes, str | None]:
    """A module with its table of externrefs exported.

    Returns:
        The module, and the name of the export; or the module as it is and None, where it has no such table of
        its own, or other places for externrefs too.

    Raises:
        UnsupportedModuleError: the module is malformed.
    """
    module = Module.parse(wasm)
    tables = [index for index, table in enumerate(module.tables) if table.element == EXTERNREF]
    if len(tables) != 1 or any(declared.type == EXTERNREF for declared in module.globals):
        return wasm, None
    (index,) = tables
    if index < module.count_imports(TABLE):
        return wasm, None
    for known, exported in module.exported(TABLE).items():
        if exported == index:
            return wasm, known
    added = "objects"
    while any(export.name == added for export in module.exports):
        added += "_"
    exports = [(export.name, export.kind, export.index) for export in module.exports]
    exports.append((added, TABLE, index))
    body = vector(name(export) + bytes((kind,)) + leb(number) for export, kind, number in exports)
    sections = (
        section(kind, body if kind == _EXPORTS else wasm[start:end]) for kind, start, end in module.sections
    )
    return wasm[:8] + b"".join(sections), added
