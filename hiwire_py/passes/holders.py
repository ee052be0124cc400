"""Holders: all that can change in an instance is exported, for who moves it to another store, or looks for
cycles.

Requires: any module.
Leaves: its own tables and globals of externrefs are exported, and for `whole` also its other tables, its
mutable globals and its memories, under names that no other export has. Everything else is as it was, byte for
byte.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..requirements import State
from ..wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, TABLE, Export, Module
from ..wasm.types import EXTERNREF, F32, F64, I32, I64
from ..wasm.write import Edit, fresh_name

__all__ = ["export_holders", "hidden_exports", "state_of"]

_NUMBERS = (I32, I64, F32, F64)
_RUNTIME = "externref"
_PASSIVE = 1  # in the two low bits of a segment's flags


def hidden_exports(module: Module, whole: bool = False) -> Iterator[Export]:
    """What `export_holders` adds: the module's externref tables and globals, except imported ones.

    Args:
        module: the module.
        whole: also all else that can change: other tables, mutable globals, memories.
    """
    taken = {export.name for export in module.exports}
    tables = [whole or table.element == EXTERNREF for table in module.tables]
    globals_ = [global_.type == EXTERNREF or (whole and global_.mutable) for global_ in module.globals]
    memories = [whole] * len(module.memories)
    for kind, holds in ((TABLE, tables), (MEMORY, memories), (GLOBAL, globals_)):
        for index in range(module.count_imports(kind), len(holds)):
            if holds[index]:
                yield Export(fresh_name(f"hiwire_py.{kind}.{index}", taken), kind, index)


def export_holders(module: Module, whole: bool = False) -> bytes:
    """The module's bytes with these exports; the same object if there are none."""
    edit = Edit(module)
    for one in hidden_exports(module, whole):
        edit.export(one.name, one.kind, one.index)
    return edit.written()


def state_of(module: Module) -> State:
    """Where an instance of ``export_holders(module, whole=True)`` keeps what can change."""
    state = State(_why_fixed(module), [], [], [], [], [])
    for one in hidden_exports(module, whole=True):
        if one.kind == MEMORY:
            state.memories.append(one.name)
        elif one.kind == TABLE:
            refs = module.tables[one.index].element == EXTERNREF
            (state.tables if refs else state.functions).append(one.name)
        elif one.kind == GLOBAL and module.globals[one.index].mutable:
            refs = module.globals[one.index].type == EXTERNREF
            (state.references if refs else state.numbers).append(one.name)
    return state


def _why_fixed(module: Module) -> str:
    """Why an instance of the module cannot be made a second time with the state of the first, as far as the
    module says; "" if it can."""
    for wanted in module.imports:
        if wanted.kind != FUNCTION and wanted.module != _RUNTIME:
            return f"it imports the {KINDS[wanted.kind]} {wanted}"
    if module.start is not None:
        return "it has a start function"
    if any(global_.mutable and global_.type not in (*_NUMBERS, EXTERNREF) for global_ in module.globals):
        return "it has a mutable global of type funcref, v128 or another that cannot be copied"
    # Whether one has been dropped cannot be asked.
    passive = any(element.flags & 3 == _PASSIVE for element in module.elements)
    if passive or any(segment.offset is None for segment in module.data()):
        return "it has passive segments"
    return ""
