"""Collecting with nothing but Python, where the types of `traverse` could not be compiled at install: for the
time of a collection the wrappers hold what their structs hold.

The table lets go of every object whose references all lie in structs that have wrappers, and each wrapper
gets a dict of those in its own struct. So Python's collector sees the references that exist in the guest's
memory. Afterwards the table takes back the objects of all wrappers that are alive.
"""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..guest import Guest
from ..handles import COUNT_MAX, COUNT_SHIFT, VERSION_SHIFT, slot_of
from ..memory import GuestMemory
from ..objects.layout import ID_INDEX
from ..objects.trampolines import ForEach
from .layouts import Layout
from .refcounts import Slots
from .registry import CommonRegistry, Registries

__all__ = ["Registry", "WrapperBase", "new_edges"]


class WrapperBase:
    """What `GuestObject` is made from."""

    __slots__ = ("_guest_held", "_guest_owner", "_guest_registry")

    _guest_registry: Registry
    _guest_owner: _Owner
    _guest_held: dict[int, Any] | None

    @property
    def _guest_pointer(self) -> int:
        registry = self._guest_registry
        pointer = self._guest_owner.pointer
        if self._guest_held is not None:
            registry.take_back(self)
            registry.renew(self, pointer)
        return pointer


class _Owner:
    """The pointer to a struct, held by its wrapper alone: when this is gone, the struct is to be freed.

    The finalizer only queues. Python runs it for all of a cycle's objects before it knows which of them
    another finalizer has kept, and runs it once. So the entry holds a weak reference, by which
    `Registry.next_free` finds out later whether the owner is dead. It is made here, because Python has
    cleared all older ones by now, also those to objects that stay alive.
    """

    __slots__ = ("__weakref__", "pointer", "queue")

    def __init__(self, pointer: int, queue: deque[tuple[int, weakref.ref[_Owner]]]) -> None:
        self.pointer = pointer
        self.queue = queue

    def __del__(self) -> None:
        if hasattr(self, "queue"):  # else a signal handler raised before it was made
            self.queue.append((self.pointer, weakref.ref(self)))


class _Entry(NamedTuple):
    """A struct with a wrapper."""

    wrapper: weakref.ref[Any]
    layout: Layout
    free: ForEach


class Registry(CommonRegistry):
    """Attributes:
    live: pointer -> entry, from when the wrapper is made until the struct is freed.
    queue: pointers of dead or dying owners.
    """

    def __init__(self, guest: Guest, heap: Registries, memory: GuestMemory | None = None) -> None:
        super().__init__(guest, heap, memory)
        self.live: dict[int, _Entry] = {}
        self.queue: deque[tuple[int, weakref.ref[_Owner]]] = deque()

    @property
    def waiting(self) -> int:  # type: ignore[override]  # a plain attribute where types are compiled
        return len(self.queue)

    def register(self, wrapper: Any, pointer: int, layout: Layout, free: ForEach) -> None:
        self.check(pointer, layout)
        self.live[pointer] = _Entry(weakref.ref(wrapper), layout, free)
        wrapper._guest_held = None
        wrapper._guest_owner = _Owner(pointer, self.queue)
        wrapper._guest_registry = self

    def next_free(self) -> ForEach | None:
        queue = self.queue
        for _ in range(len(queue)):
            pointer, owner = queue[0]
            if owner() is None:
                return self.live[pointer].free
            queue.rotate(-1)
        return None

    def dead(self, free: ForEach) -> Iterator[int]:
        queue, live = self.queue, self.live
        while queue:
            pointer, owner = queue[0]
            if owner() is not None or live[pointer].free is not free:
                return
            del queue[0]
            del live[pointer]
            yield (pointer ^ 1 << 31) - (1 << 31)

    def take_back(self, wrapper: Any) -> None:
        """A finalizer, or whoever a finalizer gave it to, uses a wrapper that was found to be garbage."""
        space = self.heap.space
        _give_back(wrapper, wrapper._guest_held, space.objects, space.tombstones)
        self.heap.again = True

    def renew(self, wrapper: Any, pointer: int) -> None:
        """A finalizer kept the wrapper: find it again from now on."""
        entry = self.live.get(pointer)
        if entry is not None and entry.wrapper() is not wrapper:
            self.live[pointer] = entry._replace(wrapper=weakref.ref(wrapper))

    def find_lost(self) -> None:
        """Find the wrappers again that finalizers kept: Python had cleared all weak references to them."""
        lost = []
        for pointer, reference in list(self.queue):
            owner = reference()
            if owner is not None and pointer in self.live and self.live[pointer].wrapper() is None:
                lost.append(owner)
        if lost:
            for referrer in gc.get_referrers(*lost):
                if isinstance(referrer, WrapperBase):
                    self.renew(referrer, referrer._guest_owner.pointer)


