"""Building with a compiler of this machine: clang with wasm-ld, or the clang inside ziglang."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.compilers import Compiler, find_compiler, program_of
from hiwire_py.toolchain.process import Log, Unusable, run

__all__ = ["local_compiler", "make", "make_variables"]


def local_compiler(name: str) -> Compiler:
    """The compiler of that name, ``clang`` or ``zig``, with make to drive it.

    Raises:
        Unusable: there is none, or make or the linker that belongs to it is missing.
    """
    try:
        compiler = find_compiler(name)
    except ToolchainError as error:
        # The error lists its candidates indented; its advice is given once, at the end of all toolchains.
        reasons = [line.strip() for line in str(error).splitlines() if line.startswith("  ")]
        raise Unusable("; ".join(reasons) or str(error)) from None
    if shutil.which("make") is None:
        raise Unusable("no make on PATH, which runs the build")
    make_variables(compiler)
    return compiler


def make_variables(compiler: Compiler) -> dict[str, str]:
    """What c/Makefile is told to use this compiler.

    Raises:
        Unusable: a program that belongs to it is missing.
    """
    if compiler.name == "zig":
        zig = compiler.command[:-1]
        target = "-target wasm32-freestanding"
        archiver, indexer = (*zig, "ar"), (*zig, "ranlib")
    else:
        target = "--target=wasm32-unknown-unknown"
        clang, release = compiler.command[0], compiler.version[0]
        archiver, indexer = ((program_of(clang, release, name),) for name in ("llvm-ar", "llvm-ranlib"))
    programs = {"CC": compiler.command, "LD": compiler.linker, "AR": archiver, "RANLIB": indexer}
    return {"TARGET": target, **{variable: shlex.join(words) for variable, words in programs.items()}}


def make(compiler: Compiler, source: Path, out: Path, static_pages: int, *, log: Log) -> None:
    """Builds all modules into ``out``, and their objects into a folder of it.

    Raises:
        ToolchainError: the compiler or the linker failed.
    """
    variables = {**make_variables(compiler), "OUT": str(out), "STATIC_PAGES": str(static_pages)}
    # Called from another make, this one must not take over its options and variables.
    own = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    inherited = {key: value for key, value in os.environ.items() if key not in own}
    command = ["make", f"-j{os.cpu_count() or 1}", *(f"{key}={value}" for key, value in variables.items())]
    run(command, cwd=source / "c", env=inherited, log=log, what=f"the build with {compiler.name}")
