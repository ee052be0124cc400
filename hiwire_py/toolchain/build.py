"""``build()``: makes the WebAssembly modules with the best toolchain that this machine has.

A container engine comes first, because the container pins the compiler, so that the bytes are those of the
package. A compiler of the machine makes modules that do the same in slightly different bytes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hiwire_py.checks import check_integer
from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.containers import ENGINES, Engine, engine
from hiwire_py.toolchain.local import local_compiler, make
from hiwire_py.toolchain.process import Log, Unusable, silent

__all__ = [
    "CONTAINERS",
    "DOCKERFILE",
    "MADE_BASE",
    "REMEDIES",
    "SUMS",
    "TOOLCHAINS",
    "BuildReport",
    "BuiltFile",
    "base_image",
    "build",
    "format_sums",
]

CONTAINERS = ENGINES
TOOLCHAINS = (*CONTAINERS, "clang", "zig")
"""In the order in which they are tried."""

SUMS = "SHA256SUMS"
DOCKERFILE = "Dockerfile.clang17"
MADE_BASE = "localhost/hiwire-debian:trixie"
"""The base image where no registry can be reached: scripts/base_image.py makes it."""
_MOST_PAGES = 32768

REMEDIES = {
    "docker": "see docs.docker.com/engine/install",
    "podman": "on Debian: apt install podman",
    "buildah": "on Debian, as root: apt install buildah (needs no running engine)",
    "clang": "17 or newer, on Debian: apt install clang-19 lld-19 llvm-19 libclang-rt-19-dev-wasm32 make",
    "zig": "python -m pip install ziglang, and make (no root needed)",
}
"""How to get each of them."""
_WAYS = "ways to get a toolchain:" + "".join(f"\n    {name:7} {text}" for name, text in REMEDIES.items())


@dataclass(frozen=True)
class BuiltFile:
    """One file that a build made."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        toolchain: its name, one of ``TOOLCHAINS``.
        version: of the engine or compiler, as it gives it itself.
        rejected: (name, why) of those tried before it.
        out_dir: where the files are.
        files: in the order of their names.
    """

    toolchain: str
    version: str
    rejected: tuple[tuple[str, str], ...]
    out_dir: Path
    files: tuple[BuiltFile, ...]

    def describe(self) -> str:
        """The report in lines for people."""
        lines = [f"built with {self.toolchain} {self.version}"]
        lines += [f"    not {name}: {why}" for name, why in self.rejected]
        lines += [f"{file.sha256[:16]}  {file.size:8}  {self.out_dir / file.name}" for file in self.files]
        return "\n".join(lines)


def build(
    out_dir: str | Path,
    *,
    toolchain: str | Sequence[str] | None = None,
    static_pages: int = 64,
    source: str | Path | None = None,
    log: Log = silent,
) -> BuildReport:
    """Builds every module, the library and its header into a directory, with a file of SHA-256 sums.

    Args:
        out_dir: made if it is missing; files of the same names are replaced, when all are built.
        toolchain: the one to use, or several to try in turn; None: docker, podman, buildah, clang, zig.
        static_pages: slots of the static_pages module, in pages of 1024; from 1 to 32768.
        source: the checkout; None: the one that this package is in.
        log: is called with each line of progress.

    Raises:
        ToolchainError: no toolchain can be used, or the one taken failed.
        ValueError: ``static_pages`` is out of range.
    """
    static_pages = check_integer(static_pages, "static_pages")
    if not 1 <= static_pages <= _MOST_PAGES:
        raise ValueError(f"static_pages is {static_pages}; a table has from 1 to {_MOST_PAGES} pages")
    root = _source(source)
    names = TOOLCHAINS if toolchain is None else (toolchain,) if isinstance(toolchain, str) else toolchain
    taken, rejected = _first_usable(names, root, log)
    log(f"building with {taken.name} {taken.version}")
    target = Path(out_dir)
    with tempfile.TemporaryDirectory(prefix="hiwire-build-") as scratch:
        made = Path(scratch, "out")
        made.mkdir()
        taken.build(made, static_pages)
        files = tuple(_describe(path) for path in sorted(made.iterdir()) if path.is_file())
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            # Through a neighbour, so that whoever has the old file open keeps it whole.
            new = target / f".{file.name}.new"
            shutil.copyfile(made / file.name, new)
            new.replace(target / file.name)
    (target / SUMS).write_text(format_sums(files), encoding="ascii")
    return BuildReport(taken.name, taken.version, rejected, target, files)


def format_sums(files: Sequence[BuiltFile]) -> str:
    """The sums of the modules in the form that ``sha256sum --check`` reads."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files if file.name.endswith(".wasm"))


