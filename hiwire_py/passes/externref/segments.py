"""Segments of externrefs: the start function does what instantiation does with them.

Each segment becomes a hidden table of the runtime, as long as the segment and full of nulls. For a passive
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

from ...wasm.code import i32_const
from ...wasm.types import EXTERNREF
from .indexes import IndexMap
from .wide import copy_call

__all__ = ["segment_code"]

_PASSIVE = 1  # in the two low bits of a segment's flags
_NULL_ITEM = bytes((0xD0, EXTERNREF, 0x0B))


def segment_code(to: IndexMap, expression: Callable[[tuple[int, int]], bytes]) -> list[bytes]:
    """What the start function does about the module's segments of externrefs; empty if nothing is to do.

    Args:
        to: where things go.
        expression: lowers the constant expression at a position in the module.
    """

    def value(span: tuple[int, int]) -> bytes:
        return expression(span)[:-1]  # without its end

    found = []
    for index in to.externref_elements:
        element, handle = to.module.elements[index], to.element_handle[index]
        for number, item in enumerate(element.items):
            if isinstance(item, tuple) and to.module.wasm[slice(*item)] != _NULL_ITEM:
                found.append(i32_const(number) + value(item) + handle + to.call["set"])
        if element.offset is not None:
            found.append(value(element.offset) + i32_const(0) + i32_const(len(element.items)))
            found.append(to.table_handle[element.table] + handle + copy_call(to, element.table))
        if element.flags & 3 != _PASSIVE:
            found.append(handle + to.call["drop"])
    return found
