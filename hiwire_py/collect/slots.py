"""Reading all slots of a table at once, where the table's memory can be read.

A call of the guest for each handle costs more than all the rest of a collection. So the array of slots is
looked up in the table's memory. Nobody says where it is: it is found by raising the count of a live handle
and seeing which word changes, and checked by samples each time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from ..lowering.module import MEMORY
from ..space import Instance, Space

__all__ = ["SlotArray"]

_WORD = 0xFFFFFFFF
_INDEX = (1 << 25) - 1
_ONE_COUNT = 1 << 2
_COUNT_MAX = (1 << 24) - 1
_CHUNK = 4096
_SAMPLES = 16
_WORTH = 20  # slots are read in the time of one call


class SlotArray:
    """The slots of one table.

    Args:
        space: the table's.
        memory: of the table's instance, in the engine's form.
        call: the table's functions, without `Gate`.
    """

    def __init__(self, space: Space, memory: Any, call: dict[str, Any]) -> None:
        self._store = space.store
        self._memory = memory
        self._call = call
        self._found: tuple[int, int] | None = None  # the capacity when it was found, and the address

    @classmethod
    def of(cls, space: Space, instance: Instance) -> SlotArray | None:
        """Of a table; None where its slots must be asked for one by one."""
        index = instance.index
        if "memory" not in index or index["memory"][0] != MEMORY:
            return None
        if any(wanted.name == "hiwire_traceref" for wanted in instance.module.imports):
            return None  # changes of counts are reported to someone
        names = ("_hiwire_slot_info", "hiwire_capacity", "hiwire_incref", "hiwire_decref")
        externs = {name: instance.extern(name) for name in names}
        call = {name: space.store.caller(extern.raw, extern.type) for name, extern in externs.items()}
        return cls(space, instance.extern("memory").raw, call)

    def read(self, handles: Collection[int]) -> list[int]:
        """The words of all slots, by index; empty if they cannot be found, or are not worth it.

        Args:
            handles: what may be handles; live ones among them are used to find the slots.
        """
        capacity = self._call["hiwire_capacity"]() & _WORD
        if len(handles) * _WORTH < capacity:
            return []
        if self._found is None or self._found[0] != capacity:
            address = self._find(handles)
            self._found = None if address is None else (capacity, address)
        if self._found is None:
            return []
        start, size = self._found[1], (capacity + 1) * 4
        if start + size > self._store.memory_size(self._memory):
            self._found = None
            return []
        words = (ctypes.c_uint32 * (capacity + 1)).from_address(self._base() + start)
        slots = memoryview(words).cast("B").cast("I").tolist()
        step = max(1, capacity // _SAMPLES)
        info = self._call["_hiwire_slot_info"]
        if any(info(index) & _WORD != slots[index] for index in range(0, capacity + 1, step)):
            self._found = None
            return []
        return slots

    def _base(self) -> int:
        return self._store.memory_address(self._memory)

    def _image(self) -> bytes:
        return ctypes.string_at(self._base(), self._store.memory_size(self._memory))

    def _find(self, handles: Iterable[int]) -> int | None:
        """The address of slot 0 in the memory."""
        info, incref, decref = (
            self._call[n] for n in ("_hiwire_slot_info", "hiwire_incref", "hiwire_decref")
        )
        for handle in islice((h for h in handles if h & 1), _SAMPLES):
            index = handle >> 1 & _INDEX
            word = info(index) & _WORD
            count = word >> 2 & _COUNT_MAX
            if not word & 1 or word >> 26 != handle >> 26 or count >= _COUNT_MAX - 1:
                continue
            signed = handle if handle < 1 << 31 else handle - (1 << 32)
            before = self._image()
            incref(signed)
            after = self._image()
            decref(signed)
            changed = _changed_words(before, after)
            expected = (word, word + _ONE_COUNT)
            if len(changed) == 1 and changed[0][1:] == expected and changed[0][0] >= index * 4:
                return changed[0][0] - index * 4
            return None
        return None


def _changed_words(before: bytes, after: bytes) -> list[tuple[int, int, int]]:
    """Where two images differ: address, word before, word after."""
    changed = []
    for start in range(0, len(before), _CHUNK):
        one, other = before[start : start + _CHUNK], after[start : start + _CHUNK]
        if one != other:
            words = zip(memoryview(one).cast("I"), memoryview(other).cast("I"))
            changed += [(start + 4 * i, a, b) for i, (a, b) in enumerate(words) if a != b]
    return changed
