"""Python objects and the guests that hold them: which are alive, and why.

space           the idea: a space, in which guests share objects
ids             what stands for an object in a guest, and how long; in C (ids.c), or in Python (python_ids)
layout          where things are in what the runtime of lowering keeps for each id
instances       an instance of a module, its exports, and who may call it
calls           the functions by which Python and guests call each other
here            a thread: how deep its calls are nested, and which greenlet is in them
fitting         whether imports fit, and sizes are within the limits
lifetimes       how long instances stay that can have functions of each other in their tables
moving          when a table leaves its store of wasmtime, so that guests can come and go for ever
numbers         arrays of numbers that are read where they lie in memory
"""

from __future__ import annotations

from ..engines import NO_LIMITS, GuestLimits, get_engine
from .instances import Extern, Gate, Instance, Missing
from .numbers import Numbers
from .space import Space

__all__ = ["Extern", "Gate", "Instance", "Missing", "Numbers", "Space", "new_space"]


def new_space(engine: str | None, limits: GuestLimits = NO_LIMITS) -> Space:
    """An empty space on an engine, for the calling thread.

    Raises:
        EngineUnavailableError: see `get_engine`; or the engine has no such limits.
    """
    found = get_engine(engine)
    if limits.names:
        found = found.limited(limits)
    return Space(found, limits)
