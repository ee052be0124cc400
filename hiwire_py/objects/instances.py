"""An instance of a module in a space, and what it exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..engines import RawExtern
from ..values import F32, F64, I32, I64, FuncType
from ..wasm.module import FUNCTION, TABLE
from .guards import ThreadGuard
from .lifetimes import Lifetime
from .prepare import Prepared
from .roots import InstanceRoots
from .space import Space
from .trampolines import Fix, ForEach, bind_each, bind_export, bind_raw

__all__ = ["Extern", "Group", "Instance", "Missing"]


class Missing(LookupError):
    """There is nothing to give for an import. The message, if any, says what would help."""


class Extern:
    """An export, as other instances of its space can import it.

    Attributes:
        kind: FUNCTION, TABLE, MEMORY or GLOBAL of `wasm.module`.
        type: its type in the original module.
        raw: the engine's form; for a lowered externref table its handle in the runtime.
        owner: the instance, which must live as long as the extern is used.
    """

    __slots__ = ("kind", "name", "owner", "raw", "type")

    def __init__(self, name: str, kind: int, type_: Any, raw: RawExtern, owner: Instance) -> None:
        self.name = name
        self.kind = kind
        self.type = type_
        self.raw = raw
        self.owner = owner

    @property
    def space(self) -> Space:
        return self.owner.space


class Group:
    """Instances that are made as one and end as one: one guard, and one lifetime for all."""

    def __init__(self, space: Space, guard: ThreadGuard) -> None:
        self.guard = guard
        self.token = space.calls.add(guard)
        self.lifetime = Lifetime()


class Instance:
    """A module's instance in a space, as Python uses it; what must stay with it is in its lifetime.

    Attributes:
        guard: the guard of its functions.
        token: see `Calls.add`.
        links: what it imports from instances of other groups: the types, and the lifetimes of those.
        raw: its exports, as the engine has them.
        tables: its tables of externrefs: index -> handle in the runtime.
        handles: the same, and those of its segments: name of the import -> handle.
        hosts: the host functions that it was given, by import.
        roots: what it holds objects by; None: it was not lowered, and can hold none.
        imported_tables: how many of its tables it imports.
        index: its exports: name -> kind and index.
    """

    def __init__(self, space: Space, prepared: Prepared, group: Group) -> None:
        self.space = space
        self.prepared = prepared
        self.module = prepared.module
        self.guard, self.token, self.lifetime = group.guard, group.token, group.lifetime
        self.links: list[tuple[Any, Lifetime]] = []
        self.raw: Mapping[str, RawExtern] = {}
        self.tables: dict[int, int] = {}
        self.handles: dict[str, int] = {}
        self.hosts: dict[tuple[str, str], tuple[Callable[..., Any], FuncType]] = {}
        self.roots = None if prepared.lowered is None else InstanceRoots(space.roots)
        self.imported_tables = 0
        self.index = prepared.index

    def close(self) -> None:
        """Let no one in any more, and release what its tables and globals hold: now, or when the running call
        returns."""
        self.guard.close()
        if self.roots is not None:
            self.space.roots.release(self.roots)

    def extern(self, name: str) -> Extern:
        """An export by name; KeyError if there is none."""
        kind, index = self.index[name]
        type_ = self.module.type_of(kind, index)
        raw = self.tables[index] if kind == TABLE and index in self.tables else self.raw[name]
        return Extern(name, kind, type_, raw, self)

    def function(
        self, name: str, fix: Fix | None = None, shown: str | None = None, **others: Any
    ) -> Callable[..., Any]:
        """The Python function that calls the export ``name``; for ``fix`` and others see `bind_export`.
        ``shown`` is its name in errors, if it has another one there."""
        extern = self.extern(name)
        call = self.space.store.call(extern.raw, extern.type)
        guard = self.guard
        return bind_export(self.space, guard, call, extern.type, shown or name, extern, fix, **others)

    def raw_function(self, name: str) -> Callable[..., Any]:
        """What calls the export ``name`` as the engine does it: see `bind_raw`."""
        extern = self.extern(name)
        return bind_raw(self.space.store.call(extern.raw, extern.type), extern.type)

    def for_each(self, name: str) -> ForEach:
        """What calls the export ``name`` for many pointers: see `bind_each`.

        Raises:
            TypeError: it does not take a pointer, or returns a reference.
        """
        extern = self.extern(name)
        functype = extern.type
        if extern.kind != FUNCTION:
            raise TypeError(f"the export {name} must be a function that takes a pointer")
        if functype.params != bytes((I32,)) or not set(functype.results) <= {I32, I64, F32, F64}:
            raise TypeError(
                f"the export {name} must be a function that takes a pointer and returns no reference,"
                f" not {functype}"
            )
        call = self.space.store.call(extern.raw, functype)
        return bind_each(self.space, self.guard, call, functype, name, extern)
