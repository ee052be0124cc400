"""Collecting with types that are compiled at install: for the time of a collection the wrappers show Python's
collector what their structs hold.

No object changes hands: the functions by which the collector visits a wrapper's references (``tp_traverse``)
visit those in the guest's memory too. collect.h says which part of the C does what. `transfer` does the same
without a compiler.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterator
from typing import Any

from ..compiled_types import load_types
from ..objects.trampolines import ForEach
from ._traverse import lib as _lib  # type: ignore[import-not-found]  # made at install, perhaps
from .heap import CommonRegistry
from .layouts import Layout

__all__ = ["Registry", "WrapperBase"]

_types = load_types(_lib.hw_types_into)
PointerMap: Any = _types["PointerMap"]
RegistryBase: Any = _types["RegistryBase"]
Edges: Any = _types["Edges"]
WrapperBase: Any = _types["WrapperBase"]

_unresolved: list[tuple[Layout, list[Any]]] = []
"""Layouts whose owning pointers were not looked up yet, with what takes the maps of what they lead to."""


def _map_of(layout: Layout) -> Any:
    """A layout as the compiled types read it. What its owning pointers lead to is looked up before the next
    collection: it may not be there yet."""
    if layout.pointer_map is None:
        offsets = array("I", [*layout.handles, *layout.owned]).tobytes()
        targets: list[Any] = []
        layout.pointer_map = PointerMap(layout, layout.size, offsets, len(layout.handles), targets)
        _unresolved.append((layout, targets))
    return layout.pointer_map


class Registry(RegistryBase, CommonRegistry):  # type: ignore[misc]  # the base is known when it runs
    """``live`` is a set of pointers."""

    def register(self, wrapper: Any, pointer: int, layout: Layout, free: ForEach) -> None:
        self.check(pointer, layout)
        self.enter(wrapper, pointer, _map_of(layout), free)

    def dead(self, free: ForEach) -> Iterator[int]:
        return iter(functools.partial(self.next_dead, free), None)

    def new_edges(self, none: int) -> Any:
        while _unresolved:
            layout, targets = waiting = _unresolved[-1]
            targets[:] = [_map_of(target) for _, target in layout.owns()]
            if waiting in _unresolved:  # else a signal handler collected meanwhile
                _unresolved.remove(waiting)
        return Edges(none)
