"""Where everything of a module goes in its lowered form, and the types and functions that it gets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from ...wasm.binary import leb
from ...wasm.module import FUNCTION, GLOBAL, Module
from ...wasm.types import EXTERNREF, I32, function_type

__all__ = ["HELPERS", "AddedFunction", "IndexMap", "lowered"]

# The runtime's functions that lowered code calls: name -> count of i32 parameters and results. The last
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


_I32 = bytes((I32,))


def lowered(spelling: bytes) -> bytes:
    """What a value type becomes."""
    return _I32 if spelling[0] == EXTERNREF else spelling


class AddedFunction(NamedTuple):
    """A function behind those of the module; ``make`` gives its local variables and its code, when all other
    code is written."""

    place: int
    type: int
    make: Callable[[], bytes]


class IndexMap:
    """Where everything of a module goes in its lowered form.

    The runtime's functions and one i32 global per externref table or segment are imported after the module's
    own imports, so indexes of what the module defines move up; externref tables and segments leave, so others
    move down. Types and functions that lowering adds come behind the module's own, in the order in which they
    are asked for.

    Attributes:
        module: the module, not lowered.
        added_types: entries of the type section -> their indexes.
        added_functions: by keys that are the same for the same function.
        table_handle, element_handle: code that gives the runtime's handle of an externref table or segment.
        call: code that calls each of `HELPERS`.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.added_types: dict[bytes, int] = {}
        self.added_functions: dict[Hashable, AddedFunction] = {}
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

    def add_type(self, params: Iterable[bytes], results: Iterable[bytes]) -> int:
        """The index of a function type with these parameters and results, which are spelled as lowered."""
        index = len(self.module.types) + len(self.added_types)
        return self.added_types.setdefault(function_type(params, results), index)

    def extended_type(self, type_: int, more: bytes) -> int:
        """The index of a function type of the module with more parameters, whose codes are given."""
        declared = self.module.subtypes[type_]
        params = [*map(lowered, declared.first), *(bytes((code,)) for code in more)]
        return self.add_type(params, map(lowered, declared.second))

    def add_function(self, key: Hashable, type_: int, make: Callable[[], bytes]) -> int:
        """The index of the function that ``key`` stands for; the rest is as in `AddedFunction`."""
        if key not in self.added_functions:
            index = self.function(len(self.module.functions)) + len(self.added_functions)
            self.added_functions[key] = AddedFunction(index, type_, make)
        return self.added_functions[key].place
