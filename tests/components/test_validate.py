"""Validation of components: each rule by hand, and the verdicts of wasm-tools on components of all kinds.

``HIWIRE_FUZZ_COMPONENTS`` says how many of those (300). All 5,000 take scripts/fuzz_components.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import verdicts
import wasmtime
from random_components import any_bytes, assembled, component, oracle
from validity_cases import ALIKE, INVALID, LIBRARY, REFUSED, VALID, Refusal
from verdicts import judge, ours, outlived
from wasm_tools_support import WHY_NONE, find_wasm_tools, wasm_tools

from hiwire_py import UnsupportedModuleError
from hiwire_py.components import Component
from hiwire_py.wasm.binary import Reader, name, section, vector

COUNT = int(os.environ.get("HIWIRE_FUZZ_COMPONENTS", "300"))
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_components.py"
START = b"\0asm\x0d\0\1\0"


@pytest.fixture(name="wasm_tools")
def found_wasm_tools() -> str:
    return wasm_tools()


def binary(text: str) -> bytes:
    """A component's bytes; of an invalid one too."""
    whole, tools = f"(component {text})", find_wasm_tools()
    if tools is not None:
        wasm = assembled(whole, tools)
        assert wasm, "the assembler does not take the text"
        return wasm
    try:
        return bytes(wasmtime.wat2wasm(whole))
    except wasmtime.WasmtimeError as error:
        if "version-suffix" not in text:
            raise
        pytest.skip(f"{WHY_NONE}, and the assembler that is here does not know version suffixes: {error}")


# ---- rules


@pytest.mark.parametrize("what", VALID)
def test_valid(what: str) -> None:
    """What the rules allow is taken."""
    assert ours(binary(VALID[what])) is None


@pytest.mark.parametrize(("text", "words"), INVALID, ids=[words for _, words in INVALID])
def test_invalid(text: str, words: str) -> None:
    """What breaks a rule is refused with the rule, the thing and its byte."""
    said = ours(binary(text))
    assert said is not None and words in said
    assert said.startswith("invalid component: ") and "byte " in said


@pytest.mark.parametrize("what", VALID)
def test_oracle_takes(what: str, wasm_tools: str) -> None:
    """What we take the oracle takes."""
    assert oracle(binary(VALID[what]), wasm_tools) is None


@pytest.mark.parametrize(("text", "words"), INVALID, ids=[words for _, words in INVALID])
def test_oracle_refuses(text: str, words: str, wasm_tools: str) -> None:
    """What we refuse for a rule the oracle refuses."""
    assert oracle(binary(text), wasm_tools) is not None


@pytest.mark.parametrize("what", ALIKE)
def test_both_refuse(what: str, wasm_tools: str) -> None:
    """What the specification alone takes we refuse as the oracle does, until it changes."""
    wasm = binary(ALIKE[what])
    assert oracle(wasm, wasm_tools) is not None and ours(wasm) is not None


@pytest.mark.parametrize("one", REFUSED, ids=[one.what for one in REFUSED])
def test_differences(one: Refusal, wasm_tools: str) -> None:
    """What we refuse by name, and the oracle takes, is that which the table says."""
    verdict = judge(one.wasm, wasm_tools)
    assert verdict.oracle is None and not verdict.fault
    assert verdict.outcome == "refused by name"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('(import "f" (func async))', "asynchronous functions are not supported"),
        ("(type (stream u8))", "the type stream is not supported"),
        ("(type (future u8))", "the type future is not supported"),
        ("(type error-context)", "the type error-context is not supported"),
        ("(core func (canon backpressure.inc))", "canonical definition backpressure.inc is not supported"),
        ("(core func (canon task.cancel))", "canonical definition task.cancel is not supported"),
        ("(core func (canon waitable-set.new))", "canonical definition waitable-set.new is not supported"),
        ('(import "v" (value string))', "a value as a definition is not supported"),
        ('(import "f" (func $f)) (core func (canon lower (func $f) async))', "option async is not supported"),
    ],
)
def test_refused_by_name(text: str, words: str) -> None:
    """What belongs to asynchronous components is refused by its name."""
    said = ours(binary(text))
    assert said is not None and words in said


