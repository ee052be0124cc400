"""Finds a C compiler that can make WebAssembly, and calls it.

Two will do: clang 17 or newer with its wasm-ld, and the clang inside Zig, which ``pip install ziglang``
brings to any platform. Both are called the same way here: one object file per source, then wasm-ld. Only for
WASI does the compiler driver link, since it alone knows where its C library is.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.process import Unusable, ask

__all__ = ["FREESTANDING", "WASI", "Compiler", "find_compiler", "program_of"]

FREESTANDING = "wasm32-unknown-unknown"
WASI = "wasm32-wasi"

_MINIMUM_CLANG = 17  # the first with the table builtins that hiwire uses
_PREFERRED_CLANG = 17  # what the committed modules are built with

_ZIG_TARGETS = {FREESTANDING: "wasm32-freestanding", WASI: "wasm32-wasi"}
_STANDARDS = {".c": "-std=c11", ".cc": "-std=c++17", ".cpp": "-std=c++17", ".cxx": "-std=c++17"}
_ADVICE = (
    "Ways to get a compiler: `pip install ziglang` (any platform, no root); on Debian 13 or Ubuntu 24.04 "
    "`apt-get install clang-17 lld-17`; elsewhere LLVM 17 or newer with lld. "
    "HIWIRE_CLANG=PATH forces a clang."
)


@dataclass(frozen=True)
class Compiler:
    """A C compiler with a WebAssembly linker.

    ``name`` is "clang" or "zig"; ``command`` and ``linker`` start its driver and wasm-ld; ``version`` is that
    of the clang, also inside Zig.
    """

    name: str
    command: tuple[str, ...]
    linker: tuple[str, ...]
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.name} (clang {self.release}, {shlex.join(self.command)})"

    @property
    def release(self) -> str:
        """The version with dots."""
        return ".".join(map(str, self.version))

    def objects(
        self,
        sources: Iterable[str | os.PathLike[str]],
        directory: str | os.PathLike[str],
        *,
        target: str = FREESTANDING,
        options: Sequence[str] = (),
    ) -> list[Path]:
        """Compiles each source to an object file.

        Args:
            sources: C or C++ files; the language is told from the suffix.
            directory: where the object files go; it is made if need be.
            target: ``FREESTANDING``, ``WASI`` or another triple that the compiler knows.
            options: compiler options, after those of this module, so that they win.

        Returns:
            The object files, in the order of the sources.

        Raises:
            ToolchainError: the compiler reported an error; the message holds its output.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        made = []
        for number, source in enumerate(map(Path, sources)):
            standard = _STANDARDS.get(source.suffix)
            if standard is None:
                known = ", ".join(_STANDARDS)
                raise ToolchainError(f"{source}: not a C or C++ source file (suffixes: {known})")
            # Numbered: two folders may hold files of one name.
            output = folder / f"{number:02}-{source.stem}.o"
            words = [standard, *options, "-c", str(source), "-o", str(output)]
            self._run([*self._driver(target), *words], f"cannot compile {source.name}")
            made.append(output)
        return made

    def link(
        self,
        objects: Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str],
        *,
        target: str = FREESTANDING,
        options: Sequence[str] = (),
    ) -> Path:
        """Links object files and archives to a reactor: a module with no main program, only ``_initialize``.

        Args:
            objects: object files and archives.
            output: the module to write.
            target: as for the objects. For ``WASI`` the C library is linked in.
            options: options of wasm-ld, also for WASI; ``@FILE`` reads them from a file, one a line.

        Returns:
            ``output`` as a path.

        Raises:
            ToolchainError: the linker reported an error; the message holds its output.
        """
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = list(_expand(options))
        if target == WASI:
            # The driver's own start file has an entry already, so --no-entry would contradict it.
            wrapped = [part for flag in flags if flag != "--no-entry" for part in ("-Xlinker", flag)]
            command = [*self._driver(target), "-mexec-model=reactor", *objects, *wrapped, "-o", path]
        else:
            entry = [] if "--no-entry" in flags else ["--no-entry"]
            command = [*self.linker, *entry, "--export-if-defined=_initialize", *flags, *objects, "-o", path]
        self._run(command, f"cannot link {path.name}")
        return path

    def compile(
        self,
        sources: Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str],
        *,
        target: str = FREESTANDING,
        options: Sequence[str] = (),
        link_options: Sequence[str] = (),
    ) -> Path:
        """Compiles and links in one go; see :meth:`objects` and :meth:`link`.

        Returns:
            ``output`` as a path.

        Raises:
            ToolchainError: a step failed; the message holds the output of the tool.
        """
        with tempfile.TemporaryDirectory(prefix="hiwire-") as folder:
            objects = self.objects(sources, folder, target=target, options=options)
            return self.link(objects, output, target=target, options=link_options)

    def _driver(self, target: str) -> list[str]:
        if self.name == "zig":
            return [*self.command, "-target", _ZIG_TARGETS.get(target, target)]
        return [*self.command, f"--target={target}"]

    def _run(self, command: Sequence[str | os.PathLike[str]], what: str) -> None:
        words = [os.fspath(word) for word in command]
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise ToolchainError(f"{what}: {words[0]} cannot be started: {error.strerror}") from error
        if done.returncode != 0:
            said = (done.stderr + done.stdout).strip()
            raise ToolchainError(f"{what}: {shlex.join(words)} exited with status {done.returncode}:\n{said}")


