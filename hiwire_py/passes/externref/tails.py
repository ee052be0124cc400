"""Tail calls: who holds the arguments of a call that takes its caller's place.

A caller holds its arguments for the function that it calls; a tail call has none. So

* a function of the module that is called in this way keeps its parameters in a frame of its own, where they
  are live during calls, whoever calls it;
* what another instance has is called by a *holder* instead, a function that keeps the arguments, and calls as
  any other does. The caller is gone all the same, but the holder is not: instances that call each other in
  this way for ever run out of stack.

Only calls that pass externrefs are concerned. A function that is reached through a table is one of the module
if no function of others can be in its tables; its thunk passes the call on as a tail call.
"""

from __future__ import annotations

from collections.abc import Hashable

from ...wasm.binary import leb
from ...wasm.code import local_get
from ...wasm.types import EXTERNREF, I32, I64
from ..escapes import carries_functions
from .frames import holding
from .indexes import IndexMap
from .indirect import IndirectCalls

__all__ = ["TailCalls"]


class TailCalls:
    """The tail calls of a module, found while its code is rewritten."""

    def __init__(self, to: IndexMap, calls: IndirectCalls) -> None:
        self._to = to
        self._calls = calls
        module = self._module = to.module
        exported = (module.type_of(export.kind, export.index) for export in module.exports)
        types = (*(wanted.type for wanted in module.imports), *exported)
        self._foreign = any(map(carries_functions, types))
        self._direct: set[int] = set()
        self._indirect = False

    def direct(self, function: int) -> bytes:
        """The tail call of a function."""
        if function < self._to.first_function and self._takes_refs(function):
            type_ = self._module.functions[function]
            return self._holder(("tail", function), type_, b"", b"\x10" + leb(function))
        self._direct.add(function)
        return b"\x12" + leb(self._to.function(function))

    def indirect(self, type_: int, table: int) -> bytes | None:
        """The tail call of a function in a table; None where it may stay what it is."""
        expected, extra = self._calls.call(type_)
        if not extra:
            return None
        params = self._module.types[type_].params
        has_refs = EXTERNREF in params
        if has_refs and self._foreign:
            call = extra + local_get(len(params)) + b"\x11" + leb(expected) + leb(self._to.table[table])
            index_type = I64 if self._module.tables[table].limits.wide else I32
            return self._holder(("tail", type_, table), type_, bytes((index_type,)), call)
        self._calls.tails = True
        self._indirect |= has_refs
        return None

    def held(self) -> list[int]:
        """The module's own functions that must keep their parameters, when all code has been seen."""
        reached = self._direct.union(self._calls.thunks.values() if self._indirect else ())
        return [f for f in sorted(reached) if f >= self._to.first_function and self._takes_refs(f)]

    def _takes_refs(self, function: int) -> bool:
        return EXTERNREF in self._module.function_type(function).params

    def _holder(self, key: Hashable, type_: int, more: bytes, call: bytes) -> bytes:
        """The tail call of a function that holds the arguments for ``call``, and takes what is in ``more``,
        too."""

        def make() -> bytes:
            return holding(self._to, self._module.types[type_].params, len(more), call)

        return b"\x12" + leb(self._to.add_function(key, self._to.extended_type(type_, more), make))
