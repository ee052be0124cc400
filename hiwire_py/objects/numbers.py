"""Numbers of guests, tables and the runtime of lowering, where they lie."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal

__all__ = ["Numbers"]


@dataclass(frozen=True)
class Numbers:
    """Numbers of 32 bits in this process' memory, which must stay where they are as long as this is used.

    Attributes:
        address: of the first.
        count: how many.
        code: their type, "I" or "i", as in the module `array`.
    """

    address: int
    count: int
    code: Literal["I", "i"]

    def view(self) -> memoryview[int]:
        """To read."""
        return (
            memoryview((ctypes.c_char * (4 * self.count)).from_address(self.address))
            .cast("B")
            .cast(self.code)
        )
