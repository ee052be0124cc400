"""Python types that are written in C, from the extension modules that cffi compiles at install."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["load_types"]


def load_types(fill: Callable[[int], int]) -> dict[str, Any]:
    """The types, by name.

    Args:
        fill: a function of the extension module: it puts the types into the dict at an address, and returns 0
            if it cannot.

    Raises:
        ImportError: there is no memory for them.
    """
    types: dict[str, Any] = {}
    # cffi passes no Python objects, so the dict goes by its address. In CPython that is its id, and no other
    # Python has such types.
    if not fill(id(types)):
        raise ImportError("its types could not be made")
    return types
