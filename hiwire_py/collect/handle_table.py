"""Handle tables as refcount sources: the words of a table's slots, and the keys of the objects in them, read
where they lie.

A call of the guest for each handle would cost more than all the rest of a collection, and code of the guest
does not belong in one: it may trap, or not return. So the table's module is asked once, when the first struct
gets its wrapper, and from then on two words of its memory say where the slots are and how many. They may say
anything, as all memory of guests.
"""

from __future__ import annotations

from typing import Any

from ..errors import TableFullError
from ..handles import INDEX, slot_of
from ..hiwire import Hiwire
from ..objects import Instance, Numbers
from ..values import I32, FuncType
from ..wasm.module import FUNCTION, MEMORY
from .refcounts import Slots

__all__ = ["HandleTableSource"]

_WORD = 0xFFFFFFFF
_STATE = "_hiwire_state"
_STATE_TYPE = FuncType(b"", bytes((I32,)))


class HandleTableSource:
    """The handles of one table. It does not hold the table: a guest that shares one needs only this.

    Args:
        instance: the table's.
        state: the address in its memory of the two words: see ``_hiwire_state`` in c/hiwire/internal.h.
        keys: which of its externref tables has the objects.
    """

    none = 0

    def __init__(self, instance: Instance, state: int, keys: int) -> None:
        self._instance = instance
        self._memory = instance.extern("memory").raw
        self._state = state
        self._keys = keys

    @classmethod
    def of(cls, table: Hiwire) -> HandleTableSource | None:
        """Of a table; None where the module does not say where its slots are, as one built with an older
        version of the library does not."""
        instance: Instance = table.exports["hiwire_get"].__keep__.owner  # type: ignore[attr-defined]
        module = instance.module
        function = module.exported(FUNCTION).get(_STATE)
        if function is None or module.function_type(function) != _STATE_TYPE:
            return None
        if instance.index.get("memory", (None, 0))[0] != MEMORY:
            return None
        state = instance.function(_STATE)() & _WORD
        keys = _find_keys(table, instance)
        return None if keys is None else cls(instance, state, keys)

    def slots(self) -> Slots | None:
        instance = self._instance
        words = self._words()
        if words is None:
            return None
        return Slots.of(instance.space, instance.space.runtime.table_keys(instance.tables)[self._keys], words)

    def _words(self) -> Numbers | None:
        """The words of all slots, by index; None where the memory has no such array."""
        store = self._instance.space.store
        size, base = store.memory_size(self._memory), store.memory_address(self._memory)
        if self._state % 4 or self._state + 8 > size:
            return None
        start, count = Numbers(base + self._state, 2, "I").view()
        if start % 4 or count > INDEX + 1 or start + 4 * count > size:
            return None
        return Numbers(base + start, count, "I")


def _find_keys(table: Hiwire, instance: Instance) -> int | None:
    """Which of the table's externref tables, as `Runtime.table_keys` has them, holds the objects of its
    slots; None where that cannot be told.

    C cannot export it. So an object is put in, and looked for.
    """
    space = table.space
    probe: Any = object()
    try:
        handle = table.new(probe)
    except TableFullError:
        handle = next(iter(table), 0)
        probe = table.get(handle) if handle else probe
        table.incref(handle)  # what `finally` gives back
    try:
        keys = {key for key, value in list(space.objects.items()) if value is probe}
        index = slot_of(handle)
        found = [
            number
            for number, table_keys in enumerate(space.runtime.table_keys(instance.tables))
            if index < table_keys.count and table_keys.view()[index] in keys
        ]
    finally:
        table.decref(handle)
    return found[0] if len(found) == 1 else None
