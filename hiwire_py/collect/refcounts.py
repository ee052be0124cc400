"""What the collector asks of whatever counts references to Python objects: a refcount source.

A *reference* is a number in a guest's memory that stands for an object. The source has a *slot* for each that
it gave out, with the reference's count, and the object's key in ``space.objects``. If all counts of a slot
are found in structs that have wrappers, and no other slot and no global holds the object, then those wrappers
are all that keeps it: the collector shows Python the object as theirs.

Numbers found in a guest's memory are not believed: one is a reference only if the source says so.
"""

from __future__ import annotations

import ctypes
from typing import Protocol

from ..objects import Numbers, Space
from ..objects.layout import RECORD_HOLDERS, RECORD_WORDS

__all__ = ["RefcountSource", "Slots"]

_POINTER = ctypes.c_void_p


class RefcountSource(Protocol):
    """The handles of one table, say: `handle_table.HandleTableSource`.

    Attributes:
        none: what stands in memory where there is no reference.
    """

    none: int

    def slots(self) -> Slots | None:
        """The slots as they are now; None if the table's memory makes no sense. No guest may run before the
        collector is done with them, and no code of one runs to find them."""


class Slots(ctypes.Structure):
    """Where the slots lie in this process' memory. The struct ``hw_slots`` of collect.h has the same fields.

    Attributes:
        words: a word for each slot, as c/hiwire/layout.h describes them; None: there are none, a reference is
            its slot's index, and counts once while the slot has a key.
        keys: the keys of the slots' objects, signed, 32 bits each; 0 for none.
        records: of keys, as `Runtime.holder_records` gives them.
        count, record_count: how many slots and records there are.
    """

    _fields_ = (
        ("words", _POINTER),
        ("keys", _POINTER),
        ("records", _POINTER),
        ("count", ctypes.c_uint64),
        ("record_count", ctypes.c_uint64),
    )

    @classmethod
    def of(cls, space: Space, keys: Numbers, words: Numbers | None = None) -> Slots:
        """Those whose objects are in a table of externrefs, as `Runtime.table_keys` gives it."""
        records = space.runtime.holder_records()
        if words is None:
            return cls(None, keys.address, records.address, keys.count, records.count // RECORD_WORDS)
        # A table of externrefs has as many elements as there are slots, unless the module is no hiwire.
        count = min(words.count, keys.count)
        return cls(words.address, keys.address, records.address, count, records.count // RECORD_WORDS)

    def views(self) -> tuple[memoryview[int] | None, memoryview[int], memoryview[int]]:
        """The words, the keys, and how many slots and globals hold an object, by the index in its key."""
        words = Numbers(self.words, self.count, "I").view() if self.words else None
        records = Numbers(self.records, self.record_count * RECORD_WORDS, "I").view()
        return words, Numbers(self.keys, self.count, "i").view(), records[RECORD_HOLDERS::RECORD_WORDS]
