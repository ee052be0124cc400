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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import cache
from ..errors import ToolchainError, UnsupportedModuleError
from ..sources import VARIANTS, shipped
from ..toolchain.compilers import FREESTANDING, WASI, Compiler, find_compiler
from ..wasm.module import FUNCTION, Kind, Module

__all__ = ["COMPILERS", "DEFAULT_VARIANTS", "RequestError", "Variant", "find_variants"]

COMPILERS = ("clang", "zig", "none")
"""What ``--toolchain`` takes. A container has no way to build these variants."""

DEFAULT_VARIANTS = (
    "static_pages:16",
    "static_pages",
    "static_pages:1024",
    "extern_realloc",
    "libc_realloc",
    "linked_allocator",
)
"""What is compared when nothing is said."""

_SOURCES = Path(__file__).resolve().parents[2] / "c"
_LIBRARY = _SOURCES / "hiwire"
_RUNTIME = _SOURCES / "runtime" / "mem.c"
_FLAGS = _SOURCES / "wasm-cflags.txt"
_SLOTS_PER_PAGE = 1024
_MOST_PAGES = 32768
_SHIPPED_PAGES = 64
_MOST_REFS = (1 << 25) - 1


class RequestError(ValueError):
    """What was asked for cannot be done: an unknown name, a file of another kind, nowhere to write."""


@dataclass(frozen=True)
class Variant:
    """One module to compare, or why there is none.

    Attributes:
        name: as ``--variants`` takes it.
        description: in a few words.
        most_refs: how many handles fit by its build options; None for a module from elsewhere.
        options: of the compiler, for all files.
        linked: sources that are linked in, besides those of the library.
        wasi: whether it is linked against wasi-libc.
        source: "package", "file", or the compiler that built it.
        wasm: the module; empty if there is none.
        reason: why there is none; empty if there is one.
    """

    name: str
    description: str
    most_refs: int | None = _MOST_REFS
    options: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    wasi: bool = False
    source: str = ""
    wasm: bytes = b""
    reason: str = ""

    def facts(self) -> dict[str, Any]:
        """For the report (docs/compare.schema.json), with what its bytes say."""
        facts: dict[str, Any] = {
            name: getattr(self, name) for name in ("name", "description", "source", "reason", "most_refs")
        }
        if self.wasm:
            module = Module.parse(self.wasm)
            for name, kind in (("code_bytes", Kind.CODE), ("data_bytes", Kind.DATA)):
                facts[name] = sum(s.end - s.start for s in module.sections if s.kind == kind)
            facts |= {
                "module_bytes": len(self.wasm),
                "initial_pages": module.memories[0].minimum if module.memories else 0,
                "imports": [str(i) for i in module.imports],
                "exports": [e.name for e in module.exports],
            }
        return facts


_GROWING = (
    Variant(
        "extern_realloc",
        "grows through the host function hiwire_realloc",
        options=("-DHIWIRE_EXTERN_REALLOC",),
    ),
    Variant(
        "libc_realloc", "grows through realloc of wasi-libc, linked in; imports nothing of WASI", wasi=True
    ),
    Variant(
        "linked_allocator",
        "extern_realloc over the allocator c/sidetable/allocator.c, linked in",
        options=("-DHIWIRE_EXTERN_REALLOC",),
        linked=("sidetable/allocator.c",),
    ),
)


def find_variants(names: Sequence[str], toolchain: str | None) -> list[Variant]:
    """The variants of these names, each once, built where they must be.

    Args:
        names: as ``--variants`` takes them; everything that is a file is a module.
        toolchain: "clang" or "zig": build all variants with it, also those that the package has. "none":
            build nothing. None: build what the package does not have, with what is here.

    Raises:
        RequestError: there is no such variant, or a file is no hiwire module.
        OSError: a file cannot be read.
    """
    # All names first: a mistake shall be found before anything is built.
    wanted = {variant.name: variant for variant in map(_named, names)}
    return [_with_module(variant, toolchain) for variant in wanted.values()]


