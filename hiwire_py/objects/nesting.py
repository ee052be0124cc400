"""How the calls of one space nest, how the outermost ends, and when no one may call."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable

from ..engines.release import at_release, watch_of
from ..real_threads import get_ident
from .guards import ThreadGuard
from .here import here
from .ids import Ids

__all__ = ["Calls"]


class Calls:
    """The calls between Python and the guests of one space.

    A space is open, paused, or closed. It is paused while the collector of cycles, or a move to another
    store, has its objects: whoever comes in ends that first. Closed, it lets no one in any more; what its
    guests hold is released when the running call has returned.

    Attributes:
        nesting: a list of one number, which trampolines read and write, and set back without a call in which
            a signal handler could raise: see `depth`. It is negative while a host function runs.
        here: the thread.
        thread: its number.
        closing: no one may come in any more; what guests hold is released when the running call returns.
        paused: what must be called before anyone comes in, by whatever way; None: the space is not paused.
    """

    def __init__(self, ids: Ids) -> None:
        self.nesting = [0]
        self.here = here()
        self.thread = self.here.ident
        self.closing = False
        self.paused: Callable[[], None] | None = None
        self._ids = ids
        self._guards: dict[int, tuple[Callable[[], object | None], ThreadGuard]] = {}
        self.here.spaces.add(self)

    # ---- how deep they are

    @property
    def depth(self) -> int:
        """How many calls from Python into guests of this space have not returned."""
        return abs(self.nesting[0])

    @property
    def busy(self) -> bool:
        """Whether something is on the way that no other call may come into: a call, or one of another
        greenlet of this thread, whose frames are not on the stack now."""
        return self.depth > 0 or self.here.elsewhere()

    # ---- how the outermost one ends

    def leave(self) -> None:
        """The outermost call has returned: release what no guest holds."""
        self._ids.release()

    def request(self) -> None:
        """See to it that `leave` runs when the outermost call returns, and does what is pending."""
        self._ids.request()

    def leave_if_idle(self) -> None:
        """Release what can be released, or where a call is on the way, see to it that this is done after
        it."""
        if self.depth:
            return
        if self.here.elsewhere():
            self.here.put_off(self)
        else:
            self.leave()

    def collect(self) -> None:
        """Release what no guest holds any more, if no call is on its way."""
        self.resume()
        self.leave_if_idle()

    def as_one_call(self, work: Callable[[], int]) -> int:
        """Call functions of `Instance.for_each`, all as one call from Python: what dies, dies at its end."""
        self.nesting[0] = 1
        try:
            return work()
        finally:
            self.nesting[0] = 0
            self.leave()

    # ---- who may make them

    def add(self, guard: ThreadGuard) -> object:
        """The guard of a new instance, which is to keep what this returns. When that is gone, the guard is
        forgotten, as it is when a signal handler interrupts the forgetting.

        The instance cannot be referred to weakly in its place: Python's collector clears weak references to
        one that a finalizer keeps alive, and such a one has to be closed with the space all the same.
        """
        # By its number, since a guard can lead to the space, which what waits for its own end must not hold.
        token = at_release(functools.partial(_forget, weakref.ref(self), id(guard)))
        self._guards[id(guard)] = watch_of(token), guard
        return token

    def guards(self) -> list[ThreadGuard]:
        """Those of the instances that are there."""
        return [guard for watch, guard in list(self._guards.values()) if watch() is not None]

    def pause(self, resume: Callable[[], None]) -> None:
        """Have ``resume`` called before anyone comes in, to end the pause. Until then the space's objects are
        the caller's to change."""
        self.paused = resume  # first: a finalizer or signal handler may come in at a guard that is open still
        for guard in self.guards():
            if guard.owner == self.thread:
                guard.shut(resume)

    def unpause(self, *resumes: Callable[[], None]) -> None:
        """End the pause that one of these would end. One that something else has begun goes on."""
        if self.paused in resumes:
            self.paused = None
        for guard in self.guards():
            if guard.held is not None and guard.held[1] in resumes:
                guard.open()

    def resume(self) -> None:
        """Someone comes in: if the space is paused, have that ended."""
        if self.paused is not None:
            self.paused()

    def close(self) -> None:
        """Let no one in any more, and drop all objects: now, or when the running call returns."""
        self.closing = True
        self.resume()
        for guard in self.guards():
            guard.close()
        self.request()
        self.leave_if_idle()

    def leave_for_release(self) -> None:
        """An instance is gone, which may be known in any thread and at any time: release what it held, if
        that can be done now."""
        self.request()
        if self.paused is None and get_ident() == self.thread:
            self.leave_if_idle()


def _forget(calls_ref: Callable[[], Calls | None], number: int) -> None:
    calls = calls_ref()
    if calls is not None:
        calls._guards.pop(number, None)
