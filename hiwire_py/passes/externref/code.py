"""Rewriting instructions: externref operations become i32 operations and calls of the companion."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ...errors import UnsupportedModuleError
from ...values import EXTERNREF, FUNCREF, I32
from ...wasm.binary import Reader, leb, vector
from ...wasm.module import FUNCTION, GLOBAL, Module
from .analysis import analyse
from .frames import Insertions, block_type, frame_code
from .indirect import IndirectCalls

__all__ = ["HELPERS", "CodeRewriter", "IndexMap", "lower_types"]

# The companion's functions that lowered code calls: name -> count of i32 parameters and results. The last
# parameters are handles of tables. `copy` also does table.init, since a segment of externrefs is a hidden
# table. The last three are about frames.
HELPERS = {
    "get": (2, 1),
    "set": (3, 0),
    "size": (1, 1),
    "grow": (3, 1),
    "fill": (4, 0),
    "copy": (5, 0),
    "drop": (1, 0),
    "move": (2, 1),
    "enter": (1, 1),
    "keep": (3, 1),
    "leave": (1, 0),
}

_RUN = 1000
_LEB = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
# A run of instructions that lowering leaves as they are. This is the decoder, and nearly all of its work is
# done here, in the regular expression engine's C code: instructions are prefix-free and the empty run
# matches, so it never backtracks. The repetition is bounded because the engine's memory grows with it.
_UNCHANGED = re.compile(
    rb"(?:[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4]+"  # no immediates
    rb"|[\x0c\x0d\x20-\x22\x41\x42]"
    + _LEB  # br, br_if, local.*, i32.const, i64.const
    + rb"|[\x02-\x04](?!\x6f)"
    + _LEB  # block, loop, if; but not with the result externref
    + rb"|[\x28-\x3e][\x00-\x3f]"
    + _LEB  # loads and stores; bit 6 would say multi-memory
    + rb"|[\x3f\x40]\x00|\x43.{4}|\x44.{8}"  # memory.size, memory.grow, f32.const, f64.const
    rb"|\xfc(?:[\x00-\x07]|\x08"
    + _LEB
    + rb"\x00|\x09"
    + _LEB
    + rb"|\x0a\x00\x00|\x0b\x00)"  # conversions, bulk memory
    rb"){0,%d}" % _RUN,
    re.DOTALL,
).match

_FEATURES = {
    0x06: "exception handling",
    0x07: "exception handling",
    0x08: "exception handling",
    0x09: "exception handling",
    0x0A: "exception handling",
    0x14: "typed function references",
    0x15: "typed function references",
    0x18: "exception handling",
    0x19: "exception handling",
    0x1F: "exception handling",
    0xD3: "typed function references",
    0xD4: "typed function references",
    0xFB: "garbage collected types",
    0xFD: "SIMD",
    0xFE: "threads",
}


class IndexMap:
    """Where everything of a module goes in its lowered form.

    The companion's functions and one i32 global per externref table or segment are imported after the
    module's own imports, so indexes of what the module defines move up; externref tables and segments leave,
    so others move down.
    """

    def __init__(self, module: Module) -> None:
        self.first_function = module.count_imports(FUNCTION)
        self.first_global = module.count_imports(GLOBAL)
        self.externref_tables = [i for i, t in enumerate(module.tables) if t.element == EXTERNREF]
        self.externref_elements = [i for i, e in enumerate(module.elements) if e.type == EXTERNREF]
        kept_tables = (i for i, t in enumerate(module.tables) if t.element != EXTERNREF)
        kept_elements = (i for i, e in enumerate(module.elements) if e.type != EXTERNREF)
        self.table = {old: new for new, old in enumerate(kept_tables)}
        self.element = {old: new for new, old in enumerate(kept_elements)}
        self.added_globals = len(self.externref_tables) + len(self.externref_elements)
        handles = iter(range(self.first_global, self.first_global + self.added_globals))
        get = b"\x23"
        self.table_handle = {i: get + leb(next(handles)) for i in self.externref_tables}
        self.element_handle = {i: get + leb(next(handles)) for i in self.externref_elements}
        self.call = {h: b"\x10" + leb(self.first_function + n) for n, h in enumerate(HELPERS)}

    def function(self, index: int) -> int:
        return index if index < self.first_function else index + len(HELPERS)

    def global_(self, index: int) -> int:
        return index if index < self.first_global else index + self.added_globals


def lower_types(types: bytes) -> bytes:
    return types.replace(bytes((EXTERNREF,)), bytes((I32,)))


class CodeRewriter:
    """Rewrites the code of one module."""

    def __init__(
        self, module: Module, to: IndexMap, indirect: IndirectCalls, add_type: Callable[[bytes, bytes], int]
    ) -> None:
        self.module = module
        self.to = to
        self.indirect = indirect
        self.add_type = add_type
        self._tests: Mapping[int, int | None] = {}  # position of a ref.is_null -> the type that it tests
        # Of the function being rewritten:
        self._scratch = 0  # the index of a free i32 local, for indirect calls
        self._scratch_used = False
        self._calls = False  # whether it calls any function,
        self._gets_refs = False  # and gets externrefs from somewhere

    def body(self, r: Reader, type_: int) -> bytes:
        """One entry of the code section, read from ``r``; ``type_`` is the index of the function's type."""
        size = r.u32()
        entry = r.pos
        r.take(size)
        body = r.at(entry, r.pos)
        groups = [(body.u32(), body.byte()) for _ in range(body.u32())]
        start = body.pos
        frame = len(self.module.types[type_].params) + sum(count for count, _ in groups)
        self._scratch = frame + 1
        self._calls = self._gets_refs = self._scratch_used = False
        self._tests = {}
        inserted = None
        if r.data.find(b"\xd1", start, body.end) < 0:
            code = self.expression(body)
        if r.data.find(b"\xd1", start, body.end) >= 0 or (self._calls and self._gets_refs):
            analysis = analyse(self.module, body.at(start), type_, groups)
            self._tests = analysis.tests
            result_block = block_type(self.module.types[type_].results, self.add_type)
            inserted = frame_code(analysis, frame, self.to.call, result_block, start, body.end - 1)
            code = self._with_insertions(body, start, inserted or [])
        if inserted is not None or self._scratch_used:
            groups.append((2, I32))
        if groups and (groups[-1] == (2, I32) or any(t == EXTERNREF for _, t in groups)):
            out = vector(leb(count) + lower_types(bytes((t,))) for count, t in groups) + code
        else:
            out = r.data[entry:start] + code
        return leb(len(out)) + out

    def _with_insertions(self, body: Reader, start: int, inserted: Insertions) -> bytes:
        out: list[bytes] = []
        for at, code in inserted:
            out += (self.expression(body.at(start, at)), code)
            start = at
        out.append(self.expression(body.at(start)))
        return b"".join(out)

    def expression(self, r: Reader) -> bytes:
        """The lowered form of the instructions ``r.data[r.pos:r.end]``."""
        data, end, pos = r.data, r.end, r.pos
        out: list[bytes] = []
        while True:
            stop = _UNCHANGED(data, pos, end).end()  # type: ignore[union-attr]  # the empty run always matches
            if stop != pos:
                out.append(data[pos:stop])
                if stop - pos >= _RUN and stop < end:
                    pos = stop
                    continue  # the run may have been cut off at its longest
                pos = stop
            if pos >= end:
                return b"".join(out)
            r.pos = pos
            out.append(self._one(r))
            pos = r.pos

    def _one(self, r: Reader) -> bytes:
        to, data, pos = self.to, r.data, r.pos
        op = r.byte()
        if op == 0x10 or op == 0x12:  # call, return_call
            index = r.u32()
            self._note_call(self.module.functions[index])
            return (
                data[pos : r.pos]
                if index < to.first_function
                else data[pos : pos + 1] + leb(to.function(index))
            )
        if op == 0xD2:  # ref.func
            return b"\xd2" + leb(self.indirect.address(r.u32()))
        if op == 0x23 or op == 0x24:  # global.get, global.set
            index = r.u32()
            new = leb(to.global_(index))
            if self.module.globals[index].type != EXTERNREF:
                return data[pos : pos + 1] + new
            if op == 0x24:
                return b"\x23" + new + to.call["move"] + b"\x24" + new
            self._gets_refs = True
            return b"\x23" + new
        if op == 0x25 or op == 0x26:  # table.get, table.set
            return self._table(r.u32(), data[pos : pos + 1], "get" if op == 0x25 else "set")
        if op == 0x11 or op == 0x13:  # call_indirect, return_call_indirect
            type_ = r.u32()
            self._note_call(type_)
            return self._call_indirect(data[pos : pos + 1], type_, to.table[r.u32()])
        if op == 0x0E:  # br_table
            for _ in range(r.u32() + 1):
                r.u32()
            return data[pos : r.pos]
        if 0x02 <= op <= 0x04:  # block, loop, if with the result externref
            r.byte()
            return bytes((op, I32))
        if op == 0x1C:  # select with a type; on numbers the form without one means the same
            types = r.take(r.u32())
            return b"\x1b" if types == bytes((EXTERNREF,)) else data[pos : r.pos]
        if op == 0xD0:  # ref.null
            type_ = r.byte()
            if type_ not in (EXTERNREF, FUNCREF):
                raise UnsupportedModuleError(f"ref.null of type {type_:#x} at byte {pos} is not supported")
            return b"\x41\x00" if type_ == EXTERNREF else data[pos : r.pos]
        if op == 0xD1:  # ref.is_null
            return b"\x45" if self._tests.get(pos) == EXTERNREF else b"\xd1"
        if op == 0xFC:
            return self._prefixed(r, pos)
        if 0x28 <= op <= 0x3E and not r.u32() & 0x40:  # a load or store whose alignment is written at length
            r.skip_leb()
            return data[pos : r.pos]
        feature = _FEATURES.get(op, "multiple memories" if 0x28 <= op <= 0x40 else f"instruction {op:#x}")
        raise UnsupportedModuleError(f"the code uses {feature} (byte {pos}), which lowering does not handle")

    def _note_call(self, type_: int) -> None:
        self._calls = True
        if EXTERNREF in self.module.types[type_].results:
            self._gets_refs = True

    def _call_indirect(self, op: bytes, type_: int, table: int) -> bytes:
        expected, extra = self.indirect.call(type_)
        if not extra:
            return op + leb(expected) + leb(table)
        # The index of the function is on top of the arguments, and the extra ones go between.
        self._scratch_used = True
        scratch = leb(self._scratch)
        return b"\x21" + scratch + extra + b"\x20" + scratch + op + leb(expected) + leb(table)

    def _prefixed(self, r: Reader, pos: int) -> bytes:
        to = self.to
        sub = r.u32()
        if sub <= 7:
            return r.data[pos : r.pos]
        first = r.u32()
        if sub in (0x08, 0x0A):  # memory.init, memory.copy with indexes written at length
            if r.u32() or (sub == 0x0A and first):
                raise UnsupportedModuleError(
                    "the code uses multiple memories, which lowering does not handle"
                )
            return r.data[pos : r.pos]
        if sub == 0x09 or (sub == 0x0B and not first):  # data.drop, memory.fill
            return r.data[pos : r.pos]
        if sub == 0x0C:  # table.init
            table = r.u32()
            if table in to.table:
                return b"\xfc\x0c" + leb(to.element[first]) + leb(to.table[table])
            return to.table_handle[table] + to.element_handle[first] + to.call["copy"]
        if sub == 0x0D:  # elem.drop
            if first in to.element:
                return b"\xfc\x0d" + leb(to.element[first])
            return to.element_handle[first] + to.call["drop"]
        if sub == 0x0E:  # table.copy
            source = r.u32()
            if first in to.table:
                return b"\xfc\x0e" + leb(to.table[first]) + leb(to.table[source])
            return to.table_handle[first] + to.table_handle[source] + to.call["copy"]
        if 0x0F <= sub <= 0x11:
            return self._table(first, b"\xfc" + leb(sub), ("grow", "size", "fill")[sub - 0x0F])
        raise UnsupportedModuleError(f"instruction 0xfc {sub:#x} at byte {pos} is not supported")

    def _table(self, table: int, plain: bytes, helper: str) -> bytes:
        if table in self.to.table:
            return plain + leb(self.to.table[table])
        self._gets_refs = True
        return self.to.table_handle[table] + self.to.call[helper]