def _give_back(
    wrapper: Any, held: dict[int, Any], objects: dict[int, Any], tombstones: dict[int, None]
) -> None:
    for key, value in held.items():
        if key in tombstones:
            objects[key] = value
            del tombstones[key]
    wrapper._guest_held = None  # last, for who is interrupted begins again


_Map = tuple[tuple[int, ...], list[tuple[int, Layout]]]  # the offsets of handles, and what is owned where


class Edges:
    """See `backend.new_edges`.

    A word of memory is counted once, however many layouts lie over it: objects in such structs, and in
    structs with more than one owner, are to be kept.
    """

    def __init__(self, none: int) -> None:
        self._none = none
        self._registries: list[Registry] = []
        self._dicts: tuple[dict[int, Any], dict[int, None]] | None = None
        self._over = False
        self._mistaken: set[Layout] = set()
        self._wrappers: list[tuple[Any, list[int]]] = []  # with the references of their structs
        # All references, and where each was found: a number for the memory, and the word in it.
        self._references: list[int] = []
        self._places: list[int] = []
        # By the memory's address, since two guests may share one: the number, and the structs seen.
        self._memories: dict[int, tuple[int, set[int]]] = {}
        self._again: list[tuple[int, Layout, memoryview[int]]] = []  # structs that were found twice
        self._maps: dict[Layout, _Map] = {}

    # ---- finding them

    def add(self, registry: Registry, address: int, size: int) -> None:
        registry.find_lost()
        self._registries.append(registry)
        words = memoryview((ctypes.c_char * size).from_address(address)).cast("B").cast("I")
        base, visited = self._memories.setdefault(address, (len(self._memories) << 32, set()))
        common = visited.intersection(registry.live)
        visited.update(registry.live)
        for pointer, (wrapper_ref, layout, _) in list(registry.live.items()):
            wrapper = wrapper_ref()
            if wrapper is None:
                continue
            # Its place was checked when the wrapper was made, and memories do not shrink.
            first = len(self._references)
            waiting = self._read(words, pointer, layout, base)
            while waiting:
                at, target = waiting.pop()
                if not _fits(at, target, words):
                    continue
                if at in visited:
                    self._again.append((at, target, words))
                else:
                    visited.add(at)
                    waiting += self._read(words, at, target, base)
            if len(self._references) > first:
                self._wrappers.append((wrapper, self._references[first:]))
            if pointer in common:
                self._again.append((pointer, layout, words))

    def _read(
        self, words: memoryview[int], pointer: int, layout: Layout, base: int
    ) -> list[tuple[int, Layout]]:
        """Find the references in a struct.

        Returns:
            What it owns: pointers, which may be anything, and layouts.
        """
        at, none = pointer >> 2, self._none
        offsets, owned = self._map_of(layout)
        for offset in offsets:
            reference = words[at + offset]
            if reference != none:
                self._references.append(reference)
                self._places.append(base + at + offset)
        return [(words[at + offset], target) for offset, target in owned]

    def _map_of(self, layout: Layout) -> _Map:
        found = self._maps.get(layout)
        if found is None:
            found = self._maps[layout] = layout.handles, layout.owns()
        return found

    def _copies(self) -> dict[int, int]:
        """Reference -> how often it was found; negative for those that are to be kept."""
        copies = Counter(self._references)
        for reference in self._kept():
            copies[reference] = -1
        return copies

    def _kept(self) -> set[int]:
        """The references in structs that lie over each other, or have two owners."""
        kept = set()
        if len(set(self._places)) != len(self._places):
            often = Counter(self._places)
            kept = {one for one, place in zip(self._references, self._places) if often[place] > 1}
            self._mistake(kept)
        seen: set[tuple[int, int]] = set()
        waiting = self._again
        while waiting:
            pointer, layout, words = waiting.pop()
            if (pointer, id(words)) in seen or not _fits(pointer, layout, words):
                continue
            seen.add((pointer, id(words)))
            self._mistaken.add(layout)
            at = pointer >> 2
            offsets, owned = self._map_of(layout)
            kept.update(words[at + offset] for offset in offsets)
            waiting += [(words[at + offset], target, words) for offset, target in owned]
        return kept

    def _mistake(self, references: set[int]) -> None:
        """The layouts of wrappers with any of these do not describe the memory."""
        for wrapper, held in self._wrappers:
            if not references.isdisjoint(held):
                pointer = wrapper._guest_owner.pointer
                self._mistaken.add(wrapper._guest_registry.live[pointer].layout)

    # ---- handing the objects over

    def show(self, objects: dict[int, Any], tombstones: dict[int, None], slots: Slots) -> set[Layout]:
        if self._over:
            return set()
        self._dicts = objects, tombstones
        accounted, wrong = _accounted(self._copies(), slots)
        self._mistake(set(wrong))
        keys = {reference: key for reference, key in accounted.items() if key in objects}
        wrappers, self._wrappers = self._wrappers, []  # nothing may keep them alive when this returns
        for wrapper, references in wrappers:
            held = {keys[one]: objects[keys[one]] for one in references if one in keys}
            if held:
                wrapper._guest_held = held
        for key in keys.values():
            if not self._over and key in objects:  # of two references to one object, the first took it
                tombstones[key] = None
                del objects[key]
        return self._mistaken

    def end(self) -> None:
        """The table takes back the objects of the wrappers that are alive. May be called again, when the
        collection is over: finalizers may have kept more of them."""
        self._over = True
        self._wrappers.clear()
        for registry in self._registries if self._dicts else ():
            registry.find_lost()
            for entry in list(registry.live.values()):
                wrapper = entry.wrapper()
                if wrapper is not None:
                    held = wrapper._guest_held
                    if held is not None:
                        _give_back(wrapper, held, *self._dicts)  # type: ignore[misc]  # as said above


