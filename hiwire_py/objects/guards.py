"""Who may use a table or guest: the thread that made it, until it is closed."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ClosedError, WrongThreadError
from ..real_threads import get_ident

__all__ = ["ThreadGuard"]

_NOBODY = 0  # no thread has this number


class ThreadGuard:
    """The guard of one table or guest. Every function that crosses asks it first, by comparing ``owner`` with
    the running thread, which is quicker than a call of `check`.

    Attributes:
        owner: the thread; 0, which is no thread, while it is paused; None once it is closed.
        what: "table" or "guest", for errors.
        held: while it is paused: the thread, and what must be called before it may come in.
    """

    __slots__ = ("__weakref__", "held", "owner", "what")

    def __init__(self, what: str) -> None:
        self.owner: int | None = get_ident()
        self.what = what
        self.held: tuple[int, Callable[[], None]] | None = None

    def check(self) -> None:
        """See to it that the running thread may come in.

        Raises:
            ClosedError: no one may any more.
            WrongThreadError: another thread may.
        """
        if get_ident() != self.owner:
            self.refuse()

    def refuse(self) -> None:
        """The running thread is not the owner: raise what `check` raises, or end the pause."""
        if self.owner is None:
            raise ClosedError(f"this {self.what} is closed")
        owner = self.owner
        if self.held is not None:
            owner, resume = self.held
            if get_ident() == owner:
                resume()
                return
        raise WrongThreadError(
            f"this {self.what} belongs to the thread {owner} that made it, and was used by"
            f" thread {get_ident()}; make one for each thread"
        )

    def shut(self, resume: Callable[[], None]) -> None:
        """Have ``resume`` called before its thread comes in."""
        if self.owner:
            self.owner, self.held = _NOBODY, (self.owner, resume)

    def open(self) -> None:
        """The thread can come in as before."""
        if self.held is not None:
            self.owner, self.held = self.held[0], None

    def close(self) -> None:
        """Let no one in any more."""
        self.owner = None
