"""Where instances hold objects: their roots, which are tables and globals; and how these are emptied when an
instance is closed or gone."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Set
from typing import NamedTuple

from ..engines import RawExtern, Store
from ..engines.release import at_release, watch_of
from .nesting import Calls
from .runtime import Runtime

__all__ = ["InstanceRoots", "SpaceRoots"]


_SOON = 16


class _Roots(NamedTuple):
    """The roots of an instance, or of all those that are gone."""

    drops: list[int]  # tables that are only to be emptied: others may still use them
    tables: list[int]
    pins: list[int]  # ids held by immutable globals
    globals: list[RawExtern]  # mutable externref globals


class InstanceRoots:
    """The roots of an instance, which holds this.

    When the instance is gone, in whatever thread, they only wait: the space releases them when none of its
    guests runs. The token says when that is. A finalizer of this object's own would not do: those of a dying
    cycle run in any order, and others of them may call the guest after it.
    """

    def __init__(self, space: SpaceRoots) -> None:
        self.roots = roots = _Roots([], [], [], [])
        self._token = at_release(functools.partial(_orphan, weakref.ref(space), roots))
        space.living[id(roots)] = watch_of(self._token), roots
        space.find_lost()


class SpaceRoots:
    """The roots of all instances of one space.

    Attributes:
        living: of instances that are there, by their `id`, each with what says whether that is so.
        orphans: of instances that are gone, until they are released.
    """

    def __init__(self, store: Store, runtime: Runtime, calls: Calls) -> None:
        self.living: dict[int, tuple[Callable[[], object | None], _Roots]] = {}
        self.orphans = _Roots([], [], [], [])
        self._look = _SOON  # when there are so many instances, look for lost ones
        self._store = store
        self._runtime = runtime
        self._calls = calls

    def orphan(self, roots: _Roots) -> None:
        """The instance is gone. May be repeated where a signal handler interrupted it."""
        waits = not self._calls.closing and any(roots)
        if waits:
            self._calls.request()
            for orphans, more in zip(self.orphans, roots):
                orphans += more  # and no call before the next statement, so that a signal handler finds
                del more[:]  # each in one of them
        self.living.pop(id(roots), None)
        if waits:
            self._calls.leave_for_release()

    def find_lost(self) -> None:
        """An instance is made: now and then see which are gone although a signal handler kept `orphan` from
        being called."""
        if len(self.living) < self._look:
            return
        for watch, roots in list(self.living.values()):
            if watch() is None:
                self.orphan(roots)
        self._look = 2 * len(self.living) + _SOON

    def release_orphans(self) -> None:
        """Release what instances that are gone have held. No guest runs. Each step is written so that a
        signal handler may raise before or after it."""
        call = self._runtime.call
        drops, tables, pins, globals_ = self.orphans
        while True:
            if drops:  # before they are freed
                handle = drops[-1]
                del drops[-1]
                call["drop"](handle)
            elif tables:
                handle = tables[-1]
                del tables[-1]
                call["free"](handle)
            elif pins:
                id_ = pins[-1]
                del pins[-1]
                call["unpin"](id_)
            elif globals_:
                count = len(globals_)
                self._clear(globals_)
                del globals_[:count]  # others may have been added
            else:
                break

    def release(self, owned: InstanceRoots) -> None:
        """The instance is closed: release what it holds, now or when the running call returns.

        Other instances may still call into it: its tables are emptied here, and freed with the instance.
        """
        roots = owned.roots
        if self._calls.here.elsewhere():
            self.orphans.drops.extend(roots.tables)
            self.orphans.globals.extend(roots.globals)
        else:
            for handle in roots.tables:
                self._runtime.call["drop"](handle)
            self._clear(roots.globals)
        self._calls.leave_if_idle()

    def clear_all_but(self, kept: Set[int]) -> None:
        """All instances are about to be left behind, but for those whose exports have these `id`: release
        what the globals of the others hold."""
        for _, roots in list(self.living.values()):
            self._clear(roots.globals, kept)

    def forget_all_but(self, kept: Set[int]) -> None:
        """All but those have been left behind: forget their globals, which are no more. May be repeated where
        a signal handler interrupted it."""
        # Orphans last: they may have become so just now, on another thread.
        for roots in (*(roots for _, roots in list(self.living.values())), self.orphans):
            roots.globals[:] = [global_ for global_ in roots.globals if id(global_) in kept]

    def _clear(self, globals_: list[RawExtern], kept: Set[int] = frozenset()) -> None:
        """Clear those whose `id` is not among ``kept``."""
        nesting = self._calls.nesting
        outer = nesting[0]
        nesting[0] = abs(outer) + 1  # a signal handler that makes a guest must not have the space move
        try:
            for global_ in [one for one in globals_ if id(one) not in kept]:
                id_ = self._store.global_get(global_)
                if id_:
                    self._store.global_set(global_, 0)
                    self._runtime.call["unpin"](id_)
        finally:
            nesting[0] = outer


def _orphan(space_ref: Callable[[], SpaceRoots | None], roots: _Roots) -> None:
    space = space_ref()
    if space is not None:
        space.orphan(roots)