# ---- places


def test_the_byte_is_that_of_the_definition() -> None:
    """The byte in an error is where the definition stands in the whole file, within components as well."""
    wasm = binary("(component (type (list u8)) (component (type (tuple u8)) (type (flags))))")
    said = ours(wasm)
    assert said is not None
    at = int(said.partition("at byte ")[2].partition(":")[0])
    assert wasm[at : at + 2] == b"\x6e\0"


def test_errors_within_types_name_the_declaration() -> None:
    """A type of a component has declarations, and the error says which one is at fault."""
    said = ours(binary('(type (component (type u8) (import "i" (instance (export "aB" (func))))))'))
    assert said is not None
    assert "the component type at byte 11" in said
    assert "declaration 1, the export 'aB'" in said


# ---- bounds


def nested(depth: int, kind: int) -> bytes:
    """Types of components or instances in each other."""
    found = bytes((kind, 0))
    for _ in range(depth - 1):
        found = bytes((kind,)) + vector([b"\1" + found])
    return START + section(7, vector([found]))


@pytest.mark.parametrize("kind", [0x41, 0x42])
def test_types_in_each_other(kind: int, wasm_tools: str) -> None:
    """Types may be nested 100 deep and no deeper, as for the oracle."""
    for depth in (99, 100, 101, 102, 5000):
        wasm = nested(depth, kind)
        assert (ours(wasm) is None) == (depth <= 100)
        assert (oracle(wasm, wasm_tools) is None) == (depth <= 100)


