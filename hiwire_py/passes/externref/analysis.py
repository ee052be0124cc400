"""What a function does with externrefs: the operand stack and locals are followed as in validation.

Two questions are answered here:

* Which reference type does each ``ref.is_null`` test? The instruction does not say.
* Which externrefs are in this function's hands while it calls another? They must be found there when a host
  function releases what no one holds: see `frames`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ...errors import UnsupportedModuleError
from ...wasm.binary import Reader
from ...wasm.code import block_type, catch_clauses, instructions, skip
from ...wasm.instructions import INSTRUCTIONS
from ...wasm.module import Module
from ...wasm.types import EXTERNREF, I32, heap_type, value_type
from .liveness import CALL, GET, SET, Event, live_at_calls
from .stacks import Block, Origin, Stacks, held_origins

__all__ = ["Analysis", "analyse"]

_UNREACHABLE, _BLOCK, _LOOP, _IF, _ELSE, _END, _RETURN, _DROP = 0x00, 0x02, 0x03, 0x04, 0x05, 0x0B, 0x0F, 0x1A
_THROW, _THROW_REF, _TRY_TABLE = 0x08, 0x0A, 0x1F
_BR, _BR_IF, _BR_TABLE, _BR_ON_NULL, _BR_ON_NON_NULL = 0x0C, 0x0D, 0x0E, 0xD5, 0xD6
_BR_ON_CAST, _BR_ON_CAST_FAIL = 0xFB0018, 0xFB0019
_CALL, _CALL_INDIRECT, _RETURN_CALL, _RETURN_CALL_INDIRECT = 0x10, 0x11, 0x12, 0x13
_CALL_REF, _RETURN_CALL_REF = 0x14, 0x15
_SELECT, _TYPED_SELECT = 0x1B, 0x1C
_LOCAL_GET, _LOCAL_SET, _LOCAL_TEE, _GLOBAL_GET, _TABLE_GET = 0x20, 0x21, 0x22, 0x23, 0x25
_REF_NULL, _REF_IS_NULL, _REF_AS_NON_NULL = 0xD0, 0xD1, 0xD4
_STRUCT_NEW, _ARRAY_NEW_FIXED = 0xFB0000, 0xFB0008
_PUSHES_EXCEPTION = 1  # of the kind of a catch clause


class Analysis(NamedTuple):
    """What is known of a function.

    Attributes:
        tests: position of a ``ref.is_null`` -> the type it tests; None in dead code.
        made: positions behind instructions whose result, an externref, is in the function's hands during a
            call.
        locals: externref locals that are.
        assigned: for these locals the positions of ``local.set`` and ``local.tee``, with the local's index.
        parameters: externref parameters that are, where no caller holds them.
        returns: positions of ``return``, and of calls that take the function's place.
        opaque: externrefs go ways that are not followed here (parameters of loops, several results of a
            call, exceptions).
        landings: positions that are reached when an exception is caught: then frames of functions that it has
            left are there still.
    """

    tests: dict[int, int | None]
    made: set[int]
    locals: set[int]
    assigned: list[tuple[int, int]]
    parameters: list[int]
    returns: list[int]
    opaque: bool
    landings: set[int]


class _Walk(Stacks):
    def __init__(self, module: Module, r: Reader, function: int, groups: Sequence[tuple[int, int]]) -> None:
        params, results = module.types[function]
        super().__init__(Block(0, results, _BLOCK, []))
        self.module = module
        self.r = r
        groups = [*((1, code) for code in params), *groups]
        self.local_ends = list(accumulate(count for count, _ in groups))
        self.local_types = [code for _, code in groups]
        self.landings: set[int] = set()
        self.catching = 0  # blocks that catch exceptions, around here
        self.tests: dict[int, int | None] = {}
        self.assigned: list[tuple[int, int]] = []
        self.returns: list[int] = []
        self.events: list[Event] = []
        self.opaque = False

    # ---- operands

    def local_type(self, index: int) -> int:
        group = bisect_right(self.local_ends, index)
        if group == len(self.local_ends):
            raise UnsupportedModuleError("the code uses a local that does not exist")
        return self.local_types[group]

    def give(self, code: int, local: int | None = None) -> None:
        """Push a value that the instruction just read gives."""
        self.push(self.origin(self.r.pos, local) if code == EXTERNREF else code)

    # ---- control

    def open_block(self, op: int) -> None:
        if op == _IF:
            self.pop()
        type_ = block_type(self.r)
        if isinstance(type_, int):
            params, results = self.module.types[type_]
        else:
            params, results = b"", type_[:1]
        given = [self.pop() for _ in params][::-1]
        if op == _LOOP and EXTERNREF in params:
            self.opaque = True
        catches = catch_clauses(self.r) if op == _TRY_TABLE else []
        for kind, tag, depth in catches:
            carried = b"" if tag is None else self.module.tags[tag].functype.params
            label = self.label(depth)
            label.landing = True
            if label.loop:
                self.landings.add(label.start)
            # Nothing holds what an exception carries, while it is on its way or kept.
            self.opaque |= EXTERNREF in carried or (kind & _PUSHES_EXCEPTION > 0 and self.carried())
        block = Block(len(self.stack), results, op, given, self.r.pos)
        block.catches = [depth for _, _, depth in catches]
        self.catching += bool(catches)
        self.blocks.append(block)
        self.push_all(given)
        self.events.append(("open", op))

    def carried(self) -> bool:
        """Whether any exception of the module carries externrefs."""
        return any(EXTERNREF in tag.functype.params for tag in self.module.tags)

    def may_throw(self) -> None:
        """What is live where exceptions are caught is so here, too."""
        if self.catching:
            for distance, block in enumerate(reversed(self.blocks)):
                for depth in block.catches:
                    self.events.append(("branch", distance + 1 + depth))

    def close_block(self) -> None:
        block = self.blocks[-1]
        self.flow_to(block)
        if block.one_arm:
            self.flow_to(block, block.given)
        self.blocks.pop()
        self.catching -= bool(block.catches)
        if block.landing and not block.loop:
            self.landings.add(self.r.pos)
        self.cut(block.height)
        self.origins.extend(result for result in block.results if isinstance(result, Origin))
        self.push_all(block.results)
        self.events.append(("end", 0))

    def second_arm(self) -> None:
        block = self.blocks[-1]
        self.flow_to(block)
        block.one_arm = block.dead = False
        self.cut(block.height)
        self.push_all(block.given)
        self.events.append(("else", 0))

    def branch(self, depths: list[int], conditional: bool) -> None:
        for depth in depths:
            label = self.label(depth)
            if not label.loop:  # a branch to a loop goes to its start
                self.flow_to(label)
            self.events.append(("branch", depth))
        if not conditional:
            self.events.append(("stop", 0))
            self.end_of_code()

    def call(self, op: int, at: int) -> None:
        r = self.r
        if op in (_CALL_INDIRECT, _RETURN_CALL_INDIRECT):
            type_ = r.u32()
            r.u32()
            self.pop()
        elif op in (_CALL_REF, _RETURN_CALL_REF):
            type_ = r.u32()
            self.pop()
        else:
            index = r.u32()
            type_ = self.module.functions[index]
        params, results = self.module.types[type_]
        if op in (_RETURN_CALL, _RETURN_CALL_INDIRECT, _RETURN_CALL_REF):
            for _ in params:
                self.pop()
            self.returns.append(at)  # `tails` tells who holds the arguments
            self.branch([], conditional=False)
            return
        self.calls += 1  # before the arguments leave the stack: they are in the caller's hands
        for _ in params:
            self.pop()
        self.events.append((CALL, at))
        self.may_throw()
        if len(results) == 1 or EXTERNREF not in results:
            for code in results:
                self.give(code)
        else:
            self.opaque = True
            self.push_all(self.origin() if code == EXTERNREF else code for code in results)

    # ---- locals

    def get_local(self, index: int) -> None:
        code = self.local_type(index)
        self.give(code, index)
        if code == EXTERNREF:
            self.events.append((GET, index))

    def set_local(self, index: int, at: int) -> None:
        if self.local_type(index) == EXTERNREF:
            self.sets += 1
            self.last_set[index] = self.sets
            self.assigned.append((at, index))
            self.events.append((SET, index))

    # ---- the walk

    def run(self) -> None:
        for at, op in instructions(self.r):
            if not self.blocks:
                raise UnsupportedModuleError("a function's code goes on after its end")
            operands, results, _ = INSTRUCTIONS[op]
            if operands < 0 or op in _FOLLOWED:
                self.step(op, at)
            else:
                skip(self.r, op)
                for _ in range(operands):
                    self.pop()
                self.stack.extend([I32] * results)

    def step(self, op: int, at: int) -> None:
        r, stack = self.r, self.stack
        if op == _LOCAL_GET:
            self.get_local(r.u32())
        elif op == _LOCAL_SET:
            self.pop()
            self.set_local(r.u32(), at)
        elif op == _LOCAL_TEE:
            entry = self.pop()
            self.set_local(r.u32(), at)
            self.push(entry)
        elif op in (_BLOCK, _LOOP, _IF, _TRY_TABLE):
            self.open_block(op)
        elif op == _ELSE:
            self.second_arm()
        elif op == _END:
            self.close_block()
        elif op in (_UNREACHABLE, _RETURN):
            if op == _RETURN:
                self.returns.append(at)
            self.branch([], conditional=False)
        elif op == _BR:
            self.branch([r.u32()], conditional=False)
        elif op == _BR_IF:
            depth = r.u32()
            self.pop()
            self.branch([depth], conditional=True)
        elif op == _BR_TABLE:
            depths = [r.u32() for _ in r.count()]
            depths.append(r.u32())
            self.pop()
            self.branch(list(dict.fromkeys(depths)), conditional=False)
        elif op == _BR_ON_NULL:
            entry = self.pop()
            self.branch([r.u32()], conditional=True)
            self.push(entry)
        elif op == _BR_ON_NON_NULL:
            self.branch([r.u32()], conditional=True)
            self.pop()
        elif op in (_BR_ON_CAST, _BR_ON_CAST_FAIL):
            r.byte()
            depth = r.u32()
            heap_type(r)
            heap_type(r)
            self.branch([depth], conditional=True)
        elif op in (_THROW, _THROW_REF):
            for _ in self.module.tags[r.u32()].functype.params if op == _THROW else b"1":
                self.pop()
            self.may_throw()
            self.branch([], conditional=False)
        elif op in _CALLS:
            self.call(op, at)
        elif op == _DROP:
            self.pop()
        elif op == _SELECT:
            for _ in range(3):
                self.pop()
            stack.append(I32)
        elif op == _TYPED_SELECT:
            types = [value_type(r)[0] for _ in r.count()]
            self.pop()
            one, other = self.pop(), self.pop()
            known = one if one is not None else other
            if known is None:
                known = self.origin() if EXTERNREF in types else types[0]
            elif isinstance(one, Origin) and isinstance(other, Origin):
                known = self.origin()
                known.parts += (one, other)
            self.push(known)
        elif op == _GLOBAL_GET:
            self.give(self.module.globals[r.u32()].type)
        elif op == _TABLE_GET:
            self.pop()
            self.give(self.module.tables[r.u32()].element)
        elif op == _REF_NULL:
            code = heap_type(r)[0]
            self.push(self.origin() if code in (EXTERNREF, 0x72) else code)
        elif op == _REF_IS_NULL:
            entry = self.pop()
            self.tests[at] = EXTERNREF if isinstance(entry, Origin) else entry
            stack.append(I32)
        elif op == _REF_AS_NON_NULL:
            self.push(self.pop())
        elif op in (_STRUCT_NEW, _ARRAY_NEW_FIXED):
            type_ = self.module.subtypes[r.u32()]
            for _ in range(len(type_.first) if op == _STRUCT_NEW else r.u32()):
                self.pop()
            stack.append(I32)
        else:
            raise UnsupportedModuleError(
                f"instruction {op:#x} at byte {at} is not supported: exceptions in their older form"
            )


_CALLS = frozenset((_CALL, _CALL_INDIRECT, _RETURN_CALL, _RETURN_CALL_INDIRECT, _CALL_REF, _RETURN_CALL_REF))
# Of the instructions with a fixed number of operands, those that move or make references, or look at them.
_FOLLOWED = frozenset(
    (
        _DROP,
        _LOCAL_GET,
        _LOCAL_SET,
        _LOCAL_TEE,
        _GLOBAL_GET,
        _TABLE_GET,
        _REF_NULL,
        _REF_IS_NULL,
        _REF_AS_NON_NULL,
    )
)


def analyse(
    module: Module, code: Reader, function: int, groups: Sequence[tuple[int, int]], held: bool
) -> Analysis:
    """Follow a function's code.

    Args:
        module: the module the code is part of.
        code: a cursor over the function's instructions.
        function: the index of the function's type.
        groups: its declared locals as (count, type).
        held: whether it must hold its parameters: its caller may be gone.
    """
    walk = _Walk(module, code, function, groups)
    params = [i for i, t in enumerate(module.types[function].params) if held and t == EXTERNREF]
    walk.events += [(SET, index) for index in params]
    walk.run()
    handed = held_origins(walk.origins)
    # A parameter that is never assigned is held by the caller.
    changing = {*params, *(local for _, local in walk.assigned)}
    locals_ = live_at_calls(walk.events) | {o.local for o in handed if o.local is not None}
    made = {o.end for o in handed if o.end is not None and (o.local is None or o.overtaken)}
    return Analysis(
        walk.tests,
        made,
        locals_ & changing,
        [a for a in walk.assigned if a[1] in locals_],
        [index for index in params if index in locals_],
        walk.returns,
        walk.opaque,
        walk.landings,
    )
