"""Indirect calls: types that differ only in externref against i32 must stay different.

``call_indirect`` compares the type of the function it finds with the one it expects. Lowering makes an
externref an i32, so a guest could call a function that takes an externref with any integer of its choice, and
read ids of objects as integers. Therefore functions whose address is taken are reached through a *thunk*: a
function with extra parameters that nobody reads, whose types spell out which of the i32s were externrefs, and
every ``call_indirect`` passes them.

The spelling is injective. Let k be the number of i32s in the lowered parameters and results. k bits say, from
the first to the last, which were externrefs; two bits at a time choose one of the types of `_DIGITS`; a
funcref ends it:

    (externref, i32) -> (externref)    becomes    (i32, i32, f32, i64, funcref) -> (i32)
                                                   1    0    \\-10-/\\-1-/         1

Read from the end, such a type gives back the original: the number of digits d is the only one with d = ceil(k
/ 2). A type without externrefs keeps its form, unless its last parameter is a funcref: that one is spelled
out too, so that it cannot be mistaken for another's spelling.
"""

from __future__ import annotations

from ...wasm.binary import leb, vector
from ...wasm.types import EXTERNREF, F32, F64, FUNCREF, I32, I64, FuncType
from .frames import arguments, holding
from .indexes import IndexMap

__all__ = ["IndirectCalls", "ends_in_funcref", "spell_out"]

_DIGITS = (I32, I64, F32, F64)
_ZERO = {
    I32: b"\x41\x00",
    I64: b"\x42\x00",
    F32: b"\x43" + bytes(4),
    F64: b"\x44" + bytes(8),
    FUNCREF: bytes((0xD0, FUNCREF)),
}


def ends_in_funcref(functype: FuncType) -> bool:
    return functype.params[-1:] == bytes((FUNCREF,))


def spell_out(functype: FuncType) -> bytes | None:
    """The types of the extra parameters for a function type; None if it needs none."""
    if not functype.has_externref and not ends_in_funcref(functype):
        return None
    bits = [code == EXTERNREF for code in functype.params + functype.results if code in (I32, EXTERNREF)]
    if len(bits) % 2:
        bits.append(False)
    digits = (2 * bits[i] + bits[i + 1] for i in range(0, len(bits), 2))
    return bytes((*(_DIGITS[d] for d in digits), FUNCREF))


class IndirectCalls:
    """The thunks that a module needs, found while its code is rewritten.

    Attributes:
        tails: whether ``return_call_indirect`` reaches functions, so that thunks must call in this way, too.
        thunks: index of a thunk -> the function behind it.

    Args:
        to: where everything goes in the lowered module.
    """

    def __init__(self, to: IndexMap) -> None:
        self._to = to
        self._spelled: dict[int, tuple[int, bytes]] = {}
        self.tails = False
        self.thunks: dict[int, int] = {}

    def call(self, type_: int) -> tuple[int, bytes]:
        """For ``call_indirect`` of a type: the type to expect, and code that pushes what it takes more."""
        if type_ not in self._spelled:
            extra = spell_out(self._to.module.types[type_])
            self._spelled[type_] = (
                (type_, b"")
                if extra is None
                else (self._to.extended_type(type_, extra), b"".join(_ZERO[code] for code in extra))
            )
        return self._spelled[type_]

    def address(self, function: int) -> int:
        """The index in the lowered module that stands for a function whose address is taken."""
        to, type_ = self._to, self._to.module.functions[function]
        spelled, extra = self.call(type_)
        if not extra:
            return to.function(function)

        def make() -> bytes:
            functype = to.module.types[type_]
            target = leb(to.function(function))
            if self.tails and function < to.first_function and EXTERNREF in functype.params:
                # Whoever imports it does not know how it is called.
                return holding(to, functype.params, len(spell_out(functype) or b""), b"\x10" + target)
            return b"\0" + arguments(len(functype.params)) + (b"\x12" if self.tails else b"\x10") + target

        index = to.add_function(function, spelled, make)
        self.thunks[index] = function
        return index

    def declaration(self) -> bytes | None:
        """A declarative element segment, without which ``ref.func`` of a thunk would not be valid."""
        return b"\x03\x00" + vector(map(leb, self.thunks)) if self.thunks else None
