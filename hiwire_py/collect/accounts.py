"""What a handle table says about handles: how often each is counted, and which object it names.

Nothing is believed that comes from a guest's memory: a number found there is a handle only if the table says
so, version and all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..hiwire import Hiwire
from ..space import Space
from .slots import SlotArray

__all__ = ["Accounts"]

_WORD = 0xFFFFFFFF
# Of handles and of the words of slots: c/hiwire/layout.h.
_INDEX_BITS = 25
_INDEX = (1 << _INDEX_BITS) - 1
_VERSION_SHIFT = _INDEX_BITS + 1
_COUNT_MAX = (1 << 24) - 1


class Accounts:
    """The accounts of one table.

    It holds the table's functions, not the table: a guest that shares a table needs only those.

    Attributes:
        none: what stands in a struct's field that holds no handle.
    """

    none = 0

    def __init__(self, table: Hiwire) -> None:
        instance = table.exports["hiwire_get"].__keep__.owner  # type: ignore[attr-defined]
        self.space: Space = table.space
        self._keep = instance

        def raw(name: str) -> Any:
            extern = instance.extern(name)
            return self.space.store.caller(extern.raw, extern.type)

        self.visible = "_hiwire_slot_info" in instance.index
        """Whether the counts can be read at all; a table of another make may not let us."""
        if self.visible:
            self._slot_info = raw("_hiwire_slot_info")
            self._get, self._next = raw("hiwire_get"), raw("hiwire_next")
            self._num_refs, self._is_valid = raw("hiwire_num_refs"), raw("hiwire_is_valid")
        self._array = SlotArray.of(self.space, instance) if self.visible else None
        self._immortal = 2  # the next immortal handle to look at
        self._immortals: Counter[Any] = Counter()  # key -> how many immortal handles hold it

    def accounted(self, found: Mapping[int, int]) -> tuple[dict[int, Any], list[int]]:
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
        keys: dict[int, Any] = {}
        wrong: list[int] = []
        slot_info, get, key_of = self._slot_info, self._get, self.space.key
        slots = [] if self._array is None else self._array.read(found)
        bound = len(slots)
        kept: dict[int, Any] = {}
        for handle, copies in found.items():
            if not handle & 1:
                continue  # immortal, or no handle
            index = handle >> 1 & _INDEX
            info = slots[index] if index < bound else slot_info(index)
            if not info & 1 or (info & _WORD) >> _VERSION_SHIFT != handle >> _VERSION_SHIFT:
                continue
            count = info >> 2 & _COUNT_MAX
            if copies > count:
                wrong.append(handle)
            key = key_of(get(handle if handle < 1 << 31 else handle - (1 << 32)))
            # Bit 1: the map of equal objects knows it, and holds the object or looks it up by its address.
            if copies == count and count != _COUNT_MAX and not info & 2 and key is not None:
                keys[handle] = key
            else:
                kept[handle] = key
        self._drop_shared(keys, kept)
        return keys, wrong

    def _drop_shared(self, keys: dict[int, Any], kept: dict[int, Any]) -> None:
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

    def _unseen(self, keys: dict[int, Any], kept: dict[int, Any]) -> list[Any]:
        """The keys of live handles that were not found."""
        unseen = []
        handle = self._next(0)
        while handle:
            unsigned = handle & _WORD
            if unsigned not in keys and unsigned not in kept:
                unseen.append(self.space.key(self._get(handle)))
            handle = self._next(handle)
        return unseen

    def _immortal_keys(self) -> Counter[Any]:
        while self._is_valid(self._immortal):
            self._immortals[self.space.key(self._get(self._immortal))] += 1
            self._immortal += 2
        return self._immortals
