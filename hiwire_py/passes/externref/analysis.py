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

from ...errors import UnsupportedModuleError
from ...wasm import opcodes
from ...wasm.binary import Reader
from ...wasm.code import block_type, catch_clauses, instructions, skip
from ...wasm.instructions import INSTRUCTIONS
from ...wasm.module import Module
from ...wasm.types import EXTERNREF, I32, heap_type, value_type
from .liveness import CALL, GET, SET, Event, live_at_calls
from .stacks import Block, Origin, Stacks, held_origins

__all__ = ["Analysis", "analyse"]

_PUSHES_EXCEPTION = 1  # of the kind of a catch clause


class Analysis(Stacks):
    """What is known of a function.

    Attributes:
        tests: position of a ``ref.is_null`` -> the type it tests; None in dead code.
        made: positions behind instructions whose result, an externref, is in the function's hands during a
            call.
        locals: externref locals that are.
        assigned: positions of ``local.set`` and ``local.tee`` of externrefs, with the local's index.
        parameters: externref parameters that are, where no caller holds them.
        returns: positions of ``return``, and of calls that take the function's place.
        opaque: externrefs go ways that are not followed here (parameters of loops, several results of a
            call, exceptions).
        landings: positions that are reached when an exception is caught: then frames of functions that it has
            left are there still.
    """

    def __init__(self, module: Module, r: Reader, function: int, groups: Sequence[tuple[int, int]]) -> None:
        params, results = module.types[function]
        super().__init__(Block(0, results, opcodes.BLOCK, []))
        self.module = module
        self.r = r
        groups = [*((1, code) for code in params), *groups]
        self.local_ends = list(accumulate(count for count, _ in groups))
        self.local_types = [code for _, code in groups]
        self.landings: set[int] = set()
        self.catching = 0  # blocks that catch exceptions, around here
        self.tests: dict[int, int | None] = {}
        self.made: set[int] = set()
        self.locals: set[int] = set()
        self.parameters: list[int] = []
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
        if op == opcodes.IF:
            self.pop()
        type_ = block_type(self.r)
        if isinstance(type_, int):
            params, results = self.module.types[type_]
        else:
            params, results = b"", type_[:1]
        given = self.pops(len(params))
        if op == opcodes.LOOP and EXTERNREF in params:
            self.opaque = True
        catches = catch_clauses(self.r) if op == opcodes.TRY_TABLE else []
        for kind, tag, depth in catches:
            carried = b"" if tag is None else self.module.tags[tag].functype.params
            label = self.label(depth)
            label.landing = True
            if label.loop:
                self.landings.add(label.start)
            # Nothing holds what an exception carries, while it is on its way or kept.
            self.opaque |= EXTERNREF in carried or (
                kind & _PUSHES_EXCEPTION > 0
                and any(EXTERNREF in thrown.functype.params for thrown in self.module.tags)
            )
        block = Block(len(self.stack), results, op, given, self.r.pos)
        block.catches = [depth for _, _, depth in catches]
        self.catching += bool(catches)
        self.blocks.append(block)
        self.push_all(given)
        self.events.append(("open", op))

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
        self.events.append(("end", opcodes.LOOP if block.loop else 0))

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
            block = self.blocks[-1]
            self.cut(block.height)
            block.dead = True

    def call(self, op: int, at: int) -> None:
        index = self.r.u32()
        if op in (opcodes.CALL, opcodes.RETURN_CALL):
            index = self.module.functions[index]
        else:
            self.pop()
            if op in (opcodes.CALL_INDIRECT, opcodes.RETURN_CALL_INDIRECT):
                self.r.u32()
        params, results = self.module.types[index]
        if op in (opcodes.RETURN_CALL, opcodes.RETURN_CALL_INDIRECT, opcodes.RETURN_CALL_REF):
            self.pops(len(params))
            self.returns.append(at)  # `tails` tells who holds the arguments
            self.branch([], conditional=False)
            return
        self.calls += 1  # before the arguments leave the stack: they are in the caller's hands
        self.pops(len(params))
        self.events.append((CALL, at))
        self.may_throw()
        if len(results) == 1 or EXTERNREF not in results:
            for code in results:
                self.give(code)
        else:
            self.opaque = True
            self.push_all(self.origin() if code == EXTERNREF else code for code in results)

    # ---- locals

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
        if op == opcodes.LOCAL_GET:
            index = r.u32()
            code = self.local_type(index)
            self.give(code, index)
            if code == EXTERNREF:
                self.events.append((GET, index))
        elif op in (opcodes.LOCAL_SET, opcodes.LOCAL_TEE):
            entry = self.pop()
            self.set_local(r.u32(), at)
            if op == opcodes.LOCAL_TEE:
                self.push(entry)
        elif op in (opcodes.BLOCK, opcodes.LOOP, opcodes.IF, opcodes.TRY_TABLE):
            self.open_block(op)
        elif op == opcodes.ELSE:
            self.second_arm()
        elif op == opcodes.END:
            self.close_block()
        elif op in (opcodes.UNREACHABLE, opcodes.RETURN):
            if op == opcodes.RETURN:
                self.returns.append(at)
            self.branch([], conditional=False)
        elif op in (opcodes.BR, opcodes.BR_IF):
            if op == opcodes.BR_IF:
                self.pop()
            self.branch([r.u32()], conditional=op == opcodes.BR_IF)
        elif op == opcodes.BR_TABLE:
            self.pop()
            depths = [r.u32() for _ in range(r.u32() + 1)]
            self.branch(list(dict.fromkeys(depths)), conditional=False)
        elif op == opcodes.BR_ON_NULL:
            entry = self.pop()
            self.branch([r.u32()], conditional=True)
            self.push(entry)
        elif op == opcodes.BR_ON_NON_NULL:
            self.branch([r.u32()], conditional=True)
            self.pop()
        elif op in (opcodes.BR_ON_CAST, opcodes.BR_ON_CAST_FAIL):
            r.byte()
            depth = r.u32()
            heap_type(r)
            heap_type(r)
            self.branch([depth], conditional=True)
        elif op in (opcodes.THROW, opcodes.THROW_REF):
            self.pops(len(self.module.tags[r.u32()].functype.params) if op == opcodes.THROW else 1)
            self.may_throw()
            self.branch([], conditional=False)
        elif op in opcodes.CALLS:
            self.call(op, at)
        elif op == opcodes.DROP:
            self.pop()
        elif op == opcodes.SELECT:
            self.pops(3)
            stack.append(I32)
        elif op == opcodes.TYPED_SELECT:
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
        elif op == opcodes.GLOBAL_GET:
            self.give(self.module.globals[r.u32()].type)
        elif op == opcodes.TABLE_GET:
            self.pop()
            self.give(self.module.tables[r.u32()].element)
        elif op == opcodes.REF_NULL:
            code = heap_type(r)[0]
            self.push(self.origin() if code in (EXTERNREF, 0x72) else code)
        elif op == opcodes.REF_IS_NULL:
            entry = self.pop()
            self.tests[at] = EXTERNREF if isinstance(entry, Origin) else entry
            stack.append(I32)
        elif op == opcodes.REF_AS_NON_NULL:
            self.push(self.pop())
        elif op in (opcodes.STRUCT_NEW, opcodes.ARRAY_NEW_FIXED):
            type_ = self.module.subtypes[r.u32()]
            # In dead code there can be any number, of which none is there.
            self.pops(len(type_.first) if op == opcodes.STRUCT_NEW else min(r.u32(), len(stack) + 1))
            stack.append(I32)
        else:
            raise UnsupportedModuleError(
                f"instruction {op:#x} at byte {at} is not supported: exceptions in their older form"
            )


