"""How externrefs look to the functions of calls.py, pieces of their source."""

from __future__ import annotations

import copy
import functools

__all__ = ["LOWERED", "PLAIN", "Style", "lines"]


def lines(statements: list[str], indent: int) -> str:
    """As one piece of source; empty ones are left out."""
    kept = [line for line in statements if line]
    return ("\n" + " " * indent).join(kept) if kept else "pass"


class Style:
    """How externrefs look on the engine's side, and what the end of a call does.

    Attributes:
        to_object: an expression that turns one, put in at ``{0}``, into its object.
        leave: a statement at the end of a call from outside.
        nested_leave: a statement at the end of a nested call.
        called: a statement between the arguments' conversion and the call, where there are externrefs among
            them.
        tidy: a statement in host functions that are given externrefs.
        returned: a statement before the results of a host function become externrefs.
        enter: one at the beginning of a call from outside.
        end: one at the end of each of the guest's calls.
    """

    def __init__(
        self,
        *,
        to_object: str,
        leave: str,
        nested_leave: str = "pass",
        called: str = "",
        tidy: str = "",
        returned: str = "",
        enter: str = "",
        end: str = "",
    ) -> None:
        self.to_object = to_object
        self.leave = leave
        self.nested_leave = nested_leave
        self.called = called
        self.tidy = tidy
        self.returned = returned
        self.enter = enter
        self.end = end

    @functools.cached_property
    def limited(self) -> Style:
        """The same for a space whose calls have a deadline or fuel."""
        limited = copy.copy(self)
        limited.enter, limited.end = "space.store.begin()", "space.store.end()"
        limited.leave = lines([limited.end, self.leave], 16)
        return limited


LOWERED = Style(
    to_object="objects[{0}] if {0} else NULL",
    leave="if flight or status[0] != 1: leave()",
    # A null in flight makes the outermost call look at the zombies, also where it is one of PLAIN.
    nested_leave="if status[0] != 1: flight.append(0)",
    called="space.floor = len(flight)",
    tidy="if space.status[1] > space.patience: space.sweep()",
    returned="if len(space.flight) > space.limit: space.sweep()",
)
# For instances that have nothing to do with externrefs themselves.
PLAIN = Style(
    to_object="",
    leave="if flight: leave()",
    nested_leave="if status[0] != 1: flight.append(0)",
)
