"""Sites: the places in code that name a function, a table or anything else by its index.

Whoever changes indexes finds the sites once, and then copies what lies between them: most of a body stays as
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..errors import UnsupportedModuleError
from .binary import Reader, leb, signed_leb
from .code import opcode, runs
from .instructions import INSTRUCTIONS
from .opcodes import CALL, GLOBAL_GET, GLOBAL_SET
from .types import REF, REF_NULL, heap_type

__all__ = ["Site", "body_sites", "code_sites", "spliced"]

_INDEXES = frozenset("FTtMGEDX")
_LAST = {CALL: "F", GLOBAL_GET: "G", GLOBAL_SET: "G"}
_SIZES = {"1": 1, "4": 4, "8": 8, "w": 16}
_MEMORY = 0x40  # among the flags of an access: the index of a memory follows


class Site(NamedTuple):
    """Attributes:
    start, end: where it is in the module's bytes.
    letter: what is named: one of ``FTtMGEDX`` of instructions.py; ``a``: a memory, by the flags of an access;
        ``b`` and ``h``: a type, as the type of a block or a heap type.
    number: its index.
    code: the opcode of the instruction; 0 in the types of locals.
    """

    start: int
    end: int
    letter: str
    number: int
    code: int


_NO_RESULT = (*range(0x40), *range(0x80, 0x100))  # how the type of a block begins that is an index
_step_over = runs(
    lambda _, one: bool(set(one.immediates) & (_INDEXES | {"a", "h"})), _NO_RESULT, tuple(_LAST)
)


def body_sites(r: Reader) -> list[Site]:
    """The sites of an entry of the code section, from its locals on."""
    found: list[Site] = []
    for _ in r.count():
        r.u32()
        _value_type(r, 0, found)
    return found + code_sites(r)


def code_sites(r: Reader) -> list[Site]:
    """The sites in instructions, to the reader's end."""
    found: list[Site] = []
    data, end = r.data, r.end
    while r.pos < end:
        run = _step_over(data, r.pos, end)
        r.pos = run.end()
        start = run.start(1)
        if start < r.pos:
            code = data[start]
            index = Reader(data, start + 1, r.pos).u32()
            found.append(Site(start + 1, r.pos, _LAST[code], index, code))
        elif r.pos < end:
            code = opcode(r)
            for letter in INSTRUCTIONS[code].immediates:
                _READ.get(letter, _number)(r, code, found, letter)
    return found


def spliced(
    data: bytes, start: int, end: int, sites: Iterable[Site], index: Callable[[str, int], int]
) -> bytes:
    """A part of a module with other indexes.

    Args:
        sites: those between start and end, in order.
        index: what becomes of an index, by its letter, which is ``T`` for all types and ``M`` for memories.
    """
    out = []
    for site in sites:
        out.append(data[start : site.start])
        start = site.end
        if site.letter == "a":
            memory = index("M", site.number)
            flags = data[site.start] & ~_MEMORY
            out.append(bytes((flags | _MEMORY,)) + leb(memory) if memory else bytes((flags,)))
        elif site.letter in "bh":
            out.append(signed_leb(index("T", site.number)))
        else:
            out.append(leb(index(site.letter, site.number)))
    out.append(data[start:end])
    return b"".join(out)


def _number(r: Reader, code: int, found: list[Site], letter: str) -> None:
    """A local, a label or a number that does not name anything; or an index."""
    start = r.pos
    if letter in _INDEXES:
        found.append(Site(start, start, letter, r.u32(), code)._replace(end=r.pos))
    elif letter in _SIZES:
        r.take(_SIZES[letter])
    else:
        r.skip_leb()


def _access(r: Reader, code: int, found: list[Site], letter: str) -> None:
    start = r.pos
    flags = r.byte()
    if flags > 0x7F:
        raise UnsupportedModuleError(f"malformed alignment at byte {start}")
    memory = r.u32() if flags & _MEMORY else 0
    found.append(Site(start, r.pos, "a", memory, code))
    r.u64()


def _block(r: Reader, code: int, found: list[Site], letter: str) -> None:
    start, first = r.pos, r.peek()
    if first & 0xC0 == 0x40 and first != 0x40:
        _value_type(r, code, found)
        return
    index = r.signed(33)
    if index >= 0:
        found.append(Site(start, r.pos, "b", index, code))


def _value_type(r: Reader, code: int, found: list[Site]) -> None:
    if r.byte() in (REF, REF_NULL):
        _heap(r, code, found, "h")


def _heap(r: Reader, code: int, found: list[Site], letter: str) -> None:
    start = r.pos
    heap = heap_type(r)
    if len(heap) > 1 or heap[0] & 0xC0 != 0x40:
        found.append(Site(start, r.pos, "h", Reader(heap).signed(33), code))


def _value_types(r: Reader, code: int, found: list[Site], letter: str) -> None:
    for _ in r.count():
        _value_type(r, code, found)


def _labels(r: Reader, code: int, found: list[Site], letter: str) -> None:
    for _ in range(r.u32() + 1):
        r.u32()


def _clauses(r: Reader, code: int, found: list[Site], letter: str) -> None:
    for _ in r.count():
        if not r.byte() & 2:
            _number(r, code, found, "X")
        r.u32()


_READ = {
    "a": _access,
    "b": _block,
    "h": _heap,
    "v": _value_types,
    "L": _labels,
    "Y": _clauses,
}
