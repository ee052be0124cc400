"""The space of an engine whose binding passes externrefs.

The engine is given tokens, not the objects: its references are roots that Python's cycle collector cannot see
through, and an object which holds its own guest would never die. A token knows only its number; the dict
``objects`` of the space has the object. When the engine drops a token, which it may do at any time, the
number is queued, and the object goes when no guest call is on the way.
"""

from __future__ import annotations

import array
import operator
import weakref
from collections import deque
from typing import Any

from ..engines import NO_LIMITS, Engine, GuestLimits, RawExtern
from ..real_threads import get_ident
from ..values import NULL
from .externrefs import ExternrefSpace
from .styles import TOKENS

__all__ = ["TokenSpace"]

# Released objects that may wait inside a long call before a host function's turn drops them.
_WAITING = 1024


class _Token(tuple[int, weakref.ref["TokenSpace"]]):
    """What the engine holds for an object: a number, and the space. It is a tuple so that no signal handler
    comes in while it is made."""

    __slots__ = ()

    id = property(operator.itemgetter(0))

    def __del__(self) -> None:
        id_, owner = self
        space = owner()
        if space is not None:
            space.released(id_)


class TokenSpace(ExternrefSpace):
    style = TOKENS

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        super().__init__(engine, limits)
        self._next = 1
        self._released: deque[int] = deque()  # numbers of tokens that are gone
        self._collecting = False

    def hold(self, value: Any) -> _Token | None:
        if value is NULL:
            return None
        if len(self._released) > _WAITING:
            self._drop_released()
        id_ = self._next
        self._next = id_ + 1
        self.objects[id_] = value
        return _Token((id_, self._ref))  # type: ignore[arg-type]

    def leave(self) -> None:
        if self.closing:
            self._drop_everything()
            return
        if self.pending:
            self.pending = False
            self.flight.clear()
            self.here.settle()
        self._collecting = True
        try:
            self.store.collect()
        finally:
            self._collecting = False
        if self._released:
            self._drop_released()

    def released(self, id_: int) -> None:
        """A token is gone. This may be said on any thread, and from within the engine, where no finalizer may
        run."""
        self._released.append(id_)
        if not self.depth and not self._collecting and get_ident() == self.thread:
            self._drop_released()

    def release_since(self, mark: int) -> None:
        """Never called: the engine knows what its frames hold."""

    def _drop_released(self) -> None:
        dead = []
        released, objects, gone = self._released, self.objects, self.gone
        while True:
            # Signal handlers come in only at calls and where a jump is taken, so none interrupts a step.
            if released:
                id_ = released[0]
                del released[0]
                if id_ in objects:
                    value = objects[id_]
                    del objects[id_]
                    dead.append(value)
                elif id_ in gone:
                    del gone[id_]
            else:
                break
        value = None
        dead.clear()

    def fault(self) -> BaseException | str | None:
        return None

    def global_object(self, raw: Any) -> Any:
        return NULL if raw is None else self.objects[raw.id]

    def live(self) -> int:
        return len(self.objects)

    def key(self, raw: Any) -> Any:
        return None if raw is None else raw.id

    def _table_size(self, table: RawExtern) -> int:
        size: int = self.store.table_operations(table)["size"]()
        return size

    def _table_keys(self, table: RawExtern) -> array.array[int]:
        get = self.store.table_operations(table)["get"]
        return array.array("q", (self.key(get(index)) or 0 for index in range(self._table_size(table))))

    @property
    def busy(self) -> bool:
        return self._collecting or super().busy
