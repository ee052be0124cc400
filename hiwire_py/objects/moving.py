"""When a space moves to another store of the engine: its lasting instances are made again there.

Only wasmtime needs it, which frees what a store holds with the store; engines/wasmtime/moving.py does it.
Lasting instances are those that stay while guests come and go: that of the handle table, and the runtime of
lowered modules. They move when a guest is about to be made, no other guest is open, and enough guests have
been made since the last time.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from ..errors import HiwireError

if TYPE_CHECKING:
    from .instances import Gate
    from .space import Space

__all__ = ["MOST", "Mover"]

_FEW, _MANY, _SHARE = 16, 4096, 16
"""How many guests are made between two moves: one for each `_SHARE` objects of the space, since all objects
are moved, but at least `_FEW` and at most `_MANY`. So moving takes less time than making the guests, and what
these leave behind stays small."""
MOST = 16_000
"""How many instances a store may get: with a memory each, some 16,000 fill half of the address space that a
process has on today's processors, 2^47 bytes, and half of the mappings that Linux allows it."""


class Mover:
    """Of one space.

    Attributes:
        lasting: the lasting instances, in the order in which they were made.
        gates: those of them that have one.
        complete: whether that is all of them, as in the space of a table. In that of a guest the first guest
            stays as well, so nothing is ever moved.
        moves: how often it was done.
    """

    def __init__(self) -> None:
        self.lasting: list[Any] = []
        self.gates: list[Gate] = []
        self.complete = False
        self.moves = 0
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
            space.depart(self.lasting)
            space.leave()  # which may call finalizers, and these may do anything
            why = self._why_not(space)
        if not why:
            why = self._move(space)
            self._next = space.store.made + min(max(_FEW, len(space.objects) // _SHARE), _MANY)
        if why and made >= MOST:
            raise HiwireError(
                f"{what} cannot be added: {made} instances have been made here, of which"
                f" {space.engine.name} frees none while {why}; close all guests of a table now and then, or"
                " go on with a new table"
            )

    def _why_not(self, space: Space) -> str:
        if space.closing:
            return "the table is closed"
        if space.busy:
            return "a call is on its way"
        if not self.complete:
            return "they share the space of a guest, not of a table"
        # Not by weak references to guests: those to one that a finalizer keeps are gone.
        opened = sum(gate.owner is not None and gate not in self.gates for gate in list(space.gates.values()))
        if opened:
            return f"{opened} guests of the table are open"
        fixed = (one.why_fixed(space.store) for one in self.lasting)
        return next((f"the table cannot be moved to another store: {why}" for why in fixed if why), "")

    def _move(self, space: Space) -> str:
        """Why it was not done, or "". Finalizers and signal handlers that use the table meanwhile get a
        HiwireError."""
        gates = [gate for gate in list(space.gates.values()) if gate.owner == space.thread]
        collecting = gc.isenabled()
        move = space.store.move(self.lasting)
        ended = False

        def end() -> None:
            nonlocal ended
            move.end()
            if move.made:
                space.arrived()
            space.paused, space.nesting[0] = None, 0
            for gate in gates:
                gate.owner, gate.held = space.thread, None
            if collecting:
                gc.enable()
            self.moves += move.made
            ended = True

        failure = ""
        try:
            try:
                gc.disable()
                space.paused, space.nesting[0] = _refuse, 1
                for gate in gates:
                    gate.held, gate.owner = (space.thread, _refuse), 0
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