new_edges = Edges


def _fits(pointer: int, layout: Layout, words: memoryview[int]) -> bool:
    return pointer != 0 and not pointer & 3 and pointer + layout.size <= 4 * len(words)


def _accounted(copies: Mapping[int, int], slots: Slots) -> tuple[dict[int, int], list[int]]:
    """Which references are held by what was looked at, and by nothing else.

    Args:
        copies: see `Edges._copies`.

    Returns:
        Reference -> key, for those whose count equals the copies found and whose object no other slot and no
        global holds; and the references that were found more often than they are counted.
    """
    wrong: list[int] = []
    keys: dict[int, int] = {}
    words, all_keys, holders = slots.views()
    for reference, found in copies.items():
        index = reference if words is None else slot_of(reference)
        if index >= len(all_keys):
            continue
        if words is None:
            live, count, known = all_keys[index] != 0, 1, 0
        else:
            word = words[index]
            live = index > 0 and bool(reference & word & 1) and not (word ^ reference) >> VERSION_SHIFT
            count, known = word >> COUNT_SHIFT & COUNT_MAX, word & 2
        if not live:
            continue
        if found > count:
            wrong.append(reference)
        # Bit 1: the map of equal objects knows it, and holds the object or looks it up by its address.
        elif found == count != COUNT_MAX and not known and all_keys[index]:
            keys[reference] = all_keys[index]
    often = Counter(keys.values())  # a guest can store one externref in several slots
    return {one: key for one, key in keys.items() if _holders(key, holders) == often[key]}, wrong


def _holders(key: int, holders: memoryview[int]) -> int:
    """How many slots and globals hold an object; -1 if that is not known."""
    index = key & ID_INDEX
    return holders[index] if index < len(holders) else -1
