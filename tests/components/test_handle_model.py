"""Random sequences of what can be done with handles, over four components and Python, against an oracle."""

from __future__ import annotations

import gc
import os

from component_handles import Counted, made, play

SEED = int(os.environ.get("HIWIRE_COMPONENT_SEED", "1"))
ROUNDS = int(os.environ.get("HIWIRE_COMPONENT_ROUNDS", "1"))
OPERATIONS = {"wasmtime": 4000, "wasmer": 2000, "native": 4000}


def test_model(engine: str) -> None:
    """Each handle has the number that the specification gives it, each destructor is called once, by its
    definer, and nothing is left. HIWIRE_COMPONENT_ROUNDS=50 plays about 200,000 operations."""
    print(f"HIWIRE_COMPONENT_SEED={SEED}")
    assert play(made(), engine, SEED, OPERATIONS[engine] * ROUNDS) > 3
    gc.collect()
    assert not Counted.live
