"""The space of lowered modules: ids in place of externrefs, counted by the runtime that lowered modules share.

What an id is and how long it lives is in `ids`; here is what instances hold, and what becomes of it when they
are gone.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from importlib import resources
from typing import Any, NamedTuple

from ..engines import NO_LIMITS, Engine, GuestLimits, Prepared, RawExtern, Store
from ..engines.release import at_release
from ..errors import ForgedRefError, TableFullError
from ..passes.externref.code import HELPERS
from ..passes.externref.rewrite import COMPANION_MODULE
from ..real_threads import get_ident
from ..values import I32, NULL, FuncType
from .base import Space
from .ids import new_ids
from .instances import Extern, Instance
from .layout import (
    FAULT_FORGED,
    FAULT_FRAMES,
    ID_INDEX,
    RECORD_HOLDERS,
    RECORD_WORDS,
    TABLE_SIZE,
    TABLE_SLOTS,
)
from .numbers import Numbers

__all__ = ["LoweredSpace"]

_FIRST_RESERVE = 1024
_WORD = 0xFFFFFFFF
_NO_MAXIMUM = -1


class _Owned:
    """What an instance's tables and globals hold on to in the companion.

    When the instance is gone, in whatever thread, this only queues: the space frees the tables when none of
    its guests runs. The token says when that is. A finalizer of this object's own would not do: those of a
    dying cycle run in any order, and others of them may call the guest after it.
    """

    def __init__(self, space: LoweredSpace) -> None:
        self.holdings = _Holdings([], [], [], [])
        self._token = at_release(functools.partial(_orphan, weakref.ref(space), self.holdings))
        space.holdings[id(self.holdings)] = self.holdings


class _Holdings(NamedTuple):
    """Of an instance, or of those that are gone."""

    drops: list[int]  # tables that are only to be emptied: others may still use them
    tables: list[int]
    pins: list[int]  # ids held by immutable globals
    globals: list[RawExtern]  # mutable externref globals


def _orphan(space_ref: Callable[[], LoweredSpace | None], holdings: _Holdings) -> None:
    space = space_ref()
    if space is None:
        return
    waits = not space.closing and any(holdings)
    if waits:
        for orphans, more in zip(space.orphans, holdings):
            orphans.extend(more)
        space.request_leave()
    space.holdings.pop(id(holdings), None)
    if waits and space.paused is None and get_ident() == space.thread:
        space.leave_if_idle()


class LoweredSpace(Space):
    patience = 1024
    """How many objects may wait in a long call before they are looked at."""

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        super().__init__(engine, limits)
        self.holdings: dict[int, _Holdings] = {}  # by their ids, until they are among the orphans
        self.orphans = _Holdings([], [], [], [])
        runtime = resources.files("hiwire_py").joinpath("modules/hiwire-externref.wasm").read_bytes()
        prepared = engine.prepare(runtime, lasting=True)
        self._lasting: list[object] = []
        self._companion = self.store.instantiate(prepared, {}, self._lasting.append)
        self._raw = {
            e.name: self.store.caller(self._companion[e.name], prepared.module.function_type(e.index))
            for e in prepared.module.exports
            if e.kind == 0
        }
        self._base = self._address()
        state = self._raw["state"]() & _WORD
        self.ids = new_ids(
            self._base,
            state,
            functools.partial(_reserve, self._ref),
            functools.partial(_settle, self._ref),
            self.patience,
        )
        self.objects, self.gone = self.ids.objects, self.ids.gone
        self.store.on_panic(functools.partial(_close, self._ref))
        self._reserve(_FIRST_RESERVE)
        self.store.watch(self._base + state)
        if engine.moves:
            self.mover.lasting.append(self.store.lasting(prepared, self._companion, lambda made: {}))

    # ---- ids

    def _reserve(self, count: int) -> None:
        """Have the runtime make room for so many ids.

        Raises:
            MemoryError: there is none.
        """
        if not self._raw["reserve"](count):
            raise MemoryError(f"no memory for {count} externref ids")
        if self._address() != self._base:
            # Addresses in the memory are in use everywhere, and would now be of what is not theirs.
            self.close()
            raise MemoryError(
                "the engine moved a memory when it grew; engines must reserve its address space"
            )

    def _address(self) -> int:
        return self.store.memory_address(self._companion["memory"])

    def _settle(self) -> bool:
        self.here.settle()
        self._bury()
        return super()._settle()

    def fault(self) -> BaseException | str | None:
        why = self.ids.fault()
        if not why:
            return None
        if why == FAULT_FRAMES:
            return "call stack exhausted"
        if why == FAULT_FORGED:
            return ForgedRefError("the guest stored an externref that it was not given: it forged an id")
        return "out of bounds table access"

    def global_object(self, raw: Any) -> Any:
        return self.objects[raw] if raw else NULL

    def live(self) -> int:
        return len(self.objects)

    def key(self, raw: Any) -> Any:
        return raw or None

    def places(self, keys: Iterable[Any]) -> list[int] | None:
        records = self.holder_records().view()
        return [records[(key & ID_INDEX) * RECORD_WORDS + RECORD_HOLDERS] for key in keys]

    def table_keys(self, instance: Instance) -> list[Numbers]:
        size = self.store.memory_size(self._companion["memory"])
        found = []
        for handle in instance.tables.values():
            table = Numbers(self._base + handle, 2, "I").view()
            slots, count = table[TABLE_SLOTS], table[TABLE_SIZE]
            if slots + 4 * count <= size:
                found.append(Numbers(self._base + slots, count, "i"))
        return found

    def holder_records(self) -> Numbers:
        return Numbers(self.ids.records, RECORD_WORDS * self.ids.record_count, "I")

    # ---- instances

    def _import_table(self, instance: Instance, extern: Extern) -> RawExtern | None:
        instance.tables[instance.imported_tables] = extern.raw
        return None

    def _import_reference(self, instance: Instance, value: Any) -> RawExtern:
        outer = self.nesting[0]
        self.nesting[0] = self.depth + 1
        try:
            id_ = self.ids.give(value)
            self._raw["pin"](id_)
        finally:
            self.nesting[0] = outer
        self._holdings(instance).pins.append(id_)
        return self.store.constant(I32, id_)

    def _holdings(self, instance: Instance) -> _Holdings:
        if instance.owned is None:
            instance.owned = _Owned(self)
        holdings: _Holdings = instance.owned.holdings
        return holdings

    def _add_imports(
        self, instance: Instance, prepared: Prepared, raw: dict[tuple[str, str], RawExtern]
    ) -> None:
        if prepared.lowered is None:
            return
        for helper in HELPERS:
            raw[COMPANION_MODULE, helper] = self._companion[helper]
        for wanted in prepared.lowered.handles:
            limits, table = wanted.limits, wanted.table
            handle = instance.tables.get(table) if table is not None else None
            if handle is None:
                maximum = _NO_MAXIMUM if limits.maximum is None else limits.maximum
                handle = self._raw["table"](_signed(limits.minimum), _signed(maximum))
                if not handle:
                    raise TableFullError(f"no memory for a table of {limits.minimum} externrefs")
                self._holdings(instance).tables.append(handle)
                if table is not None:
                    instance.tables[table] = handle
            instance.handles[wanted.name] = handle
            raw[COMPANION_MODULE, wanted.name] = self.store.constant(I32, handle)
        instance.lifetime.hold(self._lasting)

    @staticmethod
    def _lasting_imports(
        store: Store, handles: Mapping[str, int], made: Sequence[Mapping[str, RawExtern]]
    ) -> dict[tuple[str, str], RawExtern]:
        companion = made[0]
        found = {(COMPANION_MODULE, helper): companion[helper] for helper in HELPERS}
        for name, handle in handles.items():
            found[COMPANION_MODULE, name] = store.constant(I32, handle)
        return found

    def arrived(self) -> None:
        self._base = self._address()
        self.ids.moved(self._base)
        lasting = {id(extern) for one in self.mover.lasting for extern in one.raw.values()}
        # Orphans last: they may have become so just now, on another thread.
        for holdings in (*self.holdings.values(), self.orphans):
            held = holdings.globals
            held[:] = [global_ for global_ in held if id(global_) in lasting]

    def depart(self, lasting: Sequence[Any]) -> None:
        kept = {id(extern) for one in lasting for extern in one.raw.values()}
        for holdings in list(self.holdings.values()):
            self._clear_globals(holdings.globals, kept)

    def _own(self, instance: Instance, prepared: Prepared) -> None:
        if prepared.lowered is not None and prepared.lowered.globals:
            globals_ = (instance.raw[name] for name in prepared.lowered.globals.values())
            self._holdings(instance).globals.extend(globals_)

    def disown(self, instance: Instance) -> None:
        # Other instances may still call into this one: its tables are emptied here, and freed with the
        # instance.
        owned: _Owned | None = instance.owned
        if owned is not None:
            if self.here.elsewhere():
                self.orphans.drops.extend(owned.holdings.tables)
                self.orphans.globals.extend(owned.holdings.globals)
            else:
                for handle in owned.holdings.tables:
                    self._raw["drop"](handle)
                self._clear_globals(owned.holdings.globals)
            self.leave_if_idle()

    def _clear_globals(self, globals_: list[RawExtern], kept: Set[int] = frozenset()) -> None:
        """Clear those whose `id` is not among ``kept``."""
        outer = self.nesting[0]
        self.nesting[0] = self.depth + 1  # a signal handler that makes a guest must not have the space move
        try:
            for global_ in [one for one in globals_ if id(one) not in kept]:
                id_ = self.store.global_get(global_)
                if id_:
                    self.store.global_set(global_, 0)
                    self._raw["unpin"](id_)
        finally:
            self.nesting[0] = outer

    def _bury(self) -> None:
        drops, tables, pins, globals_ = self.orphans
        while True:
            if drops:  # before they are freed
                handle = drops[-1]
                del drops[-1]
                self._raw["drop"](handle)
            elif tables:
                handle = tables[-1]
                del tables[-1]
                self._raw["free"](handle)
            elif pins:
                id_ = pins[-1]
                del pins[-1]
                self._raw["unpin"](id_)
            elif globals_:
                count = len(globals_)
                self._clear_globals(globals_)
                del globals_[:count]  # others may have been added
            else:
                break

    def table_operations(self, extern: Extern) -> dict[str, Callable[..., Any]]:
        raw, handle = self._raw, extern.raw
        return {
            "get": lambda index: raw["get"](index, handle),
            "set": lambda index, id_: raw["set"](index, id_, handle),
            "size": lambda: raw["size"](handle),
            "grow": lambda id_, count: raw["grow"](id_, count, handle),
        }


def _reserve(space_ref: Callable[[], LoweredSpace | None], count: int) -> None:
    space = space_ref()
    if space is not None:
        space._reserve(count)


def _settle(space_ref: Callable[[], LoweredSpace | None]) -> bool:
    space = space_ref()
    return space is None or space._settle()


def _close(space_ref: Callable[[], LoweredSpace | None]) -> None:
    space = space_ref()
    if space is not None:
        space.close()


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number
