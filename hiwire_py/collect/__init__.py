"""Collecting cycles that cross the boundary: a Python object, its wrapper of a guest's struct, and the handle
in the struct that holds the object. docs/cycles.md explains it to a user.

What programs call::

    layout, Layout   layouts     where a struct has its handles, and pointers to structs that it owns
    GuestObject      wrapper     a wrapper registers itself for its struct
    collect          triggers    when collections begin; python_gc runs Python's collector for them

What a collection does, in `heap.Heap.begin` and `end`, before and after Python's own collector::

    backend ------ traverse (compiled types), or transfer (where there is no compiler): finds what the
        ^          wrappers of a guest refer to, by pointer maps in its memory; wrappers come to hold what
        |          their structs alone hold
        |
    refcounts ---- how often the references are counted, and which objects they stand for
"""

from __future__ import annotations

from .layouts import Layout, layout
from .triggers import collect
from .wrapper import GuestObject

__all__ = ["GuestObject", "Layout", "collect", "layout"]
