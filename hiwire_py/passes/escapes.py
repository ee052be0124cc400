"""Which instances can come to hold functions of others, in tables and elsewhere, as far as types tell.

A function of one instance comes into another's table by an element segment, by ``table.set`` and its like,
or by a global or a parameter of type funcref; from there it can be copied on. Where types do not tell, the
answer is yes: then an instance stays longer than it must (objects/lifetimes.py), and is not freed while it is
called.
"""

from __future__ import annotations

from ..values import FUNCREF, FuncType
from ..wasm.module import FUNCTION, MEMORY, TABLE, Global, Limits, Module, TableType

__all__ = ["carries_functions", "passes_functions_on", "takes_functions"]

_REF_FUNC = b"\xd2"
_CODE = 10


def carries_functions(type_: FuncType | TableType | Limits | Global) -> bool:
    """Whether functions can go from one instance to another, in either direction, through an import or export
    of that type."""
    if isinstance(type_, FuncType):
        return FUNCREF in type_.params + type_.results
    return (isinstance(type_, TableType) and type_.element == FUNCREF) or (
        isinstance(type_, Global) and type_.type == FUNCREF
    )


def takes_functions(type_: FuncType | TableType | Limits | Global) -> bool:
    """Whether an instance that imports something of that type can put functions there, for others to find."""
    if isinstance(type_, FuncType):
        return FUNCREF in type_.params
    return carries_functions(type_) and (not isinstance(type_, Global) or type_.mutable)


def passes_functions_on(module: Module) -> bool:
    """Whether an instance can have references to functions other than those it finds in what it imports:
    because it makes them, of functions that it has or imports, or because others can bring them through what
    it exports."""
    if any(element.type == FUNCREF and element.items for element in module.elements):
        return True
    spans = [(start, end) for kind, start, end in module.sections if kind == _CODE]
    spans += [global_.init for global_ in module.globals if global_.init is not None]
    # The byte of the instruction can also be part of a number: then the answer is yes without need.
    if any(module.wasm.find(_REF_FUNC, start, end) >= 0 for start, end in spans):
        return True
    types: list[FuncType | TableType | Limits | Global] = []
    for export in module.exports:
        if export.kind == FUNCTION:
            types.append(module.function_type(export.index))
        elif export.kind != MEMORY:
            types.append((module.tables if export.kind == TABLE else module.globals)[export.index])
    return any(map(carries_functions, types))
