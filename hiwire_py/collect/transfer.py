"""Collecting with nothing but Python, where the types of `traverse` could not be compiled at install: for the
time of a collection the wrappers hold what their structs hold.

The table lets go of every object whose references all lie in structs that have wrappers, and each wrapper
gets a dict of those in its own struct. So Python's collector sees the references that exist in the guest's
memory. Afterwards the table takes back the objects of all wrappers that are alive.

This is written to be short. The wrappers are looked for among all objects that Python's collector knows: weak
references would not do, since Python clears those to garbage, also where a finalizer keeps it.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..guest import Guest
from ..handles import COUNT_MAX, COUNT_SHIFT, VERSION_SHIFT, slot_of
from ..memory import GuestMemory
from ..objects import Numbers
from ..objects.layout import ID_INDEX
from ..objects.trampolines import ForEach
from .heap import CommonRegistry, Heap
from .layouts import Layout
from .refcounts import Slots

__all__ = ["Registry", "WrapperBase"]


class WrapperBase:
    """What `GuestObject` is made from."""

    __slots__ = ("_guest_held", "_guest_owner", "_guest_registry")

    _guest_registry: Registry
    _guest_owner: _Owner
    _guest_held: dict[int, Any] | None

    @property
    def _guest_pointer(self) -> int:
        pointer = self._guest_owner.pointer
        if self._guest_held is not None:  # a finalizer found it, or whoever a finalizer gave it to
            heap = self._guest_registry.heap
            _give_back(self, self._guest_held, heap.space.objects, heap.space.tombstones)
            heap.again = True
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


class Registry(CommonRegistry):
    """Attributes:
    live: pointer -> its layout and what frees it, from when the wrapper is made until the struct is freed.
    queue: pointers of dead or dying owners.
    """

    def __init__(self, guest: Guest, heap: Heap, memory: GuestMemory) -> None:
        super().__init__(guest, heap, memory)
        self.live: dict[int, tuple[Layout, ForEach]] = {}
        self.queue: deque[tuple[int, weakref.ref[_Owner]]] = deque()

    @property
    def waiting(self) -> int:  # type: ignore[override]  # a plain attribute where types are compiled
        return len(self.queue)

    def register(self, wrapper: Any, pointer: int, layout: Layout, free: ForEach) -> None:
        self.check(pointer, layout)
        self.live[pointer] = layout, free
        wrapper._guest_held = None
        wrapper._guest_owner = _Owner(pointer, self.queue)
        wrapper._guest_registry = self  # last: who has it has all the rest

    def next_free(self) -> ForEach | None:
        queue = self.queue
        for _ in range(len(queue)):
            pointer, owner = queue[0]
            if owner() is None:
                return self.live[pointer][1]
            queue.rotate(-1)
        return None

    def dead(self, free: ForEach) -> Iterator[int]:
        queue, live = self.queue, self.live
        while queue:
            pointer, owner = queue[0]
            if owner() is not None or live[pointer][1] is not free:
                return
            del queue[0]
            del live[pointer]
            yield (pointer ^ 1 << 31) - (1 << 31)

    def new_edges(self, none: int) -> Edges:
        return Edges(none)


def _wrappers(*registries: Registry) -> list[Any]:
    """Those that are alive."""
    # Not isinstance(), which asks an object for its __class__: that may be anyone's code.
    return [one for one in gc.get_referrers(*registries) if issubclass(type(one), WrapperBase)]


def _give_back(
    wrapper: Any, held: dict[int, Any], objects: dict[int, Any], tombstones: dict[int, None]
) -> None:
    for key, value in held.items():
        if key in tombstones:
            objects[key] = value
            del tombstones[key]
    wrapper._guest_held = None  # last, for who is interrupted begins again


class Edges:
    """See `CommonRegistry.new_edges`.

    A word of memory is counted once, however many layouts lie over it: objects in such structs, and in
    structs with more than one owner, are to be kept.
    """

    def __init__(self, none: int) -> None:
        self._none = none
        self._memories: dict[Registry, _Memory] = {}
        self._structs: set[int] = set()  # the addresses, in this process, of those that were found
        self._again: list[tuple[_Memory, int, Layout]] = []  # those found twice
        self._dicts: tuple[dict[int, Any], dict[int, None]] | None = None
        self._over = False

    def add(self, registry: Registry, address: int, size: int) -> None:
        memory = self._memories[registry] = _Memory(address, Numbers(address, size // 4, "I").view())
        for pointer, (layout, _) in list(registry.live.items()):
            if address + pointer in self._structs:  # by another guest, with the same memory
                self._again.append((memory, pointer, layout))
            self._structs.add(address + pointer)

    def _find(self) -> tuple[list[tuple[Any, Layout, list[int]]], set[int]]:
        """The wrappers that are alive, each with its layout and the references of its struct; and references
        that are to be kept, as they are in words that were read more than once."""
        all_found, read, keep = [], set(), set()
        for wrapper in _wrappers(*self._memories):
            registry, pointer = wrapper._guest_registry, wrapper._guest_owner.pointer
            layout = registry.live[pointer][0]
            memory = self._memories[registry]
            found = []
            for place, reference in memory.handles(pointer, layout, self._structs, self._again):
                if reference != self._none:
                    found.append(reference)
                    if place in read:
                        keep.add(reference)
                    read.add(place)
            all_found.append((wrapper, layout, found))
        return all_found, keep

    def show(self, objects: dict[int, Any], tombstones: dict[int, None], slots: Slots) -> set[Layout]:
        if self._over:
            return set()
        self._dicts = objects, tombstones
        wrappers, keep = self._find()
        seen: set[int] = set()
        mistaken: set[Layout] = set()
        for memory, pointer, layout in self._again:
            if memory.address + pointer not in seen:
                seen.add(memory.address + pointer)
                mistaken.add(layout)
                keep.update(word for _, word in memory.handles(pointer, layout, seen, []))
        copies = Counter(reference for _, _, found in wrappers for reference in found)
        keys, wrong = _accounted(copies, keep, slots)
        keys = {reference: key for reference, key in keys.items() if key in objects}
        for wrapper, layout, found in wrappers:
            if not wrong.isdisjoint(found):
                mistaken.add(layout)
            held = {keys[one]: objects[keys[one]] for one in found if one in keys}
            if held:
                wrapper._guest_held = held
        for key in keys.values():
            if not self._over and key in objects:  # of two references to one object, the first took it
                tombstones[key] = None
                del objects[key]
        return mistaken

    def end(self) -> None:
        """The table takes back the objects of the wrappers that are alive. May be called again, when the
        collection is over: finalizers may have kept more of them."""
        self._over = True
        for wrapper in _wrappers(*self._memories) if self._dicts else ():
            held = wrapper._guest_held
            if held is not None:
                _give_back(wrapper, held, *self._dicts)  # type: ignore[misc]  # as said above


class _Memory(NamedTuple):
    """A guest's, in this process."""

    address: int
    words: memoryview[int]

    def handles(
        self, pointer: int, layout: Layout, seen: set[int], again: list[tuple[_Memory, int, Layout]]
    ) -> Iterator[tuple[int, int]]:
        """The handles in a struct and in those that it owns, whose pointers may be anything, each with its
        address.

        Args:
            seen: the addresses of the structs that are not looked into. Those found are added.
            again: takes those of them that are found.
        """
        address, words = self.address, self.words
        waiting = [(pointer, layout)]  # its place was checked when the wrapper was made
        while waiting:
            pointer, layout = waiting.pop()
            at = pointer // 4
            for offset in layout.handles:
                yield address + 4 * (at + offset), words[at + offset]
            for offset, owned in layout.owns() if layout.owned else ():
                target = words[at + offset]
                if target % 4 or not 0 < target <= 4 * len(words) - owned.size:
                    continue
                if address + target in seen:
                    again.append((self, target, owned))
                else:
                    seen.add(address + target)
                    waiting.append((target, owned))


def _accounted(copies: Counter[int], keep: set[int], slots: Slots) -> tuple[dict[int, int], set[int]]:
    """Which references are held by what was looked at, and by nothing else.

    Args:
        copies: reference -> how often it was found.
        keep: references that are to be kept, as something is wrong with where they are.

    Returns:
        Reference -> key, for those whose count equals the copies found and whose object no other slot and no
        global holds; and the references that were found more often than they are counted, or are to be kept.
    """
    wrong: set[int] = set()
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
        if live and (reference in keep or found > count):
            wrong.add(reference)
        # Bit 1: the map of equal objects knows it, and holds the object or looks it up by its address.
        elif live and found == count != COUNT_MAX and not known and all_keys[index] & ID_INDEX < len(holders):
            keys[reference] = all_keys[index]
    often = Counter(keys.values())  # a guest can store one externref in several slots
    return {one: key for one, key in keys.items() if holders[key & ID_INDEX] == often[key]}, wrong
