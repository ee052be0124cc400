"""What several tests use: small guests in text form, and objects whose death can be seen."""

from __future__ import annotations

import functools
import gc
import os
import weakref
from pathlib import Path

import pytest
import wasmtime

from hiwire_py import engines
from hiwire_py.engines.wasmtime import modes
from hiwire_py.objects import Space
from hiwire_py.objects.layout import STATE_FRAMES, STATE_FRAMES_END

_AVAILABLE = {info.name: info for info in engines()}
SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]
GUESTS = SUPPORT / "guests"


def python_path(*files: str) -> str:
    """PYTHONPATH of a child process: this package, what the tests share, and the folders of ``files``."""
    return os.pathsep.join(map(str, (SUPPORT, ROOT, *(Path(file).parent for file in files))))


@functools.cache
def wat(text: str) -> bytes:
    """A module in the binary format."""
    return bytes(wasmtime.wat2wasm(text))


def guest_file(name: str) -> bytes:
    """The module ``guests/NAME.wat``."""
    return wat((GUESTS / f"{name}.wat").read_text())


def use_engine(name: str) -> str:
    """The name of an engine that is here; skip with the reason where it is not, or fail if
    HIWIRE_REQUIRE_ENGINES, which CI sets for each Python, says it must be."""
    info = _AVAILABLE[name]
    if not info.available:
        if info.name in os.environ.get("HIWIRE_REQUIRE_ENGINES", "").split(","):
            pytest.fail(f"{info.name} must be here, but: {info.reason}")
        pytest.skip(f"{info.name}: {info.reason}")
    return name


def use_mode(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Call wasmtime in that way; skip with the reason where it cannot be here, or fail if
    HIWIRE_REQUIRE_MODES says it must be."""
    monkeypatch.setenv("HIWIRE_WASMTIME_MODE", name)
    try:
        modes.mode()
    except ImportError as e:
        if name in os.environ.get("HIWIRE_REQUIRE_MODES", "").split(","):
            pytest.fail(f"the mode {name} must be here, but: {e}")
        pytest.skip(str(e))
    return name


@functools.cache
def weak_references_stay() -> bool:
    """Whether this Python's finalizers find weak references to what dies with them intact."""
    found: list[bool] = []

    class Dying:
        def __del__(self) -> None:
            found.append(self.reference() is self)

        def __init__(self) -> None:
            self.me = self
            self.reference = weakref.ref(self)

    Dying()
    gc.collect()
    return found == [True]


class Thing:
    """An object that weak references can watch."""

    def __init__(self, name: object = None) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Thing({self.name!r})"


def frame_bytes(space: Space) -> int:
    """How many bytes the frames of running functions take."""
    state = space.runtime.state()
    return state[STATE_FRAMES_END] - state[STATE_FRAMES]


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
