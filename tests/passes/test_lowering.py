"""The lowering pass: what it makes is valid, says what it was, and no input breaks it."""

from __future__ import annotations

import json
import os
import random
import time

import pytest
import wasmtime
from support import guest_file, wat

from hiwire_py import UnsupportedModuleError, lower, needs_lowering
from hiwire_py.passes.externref.code import CodeLowering
from hiwire_py.passes.externref.indirect import spell_out
from hiwire_py.sources import VARIANTS, shipped
from hiwire_py.values import EXTERNREF, F32, F64, FUNCREF, I32, I64, FuncType
from hiwire_py.wasm.binary import Reader
from hiwire_py.wasm.module import Module

SEED = int(os.environ.get("HIWIRE_FUZZ_SEED", "1"))
MUTATIONS = int(os.environ.get("HIWIRE_FUZZ_CALLS", "2000"))
ENGINE = wasmtime.Engine()


def valid(wasm: bytes) -> bool:
    try:
        wasmtime.Module.validate(ENGINE, wasm)
    except wasmtime.WasmtimeError:
        return False
    return True


def custom_sections(wasm: bytes) -> dict[str, bytes]:
    found = {}
    for kind, start, end in Module.parse(wasm).sections:
        if kind == 0:
            r = Reader(wasm, start, end)
            name = r.name()
            found[name] = wasm[r.pos : end]
    return found


def test_shipped_modules() -> None:
    """hiwire itself: lowered it is valid and without externref."""
    for variant in VARIANTS:
        low = lower(shipped(variant))
        assert valid(low)
        module = Module.parse(low)
        assert not any(t.has_externref for t in module.types)
        assert all(t.element == FUNCREF for t in module.tables)


def test_everything() -> None:
    """The module with every instruction; its description has the original types."""
    low = lower(guest_file("everything"))
    assert valid(low)
    description = json.loads(custom_sections(low)["externref"])
    assert description["exports"]["pair"] == [["i32", "externref"], ["externref", "i32"]]
    assert ["env", "make", [["i32"], ["externref"]]] in description["imports"]
    assert [t["handle"] for t in description["tables"]] == ["t0", "t2", "e3"]


def test_needs_lowering() -> None:
    """Only where an externref can cross the module's boundary; others stay byte for byte."""
    for text, needed in [
        ("", False),
        ('(func (export "f") (param i32))', False),
        ("(table 3 externref)", False),
        ('(table (export "t") 3 externref)', True),
        ('(import "a" "t" (table 3 externref))', True),
        ('(import "a" "g" (global externref))', True),
        ('(global (export "g") externref (ref.null extern))', True),
        ("(func (param externref))", True),
        ("(func (param funcref))", True),
    ]:
        module = wat(f"(module {text})")
        assert needs_lowering(module) is needed
        assert (lower(module) != module) is needed
        assert lower(lower(module)) == lower(module)


def test_names_move_along() -> None:
    """The name section fits the new indexes, as a debugger reads it; a malformed one is dropped."""
    module = wat("""(module (import "env" "f" (func $imported (param externref)))
      (global $number i32 (i32.const 1)) (func $mine (param $x externref) (call $imported (local.get $x)))
      (func $other) (export "mine" (func $mine)))""")
    names = custom_sections(lower(module))["name"]
    for expected in (b"imported", b"mine", b"other", b"externref.get", b"number"):
        assert expected in names
    broken = bytearray(module)
    at = broken.index(b"imported")
    broken[at - 1] = 0x7F
    assert "name" not in custom_sections(lower(bytes(broken)))


def test_ref_is_null_in_the_wrong_place_for_guessing() -> None:
    """The operand's type is followed through blocks, branches and dead code."""
    body = """(func (export "f") (param externref funcref) (result i32) (local i32)
      (block (result externref) (local.get 0)) ref.is_null
      (if (result funcref) (local.get 2) (then (local.get 1)) (else (ref.null func))) ref.is_null i32.add
      (block (result i32) (br 0 (i32.const 1)) ref.is_null) i32.add
      (loop (result i32) (local.tee 2 (ref.is_null (local.get 1)))) i32.add)"""
    low = lower(wat(f"(module {body})"))
    assert valid(low)


def test_long_forms_of_integers() -> None:
    """Integers may be padded in the binary format: alignments and indexes of memories among them."""
    module = bytearray(
        wat(
            '(module (memory 1) (func (export "f") (param externref) (result i32) (i32.load align=4 (i32.const 0))))'
        )
    )
    at = module.index(b"\x28\x02\x00\x0b")
    module[at : at + 4] = b"\x28\x82\x00\x00\x0b"
    size = module.index(b"\x0a", at - 12)  # the code section: one byte longer, and so is the body
    module[size + 1] += 1
    module[size + 3] += 1
    assert valid(bytes(module)) and valid(lower(bytes(module)))


