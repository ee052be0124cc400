"""Rewriting instructions: externref operations become i32 operations and calls of the companion."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import UnsupportedModuleError
from ...wasm.binary import Reader, leb, vector
from ...wasm.code import RUN, opcode, rewritten, runs, skip
from ...wasm.instructions import INSTRUCTIONS, Instruction
from ...wasm.module import Module
from ...wasm.types import EXTERNREF, I32, I64, REF, REF_NULL, heap_type, value_type
from ...wasm.write import Writer
from .added import AddedFunctions, AddedTypes
from .analysis import analyse
from .frames import Insertions, block_type, frame_code
from .indexes import IndexMap
from .indirect import IndirectCalls
from .refusals import check_heap
from .tails import TailCalls
from .wide import WIDE, wide_helper

__all__ = ["CodeLowering"]

_CALL, _CALL_INDIRECT, _RETURN_CALL, _RETURN_CALL_INDIRECT = 0x10, 0x11, 0x12, 0x13
_CALL_REF, _RETURN_CALL_REF = 0x14, 0x15
_CALLS = (_CALL, _CALL_INDIRECT, _RETURN_CALL, _RETURN_CALL_INDIRECT, _CALL_REF, _RETURN_CALL_REF)
_BR_TABLE, _SELECT, _TRY_TABLE = 0x0E, 0x1C, 0x1F
_GLOBAL_GET, _GLOBAL_SET, _TABLE_GET, _TABLE_SET = 0x23, 0x24, 0x25, 0x26
_REF_NULL, _REF_IS_NULL, _REF_FUNC = 0xD0, 0xD1, 0xD2
_TABLE_INIT, _ELEM_DROP, _TABLE_COPY, _TABLE_GROW, _TABLE_SIZE, _TABLE_FILL = range(0xFC000C, 0xFC0012)
_TO_ANY, _TO_EXTERN = 0xFB001A, 0xFB001B

_BY_TABLE = {
    _TABLE_GET: "get",
    _TABLE_SET: "set",
    _TABLE_GROW: "grow",
    _TABLE_SIZE: "size",
    _TABLE_FILL: "fill",
}
_I32, _I64 = bytes((I32,)), bytes((I64,))


def _changes(code: int, instruction: Instruction) -> bool:
    """Whether lowering looks at an instruction: at an index that moves, or a type."""
    return code in (*_CALLS, _REF_IS_NULL, _TO_ANY, _TO_EXTERN) or not set("FGtEhv").isdisjoint(
        instruction.immediates
    )


_unchanged = runs(_changes, (EXTERNREF,), (_CALL, _GLOBAL_GET, _GLOBAL_SET))


class CodeLowering(Writer):
    """Lowers the code of one module."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        to = self.to = IndexMap(module)
        self.renumber = {
            "F": to.function,
            "G": to.global_,
            "t": to.table.__getitem__,
            "E": to.element.__getitem__,
        }
        self.added = AddedTypes(len(module.types))
        self.functions_added = AddedFunctions(to.function(len(module.functions)))
        self.indirect = IndirectCalls(module, _lowered, self.added, self.functions_added, to)
        self.tails = TailCalls(self.indirect)
        self._frequent: dict[bytes, tuple[bytes, bool, bool]] = {}  # what `_indexed` has said, by instruction
        # Of the function being rewritten:
        self._scratch = 0  # a free i32 local, for indirect calls; that of an i64 is behind it
        self._null_tests: Mapping[int, int | None] = {}  # position of a ref.is_null -> the type that it tests
        self._more = 0  # locals it needs more: one for the frame, one i32 and one i64 for indirect calls
        self._calls = False  # whether the function calls any other,
        self._gets_refs = False  # and gets externrefs from somewhere
        self._catches = False  # or catches exceptions,
        self._tests = False  # or tests references

    def spelling(self, spelling: bytes) -> bytes:
        if len(spelling) > 1 or spelling[0] in (0x72,):
            self._check(spelling)
        return _lowered(spelling)

    def _check(self, spelling: bytes) -> None:
        heap = spelling[1:] if spelling[0] in (REF, REF_NULL) else spelling
        index = None if heap[0] & 0xC0 == 0x40 else Reader(heap).s33()
        check_heap(self.module, heap, index)

    def address(self, function: int) -> int:
        return self.indirect.address(function)

    def body(self, r: Reader, type_: int, held: bool = False) -> bytes:
        """One entry of the code section.

        Args:
            r: at it.
            type_: the index of the function's type.
            held: whether the function must keep its parameters in a frame.
        """
        data, entry = r.data, r.pos
        groups = [(r.u32(), value_type(r)) for _ in r.count()]
        start, declared = r.pos, self.module.types[type_]
        frame = len(declared.params) + sum(count for count, _ in groups)
        self._scratch, self._null_tests = frame + 1, {}
        self._calls = self._gets_refs = self._catches = self._tests = False
        self._more = 0
        inserted = None
        code = self.code(r.at(start))
        # Most functions need no second look, which takes a hundred times as long.
        if self._tests or self._catches or (self._calls and (self._gets_refs or held)):
            locals_ = [(count, spelling[0]) for count, spelling in groups]
            analysis = analyse(self.module, r.at(start), type_, locals_, held)
            self._null_tests = analysis.tests
            results = [*map(_lowered, self.module.subtypes[type_].second)]
            result_block = block_type(results, self.added)
            inserted = frame_code(analysis, frame, self.to.call, result_block, start, r.end - 1)
            code = self._with_insertions(r, start, inserted or [])
        more = self._more or 2 * (inserted is not None)
        lowered = [(count, self.spelling(spelling)) for count, spelling in groups]
        if more or lowered != groups:
            if more:
                lowered.append((2, _I32))
            if more == 3:
                lowered.append((1, _I64))
            out = vector(leb(count) + spelling for count, spelling in lowered) + code
        else:
            out = data[entry:start] + code
        return leb(len(out)) + out

    def _with_insertions(self, body: Reader, start: int, inserted: Insertions) -> bytes:
        out: list[bytes] = []
        for at, code in inserted:
            out += (self.code(body.at(start, at)), code)
            start = at
        out.append(self.code(body.at(start)))
        return b"".join(out)

    def code(self, r: Reader) -> bytes:
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
                lowered, calls, gets_refs = known
                out.append(lowered)
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
        if op == _CALL:
            results = self.module.function_type(index).results
            return b"\x10" + leb(to.function(index)), True, EXTERNREF in results
        new = leb(to.global_(index))
        if self.module.globals[index].type != EXTERNREF:
            return bytes((op,)) + new, False, False
        if op == _GLOBAL_SET:
            return b"\x23" + new + to.call["move"] + b"\x24" + new, False, False
        return b"\x23" + new, False, True

    def _one(self, r: Reader) -> bytes:
        to, data, pos = self.to, r.data, r.pos
        op = opcode(r)
        if op == _BR_TABLE:
            skip(r, op)
            return data[pos : r.pos]
        if op == _RETURN_CALL:
            index = r.u32()
            self._note_call(self.module.functions[index])
            return self.tails.direct(index)
        if op == _REF_FUNC:
            return b"\xd2" + leb(self.address(r.u32()))
        if op in (_CALL_INDIRECT, _RETURN_CALL_INDIRECT):
            type_, table = r.u32(), r.u32()
            self._note_call(type_)
            if op == _RETURN_CALL_INDIRECT:
                holder = self.tails.indirect(type_, table)
                if holder is not None:
                    return holder
            return self._call_indirect(data[pos : pos + 1], type_, table)
        if op in _BY_TABLE:
            table = r.u32()
            if table not in to.table:
                self._gets_refs = True
                return to.table_handle[table] + self._helper(_BY_TABLE[op], table)
        elif op in (_CALL_REF, _RETURN_CALL_REF):
            type_ = r.u32()
            check_heap(self.module, b"\0", type_)
            self._note_call(type_)
        elif op == _TRY_TABLE:
            self._catches = True
        elif op == _SELECT:
            types = [value_type(r) for _ in r.count()]
            if types == [b"\x6f"]:
                return b"\x1b"  # on numbers the form without a type means the same
        elif op == _REF_NULL:
            heap = heap_type(r)
            if heap in (b"\x6f", b"\x72"):
                return b"\x41\x00"
            self._check(b"\x63" + heap)
        elif op == _REF_IS_NULL:
            self._tests = True
            return b"\x45" if self._null_tests.get(pos) == EXTERNREF else b"\xd1"
        elif op == _TABLE_INIT:
            segment, table = r.u32(), r.u32()
            if table not in to.table:
                return to.table_handle[table] + to.element_handle[segment] + self.copy(table)
        elif op == _ELEM_DROP:
            segment = r.u32()
            if segment not in to.element:
                return to.element_handle[segment] + to.call["drop"]
        elif op == _TABLE_COPY:
            target, source = r.u32(), r.u32()
            if target not in to.table:
                return to.table_handle[target] + to.table_handle[source] + self.copy(target, source)
        elif op in (_TO_ANY, _TO_EXTERN):
            raise UnsupportedModuleError(
                "the code converts between externref and anyref, which lowering does not handle"
            )
        elif op >> 16 == 0xFB and "h" in _letters(op):
            self._check_casts(r, op)
        # The rest stays as it is, but for indexes.
        r.pos = pos
        return rewritten(r, opcode(r), self.renumber, self.spelling)

    def _helper(self, helper: str, table: int) -> bytes:
        """The call of a helper that takes the handle of a table."""
        call = self.to.call[helper]
        if not self.module.tables[table].limits.wide:
            return call
        return wide_helper(helper, *WIDE[helper], call, self.functions_added, self.added)

    def copy(self, target: int, source: int | None = None) -> bytes:
        """The call that copies from a table, or from a segment, to a table."""
        wide = self.module.tables[target].limits.wide
        from_wide = source is not None and self.module.tables[source].limits.wide
        call = self.to.call["copy"]
        if not wide and not from_wide:
            return call
        operands = "".join("iI"[x] for x in (wide, from_wide, wide and from_wide)) + "HH"
        return wide_helper("copy", operands, "", call, self.functions_added, self.added)

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
        scratch = leb(self._scratch + wide)
        return b"\x21" + scratch + extra + b"\x20" + scratch + call

    def _check_casts(self, r: Reader, op: int) -> None:
        for letter in _letters(op):
            if letter == "h":
                self._check(b"\x63" + heap_type(r))
            elif letter == "1":
                r.byte()
            else:
                r.u32()


def _letters(op: int) -> str:
    return INSTRUCTIONS[op].immediates


def _lowered(spelling: bytes) -> bytes:
    return _I32 if spelling[0] == EXTERNREF else spelling
