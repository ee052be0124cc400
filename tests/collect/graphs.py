"""Random graphs over both heaps, and what must be alive in them: the model that `collect` is tested against.

Python objects refer to each other, wrappers to structs, structs to structs that they own, and structs and the
guest's globals to Python objects through handles. `World` builds such graphs on a real table and a real
memory, keeps a plain description of them, and marks what can be reached in the description.

It is long because the graphs, their description and the marking only make sense side by side.
"""

from __future__ import annotations

import functools
import gc
import random
import types
import weakref
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from support import wat

from hiwire_py import Guest, GuestObject, Hiwire, layout
from hiwire_py.collect import Layout

__all__ = ["Bench", "Wrong", "World", "run_case"]

HANDLES, CHILDREN = 3, 2
# Not at the start, and with a word between that is neither.
_HANDLE_AT, _CHILD_AT, SIZE = 8, 8 + 4 * HANDLES + 4, 8 + 4 * HANDLES + 4 + 4 * CHILDREN
NODE: Layout = layout(
    SIZE,
    handles=[_HANDLE_AT + 4 * i for i in range(HANDLES)],
    owns={_CHILD_AT + 4 * i: lambda: NODE for i in range(CHILDREN)},
)
_PAGES = 2

_GUEST = f"""(module
  (import "env" "free_struct" (func $free (param i32)))
  (import "env" "hiwire_new" (func $new (param externref) (result i32)))
  (import "env" "hiwire_get" (func $get (param i32) (result externref)))
  (memory (export "memory") {_PAGES} {_PAGES})
  (func (export "free") (param i32) (call $free (local.get 0)))
  (func (export "again") (param i32) (result i32) (call $new (call $get (local.get 0)))))"""


class Wrong(AssertionError):
    """What is alive is not what can be reached."""


class Canary:
    """Part of each Python node, to see it die by."""

    __slots__ = ("__weakref__", "edges", "number", "owner")
    number: int
    edges: list[Any]
    owner: Any


class Instance:
    canary: Canary
    edges: list[Any]

    def method(self) -> None: ...


class Slotted:
    __slots__ = ("canary", "edges")
    canary: Canary
    edges: list[Any]


class Wrapper(GuestObject):
    canary: Canary
    edges: list[Any]


def _generator(canary: Canary, edges: list[Any]) -> Generator[int, None, None]:
    yield 1
    print(canary, edges)


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


async def _coroutine(canary: Canary, edges: list[Any]) -> None:
    await _pause()
    print(canary, edges)


def _raise(canary: Canary, edges: list[Any]) -> None:
    raise ValueError


def _make(kind: str, canary: Canary, edges: list[Any]) -> Any:
    if kind in ("instance", "method", "slotted"):
        made: Any = Slotted() if kind == "slotted" else Instance()
        made.canary, made.edges = canary, edges
        return made.method if kind == "method" else made
    if kind == "list":
        edges.append(canary)
        return edges
    if kind == "dict":
        return {"canary": canary, "edges": edges}
    if kind == "tuple":
        return canary, edges
    if kind == "closure":
        return lambda: (canary, edges)
    if kind == "partial":
        return functools.partial(print, canary, edges)
    if kind == "generator":
        generator = _generator(canary, edges)
        next(generator)
        return generator
    if kind == "coroutine":
        coroutine = _coroutine(canary, edges)
        coroutine.send(None)
        return coroutine
    assert kind == "exception"
    try:
        _raise(canary, edges)
    except ValueError as error:
        error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]  # not this frame
        return error


_OTHERS = (
    "instance",
    "method",
    "slotted",
    "list",
    "dict",
    "tuple",
    "closure",
    "partial",
    "generator",
    "coroutine",
)
KINDS = (*_OTHERS, "exception", *("wrapper",) * 6)


