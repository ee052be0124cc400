"""Modules made by `wasm-tools smith`, read and written again, and lowered: what comes out must be what went
in.

Each number stands for one module, always the same one, with every feature that hiwire_py.wasm reads. `smith`
makes valid modules only.
"""

from __future__ import annotations

import random
import subprocess

import wasmtime

from hiwire_py.errors import UnsupportedModuleError
from hiwire_py.passes import needs_lowering
from hiwire_py.passes.externref import lower_module
from hiwire_py.wasm.module import Module
from hiwire_py.wasm.write import Writer

__all__ = ["Trip", "made", "round_trip"]

_ON = [
    "bulk-memory",
    "exceptions",
    "extended-const",
    "gc",
    "memory64",
    "multi-value",
    "reference-types",
    "relaxed-simd",
    "saturating-float-to-int",
    "sign-extension-ops",
    "simd",
    "tail-call",
    "threads",
    "wide-arithmetic",
]
# What neither wasmtime nor wasm2c takes by default.
_OFF = ["compact-imports", "custom-descriptors", "custom-page-sizes", "shared-everything-threads"]
_SHAPES = ["", "--min-funcs=4 --min-types=4 --min-globals=2 --min-tables=1 --min-memories=1 --min-elements=3"]
_ENGINE = wasmtime.Engine()


class Trip:
    """What became of a module.

    Attributes:
        fault: what is wrong, or "".
        lowered: whether it needed lowering, and could be lowered.
        refused: why not, if it needed it.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.lowered = False
        self.refused = ""


def made(number: int, wasm_tools: str) -> bytes:
    """The module that ``number`` stands for; b"" where smith itself fails, as it does at some."""
    r = random.Random(number)
    options = [f"--{name}-enabled=true" for name in _ON] + [f"--{name}-enabled=false" for name in _OFF]
    if r.random() < 0.5:  # externrefs meet garbage collected types in most of the others, which is refused
        options[options.index("--gc-enabled=true")] = "--gc-enabled=false"
    options += [
        "--max-memories=3",
        "--max-tables=4",
        "--max-instructions=200",
        "--generate-custom-sections=true",
    ]
    options += r.choice(_SHAPES).split()
    options.append(f"--min-uleb-size={r.choice([1, 1, 2, 3, 5])}")  # numbers written at length
    try:
        return _run([wasm_tools, "smith", *options], r.randbytes(r.choice([300, 2000, 8000])))
    except ValueError:
        return b""


def _run(command: list[str], data: bytes) -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    if done.returncode:
        raise ValueError(" ".join(done.stderr.decode(errors="replace").split())[:300])
    return done.stdout


def _valid(wasm: bytes) -> str:
    """Why wasmtime does not take a module, or ""."""
    try:
        wasmtime.Module.validate(_ENGINE, wasm)
    except wasmtime.WasmtimeError as error:
        return " ".join(str(error).split())[:300]
    return ""


def _text(wasm: bytes, wasm_tools: str) -> list[bytes]:
    """The module as text, without custom sections, which may move."""
    lines = _run([wasm_tools, "print", "-"], wasm).splitlines()
    return [line for line in lines if b"(@" not in line]


def round_trip(wasm: bytes, wasm_tools: str) -> Trip:
    """Write a module twice, and lower it if it needs that."""
    trip = Trip()
    try:
        module = Module.parse(wasm)
        first = Writer(module).written()
        if Writer(Module.parse(first)).written() != first:
            trip.fault = "written twice, it changes again"
        elif _valid(first) and not _valid(wasm):
            trip.fault = f"written, it is invalid: {_valid(first)}"
        elif _text(first, wasm_tools) != _text(wasm, wasm_tools):
            trip.fault = "written, it says something else"
        elif needs_lowering(wasm) and not _valid(wasm):
            try:
                lowered = lower_module(module).wasm
            except UnsupportedModuleError as error:
                trip.refused = str(error)
            else:
                trip.lowered = True
                trip.fault = _valid(lowered) and f"lowered, it is invalid: {_valid(lowered)}"
    except Exception as error:
        trip.fault = f"{type(error).__name__}: {error}"
    return trip
