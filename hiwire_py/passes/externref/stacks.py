"""The operand stack and the blocks around the instruction that is being read, as validation keeps them (core
specification, appendix "Validation Algorithm"), and where the externrefs on the stack come from.

An externref is known by its *origins*: the instructions it may come from. What happened to it while it was on
the stack is found out when it leaves, by counting calls and assignments: nothing is looked through at each of
them, so that the walk takes time in proportion to the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from ...errors import UnsupportedModuleError
from ...wasm import opcodes
from ...wasm.types import EXTERNREF

__all__ = ["Block", "Entry", "Origin", "Stacks", "held_origins"]


class Origin:
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
        self.parts: list[Origin] = []
        self.held = self.overtaken = False


Entry = Union[int, Origin, None]
"""On the operand stack: an externref's origin, None: open, in dead code, or a type, where I32 can stand for
any."""


class Block:
    """A block being read: its types, the stack's height at its start, and whether the rest of it is dead
    code."""

    __slots__ = ("catches", "dead", "given", "height", "landing", "loop", "one_arm", "results", "start")

    def __init__(self, height: int, results: bytes, op: int, given: list[Entry], start: int = 0) -> None:
        self.height = height
        self.results: list[Entry] = [Origin() if t == EXTERNREF else t for t in results]
        self.loop = op == opcodes.LOOP
        self.one_arm = op == opcodes.IF
        self.given = given
        self.start = start
        self.dead = False
        self.catches: list[int] = []  # where exceptions go: how many blocks outside of this one
        self.landing = False  # whether one is a target of that


class Stacks:
    """The operands and the blocks of a function.

    Attributes:
        stack: the operands.
        blocks: the function itself and the blocks around, from the outside to the inside.
        origins: all that have been made.
        calls, sets: how many calls, and assignments to externref locals, there were.
        last_set: local -> `sets` when it was set last.

    Args:
        function: stands for the function itself.
    """

    def __init__(self, function: Block) -> None:
        self.stack: list[Entry] = []
        self.blocks = [function]
        self.origins: list[Origin] = []
        self.calls = self.sets = 0
        self.last_set: dict[int, int] = {}
        self._since: list[tuple[int, int]] = []  # `calls` and `sets` when each externref on the stack came

    def push(self, entry: Entry) -> None:
        self.stack.append(entry)
        if isinstance(entry, Origin):
            self._since.append((self.calls, self.sets))

    def push_all(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.push(entry)

    def pop(self) -> Entry:
        block = self.blocks[-1]
        if len(self.stack) > block.height:
            return self._take()
        if block.dead:
            return None
        raise UnsupportedModuleError("the code takes operands that are not there")

    def pops(self, count: int) -> list[Entry]:
        return [self.pop() for _ in range(count)][::-1]

    def _take(self) -> Entry:
        entry = self.stack.pop()
        if isinstance(entry, Origin):
            # What happened while it was on the stack?
            calls, sets = self._since.pop()
            if calls != self.calls:
                entry.held = True
            if sets != self.sets:
                local = entry.local
                entry.overtaken |= bool(entry.parts) or (
                    local is not None and self.last_set.get(local, 0) > sets
                )
        return entry

    def cut(self, height: int) -> None:
        """Take everything above ``height`` off the stack."""
        while len(self.stack) > height:
            self._take()

    def origin(self, end: int | None = None, local: int | None = None) -> Origin:
        made = Origin(end, local)
        self.origins.append(made)
        return made

    def flow_to(self, block: Block, given: list[Entry] | None = None) -> None:
        """What is on top of the stack, or ``given``, becomes the results of a block."""
        count = len(block.results)
        if given is None:
            given = self.stack[max(self.blocks[-1].height, len(self.stack) - count) :]
        for i, entry in enumerate(given, count - len(given)):
            wanted = block.results[i]
            if isinstance(wanted, Origin) and isinstance(entry, Origin):
                wanted.parts.append(entry)

    def label(self, depth: int) -> Block:
        if depth >= len(self.blocks):
            raise UnsupportedModuleError("the code branches to a block that does not exist")
        return self.blocks[-1 - depth]


def held_origins(origins: list[Origin]) -> list[Origin]:
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
