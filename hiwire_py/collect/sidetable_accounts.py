"""What a side table (docs/sidetable.md) says about its handles, to the collector of cycles.

A handle there is an index of the module's table of externrefs, and belongs to one object: its count is 1 as
long as the slot is not null. The modules do not export their table, and C has no way to. So the export is
added before a module is instantiated: passes/exposed_table.py.
"""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..objects import Extern, Numbers

__all__ = ["NONE", "SideTableAccounts"]

NONE = 0xFFFFFFFF
"""Stands where an object has no handle."""

_WORD = 0xFFFFFFFF


class SideTableAccounts:
    """The accounts of one side table.

    Args:
        table: the table of externrefs. Nothing else in its instance may be able to hold any.
    """

    none = NONE

    def __init__(self, table: Extern) -> None:
        self._keep = table
        self.space = table.space
        operations = self.space.table_operations(table)
        self._get, self._size = operations["get"], operations["size"]

    def cost(self) -> int:
        """As `Counts.cost`."""
        return 0 if self.space.holder_records().address else self._size() & _WORD

    def lend(self, survey: Any, gone: dict[Any, None]) -> set[Any]:
        """As `Accounts.lend`."""
        space = self.space
        if not survey.copies and not survey.again:
            return set()
        others: Iterable[int] = ()
        records = space.holder_records()
        if not records.address:
            elsewhere = space.other_keys(self._keep.owner)
            if elsewhere is None and space.holders > 1:
                return set()  # the engine does not tell what other tables and globals hold
            others = elsewhere or ()
        keys = self._keys()
        held_elsewhere = Numbers.of(array.array("q", others))
        mistaken: set[Any] = survey.lend(
            space.objects,
            gone,
            1,
            *(0, 0),
            *(keys.address, keys.count, keys.code == "q"),
            *(records.address, records.count),
            *(held_elsewhere.address, held_elsewhere.count),
        )
        return mistaken

    def _keys(self) -> Numbers:
        """The keys in all slots; 0 for null."""
        tables = self.space.table_keys(self._keep.owner)
        if len(tables) == 1:
            return tables[0]
        get, key_of = self._get, self.space.key
        return Numbers.of(array.array("q", (key_of(get(i)) or 0 for i in range(self._size() & _WORD))))

    def accounted(self, found: Mapping[int, int]) -> tuple[dict[int, int], list[int]]:
        """As `Accounts.accounted`: index -> key, for the slots that were found once and are not null, and
        whose object nothing else holds."""
        if not found:
            return {}, []
        all_keys = self._keys().view()
        held = {index: key for index in found if index < len(all_keys) and (key := all_keys[index])}
        keys = {index: held[index] for index, copies in found.items() if copies == 1 and index in held}
        wrong = [index for index, copies in found.items() if copies > 1 and index in held]
        return self._unshared(keys, all_keys), wrong

    def _unshared(self, keys: dict[int, int], all_keys: memoryview) -> dict[int, int]:
        """Those whose object is in one slot only: a module can copy what it was given."""
        if not keys:
            return keys
        places = self.space.places(keys.values())
        if places is not None:
            return {index: key for (index, key), count in zip(keys.items(), places) if count == 1}
        others = self.space.other_keys(self._keep.owner)
        if others is None and self.space.holders > 1:
            return {}  # the engine does not tell what other tables and globals hold
        often = Counter(all_keys.tolist())
        often.update(others or ())
        return {index: key for index, key in keys.items() if often[key] == 1}
