"""Spaces: where instances live that can meet, and what they have in common."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from ..engines import NO_LIMITS, Engine, GuestLimits, RawExtern
from ..errors import ClosedError, DeadlineError, ForgedRefError, FuelError, GuestTrap, RefError, StaleRefError
from ..values import NULL
from .moving import Mover
from .nesting import Calls, here
from .roots import SpaceRoots
from .runtime import Runtime
from .trampolines import Given

__all__ = ["Space"]


class Space:
    """Where instances live that share a handle table, or import from each other; others do not meet. A
    thread's own.

    It knows nothing of its instances, which refer to it.

    Attributes:
        timed: calls have a deadline or fuel.
        store: where its instances are.
        ids, objects, tombstones: of the runtime. Trampolines read these, and the next ones.
        here, nesting: of the calls.
        functions: the host functions that its instances were given.

    Raises:
        EngineUnavailableError: the engine has no such limits.
    """

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        self.here = here()
        self.here.check("a table or guest cannot be made")
        self.engine = engine
        self.limits = limits
        self.timed = limits.timed
        self.functions: weakref.WeakSet[Given] = weakref.WeakSet()
        self.store = store = engine.store(limits)
        # Only weakly: what is told of the end of a call or of a panic must not keep the space.
        ref = weakref.ref(self)
        settle, close = functools.partial(_settle, ref), functools.partial(_close, ref)
        self.runtime = runtime = Runtime(engine, store, limits, settle, close)
        self.ids = runtime.ids
        self.objects, self.tombstones = runtime.ids.objects, runtime.ids.tombstones
        self.calls = calls = Calls(runtime.ids)
        self.nesting = calls.nesting
        self.roots = SpaceRoots(store, runtime, calls)
        self.mover = Mover(engine, store, runtime, calls, self.roots)
        store.on_panic(close)

    def settle(self) -> bool:
        """At the end of the outermost call: do what is pending. True says that the space is closed, and all
        objects are to be dropped."""
        self.here.settle()
        self.roots.release_orphans()
        if self.calls.closing:
            for given in list(self.functions):
                given.function = _closed
        return self.calls.closing

    def read_reference(self, global_: RawExtern, what: str) -> Any:
        """The object in an externref global. ``what`` names it in errors."""
        self.here.check(f"{what} cannot be read")
        nesting = self.nesting
        outer = nesting[0]
        nesting[0] = abs(outer) + 1  # a finalizer may come in between
        try:
            id_ = self.store.global_get(global_)
            return self.objects[id_] if id_ else NULL
        finally:
            nesting[0] = outer
            if not outer and self.ids:
                self.ids.release()

    # ---- how its calls fail

    def explain(self, error: BaseException, name: str) -> None:
        """Raise the exception of this package that ``error``, out of a call of ``name``, as in ``f()``,
        stands for. Return where it should go on as it is: a host function raised it, say."""
        limits = self.limits
        self.ids.request()  # a signal may have interrupted what releases: it goes on with that
        self._clear_frames(error)
        raised = self.here.passed(error)
        failure = self.store.panic(error)
        if failure is not None:
            raise failure from error
        # Where calls are timed, a trap can also come out of our own calls of a guest's function on the way.
        if raised and not (limits.timed and self.engine.trap_kind(error)):
            return
        if isinstance(error, KeyError) and [type(value) for value in error.args] == [int]:
            raise self.missing(error.args[0], f"{name} gave") from None
        kind = self.engine.trap_kind(error) if isinstance(error, Exception) else None
        if kind is None:
            return
        fault = self.runtime.fault()
        if isinstance(fault, BaseException):
            raise fault from error
        kind = fault or kind
        if kind == "interrupt" and limits.deadline is not None:
            raise DeadlineError(
                f"{name} was stopped: it took longer than its deadline of {limits.deadline} s"
            ) from error
        if kind == "out of fuel":
            raise FuelError(f"{name} was stopped: it burnt all its fuel, which was {limits.fuel}") from error
        advice = " (infinite recursion?)" if kind == "call stack exhausted" else ""
        raise GuestTrap(f"{name} trapped: {kind}{advice}", kind) from error

    def missing(self, key: int, what: str) -> RefError:
        """The exception for an externref that names no object.

        Args:
            what: who came with it, as in ``"f() gave"``.
        """
        if key in self.tombstones:
            return StaleRefError(
                f"{what} an object that was collected: its handle is in a struct whose wrapper is dead, and"
                " only good for being released"
            )
        return ForgedRefError(
            f"{what} the externref {key & 0xFFFFFFFF:#x}, but the guest was given no such object", key
        )

    def _clear_frames(self, error: BaseException) -> None:
        """Frames of the engine's binding, in the traceback, hold arguments, and an exception that one of them
        raised itself: the arguments would live until Python's collector comes by."""
        traceback, binding = error.__traceback__, self.engine.binding
        ours = False
        while traceback is not None:
            frame = traceback.tb_frame
            module = frame.f_globals.get("__name__", "")
            # The binding's own context managers, but not those of host functions, which come later.
            ours = module.startswith(binding) or (ours and module == "contextlib")
            if ours or module == type(self.engine).__module__:
                frame.clear()
            traceback = traceback.tb_next


def _settle(space_ref: Callable[[], Space | None]) -> bool:
    space = space_ref()
    return space is None or space.settle()


def _close(space_ref: Callable[[], Space | None]) -> None:
    space = space_ref()
    if space is not None:
        space.calls.close()


def _closed(*args: Any) -> Any:
    raise ClosedError("the guest called a host function, but what stood behind it was closed")
