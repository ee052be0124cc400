"""The two backends of the collector: which is chosen, that both pass the same tests, and what only the
compiled types can get wrong."""

from __future__ import annotations

import array
import gc
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, Thing

from hiwire_py import Guest, GuestObject, Hiwire, collect, layout
from hiwire_py.collect import backend
from hiwire_py.collect.refcounts import Slots
from hiwire_py.sources import shipped

HERE = Path(__file__).parent
SUITES = tuple(
    f"test_{name}.py"
    for name in (
        "collect",
        "collect_finalizers",
        "collect_freeing",
        "collect_layouts",
        "collect_lies",
        "collect_model",
        "collect_table",
    )
)

needs_types = pytest.mark.skipif(
    backend.BACKEND != "types", reason=f"no compiled types: {backend.WHY_NOT_TYPES}"
)


def test_the_types_are_here() -> None:
    """Where a run must have all that is compiled at install, these are part of it."""
    if "compiled" not in os.environ.get("HIWIRE_REQUIRE_MODES", "").split(","):
        pytest.skip("HIWIRE_REQUIRE_MODES does not ask for what is compiled")
    assert backend.BACKEND == "types", backend.WHY_NOT_TYPES


@pytest.mark.skipif(backend.BACKEND == "python", reason="this run is with the other backend")
def test_the_other_backend_passes_the_same_tests() -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            *(str(HERE / s) for s in SUITES),
            str(ROOT / "tests" / "cli" / "test_cycles.py"),
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HIWIRE_COLLECTOR": "python",
            "HIWIRE_MODEL_CASES": "300",
            "HIWIRE_LIES_CASES": "3",
        },
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]


def test_unknown_backend() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import hiwire_py"],
        capture_output=True,
        text=True,
        env={**os.environ, "HIWIRE_COLLECTOR": "fastest"},
        cwd=ROOT,
        check=False,
    )
    assert run.returncode != 0 and "HIWIRE_COLLECTOR is 'fastest'; it can be types or python" in run.stderr


class Pair:
    """A guest whose structs share one handle: two wrappers, one object."""

    def __init__(self, engine: str) -> None:
        self.table = Hiwire(engine=engine)
        invoke = {"env": {"invoke": lambda callback, x: callback(x)}}
        self.guest = Guest(shipped("guest-cycle"), invoke, hiwire=self.table)
        described = layout(self.guest, "object")
        self.shared = Thing()
        handle = self.table.new(self.shared)
        self.table.incref(handle)
        self.wrappers = []
        for _ in range(2):
            make = self.guest.exports.object_new
            wrapper = GuestObject(self.guest, make, layout=described, free="object_free")
            self.guest.memory.write(wrapper.pointer, handle.to_bytes(4, "little"))
            self.wrappers.append(wrapper)


@needs_types
def test_references_are_lent_and_given_back(engine: str) -> None:
    """Collections leave every reference count as it was, also of an object that two wrappers show."""
    collect()  # what earlier tests left
    pair = Pair(engine)
    before = sys.getrefcount(pair.shared), gc.is_tracked(pair.table.space.objects)
    for _ in range(5):
        assert collect() == 0
    assert (sys.getrefcount(pair.shared), gc.is_tracked(pair.table.space.objects)) == before


def test_one_of_two_wrappers_dies(engine: str) -> None:
    """The object stays in the table for the other one, whichever of them a collection finds."""
    for index in range(2):
        collect()  # what was left
        pair = Pair(engine)
        ring: list[Any] = [pair.wrappers.pop(index)]
        ring.append(ring)
        watch = weakref.ref(pair.shared)
        pair.shared = None  # type: ignore[assignment]
        del ring
        assert collect() == 1 and watch() is not None
        (left,) = pair.wrappers
        handle = int.from_bytes(pair.guest.memory.read(left.pointer, 4), "little")
        assert pair.table.get(handle) is watch() and pair.table.refcount(handle) == 1
        pair.wrappers.clear()
        del left
        assert collect() == 1 and watch() is None


def test_a_dropped_table_with_objects_that_refer_to_it(engine: str) -> None:
    """While wrappers show what structs hold, the rest of the table's objects is seen too."""
    pair = Pair(engine)
    pair.shared.name = pair.wrappers
    other = Thing()
    other.name = pair
    pair.table.new(other)  # no struct has this handle
    watch = weakref.ref(other)
    del pair, other
    collect()
    collect()
    assert watch() is None


def test_slots_are_the_same_in_c() -> None:
    """What a refcount source tells of its slots is in the same order in Python and in C."""
    folder = ROOT / "hiwire_py" / "collect"
    (body,) = re.findall(r"typedef struct \{([^}]*)\} hw_slots;", (folder / "collect.h").read_text("ascii"))
    assert re.findall(r"^    .*?(\w+);", body, flags=re.MULTILINE) == list(Slots._fields)
    show = (folder / "show.c").read_text("ascii")
    assert f"unsigned long long {', '.join(Slots._fields)};" in show


@needs_types
def test_the_types_check_what_they_are_given() -> None:
    from hiwire_py.collect import traverse

    def offsets(*words: int) -> bytes:
        return array.array("I", words).tobytes()

    with pytest.raises(ValueError, match="not within the struct"):
        traverse.PointerMap(None, 8, offsets(2), 1, [])
    with pytest.raises(ValueError, match="not within the struct"):
        traverse.PointerMap(None, 8, offsets(0), 2, [])
    with pytest.raises(ValueError, match="not within the struct"):
        traverse.PointerMap(None, 1 << 33, offsets(0), 1, [])
    with pytest.raises(TypeError):
        traverse.PointerMap(None, 8, offsets(0, 1), 1, (None,))
    edges = traverse.Edges(0)
    with pytest.raises(TypeError):
        edges.add(None, 0, 0)
    with pytest.raises(TypeError):
        edges.show({}, {}, (0,))
    edges.end()
    assert edges.show({}, {}, Slots(0, 0, 0, 0, 0)) == set()
    wrapper = traverse.WrapperBase.__new__(type("Bare", (GuestObject,), {}))
    with pytest.raises(AttributeError):
        wrapper._guest_registry  # noqa: B018