class Bench:
    """A table and a guest, on which one world after the other is built."""

    def __init__(self, engine: str) -> None:
        self.table = Hiwire(engine=engine)
        self.world: World | None = None
        imports: dict[str, dict[str, Callable[..., Any]]] = {"env": {"free_struct": self._free}}
        self.guest = Guest(wat(_GUEST), imports, hiwire=self.table)

    def _free(self, pointer: int) -> None:
        assert self.world is not None
        self.world.free(pointer)


class World:
    """One graph.

    Attributes:
        edges: Python node -> the Python nodes it refers to.
        pointers: Python nodes that are wrappers -> pointer.
        structs: pointer -> (handles, pointers to children).
        named: live handle -> Python node.
    """

    def __init__(self, bench: Bench, rng: random.Random, lasting: bool) -> None:
        self.bench, self.table, self.guest, self.rng = bench, bench.table, bench.guest, rng
        self.lasting = lasting
        """Whether nodes can be found again through their canaries, for a second round."""
        bench.world = self
        self.numbers = 0
        self.top = 16
        self.unused: list[int] = []
        self.edges: dict[int, list[int]] = {}
        self.canaries: dict[int, weakref.ref[Canary]] = {}
        self.pointers: dict[int, int] = {}
        self.structs: dict[int, tuple[list[int], list[int]]] = {}
        self.named: dict[int, int] = {}
        self.roots: dict[int, Any] = {}
        self.global_handles: list[int] = []
        self.global_structs: list[int] = []
        self.values: dict[int, tuple[Any, list[Any]]] = {}

    # ---- the guest's side: its allocator, and its memory

    def allocate(self) -> int:
        if self.unused and self.rng.random() < 0.7:
            pointer = self.unused.pop()
        else:
            pointer, self.top = self.top, self.top + SIZE
        self.guest.memory.write(pointer, bytes(SIZE))
        self.structs[pointer] = [0] * HANDLES, [0] * CHILDREN
        return pointer

    def free(self, pointer: int) -> None:
        if pointer not in self.structs:
            raise Wrong(f"{pointer:#x} was freed twice")
        handles, children = self.structs.pop(pointer)
        self.guest.memory.write(pointer, b"\xa5" * SIZE)
        self.unused.append(pointer)
        for handle in filter(None, handles):
            self.release(handle)
        for child in filter(None, children):
            self.free(child)

    def release(self, handle: int) -> None:
        if self.table.refcount(handle) == 1:
            self.named.pop(handle)
        self.table.decref(handle)

    def _write(self, address: int, word: int) -> None:
        self.guest.memory.write(address, word.to_bytes(4, "little"))

    def set_handle(self, pointer: int, field: int, handle: int) -> None:
        handles = self.structs[pointer][0]
        old, handles[field] = handles[field], handle
        self._write(pointer + _HANDLE_AT + 4 * field, handle)
        if old:
            self.release(old)

    def set_child(self, pointer: int, field: int, child: int) -> None:
        children = self.structs[pointer][1]
        old, children[field] = children[field], child
        self._write(pointer + _CHILD_AT + 4 * field, child)
        if old:
            self.free(old)

    def handle_of(self, node: int) -> int:
        """A count of a handle of a node: its first, another one, or a second slot for the same externref."""
        known = [handle for handle, named in self.named.items() if named == node]
        way = self.rng.random()
        if known and way < 0.5:
            handle = self.rng.choice(known)
            self.table.incref(handle)
        elif known and way < 0.7:
            handle = self.guest.exports.again(self.rng.choice(known)) & 0xFFFFFFFF
        else:
            handle = self.table.new(self.values[node][0])
        self.named[handle] = node
        return handle

    # ---- building and changing

    def add(self, kind: str = "") -> int:
        """Make a Python node, of a random kind or of this one; its number."""
        canary, number = Canary(), self.numbers
        edges: list[Any] = []
        self.numbers += 1
        canary.number, canary.edges = number, edges
        kind = kind or self.rng.choice(KINDS)
        if kind == "wrapper":
            made: Any = Wrapper(self.guest, self.allocate, layout=NODE, free="free")
            made.canary, made.edges = canary, edges
            self.pointers[number] = made.pointer
        else:
            made = _make(kind, canary, edges)
        canary.owner = made if self.lasting else None
        self.canaries[number] = weakref.ref(canary)
        self.edges[number] = []
        self.values[number] = made, edges
        return number

    def recall(self) -> None:
        """Find the nodes of earlier rounds again."""
        for number, reference in self.canaries.items():
            canary = reference()
            if canary is not None and number not in self.values:
                self.values[number] = canary.owner, canary.edges

    def struct(self) -> int | None:
        """A struct that is certainly there."""
        rng = self.rng
        if rng.random() < 0.3 and self.global_structs:
            pointer = rng.choice(self.global_structs)
        else:
            wrappers = [self.pointers[n] for n in self.values if n in self.pointers]
            if not wrappers:
                return None
            pointer = rng.choice(wrappers)
        while rng.random() < 0.4:
            children = [child for child in self.structs[pointer][1] if child]
            if not children:
                break
            pointer = rng.choice(children)
        return pointer

    def change(self) -> None:
        """One random change."""
        rng = self.rng
        one, other = rng.choices(list(self.values), k=2)
        what = rng.random()
        if what < 0.35:
            self.values[one][1].append(self.values[other][0])
            self.edges[one].append(other)
        elif what < 0.42 and self.edges[one]:
            at = rng.randrange(len(self.edges[one]))
            edges = self.values[one][1]
            del edges[len(edges) - len(self.edges[one]) + at]
            del self.edges[one][at]
        elif what < 0.72:
            pointer = self.struct()
            if pointer is not None:
                handle = self.handle_of(other) if rng.random() < 0.85 else 0
                self.set_handle(pointer, rng.randrange(HANDLES), handle)
        elif what < 0.82:
            pointer = self.struct()
            if pointer is not None and rng.random() < 0.85:
                self.set_child(pointer, rng.randrange(CHILDREN), self.allocate())
            elif pointer is not None:
                self.set_child(pointer, rng.randrange(CHILDREN), 0)
        elif what < 0.86:
            self.global_handles.append(self.handle_of(other))
        elif what < 0.90:
            self.drop_global_handle()
        elif what < 0.93:
            self.global_structs.append(self.allocate())
        elif what < 0.96:
            self.drop_global_struct()
        elif one in self.roots:
            del self.roots[one]
        else:
            self.roots[one] = self.values[one][0]

    def move(self, collect: Callable[[], object]) -> None:
        """What a guest does in one go: load a handle, or a pointer to an owned struct, cut it where it was,
        and put it into a struct that was just made. Collections begin in between, and after it; Python's own
        leave structs of dead wrappers to be freed by who comes in next."""
        holders = [
            (pointer, kind, field)
            for pointer in self.reachable()[1]
            for kind in range(2)
            for field, word in enumerate(self.structs[pointer][kind])
            if word
        ]
        if not holders:
            return
        pointer, kind, field = self.rng.choice(holders)
        words, at = self.structs[pointer][kind], (_HANDLE_AT, _CHILD_AT)[kind] + 4 * field
        loaded, words[field] = words[field], 0
        self._write(pointer + at, 0)
        held = (self.global_handles, self.global_structs)[kind]
        held.append(loaded)  # a local of the guest's
        for begin in self.rng.choice(((), (collect,), (gc.collect,), (gc.collect, collect))):
            begin()
        made = self.add("wrapper")
        self.roots[made] = self.values.pop(made)[0]
        held.remove(loaded)
        (self.set_handle, self.set_child)[kind](self.pointers[made], 0, loaded)
        for begin in self.rng.choice(((), (collect,), (gc.collect,))):
            begin()
        if self.rng.random() < 0.5:
            del self.roots[made]

    def drop_global_handle(self) -> None:
        if self.global_handles:
            self.release(self.global_handles.pop(self.rng.randrange(len(self.global_handles))))

    def drop_global_struct(self) -> None:
        if self.global_structs:
            self.free(self.global_structs.pop(self.rng.randrange(len(self.global_structs))))

    # ---- the oracle

    def reachable(self) -> tuple[set[int], set[int]]:
        """Marks from the roots: the Python nodes and the structs that must be alive."""
        nodes: set[int] = set()
        structs: set[int] = set()
        waiting = [(True, node) for node in self.roots]
        waiting += [(True, self.named[handle]) for handle in self.global_handles]
        waiting += [(False, pointer) for pointer in self.global_structs]
        while waiting:
            python, at = waiting.pop()
            if at in (nodes if python else structs):
                continue
            if python:
                nodes.add(at)
                waiting += [(True, other) for other in self.edges[at]]
                waiting += [(False, self.pointers[at])] if at in self.pointers else []
            else:
                structs.add(at)
                if at not in self.structs:
                    raise Wrong(f"the struct at {at:#x} was freed, but can be reached")
                handles, children = self.structs[at]
                waiting += [(True, self.named[handle]) for handle in handles if handle]
                waiting += [(False, child) for child in children if child]
        return nodes, structs

    def check(self) -> None:
        """Compare with what is really there; called right after `collect`."""
        nodes, structs = self.reachable()
        alive = {number for number, canary in self.canaries.items() if canary() is not None}
        if alive != nodes or set(self.structs) != structs:
            raise Wrong(
                f"died early: nodes {sorted(nodes - alive)}, structs {sorted(structs - set(self.structs))};"
                f" leaked: nodes {sorted(alive - nodes)}, structs {sorted(set(self.structs) - structs)}"
            )
        counts = Counter(self.global_handles)
        for handles, _ in self.structs.values():
            counts.update(filter(None, handles))
        if {handle: self.table.refcount(handle) for handle in self.table} != counts:
            raise Wrong("the table's counts are not those of the handles in memory")
        for handle in counts:
            value = self.table.get(handle)
            canary = self.canaries[self.named[handle]]()
            if canary is None or (canary.owner is not None and canary.owner is not value):
                raise Wrong(f"handle {handle} names another object: {value!r}")
            if not self.lasting and type(value).__name__ == "_Gone":
                raise Wrong(f"handle {handle} lost its object")
        for number in alive ^ set(self.canaries):
            del self.canaries[number], self.edges[number]
            self.pointers.pop(number, None)

    def clear(self) -> None:
        """Let go of everything."""
        self.values.clear()
        self.roots.clear()
        while self.global_structs:
            self.drop_global_struct()
        while self.global_handles:
            self.drop_global_handle()


