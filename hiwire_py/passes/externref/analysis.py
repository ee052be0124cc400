"""What a function does with externrefs: the operand stack and locals are followed as in validation.

Two questions are answered here (core specification, appendix "Validation Algorithm", for the walk itself):

* Which reference type does each ``ref.is_null`` test? The instruction does not say.
* Which externrefs are in this function's hands while it calls another? They must be found there when a host
  function releases what no one holds: see `frames`.

An externref on the stack is known by its *origins*: the instructions it may come from. What happened to it
while it was there is found out when it leaves the stack, by counting calls and assignments: nothing is looked
through at each of them, so that the walk takes time in proportion to the code.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple, Union

from ...errors import UnsupportedModuleError
from ...values import EXTERNREF, FUNCREF, I32
from ...wasm.binary import Reader
from ...wasm.module import Module
from .liveness import CALL, GET, SET, Event, live_at_calls

__all__ = ["Analysis", "analyse"]

_UNARY = frozenset(
    (
        0x45,
        0x50,
        *range(0x67, 0x6A),
        *range(0x79, 0x7C),
        *range(0x8B, 0x92),
        *range(0x99, 0xA0),
        *range(0xA7, 0xC5),
    )
)
# The instructions 0xfc n that give no reference: operands, results, immediates. 0..7 are conversions.
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


class _Origin:
    """Where an externref comes from: an instruction, or one of several places where ways flow together.

    Attributes:
        end: the position behind the instruction; None if there is none, or none that needs to be known.
        local: the local that the instruction reads, if it does.
        parts: the places.
        held: whether it was on the stack during a call.
        overtaken: whether the local was set while its older value was on the stack; where there are parts,
            whether any local was.
    """

    __slots__ = ("end", "held", "local", "overtaken", "parts")

    def __init__(self, end: int | None = None, local: int | None = None) -> None:
        self.end = end
        self.local = local
        self.parts: list[_Origin] = []
        self.held = self.overtaken = False


_Entry = Union[int, _Origin, None]
"""On the operand stack: a type (all numbers are I32), an externref's origin, or None: open, in dead code."""


class Analysis(NamedTuple):
    """What is known of a function.

    Attributes:
        tests: position of a ``ref.is_null`` -> the type it tests; None in dead code.
        made: positions behind instructions whose result, an externref, is in the function's hands during a
            call.
        locals: externref locals that are.
        assigned: for these locals the positions of ``local.set`` and ``local.tee``, with the local's index.
        returns: positions of ``return``.
        opaque: externrefs go ways that are not followed here (parameters of loops, several results of a
            call).
    """

    tests: dict[int, int | None]
    made: set[int]
    locals: set[int]
    assigned: list[tuple[int, int]]
    returns: list[int]
    opaque: bool


class _Frame:
    """A block being read: its types, the stack's height at its start, and whether the rest of it is dead
    code."""

    __slots__ = ("dead", "given", "height", "loop", "one_arm", "results")

    def __init__(self, height: int, results: bytes, op: int, given: list[_Entry]) -> None:
        self.height = height
        self.results: list[_Entry] = [_Origin() if t == EXTERNREF else t for t in results]
        self.loop = op == 0x03
        self.one_arm = op == 0x04
        self.given = given
        self.dead = False


