"""Builds variants of the library that the package does not bring.

The flags are those of c/Makefile, from the same files. What was built is kept in the user's cache directory
under a key of everything that goes into it: a second run builds nothing.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import cache
from ..errors import ToolchainError
from ..toolchain.compilers import FREESTANDING, WASI, Compiler, find_compiler

__all__ = ["COMPILERS", "Builder", "Recipe"]

COMPILERS = ("clang", "zig", "none")
"""What ``--toolchain`` takes. A container has no way to build these variants."""

_HOST_OPTIONS = ("-DHIWIRE_EXTERN_DEDUPLICATE", "-DHIWIRE_EXTERN_FAIL")


@dataclass(frozen=True)
class Recipe:
    """What tells one variant from another: options for all files, sources to link in, and whether against
    wasi-libc."""

    options: tuple[str, ...]
    sources: tuple[str, ...] = ()
    wasi: bool = False


class Builder:
    """Compiles recipes with one compiler, which it looks for at the first of them.

    Args:
        toolchain: "clang", "zig", "none", or None: what is here.
    """

    def __init__(self, toolchain: str | None = None) -> None:
        self._toolchain = toolchain
        self._compiler: Compiler | ToolchainError | None = None
        self._root = Path(__file__).resolve().parents[2] / "c"

    def build(self, recipe: Recipe) -> tuple[bytes, str]:
        """The module, and the compiler that made it.

        Raises:
            ToolchainError: there is no compiler, no source, or the build failed; the text says which.
        """
        compiler = self._find()
        name = f"{compiler.name} (clang {'.'.join(map(str, compiler.version))})"
        kept = cache.root() / "compare" / f"{self._key(recipe, compiler)}.wasm"
        try:
            return kept.read_bytes(), name
        except OSError:
            pass
        wasm = self._compile(recipe, compiler)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as file:
                file.write(wasm)
            Path(file.name).replace(kept)
        except OSError:
            pass  # a cache that cannot be written costs the next run some seconds, and nothing else
        return wasm, name

    def _find(self) -> Compiler:
        if self._compiler is None:
            try:
                self._compiler = self._search()
            except ToolchainError as error:
                self._compiler = error
        if isinstance(self._compiler, ToolchainError):
            raise self._compiler
        return self._compiler

    def _search(self) -> Compiler:
        if self._toolchain == "none":
            raise ToolchainError("it must be built, and --toolchain none says to build nothing")
        if not (self._root / "hiwire").is_dir():
            raise ToolchainError(
                "it must be built, and the C sources are part of a checkout, not of an installed package"
            )
        return find_compiler(self._toolchain)

    def _compile(self, recipe: Recipe, compiler: Compiler) -> bytes:
        flags = (f"@{self._root / 'wasm-cflags.txt'}", "-g0", f"-I{self._root / 'hiwire'}")
        link = [f"@{self._root / 'hiwire' / 'module-link.txt'}"]
        target = WASI if recipe.wasi else FREESTANDING
        with tempfile.TemporaryDirectory(prefix="hiwire-compare-") as folder:
            objects = compiler.objects(
                self._library(recipe),
                Path(folder, "library"),
                target=target,
                options=(*flags, *recipe.options, *_HOST_OPTIONS),
            )
            if not recipe.wasi:
                # Compiled as builtins, memcpy and its kin would call themselves.
                objects += compiler.objects(
                    [self._root / "runtime" / "mem.c"],
                    Path(folder, "runtime"),
                    options=(*flags, "-fno-builtin"),
                )
            if recipe.wasi and compiler.name == "zig":
                link = _for_zig(self._root / "hiwire" / "module-link.txt")
            module = compiler.link(objects, Path(folder, "hiwire.wasm"), target=target, options=link)
            return module.read_bytes()

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
