"""Numbers of guests, tables and the runtime of lowering, where they lie."""

from __future__ import annotations

import array
import ctypes
from dataclasses import dataclass
from typing import Literal

__all__ = ["Numbers"]


@dataclass(frozen=True)
class Numbers:
    """Numbers in this process' memory.

    Attributes:
        address: of the first.
        count: how many.
        code: their type, "I", "i" or "q", as in the module `array`.
        owner: the array they are in, if they are in one.
    """

    address: int
    count: int
    code: Literal["I", "i", "q"]
    owner: array.array[int] | None = None

    @classmethod
    def of(cls, numbers: array.array[int]) -> Numbers:
        """Those in an array, which must not grow."""
        address, count = numbers.buffer_info()
        return cls(address, count, "q" if numbers.itemsize == 8 else "I", numbers)

    def view(self) -> memoryview[int]:
        """To read. Memory without an owner must stay where it is as long as this is used."""
        if self.owner is not None:
            return memoryview(self.owner)
        size = self.count * (8 if self.code == "q" else 4)
        return memoryview((ctypes.c_char * size).from_address(self.address)).cast("B").cast(self.code)
