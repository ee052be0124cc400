"""What the two kinds of space for engines with externrefs share: tables and globals are the engine's own."""

from __future__ import annotations

import abc
import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..engines import NO_LIMITS, Engine, GuestLimits, RawExtern
from ..passes.holders import hidden_exports
from ..values import EXTERNREF
from ..wasm.module import TABLE
from .base import Space
from .instances import Extern, Instance
from .numbers import Numbers
from .prepare import Prepared

__all__ = ["ExternrefSpace"]

# Cycles are looked for if all tables of guests have no more slots than this: each is read, every time.
_MOST_OTHERS = 1 << 20


class ExternrefSpace(Space):
    """Base of `RefSpace` and `TokenSpace`."""

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        super().__init__(engine, limits)
        # wasmtime keeps tables and globals until the store goes, also those of instances that are gone.
        self._tables: list[tuple[object, RawExtern]] = []  # what an instance owns, and a table of it
        self._globals: list[RawExtern] = []

    def places(self, keys: Iterable[Any]) -> list[int] | None:
        return None

    @abc.abstractmethod
    def _table_size(self, table: RawExtern) -> int:
        """How many slots a table has."""

    @abc.abstractmethod
    def _table_keys(self, table: RawExtern) -> array.array[int]:
        """The keys in its slots, of type "q"; 0 for null."""

    def table_keys(self, instance: Instance) -> list[Numbers]:
        tables = [table for owner, table in self._tables if owner is instance.owned]
        return [Numbers.of(self._table_keys(table)) for table in tables]

    def other_keys(self, instance: Instance) -> Sequence[int] | None:
        tables = [table for owner, table in self._tables if owner is not instance.owned]
        if sum(map(self._table_size, tables)) > _MOST_OTHERS:
            return None
        keys = array.array("q", (self.key(self.store.global_get(g)) or 0 for g in self._globals))
        for table in tables:
            keys.extend(self._table_keys(table))
        return keys

    def _own(self, instance: Instance, prepared: Prepared) -> None:
        instance.owned = object()
        for hidden in hidden_exports(prepared.module):
            holder = instance.raw[hidden.name]
            if hidden.kind == TABLE:
                self._tables.append((instance.owned, holder))
            else:
                self._globals.append(holder)

    def _import_table(self, instance: Instance, extern: Extern) -> RawExtern | None:
        return extern.raw

    def _import_reference(self, instance: Instance, value: Any) -> RawExtern:
        self._globals.append(self.store.constant(EXTERNREF, self.hold(value)))
        return self._globals[-1]

    def _add_imports(
        self, instance: Instance, prepared: Prepared, raw: dict[tuple[str, str], RawExtern]
    ) -> None:
        return None

    def arrived(self) -> None:
        # Tables and globals of instances that lasted have been moved; the rest is gone.
        lasting = {id(extern) for one in self.mover.lasting for extern in one.raw.values()}
        self._tables = [(owner, table) for owner, table in self._tables if id(table) in lasting]
        self._globals = [global_ for global_ in self._globals if id(global_) in lasting]

    def table_operations(self, extern: Extern) -> dict[str, Callable[..., Any]]:
        return self.store.table_operations(extern.raw)
