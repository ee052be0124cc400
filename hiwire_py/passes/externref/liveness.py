"""Which locals will still be read after a call: a backward walk over the events of a function.

Events are made by `analysis`: ``open``, ``else``, ``end`` of blocks, branches, reads and writes of externref
locals, calls. Going backward, what is live before an event follows from what is live after it; at a branch,
from what is live at its label. A loop's label is its start, which comes last on this way, so the walk is
repeated until nothing changes.

Once a local is known to be live behind some call it is not followed any further, so few are at a time. Sets
of locals are the bits of an integer, as each branch needs its own. Together with the bound on the repetitions
this takes time in proportion to the code.
"""

from __future__ import annotations

from typing import Final

from ...wasm import opcodes

__all__ = ["CALL", "GET", "SET", "Event", "live_at_calls"]

CALL: Final = "call"
GET: Final = "get"
SET: Final = "set"
_MOST_WALKS = 8

Event = tuple[str, int]
"""A name and a number: the local read or written, the opcode that opens a block, `LOOP` at a loop's end, the
depth a branch goes to."""


class _Block:
    __slots__ = ("after", "else_", "end", "label")

    def __init__(self, end: int, label: int, after: int) -> None:
        self.end = end  # the position of that event
        self.label = label  # live where a branch to this block goes
        self.after = after  # live behind its end
        self.else_: int | None = None  # live at the start of its second arm


def live_at_calls(events: list[Event]) -> set[int]:
    """The locals that are live behind at least one call. Those that are never set or never read do not count.

    In a function with so many loops within loops that the walk would have to be repeated more than
    `_MOST_WALKS` times, all other locals are.
    """
    read = {number for name, number in events if name == GET}
    written = {number for name, number in events if name == SET}
    followed = sorted(read & written)
    if not followed or not any(name == CALL for name, _ in events):
        return set()
    bits = {local: 1 << i for i, local in enumerate(followed)}
    loops: dict[int, int] = {}
    found, same = 0, False
    for _ in range(_MOST_WALKS):
        found, same = _backward(events, bits, loops, found)
        if same:
            return {local for local in followed if found & bits[local]}
    return set(followed)


def _backward(
    events: list[Event], bits: dict[int, int], loops: dict[int, int], found: int
) -> tuple[int, bool]:
    """Walk once: which locals are ``found`` to be live behind some call, and whether ``loops`` stayed as it
    was. It has what is live at a loop's start, by the position of its end, and is brought up to date."""
    live, same = 0, True
    blocks: list[_Block] = []
    for position in range(len(events) - 1, -1, -1):
        name, number = events[position]
        if name == GET:
            live |= bits.get(number, 0) & ~found
        elif name == SET:
            live &= ~bits.get(number, 0)
        elif name == CALL:
            found |= live
            live = 0
        elif name == "stop":
            live = 0  # what follows is not reached from here; branches that belong to it come next
        elif name == "branch":
            live |= blocks[-1 - number].label & ~found if number < len(blocks) else 0
        elif name == "end":
            blocks.append(_Block(position, loops.get(position, 0) if number == opcodes.LOOP else live, live))
        elif name == "else":
            blocks[-1].else_ = live
            live = blocks[-1].after
        elif name == "open":
            block = blocks.pop()
            if number == opcodes.IF:
                live |= block.after if block.else_ is None else block.else_
            elif number == opcodes.LOOP:
                before = loops.get(block.end, 0)
                if live & ~before:
                    same = False
                loops[block.end] = before | live
    return found, same
