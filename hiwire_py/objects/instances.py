"""An instance of a module in a space, what it exports, and who may call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..engines import Prepared, RawExtern
from ..errors import ClosedError, WrongThreadError
from ..real_threads import get_ident
from ..values import F32, F64, I32, I64, FuncType
from ..wasm.module import FUNCTION, TABLE
from .calls import Fix, ForEach, bind_each, bind_export
from .lifetimes import Lifetime

if TYPE_CHECKING:
    from .space import Space

__all__ = ["Extern", "Gate", "Instance", "Missing"]


class Gate:
    """Who may come in: the thread that owns a table or guest, until it is closed."""

    __slots__ = ("__weakref__", "held", "owner", "what")

    def __init__(self, what: str) -> None:
        self.owner: int | None = get_ident()
        self.what = what
        self.held: tuple[int, Callable[[], None]] | None = None
        """While cycles are looked for: the owner, and what must be called before anyone comes in. ``owner``
        is then 0, nobody, so that calls which are not concerned pay nothing for this."""

    def check(self) -> None:
        if get_ident() != self.owner:
            self.refuse()

    def refuse(self) -> None:
        if self.owner is None:
            raise ClosedError(f"this {self.what} is closed")
        owner = self.owner
        if self.held is not None:
            owner, resume = self.held
            if get_ident() == owner:
                resume()
                return
        raise WrongThreadError(
            f"this {self.what} belongs to the thread {owner} that made it, and was used by"
            f" thread {get_ident()}; make one for each thread"
        )


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


class Instance:
    """A module's instance in a space, as Python uses it; what must stay with it is in its lifetime."""

    def __init__(self, space: Space, prepared: Prepared, gate: Gate) -> None:
        self.space = space
        self.prepared = prepared
        self.module = prepared.module
        self.lowered = prepared.lowered is not None
        self.gate = gate
        self.token: object = None  # says when Python uses it no more
        self.lifetime = Lifetime()
        self.links: list[tuple[Any, Lifetime]] = []  # types of what it imports from instances, and theirs
        self.raw: Mapping[str, RawExtern] = {}
        self.tables: dict[int, RawExtern] = {}  # lowered externref tables: index -> handle
        self.hosts: dict[
            tuple[str, str], tuple[Callable[..., Any], FuncType]
        ] = {}  # host functions by import
        self.handles: dict[str, RawExtern] = {}  # those of `tables` and of segments, by the names of imports
        self.owned: Any = None  # what the space releases when the instance goes
        self.imported_tables = 0
        self.index: dict[str, tuple[int, int]] = {e.name: (e.kind, e.index) for e in self.module.exports}

    def extern(self, name: str) -> Extern:
        """An export by name; KeyError if there is none."""
        kind, index = self.index[name]
        module = self.module
        if kind == FUNCTION:
            type_: Any = module.function_type(index)
        else:
            type_ = (module.tables, module.memories, module.globals)[kind - 1][index]
        raw = self.tables[index] if kind == TABLE and index in self.tables else self.raw[name]
        return Extern(name, kind, type_, raw, self)

    def function(self, name: str, fix: Fix | None = None) -> Callable[..., Any]:
        """The Python function that calls the export ``name``; for ``fix`` see `bind_export`."""
        extern = self.extern(name)
        call = self.space.store.call(extern.raw, extern.type)
        return bind_export(self.space, self.gate, call, extern.type, name, extern, fix)

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
        return bind_each(self.space, self.gate, call, functype, name, extern)
