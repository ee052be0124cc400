"""What a handle table says about handles: how often each is counted, and which object it names.

Nothing is believed that comes from a guest's memory: a number found there is a handle only if the table says
so, version and all.
"""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..hiwire import Hiwire
from ..space import Instance, Space, Words
from .slots import COUNT_MAX, INDEX, VERSION_SHIFT, KeyArray, SlotArray

__all__ = ["Accounts"]

_WORD = 0xFFFFFFFF


class Accounts:
    """The accounts of one table.

    It holds the table's functions, not the table: a guest that shares a table needs only those.
    """

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
        get = instance.extern("hiwire_get")
        self._get_each = self.space.store.each(get.raw, get.type)
        self._slots = SlotArray.of(self.space, instance)
        self._keys = KeyArray(self.space, instance, self._get)

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
        slots, keys = self._read(found)
        info_of: Callable[[int], int] = self._slot_info if slots is None else slots.__getitem__
        bound = INDEX + 1 if slots is None else len(slots)
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
        if keys is None:
            whole_keys, partly_keys = self._keys_of(whole), self._keys_of(partly)
        else:
            whole_keys = [keys[handle >> 1 & INDEX] for handle in whole]
            partly_keys = [keys[handle >> 1 & INDEX] for handle in partly]
        accounted = {handle: key for handle, key in zip(whole, whole_keys) if key}
        self._drop_shared(accounted, dict(zip(partly, partly_keys)))
        return accounted, wrong

    def _read(self, handles: Mapping[int, int]) -> tuple[memoryview | None, memoryview | None]:
        """The slots' words and the keys in the slots, by index; None for what must be asked for."""
        words = None if self._slots is None else self._slots.read(handles)
        if words is None:
            return None, None
        slots = words.view("I")
        keys = self._keys.read(slots)
        return slots, None if keys is None or keys.count < len(slots) else keys.view("i")

    def _keys_of(self, handles: Iterable[int]) -> Sequence[int]:
        """The keys of live handles; 0 for null."""
        signed = array.array("q", (handle if handle < 1 << 31 else handle - (1 << 32) for handle in handles))
        if self._get_each is not None and self.space.engine.externref_ids:
            return self._get_each(signed)
        get, key = self._get, self.space.key
        return [key(get(handle)) or 0 for handle in signed]

    def _drop_shared(self, keys: dict[int, int], kept: dict[int, int]) -> None:
        """Remove the handles whose objects have other holders too: a guest can store one externref in several
        slots."""
        if not keys:
            return
        slots = Counter(keys.values())
        places = self.space.places(slots)
        if places is not None:
            shared = {key for (key, count), held in zip(slots.items(), places) if held != count}
        elif self.space.holders > 1:
            shared = set(slots)  # the engine does not tell what other tables and globals hold
        else:
            others = Counter(kept.values())
            others.update(self._immortal_keys())
            if self._num_refs() != len(keys) + len(kept):
                others.update(self._unseen(keys, kept))
            shared = {key for key in slots if others[key]}
        if shared:
            for handle in [handle for handle, key in keys.items() if key in shared]:
                del keys[handle]

    def _unseen(self, keys: dict[int, int], kept: dict[int, int]) -> Sequence[int]:
        """The keys of live handles that were not found."""
        unseen = []
        handle = self._next(0)
        while handle:
            unsigned = handle & _WORD
            if unsigned not in keys and unsigned not in kept:
                unseen.append(unsigned)
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
        space = self.space
        if not self.visible:
            return set()
        sample = array.array("I", survey.sample())
        words = None if self._slots is None else self._slots.read(sample)
        if words is None:
            own = array.array("I", (self._slot_info(index) & _WORD for index in range((self._capacity() & _WORD) + 1)))
            words = Words(own.buffer_info()[0], len(own))
        records = space.holder_records()
        keys = self._keys.read(words.view("I"))
        others = array.array("q")
        if keys is None:
            if not records.address and space.holders > 1:
                return set()  # the engine does not tell what other tables and globals hold
            handles = array.array("q", survey.handles(words.address, words.count))
            each = self._keys_of(handles)
            wide = each if isinstance(each, array.array) else array.array("q", each)
            keys = Words(wide.buffer_info()[0], len(wide))
        else:
            wide = None
        if not records.address:
            others.extend(self._immortal_keys().elements())
        mistaken: set[Any] = survey.lend(
            space.objects, gone, 0, *words, *keys, wide is not None, *records, *others.buffer_info()
        )
        return mistaken
