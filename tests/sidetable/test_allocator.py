"""The allocator of c/sidetable/: random use against a shadow heap, its layout, hostile sizes, memory that
others grow."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Iterator

import pytest
import wasmtime
from sidetable_support import PAGE, allocator_module

pytestmark = pytest.mark.once

SEED = int(os.environ.get("HIWIRE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
CASES = int(os.environ.get("HIWIRE_HEAP_CASES", "6"))

GRANULE, HEADER, FREE, AFTER_FREE = 16, 4, 1, 2


@functools.cache
def _engine() -> wasmtime.Engine:
    return wasmtime.Engine()


@functools.cache
def _module() -> wasmtime.Module:
    return wasmtime.Module(_engine(), allocator_module())


class Heap:
    """An allocator in memory of its own. What it gives is filled with a pattern of its own, in a shadow of
    the heap."""

    def __init__(self, pages: int, first_pages: int = 1) -> None:
        self.store = wasmtime.Store(_engine())
        limits = wasmtime.MemoryType(wasmtime.Limits(first_pages, pages))
        self.memory = wasmtime.Memory(self.store, limits)
        self.instance = wasmtime.Instance(self.store, _module(), [self.memory])
        exports = self.instance.exports(self.store)
        base = exports["__heap_base"]
        assert isinstance(base, wasmtime.Global)
        self.start = (int(base.value(self.store)) + GRANULE - 1) // GRANULE * GRANULE + GRANULE - HEADER
        self._calls = {name: exports[name] for name in ("malloc", "free", "realloc")}
        self.shadow: dict[int, bytes] = {}

    def call(self, name: str, *args: int) -> int:
        function = self._calls[name]
        assert isinstance(function, wasmtime.Func)
        return (function(self.store, *(a - (1 << 32) if a >= 1 << 31 else a for a in args)) or 0) & 0xFFFFFFFF

    @property
    def pages(self) -> int:
        return self.memory.size(self.store)

    def read(self, address: int, count: int) -> bytes:
        return bytes(self.memory.read(self.store, address, address + count))

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def write(self, address: int, data: bytes) -> None:
        self.memory.write(self.store, data, address)

    # ---- with the shadow

    def malloc(self, size: int, pattern: int) -> int:
        """Allocates and fills; checks that no other block is touched. 0: checks that no free block would have
        done."""
        at = self.call("malloc", size)
        if at == 0:
            needed = (size + HEADER + GRANULE - 1) // GRANULE * GRANULE
            assert max((block for _, block, free in self.blocks() if free), default=0) < needed
            return 0
        self._take(at, size, bytes((pattern & 0xFF,)) * size)
        return at

    def realloc(self, at: int, size: int, pattern: int) -> int:
        """Resizes; the old bytes must be there, and if it failed the old block must be as it was."""
        old = self.shadow.get(at, b"")
        to = self.call("realloc", at, size)
        if to == 0:
            return 0
        self.shadow.pop(at, None)
        kept = old[:size]
        assert self.read(to, len(kept)) == kept
        self._take(to, size, kept + bytes((pattern & 0xFF,)) * (size - len(kept)))
        return to

    def free(self, at: int) -> None:
        assert self.read(at, len(self.shadow[at])) == self.shadow.pop(at)
        self.call("free", at)

    def _take(self, at: int, size: int, data: bytes) -> None:
        assert at % GRANULE == 0
        assert self.start < at <= at + size <= self.pages * PAGE
        assert at not in self.shadow
        self.shadow[at] = data
        self.write(at, data)

    # ---- the layout, as the head of allocator.c tells it

    def blocks(self) -> Iterator[tuple[int, int, bool]]:
        """Every block: its header's address, its size, whether it is free."""
        at, after_free = self.start, False
        while True:
            header = self.word(at)
            size, free = header & ~15, bool(header & FREE)
            assert bool(header & AFTER_FREE) == after_free, f"block {at:#x}"
            assert not (free and after_free), f"free neighbours at {at:#x}"
            if size == 0:
                assert not free
                return
            if free:
                assert self.word(at + size - HEADER) == size
            yield at, size, free
            at, after_free = at + size, free

    def check(self) -> None:
        """The row of blocks is sound, what is in use holds what was written to it, and nothing else is in
        use."""
        used = {at + HEADER: size for at, size, free in self.blocks() if not free}
        assert used.keys() == self.shadow.keys()
        for at, data in self.shadow.items():
            assert len(data) <= used[at] - HEADER
            assert self.read(at, len(data)) == data