def run_case(bench: Bench, seed: int, collect: Callable[[], object]) -> int:
    """Build one world from a seed, and check it after each round.

    Returns:
        How many Python nodes died in collections.

    Raises:
        Wrong: with the seed.
    """
    rng = random.Random(seed)
    world = World(bench, rng, lasting=seed % 2 == 1)
    died = 0
    try:
        for _ in range(3 if world.lasting else 1):
            for _ in range(rng.randrange(3, 16)):
                world.add()
            world.recall()
            for number, (value, _) in world.values.items():
                if rng.random() < 0.15:
                    world.roots[number] = value
            for _ in range(rng.randrange(5, 60)):
                world.change()
            # Globals keep most things alive, so few of them may stay.
            while world.global_structs and rng.random() < 0.8:
                world.drop_global_struct()
            while world.global_handles and rng.random() < 0.8:
                world.drop_global_handle()
            world.values.clear()
            value = None
            before = len(world.canaries)
            for _ in range(rng.choice((0, 0, 1, 3))):
                world.move(collect)
            collect()
            world.check()
            died += before - len(world.canaries)
        world.clear()
        collect()
        world.check()
        if world.structs or world.canaries or len(bench.table):
            raise Wrong("something is left at the end")
    except Wrong as wrong:
        raise Wrong(f"seed {seed}: {wrong}") from None
    return died
