"""How calls between Python and guests nest and end, and when no one may make them: in a thread, and in one of
its spaces.

Engines keep what they know of running guests on the thread's stack, innermost first. Greenlets share that
stack. One that switches to another within a host function has its part of the stack copied away, with the
frames of the guests in it, until it is switched to again. Meanwhile no guest of this thread may be entered,
and no engine may walk the stack: what would do so is refused, or waits.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable

from ..engines import hosts
from ..engines.release import at_release, watch_of
from ..errors import WrongThreadError
from ..real_threads import get_ident, local
from .guards import ThreadGuard
from .ids import Ids

__all__ = ["DEEPEST", "HOST_CODE", "TOO_DEEP", "Calls", "Here", "here"]

# Calls from Python into guests that may be nested in a thread. Each level takes some of the stack, and of the
# calls that Python's recursion limit allows, for which users have not asked; and a RecursionError within an
# engine's binding can end the process.
DEEPEST = 40
TOO_DEEP = f"{DEEPEST} calls from Python into guests are nested already (infinite recursion?)"

HOST_CODE = "<hiwire_py host function>"
"""What stands for the file name in the code around each host function."""


class Here:
    """A thread, as its spaces see it.

    Attributes:
        ident: the thread's number.
        inside: how many host functions have begun in it and not ended. It is in a list of one, which
            trampolines read and write faster than an attribute.
        raised: what its host functions have raised and no call has passed on yet, the innermost last.
        spaces: the calls of each of the thread's spaces.
    """

    __slots__ = ("__weakref__", "_waiting", "ident", "inside", "raised", "spaces")

    def __init__(self) -> None:
        self.ident = get_ident()
        self.inside = [0]
        self.raised = hosts.raised()
        self.spaces: weakref.WeakSet[Calls] = weakref.WeakSet()
        self._waiting: list[weakref.ref[Calls]] = []

    def passed(self, error: BaseException) -> bool:
        """A call of this thread has failed with ``error``. Whether that is what a host function raised."""
        found = any(one is error for one in self.raised)
        if found:
            while self.raised.pop() is not error:
                pass
        elif not self.inside[0]:
            self.raised.clear()  # an interrupt came in the place of what was there
        return found

    def check(self, what: str) -> None:
        """See to it that a guest can be entered now.

        Raises:
            RecursionError: too many calls are nested.
            WrongThreadError: another greenlet of this thread is in a host function.
        """
        if self.inside[0] >= DEEPEST:
            raise RecursionError(f"{what}: {TOO_DEEP}")
        if self.elsewhere():
            raise WrongThreadError(
                f"{what}: another greenlet of this thread has left a host function before its end, and the"
                " guest that called it is on the stack that they share; no guest of this thread can be"
                " entered until it has returned. Switch greenlets outside of host functions, or use guests of"
                " other threads"
            )

    def elsewhere(self) -> bool:
        """Whether one of the host functions that have not ended was left by another greenlet: then fewer of
        them are on this one's stack of Python frames than have begun."""
        count = self.inside[0]
        if not count or "greenlet" not in sys.modules:
            return False
        frame = sys._getframe(1)
        while count and frame is not None:
            if frame.f_code.co_filename == HOST_CODE:
                count -= 1
            frame = frame.f_back  # type: ignore[assignment]
        return count > 0

    def put_off(self, calls: Calls) -> None:
        """Have a space leave when the calls that another greenlet is in have returned."""
        calls.request()
        self._waiting.append(weakref.ref(calls))
        for other in list(self.spaces):
            if other.depth:
                other.request()  # so that the end of its call comes by `settle`

    def settle(self) -> None:
        """A call has returned: the spaces that were put off leave, unless a greenlet is still elsewhere."""
        waiting = self._waiting
        if waiting and not self.elsewhere():
            while waiting:
                calls = waiting[-1]()
                del waiting[-1]
                if calls is not None and not calls.depth:
                    calls.leave()


class _State(local):
    here: Here | None = None


_state = _State()


def here() -> Here:
    """The running thread."""
    found = _state.here
    if found is None:
        found = _state.here = Here()
    return found


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
        leave: the outermost call has returned: release what no guest holds.
        request: see to it that `leave` is called when the outermost call returns, and does what is pending.
    """

    def __init__(self, ids: Ids) -> None:
        self.nesting = [0]
        self.here = here()
        self.thread = self.here.ident
        self.closing = False
        self.paused: Callable[[], None] | None = None
        self.leave, self.request = ids.release, ids.request
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
        """An instance is gone, which may be known in any thread and at any time: release what it held, as was
        requested, if that can be done now."""
        if self.paused is None and get_ident() == self.thread:
            self.leave_if_idle()


def _forget(calls_ref: Callable[[], Calls | None], number: int) -> None:
    calls = calls_ref()
    if calls is not None:
        calls._guards.pop(number, None)