def test_long_runs_of_plain_instructions() -> None:
    """Code in which thousands of instructions stay as they are, of every kind."""
    for plain in (
        "(drop (i32.const 5))",
        "(nop)",
        "(local.set 1 (local.get 1))",
        "(i32.store (i32.const 8) (i32.const 1))",
    ):
        for count in (499, 500, 999, 1000, 1001, 5000):
            text = f'(func (export "f") (param externref i32) (result externref) {plain * count} (call 1 (local.get 0)))'
            other = "(func (param externref) (result externref) (local.get 0))"
            assert valid(lower(wat(f"(module (memory 1) {text} {other})")))


def _random_type(r: random.Random) -> FuncType:
    codes = (I32, I32, I64, F32, F64, FUNCREF, EXTERNREF, EXTERNREF)
    return FuncType(*(bytes(r.choice(codes) for _ in range(r.randrange(5))) for _ in range(2)))


def test_each_body_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code takes nearly all of the time that lowering takes."""
    written: list[int] = []
    body = CodeLowering.body

    def counted(self: CodeLowering, r: Reader, type_: int, held: bool = False) -> bytes:
        written.append(r.pos)
        return body(self, r, type_, held)

    monkeypatch.setattr(CodeLowering, "body", counted)
    lower(wat("(module (func (param externref)) (func (result externref) (ref.null extern)))"))
    assert len(written) == len(set(written)) == 2


def test_types_of_indirect_calls_stay_different() -> None:
    """No two function types have the same form after lowering (a model check over many small ones)."""
    r = random.Random(SEED)
    forms: dict[tuple[bytes, bytes], FuncType] = {}
    low = bytes((EXTERNREF,)), bytes((I32,))
    for _ in range(60_000):
        functype = _random_type(r)
        form = (functype.params.replace(*low) + (spell_out(functype) or b""), functype.results.replace(*low))
        assert forms.setdefault(form, functype) == functype
    assert len(forms) > 10_000


def test_mutated_modules() -> None:
    """Random damage: lowering gives a module or UnsupportedModuleError, quickly; what was valid stays
    valid."""
    r = random.Random(SEED)
    base = [guest_file("everything"), *(shipped(v) for v in VARIANTS)]
    outcomes = {"lowered": 0, "refused": 0}
    for n in range(MUTATIONS):
        damaged = bytearray(r.choice(base))
        for _ in range(r.choice((1, 1, 2, 5))):
            damaged[r.randrange(8, len(damaged))] = r.choice(
                (0, 0x6F, 0x70, 0x7F, 0xD1, 0xFC, r.randrange(256))
            )
        wasm = bytes(damaged)
        start = time.perf_counter()
        try:
            low = lower(wasm)
        except UnsupportedModuleError:
            outcomes["refused"] += 1
            if valid(wasm):
                assert _uses_newer_features(wasm), f"seed {SEED}, mutation {n}: a valid module was refused"
        else:
            outcomes["lowered"] += 1
            assert not valid(wasm) or valid(low), f"seed {SEED}, mutation {n}: lowering broke a valid module"
        assert time.perf_counter() - start < 30, "lowering must not take exponential time"
    assert min(outcomes.values()) > MUTATIONS // 100


def _uses_newer_features(wasm: bytes) -> bool:
    """Whether a module needs more than WebAssembly 2.0 without SIMD, which lowering may refuse."""
    config = wasmtime.Config()
    newer = "exceptions relaxed_simd simd tail_call multi_memory memory64 threads gc function_references"
    for feature in newer.split():
        name = f"wasm_{feature}"
        if hasattr(type(config), name):
            setattr(config, name, False)
    try:
        wasmtime.Module.validate(wasmtime.Engine(config), wasm)
    except wasmtime.WasmtimeError:
        return True
    return not _parses(wasm)  # what remains are modules that import from "externref"


def _parses(wasm: bytes) -> bool:
    try:
        Module.parse(wasm)
    except UnsupportedModuleError:
        return False
    return True


def test_object_files_and_shared_libraries() -> None:
    """Modules that are not linked are refused with what to do."""
    for name, words in ((b"linking", "link it with wasm-ld"), (b"dylink.0", "shared library")):
        section = bytes((len(name),)) + name + b"\2"
        module = (
            b"\0asm\1\0\0\0"
            + bytes((0, len(section)))
            + section
            + wat("(module (func (param externref)))")[8:]
        )
        with pytest.raises(UnsupportedModuleError, match=words):
            lower(module)
