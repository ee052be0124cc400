"""Constants: constant expressions have one instruction, for engines that know no extended ones.

    (module                                             (module
      (import "m" "base" (global $base i32))              (import "m" "base" (global $base i32))
      (global $a i32 (i32.mul (i32.const 6)               (global $a i32 (i32.const 42))
                              (i32.const 7)))
      (global $b i32 (i32.add (global.get $base)   ->     (global $b (mut i32) (i32.const 0))
                              (i32.const 4))))
                                                          ;; at the start
                                                          (global.set $b (i32.add (global.get $base)
                                                                                  (i32.const 4)))

What depends on no import is computed here. The rest becomes code, as it stands: that of globals comes back to
the caller, and offsets of segments are left to deferred_start.py.

Requires: a valid module.
Leaves: no constant expression of several instructions but in offsets, where the result says so. Globals that
are computed at the start are mutable, and 0 until then; they are not exported, or were mutable before.
Everything else is as it was, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import add, mul, sub
from typing import Final, NamedTuple

from ..errors import UnsupportedModuleError
from ..wasm.binary import Reader, leb, vector
from ..wasm.code import instructions
from ..wasm.emit import i32_const, i64_const
from ..wasm.module import GLOBAL, Kind, Module
from ..wasm.opcodes import END, GLOBAL_SET
from ..wasm.types import I32
from ..wasm.write import Edit, Writer

__all__ = ["Folded", "fold_constants", "has_long_constants"]

_CONSTANTS: Final = {0x41: 32, 0x42: 64}
_SUMS: Final = dict(zip((0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E), 2 * (add, sub, mul)))
_WIDE: Final = (0x42, 0x7C, 0x7D, 0x7E)
_END: Final = bytes((END,))
_MASK: Final = (1 << 64) - 1


class Folded(NamedTuple):
    """Attributes:
    wasm: the module's bytes.
    before: code to run before anything else that happens at the start.
    late: whether offsets of segments are left that are to be computed at the start.
    """

    wasm: bytes
    before: bytes
    late: bool


def has_long_constants(module: Module) -> bool:
    """Whether a constant expression has several instructions."""
    return any(_long_in(module))


def _long_in(module: Module) -> Iterator[Kind]:
    """The sections where one has."""
    spans = {
        Kind.GLOBALS: (global_.init for global_ in module.own(GLOBAL)),
        Kind.ELEMENTS: (element.offset for element in module.elements),
        Kind.DATA: (segment.offset for segment in module.data()),
    }
    for kind, some in spans.items():
        if any(not _is_single(module.wasm, *span) for span in some if span is not None):
            yield kind


def fold_constants(module: Module) -> Folded:
    """The module with constants of one instruction.

    Raises:
        UnsupportedModuleError: an immutable global that is exported depends on an import.
    """
    writer, edit = _Constants(module), Edit(module)
    for kind in _long_in(module):
        edit.set(kind, vector(getattr(writer, kind.name.lower())()))
    return Folded(edit.written(), b"".join(writer.before), writer.late)


class _Constants(Writer):
    """Attributes:
    before, late: see `Folded`.
    """

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.before: list[bytes] = []
        self.late = False

    def globals(self) -> Iterator[bytes]:
        exported = {index: name for name, index in self.module.exported(GLOBAL).items()}
        first = self.module.count_imports(GLOBAL)
        for index, global_ in enumerate(self.module.own(GLOBAL), first):
            value = self._folded(global_.init)
            if value is None:
                if index in exported and not global_.mutable:
                    raise UnsupportedModuleError(
                        f"the global {exported[index]!r} is exported, immutable, and computed from one that"
                        " is imported, for which this engine has no instructions: take another engine, as"
                        ' engine="wasmtime"'
                    )
                code = self.module.wasm[global_.init[0] : global_.init[1] - 1]
                self.before.append(code + bytes((GLOBAL_SET,)) + leb(index))
                global_ = global_._replace(mutable=True)
                value = (i32_const if global_.type == I32 else i64_const)(0) + _END
            yield self._global(global_) + value

    def expression(self, span: tuple[int, int]) -> bytes:
        value = self._folded(span)
        if value is None:
            self.late = True
            value = self.module.wasm[slice(*span)]
        return value

    def _folded(self, span: tuple[int, int]) -> bytes | None:
        """An expression of one instruction; None if there is none for it."""
        wasm = self.module.wasm
        if _is_single(wasm, *span):
            return wasm[slice(*span)]
        stack: list[int] = []
        r, last = Reader(wasm, *span), END
        for _, code in instructions(r):
            if code in _CONSTANTS:
                stack.append(r.signed(_CONSTANTS[code]))
            elif code in _SUMS:
                operand = stack.pop()
                stack.append(_SUMS[code](stack.pop(), operand) & _MASK)
            elif code != END:
                return None  # a global, whose value is not known here
            else:
                break
            last = code
        constant = i64_const(stack[0] & _MASK) if last in _WIDE else i32_const(stack[0] & 0xFFFFFFFF)
        return constant + _END


def _is_single(wasm: bytes, start: int, end: int) -> bool:
    """Whether an expression has one instruction, and its end."""
    # Three bytes have no room for more, and most expressions are of three.
    return end - start == 3 or sum(1 for _ in instructions(Reader(wasm, start, end))) == 2
