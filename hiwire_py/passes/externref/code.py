"""Rewriting instructions: externref operations become i32 operations and calls of the runtime."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import UnsupportedModuleError
from ...wasm import opcodes
from ...wasm.binary import Reader, leb, sized, vector
from ...wasm.code import RUN, UNCHANGED, local_get, opcode, rewritten, runs, skip
from ...wasm.instructions import Instruction
from ...wasm.module import Module
from ...wasm.types import EXTERNREF, I32, I64, heap_type, value_type
from ...wasm.write import Writer
from .analysis import analyse
from .frames import frame_code
from .indexes import IndexMap, lowered
from .indirect import IndirectCalls
from .refusals import check_call_ref, check_spelling
from .tails import TailCalls
from .wide import copy_call, helper_call

__all__ = ["CodeLowering"]

_HELPERS = {
    opcodes.TABLE_GET: "get",
    opcodes.TABLE_SET: "set",
    opcodes.TABLE_GROW: "grow",
    opcodes.TABLE_SIZE: "size",
    opcodes.TABLE_FILL: "fill",
}
_I32, _I64 = bytes((I32,)), bytes((I64,))


def _changes(code: int, instruction: Instruction) -> bool:
    """Whether lowering looks at an instruction: at an index that moves, or a type."""
    return (
        code in opcodes.CALLS
        or code in (opcodes.REF_IS_NULL, opcodes.TO_ANY, opcodes.TO_EXTERN)
        or not set("FGtEhv").isdisjoint(instruction.immediates)
    )


_unchanged = runs(_changes, (EXTERNREF,), (opcodes.CALL, opcodes.GLOBAL_GET, opcodes.GLOBAL_SET))


class CodeLowering(Writer):
    """Lowers the code of one module."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        to = self.to = IndexMap(module)
        self.renumber = {
            **UNCHANGED,
            "F": to.function,
            "G": to.global_,
            "t": to.table.__getitem__,
            "E": to.element.__getitem__,
        }
        self.indirect = IndirectCalls(to)
        self.tails = TailCalls(to, self.indirect)
        self._frequent: dict[bytes, tuple[bytes, bool, bool]] = {}  # what `_indexed` has said, by instruction
        # Of the function being rewritten:
        self._scratch = 0  # a free i32 local, for indirect calls; that of an i64 is behind it
        self._null_tests: Mapping[int, int | None] = {}  # position of a ref.is_null -> the type that it tests
        self._more = 0  # locals it needs more: one for the frame, one i32 and one i64 for indirect calls
        self._calls = False  # whether the function calls any other,
        self._gets_refs = False  # and gets externrefs from somewhere
        self._looks_twice = False  # or catches exceptions, or tests references

    def spelling(self, spelling: bytes) -> bytes:
        check_spelling(self.module, spelling)
        return lowered(spelling)

    def address(self, function: int) -> int:
        return self.indirect.address(function)

    def body(self, r: Reader, type_: int, held: bool = False) -> bytes:
        """One entry of the code section; ``held`` says whether the function must keep its parameters in a
        frame."""
        data, entry = r.data, r.pos
        groups = [(r.u32(), value_type(r)) for _ in r.count()]
        start, declared = r.pos, self.module.types[type_]
        frame = len(declared.params) + sum(count for count, _ in groups)
        self._scratch, self._null_tests = frame + 1, {}
        self._calls = self._gets_refs = self._looks_twice = False
        self._more = 0
        inserted = None
        code = self.instructions(r.at(start))
        # Most functions need no second look, which takes a hundred times as long.
        if self._looks_twice or (self._calls and (self._gets_refs or held)):
            locals_ = [(count, spelling[0]) for count, spelling in groups]
            analysis = analyse(self.module, r.at(start), type_, locals_, held)
            self._null_tests = analysis.tests
            inserted = frame_code(analysis, frame, self.to, type_, start, r.end - 1)
            parts: list[bytes] = []
            at = start
            for position, insertion in inserted or ():
                parts += (self.instructions(r.at(at, position)), insertion)
                at = position
            code = b"".join((*parts, self.instructions(r.at(at))))
        more = self._more or 2 * (inserted is not None)
        changed = [(count, self.spelling(spelling)) for count, spelling in groups]
        if not more and changed == groups:
            return sized(data[entry:start] + code)
        if more:
            changed.append((2, _I32))
        if more == 3:
            changed.append((1, _I64))
        return sized(vector(leb(count) + spelling for count, spelling in changed) + code)

    def instructions(self, r: Reader) -> bytes:
        """The lowered form of the instructions ``r.data[r.pos:r.end]``."""
        data, end, pos = r.data, r.end, r.pos
        out: list[bytes] = []
        frequent = self._frequent
        while True:
            run = _unchanged(data, pos, end)
            stop, behind = run.span(1)
            if stop != pos:
                out.append(data[pos:stop])
            if stop != behind:
                instruction = run[1]
                known = frequent.get(instruction)
                if known is None:
                    known = frequent[instruction] = self._indexed(r.at(stop))
                new, calls, gets_refs = known
                out.append(new)
                self._calls |= calls
                self._gets_refs |= gets_refs
                pos = behind
            elif stop >= end:
                return b"".join(out)
            elif stop - pos >= RUN:
                pos = stop  # the run may have been cut off at its longest
            else:
                r.pos = stop
                out.append(self._one(r))
                pos = r.pos

    def _indexed(self, r: Reader) -> tuple[bytes, bool, bool]:
        """What becomes of a call or of an access to a global, and whether it calls and gets an externref."""
        to, op, index = self.to, r.byte(), r.u32()
        if op == opcodes.CALL:
            results = self.module.function_type(index).results
            return b"\x10" + leb(to.function(index)), True, EXTERNREF in results
        new = leb(to.global_(index))
        if self.module.globals[index].type != EXTERNREF:
            return bytes((op,)) + new, False, False
        if op == opcodes.GLOBAL_SET:
            return b"\x23" + new + to.call["move"] + b"\x24" + new, False, False
        return b"\x23" + new, False, True

    def _one(self, r: Reader) -> bytes:
        to, data, pos = self.to, r.data, r.pos
        op = opcode(r)
        if op == opcodes.BR_TABLE:  # nothing changes; to write long ones anew takes a fifth of all time
            skip(r, op)
            return data[pos : r.pos]
        if op == opcodes.RETURN_CALL:
            index = r.u32()
            self._note_call(self.module.functions[index])
            return self.tails.direct(index)
        if op == opcodes.REF_FUNC:
            return b"\xd2" + leb(self.address(r.u32()))
        if op in (opcodes.CALL_INDIRECT, opcodes.RETURN_CALL_INDIRECT):
            type_, table = r.u32(), r.u32()
            self._note_call(type_)
            if op == opcodes.RETURN_CALL_INDIRECT:
                holder = self.tails.indirect(type_, table)
                if holder is not None:
                    return holder
            return self._call_indirect(data[pos : pos + 1], type_, table)
        if op in _HELPERS:
            table = r.u32()
            if table not in to.table:
                self._gets_refs = True
                return to.table_handle[table] + helper_call(to, _HELPERS[op], table)
        elif op in (opcodes.CALL_REF, opcodes.RETURN_CALL_REF):
            type_ = r.u32()
            check_call_ref(self.module, type_)
            self._note_call(type_)
        elif op == opcodes.TRY_TABLE:
            self._looks_twice = True
        elif op == opcodes.TYPED_SELECT:
            types = [value_type(r) for _ in r.count()]
            if types == [b"\x6f"]:
                return b"\x1b"  # on numbers the form without a type means the same
        elif op == opcodes.REF_NULL:
            heap = heap_type(r)
            if heap in (b"\x6f", b"\x72"):
                return b"\x41\x00"
        elif op == opcodes.REF_IS_NULL:
            self._looks_twice = True
            return b"\x45" if self._null_tests.get(pos) == EXTERNREF else b"\xd1"
        elif op == opcodes.TABLE_INIT:
            segment, table = r.u32(), r.u32()
            if table not in to.table:
                return to.table_handle[table] + to.element_handle[segment] + copy_call(to, table)
        elif op == opcodes.ELEM_DROP:
            segment = r.u32()
            if segment not in to.element:
                return to.element_handle[segment] + to.call["drop"]
        elif op == opcodes.TABLE_COPY:
            target, source = r.u32(), r.u32()
            if target not in to.table:
                return to.table_handle[target] + to.table_handle[source] + copy_call(to, target, source)
        elif op in (opcodes.TO_ANY, opcodes.TO_EXTERN):
            raise UnsupportedModuleError(
                "the code converts between externref and anyref, which lowering does not handle"
            )
        # The rest stays as it is, but for indexes.
        r.pos = pos
        return rewritten(r, opcode(r), self.renumber, self.spelling)

    def _note_call(self, type_: int) -> None:
        self._calls = True
        if EXTERNREF in self.module.types[type_].results:
            self._gets_refs = True

    def _call_indirect(self, op: bytes, type_: int, table: int) -> bytes:
        expected, extra = self.indirect.call(type_)
        call = op + leb(expected) + leb(self.to.table[table])
        if not extra:
            return call
        # The index of the function is on top of the arguments, and the extra ones go between.
        wide = self.module.tables[table].limits.wide
        self._more = max(self._more, 2 + wide)
        scratch = self._scratch + wide
        return b"\x21" + leb(scratch) + extra + local_get(scratch) + call
