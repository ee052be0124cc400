"""The bookkeeping of ids, in C and in Python: random steps of a runtime that is made up here, with a model
beside them that says which objects must be alive."""

from __future__ import annotations

import array
import os
import random
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from hiwire_py import NULL
from hiwire_py.objects import ids as choice
from hiwire_py.objects import layout, python_ids

HERE = Path(__file__).parent
CASES = int(os.environ.get("HIWIRE_MODEL_CASES", "60"))
STATE = 4  # where the made-up runtime has its state, in words
FRAMES = 16
RECORDS = 1 << 12
MOST_RECORDS = 1 << 14
SUITES = ("test_moments.py", "test_frames.py")

needs_c = pytest.mark.skipif(bool(choice.WHY_NOT_COMPILED), reason=f"not compiled: {choice.WHY_NOT_COMPILED}")
BOTH = [pytest.param("compiled", marks=needs_c), "python"]


class Thing:
    """What guests hold."""


class Runtime:
    """As c/externref/externref.c, as far as the host can see it."""

    def __init__(self, way: str, patience: int = 1024) -> None:
        self.words = array.array("i", bytes(4 * (RECORDS + layout.RECORD_WORDS * MOST_RECORDS)))
        self.at(layout.STATE_ZOMBIES, layout.LINK_END)
        self.at(layout.STATE_FRAMES, 4 * FRAMES)
        self.at(layout.STATE_FRAMES_END, 4 * FRAMES)
        self.at(layout.STATE_RECORDS, 4 * RECORDS)
        self.settled = 0
        self.closed = False
        self.reserve(2)
        class_ = python_ids.Ids if way == "python" else choice._class
        base = self.words.buffer_info()[0]
        self.ids = class_(base, 4 * STATE, self.reserve, self.settle, patience, NULL, random.getrandbits(64))

    def at(self, word: int, value: int | None = None) -> int:
        if value is not None:
            self.words[STATE + word] = value
        return self.words[STATE + word]

    def reserve(self, count: int) -> None:
        self.at(layout.STATE_RECORD_COUNT, max(count, self.at(layout.STATE_RECORD_COUNT)))

    def settle(self) -> bool:
        self.settled += 1
        return self.closed

    def record(self, id_: int) -> int:
        return RECORDS + (id_ & layout.ID_INDEX) * layout.RECORD_WORDS

    def store(self, id_: int) -> None:
        record = self.record(id_)
        assert self.words[record + layout.RECORD_ID] == id_, "a forged id"
        self.words[record + layout.RECORD_HOLDERS] += 1

    def clear(self, id_: int) -> None:
        record = self.record(id_)
        self.words[record + layout.RECORD_HOLDERS] -= 1
        if not self.words[record + layout.RECORD_HOLDERS] and not self.words[record + layout.RECORD_LINK]:
            self.words[record + layout.RECORD_LINK] = self.at(layout.STATE_ZOMBIES)
            self.at(layout.STATE_ZOMBIES, (id_ & layout.ID_INDEX) * 2 + 1)
            self.at(layout.STATE_ZOMBIE_COUNT, self.at(layout.STATE_ZOMBIE_COUNT) + 1)

    def push(self, id_: int) -> None:
        end = self.at(layout.STATE_FRAMES_END)
        self.words[end // 4] = id_
        self.at(layout.STATE_FRAMES_END, end + 4)


class Level:
    """A call on the way, as the model sees it."""

    def __init__(self, mark: Any) -> None:
        self.mark = mark
        self.arguments: set[int] = set()
        self.made: set[int] = set()
        self.frames: list[int] = []


@pytest.mark.parametrize("way", BOTH)
def test_random_steps(way: str) -> None:
    """Of each object it is known at each step whether it must be alive, must be dead, or may be either."""
    seed = int(os.environ.get("HIWIRE_SEED", random.randrange(1 << 30)))
    for case in range(seed, seed + CASES):
        r = random.Random(case)
        try:
            _steps(Runtime(way, r.choice((0, 3, 1024))), r)
        except AssertionError as error:
            raise AssertionError(f"HIWIRE_SEED={case}") from error


def _steps(runtime: Runtime, r: random.Random) -> None:
    ids = runtime.ids
    alive: dict[int, weakref.ref[Thing]] = {}
    stored: list[int] = []
    levels: list[Level] = [Level(None)]

    def new(add: Any) -> int:
        thing = Thing()
        id_: int = add(thing)
        assert ids.objects[id_] is thing and id_ not in alive and -(1 << 31) <= id_ < 1 << 31
        alive[id_] = weakref.ref(thing)
        return id_

    def check(at_rest: bool) -> None:
        needed = set(stored)
        for level in levels:
            needed |= level.arguments | set(level.frames)
        for id_ in needed:
            assert alive[id_]() is not None and ids.objects[id_] is alive[id_](), "dead too early"
        for id_, thing in list(alive.items()):
            if thing() is None:
                assert id_ not in ids.objects
                del alive[id_]
                for level in levels:
                    level.made.discard(id_)
        assert set(ids.objects) == set(alive)
        if at_rest:
            assert set(alive) == needed and not ids

    for _ in range(r.randrange(20, 200)):
        level = levels[-1]
        step = r.randrange(9)
        if step == 0:
            level.arguments.add(new(ids.hold)) if not level.made else None
        elif step == 1:
            ids.tidy()
            id_ = new(ids.give)
            level.made.add(id_)
            level.frames.append(id_)
            runtime.push(id_)
        elif step == 2 and (held := [*level.arguments, *level.frames]):
            stored.append(r.choice(held))
            runtime.store(stored[-1])
        elif step == 3 and stored:
            runtime.clear(stored.pop(r.randrange(len(stored))))
        elif step == 4 and len(levels) < 5:
            levels.append(Level(ids.enter(r.random() < 0.2)))
        elif step == 5 and len(levels) > 1:
            levels.pop()
            if r.random() < 0.3:
                ids.unwind(level.mark)
            else:
                runtime.at(
                    layout.STATE_FRAMES_END,
                    runtime.at(layout.STATE_FRAMES_END) - 4 * len(level.frames),
                )
            level.frames.clear()
            ids.exit(level.mark)
        elif step == 6 and level.frames:
            level.frames.pop()
            runtime.at(layout.STATE_FRAMES_END, runtime.at(layout.STATE_FRAMES_END) - 4)
        elif step == 7:
            ids.sweep()
        elif step == 8 and len(levels) == 1:
            level.arguments.clear()
            level.frames.clear()
            level.made.clear()
            ids.unwind()
            if r.random() < 0.3:
                ids.request()
            ids.release()
            check(True)
        check(False)
    while len(levels) > 1:
        ids.exit(levels.pop().mark)
    levels[0] = Level(None)
    ids.unwind()
    assert runtime.at(layout.STATE_FRAMES_END) == runtime.at(layout.STATE_FRAMES)
    for id_ in stored:
        runtime.clear(id_)
    stored.clear()
    ids.release()
    check(True)
    assert not alive and not ids.objects


@pytest.mark.parametrize("way", BOTH)
def test_many(way: str) -> None:
    """More than there is room for at first, again and again, with the same ids after a while."""
    runtime = Runtime(way)
    ids = runtime.ids
    for _ in range(3):
        things = [Thing() for _ in range(3000)]
        numbers = [ids.hold(thing) for thing in things]
        assert len(set(numbers)) == len(things) == len(ids.objects)
        assert all(ids.objects[number] is thing for number, thing in zip(numbers, things))
        ids.release()
        assert not ids.objects and not ids
    assert 3000 < runtime.at(layout.STATE_RECORD_COUNT) <= 2 * 3001
    assert ids.hold(NULL) == 0 and not ids.objects


@pytest.mark.parametrize("way", BOTH)
def test_finalizers_come_last(way: str) -> None:
    """When one runs, all that died with its object is out of the books, and it can begin from the start."""
    runtime = Runtime(way)
    ids = runtime.ids
    seen: list[tuple[int, bool]] = []

    class Ends:
        def __del__(self) -> None:
            seen.append((len(ids.objects), bool(ids)))
            ids.hold(Thing())
            ids.release()

    for _ in range(50):
        ids.hold(Ends())
    ids.release()
    assert seen == [(0, False)] * 50 and not ids.objects


@pytest.mark.parametrize("way", BOTH)
def test_what_cannot_be_had(way: str) -> None:
    """An exception of the runtime or of what is pending comes out, and nothing is lost by it."""
    runtime = Runtime(way)
    ids = runtime.ids

    def fail(*args: object) -> Any:
        raise MemoryError("none left")

    runtime.reserve(2)
    class_, base = type(ids), runtime.words.buffer_info()[0]
    ids = class_(base, 4 * STATE, fail, fail, 4, NULL, 1)
    first = ids.hold("first")
    with pytest.raises(MemoryError, match="none left"):
        ids.hold("second")
    assert ids.objects == {first: "first"}
    ids.request()
    with pytest.raises(MemoryError, match="none left"):
        ids.release()
    assert ids and ids.objects == {first: "first"}


@pytest.mark.parametrize("way", BOTH)
def test_pending_and_closed(way: str) -> None:
    """What is pending is done once, at the end of the outermost call; a closed space keeps nothing."""
    runtime = Runtime(way)
    ids = runtime.ids
    runtime.store(ids.hold(Thing()))
    done = []
    for _ in range(2):
        ids.request()
        assert ids
        ids.release()
        done.append((runtime.settled, len(ids.objects), bool(ids)))
        runtime.closed = True
    assert done == [(1, 1, False), (2, 0, False)] and not ids.tombstones


@pytest.mark.parametrize("way", BOTH)
def test_gone(way: str) -> None:
    """An id whose object was taken out is released as the others are."""
    runtime = Runtime(way)
    ids = runtime.ids
    id_ = ids.hold(Thing())
    runtime.store(id_)
    ids.release()
    del ids.objects[id_]
    ids.tombstones[id_] = None
    runtime.clear(id_)
    ids.release()
    assert not ids.tombstones and ids.hold(Thing()) & layout.ID_INDEX == id_ & layout.ID_INDEX


@pytest.mark.skipif(bool(choice.WHY_NOT_COMPILED), reason="this run is the other way")
def test_the_other_way_passes_the_same_tests() -> None:
    """Signals at each moment, and what frames hold, with the bookkeeping in Python."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "native"]
    run = subprocess.run(
        [*command, *(str(HERE / suite) for suite in SUITES)],
        capture_output=True,
        text=True,
        env={**os.environ, "HIWIRE_IDS": "python"},
        cwd=HERE.parent.parent,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]


def test_unknown_way() -> None:
    """The variable says what there is."""
    run = subprocess.run(
        [sys.executable, "-c", "import hiwire_py"],
        capture_output=True,
        text=True,
        env={**os.environ, "HIWIRE_IDS": "fast"},
        check=False,
    )
    assert run.returncode != 0 and "HIWIRE_IDS is 'fast'; it can be compiled or python" in run.stderr


def test_it_is_compiled() -> None:
    """Where a run must have all that is compiled at install, this is part of it."""
    if "compiled" not in os.environ.get("HIWIRE_REQUIRE_MODES", "").split(","):
        pytest.skip("HIWIRE_REQUIRE_MODES does not ask for what is compiled")
    assert not choice.WHY_NOT_COMPILED
