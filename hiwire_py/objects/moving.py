"""When a space moves to another store of the engine: its lasting instances are made again there.

Only wasmtime needs it, which frees what a store holds with the store; engines/wasmtime/moving.py does it.
Lasting instances are those that stay while guests come and go: that of the handle table, and the runtime of
lowered modules. They move when a guest is about to be made, no other guest is open, and enough guests have
been made since the last time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engines import Engine, Imports, RawExtern, Store
from ..errors import HiwireError
from .guards import ThreadGuard
from .layout import STATE_RECORD_COUNT
from .nesting import Calls
from .prepare import Prepared
from .roots import SpaceRoots
from .runtime import Runtime

__all__ = ["MOST", "Mover"]

_FEW, _MANY, _OBJECTS, _RECORDS = 16, 4096, 16, 64
"""How many guests are made between two moves: one for each `_OBJECTS` objects of the space, and for each
`_RECORDS` that it has had room for, since all that memory is copied; but at least `_FEW` and at most `_MANY`.
So moving takes less time than making the guests, and what these leave behind stays small."""
MOST = 16_000
"""How many instances a store may get: with a memory each, some 16,000 fill half of the address space that a
process has on today's processors, 2^47 bytes, and half of the mappings that Linux allows it."""


class Mover:
    """Moves the lasting instances of one space.

    Attributes:
        moves: how often it was done.
    """

    def __init__(
        self, engine: Engine, store: Store, runtime: Runtime, calls: Calls, roots: SpaceRoots
    ) -> None:
        self.moves = 0
        self._engine = engine
        self._store = store
        self._runtime = runtime
        self._calls = calls
        self._roots = roots
        self._lasting: list[Any] = []  # in the order in which they were made
        self._guard: ThreadGuard | None = None  # of the last of them
        self._next = _FEW  # the number of instances made in the store at which it is time to move
        self.add(runtime.prepared, runtime.exports, lambda made: {})

    def add(
        self,
        prepared: Prepared,
        raw: Mapping[str, RawExtern],
        imports: Callable[[Sequence[Mapping[str, RawExtern]]], Imports],
        guard: ThreadGuard | None = None,
    ) -> None:
        """A lasting instance was made: see `Store.lasting`. With its guard it is the table, and all instances
        that come after it may be left behind. In the space of a guest there is none: nothing is ever moved,
        as the first guest stays too."""
        if self._engine.moves:
            self._lasting.append(self._store.lasting(prepared.compiled, raw, imports))
        self._guard = guard

    def make_room(self, what: str) -> None:
        """An instance is about to be made.

        Raises:
            HiwireError: the store has had so many that the engine would fail soon, and cannot be left.
        """
        made = self._store.made
        if made < self._next:
            return
        why = self._why_not()
        if why and made >= MOST:
            gc.collect()  # guests in cycles are still open
            why = self._why_not()
        if not why:
            self._roots.clear_all_but(self._kept())
            self._calls.leave()  # which may call finalizers, and these may do anything
            why = self._why_not()
        if not why:
            why = self._move()
            objects, records = len(self._runtime.ids.objects), self._runtime.state()[STATE_RECORD_COUNT]
            guests = max(_FEW, objects // _OBJECTS, records // _RECORDS)
            self._next = self._store.made + min(guests, _MANY)
        if why and made >= MOST:
            raise HiwireError(
                f"{what} cannot be added: {made} instances have been made here, of which"
                f" {self._engine.name} frees none while {why}; close all guests of a table now and then, or"
                " go on with a new table"
            )

    def _kept(self) -> set[int]:
        """The exports of the lasting instances, by their `id`."""
        return {id(extern) for one in self._lasting for extern in one.raw.values()}

    def _why_not(self) -> str:
        if self._calls.closing:
            return "the table is closed"
        if self._calls.busy:
            return "a call is on its way"
        if self._guard is None:
            return "they share the space of a guest, not of a table"
        opened = sum(guard.owner is not None and guard is not self._guard for guard in self._calls.guards())
        if opened:
            return f"{opened} guests of the table are open"
        fixed = (one.why_fixed(self._store) for one in self._lasting)
        return next((f"the table cannot be moved to another store: {why}" for why in fixed if why), "")

    def _move(self) -> str:
        """Why it was not done, or "". Finalizers and signal handlers that use the table meanwhile get a
        HiwireError."""
        calls = self._calls
        collecting = gc.isenabled()
        move = self._store.move(self._lasting)
        ended = False

        def end() -> None:
            nonlocal ended
            move.end()
            if move.made:
                self._runtime.moved()
                self._roots.forget_all_but(self._kept())
            calls.nesting[0] = 0
            calls.unpause(_refuse)
            if collecting:
                gc.enable()
            self.moves += move.made
            ended = True

        failure = ""
        try:
            try:
                gc.disable()
                calls.nesting[0] = 1
                calls.pause(_refuse)
                move.make()
            except MemoryError as error:
                failure = f"moving the table has failed ({error})"
            finally:
                end()
        finally:
            if not ended:  # a signal handler has raised just then
                end()
        return failure


def _refuse() -> None:
    raise HiwireError(
        "the table was used while it was moved to another store of wasmtime, which a finalizer or signal"
        " handler cannot; it can again when that has returned"
    )
