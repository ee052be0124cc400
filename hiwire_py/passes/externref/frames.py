"""Frames: what the functions on the guest's stack hold is on record, so that the rest can be released.

An object that a guest gets from a host function, and neither stores nor keeps in its hands, should go before
the outermost call returns: such calls may run for hours. So a function that holds externrefs while it calls
others writes them to a frame on a stack of the runtime; a host function may then release every object that
no table slot, no global and no frame holds.

Only what must be there is written. A caller holds its arguments for the callee, so parameters are not
written. A value that is used up before the next call is not written either, so functions like ``hiwire_get``
need no frame. Of the rest, each local has a word in the frame, and each instruction whose result is still on
the operand stack during a call.
"""

from __future__ import annotations

from ...wasm.binary import leb, signed_leb
from ...wasm.code import i32_const, local_get
from ...wasm.types import EXTERNREF
from .analysis import Analysis
from .indexes import IndexMap, lowered

__all__ = ["OPAQUE", "Insertions", "arguments", "frame_code", "holding"]

OPAQUE = -1
"""The word in a frame that says: this function's externrefs are not followed, release nothing meanwhile."""

Insertions = list[tuple[int, bytes]]
"""Positions in the original code, and what goes before the instruction there."""


def frame_code(
    analysis: Analysis, pointer: int, to: IndexMap, type_: int, start: int, end: int
) -> Insertions | None:
    """What to insert into a function so that it keeps a frame; None if it needs none.

    Args:
        pointer: the index of a free i32 local, for the frame's address.
        start, end: where its instructions begin, and the position of the last one, which ends the function.
    """
    words: dict[tuple[str, int], int] = {}
    call, local, frame = to.call, leb(pointer), local_get(pointer)

    def keep(what: tuple[str, int]) -> bytes:
        # keep(id, frame, offset) gives the id back
        offset = 4 * words.setdefault(what, len(words))
        return frame + i32_const(offset) + call["keep"]

    inserted: Insertions = [(at, keep(("made", at))) for at in analysis.made]
    inserted += [(at, keep(("local", index))) for at, index in analysis.assigned if index in analysis.locals]
    opaque = b""
    if analysis.opaque:
        opaque = i32_const(OPAQUE) + keep(("opaque", 0)) + b"\x1a"
    entry = b"".join(local_get(index) + keep(("local", index)) + b"\x1a" for index in analysis.parameters)
    if not words and not analysis.landings:
        return None
    results = [*map(lowered, to.module.subtypes[type_].second)]
    if len(results) > 1:
        block = signed_leb(to.add_type([], results))
    else:
        block = results[0] if results else b"\x40"
    # Frames of functions that an exception has left are given up where it is caught.
    size = i32_const(4 * len(words))
    landing = frame + size + b"\x6a" + call["leave"]
    inserted += [(at, landing) for at in analysis.landings if at <= end]
    leave = frame + call["leave"]
    inserted += [(at, leave) for at in analysis.returns]
    # Branches to the function's own label arrive at the end of a block, where the frame is given up.
    enter = size + call["enter"] + b"\x21" + local + opaque + entry + b"\x02" + block
    inserted += [(start, enter), (end, b"\x0b" + leave)]
    # At one position, what belongs behind the instruction before it comes first.
    return sorted(inserted, key=lambda item: (item[0], item[1][-len(leave) :] == leave))


def holding(to: IndexMap, params: bytes, unused: int, call: bytes) -> bytes:
    """Local variables and code of a function that keeps its parameters in a frame while it calls another with
    them. It has ``unused`` ones behind them; ``call`` is what follows the arguments."""
    refs = [index for index, code in enumerate(params) if code == EXTERNREF]
    pointer = len(params) + unused
    frame = local_get(pointer)
    out = [b"\x01\x01\x7f", i32_const(4 * len(refs)), to.call["enter"], b"\x21", leb(pointer)]
    for word, index in enumerate(refs):
        out += (local_get(index), frame, i32_const(4 * word), to.call["keep"], b"\x1a")
    return b"".join((*out, arguments(len(params)), call, frame, to.call["leave"]))


def arguments(count: int) -> bytes:
    """Code that pushes the first parameters of a function, for a call."""
    return b"".join(map(local_get, range(count)))
