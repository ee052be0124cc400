"""`collect` against a mark-sweep oracle, on random graphs over both heaps; and wrong collectors, which must
be caught.

HIWIRE_MODEL_CASES says how many graphs, HIWIRE_MODEL_SEED where their seeds start; a failure names its seed.
"""

from __future__ import annotations

import array
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from graphs import Bench, Wrong, run_case

from hiwire_py import StaleRefError, WrongThreadError, collect
from hiwire_py.collect import accounts, ways
from hiwire_py.objects import Numbers

CASES = int(os.environ.get("HIWIRE_MODEL_CASES", "2000"))
SEED = int(os.environ.get("HIWIRE_MODEL_SEED", "0"))
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


def _faults_of_parking() -> Faults:
    from hiwire_py.collect import parking, trace

    def believe_any_count(original: Callable[..., Any]) -> Callable[..., Any]:
        """Every handle found is taken for accounted, whatever its count."""

        def accounted(self: Any, found: dict[int, int]) -> Any:
            words = self._slots.read().view()
            indexes = {handle: handle >> 1 & 0x1FFFFFF for handle in found}
            counts = {h: words[i] >> 2 & 0xFFFFFF if i < len(words) else 0 for h, i in indexes.items()}
            return original(self, counts)

        return accounted

    def count_twice(original: Callable[..., Any]) -> Callable[..., Any]:
        """A copy in a global is taken for one in a struct."""
        return lambda self: {handle: copies + 1 for handle, copies in original(self).items()}

    def first_handle_only(original: Callable[..., Any]) -> Callable[..., Any]:
        def add(self: Any, *args: Any) -> None:
            original(self, *args)
            self.structs[:] = [(wrapper, handles[:1]) for wrapper, handles in self.structs]

        return add

    return {
        "counts are ignored": (accounts.Accounts, "accounted", believe_any_count),
        "two slots with one externref": (accounts.Accounts, "_drop_shared", lambda original: _nothing),
        "owned structs are missed": (
            trace.Trace,
            "_fields_of",
            lambda original: lambda self, layout: (layout.handles, []),
        ),
        "one copy too many": (trace.Trace, "counts", count_twice),
        "wrappers get one object each": (trace.Trace, "add", first_handle_only),
        "nothing is handed over": (
            accounts.Accounts,
            "accounted",
            lambda original: lambda self, found: ({}, []),
        ),
        "nothing is taken back": (parking.Window, "close", lambda original: _nothing),
        "nothing is freed": (parking.Arena, "drain", _free_nothing),
    }


class _Forging:
    """Stands before a survey and changes what the table's accounts tell it."""

    def __init__(self, survey: Any) -> None:
        self.survey = survey
        self.copies, self.again, self.words = survey.copies, survey.again, survey.words

    def lend(self, objects: Any, gone: Any, direct: int, slots: int, count: int, *rest: int) -> Any:
        words = array.array("I", Numbers(slots, count, "I").view())
        self.forge_counts(words)
        keys, key_count, wide, records, record_count, *others = rest
        held = array.array("I", Numbers(records, record_count, "I").view())
        self.forge_holders(held)
        address = held.buffer_info()[0]
        return self.survey.lend(
            objects, gone, direct, *words.buffer_info(), keys, key_count, wide, address, record_count, *others
        )

    def forge_counts(self, words: array.array[int]) -> None: ...
    def forge_holders(self, records: array.array[int]) -> None: ...


class _AnyCount(_Forging):
    """Every handle found is taken for accounted, whatever its count."""

    def forge_counts(self, words: array.array[int]) -> None:
        for handle, copies in Counter(self.words()).items():
            index = handle >> 1 & 0x1FFFFFF
            if index < len(words):
                words[index] = words[index] & ~(0xFFFFFF << 2) | copies << 2


class _OneCountLess(_Forging):
    """A copy in a global is taken for one in a struct."""

    def forge_counts(self, words: array.array[int]) -> None:
        for index, word in enumerate(words):
            if word & 1 and word >> 2 & 0xFFFFFF > 1:
                words[index] = word - 4


class _OneHolder(_Forging):
    def forge_holders(self, records: array.array[int]) -> None:
        for at in range(1, len(records), 4):
            records[at] = 1


def _faults_of_lending() -> Faults:
    from hiwire_py.collect import lending

    def before(forging: type[_Forging]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda original: lambda self, survey, gone: original(self, forging(survey), gone)

    def without_owned(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda layout: lending.Shape(layout, layout.size, layout.handles, ())

    return {
        "counts are ignored": (accounts.Accounts, "lend", before(_AnyCount)),
        "two slots with one externref": (accounts.Accounts, "lend", before(_OneHolder)),
        "owned structs are missed": (lending, "_shape_of", without_owned),
        "one copy too many": (accounts.Accounts, "lend", before(_OneCountLess)),
        "nothing is handed over": (
            accounts.Accounts,
            "lend",
            lambda original: lambda self, survey, gone: set(),
        ),
        "nothing is freed": (lending.Arena, "drain", _free_nothing),
    }


BROKEN = _faults_of_lending() if ways.WAY == "types" else _faults_of_parking()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a wrong collector may notice itself
@pytest.mark.parametrize("fault", BROKEN)
def test_wrong_collectors_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model finds out each of these faults within a few hundred graphs."""
    owner, name, make = BROKEN[fault]
    bench = Bench("wasmtime")
    monkeypatch.setattr(owner, name, make(getattr(owner, name)))
    try:
        with pytest.raises((Wrong, WrongThreadError, StaleRefError)):
            for seed in range(CASES_TO_CATCH):
                run_case(bench, seed, collect)
    finally:
        bench.table.close()
