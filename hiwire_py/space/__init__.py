"""Python objects and the guests that hold them: see `base` for the idea, `lowered`, `refs` and `tokens`
for the three ways."""

from __future__ import annotations

from ..engines import NO_LIMITS, GuestLimits, get_engine
from .base import Space
from .instances import Extern, Gate, Instance, Missing
from .numbers import Numbers

__all__ = ["Extern", "Gate", "Instance", "Missing", "Numbers", "Space", "new_space"]


def new_space(engine: str | None, limits: GuestLimits = NO_LIMITS) -> Space:
    """An empty space on an engine, for the calling thread.

    Raises:
        EngineUnavailableError: see `get_engine`; or the engine has no such limits.
    """
    found = get_engine(engine)
    if limits.names:
        found = found.limited(limits)
    if found.externref and found.externref_ids:
        from .refs import RefSpace

        return RefSpace(found, limits)
    if found.externref:
        from .tokens import TokenSpace

        return TokenSpace(found, limits)
    from .lowered import LoweredSpace

    return LoweredSpace(found, limits)
