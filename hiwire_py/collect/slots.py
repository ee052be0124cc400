"""Reading a handle table in bulk: the words of its slots and, where modules are lowered, the keys of objects.

A call of the guest for each handle costs more than all the rest of a collection. So the array of slots is
looked up in the table's memory. Nobody says where it is: it is found by raising the count of a live handle
and seeing which word changes, and checked by samples each time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from ..lowering.module import MEMORY
from ..space import Instance, Numbers, Space

__all__ = ["COUNT_MAX", "INDEX", "VERSION_SHIFT", "KeyArray", "SlotArray", "signed"]

# Of handles and of the words of slots: c/hiwire/layout.h.
_INDEX_BITS = 25
INDEX = (1 << _INDEX_BITS) - 1
VERSION_SHIFT = _INDEX_BITS + 1
COUNT_MAX = (1 << 24) - 1

_WORD = 0xFFFFFFFF
_ONE_COUNT = 1 << 2
_CHUNK = 4096
_SAMPLES = 16


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

    def read(self, handles: Iterable[int]) -> Numbers | None:
        """The words of all slots, by index, until the table is used; None if they cannot be found.

        Args:
            handles: what may be handles; live ones among them are used to find the slots.
        """
        capacity = self._call["hiwire_capacity"]() & _WORD
        if self._found is None or self._found[0] != capacity:
            address = self._find(handles)
            self._found = None if address is None else (capacity, address)
        if self._found is None:
            return None
        start, count = self._found[1], capacity + 1
        if start + 4 * count > self._store.memory_size(self._memory):
            self._found = None
            return None
        words = Numbers(self._base() + start, count, "I")
        slots = words.view()
        step = max(1, capacity // _SAMPLES)
        info = self._call["_hiwire_slot_info"]
        if any(info(index) & _WORD != slots[index] for index in range(0, count, step)):
            self._found = None
            return None
        return words

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
            index = handle >> 1 & INDEX
            word = info(index) & _WORD
            count = word >> 2 & COUNT_MAX
            if not word & 1 or word >> VERSION_SHIFT != handle >> VERSION_SHIFT or count >= COUNT_MAX - 1:
                continue
            before = self._image()
            try:
                incref(signed(handle))
                after = self._image()
            finally:
                if info(index) & _WORD != word:  # a signal handler may have raised before it was counted
                    decref(signed(handle))
            changed = _changed_words(before, after)
            expected = (word, word + _ONE_COUNT)
            if len(changed) == 1 and changed[0][1:] == expected and changed[0][0] >= index * 4:
                return changed[0][0] - index * 4
            return None
        return None


class KeyArray:
    """The keys of the objects in the slots of one table, where its externref tables can be read.

    Args:
        space: the table's.
        instance: the table's.
        get: ``hiwire_get``, without `Gate`.
    """

    def __init__(self, space: Space, instance: Instance, get: Callable[[int], Any]) -> None:
        self._space = space
        self._instance = instance
        self._get = get

    def read(self, slots: memoryview, handles: Iterable[int]) -> tuple[Numbers, list[Numbers]] | None:
        """The keys by index, until the table is used, and what is in the instance's other tables; None if
        the keys cannot be found.

        Args:
            slots: the words of the table's slots; samples of what is in them are compared.
            handles: what may be handles; some of the samples.
        """
        tables = self._space.table_keys(self._instance)
        if not tables:
            return None
        indexes = {handle >> 1 & INDEX for handle in islice(handles, 4 * _SAMPLES)}
        indexes.update(range(1, len(slots), max(1, len(slots) // _SAMPLES)))
        samples = []
        for index in indexes:
            if 0 < index < len(slots) and slots[index] & 1:
                handle = slots[index] >> VERSION_SHIFT << VERSION_SHIFT | index << 1 | 1
                samples.append((index, self._space.key(self._get(signed(handle))) or 0))
        if not samples:
            return None
        for keys in tables:
            view = keys.view()
            # The table has as many slots as were ever used, which may be fewer than the capacity.
            if all(index < len(view) and view[index] == key for index, key in samples):
                return keys, [table for table in tables if table is not keys]
        return None


def signed(handle: int) -> int:
    """A handle as engines take it."""
    return handle if handle < 1 << 31 else handle - (1 << 32)


def _changed_words(before: bytes, after: bytes) -> list[tuple[int, int, int]]:
    """Where two images differ: address, word before, word after."""
    changed = []
    for start in range(0, len(before), _CHUNK):
        one, other = before[start : start + _CHUNK], after[start : start + _CHUNK]
        if one != other:
            words = zip(memoryview(one).cast("I"), memoryview(other).cast("I"))
            changed += [(start + 4 * i, a, b) for i, (a, b) in enumerate(words) if a != b]
    return changed
