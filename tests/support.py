"""What several tests use: small guests in text form, and objects whose death can be seen."""

from __future__ import annotations

import functools
import gc
import os
from pathlib import Path

import pytest
import wasmtime

from hiwire_py.engines import wasmtime_capi

GUESTS = Path(__file__).with_name("guests")


@functools.cache
def wat(text: str) -> bytes:
    """A module in the binary format."""
    return bytes(wasmtime.wat2wasm(text))


def guest_file(name: str) -> bytes:
    """The module ``tests/guests/NAME.wat``."""
    return wat((GUESTS / f"{name}.wat").read_text())


def use_mode(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Call wasmtime in that way; skip with the reason where it cannot be here, or fail if
    HIWIRE_REQUIRE_MODES says it must be."""
    monkeypatch.setenv("HIWIRE_WASMTIME_MODE", name)
    try:
        wasmtime_capi.mode()
    except ImportError as e:
        if name in os.environ.get("HIWIRE_REQUIRE_MODES", "").split(","):
            pytest.fail(f"the mode {name} must be here, but: {e}")
        pytest.skip(str(e))
    return name


class Thing:
    """An object that weak references can watch."""

    def __init__(self, name: object = None) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Thing({self.name!r})"


def things() -> int:
    """How many there are. Finalizers, which would count them, swallow exceptions of signal handlers."""
    return sum(type(o) is Thing for o in gc.get_objects())


class Counted:
    """An object that counts those of its class: derive a class for each test."""

    alive = 0
    peak = 0

    def __init__(self) -> None:
        counts = type(self)
        counts.alive += 1
        counts.peak = max(counts.peak, counts.alive)

    def __del__(self) -> None:
        type(self).alive -= 1
