"""The same random calls on every engine, and on the oracle, which has true externrefs: what differs is a bug.

``HIWIRE_FUZZ_CALLS`` sets how many calls are made (2,000 by default), ``HIWIRE_FUZZ_SEED`` where they begin.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from oracle import Oracle, OracleTrap
from random_guests import random_guest
from support import Thing, frame_bytes, guest_file, wat

from hiwire_py import NULL, Guest, GuestTrap
from hiwire_py.objects.runtime import Runtime
from hiwire_py.values import EXTERNREF, F32, F64
from hiwire_py.wasm.module import Module

CALLS = int(os.environ.get("HIWIRE_FUZZ_CALLS", "2000"))
SEED = int(os.environ.get("HIWIRE_FUZZ_SEED", "1"))
STEPS = 250  # calls of one guest

EVERYTHING = guest_file("everything")
MODULE = Module.parse(EVERYTHING)
TYPES = {name: MODULE.function_type(index) for name, index in MODULE.exported(0).items()}


class Enough(Exception):
    """A random guest has asked for more objects than a test needs."""


class Side:
    """A guest on one engine, or the oracle, with host functions that log what they see."""

    def __init__(self, engine: str | None) -> None:
        self.log: list[Any] = []
        self.made = {0: Thing("m0"), 1: Thing("m1")}
        self.nesting = 0
        host: dict[str, Callable[..., Any]]
        host = {"make": self.make, "see": self.see, "swap": lambda a, b: (b, a), "again": self.again}
        if engine is None:
            self.run = Oracle(EVERYTHING, host).call
        else:
            self.guest = guest = Guest(EVERYTHING, {"env": host}, engine=engine)
            self.run = lambda name, *args: guest.exports[name](*args)

    def make(self, number: int) -> object:
        if number == 5:
            return NULL
        if number == 6:
            raise ValueError("six")
        return self.made.setdefault(number, Thing(f"m{number}"))

    def see(self, thing: object, number: int) -> None:
        self.log.append((repr(thing), number))

    def again(self, thing: object, number: int) -> object:
        """Call the guest from a host function; it may trap in there."""
        if self.nesting == 3:
            return NULL
        self.nesting += 1
        try:
            self.call("a_set", [number & 3, Thing("inner")])
            return self.call("nested", [thing, number - 1])
        finally:
            self.nesting -= 1

    def call(self, name: str, args: list[Any]) -> object:
        try:
            return self.run(name, *args)
        except (GuestTrap, OracleTrap) as e:
            return e.kind
        except ValueError as e:
            return f"ValueError {e}"

    def held(self) -> list[object]:
        """The objects that the guest can still reach."""
        run = self.run
        things = [run("a_get", i) for i in range(run("a_size"))]
        things += [run("b_get", i) for i in range(run("b_size"))]
        things.append(run("kept"))
        return [x for x in things if x is not NULL]


def _arguments(name: str, r: random.Random, pool: list[Any]) -> list[Any]:
    args: list[Any] = []
    for code in TYPES[name].params:
        if code == EXTERNREF:
            args.append(r.choice(pool))
        elif code in (F32, F64):
            args.append(r.choice([0.0, -1.5, 2.0**40, float("inf")]))
        else:
            args.append(r.choice([0, 0, 1, 1, 2, 2, 3, 4, 5, 6, r.randrange(8), -1]))
    return args


@pytest.mark.parametrize("patience", [1024, 0])
@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, CALLS // STEPS)))
def test_same_as_true_externref(
    engine: str, seed: int, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results, logs and traps agree with the oracle, and what is alive afterwards is what the guest holds.

    With no patience, each host function releases all that seems to be unused.
    """
    monkeypatch.setattr(Runtime, "patience", patience)
    oracle, side = sides = [Side(None), Side(engine)]
    r = random.Random(seed)
    pool: list[Any] = [NULL, None, *(Thing(i) for i in range(6))]
    for step in range(STEPS):
        name = r.choice(list(TYPES))
        args = _arguments(name, r, pool)
        results = []
        for side in sides:
            result = side.call(name, args)
            results.append((repr(result), side.log))
            if isinstance(result, tuple):
                assert all(x is not NotImplemented for x in result)
        assert results[0] == results[1], f"seed {seed}, step {step}: {name}{args}"
    assert sorted(map(repr, oracle.held())) == sorted(map(repr, side.held()))
    side.guest.collect()
    assert {id(x) for x in side.guest.instance.space.objects.values()} == set(map(id, side.held()))


def test_every_export_was_tried() -> None:
    """The random calls cover the guest: each export is called in the first seeds."""
    called = set()
    for seed in range(SEED, SEED + 8):
        r = random.Random(seed)
        for _ in range(STEPS):
            name = r.choice(list(TYPES))
            _arguments(name, r, [NULL])
            called.add(name)
    assert called == set(TYPES)


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, CALLS // 100)))
def test_random_guests(engine: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions made at random, that keep externrefs in locals and operands over calls, loops and
    branches."""
    monkeypatch.setattr(Runtime, "patience", 0)
    text = random_guest(seed)
    outcomes = []
    for oracle in (True, False):
        log: list[str] = []
        count = 0

        def make(number: int, log: list[str] = log) -> object:
            nonlocal count
            count += 1
            if count > 300:
                raise Enough
            return NULL if number % 7 == 3 else Thing(f"{count}.{number}")

        def see(thing: object, number: int, log: list[str] = log) -> None:
            log.append(f"{thing!r} {number}")

        def both(one: object, other: object, log: list[str] = log) -> object:
            log.append(f"{one!r} {other!r}")
            return other

        host: dict[str, Callable[..., Any]] = {"make": make, "see": see, "both": both}
        if oracle:
            run = Oracle(wat(text), host).call
        else:
            guest = Guest(wat(text), {"env": host}, engine=engine)
            exports = guest.exports
            run = lambda name, *args, exports=exports: exports[name](*args)  # noqa: E731
        for function in ("f0", "f1", "f2"):
            for number in (0, 1, 5):
                count = 0
                try:
                    log.append(repr(run(function, Thing("argument"), number)))
                except (GuestTrap, OracleTrap, Enough) as e:
                    log.append(getattr(e, "kind", "Enough"))
                log.append(repr([run("stored", i) for i in range(4)]))
        outcomes.append(log)
    space = guest.instance.space
    assert frame_bytes(space) == 0, "frames are left behind"
    assert outcomes[0] == outcomes[1], f"seed {seed}:\n{text}"
