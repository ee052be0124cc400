"""The space of an engine that keeps an id in each of its externrefs.

An object that crosses becomes an id, and its externref carries nothing else: the dict ``objects`` of the
space has the object, where Python's cycle collector sees it. The engine tells which ids it has let go of when
it is asked, and is asked when the outermost call has returned, if in it an externref can have become
unreachable.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Sequence
from typing import Any

from ..engines import NO_LIMITS, Engine, GuestLimits, Prepared, RawExtern, RefStore
from ..lowering.holders import hidden_exports
from ..lowering.module import TABLE
from ..values import NULL, FuncType
from .externrefs import ExternrefSpace
from .instances import Instance
from .numbers import Numbers
from .styles import REFS

__all__ = ["RefSpace"]

# After so many objects in one call the engine is made to collect within it.
_BATCH = 1024
# Up to so many objects what is released is found after each call. With more of them the engine looks at this
# many slots for each call, in the mean.
_EXACT = 4096
_SLOTS_A_CALL = 64
# Cycles are looked for if all tables of guests have no more slots than this: each is read, every time.
_MOST_OTHERS = 1 << 20


class RefSpace(ExternrefSpace):
    style = REFS
    store: RefStore

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        super().__init__(engine, limits)
        self._ids = itertools.count(1)
        # Something was interrupted: an id may have been given out that the engine never got, or got back from
        # it and dropped.
        self._suspect = False
        self._skipped = 0  # calls since the engine collected last
        self.status = self.store.status
        self._tables: list[tuple[object, RawExtern]] = []  # what an instance owns, and a table of it
        self._globals: list[RawExtern] = []

    def hold(self, value: Any) -> int:
        if value is NULL:
            return 0
        id_ = next(self._ids)
        self.objects[id_] = value
        if not id_ % _BATCH and self.nesting[0] and not self.unsettled:
            suspect, self._suspect = self._suspect, True
            self._release(self.store.collect_ids())
            self._suspect = suspect
        return id_

    def leave(self) -> None:
        if self.closing:
            self._drop_everything()
            return
        if self.pending:
            self.pending = False
            self.flight.clear()
            self.here.settle()
        # The engine looks at every slot of every table when it collects. So that filling a table does not
        # take quadratic time, it collects the more rarely the more is held.
        self._skipped += 1
        if self._skipped * _SLOTS_A_CALL < len(self.objects) - _EXACT:
            return
        self._skipped = 0
        suspect, self._suspect = self._suspect, True  # until all is done: a signal handler may raise
        ids = self.store.collect_ids()
        if len(ids) == 1:
            self.objects.pop(ids[0], None)
        elif ids:
            self._release(ids)
        if suspect:
            self._forget_lost()
        self._suspect = False

    def collect(self) -> None:
        self.store.touched()
        self._skipped = len(self.objects)
        super().collect()

    def _release(self, ids: list[int]) -> None:
        pop = self.objects.pop
        dead = [pop(id_, None) for id_ in ids]
        dead.clear()  # the dict is in order by now, and finalizers may run

    def _forget_lost(self) -> None:
        """Drop objects whose ids never reached the engine. No call is on its way now that could still pass
        one."""
        if len(self.objects) != self.store.count_held():
            held = self.store.held_ids()
            self._release([id_ for id_ in self.objects if id_ not in held])

    def explain(
        self, error: BaseException, name: str, functype: FuncType, args: tuple[Any, ...]
    ) -> tuple[Any, ...] | None:
        if self.engine.trap_kind(error) is None:
            self._suspect = True
            self.request_leave()
        return super().explain(error, name, functype, args)

    def release_since(self, mark: int) -> None:
        """Nothing to release: the engine knows what its frames hold."""

    def fault(self) -> BaseException | str | None:
        return None

    def global_object(self, raw: Any) -> Any:
        return self.objects[raw] if raw else NULL

    def key(self, raw: Any) -> Any:
        return raw or None

    def _own(self, instance: Instance, prepared: Prepared) -> None:
        # wasmtime keeps tables and globals until the store goes, also those of instances that are gone.
        instance.owned = object()
        for hidden in hidden_exports(prepared.module):
            holder = instance.raw[hidden.name]
            if hidden.kind == TABLE:
                self._tables.append((instance.owned, holder))
            else:
                self._globals.append(holder)

    def _import_reference(self, instance: Instance, value: Any) -> RawExtern:
        self._globals.append(super()._import_reference(instance, value))
        return self._globals[-1]

    def table_keys(self, instance: Instance) -> list[Numbers]:
        tables = [table for owner, table in self._tables if owner is instance.owned]
        return [Numbers.of(self.store.table_ids(table)) for table in tables]

    def other_keys(self, instance: Instance) -> Sequence[int] | None:
        tables = [table for owner, table in self._tables if owner is not instance.owned]
        if sum(map(self.store.table_size, tables)) > _MOST_OTHERS:
            return None
        keys = array.array("q", (self.store.global_get(global_) or 0 for global_ in self._globals))
        for table in tables:
            keys.extend(self.store.table_ids(table))
        return keys

    def live(self) -> int:
        return len(self.objects)