class _Taken(NamedTuple):
    """A toolchain that can be used; ``build`` makes modules of so many pages in a directory."""

    name: str
    version: str
    build: Callable[[Path, int], None]


def _first_usable(names: Sequence[str], root: Path, log: Log) -> tuple[_Taken, tuple[tuple[str, str], ...]]:
    """The first toolchain that can be used, and (name, why) of those before it."""
    for name in names:
        if name not in TOOLCHAINS:
            raise ToolchainError(f"there is no toolchain {name!r}; there is {', '.join(TOOLCHAINS)}")
    rejected: list[tuple[str, str]] = []
    for name in names:
        try:
            return (_container if name in CONTAINERS else _compiler)(name, root, log), tuple(rejected)
        except Unusable as error:
            rejected.append((name, str(error)))
            log(f"not {name}: {error}")
    if len(rejected) == 1:
        raise ToolchainError(f"toolchain {names[0]} cannot be used: {rejected[0][1]}\n{_WAYS}")
    reasons = "".join(f"    {name}: {why}\n" for name, why in rejected)
    raise ToolchainError(f"no toolchain that can build WebAssembly modules was found:\n{reasons}{_WAYS}")


def base_image(container: Engine, dockerfile: Path, log: Log) -> str:
    """The image that a build starts from: Debian 13, which is fetched if the engine has none.

    Raises:
        Unusable: there is none, here or in its registry.
    """
    official = re.search(r"^ARG BASE=(\S+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    if official is None:
        raise ToolchainError(f"{dockerfile} has no line `ARG BASE=...`; the build needs to know it")
    for image in (official[1], MADE_BASE):
        if container.has(image):
            return image
    log(f"{container.name}: fetching {official[1]}")
    try:
        container.pull(official[1])
    except Unusable as error:
        remedy = "scripts/base_image.py makes one without a registry"
        raise Unusable(f"no base image: {error}; {remedy}") from None
    return official[1]


def _container(name: str, root: Path, log: Log) -> _Taken:
    container = engine(name)
    container.probe()
    base = base_image(container, root / DOCKERFILE, log)
    container.try_run(base)

    def work(out: Path, static_pages: int) -> None:
        arguments = {"BASE": base, "STATIC_PAGES": str(static_pages)}
        container.build(root, DOCKERFILE, arguments, target=None, out=out, log=log)

    return _Taken(name, container.version, work)


def _compiler(name: str, root: Path, log: Log) -> _Taken:
    compiler = local_compiler(name)
    return _Taken(name, f"(clang {compiler.release})", partial(make, compiler, root, log=log))


def _source(source: str | Path | None) -> Path:
    root = Path(__file__).resolve().parents[2] if source is None else Path(source).resolve()
    for needed in ("c/Makefile", DOCKERFILE):
        if not (root / needed).exists():
            raise ToolchainError(
                f"{root} has no {needed}: the C sources are part of a checkout, not of an installed package; "
                "the modules that the package brings are built already"
            )
    return root


def _describe(path: Path) -> BuiltFile:
    contents = path.read_bytes()
    return BuiltFile(path.name, len(contents), hashlib.sha256(contents).hexdigest())
