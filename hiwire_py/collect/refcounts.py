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

from ..handles import COUNT_MAX, INDEX, VERSION_SHIFT
from ..objects import Numbers, Space

__all__ = ["RefcountSource", "Slots"]

_U32, _U64, _POINTER = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
_RECORD_WORDS, _HOLDERS, _KEY_INDEX = 4, 1, (1 << 26) - 1


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
        words: a word for each slot, as c/hiwire/layout.h describes them; 0: there are none, a reference is
            its slot's index, and counts once while the slot has a key.
        keys: the keys of the slots' objects, signed, 32 bits each; 0 for none.
        holders: how many slots and globals hold an object: at every ``holder_step``-th word the number of
            the next key, by the index that is in its low bits, ``key_mask``.
        count, holder_count: how many slots there are, and how many numbers of holders.
        index_mask, count_max, version_shift: of words and references, as in `handles`.
    """

    _fields_ = (
        ("words", _POINTER),
        ("keys", _POINTER),
        ("holders", _POINTER),
        ("count", _U64),
        ("holder_count", _U64),
        ("holder_step", _U32),
        ("key_mask", _U32),
        ("index_mask", _U32),
        ("count_max", _U32),
        ("version_shift", _U32),
    )

    @classmethod
    def of(cls, space: Space, keys: Numbers, words: Numbers | None = None) -> Slots:
        """Those whose objects are in a table of externrefs, as `Space.table_keys` gives it."""
        records = space.holder_records()
        return cls(
            words=None if words is None else words.address,
            keys=keys.address,
            holders=records.address + 4 * _HOLDERS,
            # A table of externrefs has as many elements as there are slots, unless the module is no hiwire.
            count=keys.count if words is None else min(words.count, keys.count),
            holder_count=records.count // _RECORD_WORDS,
            holder_step=_RECORD_WORDS,
            key_mask=_KEY_INDEX,
            index_mask=INDEX,
            count_max=COUNT_MAX,
            version_shift=VERSION_SHIFT,
        )

    def views(self) -> tuple[memoryview[int] | None, memoryview[int], memoryview[int]]:
        """The words, the keys, and the numbers of holders by the keys' indexes."""
        step, most = self.holder_step, self.holder_count
        holders = Numbers(self.holders, (most - 1) * step + 1 if most else 0, "I").view()
        words = Numbers(self.words, self.count, "I").view() if self.words else None
        return words, Numbers(self.keys, self.count, "i").view(), holders[::step]
