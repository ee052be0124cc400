"""Python objects and the guests that hold them: see `base` for the idea, `lowered` and `tokens` for the two
ways."""

from __future__ import annotations

from ..engines import get_engine
from .base import Extern, Gate, Instance, Space

__all__ = ["Extern", "Gate", "Instance", "Space", "new_space"]


def new_space(engine: str | None) -> Space:
    """An empty space on an engine, for the calling thread.

    Raises:
        EngineUnavailableError: see `get_engine`.
    """
    found = get_engine(engine)
    if found.externref:
        from .tokens import TokenSpace

        return TokenSpace(found)
    from .lowered import LoweredSpace

    return LoweredSpace(found)
