"""Every moment at which Python lets a signal handler come in, one after the other: what timers hit by chance,
and rarely, is tried for certain.

What a signal handler does is done here by a hook of the interpreter. CPython looks for signals when a
function begins, after a call of what is not written in Python, and where it jumps back; before 3.12 where any
jump is taken, and where an exception is caught.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

__all__ = ["MISSING", "Interrupt", "each_moment", "interrupt"]

MONITORING = sys.version_info >= (3, 12)
MISSING = "" if MONITORING or sys.version_info < (3, 11) else "its interpreter has neither of the hooks"
"""Why this is not possible with this Python."""

_TOOL = 4
# What is raised here goes to sys.unraisablehook, as what finalizers raise does.
_SWALLOWING = frozenset(("__del__", "_on_collection", "_release"))


class Interrupt(BaseException):
    """What a signal handler raised."""


def interrupt() -> None:
    raise Interrupt


def each_moment(
    use: Callable[[], object], handler: Callable[[], object] = interrupt, step: int = 1
) -> Iterator[str]:
    """Call ``use`` again and again, with the handler coming in at a later moment each time.

    Args:
        use: a function that goes through the same moments each time.
        handler: comes in at moments in files and made-up functions of hiwire_py.
        step: how many moments to go on at a time.

    Yields:
        After each call, where the handler came in. The last was interrupted before this comes to an end.
    """
    number = 1
    while True:
        hook = _Monitor(number, handler) if MONITORING else _Trace(number, handler)
        with hook, contextlib.suppress(Interrupt):
            use()
        if hook.place is None:
            return
        yield hook.place
        number += step


class _Hook:
    def __init__(self, number: int, handler: Callable[[], object]) -> None:
        self.left = number
        self.handler = handler
        self.place: str | None = None

    def here(self, code: CodeType, line: Callable[[], object]) -> bool:
        """Count a moment; say whether it is the one."""
        if "hiwire_py" not in code.co_filename:
            return False
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_name in _SWALLOWING:
                return False
            frame = frame.f_back
        self.left -= 1
        if self.left:
            return False
        self.place = f"{code.co_filename}:{line()} in {code.co_name}"
        return True


class _Monitor(_Hook):
    """For Python 3.12 and newer. Not where it jumps back: an exception of a hook passes by ``finally``."""

    def __enter__(self) -> _Monitor:
        tool: Any = sys.monitoring  # type: ignore[attr-defined]  # Python 3.10 has none
        events = tool.events
        tool.use_tool_id(_TOOL, "moments")
        tool.register_callback(_TOOL, events.PY_START, self.moment)
        tool.register_callback(_TOOL, events.PY_RESUME, self.moment)
        tool.register_callback(_TOOL, events.C_RETURN, self.moment)
        tool.set_events(_TOOL, events.PY_START | events.PY_RESUME | events.CALL)  # C_RETURN comes with CALL
        self.off: Callable[[], None] = functools.partial(tool.set_events, _TOOL, 0)
        self.free: Callable[[], None] = functools.partial(tool.free_tool_id, _TOOL)
        return self

    def __exit__(self, *exception: object) -> None:
        self.off()
        self.free()

    def moment(self, code: CodeType, offset: int, *what: object) -> None:
        if self.here(code, lambda: next((line for a, b, line in code.co_lines() if a <= offset < b), None)):
            self.off()
            self.handler()


class _Trace(_Hook):
    """For Python 3.10."""

    def __enter__(self) -> _Trace:
        self.last: dict[FrameType, int] = {}  # the instruction before this one, in each frame
        sys.settrace(self.call)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(None)
        self.last.clear()

    def call(self, frame: FrameType, event: str, argument: object) -> Any:
        if "hiwire_py" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.local

    def local(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "return":
            self.last.pop(frame, None)
        elif event == "opcode":
            last = self.last.get(frame)
            self.last[frame] = frame.f_lasti
            if _looks(frame.f_code, last, frame.f_lasti) and self.here(frame.f_code, lambda: frame.f_lineno):
                sys.settrace(None)
                self.last.clear()
                self.handler()
                return None
        return self.local


@functools.cache
def _instructions(code: CodeType) -> tuple[dict[int, str], dict[int, int]]:
    """The name of each instruction, and where the next is."""
    found = list(dis.get_instructions(code))
    return {i.offset: i.opname for i in found}, {a.offset: b.offset for a, b in itertools.pairwise(found)}


def _looks(code: CodeType, last: int | None, now: int) -> bool:
    """Whether CPython 3.10 looks for signals between two instructions."""
    if last is None:
        return True
    names, following = _instructions(code)
    if names[now] in ("SETUP_FINALLY", "SETUP_WITH"):
        return False
    if names[last].startswith("CALL") or names[last] == "JUMP_ABSOLUTE":
        return True
    return following.get(last) != now and names[last] not in ("FOR_ITER", "JUMP_FORWARD")
