"""Modules that a generator makes come out of reading and writing as they went in; the 10,000 are
scripts/fuzz_modules.py --round-trips."""

from __future__ import annotations

from collections import Counter

import pytest
from round_trips import made, round_trip
from wasm_tools_support import WHY_NONE, find_wasm_tools

COUNT = 200


def test_round_trips() -> None:
    """Every instruction and declaration, also where numbers are written at length; what is lowered is
    valid."""
    wasm_tools = find_wasm_tools()
    if wasm_tools is None:
        pytest.skip(WHY_NONE)
    seen: Counter[str] = Counter()
    for number in range(COUNT):
        wasm = made(number, wasm_tools)
        seen["nothing"] += not wasm
        if not wasm:
            continue
        trip = round_trip(wasm, wasm_tools)
        assert not trip.fault, f"module {number}: {trip.fault}"
        seen["lowered"] += trip.lowered
        seen["refused"] += bool(trip.refused)
    assert seen["lowered"] > COUNT // 20 and seen["nothing"] < COUNT // 4, seen
