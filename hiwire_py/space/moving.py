"""When a space moves to another store of the engine: its lasting instances are made again there.

Only wasmtime needs it, which frees what a store holds with the store; engines/wasmtime_moving.py does it.
Lasting instances are those that stay while guests come and go: that of the handle table, and the companion of
lowered modules. They move when a guest is about to be made, no other guest is open, and enough guests have
been made since the last time.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from ..errors import HiwireError

if TYPE_CHECKING:
    from .base import Space

__all__ = ["MOST", "Mover"]

_FEW, _MANY, _SHARE = 16, 4096, 16
"""How many guests are made between two moves: one for each `_SHARE` objects of the space, since all objects
are moved, but at least `_FEW` and at most `_MANY`. So moving takes less time than making the guests, and what
these leave behind stays small."""
MOST = 16_000
"""How many instances a store may get: with a memory each, some 16,000 fill half of the address space that a
process has on today's processors, 2^47 bytes, and half of the mappings that Linux allows it."""

_TRIES = 100
"""How often signal handlers may interrupt the end of a move, which is begun anew each time."""


class Mover:
    """Of one space.

    Attributes:
        lasting: the lasting instances, in the order in which they were made.
        complete: whether that is all of them, as in the space of a table. In that of a guest the first guest
            stays as well, so nothing is ever moved.
        moves: how often it was done.
        failure: why the last move failed, or "".
    """

    def __init__(self) -> None:
        self.lasting: list[Any] = []
        self.complete = False
        self.moves = 0
        self.failure = ""
        self._next = _FEW  # the number of instances made in the store at which it is time to move

    def make_room(self, space: Space, what: str) -> None:
        """An instance is about to be made.

        Raises:
            HiwireError: the store has had so many that the engine would fail soon, and cannot be left.
        """
        made = space.store.made
        if made < self._next:
            return
        why = self._why_not(space)
        if why and made >= MOST:
            gc.collect()  # guests in cycles are still open
            why = self._why_not(space)
        if not why:
            space.leave()  # which may call finalizers, and these may do anything
            why = self._why_not(space)
        if not why:
            self._move(space)
            self._next = space.store.made + min(max(_FEW, len(space.objects) // _SHARE), _MANY)
        elif made >= MOST:
            raise HiwireError(
                f"{what} cannot be added: {made} instances have been made here, of which"
                f" {space.engine.name} frees none while {why}; close all guests of a table now and then, or"
                " go on with a new table"
            )

    def _why_not(self, space: Space) -> str:
        if space.depth:
            return "a call is on its way"
        if not self.complete:
            return "they share the space of a guest, not of a table"
        if self.failure:
            return f"moving the table has failed ({self.failure})"
        opened = sum(instance.gate.owner is not None for instance in space.guests)
        if opened:
            return f"{opened} guests of the table are open"
        fixed = (one.why_fixed(space.store) for one in self.lasting)
        return next((f"the table cannot be moved to another store: {why}" for why in fixed if why), "")

    def _move(self, space: Space) -> None:
        """Move now. Finalizers and signal handlers that use the table meanwhile get a HiwireError."""
        gates = [gate for gate in space.gates.values() if gate.owner == space.thread]
        collecting = gc.isenabled()
        interrupt: BaseException | None = None
        broken = False
        try:
            gc.disable()
            space.paused, space.nesting[0] = _refuse, 1
            for gate in gates:
                gate.held, gate.owner = (space.thread, _refuse), 0
            try:
                move = space.store.move(self.lasting)
            except Exception as error:
                self.failure = str(error) or type(error).__name__
                return
            for _ in range(_TRIES):
                try:
                    move.finish()
                    space.arrived()
                    break
                except BaseException as error:  # of a signal handler; but half a move is no state to stay in
                    interrupt = error
            else:
                broken = True
        finally:
            space.paused, space.nesting[0] = None, 0
            for gate in gates:
                gate.owner, gate.held = space.thread, None
            if collecting:
                gc.enable()
        self.moves += 1
        if broken:
            space.close()  # what it has is of two stores, and must not be used
        else:
            space.settle()
        if interrupt is not None:
            raise interrupt


def _refuse() -> None:
    raise HiwireError(
        "the table was used while it was moved to another store of wasmtime, which a finalizer or signal"
        " handler cannot; it can again when that has returned"
    )
