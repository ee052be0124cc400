"""Collecting cycles that cross the boundary: a Python object, its wrapper of a guest's struct, and the handle
in the struct that holds the object. docs/cycles.md explains it to a user; `heap` how it is done.
"""

from __future__ import annotations

from .collecting import collect
from .layouts import Layout, layout
from .objects import GuestObject

__all__ = ["GuestObject", "Layout", "collect", "layout"]
