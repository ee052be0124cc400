"""`collect` against a mark-sweep oracle, on random graphs over both heaps; and wrong collectors, which must
be caught.

HIWIRE_MODEL_CASES says how many graphs, HIWIRE_MODEL_SEED where their seeds start, which if it is not set is
elsewhere in each run; a failure names its seed. No wrong collector has needed more than 80 graphs.
"""

from __future__ import annotations

import array
import itertools
import os
import random
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from graphs import NODE, Bench, Wrong, run_case

from hiwire_py import StaleRefError, WrongThreadError, collect
from hiwire_py.collect import backend
from hiwire_py.collect.refcounts import Slots
from hiwire_py.handles import COUNT_MAX, slot_of
from hiwire_py.objects import Numbers
from hiwire_py.objects.layout import RECORD_WORDS

CASES = int(os.environ.get("HIWIRE_MODEL_CASES", "500"))
SEED = int(os.environ.get("HIWIRE_MODEL_SEED") or random.SystemRandom().randrange(1 << 30))
CASES_TO_CATCH = 300


def test_collect_is_exact(engine: str) -> None:
    """After one collect() those are alive that can be reached, in both heaps, and no others; and every handle
    still names its object."""
    print(f"{CASES} graphs from seed {SEED}")
    bench = Bench(engine)
    died = sum(run_case(bench, seed, collect) for seed in range(SEED, SEED + CASES))
    assert died >= CASES, "the graphs had hardly any garbage"


def _nothing(*args: Any, **kwargs: Any) -> Any:
    return None


def _free_nothing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Structs of dead wrappers are never freed."""
    return lambda self, errors: 0


Faults = dict[str, tuple[Any, str, Callable[..., Any]]]


Forged = tuple[Slots, list[Any]]
"""What a source did not say, and what must be kept for as long."""


def _forged(slots: Slots, words: dict[int, int], holders: int | None = None) -> Forged:
    """The same with other words, by index, and another number of holders for each object."""
    own, _, numbers = slots.views()
    assert own is not None
    forged_words = array.array("I", own)
    for index, word in words.items():
        if index < len(forged_words):
            forged_words[index] = word
    made = slots._replace(words=forged_words.buffer_info()[0])
    if holders is None:
        return made, [forged_words]
    records = array.array("I", [holders] * (RECORD_WORDS * len(numbers)))
    return made._replace(records=records.buffer_info()[0]), [forged_words, records]


def _any_count(slots: Slots, found: list[int]) -> Forged:
    """Every handle in memory is taken for accounted, whatever its count."""
    words = slots.views()[0]
    assert words is not None
    copies = Counter(slot_of(handle) for handle in found)
    counted = {i: words[i] & ~(COUNT_MAX << 2) | n << 2 for i, n in copies.items() if i < len(words)}
    return _forged(slots, counted)


def _one_count_less(slots: Slots, found: list[int]) -> Forged:
    """A reference in a global is taken for one in a struct."""
    words = slots.views()[0]
    assert words is not None
    return _forged(slots, {i: w - 4 for i, w in enumerate(words) if w & 1 and w >> 2 & COUNT_MAX > 1})


def _one_holder(slots: Slots, found: list[int]) -> Forged:
    """Of two slots with one object each is taken for the only one."""
    return _forged(slots, {}, holders=1)


def _telling(forge: Callable[[Slots, list[int]], Forged]) -> Callable[..., Any]:
    """What is found is right, and what the source says of it is not."""

    class Forging:
        def __init__(self, edges: Any) -> None:
            self.edges, self.end = edges, edges.end
            self.words: list[int] = []

        def add(self, registry: Any, address: int, size: int) -> None:
            self.words += Numbers(address, size // 4, "I").view()
            self.edges.add(registry, address, size)

        def show(self, objects: Any, tombstones: Any, slots: Slots) -> Any:
            forged, _kept = forge(slots, self.words)
            return self.edges.show(objects, tombstones, forged)

    return lambda original: lambda self, none: Forging(original(self, none))


def _show_nothing(original: Callable[..., Any]) -> Callable[..., Any]:
    def without_show(self: Any, none: int) -> Any:
        edges = original(self, none)
        return types.SimpleNamespace(add=edges.add, end=edges.end, show=lambda *given: set())

    return without_show


def _faults_of_traverse() -> Faults:
    from hiwire_py.collect import traverse

    def without_owned(original: Callable[..., Any]) -> Callable[..., Any]:
        handles = array.array("I", NODE.handles).tobytes()
        return lambda layout: traverse.PointerMap(layout, layout.size, handles, len(layout.handles), [])

    return {"owned structs are missed": (traverse, "_map_of", without_owned)}


def _faults_of_transfer() -> Faults:
    from hiwire_py.collect import transfer
    from hiwire_py.collect.layouts import Layout

    def count_twice(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda copies, *rest: original(Counter({one: n + 1 for one, n in copies.items()}), *rest)

    def first_handle_only(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: itertools.islice(original(*args), 1)

    return {
        "owned structs are missed": (Layout, "owns", lambda original: lambda self: []),
        "one copy too many": (transfer, "_accounted", count_twice),
        "one handle of each wrapper is seen": (transfer._Memory, "handles", first_handle_only),
        "nothing is taken back": (transfer.Edges, "end", lambda original: _nothing),
    }


FAULTS: Faults = {
    "counts are ignored": (backend.Registry, "new_edges", _telling(_any_count)),
    "two slots with one externref": (backend.Registry, "new_edges", _telling(_one_holder)),
    "one count less": (backend.Registry, "new_edges", _telling(_one_count_less)),
    "nothing is shown": (backend.Registry, "new_edges", _show_nothing),
    "nothing is freed": (backend.Registry, "free_dead", _free_nothing),
    **(_faults_of_traverse() if backend.BACKEND == "types" else _faults_of_transfer()),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a wrong collector may notice itself
@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_collectors_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model finds out each of these faults within a few hundred graphs."""
    owner, name, make = FAULTS[fault]
    bench = Bench("wasmtime")
    monkeypatch.setattr(owner, name, make(getattr(owner, name)))
    try:
        with pytest.raises((Wrong, WrongThreadError, StaleRefError)):
            for seed in range(CASES_TO_CATCH):
                run_case(bench, seed, collect)
    finally:
        bench.table.close()