# Of the instructions with a fixed number of operands, those that move or make references, or look at them.
_FOLLOWED = frozenset(
    (
        opcodes.DROP,
        opcodes.LOCAL_GET,
        opcodes.LOCAL_SET,
        opcodes.LOCAL_TEE,
        opcodes.GLOBAL_GET,
        opcodes.TABLE_GET,
        opcodes.REF_NULL,
        opcodes.REF_IS_NULL,
        opcodes.REF_AS_NON_NULL,
    )
)


def analyse(
    module: Module, code: Reader, function: int, groups: Sequence[tuple[int, int]], held: bool
) -> Analysis:
    """Follow the code of a function of a type. ``groups`` are its declared locals as (count, type); ``held``
    says whether it must hold its parameters, since its caller may be gone."""
    walk = Analysis(module, code, function, groups)
    params = [i for i, t in enumerate(module.types[function].params) if held and t == EXTERNREF]
    walk.events += [(SET, index) for index in params]
    walk.run()
    handed = held_origins(walk.origins)
    locals_ = live_at_calls(walk.events) | {o.local for o in handed if o.local is not None}
    walk.made = {o.end for o in handed if o.end is not None and (o.local is None or o.overtaken)}
    # A parameter that is never assigned is held by the caller.
    walk.locals = locals_.intersection((*params, *(local for _, local in walk.assigned)))
    walk.parameters = [index for index in params if index in locals_]
    return walk
