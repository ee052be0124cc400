"""What hiwire_py and wasm-tools say of a component, and whether they may differ."""

from __future__ import annotations

import functools
import re
import time
import traceback
from typing import NamedTuple

import wasmtime
from random_components import oracle
from validity_cases import REFUSED

from hiwire_py.components.decode import decode
from hiwire_py.components.validate import validate
from hiwire_py.errors import UnsupportedModuleError

__all__ = ["Verdict", "judge", "ours", "outlived"]

SECONDS = 10.0  # that a component of a few kilobytes may take


class Verdict(NamedTuple):
    """Attributes:
    ours, oracle: why the component is invalid; None: it is valid.
    fault: what is wrong with that; "": nothing.
    """

    ours: str | None
    oracle: str | None
    fault: str

    @property
    def outcome(self) -> str:
        """In a few words, to be counted."""
        if self.fault:
            return "faults"
        if (self.ours is None) != (self.oracle is None):
            return "refused by name"
        return "valid" if self.ours is None else "invalid"


@functools.cache
def _engine() -> wasmtime.Engine:
    return wasmtime.Engine()


def check_core(wasm: bytes) -> None:
    """Validate a core module as the plain package wasmtime does."""
    try:
        wasmtime.Module.validate(_engine(), wasm)
    except wasmtime.WasmtimeError as error:
        raise UnsupportedModuleError(str(error)) from None


def ours(wasm: bytes) -> str | None:
    """Our verdict: an error, or None."""
    try:
        validate(decode(wasm), check_core)
    except UnsupportedModuleError as error:
        return str(error)
    return None


def outlived(wasm: bytes) -> Verdict:
    """Our verdict alone; at fault is another exception than ours, and what takes too long."""
    began = time.monotonic()
    try:
        mine = ours(wasm)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Verdict(str(error), None, f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    seconds = time.monotonic() - began
    return Verdict(mine, mine, f"takes {seconds:.0f} s" if seconds > SECONDS else "")


def _is_known(error: str) -> bool:
    return any(re.search(one.words, error) for one in REFUSED)


def judge(wasm: bytes, wasm_tools: str) -> Verdict:
    """Both verdicts on a component."""
    theirs, alone = oracle(wasm, wasm_tools), outlived(wasm)
    mine, fault = alone.ours, alone.fault
    if not fault and mine is None and theirs is not None:
        fault = f"is taken, and is invalid: {theirs}"
    elif not fault and mine is not None and theirs is None and not _is_known(mine):
        fault = f"is refused, and is valid: {mine}"
    return Verdict(mine, theirs, fault)