def _named(name: str) -> Variant:
    """What a name stands for; not built yet, unless it is a file."""
    for variant in _GROWING:
        if name == variant.name:
            return variant
    pages = re.fullmatch(r"static_pages(?::([0-9]{1,5}))?", name)
    if pages is not None:
        return _static(int(pages[1] or _SHIPPED_PAGES))
    if not name.endswith(".wasm") and os.sep not in name:
        known = ", ".join(["static_pages", "static_pages:N", *(variant.name for variant in _GROWING)])
        raise RequestError(f"unknown variant {name!r}; there are: {known}, and the path of a module (.wasm)")
    wasm = Path(name).read_bytes()
    try:
        exported = Module.parse(wasm).exported(FUNCTION)
    except UnsupportedModuleError as error:
        raise RequestError(f"{name} is no hiwire module: {error}") from None
    needed = (f"hiwire_{name}" for name in ("new", "get", "incref", "decref", "pop", "capacity"))
    missing = [name for name in needed if name not in exported]
    if missing:
        raise RequestError(f"{name} is no hiwire module: it does not export {', '.join(missing)}")
    return Variant(name, "a module given by its path", most_refs=None, source="file", wasm=wasm)


def _static(pages: int) -> Variant:
    if not 1 <= pages <= _MOST_PAGES:
        raise RequestError(f"variant static_pages:{pages}: a table has from 1 to {_MOST_PAGES} pages")
    return Variant(
        "static_pages" if pages == _SHIPPED_PAGES else f"static_pages:{pages}",
        f"a static array of {pages:,} pages of {_SLOTS_PER_PAGE:,} handles",
        most_refs=pages * _SLOTS_PER_PAGE - 1,
        options=(f"-DHIWIRE_STATIC_PAGES={pages}",),
    )


def _with_module(variant: Variant, toolchain: str | None) -> Variant:
    if variant.wasm:
        return variant
    if variant.name in VARIANTS and toolchain in (None, "none"):
        return replace(variant, source="package", wasm=shipped(variant.name))
    try:
        wasm, compiler = _build(variant, toolchain)
    except ToolchainError as error:
        return replace(variant, reason=" ".join(str(error).split()))
    return replace(variant, source=compiler, wasm=wasm)


def _build(variant: Variant, toolchain: str | None) -> tuple[bytes, str]:
    """The module, and the compiler that made it.

    Raises:
        ToolchainError: there is no compiler, no source, or the build failed; the text says which.
    """
    if toolchain == "none":
        raise ToolchainError("it must be built, and --toolchain none says to build nothing")
    if not _LIBRARY.is_dir():
        raise ToolchainError(
            "it must be built, and the C sources are part of a checkout, not of an installed package"
        )
    compiler = find_compiler(toolchain)
    name = f"{compiler.name} (clang {compiler.release})"
    sources = [*sorted(_LIBRARY.glob("*.c")), *(_SOURCES / file for file in variant.linked)]
    digest = hashlib.sha256(f"{compiler} {variant}".encode())
    for path in (*sources, *sorted(_LIBRARY.glob("*.[ht]*")), Path(__file__), _RUNTIME, _FLAGS):
        digest.update(path.read_bytes())
    key = digest.hexdigest()[:32]
    kept = cache.load(cache.VARIANTS, key)
    if kept is not None:
        return kept.contents, name
    wasm = _compile(variant, sources, compiler)
    cache.store(cache.VARIANTS, key, wasm)
    return wasm, name


def _compile(variant: Variant, sources: Sequence[Path], compiler: Compiler) -> bytes:
    flags = (f"@{_FLAGS}", "-g0", f"-I{_LIBRARY}")
    options = (*flags, *variant.options, "-DHIWIRE_EXTERN_DEDUPLICATE", "-DHIWIRE_EXTERN_FAIL")
    link = [f"@{_LIBRARY / 'module-link.txt'}"]
    target = WASI if variant.wasi else FREESTANDING
    with tempfile.TemporaryDirectory(prefix="hiwire-compare-") as made:
        folder = Path(made)
        objects = compiler.objects(sources, folder / "library", target=target, options=options)
        if not variant.wasi:
            # Compiled as builtins, memcpy and its kin would call themselves.
            objects += compiler.objects([_RUNTIME], folder / "runtime", options=(*flags, "-fno-builtin"))
        elif compiler.name == "zig":
            link = _for_zig(_LIBRARY / "module-link.txt")
        return compiler.link(objects, folder / "hiwire.wasm", target=target, options=link).read_bytes()


def _for_zig(options: Path) -> list[str]:
    """The options of the library's module in the words of Zig's own linker, which links for WASI and knows
    fewer. What it has no word for changes the size of the module by some bytes, and nothing that it does."""
    names = {"--allow-undefined": "--import-symbols", "-zstack-size=8192": "-z stack-size=8192"}
    flags: list[str] = []
    for flag in options.read_text(encoding="utf-8").split():
        if flag not in ("--stack-first", "--compress-relocations"):
            flags += names.get(flag, flag.replace("--export-if-defined=", "--export=")).split()
    return flags
