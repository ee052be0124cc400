"""Types of Python that are written in C, out of modules that cffi compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["load_types"]


def load_types(fill: Callable[[int], int]) -> dict[str, Any]:
    """The types, by name.

    Args:
        fill: of the compiled module; it puts them into the dict at an address, and returns 0 if it cannot.

    Raises:
        ImportError: there is no memory for them.
    """
    types: dict[str, Any] = {}
    # cffi passes no Python objects. The dict's address is its id in CPython, and these are types of no other.
    if not fill(id(types)):
        raise ImportError("its types could not be made")
    return types
