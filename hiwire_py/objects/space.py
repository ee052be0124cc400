"""Spaces: where instances live that can meet, and what they have in common."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from ..engines import NO_LIMITS, Engine, GuestLimits, RawExtern
from ..errors import ClosedError
from ..values import NULL
from .failures import Failures
from .here import here
from .moving import Mover
from .nesting import Calls
from .roots import SpaceRoots
from .runtime import Runtime
from .trampolines import Given

__all__ = ["Space"]


class Space:
    """Where instances live that share a handle table, or import from each other; others do not meet. A
    thread's own.

    It knows nothing of its instances, which refer to it::

        Instance, Extern     instances.py   made by linking.py
             |
        Space -+- store      engines/       where instances are
               +- runtime    runtime.py     externref tables, and how often an id is in them and in globals
               |    +- ids   ids.py         id -> object, and when an id is released
               +- calls      nesting.py     how calls nest and end, and who may make them
               +- roots      roots.py       by what each instance holds objects, until it is gone
               +- failures   failures.py    what an exception of the engine means
               +- mover      moving.py      leaves a store of wasmtime for another one

    Attributes:
        timed: calls have a deadline or fuel.
        ids, objects, tombstones: of the runtime. Trampolines read these, and the next ones.
        here, nesting: of the calls.
        explain, missing: of the failures.
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
        self.failures = failures = Failures(engine, store, limits, runtime, self.here)
        self.explain, self.missing = failures.explain, failures.missing
        self.mover = Mover(engine, store, runtime, calls, self.roots)
        store.on_panic(close)

    # ---- its calls

    @property
    def depth(self) -> int:
        """How many calls from Python into guests have not returned."""
        return self.calls.depth

    def leave(self) -> None:
        """The outermost call has returned: release what no guest holds."""
        self.ids.release()

    def collect(self) -> None:
        """Release what no guest holds any more, if no call is on its way."""
        self.calls.collect()

    def close(self) -> None:
        """Let no one in any more, and drop all objects: now, or when the running call returns."""
        self.calls.close()

    def settle(self) -> bool:
        """At the end of the outermost call: do what is pending. True says that the space is closed, and all
        objects are to be dropped."""
        self.here.settle()
        self.roots.release_orphans()
        if self.calls.closing:
            for given in list(self.functions):
                given.function = _closed
        return self.calls.closing

    # ---- what it holds

    def live(self) -> int:
        """How many objects the guests of this space hold."""
        return len(self.objects)

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
                self.leave()


def _settle(space_ref: Callable[[], Space | None]) -> bool:
    space = space_ref()
    return space is None or space.settle()


def _close(space_ref: Callable[[], Space | None]) -> None:
    space = space_ref()
    if space is not None:
        space.close()


def _closed(*args: Any) -> Any:
    raise ClosedError("the guest called a host function, but what stood behind it was closed")
