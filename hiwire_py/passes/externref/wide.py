"""Tables of externrefs with indexes of 64 bits: the runtime's helpers take 32, so functions stand before
them.

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
from ...wasm.types import I32, I64
from .added import AddedFunctions, AddedTypes

__all__ = ["WIDE", "wide_helper"]

WIDE = {
    "get": ("IH", "i"),
    "set": ("IiH", ""),
    "size": ("H", "I"),
    "grow": ("iIH", "I"),
    "fill": ("IiIH", ""),
}
"""The operands and the result of a helper for a wide table; I is of 64 bits, H a handle."""

_LARGEST = b"\x42" + signed_leb(0xFFFFFFFF)
_BELOW, _SELECT, _WRAP = b"\x54", b"\x1b", b"\xa7"
_EXTEND = {"size": b"\xad", "grow": b"\xac"}  # what could not grow gives -1


def wide_helper(
    helper: str, operands: str, result: str, call: bytes, functions: AddedFunctions, types: AddedTypes
) -> bytes:
    """The call of a function that narrows its operands, and calls a helper.

    Args:
        helper: its name.
        operands, result: as in `WIDE`.
        call: calls the helper.
        functions, types: where the function and its type are added.
    """

    def make() -> bytes:
        code = [b"\0"]
        for number, letter in enumerate(operands):
            local = b"\x20" + leb(number)
            code.append(
                local + _LARGEST + local + _LARGEST + _BELOW + _SELECT + _WRAP if letter == "I" else local
            )
        code += (call, _EXTEND[helper] if result == "I" else b"")
        return b"".join(code)

    spelled, given = ([bytes((I64 if x == "I" else I32,)) for x in side] for side in (operands, result))
    return b"\x10" + leb(functions.index((helper, operands), types(spelled, given), make))
