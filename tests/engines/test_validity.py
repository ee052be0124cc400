"""Invalid modules are refused, with a sentence, by every engine; native compiles no C of them.

The oracle is wasmtime's validation. scripts/fuzz_modules.py has many more.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from support import wat

from hiwire_py import Guest, UnsupportedModuleError, engines, lower
from hiwire_py.engines.native import build as native_build
from hiwire_py.engines.native import compile as native_compile

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
    "globals twice": wat('(module (global (export "g") externref (ref.null extern)))')
    + _section(6, b"\1\x6f\0\xd0\x6f\x0b"),
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


@pytest.mark.parametrize("what", ["sections in another order", "a section twice", "globals twice"])
def test_sections_out_of_order(what: str) -> None:
    """Lowering, which trusts the order, says so by itself."""
    module = INVALID[what]
    with pytest.raises(UnsupportedModuleError, match="comes twice, or after one that it must come before"):
        lower(module)


@pytest.mark.skipif(not _NATIVE.available, reason=f"native: {_NATIVE.reason}")
def test_no_c_of_invalid_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None that is invalid gets as far as the C compiler, though wasm2c takes some."""
    compiled: list[Path] = []
    monkeypatch.setattr(native_build, "compile_source", lambda source, *rest: compiled.append(source))
    for module in INVALID.values():
        with pytest.raises(UnsupportedModuleError):
            native_compile.compile_native(module, tmp_path)
    assert not compiled
