"""The host function hiwire_realloc, by which the variant extern_realloc gets memory for its slots."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from .checks import check_integer, shown
from .interface import A_GLOBAL, A_MEMORY, Required
from .objects import Instance, Space

__all__ = ["Realloc"]

_PAGE = 65536
_WORD = 0xFFFFFFFF


class Realloc:
    """The host function hiwire_realloc, as an allocator in the module's own memory, which it grows.

    The module's data ends at its global ``__heap_base``; the memory behind that belongs to this allocator.
    Its only blocks are the few arrays of hiwire: the last one grows in place, others are copied to the end.

    Args:
        limit: how many bytes the module's memory may have.

    Attributes:
        refused: why the last growth failed; "" if it did not.

    Raises:
        TypeError: the limit is no integer.
        ValueError: it is negative.
    """

    required: Mapping[str, Required] = {"memory": A_MEMORY, "__heap_base": A_GLOBAL}
    """What a module must export that imports hiwire_realloc."""

    def __init__(self, limit: int) -> None:
        limit = check_integer(limit, "memory_limit")
        if limit < 0:
            raise ValueError(f"memory_limit must not be negative: {shown(limit)}")
        self.limit = limit
        self.end = 0
        self.blocks: dict[int, int] = {}
        self.refused = ""
        self.store: Any = None
        self.memory: Any = None

    def bind(self, space: Space, instance: Instance) -> None:
        """Serve an instance, whose module exports what is `required`."""
        self.store = space.store
        self.memory = instance.extern("memory").raw
        self.end = (space.store.global_get(instance.extern("__heap_base").raw) & _WORD) + 15 & ~15

    def __call__(self, old: int, size: int) -> int:
        """A block of ``size`` bytes with the contents of ``old``, a block from here or 0; 0 when there is no
        memory."""
        old, size = old & _WORD, size & _WORD
        if self.memory is None or (old and old not in self.blocks):
            return 0
        before = self.blocks.get(old, 0)
        if old and size <= before:
            return old
        start = old if old and old + before == self.end else self.end
        end = start + size + 15 & ~15
        if not self._reach(end):
            return 0
        if old and start != old:
            base = self.store.memory_address(self.memory)
            ctypes.memmove(base + start, base + old, before)
            del self.blocks[old]
        self.blocks[start] = end - start
        self.end = end
        return start

    def _reach(self, end: int) -> bool:
        have = self.store.memory_size(self.memory)
        if end > self.limit:
            self.refused = f"growing needs {end} bytes of memory, and memory_limit is {self.limit}"
            return False
        if end > have and not self.store.memory_grow(self.memory, (end - have + _PAGE - 1) // _PAGE):
            self.refused = f"the engine does not let the memory grow to {end} bytes"
            return False
        self.refused = ""
        return True
