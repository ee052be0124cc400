"""Holders: all that can change in an instance is exported, for who moves it to another store.

Requires: a module without tables or globals of externrefs.
Leaves: its own tables, mutable globals and memories are exported, under names that no other export has.
Everything else is as it was, byte for byte.
"""

from __future__ import annotations

from ..requirements import State
from ..wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, TABLE, Module
from ..wasm.types import F32, F64, I32, I64
from ..wasm.write import Edit
from .externref import RUNTIME_MODULE

__all__ = ["export_holders"]

_NUMBERS = (I32, I64, F32, F64)
_PASSIVE = 1  # in the two low bits of a segment's flags


def export_holders(module: Module) -> tuple[bytes, State]:
    """The module's bytes with these exports, and what they are; the same object if there are none."""
    edit = Edit(module)

    def export(kind: int, wanted: list[bool]) -> list[str]:
        own = range(module.count_imports(kind), len(wanted))
        return [edit.export(f"hiwire_py.{kind}.{i}", kind, i) for i in own if wanted[i]]

    state = State(
        _why_fixed(module),
        functions=export(TABLE, [True] * len(module.tables)),
        memories=export(MEMORY, [True] * len(module.memories)),
        numbers=export(GLOBAL, [global_.mutable for global_ in module.globals]),
    )
    return edit.written(), state


def _why_fixed(module: Module) -> str:
    """Why an instance of the module cannot be made a second time with the state of the first, as far as the
    module says; "" if it can."""
    for wanted in module.imports:
        if wanted.kind != FUNCTION and wanted.module != RUNTIME_MODULE:
            return f"it imports the {KINDS[wanted.kind]} {wanted}"
    if module.start is not None:
        return "it has a start function"
    if any(global_.mutable and global_.type not in _NUMBERS for global_ in module.globals):
        return "it has a mutable global of type funcref, v128 or another that cannot be copied"
    # Whether one has been dropped cannot be asked.
    passive = any(element.flags & 3 == _PASSIVE for element in module.elements)
    if passive or any(segment.offset is None for segment in module.data()):
        return "it has passive segments"
    return ""
