"""Reading a handle table where it lies: the words of its slots, and the keys of the objects in them.

A call of the guest for each handle would cost more than all the rest of a collection, and code of the guest
does not belong in one: it may trap, or not return. So the table's module is asked once, when the first struct
gets its wrapper, and from then on two words of its memory say where the slots are and how many. They may say
anything, as all memory of guests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import TableFullError
from ..handles import INDEX, slot_of
from ..objects import Instance, Numbers, Space
from ..values import I32, FuncType
from ..wasm.module import FUNCTION, MEMORY

if TYPE_CHECKING:
    from ..hiwire import Hiwire

__all__ = ["SlotArray", "find_keys"]

_WORD = 0xFFFFFFFF
_STATE = "_hiwire_state"
_STATE_TYPE = FuncType(b"", bytes((I32,)))


class SlotArray:
    """The slots of one table.

    Args:
        space: the table's.
        memory: of the table's instance, in the engine's form.
        state: the address in it of the two words: see ``_hiwire_state`` in c/hiwire/internal.h.
    """

    def __init__(self, space: Space, memory: Any, state: int) -> None:
        self._store = space.store
        self._memory = memory
        self._state = state

    @classmethod
    def of(cls, instance: Instance) -> SlotArray | None:
        """Of a table's instance; None where it does not say where its slots are."""
        module = instance.module
        state = module.exported(FUNCTION).get(_STATE)
        if state is None or module.function_type(state) != _STATE_TYPE:
            return None
        if instance.index.get("memory", (None, 0))[0] != MEMORY:
            return None
        address = instance.function(_STATE)() & _WORD
        return cls(instance.space, instance.extern("memory").raw, address)

    def read(self) -> Numbers | None:
        """The words of all slots, by index, until the table is used; None where the memory has no such
        array."""
        size, base = self._store.memory_size(self._memory), self._store.memory_address(self._memory)
        if self._state % 4 or self._state + 8 > size:
            return None
        start, count = Numbers(base + self._state, 2, "I").view()
        if start % 4 or count > INDEX + 1 or start + 4 * count > size:
            return None
        return Numbers(base + start, count, "I")


def find_keys(table: Hiwire, instance: Instance) -> int | None:
    """Which of the table's externref tables, as `Space.table_keys` has them, holds the objects of its slots;
    None where that cannot be told.

    C cannot export it. So an object is put in, and looked for.
    """
    space = table.space
    probe: object = object()
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
            for number, table_keys in enumerate(space.table_keys(instance.tables))
            if index < table_keys.count and table_keys.view()[index] in keys
        ]
    finally:
        table.decref(handle)
    return found[0] if len(found) == 1 else None
