"""What the collector asks of whatever counts references to Python objects: a refcount source.

A *reference* is a number in a guest's memory that stands for an object. The source has a *slot* for each that
it gave out, with the reference's count, and the object's key in ``space.objects``. If all counts of a slot
are found in structs that have wrappers, and no other slot and no global holds the object, then those wrappers
are all that keeps it: the collector shows Python the object as theirs.

Numbers found in a guest's memory are not believed: one is a reference only if the source says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import TableFullError
from ..handles import INDEX, slot_of
from ..hiwire import Hiwire
from ..objects import Instance, Numbers
from ..objects.layout import RECORD_HOLDERS, RECORD_WORDS
from ..values import I32, FuncType
from ..wasm.module import FUNCTION, MEMORY

__all__ = ["RefcountSource", "Slots", "handle_table"]

_WORD = 0xFFFFFFFF
_STATE = "_hiwire_state"
_STATE_TYPE = FuncType(b"", bytes((I32,)))


class Slots(NamedTuple):
    """Where the slots lie in this process' memory. Compiled types read them from a tuple with this order.

    Attributes:
        words: a word for each slot, as c/hiwire/layout.h describes them; 0: there are none, a reference is
            its slot's index, and counts once while the slot has a key.
        keys: the keys of the slots' objects, signed, 32 bits each; 0 for none.
        records: of keys, as `Runtime.holder_records` gives them.
        slot_count, record_count: how many slots and records there are.
    """

    words: int
    keys: int
    records: int
    slot_count: int
    record_count: int

    def views(self) -> tuple[memoryview[int] | None, memoryview[int], memoryview[int]]:
        """The words, the keys, and how many slots and globals hold an object, by the index in its key."""
        words = Numbers(self.words, self.slot_count, "I").view() if self.words else None
        records = Numbers(self.records, self.record_count * RECORD_WORDS, "I").view()
        return words, Numbers(self.keys, self.slot_count, "i").view(), records[RECORD_HOLDERS::RECORD_WORDS]


class RefcountSource:
    """The handles of a handle table or of a side table, read where they lie.

    A call of the guest for each handle would cost more than all the rest of a collection, and code of the
    guest does not belong in one: it may trap, or not return.

    Args:
        instance: the module that has the table. A source does not hold the table: a guest that shares one
            needs only this.
        none: what stands in memory where there is no reference.
        keys: which of the instance's externref tables, as `Runtime.table_keys` has them, has the objects.
        state: of a handle table, the address of two words in the instance's memory that say where its slots
            are and how many: see ``_hiwire_state`` in c/hiwire/internal.h. They may say anything, as all
            memory of guests. None: a reference is an index of the externref table.
    """

    def __init__(self, instance: Instance, none: int, keys: int = 0, state: int | None = None) -> None:
        self.none = none
        self._instance = instance
        self._keys = keys
        self._state = state
        self._memory = None if state is None else instance.extern("memory").raw

    def slots(self) -> Slots | None:
        """The slots as they are now; None if the table's memory makes no sense. No guest may run before the
        collector is done with them, and no code of one runs to find them."""
        runtime = self._instance.space.runtime
        tables = runtime.table_keys(self._instance.tables)
        if self._keys >= len(tables):
            return None
        keys, records = tables[self._keys], runtime.holder_records()
        address, count = 0, keys.count
        if self._state is not None:
            words = self._words(self._state)
            if words is None:
                return None
            # A table of externrefs has as many elements as there are slots, unless the module is no hiwire.
            address, count = words.address, min(words.count, keys.count)
        return Slots(address, keys.address, records.address, count, records.count // RECORD_WORDS)

    def _words(self, state: int) -> Numbers | None:
        """The words of all slots, by index; None where the memory has no such array."""
        store = self._instance.space.store
        size, base = store.memory_size(self._memory), store.memory_address(self._memory)
        if state % 4 or state + 8 > size:
            return None
        start, count = Numbers(base + state, 2, "I").view()
        if start % 4 or count > INDEX + 1 or start + 4 * count > size:
            return None
        return Numbers(base + start, count, "I")


def handle_table(table: Hiwire) -> RefcountSource | None:
    """The source of a handle table. None where the module does not say where its slots are, as one built with
    an older version of the library does not."""
    instance: Instance = table.exports["hiwire_get"].__keep__.owner  # type: ignore[attr-defined]
    module = instance.module
    function = module.exported(FUNCTION).get(_STATE)
    if function is None or module.function_type(function) != _STATE_TYPE:
        return None
    if instance.index.get("memory", (None, 0))[0] != MEMORY:
        return None
    state = instance.function(_STATE)() & _WORD
    keys = _find_keys(table, instance)
    return None if keys is None else RefcountSource(instance, 0, keys, state)


def _find_keys(table: Hiwire, instance: Instance) -> int | None:
    """Which of the table's externref tables holds the objects of its slots; None where that cannot be told.

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
