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

__all__ = ["CALL", "GET", "SET", "Event", "live_at_calls"]

CALL: Final = "call"
GET: Final = "get"
SET: Final = "set"
_LOOP, _IF = 0x03, 0x04
_MOST_WALKS = 8

Event = tuple[str, int]
"""A name and a number: the local read or written, the opcode that opens a block, the depth a branch goes
to."""


class _Block:
    __slots__ = ("after", "else_", "label")

    def __init__(self, label: int, after: int) -> None:
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
    walk = _Walk(events, followed)
    for _ in range(_MOST_WALKS):
        if walk.backward():
            return {local for local in followed if walk.found & walk.bits[local]}
    return set(followed)


def _loop_ends(events: list[Event]) -> dict[int, int]:
    """Position of a block's end -> the opcode that opened it."""
    opened: list[int] = []
    ends = {}
    for position, (name, number) in enumerate(events):
        if name == "open":
            opened.append(number)
        elif name == "end" and opened:
            ends[position] = opened.pop()
    return ends


class _Walk:
    """Attributes:
    found: locals that are live behind some call.
    loops: what is live at a loop's start, by the position of its end.
    """

    def __init__(self, events: list[Event], followed: list[int]) -> None:
        self.events = events
        self.bits = {local: 1 << i for i, local in enumerate(followed)}
        self.ends = _loop_ends(events)
        self.found = 0
        self.loops: dict[int, int] = {}

    def backward(self) -> bool:
        """Walk once. Whether this changed nothing that the walk began with."""
        events, bits, ends, loops = self.events, self.bits, self.ends, self.loops
        found, live, same = self.found, 0, True
        blocks = [_Block(0, 0)]  # the function itself
        positions = [-1]
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
            elif name == "end" and position in ends:
                label = loops.get(position, 0) if ends[position] == _LOOP else live
                blocks.append(_Block(label, live))
                positions.append(position)
            elif name == "else":
                blocks[-1].else_ = live
                live = blocks[-1].after
            elif name == "open":
                block = blocks.pop()
                end = positions.pop()
                if number == _IF:
                    live |= block.after if block.else_ is None else block.else_
                elif number == _LOOP:
                    before = loops.get(end, 0)
                    if live & ~before:
                        same = False
                    loops[end] = before | live
        self.found = found
        return same
