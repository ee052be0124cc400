"""Which reference type each ``ref.is_null`` of a function tests.

The instruction does not say, and lowering needs to know: on an externref it becomes ``i32.eqz``. So the operand stack
is followed as in validation (core specification, appendix "Validation Algorithm"), with all numbers as one type.
Only functions that hold a byte 0xd1 are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UnsupportedModuleError
from ..values import FUNCREF, I32
from .binary import Reader
from .module import Module

__all__ = ["null_tests"]

_UNARY = frozenset(
    (0x45, 0x50, *range(0x67, 0x6A), *range(0x79, 0x7C), *range(0x8B, 0x92), *range(0x99, 0xA0), *range(0xA7, 0xC5))
)
# The instructions 0xfc n: operands, results, immediates. The conversions 0..7 take one number and give one.
_PREFIXED = {
    **dict.fromkeys(range(8), (1, 1, 0)),
    8: (3, 0, 2),
    9: (0, 0, 1),
    10: (3, 0, 2),
    11: (3, 0, 1),
    12: (3, 0, 2),
    13: (0, 0, 1),
    14: (3, 0, 2),
    15: (2, 1, 1),
    16: (0, 1, 1),
    17: (3, 0, 1),
}


class _Frame:
    """A block being read: its types, the stack's height at its start, and whether the rest of it is dead code."""

    __slots__ = ("dead", "height", "params", "results")

    def __init__(self, height: int, params: bytes, results: bytes) -> None:
        self.height = height
        self.params = params
        self.results = results
        self.dead = False


