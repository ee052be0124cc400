"""The bits of handles and of the words of slots: names and numbers of c/hiwire/layout.h, which has a picture.

tests/test_layouts.py compares the two.
"""

from __future__ import annotations

__all__ = ["COUNT_MAX", "COUNT_SHIFT", "INDEX", "INDEX_BITS", "INDEX_SHIFT", "VERSION_SHIFT", "slot_of"]

INDEX_BITS = 25
INDEX_SHIFT = 1
INDEX = (1 << INDEX_BITS) - 1
"""The largest number of a slot, and so the most handles of a table."""
VERSION_SHIFT = INDEX_SHIFT + INDEX_BITS
COUNT_SHIFT = 2
COUNT_BITS = 24
COUNT_MAX = (1 << COUNT_BITS) - 1


def slot_of(ref: int) -> int:
    """The number of a handle's slot."""
    return ref >> INDEX_SHIFT & INDEX
