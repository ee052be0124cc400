"""Externref lowering: every externref becomes an i32 id, and the host keeps id -> object (docs/lowering.md).

lowering                       the pass: the module and its sections
code                           its instructions
analysis, stacks               a walk through a function: where the externrefs in its hands come from
liveness, frames               which of them it holds while it calls others, and where it writes them
indirect, tails                functions whose address is taken; calls that take their caller's place
indexes                        where everything goes, and what comes to the module
wide                           tables with indexes of 64 bits
refusals                       what is refused
"""

from __future__ import annotations

from ...wasm.module import Global, Module, TableType
from ...wasm.types import EXTERNREF
from .frames import OPAQUE
from .indexes import HELPERS
from .indirect import ends_in_funcref
from .lowering import RUNTIME_MODULE, Handle, Lowered, lower_module, refuse_lowered

__all__ = [
    "HELPERS",
    "OPAQUE",
    "RUNTIME_MODULE",
    "Handle",
    "Lowered",
    "lower_module",
    "needs_lowering",
    "refuse_lowered",
]


def needs_lowering(module: Module, no_tables: bool = False) -> bool:
    """Whether a module needs lowering, as `hiwire_py.needs_lowering` describes it.

    Args:
        module: the module.
        no_tables: also where the module has a table of externrefs that stays within it.
    """
    if any(t.has_externref for t in module.types) or any(e.type == EXTERNREF for e in module.elements):
        return True
    if no_tables and any(table.element == EXTERNREF for table in module.tables):
        return True
    if any(i.module == RUNTIME_MODULE for i in module.imports):
        return False  # it has been lowered
    if any(ends_in_funcref(t) for t in module.types):
        return True
    shared = [i.type for i in module.imports] + [module.type_of(e.kind, e.index) for e in module.exports]
    return any(
        (isinstance(x, TableType) and x.element == EXTERNREF)
        or (isinstance(x, Global) and x.type == EXTERNREF)
        for x in shared
    )
