"""Reading what structs hold from a guest's memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .layouts import Layout

if TYPE_CHECKING:
    from .parking import Arena

__all__ = ["Trace"]

_Fields = tuple[tuple[int, ...], list[tuple[int, Layout]]]


class Trace:
    """What the structs of all guests that share a table hold.

    A word of memory is counted once, however many layouts lie over it: objects in such structs, and in
    structs with more than one owner, are to be kept.

    Args:
        none: what stands in a field that holds no handle.

    Attributes:
        structs: wrappers, with the handles that their structs, and structs those own, hold.
        mistaken: layouts that lie over each other, or own what has another owner.
    """

    def __init__(self, none: int = 0) -> None:
        self._none = none
        self.structs: list[tuple[Any, list[int]]] = []
        self.mistaken: set[Layout] = set()
        # All handles, and where each was found: a number for the memory, and the word in it.
        self._handles: list[int] = []
        self._places: list[int] = []
        # By the memory's address, since two guests may share one: the number, and the structs seen.
        self._memories: dict[int, tuple[int, set[int]]] = {}
        self._twice: list[tuple[int, Layout, memoryview]] = []
        self._fields: dict[Layout, _Fields] = {}

    def add(self, arena: Arena, address: int, words: memoryview) -> None:
        """Read all structs of a guest that have wrappers, and what they own."""
        base, visited = self._memories.setdefault(address, (len(self._memories) << 32, set()))
        common = visited.intersection(arena.live)
        visited.update(arena.live)
        structs, all_handles, places, none = self.structs, self._handles, self._places, self._none
        last: Layout | None = None
        fields: _Fields = (), []
        for pointer, (reference, layout, _) in list(arena.live.items()):
            wrapper = reference()
            if wrapper is None:
                continue
            if layout is not last:
                fields, last = self._fields_of(layout), layout
            handles = []
            # Its place was checked when the wrapper was made, and memories do not shrink.
            at = pointer >> 2
            for offset in fields[0]:
                handle = words[at + offset]
                if handle != none:
                    handles.append(handle)
                    places.append(base + at + offset)
            if fields[1]:
                self._follow(words, at, fields[1], base, visited, handles)
            if handles:
                structs.append((wrapper, handles))
                all_handles += handles
            if common and pointer in common:
                self._twice.append((pointer, layout, words))

    def _follow(
        self,
        words: memoryview,
        at: int,
        owned: list[tuple[int, Layout]],
        base: int,
        visited: set[int],
        handles: list[int],
    ) -> None:
        """Read the structs that a struct owns. Their pointers may be anything."""
        places, none = self._places, self._none
        limit = len(words) * 4
        waiting = [(words[at + offset], target) for offset, target in owned]
        while waiting:
            pointer, layout = waiting.pop()
            if not pointer or pointer & 3 or pointer + layout.size > limit:
                continue
            if pointer in visited:
                self._twice.append((pointer, layout, words))
                continue
            visited.add(pointer)
            at = pointer >> 2
            offsets, owned = self._fields_of(layout)
            for offset in offsets:
                handle = words[at + offset]
                if handle != none:
                    handles.append(handle)
                    places.append(base + at + offset)
            waiting += [(words[at + offset], target) for offset, target in owned]

    def _fields_of(self, layout: Layout) -> _Fields:
        fields = self._fields.get(layout)
        if fields is None:
            fields = self._fields[layout] = layout.handles, layout.owns()
        return fields

    @staticmethod
    def layout_of(wrapper: Any) -> Layout:
        layout: Layout = wrapper._guest_arena.live[wrapper._guest_owner.pointer].layout
        return layout

    def counts(self) -> dict[int, int]:
        """Handle -> copies found; negative for handles that are to be kept."""
        found = Counter(self._handles)
        for handle in self._kept():
            found[handle] = -1
        return found

    def _kept(self) -> set[int]:
        """The handles in structs that lie over each other, or have two owners."""
        kept = set()
        if len(set(self._places)) != len(self._places):
            often = Counter(self._places)
            kept = {handle for handle, place in zip(self._handles, self._places) if often[place] > 1}
            for wrapper, handles in self.structs:
                if not kept.isdisjoint(handles):
                    self.mistaken.add(self.layout_of(wrapper))
        seen: set[tuple[int, int]] = set()
        waiting = self._twice
        while waiting:
            pointer, layout, words = waiting.pop()
            size = len(words) * 4
            if not pointer or pointer & 3 or pointer + layout.size > size or (pointer, id(words)) in seen:
                continue
            seen.add((pointer, id(words)))
            self.mistaken.add(layout)
            at = pointer >> 2
            offsets, owned = self._fields_of(layout)
            kept.update(words[at + offset] for offset in offsets)
            waiting += [(words[at + offset], target, words) for offset, target in owned]
        return kept
