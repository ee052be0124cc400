"""Where everything of a module goes in its lowered form, and the runtime's helpers that it gets."""

from __future__ import annotations

from ...wasm.binary import leb
from ...wasm.module import FUNCTION, GLOBAL, Module
from ...wasm.types import EXTERNREF

__all__ = ["HELPERS", "IndexMap"]

# The companion's functions that lowered code calls: name -> count of i32 parameters and results. The last
# parameters are handles of tables. `copy` also does table.init, since a segment of externrefs is a hidden
# table. The last three are about frames.
HELPERS = {
    "get": (2, 1),
    "set": (3, 0),
    "size": (1, 1),
    "grow": (3, 1),
    "fill": (4, 0),
    "copy": (5, 0),
    "drop": (1, 0),
    "move": (2, 1),
    "enter": (1, 1),
    "keep": (3, 1),
    "leave": (1, 0),
}


class IndexMap:
    """Where everything of a module goes in its lowered form.

    The companion's functions and one i32 global per externref table or segment are imported after the
    module's own imports, so indexes of what the module defines move up; externref tables and segments leave,
    so others move down.
    """

    def __init__(self, module: Module) -> None:
        self.first_function = module.count_imports(FUNCTION)
        self.first_global = module.count_imports(GLOBAL)
        self.externref_tables = [i for i, t in enumerate(module.tables) if t.element == EXTERNREF]
        self.externref_elements = [i for i, e in enumerate(module.elements) if e.type == EXTERNREF]
        kept_tables = (i for i, t in enumerate(module.tables) if t.element != EXTERNREF)
        kept_elements = (i for i, e in enumerate(module.elements) if e.type != EXTERNREF)
        self.table = {old: new for new, old in enumerate(kept_tables)}
        self.element = {old: new for new, old in enumerate(kept_elements)}
        self.added_globals = len(self.externref_tables) + len(self.externref_elements)
        handles = iter(range(self.first_global, self.first_global + self.added_globals))
        get = b"\x23"
        self.table_handle = {i: get + leb(next(handles)) for i in self.externref_tables}
        self.element_handle = {i: get + leb(next(handles)) for i in self.externref_elements}
        self.call = {h: b"\x10" + leb(self.first_function + n) for n, h in enumerate(HELPERS)}

    def function(self, index: int) -> int:
        return index if index < self.first_function else index + len(HELPERS)

    def global_(self, index: int) -> int:
        return index if index < self.first_global else index + self.added_globals
