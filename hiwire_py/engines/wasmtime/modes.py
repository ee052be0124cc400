"""How wasmtime is called, and why so.

There are two ways, the better one first: functions compiled at install (`compiled`), and cffi's ABI mode,
which needs no compiler (`abi`).
"""

from __future__ import annotations

import functools
import importlib
import os
from dataclasses import dataclass

from .store import WasmtimeStore

__all__ = ["MODES", "Mode", "mode"]

MODES = {"compiled": "cffi (compiled)", "abi": "cffi (ABI)"}
"""What HIWIRE_WASMTIME_MODE may say -> the name of that way of calling."""


@dataclass(frozen=True)
class Mode:
    """A way of calling.

    Attributes:
        name: as `MODES` has it.
        reason: why it is not a better one, or "".
        store: the class of its stores.
    """

    name: str
    reason: str
    store: type[WasmtimeStore]


def mode() -> Mode:
    """The best way there is, or the one that the environment variable HIWIRE_WASMTIME_MODE names.

    Raises:
        ImportError: it names one that is not there, or that does not exist; or none is there, as where the
            package is a version that is not known here.
    """
    return _mode(os.environ.get("HIWIRE_WASMTIME_MODE") or None)


@functools.cache
def _mode(wanted: str | None) -> Mode:
    if wanted is not None and wanted not in MODES:
        raise ImportError(f"HIWIRE_WASMTIME_MODE is {wanted!r}; it can be {', '.join(MODES)}")
    told: dict[str, str] = {}  # a reason why a way is not there -> the sentence; both ways may have the same
    for key, name in MODES.items():
        if wanted not in (None, key):
            continue
        try:
            module = importlib.import_module(f".{key}", __package__)
        except (ImportError, AttributeError) as e:
            told[str(e)] = f"{name} is not used: {e}"
            continue
        asked = ["HIWIRE_WASMTIME_MODE asks for it"] if wanted else []
        return Mode(name, "; ".join([*told.values(), *asked]), module.STORE)
    asked_for = f"HIWIRE_WASMTIME_MODE is {wanted!r}, but " if wanted else ""
    raise ImportError(asked_for + "; ".join(told.values()))
