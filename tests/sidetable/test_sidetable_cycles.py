"""Callbacks in the side table that refer to their own wrappers: collected, exactly, in all forms."""

from __future__ import annotations

import gc
import os
import random
import threading
import weakref
from collections.abc import Iterator

import pytest
from sidetable_support import PAGE, Node, form_module, ring

from hiwire_py import GuestTrap, TableFullError, collect
from hiwire_py.sidetable import SideTable, WasmObject

CASES = int(os.environ.get("HIWIRE_MODEL_CASES", "2000")) // 20
SEED = int(os.environ.get("HIWIRE_MODEL_SEED", "0"))


@pytest.fixture
def table(form: str, engine: str) -> Iterator[SideTable]:
    """A side table of that form in 10 pages."""
    collect()  # what other tests have left is not to be counted
    table = SideTable(form_module(form), engine=engine)
    yield table
    table.close()


def word(table: SideTable, made: WasmObject) -> int:
    """The handle in an object."""
    return int.from_bytes(table.memory.read(made.pointer, 4), "little")


def forge(table: SideTable, made: WasmObject, handle: int) -> None:
    """Write a handle over that of an object."""
    table.memory.write(made.pointer, (handle & 0xFFFFFFFF).to_bytes(4, "little"))


def rounds_of(table: SideTable, rounds: int) -> int:
    """Rounds of 1,000 objects, each with a callback that captures its own wrapper; the most at any time."""
    most = 0
    for _ in range(rounds):
        objects = [WasmObject(table) for _ in range(1000)]
        for made in objects:
            made.attach_callback(lambda made=made: None)  # type: ignore[misc]
        objects[-1].invoke_callback()
        most = max(most, len(table))
        del objects, made
    return most


def test_rounds_with_cycles(form: str, engine: str) -> None:
    """100 rounds in 10 pages: out of memory without collection, bounded with it. (30 rounds for two of the
    forms: already more than fit at once, and the Python side is the same.)"""
    leaking = SideTable(form_module(form), engine=engine, cycles=False)
    with pytest.raises(TableFullError):
        rounds_of(leaking, 100)
    assert len(leaking) > 27_000
    leaking.close()
    table = SideTable(form_module(form), engine=engine)
    rounds = 100 if form == "c" else 30
    assert rounds_of(table, rounds) <= 3000
    assert table.memory.size <= 2 * PAGE
    collect()
    assert len(table) == 0 == len(table._guest.instance.space.objects)


def test_a_full_table_collects(form: str, engine: str, no_gc: None) -> None:
    """Where nothing runs by itself, the retry of an allocation finds the cycles; without it the table is
    full."""
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE)
    for _ in range(6000):  # a page has room for fewer than 4,096
        ring(table)
    assert 0 < len(table) < 4096
    last = WasmObject(table)
    last.attach_callback(node := Node())
    last.invoke_callback()
    assert node.calls == 1
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE, on_full=None)
    with pytest.raises(TableFullError):
        for _ in range(6000):
            ring(table)


def test_only_garbage_goes(table: SideTable) -> None:
    """A cycle with a way in stays, and works; without one it goes, and its object is freed."""
    made, node = ring(table)
    watch = weakref.ref(node)
    del node
    assert collect() == 0
    made.invoke_callback()
    assert watch().calls == 1  # type: ignore[union-attr]
    other = watch()
    del made
    assert collect() == 0, "the callback is a way in, too"
    other.edges[0].invoke_callback()  # type: ignore[union-attr]
    assert other.calls == 2  # type: ignore[union-attr]
    del other
    assert collect() == 1
    assert watch() is None and len(table) == 0


def test_plain_collections_of_python(table: SideTable) -> None:
    """gc.collect() sees through the table as well; the objects are freed at the next use."""
    watch = weakref.ref(ring(table)[1])
    gc.collect()
    assert watch() is None
    WasmObject(table)
    assert table.collect() == 1 and len(table) == 0


def test_another_callback_instead(table: SideTable, no_gc: None) -> None:
    """Attaching another callback breaks a cycle, or makes one."""
    made, node = ring(table)
    watch = weakref.ref(node)
    made.attach_callback(Node())
    del node
    assert watch() is None
    del made
    assert (table.collect(), len(table)) == (1, 0)
    made = WasmObject(table)
    made.attach_callback(Node())
    made.attach_callback(Node(made))
    del made
    assert (table.collect(), len(table)) == (0, 1)
    assert (collect(), len(table)) == (1, 0)


def test_nested_ownership(table: SideTable) -> None:
    """Callbacks that own objects whose callbacks own others, in a ring and as a tree: as a whole or not at
    all."""
    first = WasmObject(table)
    last = first
    for _ in range(50):
        last = ring(table, last)[0]
    first.attach_callback(Node(last))
    leaves = [ring(table)[0] for _ in range(8)]
    top = ring(table, *leaves)[0]
    kept = leaves[3]
    del first, last, leaves
    collect()
    assert len(table) == 51 + 9 - 51
    del top
    assert collect() == 8
    kept.invoke_callback()
    del kept
    assert (collect(), len(table)) == (1, 0)


def test_one_callback_of_several_objects(table: SideTable) -> None:
    """Each attaching is a reference of its own."""
    node = Node()
    for _ in range(5):
        made = WasmObject(table)
        made.attach_callback(node)
        node.edges.append(made)
    kept = made
    del made, node
    assert collect() == 0
    kept.invoke_callback()
    del kept
    assert (collect(), len(table)) == (5, 0)


