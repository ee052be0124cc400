"""Walking code, and writing instructions again with other indexes.

Most of what a pass meets in code it leaves as it is. `runs` makes a matcher for that: it steps over
instructions in the regular expression engine's C code, some hundred times as fast as `rewritten` does one by
one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from ..errors import UnsupportedModuleError
from .binary import Reader, leb, signed_leb, vector
from .instructions import INSTRUCTIONS, PREFIXES, Instruction
from .opcodes import END
from .types import REF_NULL, heap_type, value_type

__all__ = [
    "RUN",
    "UNCHANGED",
    "Renumber",
    "block_type",
    "catch_clauses",
    "expression",
    "i32_const",
    "instructions",
    "local_get",
    "opcode",
    "rewritten",
    "runs",
    "skip",
]

Renumber = Mapping[str, Callable[[int], int]]
"""By the letter of an immediate, what becomes of an index."""

UNCHANGED: Final[Renumber] = dict.fromkeys("FTtMGEDXxnl", int)
"""All indexes stay as they are."""

_SIZES: Final = {"1": 1, "4": 4, "8": 8, "w": 16}
_MEMORY = 0x40  # among an access' flags: the index of a memory follows


def opcode(r: Reader) -> int:
    """The next instruction's opcode, as `INSTRUCTIONS` has it.

    Raises:
        UnsupportedModuleError: there is no such instruction.
    """
    at = r.pos
    code = r.byte()
    if code in PREFIXES:
        code = code << 16 | min(r.u32(), 0xFFFF)
    if code not in INSTRUCTIONS:
        text = f"{code >> 16:#x} {code & 0xFFFF:#x}" if code > 0xFF else f"{code:#x}"
        raise UnsupportedModuleError(f"instruction {text} at byte {at} is not supported")
    return code


def skip(r: Reader, code: int) -> None:
    """Step over the immediates of an instruction whose opcode has just been read."""
    for letter in INSTRUCTIONS[code].immediates:
        if letter in _SIZES:
            r.take(_SIZES[letter])
        else:
            _READ.get(letter, Reader.u32)(r)


def instructions(r: Reader) -> Iterator[tuple[int, int]]:
    """The position and the opcode of each instruction from here on; the reader stands behind the opcode.

    Whoever reads the immediates leaves the reader behind the last of them; where it has not been moved, they
    are stepped over.
    """
    while r.pos < r.end:
        at = r.pos
        code = opcode(r)
        here = r.pos
        yield at, code
        if r.pos == here:
            skip(r, code)


def expression(r: Reader) -> tuple[int, int]:
    """Step over a constant expression; its span, ``end`` included."""
    start = r.pos
    while True:
        code = opcode(r)
        if code == END:
            return start, r.pos
        skip(r, code)


def block_type(r: Reader) -> bytes | int:
    """The type of a block: its result's spelling, or none, or the index of a function type."""
    code = r.peek()
    if code == 0x40:
        r.byte()
        return b""
    if code & 0xC0 == 0x40:
        return value_type(r)
    index = r.signed(33)
    if index < 0:
        raise UnsupportedModuleError(f"malformed block type at byte {r.pos}")
    return index


def rewritten(r: Reader, code: int, renumber: Renumber, spelling: Callable[[bytes], bytes] = bytes) -> bytes:
    """An instruction whose opcode has just been read, written anew in its shortest form.

    ``spelling`` gives what becomes of value types. It is also given references to heap types, to refuse them.
    """
    out = [bytes((code,)) if code <= 0xFF else bytes((code >> 16,)) + leb(code & 0xFFFF)]
    for letter in INSTRUCTIONS[code].immediates:
        if letter in renumber:
            out.append(leb(renumber[letter](r.u32())))
        elif letter in _SIZES:
            out.append(r.take(_SIZES[letter]))
        else:
            out.append(_WRITE[letter](r, renumber, spelling))
    return b"".join(out)


def local_get(index: int) -> bytes:
    return b"\x20" + leb(index)


def i32_const(number: int) -> bytes:
    return b"\x41" + signed_leb(number)


_Write = Callable[[Reader, Renumber, Callable[[bytes], bytes]], bytes]


def _access(r: Reader, renumber: Renumber, spelling: object) -> bytes:
    flags = r.u32()
    if flags > 0x7F:
        raise UnsupportedModuleError(f"malformed alignment at byte {r.pos}")
    memory = b""
    if flags & _MEMORY:
        index = renumber["M"](r.u32())
        memory = leb(index)
        if not index:
            flags, memory = flags & ~_MEMORY, b""
    return leb(flags) + memory + leb(r.u64())


def _block(r: Reader, renumber: Renumber, spelling: Callable[[bytes], bytes]) -> bytes:
    type_ = block_type(r)
    if isinstance(type_, int):
        return signed_leb(renumber["T"](type_))
    return spelling(type_) if type_ else b"\x40"


def _heap(r: Reader, renumber: Renumber, spelling: Callable[[bytes], bytes]) -> bytes:
    heap = heap_type(r)
    spelling(bytes((REF_NULL,)) + heap)
    if len(heap) == 1 and heap[0] & 0xC0 == 0x40:
        return heap
    return signed_leb(renumber["T"](Reader(heap).signed(33)))


