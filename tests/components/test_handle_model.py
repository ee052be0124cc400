"""Random sequences of what can be done with handles, over four components and Python, against an oracle."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

import pytest
from component_handles import ALL, FEW, Counted, made, play

from hiwire_py import GuestTrap
from hiwire_py.components import adapters, assemble, tables
from hiwire_py.components.faults import Fault
from hiwire_py.components.glue import Glue
from hiwire_py.wasm import emit

SEED = int(os.environ.get("HIWIRE_COMPONENT_SEED", "1"))
ROUNDS = int(os.environ.get("HIWIRE_COMPONENT_ROUNDS", "1"))
OPERATIONS = 4000


def test_model(engine: str) -> None:
    """Each handle has the number that the specification gives it, each destructor is called once, by its
    definer, and nothing is left. HIWIRE_COMPONENT_ROUNDS=25 plays 100,000 operations."""
    print(f"HIWIRE_COMPONENT_SEED={SEED}")
    known = FEW if engine == "native" else ALL
    assert play(made(known), known, engine, SEED, OPERATIONS * ROUNDS) > 3
    gc.collect()
    assert not Counted.live


# ---- wrong variants of what is generated, which the model must find

Patch = pytest.MonkeyPatch


def _without_trap(patch: Patch, why: Fault) -> None:
    """Handle tables do not check one thing."""
    told = emit.i32_const(why) + b"\x24"  # ... global.set

    def if_(condition: bytes, then: bytes, otherwise: bytes = b"", type_: int | None = None) -> bytes:
        if then.startswith(told) and not otherwise:
            return b""
        return emit.if_(condition, then, otherwise, type_)

    patch.setattr(tables, "if_", if_)


def _wrong_type(patch: Patch) -> None:
    """A handle of another type is taken."""
    told = emit.i32_const(Fault.WRONG_TYPE) + b"\x24"

    def if_(condition: bytes, then: bytes, otherwise: bytes = b"", type_: int | None = None) -> bytes:
        return b"" if told in then else emit.if_(condition, then, otherwise, type_)

    patch.setattr(tables, "if_", if_)


def _lent(patch: Patch) -> None:
    """A lent handle can be given away."""
    _without_trap(patch, Fault.LENT)


def _beyond(patch: Patch) -> None:
    """Handles beyond the table are looked up."""
    told = emit.i32_const(Fault.UNKNOWN_HANDLE) + b"\x24"

    def if_(condition: bytes, then: bytes, otherwise: bytes = b"", type_: int | None = None) -> bytes:
        beyond = then.startswith(told) and emit.global_get(1) in condition
        return b"" if beyond else emit.if_(condition, then, otherwise, type_)

    patch.setattr(tables, "if_", if_)


def _not_reused(patch: Patch) -> None:
    """Freed entries are never used again."""

    def global_set(index: int, value: bytes = b"") -> bytes:
        return b"" if value == emit.local_get(1) else emit.global_set(index, value)

    patch.setattr(tables, "global_set", global_set)


def _not_freed(patch: Patch) -> None:
    """What leaves a table is still found there."""

    def store(name: str, address: bytes, value: bytes, offset: int = 0, *more: Any) -> bytes:
        stays = offset == 4 and value == emit.i32_const(0)
        return b"" if stays else emit.store(name, address, value, offset, *more)

    patch.setattr(tables, "store", store)


def _destroyed_twice(patch: Patch) -> None:
    """Destructors are called twice."""
    destruction = adapters._destruction
    patch.setattr(adapters, "_destruction", lambda *args: destruction(*args) * 2)


def _not_destroyed(patch: Patch) -> None:
    """Destructors are not called when a guest drops a handle."""
    destruction = adapters._destruction

    def some(made: Any, resource: Any, caller: int | None, representation: bytes) -> bytes:
        return b"" if caller is not None else destruction(made, resource, caller, representation)

    patch.setattr(adapters, "_destruction", some)


def _borrowed_destroyed(patch: Patch) -> None:
    """A borrowed handle that is dropped destroys the resource."""
    patch.setattr(adapters, "if_", lambda condition, then: condition + b"\x1a" + then)


def _borrows_remain(patch: Patch) -> None:
    """Nobody counts what is borrowed."""
    trap_if = Glue.trap_if

    def some(self: Glue, condition: bytes, why: Fault) -> bytes:
        return b"" if why == Fault.BORROWS_REMAIN else trap_if(self, condition, why)

    patch.setattr(Glue, "trap_if", some)


def _lent_for_ever(patch: Patch) -> None:
    """What was lent to a call stays lent."""
    patch.setattr(Glue, "end_lends", lambda self, instance: b"")


def _never_lent(patch: Patch) -> None:
    """Nobody notes what is lent."""
    table = Glue.table

    def some(self: Glue, instance: int, name: str, resource: Any, operand: bytes) -> bytes:
        return table(self, instance, "rep" if name == "lend" else name, resource, operand)

    patch.setattr(Glue, "table", some)


def _kept(patch: Patch) -> None:
    """What is given away stays with the giver."""
    table = Glue.table

    def some(self: Glue, instance: int, name: str, resource: Any, operand: bytes) -> bytes:
        return table(self, instance, "rep" if name == "take" else name, resource, operand)

    patch.setattr(Glue, "table", some)


def _alive_after_trap(patch: Patch) -> None:
    """An instance can be entered after a trap."""
    patch.setattr(Glue, "enter", lambda self, caller, callee: b"")


_SHORT = 800, (20, 60)
"""Operations, and lengths of sequences, each of which ends in a trap mostly."""
WRONG: list[Callable[[Patch], None]] = [
    _wrong_type,
    _lent,
    _beyond,
    _not_reused,
    _not_freed,
    _destroyed_twice,
    _not_destroyed,
    _borrowed_destroyed,
    _borrows_remain,
    _lent_for_ever,
    _never_lent,
    _kept,
    _alive_after_trap,
]


@pytest.mark.parametrize("wrong", WRONG, ids=[one.__name__.strip("_") for one in WRONG])
def test_wrong_variants(wrong: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """What is generated wrongly is found."""
    monkeypatch.setattr(assemble, "table_module", tables.table_module.__wrapped__)
    wrong(monkeypatch)
    component = made(FEW)
    monkeypatch.undo()
    with pytest.raises((AssertionError, GuestTrap)) as found:
        play(component, FEW, "wasmtime", SEED, *_SHORT)
    print(repr(found.value)[:200])


def test_right_variant() -> None:
    """The same component, generated rightly, plays so long."""
    play(made(FEW), FEW, "wasmtime", SEED, *_SHORT)