def test_finalizers(table: SideTable) -> None:
    """They may invoke their own callback and others', make objects, and keep their wrapper."""
    said: list[str] = []
    kept: list[WasmObject] = []
    other = WasmObject(table)
    other.attach_callback(lambda: said.append("other"))

    class Last(WasmObject):
        __slots__ = ("keep",)
        keep: bool

        def __del__(self) -> None:
            self.invoke_callback()
            other.invoke_callback()
            WasmObject(table).attach_callback(print)
            if self.keep:
                kept.append(self)

    for keep in (False, True):
        last = Last(table)
        last.keep = keep
        last.attach_callback(lambda last=last: said.append("own"))  # type: ignore[misc]
        del last
        collect()
        assert said == ["own", "other"]
        said.clear()
    kept[0].invoke_callback()
    other.invoke_callback()
    assert said == ["own", "other"] and len(table) == 2
    kept[0].keep = False
    kept.clear()
    assert (collect(), len(table)) == (1, 1), "its finalizer does not run again"


def test_while_the_guest_runs(table: SideTable) -> None:
    """Nothing is collected with the guest on the stack; afterwards it is."""
    found: list[int] = []
    ring(table)
    outer = WasmObject(table)
    outer.attach_callback(lambda: found.append(collect() + len(table)))
    outer.invoke_callback()
    assert found == [2]
    assert collect() == 1


def test_threads(form: str, engine: str) -> None:
    """A table is collected by its own thread; cycles whose last way in is dropped elsewhere wait for it."""
    table = SideTable(form_module(form), engine=engine)
    mine = [ring(table)[0] for _ in range(5)]
    freed: list[int] = []

    def other() -> None:
        own = SideTable(form_module(form), engine=engine)
        for _ in range(7):
            ring(own)
        mine.clear()
        freed.append(collect())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert freed == [7] and len(table) == 5
    assert (collect(), len(table)) == (5, 0)


@pytest.mark.filterwarnings("ignore:.*does not describe:RuntimeWarning")
def test_forged_handles(table: SideTable) -> None:
    """Whatever is written over handles: nothing that is in use is lost, and with the old words all is as it
    was."""
    kept = [ring(table)[0] for _ in range(12)]
    words = [word(table, made) for made in kept]
    hostile = [0, 1, words[5], words[-1], len(words), 17, 18, 19, 1 << 20, (1 << 31) - 1, 1 << 31, -2, -1]
    chooser = random.Random(1)
    for turn in range(40):
        for made in kept[::2]:
            forge(table, made, chooser.choice(hostile) if turn else words[1])
        collect()
        assert len(table) == 12
        for made, handle in zip(kept, words):
            forge(table, made, handle)
        for made in kept:
            made.invoke_callback()
    collect()
    assert len(table) == 12
    del made
    kept.clear()
    assert (collect(), len(table)) == (12, 0)


def test_forged_handles_are_reported(table: SideTable) -> None:
    """Two objects with the same handle: a warning, and what it stands for is kept."""
    (one, node), (other, _) = ring(table), ring(table)
    watch = weakref.ref(node)
    handle = word(table, other)
    forge(table, other, word(table, one))
    del one, node, other
    with pytest.warns(RuntimeWarning, match="does not describe"):
        assert collect() == 0
    assert watch() is not None and handle != 0xFFFFFFFF
    table.close()


def test_an_object_that_was_overwritten(table: SideTable) -> None:
    """Freeing it traps: collect() says so, and frees the others."""
    objects = [WasmObject(table) for _ in range(3)]
    table.memory.write(objects[1].pointer + 4, bytes(4))
    del objects
    with pytest.raises(GuestTrap):
        table.collect()
    assert (table.collect(), len(table)) == (0, 0)


def test_random_graphs(table: SideTable) -> None:
    """Callbacks and wrappers that refer to each other at random: after collect() those are alive that can be
    reached, and no others."""
    print(f"{CASES} graphs from seed {SEED}")
    died = 0
    for seed in range(SEED, SEED + CASES):
        chooser = random.Random(seed)
        count = chooser.randrange(1, 12)
        objects = [WasmObject(table) for _ in range(count)]
        nodes = [Node() for _ in range(chooser.randrange(1, 12))]
        edges = [[chooser.randrange(count) for _ in range(chooser.randrange(3))] for _ in nodes]
        for node, targets in zip(nodes, edges):
            node.edges = [objects[target] for target in targets]
        attached: list[int | None] = [chooser.choice([None, *range(len(nodes))]) for _ in objects]
        for made, number in zip(objects, attached):
            if chooser.random() < 0.3:
                made.attach_callback(Node(made))
            if number is not None:
                made.attach_callback(nodes[number])
            else:
                made.attach_callback(print)
        roots = {number for number in range(count) if chooser.random() < 0.2}
        reached, waiting = set(), list(roots)
        while waiting:
            at = waiting.pop()
            if at not in reached:
                reached.add(at)
                number = attached[at]
                waiting += [] if number is None else edges[number]
        watches = [weakref.ref(made) for made in objects]
        kept = {number: objects[number] for number in roots}
        del objects, nodes, made, node, targets
        collect()
        alive = {number for number, watch in enumerate(watches) if watch() is not None}
        assert alive == reached, f"seed {seed}"
        assert len(table) == len(reached), f"seed {seed}"
        for number in kept:
            chosen = attached[number]
            if chosen is not None:
                kept[number].invoke_callback()
        died += count - len(reached)
        kept.clear()
        collect()
        assert len(table) == 0 == len(table._guest.instance.space.objects), f"seed {seed}"
    assert died > CASES