def _labels(r: Reader, renumber: Renumber, spelling: object) -> bytes:
    return vector(leb(r.u32()) for _ in r.count()) + leb(r.u32())


def _skip_labels(r: Reader) -> None:
    count = r.u32() + 1
    short = r.data[r.pos : min(r.pos + count, r.end)]
    if len(short) == count and max(short) < 0x80:
        r.pos += count  # each is one byte, as nearly always; interpreters have tens of thousands of them
        return
    for _ in range(count):
        r.u32()


def _clauses(r: Reader, renumber: Renumber, spelling: object) -> bytes:
    clauses = []
    for kind, tag, label in catch_clauses(r):
        name = b"" if tag is None else leb(renumber["X"](tag))
        clauses.append(bytes((kind,)) + name + leb(label))
    return vector(clauses)


def catch_clauses(r: Reader) -> list[tuple[int, int | None, int]]:
    """The catch clauses of a try_table: kind, tag and label of each. Kinds 1 and 3 push the exception, too; 2
    and 3 have no tag."""
    found: list[tuple[int, int | None, int]] = []
    for _ in r.count():
        kind = r.byte()
        if kind > 3:
            raise UnsupportedModuleError(f"malformed catch clause at byte {r.pos}")
        found.append((kind, None if kind & 2 else r.u32(), r.u32()))
    return found


_WRITE: Final[dict[str, _Write]] = {
    "a": _access,
    "b": _block,
    "h": _heap,
    "i": lambda r, renumber, spelling: signed_leb(r.signed(32)),
    "I": lambda r, renumber, spelling: signed_leb(r.signed(64)),
    "v": lambda r, renumber, spelling: vector(spelling(value_type(r)) for _ in r.count()),
    "L": _labels,
    "Y": _clauses,
}
_READ: Final[dict[str, Callable[[Reader], object]]] = {
    "a": lambda r: _access(r, UNCHANGED, bytes),
    "b": block_type,
    "h": heap_type,
    "i": Reader.skip_leb,
    "I": Reader.skip_leb,
    "v": lambda r: [value_type(r) for _ in r.count()],
    "L": _skip_labels,
    "Y": catch_clauses,
}


# ---- runs of instructions that stay as they are

RUN: Final = 1000
"""How many instructions a run has at most: the regular expression engine's memory grows with it."""

_LEB = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_PATTERNS: Final = {
    **dict.fromkeys((*UNCHANGED, *"iI"), _LEB),
    **{letter: b".{%d}" % size for letter, size in _SIZES.items()},
    "a": rb"(?:[\x00-\x3f]|[\x40-\x7f]" + _LEB + rb")" + _LEB,
    "h": _LEB,
}


def runs(
    changes: Callable[[int, Instruction], bool],
    results: Collection[int],
    last: Collection[int],
    first_memory: bool = False,
) -> Callable[[bytes, int, int], re.Match[bytes]]:
    """A function that steps over instructions of one kind: takes the code, a position and the code's end.

    What it gives is the match of a run, which may be empty, and may have been cut off at `RUN` instructions.
    Group 1 of it is one more instruction behind the run, if that is one of ``last``.

    Args:
        changes: says of an instruction whether a run ends before it. It always does before one whose
            immediates have a vector or are written at length.
        results: codes of value types; a run ends before a block of such a result.
        last: opcodes of instructions that have one index.
        first_memory: whether a run also ends before accesses that name their memory, as those to others than
            the first do.
    """
    excluded = b"".join(b"\\x%02x" % code for code in (*results, 0x63, 0x64))
    patterns = {**_PATTERNS, "b": b"(?![" + excluded + b"])" + _LEB}
    if first_memory:
        patterns["a"] = rb"[\x00-\x3f]" + _LEB
    alternatives = []
    for prefix in (0, *PREFIXES):
        groups: dict[bytes, list[bytes]] = {}
        for code, instruction in INSTRUCTIONS.items():
            letters = instruction.immediates
            if (
                code >> 16 == prefix
                and not changes(code, instruction)
                and all(x in patterns for x in letters)
            ):
                number = leb(code & 0xFFFF) if prefix else bytes((code,))
                groups.setdefault(b"".join(patterns[x] for x in letters), []).append(number)
        inner = [_any_of(opcodes, pattern) for pattern, opcodes in groups.items()]
        if prefix and inner:
            alternatives.append(b"\\x%02x(?:%b)" % (prefix, b"|".join(inner)))
        else:
            alternatives += inner
    indexed = b"[%b]" % b"".join(b"\\x%02x" % code for code in last) + _LEB
    # Instructions are prefix-free and the empty run matches, so this never backtracks, and always matches.
    pattern = b"(?:%b){0,%d}((?:%b)?)" % (b"|".join(alternatives), RUN, indexed)
    return re.compile(pattern, re.DOTALL).match  # type: ignore[return-value]


def _any_of(opcodes: list[bytes], immediates: bytes) -> bytes:
    firsts: dict[bytes, list[bytes]] = {}  # by what follows the first byte
    for code in opcodes:
        firsts.setdefault(code[1:], []).append(b"\\x%02x" % code[0])
    parts = [b"[%b]%b" % (b"".join(some), re.escape(rest)) for rest, some in firsts.items()]
    return b"(?:%b)" % b"|".join(parts) + immediates
