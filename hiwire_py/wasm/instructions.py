"""All instructions: how many operands and results each has, and what follows its opcode.

Instructions with an opcode of two parts, a prefix and a number, are known here by ``prefix << 16 | number``.
What follows the opcode, the *immediates*, is one letter each:

    F T t M G   the index of a function, type, table, memory or global
    E D X       the index of a segment of elements or of data, or of a tag
    x n l       the index of a local, another number, how many blocks a branch leaves
    i I         a signed number of 32 or 64 bits
    1 4 8 w     so many bytes; 16 bytes
    a           alignment, memory and offset of an access
    b h v       the type of a block; a heap type; a vector of value types
    L Y         the targets of br_table; the catch clauses of try_table

Format: WebAssembly core specification 3.0, section 5.4, and the proposals of threads, exceptions in their
older form, and wide arithmetic.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["INSTRUCTIONS", "PREFIXES", "Instruction"]

PREFIXES: Final = (0xFB, 0xFC, 0xFD, 0xFE)


class Instruction(NamedTuple):
    """Attributes:
    operands, results: how many; -1 where that depends on types, or where the flow of control changes.
    immediates: their letters.
    """

    operands: int
    results: int
    immediates: str = ""


_VARIES = -1
# Each line: opcodes, operands, results, immediates. A hyphen stands between the first and the last of some.
_CORE = """
00,05,0b,0f . .             ; unreachable, else, end, return
01 0 0                      ; nop
02-04,06 . . b              ; block, loop, if, try
07,08 . . X                 ; catch, throw
09,0c,0d,18 . . l           ; rethrow, br, br_if, delegate
0a,19 . .                   ; throw_ref, catch_all
0e . . L                    ; br_table
10,12 . . F                 ; call, return_call
11,13 . . Tt                ; call_indirect, return_call_indirect
14,15 . . T                 ; call_ref, return_call_ref
1a 1 0                      ; drop
1b . .                      ; select
1c . . v                    ; select with types
1f . . bY                   ; try_table
20 0 1 x                    ; local.get
21 1 0 x                    ; local.set
22 1 1 x                    ; local.tee
23 0 1 G                    ; global.get
24 1 0 G                    ; global.set
25 1 1 t                    ; table.get
26 2 0 t                    ; table.set
28-35 1 1 a                 ; loads
36-3e 2 0 a                 ; stores
3f 0 1 M                    ; memory.size
40 1 1 M                    ; memory.grow
41 0 1 i
42 0 1 I
43 0 1 4
44 0 1 8
45,50,67-69,79-7b,8b-91,99-9f,a7-c4 1 1
46-4f,51-66,6a-78,7c-8a,92-98,a0-a6 2 1
d0 0 1 h                    ; ref.null
d1 1 1                      ; ref.is_null
d2 0 1 F                    ; ref.func
d3 2 1                      ; ref.eq
d4 1 1                      ; ref.as_non_null
d5,d6 . . l                 ; br_on_null, br_on_non_null
"""
_GC = """
00 . . T                    ; struct.new
01 0 1 T                    ; struct.new_default
02-04 1 1 Tn                ; struct.get
05 2 0 Tn                   ; struct.set
06 2 1 T                    ; array.new
07 1 1 T                    ; array.new_default
08 . . Tn                   ; array.new_fixed
09 2 1 TD                   ; array.new_data
0a 2 1 TE                   ; array.new_elem
0b-0d 2 1 T                 ; array.get
0e 3 0 T                    ; array.set
0f 1 1                      ; array.len
10 4 0 T                    ; array.fill
11 5 0 TT                   ; array.copy
12 4 0 TD                   ; array.init_data
13 4 0 TE                   ; array.init_elem
14-17 1 1 h                 ; ref.test, ref.cast
18-19 . . 1lhh              ; br_on_cast, br_on_cast_fail
1a-1e 1 1                   ; conversions of externrefs; i31
"""
_BULK = """
00-07 1 1                   ; conversions
08 3 0 DM                   ; memory.init
09 0 0 D                    ; data.drop
0a 3 0 MM                   ; memory.copy
0b 3 0 M                    ; memory.fill
0c 3 0 Et                   ; table.init
0d 0 0 E                    ; elem.drop
0e 3 0 tt                   ; table.copy
0f 2 1 t                    ; table.grow
10 0 1 t                    ; table.size
11 3 0 t                    ; table.fill
13-14 4 2                   ; 128-bit sums
15-16 2 2                   ; 128-bit products
"""
_SIMD = """
00-0a,5c-5d 1 1 a           ; loads
0b 2 0 a                    ; v128.store
0c 0 1 w                    ; v128.const
0d 2 1 w                    ; i8x16.shuffle
0e,23-4c,4e-51 2 1
0f-14,4d,53 1 1
15-16,18-19,1b,1d,1f,21 1 1 1
17,1a,1c,1e,20,22 2 1 1
52 3 1                      ; v128.bitselect
54-57 2 1 a1                ; loads of a lane
58-5b 2 0 a1                ; stores of a lane
5e-64,67-6a,74-75,7a,7c-81,83-84,87-8a,94,a0-a1,a3-a4,a7-aa,c0-c1,c3-c4,c7-ca,e0-e1,e3,ec-ed,ef,f8-ff 1 1
65-66,6b-73,76-79,7b,82,85-86,8b-93,95-99,9b-9f,ab-ae,b1,b5-ba,bc-bf,cb-ce,d1,d5-df,e4-eb,f0-f7 2 1
101-104 1 1
100,10d-112 2 1
105-10c,113 3 1
"""
_THREADS = """
00,1e-47 2 1 a              ; notify, read-modify-write
01-02,48-4e 3 1 a           ; waits, compare and exchange
03 0 0 1                    ; atomic.fence
10-16 1 1 a                 ; loads
17-1d 2 0 a                 ; stores
"""


def _read(prefix: int, text: str) -> dict[int, Instruction]:
    found = {}
    for line in text.strip().splitlines():
        opcodes, operands, results, *immediates = line.partition(";")[0].split()
        count, given = (_VARIES if word == "." else int(word) for word in (operands, results))
        instruction = Instruction(count, given, *immediates)
        for part in opcodes.split(","):
            first, _, last = part.partition("-")
            for number in range(int(first, 16), int(last or first, 16) + 1):
                found[prefix << 16 | number] = instruction
    return found


INSTRUCTIONS: Final[dict[int, Instruction]] = {
    opcode: instruction
    for prefix, text in zip((0, *PREFIXES), (_CORE, _GC, _BULK, _SIMD, _THREADS))
    for opcode, instruction in _read(prefix, text).items()
}
