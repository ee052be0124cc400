"""The bits of handles and of the words of slots, as c/hiwire/layout.h has them."""

from __future__ import annotations

__all__ = ["COUNT_MAX", "INDEX", "VERSION_SHIFT", "slot_of"]

_INDEX_BITS = 25
INDEX = (1 << _INDEX_BITS) - 1
"""The largest number of a slot, and so the most handles of a table."""
VERSION_SHIFT = _INDEX_BITS + 1
COUNT_MAX = (1 << 24) - 1


def slot_of(ref: int) -> int:
    """The number of a handle's slot."""
    return ref >> 1 & INDEX