@pytest.mark.parametrize("depth", [50, 100, 101, 102, 5000])
def test_components_in_each_other(depth: int) -> None:
    """Components nested too deep are refused with a sentence, however little of the stack is left."""
    wasm = START
    for _ in range(depth):
        wasm = START + section(4, wasm)

    def deeper(left: int) -> str | None:
        return deeper(left - 1) if left else ours(wasm)

    said = deeper(sys.getrecursionlimit() // 2)
    assert (said is None) if depth <= 50 else (said is None or "deep" in said)
    if depth > 101:
        assert said is not None


@pytest.mark.parametrize("count", [1000, 1001])
def test_lengths(count: int) -> None:
    """Parameters, modules, and names are bounded."""
    params = vector(name(f"p{i}") + b"\x7d" for i in range(count))
    said = ours(START + section(7, vector([b"\x40" + params + b"\1\0"])))
    assert (said is None) == (count == 1000)
    core = vector([b"\x7f"] * count)
    said = ours(START + section(3, vector([b"\x60" + core + b"\0"])))
    assert (said is None) == (count == 1000)
    said = ours(START + section(1, b"\0asm\1\0\0\0") * (count - 1))
    assert (said is None) == (count == 1000)
    long = "a" * (count * 100)
    imported = section(7, vector([b"\x40\0\1\0"])) + section(10, vector([b"\0" + name(long) + b"\1\0"]))
    said = ours(START + imported)
    assert (said is None) == (count == 1000)


def test_doubled_instances() -> None:
    """Instance types that have the one before twice are refused before they have filled the memory."""
    types = [b"\x42" + vector([b"\4\0" + name("a") + b"\3\1"])]
    for i in range(24):
        twice = [b"\4\0" + name(f"e{j}") + b"\5\0" for j in range(2)]
        types.append(b"\x42" + vector([b"\2\3\2\1" + bytes((i,)), *twice]))
    said = ours(START + b"".join(section(7, vector([one])) for one in types))
    assert said is not None and "the types of all instances, written out" in said


def test_equal_types_compare_at_once() -> None:
    """Two types that are equal and large if written out compare without being written out."""
    doubled = "(type $t0 (tuple u8 u8))" + "".join(
        f"(type $t{i} (tuple $t{i - 1} $t{i - 1}))" for i in range(1, 18)
    )
    half = [doubled.replace("$t", "$a"), doubled.replace("$t", "$b")]
    calls = "".join(
        f'(component $c{i} {half[1]} (import "f" (func (param "x" $b17)))) '
        f'(instance (instantiate $c{i} (with "f" (func $f))))'
        for i in range(100)
    )
    verdict = outlived(binary(f'{half[0]} (import "f" (func $f (param "x" $a17))) {calls}'))
    assert verdict.ours is None and not verdict.fault


# ---- what is linked


def test_an_invalid_component_is_never_planned() -> None:
    """`Component` refuses before anything is made of what it is given."""
    with pytest.raises(UnsupportedModuleError, match=r"invalid component: .* there is no func 0"):
        Component(binary('(export "a" (func 0))'))


def test_core_modules_are_validated_that_nothing_instantiates(engine: str) -> None:
    """The engine refuses an invalid core module, also in a component that is not used."""
    made = Component(binary("(component (core module (func (result i32))))"))
    with pytest.raises(UnsupportedModuleError):
        made.instantiate(engine=engine)
    with Component(binary("(component (core module (func)))")).instantiate(engine=engine) as instance:
        assert not instance


# ---- many


def test_no_difference(wasm_tools: str) -> None:
    """Random components, valid and broken, get the oracle's verdict."""
    seen = Counter[str]()
    for number in range(COUNT):
        wasm = component(number, wasm_tools)
        if not wasm:
            seen["not made"] += 1
            continue
        verdict = judge(wasm, wasm_tools)
        assert not verdict.fault, f"component {number} {verdict.fault}"
        seen[verdict.outcome] += 1
    assert seen["valid"] > COUNT // 5 and seen["invalid"] > COUNT // 5 and seen["not made"] < COUNT // 4, seen


def test_any_bytes(wasm_tools: str) -> None:
    """Whatever the bytes are, they are a component or refused with our error, and soon."""
    seen = Counter[str]()
    for number in range(10 * COUNT):
        verdict = outlived(any_bytes(number, wasm_tools))
        assert not verdict.fault, f"bytes {number}: {verdict.fault}"
        seen[verdict.outcome] += 1
    assert seen["invalid"] > seen["valid"] > 0


@pytest.mark.parametrize("text", [VALID["a resource that goes through others"], LIBRARY])
def test_every_prefix(text: str) -> None:
    """A component that ends too early is refused, unless a section just ended."""
    wasm = binary(text)
    r, ends = Reader(wasm, 8), {8}
    while r.pos < r.end:
        r.byte()
        r.take(r.u32())
        ends.add(r.pos)
    for end in range(len(wasm)):
        verdict = outlived(wasm[:end])
        assert not verdict.fault
        assert (verdict.ours is None) == (end in ends)


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (lambda *_: None, "is taken, and is invalid"),
        (lambda *_: dict[str, int]()["key"], "KeyError"),
    ],
)
def test_what_must_be_found(
    broken: object, found: str, wasm_tools: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation that takes everything, or raises another exception, is found out."""
    monkeypatch.setattr(verdicts, "validate", broken)
    assert judge(binary('(export "a" (func 0))'), wasm_tools).fault.startswith(found)


def test_what_is_refused_wrongly_is_found(wasm_tools: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation that refuses what is valid is found out."""

    def refuse(*_: object) -> None:
        raise UnsupportedModuleError("no reason")

    monkeypatch.setattr(verdicts, "validate", refuse)
    assert judge(binary(""), wasm_tools).fault == "is refused, and is valid: no reason"


def test_the_script(wasm_tools: str, tmp_path: Path) -> None:
    """scripts/fuzz_components.py counts what came out, with an oracle and without."""
    for words in (["--count", "20"], ["--count", "200", "--decode"]):
        command = [sys.executable, str(SCRIPT), "--jobs", "1", "--keep", str(tmp_path), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{int(words[1]):,} components from 0, 0 faults; " in done.stdout
    assert not list(tmp_path.iterdir())


def test_sizes_written_at_length() -> None:
    """A value type is one byte or an index: a negative number of two bytes is neither."""
    good = START + section(7, vector([b"\x70\x7d", b"\x70\x80\0"]))
    bad = START + section(7, vector([b"\x70\x7d", b"\x70\xff\x7f"]))
    assert ours(good) is None
    said = ours(bad)
    assert said is not None and "value type -1" in said