class _Walk:
    def __init__(self, module: Module, r: Reader, function: int, groups: Sequence[tuple[int, int]]) -> None:
        self.module = module
        self.r = r
        params, results = module.types[function]
        groups = [*((1, code) for code in params), *groups]
        self.local_ends = list(accumulate(count for count, _ in groups))
        self.local_types = [code for _, code in groups]
        self.stack: list[_Entry] = []
        self.since: list[
            tuple[int, int]
        ] = []  # `calls` and `sets` when each externref on the stack came there
        self.calls = self.sets = 0
        self.last_set: dict[int, int] = {}  # local -> `sets` when it was set last
        self.origins: list[_Origin] = []
        self.frames = [_Frame(0, results, 0x02, [])]
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

    def push(self, entry: _Entry) -> None:
        self.stack.append(entry)
        if isinstance(entry, _Origin):
            self.since.append((self.calls, self.sets))

    def push_all(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            self.push(entry)

    def pop(self) -> _Entry:
        frame = self.frames[-1]
        if len(self.stack) > frame.height:
            entry = self.stack.pop()
            if isinstance(entry, _Origin):
                self.note_time(entry)
            return entry
        if frame.dead:
            return None
        raise UnsupportedModuleError("the code takes operands that are not there")

    def note_time(self, origin: _Origin) -> None:
        """An externref has left the stack: what happened while it was there?"""
        calls, sets = self.since.pop()
        if calls != self.calls:
            origin.held = True
        if sets != self.sets:
            local = origin.local
            origin.overtaken |= bool(origin.parts) or (
                local is not None and self.last_set.get(local, 0) > sets
            )

    def cut(self, height: int) -> None:
        """Take everything above ``height`` off the stack."""
        stack = self.stack
        while len(stack) > height:
            entry = stack.pop()
            if isinstance(entry, _Origin):
                self.note_time(entry)

    def effect(self, operands: int, results: int) -> None:
        for _ in range(operands):
            self.pop()
        self.stack.extend([I32] * results)

    def origin(self, end: int | None = None, local: int | None = None) -> _Origin:
        made = _Origin(end, local)
        self.origins.append(made)
        return made

    def give(self, code: int, local: int | None = None) -> None:
        """Push a value that the instruction just read gives."""
        self.push(self.origin(self.r.pos, local) if code == EXTERNREF else code)

    def end_of_code(self) -> None:
        frame = self.frames[-1]
        self.cut(frame.height)
        frame.dead = True

    # ---- control

    def open_block(self, op: int) -> None:
        if op == 0x04:
            self.pop()
        code = self.r.data[self.r.pos] if self.r.pos < self.r.end else 0
        if 0x40 <= code <= 0x7F:
            self.r.byte()
            params, results = b"", b"" if code == 0x40 else bytes((code,))
        else:
            params, results = self.module.types[self.r.u32()]
        given = [self.pop() for _ in params][::-1]
        if op == 0x03 and EXTERNREF in params:
            self.opaque = True
        self.frames.append(_Frame(len(self.stack), results, op, given))
        self.push_all(given)
        self.events.append(("open", op))

    def flow_to(self, frame: _Frame, given: list[_Entry] | None = None) -> None:
        """What is on top of the stack, or ``given``, becomes the results of a block."""
        count = len(frame.results)
        if given is None:
            given = self.stack[max(self.frames[-1].height, len(self.stack) - count) :]
        for i, entry in enumerate(given, count - len(given)):
            wanted = frame.results[i]
            if isinstance(wanted, _Origin) and isinstance(entry, _Origin):
                wanted.parts.append(entry)

    def label(self, depth: int) -> _Frame:
        if depth >= len(self.frames):
            raise UnsupportedModuleError("the code branches to a block that does not exist")
        return self.frames[-1 - depth]

    def close_block(self) -> None:
        frame = self.frames[-1]
        self.flow_to(frame)
        if frame.one_arm:
            self.flow_to(frame, frame.given)
        self.frames.pop()
        self.cut(frame.height)
        self.origins.extend(result for result in frame.results if isinstance(result, _Origin))
        self.push_all(frame.results)
        self.events.append(("end", 0))

    def second_arm(self) -> None:
        frame = self.frames[-1]
        self.flow_to(frame)
        frame.one_arm = frame.dead = False
        self.cut(frame.height)
        self.push_all(frame.given)
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
        if op in (0x11, 0x13):  # call_indirect, return_call_indirect
            type_ = r.u32()
            r.u32()
            self.pop()
        else:
            index = r.u32()
            type_ = self.module.functions[index]
        self.calls += 1  # before the arguments leave the stack: they are in the caller's hands
        params, results = self.module.types[type_]
        for _ in params:
            self.pop()
        self.events.append((CALL, at))
        if op in (0x12, 0x13):
            self.events.append(("stop", 0))
            self.opaque |= EXTERNREF in params  # the callee's caller, who should hold them, is gone
            self.end_of_code()
        elif len(results) == 1 or EXTERNREF not in results:
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
        r = self.r
        while r.pos < r.end:
            if not self.frames:
                raise UnsupportedModuleError("a function's code goes on after its end")
            at = r.pos
            self.step(r.byte(), at)

    def step(self, op: int, at: int) -> None:
        r, stack = self.r, self.stack
        if 0x45 <= op <= 0xC4:
            self.effect(1 if op in _UNARY else 2, 1)
        elif op == 0x20:  # local.get
            self.get_local(r.u32())
        elif op == 0x21:  # local.set
            self.pop()
            self.set_local(r.u32(), at)
        elif op == 0x22:  # local.tee
            entry = self.pop()
            self.set_local(r.u32(), at)
            self.push(entry)
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
            if op == 0x0F:
                self.returns.append(at)
            self.branch([], conditional=False)
        elif op == 0x0C:  # br
            self.branch([r.u32()], conditional=False)
        elif op == 0x0D:  # br_if
            depth = r.u32()
            self.pop()
            self.branch([depth], conditional=True)
        elif op == 0x0E:  # br_table
            depths = [r.u32() for _ in range(r.u32() + 1)]
            self.pop()
            self.branch(list(dict.fromkeys(depths)), conditional=False)
        elif 0x10 <= op <= 0x13:
            self.call(op, at)
        elif op == 0x1A:  # drop
            self.pop()
        elif op == 0x1B:  # select, numbers only
            self.effect(3, 1)
        elif op == 0x1C:  # select with a type
            types = r.take(r.u32())
            self.pop()
            one, other = self.pop(), self.pop()
            known = one if one is not None else other
            if known is None:
                known = self.origin() if EXTERNREF in types else types[0]
            elif isinstance(one, _Origin) and isinstance(other, _Origin):
                known = self.origin()
                known.parts += (one, other)
            self.push(known)
        elif op == 0x23:  # global.get
            self.give(self.module.globals[r.u32()].type)
        elif op == 0x24:  # global.set
            r.u32()
            self.pop()
        elif op == 0x25:  # table.get
            self.pop()
            self.give(self.module.tables[r.u32()].element)
        elif op == 0x26:  # table.set
            r.u32()
            self.pop()
            self.pop()
        elif op == 0xD0:  # ref.null
            code = r.byte()
            self.push(self.origin() if code == EXTERNREF else code)
        elif op == 0xD1:  # ref.is_null
            entry = self.pop()
            self.tests[at] = EXTERNREF if isinstance(entry, _Origin) else entry
            stack.append(I32)
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


def analyse(module: Module, code: Reader, function: int, groups: Sequence[tuple[int, int]]) -> Analysis:
    """Follow a function's code.

    Args:
        module: the module the code is part of.
        code: a cursor over the function's instructions.
        function: the index of the function's type.
        groups: its declared locals as (count, type).
    """
    walk = _Walk(module, code, function, groups)
    walk.run()
    held = _held(walk.origins)
    # A parameter that is never assigned is held by the caller.
    changing = {local for _, local in walk.assigned}
    locals_ = live_at_calls(walk.events) | {o.local for o in held if o.local is not None}
    made = {o.end for o in held if o.end is not None and (o.local is None or o.overtaken)}
    return Analysis(
        walk.tests,
        made,
        locals_ & changing,
        [a for a in walk.assigned if a[1] in locals_],
        walk.returns,
        walk.opaque,
    )


def _held(origins: list[_Origin]) -> list[_Origin]:
    """Those that are held; what holds for one where ways flow together holds for its parts."""
    waiting = [origin for origin in origins if origin.parts and (origin.held or origin.overtaken)]
    while waiting:
        origin = waiting.pop()
        for part in origin.parts:
            marks = part.held, part.overtaken
            part.held |= origin.held
            part.overtaken |= origin.overtaken
            if part.parts and marks != (part.held, part.overtaken):
                waiting.append(part)
    return [origin for origin in origins if origin.held]
