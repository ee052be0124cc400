"""The space of an engine that keeps an id in each of its externrefs.

An object that crosses becomes an id, and its externref carries nothing else: the dict ``objects`` of the
space has the object, where Python's cycle collector sees it. The engine tells which ids it has let go of when
it is asked, and is asked when the outermost call has returned, if in it an externref can have become
unreachable.
"""

from __future__ import annotations

import array
import itertools
from typing import Any

from ..engines import NO_LIMITS, Engine, GuestLimits, RawExtern, RefStore
from ..values import NULL, FuncType
from .externrefs import ExternrefSpace
from .styles import REFS

__all__ = ["RefSpace"]

# After so many objects in one call the engine is made to collect within it.
_BATCH = 1024
# Up to so many objects what is released is found after each call. With more of them the engine looks at this
# many slots for each call, in the mean.
_EXACT = 4096
_SLOTS_A_CALL = 64


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
        if len(ids) == 1 and not self.gone:
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
        pop, forget = self.objects.pop, self.gone.pop
        dead = [pop(id_, None) for id_ in ids]
        for id_ in ids if self.gone else ():
            forget(id_, None)
        dead.clear()  # the dict is in order by now, and finalizers may run

    def _forget_lost(self) -> None:
        """Drop objects whose ids never reached the engine. No call is on its way now that could still pass
        one."""
        if len(self.objects) + len(self.gone) != self.store.count_held():
            held = self.store.held_ids()
            self._release([id_ for id_ in (*self.objects, *self.gone) if id_ not in held])

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

    def _table_size(self, table: RawExtern) -> int:
        return self.store.table_size(table)

    def _table_keys(self, table: RawExtern) -> array.array[int]:
        return self.store.table_ids(table)

    def arrived(self) -> None:
        super().arrived()
        self._suspect = True
        self._skipped = len(self.objects)

    def live(self) -> int:
        return len(self.objects)
