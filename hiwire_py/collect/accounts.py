"""What a handle table says about handles: how often each is counted, and which object it names.

Nothing is believed that comes from a guest's memory: a number found there is a handle only if the table says
so, version and all.
"""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ..hiwire import Hiwire
from ..space import Instance, Numbers, Space
from .slots import COUNT_MAX, INDEX, VERSION_SHIFT, KeyArray, SlotArray, signed

__all__ = ["Accounts"]

_WORD = 0xFFFFFFFF


class _Reading(NamedTuple):
    """A table as its memory is at this moment.

    Attributes:
        slots: the words of the slots.
        keys: those of the objects in the slots.
        others: in other tables and globals; None where `Space.places` or `Space.holder_records` tell.
    """

    slots: Numbers
    keys: Numbers
    others: array.array[int] | None


class Accounts:
    """The accounts of one table.

    It holds the table's functions, not the table: a guest that shares a table needs only those.

    Attributes:
        none: what stands in a struct's field that holds no handle.
    """

    none = 0

    def __init__(self, table: Hiwire) -> None:
        instance: Instance = table.exports["hiwire_get"].__keep__.owner  # type: ignore[attr-defined]
        self.space: Space = table.space
        self._keep = instance

        def raw(name: str) -> Any:
            extern = instance.extern(name)
            return self.space.store.caller(extern.raw, extern.type, touches=False)

        self.visible = "_hiwire_slot_info" in instance.index
        """Whether the counts can be read at all; a table of another make may not let us."""
        self._immortal = 2  # the next immortal handle to look at
        self._immortals: Counter[int] = Counter()  # key -> how many immortal handles hold it
        if not self.visible:
            return
        self._slot_info = raw("_hiwire_slot_info")
        self._get, self._next = raw("hiwire_get"), raw("hiwire_next")
        self._num_refs, self._is_valid = raw("hiwire_num_refs"), raw("hiwire_is_valid")
        self._capacity = raw("hiwire_capacity")
        self._slots = SlotArray.of(self.space, instance)
        self._keys = KeyArray(self.space, instance, self._get)

    def _read(self, handles: Collection[int]) -> _Reading | None:
        """Read the table in bulk; None if it must be asked about each handle."""
        slots = None if self._slots is None else self._slots.read(handles)
        found = None if slots is None else self._keys.read(slots.view(), handles)
        if slots is None or found is None:
            return None
        keys, rest = found
        if self.space.holder_records().address:
            return _Reading(slots, keys, None)
        others = self.space.other_keys(self._keep)
        if others is None:
            return None
        all_others = array.array("q", others)
        for table in rest:
            all_others.extend(table.view())
        return _Reading(slots, keys, all_others)

    @property
    def _opaque(self) -> bool:
        """Whether only the engine knows what other tables and globals hold."""
        return self.space.holders > 1 and self.space.places(()) is None

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
        if not self.visible or not found:
            return {}, []
        wrong: list[int] = []
        whole: list[int] = []  # handles whose every count was found
        partly: list[int] = []
        reading = self._read(found)
        info_of: Callable[[int], int] = self._slot_info
        bound = INDEX + 1
        if reading is not None:
            info_of = reading.slots.view().__getitem__
            bound = reading.slots.count
        for handle, copies in found.items():
            if not handle & 1:
                continue  # immortal, or no handle
            index = handle >> 1 & INDEX
            if index >= bound:
                continue
            info = info_of(index) & _WORD
            if not info & 1 or info >> VERSION_SHIFT != handle >> VERSION_SHIFT:
                continue
            count = info >> 2 & COUNT_MAX
            if copies > count:
                wrong.append(handle)
            # Bit 1: the map of equal objects knows it, and holds the object or looks it up by its address.
            if copies == count and count != COUNT_MAX and not info & 2:
                whole.append(handle)
            else:
                partly.append(handle)
        if reading is not None:
            keys = reading.keys.view()
            accounted = {handle: key for handle in whole if (key := keys[handle >> 1 & INDEX])}
        else:
            accounted = {handle: key for handle, key in zip(whole, self._keys_of(whole)) if key}
        if accounted:
            self._drop_shared(accounted, partly, reading)
        return accounted, wrong

    def _keys_of(self, handles: Iterable[int]) -> list[int]:
        """The keys of live handles; 0 for null."""
        get, key = self._get, self.space.key
        return [key(get(signed(handle))) or 0 for handle in handles]

    def _drop_shared(self, keys: dict[int, int], partly: list[int], reading: _Reading | None) -> None:
        """Remove the handles whose objects have other holders too: a guest can store one externref in several
        slots."""
        slots = Counter(keys.values())
        places = self.space.places(slots)
        if places is None and reading is not None and reading.others is not None:
            holders = Counter(reading.keys.view().tolist())
            holders.update(reading.others)
            places = [holders[key] for key in slots]
        if places is not None:
            shared = {key for (key, count), held in zip(slots.items(), places) if held != count}
        elif self._opaque:
            shared = set(slots)
        else:
            others = Counter(self._keys_of(partly))
            others.update(self._immortal_keys())
            if self._num_refs() != len(keys) + len(partly):
                others.update(self._unseen({*keys, *partly}))
            shared = {key for key in slots if others[key]}
        if shared:
            for handle in [handle for handle, key in keys.items() if key in shared]:
                del keys[handle]

    def _unseen(self, seen: set[int]) -> list[int]:
        """The keys of live handles that were not found."""
        unseen = []
        handle = self._next(0)
        while handle:
            if handle & _WORD not in seen:
                unseen.append(handle & _WORD)
            handle = self._next(handle)
        return self._keys_of(unseen)

    def _immortal_keys(self) -> Counter[int]:
        while self._is_valid(self._immortal):
            self._immortals[self.space.key(self._get(self._immortal)) or 0] += 1
            self._immortal += 2
        return self._immortals

    # ---- for the collector with types of its own

    def lend(self, survey: Any, gone: object) -> set[Any]:
        """Have ``survey`` show what the handles that it found hold. See lending.c.

        Returns:
            The layouts that the memory did not agree with.
        """
        if not self.visible:
            return set()
        reading = self._read(survey.sample()) or self._ask()
        if reading is None:
            return set()
        slots, keys, others = reading
        held_elsewhere = Numbers.of(array.array("q") if others is None else others)
        records = self.space.holder_records()
        mistaken: set[Any] = survey.lend(
            self.space.objects,
            gone,
            0,
            *(slots.address, slots.count),
            *(keys.address, keys.count, keys.code == "q"),
            *(records.address, records.count),
            *(held_elsewhere.address, held_elsewhere.count),
        )
        return mistaken

    def _ask(self) -> _Reading | None:
        """Make up what cannot be read, by a call or two for each slot; None if something can hold objects
        unseen."""
        if self._opaque:
            return None
        slots = array.array("I", [self._slot_info(i) & _WORD for i in range((self._capacity() & _WORD) + 1)])
        keys = array.array("q", bytes(8 * len(slots)))
        handle = self._next(0)
        while handle:
            keys[handle >> 1 & INDEX] = self.space.key(self._get(handle)) or 0
            handle = self._next(handle)
        others = None
        if not self.space.holder_records().address:
            others = array.array("q", self._immortal_keys().elements())
        return _Reading(Numbers.of(slots), Numbers.of(keys), others)
