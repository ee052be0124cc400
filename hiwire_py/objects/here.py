"""What all spaces of one thread have in common: how deep its calls are nested, and which greenlet makes them.

Engines keep what they know of running guests on the thread's stack, innermost first. Greenlets share that
stack. One that switches to another within a host function has its part of the stack copied away, with the
frames of the guests in it, until it is switched to again. Meanwhile no guest of this thread may be entered,
and no engine may walk the stack: what would do so is refused, or waits.
"""

from __future__ import annotations

import sys
import weakref
from typing import Protocol

from ..engines import hosts
from ..errors import WrongThreadError
from ..real_threads import get_ident, local

__all__ = ["DEEPEST", "HOST_CODE", "TOO_DEEP", "Here", "here"]

# Calls from Python into guests that may be nested in a thread. Each level takes some of the stack, and of the
# calls that Python's recursion limit allows, for which users have not asked; and a RecursionError within an
# engine's binding can end the process.
DEEPEST = 40
TOO_DEEP = f"{DEEPEST} calls from Python into guests are nested already (infinite recursion?)"

HOST_CODE = "<hiwire_py host function>"
"""What stands for the file name in the code around each host function."""


class Nested(Protocol):
    """What a thread knows of the calls of each of its spaces: see `nesting.Calls`."""

    @property
    def depth(self) -> int:
        """How many have not returned."""

    def leave(self) -> None:
        """Release what no guest holds."""

    def request(self) -> None:
        """See to it that this is done, and `Here.settle` called, when the outermost one returns."""


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
        self.spaces: weakref.WeakSet[Nested] = weakref.WeakSet()
        self._waiting: list[weakref.ref[Nested]] = []

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

    def put_off(self, calls: Nested) -> None:
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