def size(generator: random.Random) -> int:
    """Mostly small, sometimes pages, and now and then what cannot be had."""
    choice = generator.random()
    if choice < 0.6:
        return generator.randrange(0, 64)
    if choice < 0.9:
        return generator.randrange(0, 3000)
    if choice < 0.98:
        return generator.randrange(0, 3 * PAGE)
    return generator.choice([10 * PAGE, 1 << 28, 1 << 31, (1 << 32) - PAGE, (1 << 32) - 16, (1 << 32) - 1])


@pytest.mark.parametrize("case", range(CASES))
def test_random_use_against_a_shadow_heap(case: int) -> None:
    """malloc, realloc and free at random, in little memory: no byte of any block is lost, the layout holds
    after every step that is looked at, NULL comes only where no free block would do, and freeing everything
    joins everything."""
    print(
        f"seed {SEED + case}: HIWIRE_SEED={SEED + case} repeats it as case 0; HIWIRE_HEAP_CASES=N runs more"
    )
    generator = random.Random(SEED + case)
    heap = Heap(generator.choice([1, 2, 10, 40]))
    refused = 0
    for step in range(2500):
        choice = generator.random()
        at = generator.choice(list(heap.shadow)) if heap.shadow else 0
        draining = step // 300 % 2
        if at == 0 or choice < (0.3 if draining else 0.55):
            refused += heap.malloc(size(generator), step) == 0
        elif choice < 0.7:
            refused += heap.realloc(at if choice > 0.58 else 0, size(generator), step) == 0
        else:
            heap.free(at)
        if step % 10 == 0:
            heap.check()
    assert refused > 0
    heap.check()
    for at in generator.sample(list(heap.shadow), len(heap.shadow)):
        heap.free(at)
    assert [(start, free) for start, _, free in heap.blocks()] == [(heap.start, True)]


def test_every_block_can_be_used_up() -> None:
    """Ten pages give as many of the smallest blocks as fit: 12 bytes in 16. Freed in any order, they are one
    again."""
    heap = Heap(10)
    blocks = []
    while at := heap.call("malloc", 12):
        blocks.append(at)
    assert blocks == list(range(heap.start + HEADER, 10 * PAGE, GRANULE))
    random.Random(1).shuffle(blocks)
    for at in blocks:
        heap.call("free", at)
    ((_, whole, free),) = heap.blocks()
    assert free
    assert heap.call("malloc", whole - HEADER) == heap.start + HEADER


@pytest.mark.parametrize(
    "hostile", [10 * PAGE, 1 << 28, (1 << 31) - 1, 1 << 31, (1 << 32) - PAGE, (1 << 32) - 20, (1 << 32) - 1]
)
def test_hostile_sizes_give_null_and_change_nothing(hostile: int) -> None:
    """No sum wraps, at any size; not a byte changes, and the memory does not grow."""
    heap = Heap(10)
    at = heap.malloc(100, 7)
    before, pages = heap.read(0, PAGE), heap.pages
    for name, *args in (("malloc", hostile), ("realloc", at, hostile)):
        assert heap.call(str(name), *map(int, args)) == 0
        assert (heap.read(0, PAGE), heap.pages) == (before, pages)
    heap.check()


def test_sizes_around_every_bin() -> None:
    """For each size near the border of a bin: what is freed is found again by the same request, in place."""
    heap = Heap(200)
    sizes = {1 << power | extra << max(power - 2, 0) for power in range(4, 23) for extra in range(4)}
    for bytes_ in sorted(size + delta for size in sizes for delta in (-17, -16, -5, -4, -3, 0, 1, 12, 13)):
        if bytes_ < 0:
            continue
        at = heap.call("malloc", bytes_)
        guard = heap.call("malloc", 1)
        assert at
        heap.call("free", at)
        assert heap.call("malloc", bytes_) == at
        heap.call("free", at)
        heap.call("free", guard)
    heap.check()


