"""What stands in the C tests about themselves: how each is built, and what its aborting functions say.

Needs Python alone, since scripts/emscripten.py uses it too.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EMSCRIPTEN", "TESTS", "Build", "builds", "messages"]

TESTS = Path(__file__).resolve().parents[1] / "c"
FREESTANDING = "wasm32-unknown-unknown"
EMSCRIPTEN = "wasm32-emscripten"

# Defines that only the test itself looks at; the library is the same with and without them.
_OWN = ("-DOWN_REALLOC", "-DMOVING", "-DPAGES=")


@dataclass(frozen=True)
class Build:
    """One way to build a C test, from a ``// build: OPTIONS`` line in it."""

    source: Path
    options: tuple[str, ...]

    @property
    def target(self) -> str:
        named = [option.partition("=")[2] for option in self.options if option.startswith("--target=")]
        return named[-1] if named else FREESTANDING

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(option for option in self.options if not option.startswith("--target="))

    @property
    def library_flags(self) -> tuple[str, ...]:
        """Those that the library is built with."""
        return tuple(flag for flag in self.flags if not flag.startswith(_OWN))

    def __str__(self) -> str:
        return " ".join([self.source.name, *self.options])


def builds() -> list[Build]:
    """Every build of every C test."""
    found = []
    for source in sorted([*TESTS.glob("*.c"), *TESTS.glob("*.cpp")]):
        lines = re.findall(r"^// build: (.*)$", source.read_text(encoding="utf-8"), re.MULTILINE)
        if not lines:
            raise ValueError(f"{source}: no line starts with '// build:'")
        found += [Build(source, tuple(shlex.split(line))) for line in lines]
    return found


def messages(source: Path) -> dict[str, str]:
    """The exported functions of a C test that abort, and what each has to say before."""
    text = source.read_text(encoding="utf-8")
    return {
        f"abort_{name}": said for said, name in re.findall(r"^// says: (.*)\nABORTS\((\w+)\)", text, re.M)
    }
