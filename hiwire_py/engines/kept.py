"""Prepared modules on disk, so that a large module starts at once in the next process.

What is kept of a module is what its engine compiled, in the engine's own form, and in JSON what Python knows
of it that the module does not say. The module itself is not kept: its bytes are at hand when it is asked for,
and its declarations are read from them. It is not validated again, as only valid modules come to be kept.

A file's name is a digest of all that decides what is in it: the module's contents, the engine, its version
and configuration, the processor, and the Python code that rewrites and compiles modules. So what another
release of anything made is not found, and in time it is evicted. cache.py has the rules of the directory.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

from .. import cache

__all__ = ["LEAST", "entry_name", "keep", "recall"]

LEAST = 64 << 10
"""Bytes of the smallest modules that are kept. Compiling one of these takes 100 ms on wasmtime, 50 on wasmer;
keeping it takes 3 more, and taking it from the disk 3 to 4. Once in a process, 5 for `_here`."""

_SOURCES = ("passes", "wasm", "engines")


def entry_name(digest: bytes, engine: str, configuration: Any) -> str | None:
    """Under what a prepared module is kept; None where that cannot be.

    Args:
        digest: of the module, and how it is prepared.
        engine: its name.
        configuration: of the engine, as JSON can write it; None: what it compiles cannot be kept.
    """
    here = _here()
    if here is None or configuration is None:
        return None
    return hashlib.sha256(json.dumps([digest.hex(), engine, configuration, here]).encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _here() -> list[str] | None:
    """The processor, and the code of this package that prepares modules; None where they cannot be read."""
    features = b""
    package = Path(__file__).parent.parent
    try:
        if sys.platform == "linux":
            with open(
                "/proc/cpuinfo", "rb"
            ) as file:  # starts with the first processor, and all have the same
                lines = file.read(8192).split(b"\n")
            features = b"".join(x for x in lines if x.lower().startswith((b"flags", b"features", b"isa")))
        sources = sorted(path for name in _SOURCES for path in (package / name).rglob("*.py"))
        code = b"".join(path.read_bytes() for path in sources)
        if not code:
            raise FileNotFoundError(f"{package} has no source, which tells its releases apart")
    except OSError as e:
        cache.refuse(e)
        return None
    return [platform.machine(), *(hashlib.sha256(part).hexdigest() for part in (features, code))]


def recall(name: str) -> tuple[bytes, Any] | None:
    """What `keep` was given under that name; None if there is nothing."""
    kept = cache.load(cache.MODULES, name)
    return None if kept is None else (kept.contents, json.loads(kept.notes))


def keep(name: str, contents: bytes | bytearray, notes: Any) -> None:
    """Keep what an engine made, and notes, as JSON can write them, if the disk lets it be."""
    cache.store(cache.MODULES, name, contents, json.dumps(notes).encode())
