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
from ..engines import Engine
from ..passes.externref import Handle, Lowered
from ..wasm.types import Limits

__all__ = ["LEAST", "entry_name", "keep", "recall"]

LEAST = 64 << 10
"""Bytes of the smallest modules that are kept, unless one that is larger needs them."""

_SOURCES = ("wasm", "passes", "objects", "engines")


def entry_name(engine: Engine, wasm: bytes, digest: bytes, least: int | None = None) -> str | None:
    """Under what a prepared module is kept; None where it is not.

    Args:
        engine: for which it is prepared.
        wasm: the module.
        digest: of the module, and of how it is prepared.
        least: bytes of the smallest modules that are kept; None: `LEAST`.
    """
    if len(wasm) < (LEAST if least is None else least) or not cache.limit():
        return None
    here, configuration = _here(), engine.configuration()
    if here is None or configuration is None:
        return None
    decides = [digest.hex(), engine.name, engine.requires, configuration, here]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _here() -> list[str] | None:
    """The processor, and the code of this package that prepares modules; None where they cannot be read."""
    features = b""
    package = Path(__file__).parent.parent
    try:
        if sys.platform == "linux":
            with open("/proc/cpuinfo", "rb") as file:
                lines = file.read(8192).split(b"\n")  # of the first processor; all have the same
            features = b"".join(x for x in lines if x.lower().startswith((b"flags", b"features", b"isa")))
        sources = sorted(
            [*package.glob("*.py"), *(p for name in _SOURCES for p in (package / name).rglob("*.py"))]
        )
        code = b"".join(path.read_bytes() for path in sources)
    except OSError as e:
        cache.refuse(e)
        return None
    return [platform.machine(), *(hashlib.sha256(part).hexdigest() for part in (features, code))]


def recall(engine: Engine, name: str) -> tuple[Any, Lowered | None] | None:
    """What `keep` was given under that name: the compiled module, and how it was lowered, without its bytes.
    None if there is nothing."""
    found = cache.load(cache.MODULES, name)
    if found is None:
        return None
    compiled, lowered = json.loads(found.notes)
    try:
        return engine.deserialize(found.contents, compiled), lowered and _lowered(*lowered)
    except cache.CacheError as e:
        cache.refuse(e)
        return None


def keep(engine: Engine, name: str, compiled: Any, lowered: Lowered | None) -> None:
    """Keep under a name of `entry_name`, if the disk lets it be, what the engine compiled, and how the module
    was lowered, if it was."""
    contents, notes = engine.serialize(compiled)
    handles = lowered and [(one.name, one.limits, one.table) for one in lowered.handles]
    everything = [notes, lowered and [handles, lowered.globals]]
    cache.store(cache.MODULES, name, contents, json.dumps(everything).encode())


def _lowered(handles: Any, globals_: Any) -> Lowered:
    """Out of JSON, which has lists for tuples and only text for keys."""
    return Lowered(
        b"",
        tuple(Handle(name, Limits(*limits), table) for name, limits, table in handles),
        {int(index): name for index, name in globals_.items()},
    )
