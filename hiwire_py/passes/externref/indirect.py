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

from collections.abc import Callable

from ...wasm.binary import leb, vector
from ...wasm.module import Module
from ...wasm.types import EXTERNREF, F32, F64, FUNCREF, I32, I64, FuncType
from .added import AddedFunctions, AddedTypes
from .frames import holding
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
        module: the module, not lowered.
        spelling: what lowering makes of a value type.
        types, functions: what is added to the lowered module.
        to: where everything goes in it.
    """

    def __init__(
        self,
        module: Module,
        spelling: Callable[[bytes], bytes],
        types: AddedTypes,
        functions: AddedFunctions,
        to: IndexMap,
    ) -> None:
        self.module = module
        self.spelling = spelling
        self.types = types
        self.functions = functions
        self.to = to
        self._spelled: dict[int, tuple[int, bytes] | None] = {}
        self.tails = False
        self.thunks: dict[int, int] = {}  # the functions behind them, by their indexes

    def _spell(self, type_: int) -> tuple[int, bytes] | None:
        """For a type: the index of its spelled out form, and code that pushes the extra arguments."""
        if type_ not in self._spelled:
            extra = spell_out(self.module.types[type_])
            if extra is None:
                self._spelled[type_] = None
            else:
                declared = self.module.subtypes[type_]
                params = [*map(self.spelling, declared.first), *(bytes((t,)) for t in extra)]
                code = b"".join(_ZERO[t] for t in extra)
                index = self.types(params, [*map(self.spelling, declared.second)])
                self._spelled[type_] = index, code
        return self._spelled[type_]

    def address(self, function: int) -> int:
        """The index in the lowered module that stands for a function whose address is taken."""
        type_ = self.module.functions[function]
        spelled = self._spell(type_)
        if spelled is None:
            return self.to.function(function)

        def make() -> bytes:
            functype = self.module.types[type_]
            target = leb(self.to.function(function))
            arguments = b"".join(b"\x20" + leb(i) for i in range(len(functype.params)))
            if not self.tails:
                return b"\0" + arguments + b"\x10" + target
            if function < self.to.first_function and EXTERNREF in functype.params:
                # Whoever imports it does not know how it is called.
                return holding(
                    functype.params,
                    len(spell_out(functype) or b""),
                    arguments + b"\x10" + target,
                    self.to.call,
                )
            return b"\0" + arguments + b"\x12" + target

        index = self.functions.index(function, spelled[0], make)
        self.thunks[index] = function
        return index

    def call(self, type_: int) -> tuple[int, bytes]:
        """For ``call_indirect`` of a type: the type to expect, and code that pushes what it takes more."""
        return self._spell(type_) or (type_, b"")

    def declaration(self) -> bytes | None:
        """A declarative element segment, without which ``ref.func`` of a thunk would not be valid."""
        return b"\x03\x00" + vector(map(leb, self.thunks)) if self.thunks else None
