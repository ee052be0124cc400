"""Which locals will still be read after a call: a backward walk over the events of a function.

Events are made by `analysis`: ``open``, ``else``, ``end`` of blocks, branches, reads and writes of externref
locals, calls. Going backward, what is live before an event follows from what is live after it; at a branch,
from what is live at its label. A loop's label is its start, which comes last on this way, so the walk is
repeated until nothing changes.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CALL", "GET", "SET", "Event", "live_at_calls"]

CALL: Final = "call"
GET: Final = "get"
SET: Final = "set"
_LOOP, _IF = 0x03, 0x04

Event = tuple[str, int]
"""A name and a number: the local read or written, the opcode that opens a block, the depth a branch goes
to."""


class _Block:
    __slots__ = ("after", "else_", "label")

    def __init__(self, label: frozenset[int], after: frozenset[int]) -> None:
        self.label = label  # live where a branch to this block goes
        self.after = after  # live behind its end
        self.else_: frozenset[int] | None = None  # live at the start of its second arm


def live_at_calls(events: list[Event]) -> set[int]:
    """The locals that are live behind at least one call."""
    if not any(name == CALL for name, _ in events) or not any(name == SET for name, _ in events):
        return set()
    starts = _loop_ends(events)
    loops: dict[int, frozenset[int]] = {}  # live at a loop's start, by the position of its end
    while True:
        found, seen = _backward(events, starts, loops)
        if seen == loops:
            return found
        loops = seen


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


def _backward(
    events: list[Event], ends: dict[int, int], loops: dict[int, frozenset[int]]
) -> tuple[set[int], dict[int, frozenset[int]]]:
    nothing: frozenset[int] = frozenset()
    found: set[int] = set()
    seen: dict[int, frozenset[int]] = {}
    live = nothing
    blocks = [_Block(nothing, nothing)]  # the function itself
    positions = [-1]
    for position in range(len(events) - 1, -1, -1):
        name, number = events[position]
        if name == GET:
            live |= {number}
        elif name == SET:
            live -= {number}
        elif name == CALL:
            found |= live
        elif name == "stop":  # what follows is not reached from here; branches that belong to it come next
            live = nothing
        elif name == "branch":
            live |= blocks[-1 - number].label if number < len(blocks) else nothing
        elif name == "end" and position in ends:
            label = loops.get(position, nothing) if ends[position] == _LOOP else live
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
                seen[end] = live
    return found, seen
