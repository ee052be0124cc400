"""The variants of hiwire that can be compared: what they are called, where they come from, what they are.

Two come with the package. The others are built when they are asked for, since they are for choosing, not for
use; without a compiler each is a variant with a reason in place of a module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ToolchainError, UnsupportedModuleError
from ..runner import ArgumentError
from ..sources import VARIANTS, shipped
from ..wasm.module import FUNCTION, Module
from .build import Builder, Recipe

__all__ = ["DEFAULT_VARIANTS", "KNOWN_VARIANTS", "Variant", "find_variants"]

DEFAULT_VARIANTS = (
    "static_pages:16",
    "static_pages",
    "static_pages:1024",
    "extern_realloc",
    "libc_realloc",
    "linked_allocator",
)
"""What is compared when nothing is said."""

KNOWN_VARIANTS = ("static_pages", "static_pages:N", "extern_realloc", "libc_realloc", "linked_allocator")

_SLOTS_PER_PAGE = 1024
_MOST_PAGES = 32768
_SHIPPED_PAGES = 64
_MOST_REFS = (1 << 25) - 1
_CODE, _DATA = 10, 11
_TEXTS = {
    "extern_realloc": "grows through the host function hiwire_realloc",
    "libc_realloc": "grows through realloc of wasi-libc, linked in; imports nothing of WASI",
    "linked_allocator": "extern_realloc over the allocator c/sidetable/allocator.c, linked in",
}
_GROWING = {
    "extern_realloc": Recipe(("-DHIWIRE_EXTERN_REALLOC",)),
    "libc_realloc": Recipe((), wasi=True),
    "linked_allocator": Recipe(("-DHIWIRE_EXTERN_REALLOC",), sources=("sidetable/allocator.c",)),
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

    def facts(self) -> dict[str, object]:
        """What its bytes say, for the report: sizes in bytes, names of imports and exports, first pages."""
        if not self.wasm:
            return {}
        module = Module.parse(self.wasm)
        sizes = {
            kind: sum(s.end - s.start for s in module.sections if s.kind == kind) for kind in (_CODE, _DATA)
        }
        return {
            "module_bytes": len(self.wasm),
            "code_bytes": sizes[_CODE],
            "data_bytes": sizes[_DATA],
            "initial_pages": module.memories[0].minimum if module.memories else 0,
            "imports": [str(i) for i in module.imports],
            "exports": [e.name for e in module.exports],
        }


def find_variants(names: Sequence[str], toolchain: str | None) -> list[Variant]:
    """The variants of these names, built where they must be.

    Args:
        names: see `KNOWN_VARIANTS`; everything that is a file is a module.
        toolchain: "clang" or "zig": build all variants with it, also those that the package has. "none":
            build nothing. None: build what the package does not have, with what is here.

    Raises:
        ArgumentError: there is no such variant, or a file is no hiwire module.
        OSError: a file cannot be read.
    """
    wanted = [_check(name) for name in names]
    twice = {name for name in wanted if wanted.count(name) > 1}
    if twice:
        raise ArgumentError(f"variant {min(twice)} is named twice")
    # Files first: a mistake shall be found before anything is built.
    files = {name: _file(name) for name in wanted if _is_file(name)}
    builder = Builder(toolchain)
    return [files[name] if name in files else _variant(name, builder, toolchain) for name in wanted]


def _is_file(name: str) -> bool:
    return name.endswith(".wasm") or os.sep in name


def _pages(name: str) -> int | None:
    found = re.fullmatch(r"static_pages(?::([0-9]{1,5}))?", name)
    return None if found is None else int(found[1]) if found[1] else _SHIPPED_PAGES


def _check(name: str) -> str:
    pages = _pages(name)
    if pages is not None:
        if not 1 <= pages <= _MOST_PAGES:
            raise ArgumentError(f"variant {name}: a table has from 1 to {_MOST_PAGES} pages")
        return "static_pages" if pages == _SHIPPED_PAGES else f"static_pages:{pages}"
    if name not in _GROWING and not _is_file(name):
        known = ", ".join(KNOWN_VARIANTS)
        raise ArgumentError(f"unknown variant {name!r}; there are: {known}, and the path of a module (.wasm)")
    return name


def _file(name: str) -> Variant:
    wasm = Path(name).read_bytes()
    try:
        exported = Module.parse(wasm).exported(FUNCTION)
    except UnsupportedModuleError as error:
        raise ArgumentError(f"{name} is no hiwire module: {error}") from None
    missing = [f"hiwire_{name}" for name in ("new", "get", "incref", "decref", "pop", "capacity")]
    missing = [name for name in missing if name not in exported]
    if missing:
        raise ArgumentError(f"{name} is no hiwire module: it does not export {', '.join(missing)}")
    return Variant(name, "a module given by its path", "file", wasm)


def _variant(name: str, builder: Builder, toolchain: str | None) -> Variant:
    pages = _pages(name)
    if pages is None:
        text, recipe, most = _TEXTS[name], _GROWING[name], _MOST_REFS
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
