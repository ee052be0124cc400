"""Python objects and the guests that hold them: which are alive, and why.

space           a space, in which guests share objects: what it is made of
runtime         tables of references, which the runtime of lowered modules keeps
ids             what stands for an object in a guest, and how long; in C (ids.c), or in Python (python_ids)
layout          where things are in what the runtime keeps for each id
nesting         how calls nest and end, and when no one may call: in a thread, and in one of its spaces
guards          which thread may use a table or guest
prepare         from a module's bytes to what an engine instantiates
kept            the same, from and to the disk
trampolines     the functions by which Python and guests call each other
instances       an instance of a module, and its exports
linking         how one is made
fitting         whether imports fit, and sizes are within the limits
roots           by what instances hold objects, until they are closed or gone
lifetimes       how long instances stay that can have functions of each other in their tables
moving          when a table leaves its store of wasmtime, so that guests can come and go for ever
"""

from __future__ import annotations

from ..engines import NO_LIMITS, GuestLimits, get_engine
from .fitting import check_limit
from .guards import ThreadGuard
from .instances import Extern, Group, Instance, Missing
from .kept import LEAST
from .linking import instantiate, keep_last
from .prepare import Prepared, prepare
from .runtime import Numbers
from .space import Space
from .trampolines import Shape

__all__ = [
    "LEAST",
    "Extern",
    "Group",
    "ThreadGuard",
    "Instance",
    "Missing",
    "Numbers",
    "Prepared",
    "Shape",
    "Space",
    "check_limit",
    "instantiate",
    "keep_last",
    "new_space",
    "prepare",
]


def new_space(engine: str | None, limits: GuestLimits = NO_LIMITS) -> Space:
    """An empty space on an engine, for the calling thread.

    Raises:
        EngineUnavailableError: see `get_engine`; or the engine has no such limits.
    """
    found = get_engine(engine)
    if limits.names:
        found = found.limited(limits)
    return Space(found, limits)
