"""Random operations on the built library against a plain dict: results, counts, slots and the map agree.

``HIWIRE_TEST_SEED`` repeats a run; the seed is in every failure message.
"""

from __future__ import annotations

import os
import random

import pytest
from test_c_callbacks import Boom, Host

pytestmark = pytest.mark.once

SEED = int(os.environ.get("HIWIRE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
VALUES = [f"value {number}" for number in range(12)]


class Model:
    """What the table should be: counts and values by ref, and the refs that the map should know."""

    def __init__(self, *options: str) -> None:
        self.host = Host(*options)
        self.counts: dict[int, int] = {}
        self.values: dict[int, str] = {}
        self.mapped: dict[str, int] = {}
        self.gone: set[int] = set()
        self.immortals: dict[int, str] = {}

    def step(self, rng: random.Random) -> None:
        name = rng.choices(
            ["new", "dedup", "incref", "decref", "pop", "get", "bad", "trap", "intern", "burst"],
            [20, 15, 15, 35, 5, 5, 10, 5, 1, 0.2],
        )[0]
        getattr(self, name)(rng)

    def _add(self, ref: int, value: str) -> None:
        assert ref & 1 and ref not in self.counts
        self.counts[ref] = 1
        self.values[ref] = value
        self.gone.discard(ref)  # its version may have come round again

    def _drop(self, ref: int) -> None:
        self.counts[ref] -= 1
        if self.counts[ref] == 0:
            del self.counts[ref]
            value = self.values.pop(ref)
            self.gone.add(ref)
            if self.mapped.get(value) == ref:
                del self.mapped[value]

    def _any(self, rng: random.Random) -> int | None:
        return rng.choice(list(self.counts)) if self.counts else None

    def new(self, rng: random.Random) -> None:
        value = rng.choice(VALUES)
        self._add(self.host.new(value), value)

    def burst(self, rng: random.Random) -> None:
        made = []
        for _ in range(1200):  # more than a page: the slot array grows at least once
            value = rng.choice(VALUES)
            made.append(self.host.new(value))
            self._add(made[-1], value)
        for ref in rng.sample(made, 1150):
            self.host.decref(ref)
            self._drop(ref)

    def dedup(self, rng: random.Random) -> None:
        value = rng.choice(VALUES)
        ref = self.host.dedup(value)
        if value in self.mapped:
            assert ref == self.mapped[value]
            self.counts[ref] += 1
        else:
            self._add(ref, value)
            self.mapped[value] = ref

    def incref(self, rng: random.Random) -> None:
        if (ref := self._any(rng)) is not None:
            self.host.table.call("hiwire_incref", ref)
            self.counts[ref] += 1

    def decref(self, rng: random.Random) -> None:
        if (ref := self._any(rng)) is not None:
            self.host.decref(ref)
            self._drop(ref)

    def pop(self, rng: random.Random) -> None:
        if (ref := self._any(rng)) is not None:
            assert self.host.table.call("hiwire_pop", ref) == self.values[ref]
            self._drop(ref)

    def get(self, rng: random.Random) -> None:
        for refs in (self.values, self.immortals):
            if refs:
                ref = rng.choice(list(refs))
                assert self.host.table.call("hiwire_get", ref) == refs[ref]

    def intern(self, rng: random.Random) -> None:
        value = rng.choice(VALUES)
        ref = self.host.table.ref("hiwire_intern", value)
        assert ref == 2 * (len(self.immortals) + 1)
        self.immortals[ref] = value

    def bad(self, rng: random.Random) -> None:
        ref = rng.choice([*list(self.gone)[:50], rng.getrandbits(32), rng.getrandbits(8)])
        if ref in self.counts or ref in self.immortals or ref == 0:
            return
        kind, name = rng.choice([(1, "get"), (2, "incref"), (3, "decref")])
        self.host.table.call(f"hiwire_{name}", ref)
        assert [(said, told & 0xFFFFFFFF) for said, told in self.host.invalid] == [(kind, ref)]
        self.host.invalid.clear()

    def trap(self, rng: random.Random) -> None:
        """An operation whose map function raises: no change, so the model has none either."""
        value = rng.choice(VALUES)
        if value in self.mapped:
            ref = self.mapped[value]
            if self.counts[ref] != 1:
                return
            self.host.raises_once("delete")
            with pytest.raises(Boom):
                self.host.decref(ref)
        else:
            self.host.raises_once("set")
            with pytest.raises(Boom):
                self.host.dedup(value)

    def check(self) -> None:
        table = self.host.table
        assert table.call("hiwire_num_refs") == len(self.counts)
        assert table.ref("hiwire_capacity") >= len(self.counts)
        assert table.live() == sorted(self.counts, key=lambda ref: ref >> 1 & 0x1FFFFFF)
        assert self.host.map == {id(value): ref for value, ref in self.mapped.items()}
        for ref, count in self.counts.items():
            word = table.ref("_hiwire_slot_info", ref >> 1 & 0x1FFFFFF)
            mapped = self.mapped.get(self.values[ref]) == ref
            assert word == (ref & 0xFC000000) | count << 2 | mapped << 1 | 1


@pytest.mark.parametrize(
    "options", [("-DSTATIC_PAGES=4",), ("-DEXTERN_REALLOC",)], ids=lambda options: options[0]
)
def test_random_operations(options: tuple[str, ...]) -> None:
    """Thousands of random operations; the table and the model never part."""
    rng = random.Random(SEED)
    model = Model(*options)
    for number in range(6000):
        try:
            model.step(rng)
            if number % 50 == 0:
                model.check()
        except BaseException:
            print(f"operation {number}; repeat with HIWIRE_TEST_SEED={SEED}")
            raise
    model.check()
    for ref, count in list(model.counts.items()):
        for _ in range(count):
            model.host.decref(ref)
    assert model.host.table.live() == [] and model.host.map == {}
