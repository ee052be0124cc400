"""`collect` against a mark-sweep oracle, on random graphs over both heaps; and wrong collectors, which must
be caught.

HIWIRE_MODEL_CASES says how many graphs, HIWIRE_MODEL_SEED where their seeds start; a failure names its seed.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from graphs import Bench, Wrong, run_case

from hiwire_py import WrongThreadError, collect
from hiwire_py.collect import accounts, arena, heap, slots, trace

CASES = int(os.environ.get("HIWIRE_MODEL_CASES", "2000"))
SEED = int(os.environ.get("HIWIRE_MODEL_SEED", "0"))
CASES_TO_CATCH = 300


@pytest.fixture
def only_ours() -> Iterator[None]:
    """Python's collector looks at what the test makes, not at all that pytest has: collections are fast."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_collect_is_exact(engine: str, only_ours: None) -> None:
    """After one collect() those are alive that can be reached, in both heaps, and no others; and every handle
    still names its object."""
    print(f"{CASES} graphs from seed {SEED}")
    bench = Bench(engine)
    died = sum(run_case(bench, seed, collect) for seed in range(SEED, SEED + CASES))
    assert died >= CASES, "the graphs had hardly any garbage"


def test_reading_slots_at_once(engine: str, only_ours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where slots are read from the table's memory, which is not worth it for few handles."""
    monkeypatch.setattr(slots, "_WORTH", 1 << 40)
    bench = Bench(engine)
    for seed in range(SEED, SEED + 50):
        run_case(bench, seed, collect)
    array = bench.table.wrapped.accounts._array
    assert array is not None and array._found is not None


def _believe_any_count(original: Callable[..., Any]) -> Callable[..., Any]:
    """Every handle found is taken for accounted, whatever its count."""

    def accounted(self: Any, found: dict[int, int]) -> Any:
        counts = {handle: self._slot_info(handle >> 1 & 0x1FFFFFF) >> 2 & 0xFFFFFF for handle in found}
        return original(self, counts)

    return accounted


def _nothing(*args: Any, **kwargs: Any) -> Any:
    return None


def _owned_are_missed(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, layout: (layout.handles, [])


def _nothing_is_accounted(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, found: ({}, [])


def _count_twice(original: Callable[..., Any]) -> Callable[..., Any]:
    """A copy in a global is taken for one in a struct."""
    return lambda self: {handle: copies + 1 for handle, copies in original(self).items()}


def _first_handle_only(original: Callable[..., Any]) -> Callable[..., Any]:
    def add(self: Any, *args: Any) -> None:
        original(self, *args)
        self.structs[:] = [(wrapper, handles[:1]) for wrapper, handles in self.structs]

    return add


def _free_once(original: Callable[..., Any]) -> Callable[..., Any]:
    """Structs of dead wrappers are never freed."""
    return lambda self, errors: 0


BROKEN: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "counts are ignored": (accounts.Accounts, "accounted", _believe_any_count),
    "two slots with one externref": (accounts.Accounts, "_drop_shared", lambda original: _nothing),
    "owned structs are missed": (trace.Trace, "_fields_of", _owned_are_missed),
    "one copy too many": (trace.Trace, "counts", _count_twice),
    "wrappers get one object each": (trace.Trace, "add", _first_handle_only),
    "nothing is handed over": (accounts.Accounts, "accounted", _nothing_is_accounted),
    "nothing is taken back": (heap.Heap, "restore", lambda original: _nothing),
    "nothing is freed": (arena.Arena, "drain", _free_once),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a wrong collector may notice itself
@pytest.mark.parametrize("fault", BROKEN)
def test_wrong_collectors_are_caught(fault: str, only_ours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model finds out each of these faults within a few hundred graphs."""
    owner, name, make = BROKEN[fault]
    bench = Bench("wasmtime-lowered")
    monkeypatch.setattr(owner, name, make(getattr(owner, name)))
    try:
        with pytest.raises((Wrong, WrongThreadError)):
            for seed in range(CASES_TO_CATCH):
                run_case(bench, seed, collect)
    finally:
        bench.table.close()
