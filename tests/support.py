"""What several tests use: small guests in text form, and objects whose death can be seen."""

from __future__ import annotations

import functools
from pathlib import Path

import wasmtime

GUESTS = Path(__file__).with_name("guests")


@functools.cache
def wat(text: str) -> bytes:
    """A module in the binary format."""
    return bytes(wasmtime.wat2wasm(text))


def guest_file(name: str) -> bytes:
    """The module ``tests/guests/NAME.wat``."""
    return wat((GUESTS / f"{name}.wat").read_text())


class Thing:
    """An object that weak references can watch."""

    def __init__(self, name: object = None) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Thing({self.name!r})"


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