def find_compiler(prefer: str | None = None) -> Compiler:
    """Finds a compiler: HIWIRE_CLANG, else clang 17, else the newest clang on PATH, else the package ziglang.

    Args:
        prefer: "clang" or "zig": take this one or none.

    Returns:
        The first candidate that works.

    Raises:
        ToolchainError: there is none; the message says of each candidate why not, and how to get one.
    """
    if prefer not in (None, "clang", "zig"):
        raise ToolchainError(f"no such toolchain: {prefer!r}; there are 'clang' and 'zig'")
    ways: list[Callable[[], Compiler]] = []
    if prefer != "zig":
        ways += [partial(_clang, path) for path in _clang_candidates()]
    if prefer != "clang":
        ways.append(_zig)
    reasons: list[str] = []
    for way in ways:
        try:
            return way()
        except ToolchainError as error:
            reasons.append(str(error))
    listed = "".join(f"  {reason}\n" for reason in reasons)
    raise ToolchainError(f"no C compiler for WebAssembly:\n{listed}{_ADVICE}")


def _clang_candidates() -> list[str]:
    forced = os.environ.get("HIWIRE_CLANG")
    if forced:
        return [forced]
    numbers = set()
    for folder in os.get_exec_path():
        with contextlib.suppress(OSError):
            found = (re.fullmatch(r"clang-(\d+)(?:\.exe)?", name) for name in os.listdir(folder or "."))
            numbers |= {int(match[1]) for match in found if match}
    order = sorted(numbers, key=lambda number: (number == _PREFERRED_CLANG, number), reverse=True)
    names = [*(f"clang-{number}" for number in order), "clang"]
    return [path for name in names if (path := shutil.which(name)) is not None] or ["clang"]


def _clang(path: str) -> Compiler:
    version = _version((path,))
    if version[0] < _MINIMUM_CLANG:
        reason = f"version {version[0]} is too old, {_MINIMUM_CLANG} is the oldest that works"
        raise ToolchainError(f"{path}: {reason}")
    if "wasm32" not in ask([path, "--print-targets"]):
        raise ToolchainError(f"{path}: it has no WebAssembly target (Apple's clang has none)")
    return Compiler("clang", (path,), (program_of(path, version[0], "wasm-ld"),), version)


def program_of(clang: str, release: int, program: str) -> str:
    """A program of the same release of LLVM: where the clang itself looks, or on PATH.

    Raises:
        Unusable: it is missing; the message says how to get it.
    """
    told = ask([clang, f"-print-prog-name={program}"]).strip()  # the bare name, if the clang has none
    found = shutil.which(told) or shutil.which(f"{program}-{release}")
    if found is None:
        remedy = f"apt-get install {'lld' if program == 'wasm-ld' else 'llvm'}-{release}"
        raise Unusable(f"{clang}: its {program} is missing; on Debian `{remedy}`")
    return found


def _zig() -> Compiler:
    if importlib.util.find_spec("ziglang") is None:
        raise ToolchainError(f"ziglang: not installed for {sys.executable}")
    zig = (sys.executable, "-m", "ziglang")
    try:
        return Compiler("zig", (*zig, "cc"), (*zig, "wasm-ld"), _version((*zig, "cc")))
    except ToolchainError as error:
        raise ToolchainError(f"ziglang: {error}") from None


def _version(command: tuple[str, ...]) -> tuple[int, int, int]:
    text = ask([*command, "--version"], timeout=60.0)
    match = re.search(r"clang version (\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        first = next(iter(text.strip().splitlines()), "nothing")
        raise ToolchainError(f"{command[0]}: not a clang: --version says {first!r}")
    return int(match[1]), int(match[2]), int(match[3])


def _expand(options: Sequence[str]) -> Iterator[str]:
    """The options, with those of the files that ``@FILE`` names."""
    for option in options:
        yield from Path(option[1:]).read_text(encoding="utf-8").split() if option[:1] == "@" else (option,)
