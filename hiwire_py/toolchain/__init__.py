"""The toolchain: finds what can compile C to WebAssembly on this machine, and builds the modules with it."""

from __future__ import annotations

from hiwire_py.toolchain.build import CONTAINERS, TOOLCHAINS, BuildReport, BuiltFile, build
from hiwire_py.toolchain.compilers import Compiler, find_compiler

__all__ = [
    "CONTAINERS",
    "TOOLCHAINS",
    "BuildReport",
    "BuiltFile",
    "Compiler",
    "build",
    "find_compiler",
]
