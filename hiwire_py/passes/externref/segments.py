"""Segments of externrefs: the start function does what instantiation does with them.

Each segment becomes a hidden table of the companion, as long as the segment and full of nulls. For a passive
segment of nulls that is all. For others, code in a start function, run before the module's own, sets the
items, copies an active segment into its table, and drops it. So this segment of two items

    (elem (i32.const 3) externref (ref.null extern) (global.get $g))

becomes

    (call $externref.set (i32.const 1) (global.get $g) (global.get $e0))
    (call $externref.copy (i32.const 3) (i32.const 0) (i32.const 2) (global.get $t0) (global.get $e0))
    (call $externref.drop (global.get $e0))

So these segments come after all segments of functions and of data. The difference shows only where one does
not fit its table, so that no instance is made: a segment of functions or data that stands behind it has been
written by then, to a table or memory that the module imports.
"""

from __future__ import annotations

from collections.abc import Callable

from ...wasm.binary import signed_leb
from ...wasm.module import Module
from ...wasm.types import EXTERNREF
from .indexes import IndexMap

__all__ = ["segment_code"]

_PASSIVE = 1  # in the two low bits of a segment's flags
_NULL_ITEM = bytes((0xD0, EXTERNREF, 0x0B))


def segment_code(
    module: Module, to: IndexMap, expression: Callable[[tuple[int, int]], bytes], copy: Callable[[int], bytes]
) -> list[bytes]:
    """What the start function does about the module's segments of externrefs; empty if nothing is to do.

    Args:
        module: the module, not lowered.
        to: where things go.
        expression: lowers the constant expression at a position in the module.
        copy: gives the call that copies from a segment to a table.
    """

    def value(span: tuple[int, int]) -> bytes:
        return expression(span)[:-1]  # without its end

    found = []
    for index in to.externref_elements:
        element, handle = module.elements[index], to.element_handle[index]
        for number, item in enumerate(element.items):
            if isinstance(item, tuple) and module.wasm[item[0] : item[1]] != _NULL_ITEM:
                found.append(_constant(number) + value(item) + handle + to.call["set"])
        if element.offset is not None:
            found.append(value(element.offset) + _constant(0) + _constant(len(element.items)))
            found.append(to.table_handle[element.table] + handle + copy(element.table))
        if element.flags & 3 != _PASSIVE:
            found.append(handle + to.call["drop"])
    return found


def _constant(number: int) -> bytes:
    """``i32.const``; the length of a segment is no negative number."""
    return b"\x41" + signed_leb(number)
