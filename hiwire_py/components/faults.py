"""Why generated code traps.

It writes a number into a global before ``unreachable``, so that the error has the same words on every engine.
What a guest's own code does wrong is told as for other guests.
"""

from __future__ import annotations

import enum

__all__ = ["Fault"]


class Fault(enum.IntEnum):
    """``words``: the sentence of the error."""

    words: str

    def __new__(cls, number: int, words: str) -> Fault:
        self = int.__new__(cls, number)
        self._value_ = number
        self.words = words
        return self

    @classmethod
    def of(cls, number: int) -> Fault:
        """By its number."""
        return next(one for one in cls if one == number)

    UNKNOWN_HANDLE = 1, "unknown handle index"
    WRONG_TYPE = 2, "handle index used with the wrong type"
    NOT_OWNED = 3, "a borrowed handle cannot be given away"
    LENT = 4, "an owned handle cannot be given away or dropped while it is lent"
    TABLE_FULL = 5, "the handle table is full"
    CANNOT_LEAVE = 6, "cannot leave component instance"
    CANNOT_ENTER = 7, "cannot enter component instance"
    BORROWS_REMAIN = 8, "borrow handles still remain at the end of the call"
    BAD_CHAR = 9, "invalid `char` bit pattern"
    BAD_DISCRIMINANT = 10, "invalid variant discriminant"
    BAD_POINTER = 11, "pointer not aligned"
    OUT_OF_BOUNDS = 12, "pointer out of bounds of memory"
    STRING_BOUNDS = 13, "string pointer/length out of bounds of memory"
    STRING_TOO_LONG = 14, "string is longer than 2**28 - 1 bytes"
    STRING_ENCODING = 15, "string content out-of-bounds or not valid in its encoding"
    LIST_BOUNDS = 16, "list pointer/length out of bounds of memory"
    LIST_TOO_LONG = 17, "list is longer than 2**28 - 1 bytes"
    REALLOC_BOUNDS = 18, "realloc return: beyond end of memory"
    REALLOC_ALIGNMENT = 19, "realloc return: result not aligned"
    TABLE_OVERWRITTEN = 20, "the handle table in the instance's own memory was overwritten"
