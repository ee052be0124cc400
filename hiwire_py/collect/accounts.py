"""What a handle table says about handles: how often each is counted, and which object it names.

Nothing is believed that comes from a guest's memory: a number found there is a handle only if the table says
so, version and all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..handles import COUNT_MAX, VERSION_SHIFT, slot_of
from ..hiwire import Hiwire
from ..objects import Instance, Numbers, Space
from .slots import SlotArray, find_keys

__all__ = ["Accounts"]


class _Reading(NamedTuple):
    """A table as its memory is at this moment.

    Attributes:
        slots: the words of the slots.
        keys: those of the objects in the slots.
        records: see `Space.holder_records`.
    """

    slots: Numbers
    keys: Numbers
    records: Numbers


class Accounts:
    """The accounts of one table. It does not hold the table: a guest that shares one needs only these.

    Args:
        instance: the table's.
        slots: where its slots are.
        keys: which of its externref tables has their objects.

    Attributes:
        none: what stands in a struct's field that holds no handle.
    """

    none = 0

    def __init__(self, instance: Instance, slots: SlotArray, keys: int) -> None:
        self.space: Space = instance.space
        self._keep = instance
        self._slots = slots
        self._keys = keys

    @classmethod
    def of(cls, table: Hiwire) -> Accounts | None:
        """Of a table; None where the module does not say where its slots are, as one built with an older
        version of the library does not."""
        instance: Instance = table.exports["hiwire_get"].__keep__.owner  # type: ignore[attr-defined]
        slots = SlotArray.of(instance)
        keys = None if slots is None else find_keys(table, instance)
        return None if slots is None or keys is None else cls(instance, slots, keys)

    def cost(self) -> int:
        """As `Counts.cost`."""
        return 0

    def _read(self) -> _Reading | None:
        """The table, where it lies; None if its memory does not make sense."""
        space = self.space
        slots = self._slots.read()
        if slots is None:
            return None
        # A table of externrefs has as many elements as there are slots, unless the module is no hiwire.
        keys = space.table_keys(self._keep)[self._keys]
        count = min(slots.count, keys.count)
        return _Reading(Numbers(slots.address, count, "I"), keys, space.holder_records())

    # ---- for the collector in Python

    def accounted(self, found: Mapping[int, int]) -> tuple[dict[int, int], list[int]]:
        """Which handles are held by what was looked at, and by nothing else.

        Args:
            found: handle -> how many copies of it were found; a negative number for one that must be kept.

        Returns:
            Handle -> key in ``space.objects``, for those handles whose count equals the copies found and
            whose object no other slot and no global holds; and the handles that were found more often than
            they are counted.
        """
        reading = self._read() if found else None
        if reading is None:
            return {}, []
        wrong: list[int] = []
        accounted: dict[int, int] = {}
        slots, keys = reading.slots.view(), reading.keys.view()
        for handle, copies in found.items():
            index = slot_of(handle)
            if not handle & 1 or index >= len(slots):
                continue  # immortal, or no handle
            info = slots[index]
            if not index or not info & 1 or info >> VERSION_SHIFT != handle >> VERSION_SHIFT:
                continue
            count = info >> 2 & COUNT_MAX
            if copies > count:
                wrong.append(handle)
            # Bit 1: the map of equal objects knows it, and holds the object or looks it up by its address.
            elif copies == count and count != COUNT_MAX and not info & 2 and keys[index]:
                accounted[handle] = keys[index]
        if accounted:
            self._drop_shared(accounted)
        return accounted, wrong

    def _drop_shared(self, keys: dict[int, int]) -> None:
        """Remove the handles whose objects have other holders too: a guest can store one externref in several
        slots."""
        slots = Counter(keys.values())
        places = self.space.places(slots)
        shared = {key for (key, count), held in zip(slots.items(), places) if held != count}
        if shared:
            for handle in [handle for handle, key in keys.items() if key in shared]:
                del keys[handle]

    # ---- for the collector with types of its own

    def lend(self, survey: Any, gone: dict[Any, None]) -> set[Any]:
        """Have ``survey`` show what the handles that it found hold. See lending.c.

        Returns:
            The layouts that the memory did not agree with.
        """
        reading = self._read() if survey.copies or survey.again else None
        if reading is None:
            return set()
        slots, keys, records = reading
        mistaken: set[Any] = survey.lend(
            self.space.objects,
            gone,
            0,
            *(slots.address, slots.count),
            *(keys.address, keys.count, False),
            *(records.address, records.count),
            *(0, 0),
        )
        return mistaken