def test_the_best_it_can_do_is_found() -> None:
    """A block that a request fits exactly is found even where the bitmap cannot promise it, before giving
    up."""
    heap = Heap(1)
    rest = heap.call("malloc", 5 * 16 * 13 - HEADER)  # not the smallest size of its bin
    assert rest
    while heap.call("malloc", 12):
        pass
    heap.call("free", rest)
    assert heap.call("malloc", 5 * 16 * 13 - HEADER + 1) == 0
    assert heap.call("malloc", 5 * 16 * 13 - HEADER) == rest


def test_realloc_grows_in_place_where_it_can() -> None:
    """At the end of the heap, also through a growth of the memory, and into a free neighbour; else it
    moves."""
    heap = Heap(40)
    at = heap.realloc(0, 100, 1)
    for count in range(200, 30 * PAGE, 50_000):
        assert heap.realloc(at, count, count) == at
        heap.check()
    assert heap.realloc(at, 8, 0) == at
    behind = heap.malloc(8, 1)
    moved = heap.realloc(at, 300, 2)
    assert moved not in (0, at)
    heap.free(behind)
    heap.check()
    assert heap.realloc(moved, 39 * PAGE, 3)
    assert heap.realloc(next(iter(heap.shadow)), 41 * PAGE, 3) == 0
    assert heap.realloc(next(iter(heap.shadow)), 0, 3)
    heap.check()


def test_memory_grown_by_others_is_theirs() -> None:
    """The heap goes on behind it, and never touches it, whether its own last block was free or not."""
    for first_size in (100, PAGE - 3000):
        heap = Heap(12)
        first = heap.malloc(first_size, 1)
        theirs = heap.memory.grow(heap.store, 2) * PAGE
        heap.write(theirs, b"\xee" * 2 * PAGE)
        second = heap.malloc(3 * PAGE, 2)
        assert second >= theirs + 2 * PAGE
        small = heap.malloc(300, 3)
        assert heap.realloc(first, first_size + 2 * PAGE, 4) >= theirs + 2 * PAGE
        while heap.malloc(1000, 5):
            pass
        assert heap.pages == 12
        assert heap.read(theirs, 2 * PAGE) == b"\xee" * 2 * PAGE
        for at in (second, small):
            heap.free(at)
        list(heap.blocks())


def test_a_memory_of_four_gibibytes() -> None:
    """The last page, where addresses end: growth stops without wrapping. (Only touched pages take room on the
    host.)"""
    heap = Heap(65536, 65534)
    large = heap.call("malloc", 65533 * PAGE)
    assert large
    assert heap.call("malloc", 65533 * PAGE) == 0
    more = heap.call("malloc", 2 * PAGE)
    assert heap.pages == 65536
    assert heap.call("malloc", PAGE) == 0
    while heap.call("malloc", 1000):
        pass
    heap.call("free", more)
    heap.call("free", large)
    assert heap.call("malloc", 65534 * PAGE) == large


def test_freeing_what_is_no_block_traps() -> None:
    """Twice, misaligned, below the heap, beyond it: a trap instead of a broken heap. NULL is fine."""
    heap = Heap(2)
    with pytest.raises(wasmtime.Trap):
        heap.call("free", 4096)  # before the first malloc
    blocks = [heap.malloc(100, i) for i in range(4)]
    heap.free(blocks[1])
    heap.free(blocks[2])  # joined to the one before: its own header is not one any more
    for wrong in (
        blocks[1],
        blocks[2],
        blocks[0] + 4,
        blocks[0] + 8,
        16,
        2 * PAGE,
        (1 << 32) - 16,
        64 * PAGE,
    ):
        with pytest.raises(wasmtime.Trap):
            heap.call("free", wrong)
        with pytest.raises(wasmtime.Trap):
            heap.call("realloc", wrong, 50)
    heap.call("free", 0)
    heap.check()
