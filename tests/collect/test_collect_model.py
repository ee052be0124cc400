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
from graphs import Bench, Wrong, run_case

from hiwire_py import StaleRefError, WrongThreadError, collect
from hiwire_py.collect import backend, heap
from hiwire_py.collect.refcounts import Slots
from hiwire_py.handles import COUNT_MAX, slot_of
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


class _Forged(Slots):
    """What a source did not say."""

    kept: list[Any]


def _forged(slots: Slots, words: dict[int, int], holders: int | None = None) -> Slots:
    """The same with other words, by index, and another number of holders for each object."""
    made = _Forged.from_buffer_copy(slots)
    own, _, numbers = slots.views()
    assert own is not None
    forged_words = array.array("I", own)
    for index, word in words.items():
        if index < len(forged_words):
            forged_words[index] = word
    made.words = forged_words.buffer_info()[0]
    made.kept = [forged_words]
    if holders is not None:
        records = array.array("I", [holders] * (RECORD_WORDS * len(numbers)))
        made.records = records.buffer_info()[0]
        made.kept.append(records)
    return made


def _any_count(slots: Slots, found: list[int]) -> Slots:
    """Every handle found is taken for accounted, whatever its count."""
    words = slots.views()[0]
    assert words is not None
    copies = Counter(slot_of(handle) for handle in found)
    counted = {i: words[i] & ~(COUNT_MAX << 2) | n << 2 for i, n in copies.items() if i < len(words)}
    return _forged(slots, counted)


def _one_count_less(slots: Slots, found: list[int]) -> Slots:
    """A reference in a global is taken for one in a struct."""
    words = slots.views()[0]
    assert words is not None
    return _forged(slots, {i: w - 4 for i, w in enumerate(words) if w & 1 and w >> 2 & COUNT_MAX > 1})


def _one_holder(slots: Slots, found: list[int]) -> Slots:
    """Of two slots with one object each is taken for the only one."""
    return _forged(slots, {}, holders=1)


def _telling(forge: Callable[[Slots, list[int]], Slots]) -> Callable[..., Any]:
    """What is found is right, and what the source says of it is not."""

    class Forging:
        def __init__(self, edges: Any) -> None:
            self.edges, self.add, self.end = edges, edges.add, edges.end

        def show(self, objects: Any, tombstones: Any, slots: Slots) -> Any:
            return self.edges.show(objects, tombstones, forge(slots, self.edges.words()))

    return lambda original: lambda none: Forging(original(none))


def _show_nothing(original: Callable[..., Any]) -> Callable[..., Any]:
    def without_show(none: int) -> Any:
        edges = original(none)
        return types.SimpleNamespace(add=edges.add, end=edges.end, show=lambda *given: set())

    return without_show


def _faults_of_traverse() -> Faults:
    from hiwire_py.collect import traverse

    def without_owned(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda layout: traverse.PointerMap(layout, layout.size, layout.handles, ())

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
    "counts are ignored": (heap, "new_edges", _telling(_any_count)),
    "two slots with one externref": (heap, "new_edges", _telling(_one_holder)),
    "one count less": (heap, "new_edges", _telling(_one_count_less)),
    "nothing is shown": (heap, "new_edges", _show_nothing),
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
