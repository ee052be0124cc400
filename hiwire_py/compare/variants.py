"""The variants of hiwire that can be compared: what they are called, where they come from, what they are.

Two come with the package. The others are built when they are asked for, since they are for choosing, not for
use; without a compiler each is a variant with a reason in place of a module. They are built from the sources
and with the flags of c/Makefile. What was built is kept in the user's cache directory under a key of
everything that goes into it, so that a second run builds nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import cache
from ..errors import ToolchainError, UnsupportedModuleError
from ..sources import VARIANTS, shipped
from ..toolchain.compilers import FREESTANDING, WASI, Compiler, find_compiler
from ..wasm.module import FUNCTION, Module

__all__ = [
    "COMPILERS",
    "DEFAULT_VARIANTS",
    "Builder",
    "Recipe",
    "RequestError",
    "Variant",
    "find_variants",
]

COMPILERS = ("clang", "zig", "none")
"""What ``--toolchain`` takes. A container has no way to build these variants."""

_HOST_OPTIONS = ("-DHIWIRE_EXTERN_DEDUPLICATE", "-DHIWIRE_EXTERN_FAIL")

DEFAULT_VARIANTS = (
    "static_pages:16",
    "static_pages",
    "static_pages:1024",
    "extern_realloc",
    "libc_realloc",
    "linked_allocator",
)
"""What is compared when nothing is said."""

_SLOTS_PER_PAGE = 1024
_MOST_PAGES = 32768
_SHIPPED_PAGES = 64
_MOST_REFS = (1 << 25) - 1
_CODE, _DATA = 10, 11


class RequestError(ValueError):
    """What was asked for cannot be done: an unknown name, a file of another kind, nowhere to write."""


@dataclass(frozen=True)
class Recipe:
    """What tells one variant from another: options for all files, sources to link in, and whether against
    wasi-libc."""

    options: tuple[str, ...]
    sources: tuple[str, ...] = ()
    wasi: bool = False


_GROWING = {
    "extern_realloc": (
        "grows through the host function hiwire_realloc",
        Recipe(("-DHIWIRE_EXTERN_REALLOC",)),
    ),
    "libc_realloc": (
        "grows through realloc of wasi-libc, linked in; imports nothing of WASI",
        Recipe((), wasi=True),
    ),
    "linked_allocator": (
        "extern_realloc over the allocator c/sidetable/allocator.c, linked in",
        Recipe(("-DHIWIRE_EXTERN_REALLOC",), sources=("sidetable/allocator.c",)),
    ),
}


@dataclass(frozen=True)
class Variant:
    """One module to compare, or why there is none.

    Attributes:
        name: as ``--variants`` takes it.
        description: in a few words.
        source: "package", "file", or the compiler that built it.
        wasm: the module; empty if there is none.
        reason: why there is none; empty if there is one.
        most_refs: how many handles fit by its build options; None for a module from elsewhere.
    """

    name: str
    description: str
    source: str
    wasm: bytes
    reason: str = ""
    most_refs: int | None = None

    def facts(self) -> dict[str, Any]:
        """For the report (docs/compare.schema.json), with what its bytes say."""
        facts: dict[str, Any] = {
            name: getattr(self, name) for name in ("name", "description", "source", "reason", "most_refs")
        }
        if self.wasm:
            module = Module.parse(self.wasm)
            for name, kind in (("code_bytes", _CODE), ("data_bytes", _DATA)):
                facts[name] = sum(s.end - s.start for s in module.sections if s.kind == kind)
            facts |= {
                "module_bytes": len(self.wasm),
                "initial_pages": module.memories[0].minimum if module.memories else 0,
                "imports": [str(i) for i in module.imports],
                "exports": [e.name for e in module.exports],
            }
        return facts


def find_variants(names: Sequence[str], toolchain: str | None) -> list[Variant]:
    """The variants of these names, built where they must be.

    Args:
        names: as ``--variants`` takes them; everything that is a file is a module.
        toolchain: "clang" or "zig": build all variants with it, also those that the package has. "none":
            build nothing. None: build what the package does not have, with what is here.

    Raises:
        RequestError: there is no such variant, or a file is no hiwire module.
        OSError: a file cannot be read.
    """
    wanted = [_check(name) for name in names]
    twice = {name for name in wanted if wanted.count(name) > 1}
    if twice:
        raise RequestError(f"variant {min(twice)} is named twice")
    # Files first: a mistake shall be found before anything is built.
    files = {name: _file(name) for name in wanted if _is_file(name)}
    builder = Builder(toolchain)
    return [files.get(name) or _variant(name, builder, toolchain) for name in wanted]


def _is_file(name: str) -> bool:
    return name.endswith(".wasm") or os.sep in name


def _pages(name: str) -> int | None:
    found = re.fullmatch(r"static_pages(?::([0-9]{1,5}))?", name)
    return None if found is None else int(found[1]) if found[1] else _SHIPPED_PAGES


def _check(name: str) -> str:
    pages = _pages(name)
    if pages is not None:
        if not 1 <= pages <= _MOST_PAGES:
            raise RequestError(f"variant {name}: a table has from 1 to {_MOST_PAGES} pages")
        return "static_pages" if pages == _SHIPPED_PAGES else f"static_pages:{pages}"
    if name not in _GROWING and not _is_file(name):
        known = ", ".join(["static_pages", "static_pages:N", *_GROWING])
        raise RequestError(f"unknown variant {name!r}; there are: {known}, and the path of a module (.wasm)")
    return name


def _file(name: str) -> Variant:
    wasm = Path(name).read_bytes()
    try:
        exported = Module.parse(wasm).exported(FUNCTION)
    except UnsupportedModuleError as error:
        raise RequestError(f"{name} is no hiwire module: {error}") from None
    needed = (f"hiwire_{name}" for name in ("new", "get", "incref", "decref", "pop", "capacity"))
    missing = [name for name in needed if name not in exported]
    if missing:
        raise RequestError(f"{name} is no hiwire module: it does not export {', '.join(missing)}")
    return Variant(name, "a module given by its path", "file", wasm)


def _variant(name: str, builder: Builder, toolchain: str | None) -> Variant:
    pages = _pages(name)
    if pages is None:
        (text, recipe), most = _GROWING[name], _MOST_REFS
    else:
        most = pages * _SLOTS_PER_PAGE - 1
        text = f"a static array of {pages:,} pages of {_SLOTS_PER_PAGE:,} handles"
        recipe = Recipe((f"-DHIWIRE_STATIC_PAGES={pages}",))
    if name in VARIANTS and toolchain in (None, "none"):
        return Variant(name, text, "package", shipped(name), most_refs=most)
    try:
        wasm, compiler = builder.build(recipe)
    except ToolchainError as error:
        reason = " ".join(str(error).split())
        return Variant(name, text, "", b"", reason, most)
    return Variant(name, text, compiler, wasm, most_refs=most)


class Builder:
    """Compiles recipes with one compiler, which it looks for at the first of them.

    Args:
        toolchain: "clang", "zig", "none", or None: what is here.
    """

    def __init__(self, toolchain: str | None = None) -> None:
        self._toolchain = toolchain
        self._root = Path(__file__).resolve().parents[2] / "c"

    def build(self, recipe: Recipe) -> tuple[bytes, str]:
        """The module, and the compiler that made it.

        Raises:
            ToolchainError: there is no compiler, no source, or the build failed; the text says which.
        """
        compiler = self._compiler
        name = f"{compiler.name} (clang {compiler.release})"
        key = self._key(recipe, compiler)
        kept = cache.load(cache.VARIANTS, key)
        if kept is not None:
            return kept.contents, name
        wasm = self._compile(recipe, compiler)
        cache.store(cache.VARIANTS, key, wasm)
        return wasm, name

    @cached_property
    def _compiler(self) -> Compiler:
        if self._toolchain == "none":
            raise ToolchainError("it must be built, and --toolchain none says to build nothing")
        if not (self._root / "hiwire").is_dir():
            raise ToolchainError(
                "it must be built, and the C sources are part of a checkout, not of an installed package"
            )
        return find_compiler(self._toolchain)

    def _compile(self, recipe: Recipe, compiler: Compiler) -> bytes:
        flags = (f"@{self._root / 'wasm-cflags.txt'}", "-g0", f"-I{self._root / 'hiwire'}")
        options = (*flags, *recipe.options, *_HOST_OPTIONS)
        link = [f"@{self._root / 'hiwire' / 'module-link.txt'}"]
        target = WASI if recipe.wasi else FREESTANDING
        with tempfile.TemporaryDirectory(prefix="hiwire-compare-") as made:
            folder = Path(made)
            objects = compiler.objects(
                self._library(recipe), folder / "library", target=target, options=options
            )
            if not recipe.wasi:
                # Compiled as builtins, memcpy and its kin would call themselves.
                memory = [self._root / "runtime" / "mem.c"]
                objects += compiler.objects(memory, folder / "runtime", options=(*flags, "-fno-builtin"))
            elif compiler.name == "zig":
                link = _for_zig(self._root / "hiwire" / "module-link.txt")
            return compiler.link(objects, folder / "hiwire.wasm", target=target, options=link).read_bytes()

    def _library(self, recipe: Recipe) -> list[Path]:
        return [*sorted((self._root / "hiwire").glob("*.c")), *(self._root / name for name in recipe.sources)]

    def _key(self, recipe: Recipe, compiler: Compiler) -> str:
        key = hashlib.sha256(f"{compiler} {recipe}".encode())
        inputs = [*self._library(recipe), *sorted((self._root / "hiwire").glob("*.[ht]*")), Path(__file__)]
        for path in (*inputs, self._root / "runtime" / "mem.c", self._root / "wasm-cflags.txt"):
            key.update(path.read_bytes())
        return key.hexdigest()[:32]


def _for_zig(options: Path) -> list[str]:
    """The options of the library's module in the words of Zig's own linker, which links for WASI and knows
    fewer. What it has no word for changes the size of the module by some bytes, and nothing that it does."""
    names = {"--allow-undefined": "--import-symbols", "-zstack-size=8192": "-z stack-size=8192"}
    flags: list[str] = []
    for flag in options.read_text(encoding="utf-8").split():
        if flag not in ("--stack-first", "--compress-relocations"):
            flags += names.get(flag, flag.replace("--export-if-defined=", "--export=")).split()
    return flags