class _Walk:
    def __init__(self, module: Module, r: Reader, function: int, groups: Sequence[tuple[int, int]]) -> None:
        self.module = module
        self.r = r
        self.params, results = module.types[function]
        self.groups = groups
        self.stack: list[int | None] = []
        self.frames = [_Frame(0, b"", results)]
        self.found: dict[int, int | None] = {}

    def local_type(self, index: int) -> int:
        if index < len(self.params):
            return self.params[index]
        index -= len(self.params)
        for count, code in self.groups:
            if index < count:
                return code
            index -= count
        raise UnsupportedModuleError("the code uses a local that does not exist")

    def pop(self, count: int = 1) -> int | None:
        """Take ``count`` operands; the type of the last one taken, None where dead code leaves it open."""
        frame = self.frames[-1]
        popped: int | None = None
        for _ in range(count):
            if len(self.stack) > frame.height:
                popped = self.stack.pop()
            elif frame.dead:
                popped = None
            else:
                raise UnsupportedModuleError("the code takes operands that are not there")
        return popped

    def effect(self, operands: int, results: int) -> None:
        self.pop(operands)
        self.stack.extend([I32] * results)

    def end_of_code(self) -> None:
        frame = self.frames[-1]
        del self.stack[frame.height :]
        frame.dead = True

    def open_block(self, op: int) -> None:
        if op == 0x04:
            self.pop()
        code = self.r.data[self.r.pos] if self.r.pos < self.r.end else 0
        if 0x40 <= code <= 0x7F:
            self.r.byte()
            params, results = b"", b"" if code == 0x40 else bytes((code,))
        else:
            params, results = self.module.types[self.r.u32()]
        self.pop(len(params))
        self.frames.append(_Frame(len(self.stack), params, results))
        self.stack.extend(params)

    def close_block(self) -> None:
        frame = self.frames.pop()
        del self.stack[frame.height :]
        self.stack.extend(frame.results)

    def second_arm(self) -> None:
        frame = self.frames[-1]
        del self.stack[frame.height :]
        frame.dead = False
        self.stack.extend(frame.params)

    def call(self, op: int) -> None:
        r = self.r
        if op in (0x11, 0x13):  # call_indirect, return_call_indirect
            type_ = r.u32()
            r.u32()
            self.pop()
        else:
            type_ = self.module.functions[r.u32()]
        params, results = self.module.types[type_]
        self.pop(len(params))
        if op in (0x12, 0x13):
            self.end_of_code()
        else:
            self.stack.extend(results)

    def run(self) -> dict[int, int | None]:
        r = self.r
        while r.pos < r.end:
            if not self.frames:
                raise UnsupportedModuleError("a function's code goes on after its end")
            at = r.pos
            op = r.byte()
            if op == 0xD1:
                self.found[at] = self.pop()
                self.stack.append(I32)
            else:
                self.step(op, at)
        return self.found

    def step(self, op: int, at: int) -> None:
        r, stack = self.r, self.stack
        if 0x45 <= op <= 0xC4:
            self.effect(1 if op in _UNARY else 2, 1)
        elif op == 0x20:  # local.get
            stack.append(self.local_type(r.u32()))
        elif op == 0x21 or op == 0x24:  # local.set, global.set
            r.u32()
            self.pop()
        elif op == 0x22:  # local.tee
            self.pop()
            stack.append(self.local_type(r.u32()))
        elif 0x28 <= op <= 0x3E:  # loads, stores
            r.u32()
            r.skip_leb()
            self.effect(1, 1) if op <= 0x35 else self.effect(2, 0)
        elif op in (0x41, 0x42):  # i32.const, i64.const
            r.skip_leb()
            stack.append(I32)
        elif op in (0x43, 0x44):  # f32.const, f64.const
            r.take(4 if op == 0x43 else 8)
            stack.append(I32)
        elif op in (0x3F, 0x40):  # memory.size, memory.grow
            r.byte()
            self.effect(op - 0x3F, 1)
        elif op in (0x02, 0x03, 0x04):
            self.open_block(op)
        elif op == 0x05:
            self.second_arm()
        elif op == 0x0B:
            self.close_block()
        elif op in (0x00, 0x0F):  # unreachable, return
            self.end_of_code()
        elif op == 0x0C:  # br
            r.u32()
            self.end_of_code()
        elif op == 0x0D:  # br_if
            r.u32()
            self.pop()
        elif op == 0x0E:  # br_table
            for _ in range(r.u32() + 1):
                r.u32()
            self.end_of_code()
        elif 0x10 <= op <= 0x13:
            self.call(op)
        elif op == 0x1A:  # drop
            self.pop()
        elif op == 0x1B:  # select, numbers only
            self.effect(3, 1)
        elif op == 0x1C:  # select with a type
            types = r.take(r.u32())
            self.pop(3)
            stack.extend(types)
        elif op == 0x23:  # global.get
            stack.append(self.module.globals[r.u32()].type)
        elif op == 0x25:  # table.get
            self.pop()
            stack.append(self.module.tables[r.u32()].element)
        elif op == 0x26:  # table.set
            r.u32()
            self.pop(2)
        elif op == 0xD0:  # ref.null
            stack.append(r.byte())
        elif op == 0xD2:  # ref.func
            r.u32()
            stack.append(FUNCREF)
        elif op == 0xFC:
            sub = r.u32()
            if sub not in _PREFIXED:
                raise UnsupportedModuleError(f"instruction 0xfc {sub:#x} at byte {at} is not supported")
            operands, results, immediates = _PREFIXED[sub]
            for _ in range(immediates):
                r.u32()
            self.effect(operands, results)
        elif op != 0x01:
            raise UnsupportedModuleError(f"instruction {op:#x} at byte {at} is not supported")


def null_tests(module: Module, code: Reader, function: int, groups: Sequence[tuple[int, int]]) -> dict[int, int | None]:
    """The type each ``ref.is_null`` tests.

    Args:
        module: the module the code is part of.
        code: a cursor over the function's instructions.
        function: the index of the function's type.
        groups: its declared locals as (count, type).

    Returns:
        Position of the instruction -> type; None in code that cannot be reached.
    """
    return _Walk(module, code, function, groups).run()
