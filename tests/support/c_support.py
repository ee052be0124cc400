"""Compiles C tests together with the library, and runs them on plain wasmtime.

Nothing of the Python package but the compiler finder is used here, so a failure is one of the C code. The
host objects are Python objects in true externrefs.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import c_builds
import pytest
import wasmtime
from c_builds import TESTS, Build

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.compilers import FREESTANDING, WASI, Compiler, find_compiler

__all__ = [
    "CFLAGS",
    "LIBRARY",
    "MODULE_LINK",
    "TESTS",
    "Build",
    "FailedCheck",
    "Instance",
    "builds",
    "compiled",
    "compiler",
    "library",
    "library_module",
    "scratch",
]

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "c" / "hiwire"
CFLAGS = f"@{ROOT / 'c' / 'wasm-cflags.txt'}"
MODULE_LINK = f"@{LIBRARY / 'module-link.txt'}"


class FailedCheck(AssertionError):
    """A CHECK in a C test did not hold; the message names the file and line."""


def builds() -> list[Build]:
    """Every build of every C test, but for Emscripten, which scripts/emscripten.py runs."""
    return [build for build in c_builds.builds() if build.target != c_builds.EMSCRIPTEN]


@functools.cache
def scratch() -> Path:
    """A folder for this test session, removed at its end."""
    folder = tempfile.mkdtemp(prefix="hiwire-c-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def _found(name: str | None) -> Compiler | str:
    try:
        return find_compiler(name)
    except ToolchainError as error:
        return str(error)


@functools.cache
def _reason_against(toolchain: Compiler, target: str) -> str | None:
    """Why a compiler cannot build for a target, found by trying; None if it can."""
    source, remedy = "int f(void) { return 0; }\n", ""
    if target == WASI:
        source = '#include <stdio.h>\nint f(void) { return puts(""); }\n'
        remedy = " On Debian `apt-get install wasi-libc libclang-rt-NN-dev-wasm32` adds what WASI needs."
    folder = _folder("trial", toolchain, target)
    trial = folder / "trial.c"
    trial.write_text(source)
    try:
        toolchain.compile([trial], folder / "trial.wasm", target=target, link_options=["--export=f"])
    except ToolchainError as error:
        return f"{toolchain} cannot build for {target}: {error}{remedy}"
    return None


def compiler(name: str | None = None, target: str = FREESTANDING) -> Compiler:
    """The compiler of that name, or any that has the target.

    Where there is none the test is skipped. In CI, where one must be there, the test fails; one asked for by
    name may be missing there too.
    """
    reasons = []
    for candidate in (None, "clang", "zig") if name is None else (name,):
        found = _found(candidate)
        reason = found if isinstance(found, str) else _reason_against(found, target)
        if reason is None:
            assert isinstance(found, Compiler)
            return found
        reasons.append(reason)
    if name is None and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"no compiler for {target}, which CI must have: {reasons[0]}", pytrace=False)
    pytest.skip(f"no {name or 'compiler'} for {target}: {reasons[0]}")


@functools.cache
def _folder(*key: object) -> Path:
    return Path(tempfile.mkdtemp(dir=scratch()))


@functools.cache
def library(toolchain: Compiler, target: str, flags: tuple[str, ...]) -> tuple[Path, ...]:
    """The object files of the library, built once per set of flags."""
    folder = _folder("library", toolchain, target, flags)
    sources = sorted(LIBRARY.glob("*.c"))
    return tuple(toolchain.objects(sources, folder, target=target, options=(CFLAGS, *flags)))


@functools.cache
def compiled(build: Build, toolchain: Compiler) -> Path:
    """The module of a C test, linked with the library."""
    folder = _folder(build, toolchain)
    objects = toolchain.objects(
        [build.source], folder, target=build.target, options=(CFLAGS, f"-I{LIBRARY}", *build.flags)
    )
    return toolchain.link(
        [*objects, *library(toolchain, build.target, build.library_flags)],
        folder / "test.wasm",
        target=build.target,
    )


@functools.cache
def library_module(*flags: str) -> Path:
    """The library alone as a module with all its exports, as the packaged variants are built."""
    toolchain = compiler()
    path = _folder("module", flags) / "hiwire.wasm"
    return toolchain.link(library(toolchain, FREESTANDING, flags), path, options=[MODULE_LINK])


@functools.cache
def _engine() -> wasmtime.Engine:
    return wasmtime.Engine()


@functools.cache
def _module(path: Path) -> wasmtime.Module:
    return wasmtime.Module.from_file(_engine(), str(path))


class Numbered:
    """A host object that knows its number."""

    def __init__(self, number: int) -> None:
        self.number = number


def _number_of(value: Numbered | None) -> int:
    return -1 if value is None else value.number


@dataclass
class Instance:
    """A running module. Host functions come by module and name; their types are those of the imports."""

    path: Path
    imports: Mapping[tuple[str, str], Callable[..., object]] = field(default_factory=dict)
    stderr: Path | None = None
    failed_line: int | None = None

    def __post_init__(self) -> None:
        module = _module(self.path)
        self.store = wasmtime.Store(_engine())
        wasi = wasmtime.WasiConfig()
        if self.stderr is not None:
            wasi.stderr_file = str(self.stderr)
        self.store.set_wasi(wasi)
        linker = wasmtime.Linker(_engine())
        linker.define_wasi()
        self._objects: dict[int, Numbered] = {}
        functions: dict[tuple[str, str], Callable[..., Any]] = {
            ("test", "fail"): self._fail,
            ("test", "object"): lambda number: self._objects.setdefault(number, Numbered(number)),
            ("test", "number"): _number_of,
            **self.imports,
        }
        for wanted in module.imports:
            function = functions.get((wanted.module, wanted.name or ""))
            if function is not None:
                assert isinstance(wanted.type, wasmtime.FuncType)
                made = wasmtime.Func(self.store, wanted.type, function)
                linker.define(self.store, wanted.module, wanted.name or "", made)
        self.exports = linker.instantiate(self.store, module).exports(self.store)
        if "_initialize" in self.exports:
            self.call("_initialize")

    def call(self, name: str, *arguments: object) -> object:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func), name
        return function(self.store, *arguments)

    def ref(self, name: str, *arguments: object) -> int:
        """Calls a function that gives a ref or another unsigned number."""
        result = self.call(name, *arguments)
        assert isinstance(result, int)
        return result & 0xFFFFFFFF

    def names(self, prefix: str) -> Sequence[str]:
        return [export.name for export in _module(self.path).exports if export.name.startswith(prefix)]

    def check(self, name: str, source: Path) -> None:
        """Calls a test function; a failed CHECK becomes an assertion error that names its line."""
        try:
            self.call(name)
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            if self.failed_line is None:
                raise
            text = source.read_text(encoding="utf-8").splitlines()[self.failed_line - 1].strip()
            raise FailedCheck(f"{source.name}:{self.failed_line}: {text}") from None

    def _fail(self, line: int) -> None:
        self.failed_line = line

    def image(self) -> tuple[object, ...]:
        """What a failed call must leave as it was: slots, counters, and the live refs with their values."""
        slots = tuple(
            self.ref("_hiwire_slot_info", index) for index in range(self.ref("hiwire_capacity") + 1)[:1100]
        )
        refs = tuple((ref, self.call("hiwire_get", ref)) for ref in self.live())
        return slots, refs, self.call("hiwire_num_refs"), self.call("hiwire_capacity")

    def live(self) -> list[int]:
        """The live heap refs, by the library's own iterator."""
        refs = []
        ref = 0
        while ref := self.ref("hiwire_next", ref):
            refs.append(ref)
        return refs
