"""Calls of the runtime's helpers for tables. They take indexes of 32 bits, so for tables with indexes of 64
bits functions stand before them.

A table of the runtime has fewer than 2^32 elements. An index or a count that does not fit 32 bits becomes the
largest that does, which is beyond every table, too.

    (table.set $t (local.get $index) (local.get $ref))    becomes
    (call $set64 (local.get $index) (local.get $ref) (global.get $t0))

    (func $set64 (param i64 i32 i32)
      (call $externref.set
        (i32.wrap_i64
          (select (local.get 0) (i64.const 0xffffffff) (i64.lt_u (local.get 0) (i64.const 0xffffffff))))
        (local.get 1) (local.get 2)))
"""

from __future__ import annotations

from ...wasm.binary import leb, signed_leb
from ...wasm.code import local_get
from ...wasm.types import I32, I64
from .indexes import IndexMap

__all__ = ["copy_call", "helper_call"]

# The operands and the result of a helper for a wide table; I is of 64 bits, H a handle.
_WIDE = {
    "get": ("IH", "i"),
    "set": ("IiH", ""),
    "size": ("H", "I"),
    "grow": ("iIH", "I"),
    "fill": ("IiIH", ""),
}
_LARGEST = b"\x42" + signed_leb(0xFFFFFFFF)
_BELOW, _SELECT, _WRAP = b"\x54", b"\x1b", b"\xa7"
_EXTEND = {"size": b"\xad", "grow": b"\xac"}  # what could not grow gives -1


def helper_call(to: IndexMap, helper: str, table: int) -> bytes:
    """The call of a helper that takes the handle of a table."""
    if not to.module.tables[table].limits.wide:
        return to.call[helper]
    return _wide_call(to, helper, *_WIDE[helper])


def copy_call(to: IndexMap, target: int, source: int | None = None) -> bytes:
    """The call that copies from a table, or from a segment, to a table."""
    wide = to.module.tables[target].limits.wide
    from_wide = source is not None and to.module.tables[source].limits.wide
    if not wide and not from_wide:
        return to.call["copy"]
    operands = "".join("iI"[x] for x in (wide, from_wide, wide and from_wide)) + "HH"
    return _wide_call(to, "copy", operands, "")


def _wide_call(to: IndexMap, helper: str, operands: str, result: str) -> bytes:
    """The call of a function that narrows its operands, and calls a helper."""

    def make() -> bytes:
        code = b"\0"
        for number, letter in enumerate(operands):
            local = local_get(number)
            code += local + _LARGEST + local + _LARGEST + _BELOW + _SELECT + _WRAP if letter == "I" else local
        return code + to.call[helper] + (_EXTEND[helper] if result == "I" else b"")

    spelled, given = ([bytes((I64 if x == "I" else I32,)) for x in side] for side in (operands, result))
    return b"\x10" + leb(to.add_function((helper, operands), to.add_type(spelled, given), make))
