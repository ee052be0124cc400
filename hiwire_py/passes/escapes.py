"""Which instances can come to hold functions of others, in tables and elsewhere, as far as types tell.

A function of one instance comes into another's table by an element segment, by ``table.set`` and its like,
or by a global or a parameter of type funcref; from there it can be copied on. Where types do not tell, the
answer is yes: then an instance stays longer than it must (objects/lifetimes.py), and is not freed while it is
called.
"""

from __future__ import annotations

from ..wasm.module import Kind, Module
from ..wasm.types import EXTERNREF, F32, F64, I32, I64, V128, ExternType, FuncType, Global, TableType, Tag

__all__ = ["carries_functions", "passes_functions_on", "takes_functions"]

_REF_FUNC = b"\xd2"
_NO_FUNCTIONS = frozenset((I32, I64, F32, F64, V128, EXTERNREF))
"""Values that lead to no function; a structure or an exception can hold one."""


def _holds(codes: bytes) -> bool:
    return not _NO_FUNCTIONS.issuperset(codes)


def carries_functions(type_: ExternType) -> bool:
    """Whether functions can go from one instance to another, in either direction, through an import or export
    of that type."""
    if isinstance(type_, FuncType):
        return _holds(type_.params + type_.results)
    if isinstance(type_, Tag):
        return _holds(type_.functype.params)
    return (isinstance(type_, TableType) and _holds(bytes((type_.element,)))) or (
        isinstance(type_, Global) and _holds(bytes((type_.type,)))
    )


def takes_functions(type_: ExternType) -> bool:
    """Whether an instance that imports something of that type can put functions there, for others to find."""
    if isinstance(type_, FuncType):
        return _holds(type_.params)
    return carries_functions(type_) and (not isinstance(type_, Global) or type_.mutable)


def passes_functions_on(module: Module) -> bool:
    """Whether an instance can have references to functions other than those it finds in what it imports:
    because it makes them, of functions that it has or imports, or because others can bring them through what
    it exports."""
    if any(_holds(bytes((element.type,))) and element.items for element in module.elements):
        return True
    spans = [(start, end) for kind, start, end in module.sections if kind == Kind.CODE]
    spans += [global_.init for global_ in module.globals if global_.init is not None]
    spans += [table.init for table in module.tables if table.init is not None]
    # The byte of the instruction can also be part of a number: then the answer is yes without need.
    if any(module.wasm.find(_REF_FUNC, start, end) >= 0 for start, end in spans):
        return True
    return any(carries_functions(module.type_of(export.kind, export.index)) for export in module.exports)
