"""The space of lowered modules: ids in place of externrefs, counted by the companion.

An id lives from the moment Python passes an object to a guest. It is *in flight* until the outermost call
from Python returns; by then either a table slot or a global holds it, or it is released. Ids whose last slot
was cleared are *zombies* and are released at the same moment. So an object dies right after the call in which
its last reference went, whatever Python's or the engine's garbage collector does. In a long call, host
functions release now and then what the frames of the running functions do not hold (`sweep`).

Nothing that can run foreign code (a finalizer, say) happens before the bookkeeping is in order: dead objects
are collected in a list, and dropped last. Signal handlers and Python's collector come in at calls and where
a jump is taken, may call the guest, and may raise, as that of Ctrl-C does. So ids wait in lists of the space,
which stay the same lists, and no call is made between those: what is interrupted goes on the next time. None
comes in between an ``if`` and what follows where it is true (but the body of a ``while`` is jumped to). Where
the records lie is looked up again after each call.
"""

from __future__ import annotations

import ctypes
import functools
import random
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from importlib import resources
from types import CellType
from typing import Any, NamedTuple

from ..engines import NO_LIMITS, Engine, GuestLimits, RawExtern, Store
from ..engines.cells import cells_of, set_cells
from ..engines.release import at_release, new_token
from ..errors import ForgedRefError, TableFullError
from ..passes.externref import COMPANION_MODULE, HELPERS, OPAQUE
from ..real_threads import get_ident
from ..values import I32, NULL, FuncType
from .base import Space
from .instances import Extern, Instance
from .numbers import Numbers
from .prepare import Prepared, prepare
from .styles import LOWERED, PLAIN, Style

__all__ = ["LoweredSpace"]

# The layout of ids and records: c/externref/externref.c.
_INDEX_BITS = 26
_INDEX = (1 << _INDEX_BITS) - 1
_GENERATION = 1 << _INDEX_BITS
_RECORD_WORDS = 4
_FIRST_RESERVE = 1024
_FREE_CHUNK = 1024
_WORD = 0xFFFFFFFF
_LOWEST = -(1 << 31)  # of the signed integers that ids are
_END = 1  # of the zombie list
_NO_MAXIMUM = -1
_FAULT_BOUNDS, _FAULT_FORGED, _FAULT_FRAMES = 1, 2, 3
# The companion's state; calls.py knows these positions too.
_ZOMBIES, _ZOMBIE_COUNT, _FAULT, _FRAMES, _FRAMES_END, _REAPED, _STATUS_WORDS = range(7)
_FEW = 16  # zombies, for which it takes less time to read the list than to call the companion


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
    style = LOWERED
    patience = 1024
    """How many objects may wait in a long call before they are looked at."""

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        super().__init__(engine, limits)
        self.free: list[int] = []  # ids to give out, as signed integers
        self._capacity = 0  # indexes the companion has records for
        self._changes = 0  # how often the records were moved, or the reaped ids taken
        self._made = 1  # indexes that have been given an id; 0 stands for null
        self.holdings: dict[int, _Holdings] = {}  # by their ids, until they are among the orphans
        self.orphans = _Holdings([], [], [], [])
        companion = resources.files("hiwire_py").joinpath("modules/hiwire-externref.wasm").read_bytes()
        prepared = prepare(engine, companion, lasting=True)
        self.waiting: list[int] = []  # zombies that frames hold, or that were just taken
        self.unheld: list[int] = []  # what nothing held when last it was looked at
        self.floor = 0  # entries of `flight` that are arguments of the calls on the way, or older
        self.limit = self.patience  # entries at which to sweep
        self._lasting: list[object] = []
        self._companion = self.store.instantiate(prepared.compiled, {}, self._lasting.append)
        self._raw = {
            e.name: self.store.caller(self._companion[e.name], prepared.module.function_type(e.index))
            for e in prepared.module.exports
            if e.kind == 0
        }
        self._base = self._address()
        self._state = state = self._raw["state"]() // 4
        self._reserve(_FIRST_RESERVE)
        self.status = self.words[state : state + _STATUS_WORDS]
        self.store.watch(self._base + state * 4)
        # The variable ``status`` of functions that Python holds, by their tokens.
        self._bound: weakref.WeakKeyDictionary[Any, dict[str, CellType]] = weakref.WeakKeyDictionary()
        if engine.moves:
            self.mover.lasting.append(self.store.lasting(prepared.compiled, self._companion, lambda made: {}))

    def style_of(self, instance: Instance) -> Style:
        style = LOWERED if instance.lowered or instance.links else PLAIN
        return style.limited if self.timed else style

    # ---- ids

    def _reserve(self, count: int) -> None:
        while count > self._capacity:
            changes = self._changes
            address = self._raw["reserve"](count)
            if not address:
                raise MemoryError(f"no memory for {count} externref ids")
            if self._address() != self._base:
                # Views of the memory are in use everywhere, and would now read what is not theirs.
                self.close()
                raise MemoryError(
                    "the engine moved a memory when it grew; engines must reserve its address space"
                )
            words = self._view()
            if changes == self._changes:  # else a finalizer was here meanwhile, and the records have moved
                self.words, self.records = words, (address & _WORD) // 4
                self._capacity = count
                self._changes = changes + 1

    def _address(self) -> int:
        return self.store.memory_address(self._companion["memory"])

    def _view(self) -> memoryview:
        """The companion's memory as words."""
        size = self.store.memory_size(self._companion["memory"])
        return memoryview((ctypes.c_char * size).from_address(self._base)).cast("B").cast("i")

    def _more_ids(self) -> None:
        while True:
            first = self._made
            last = min(first + _FREE_CHUNK, self._capacity)
            if first == last:
                if self._capacity > _INDEX:
                    raise MemoryError(f"a guest holds {self._capacity} objects, and there are no more ids")
                self._reserve(self._capacity * 2)
            elif first == self._made:  # else a finalizer took them meanwhile
                self._made = last
                break
        # Generations start anywhere, so that a guest cannot guess the ids of objects it was not given.
        for index in range(last - 1, first - 1, -1):
            id_ = random.getrandbits(32 - _INDEX_BITS) << _INDEX_BITS | index
            self.free.append(id_ - (1 << 32) if id_ >> 31 else id_)

    def hold(self, value: Any) -> int:
        if value is NULL:
            return 0
        free = self.free
        if not free:
            self._more_ids()
        id_ = free[-1]
        del free[-1]
        self.objects[id_] = value
        self.words[self.records + (id_ & _INDEX) * _RECORD_WORDS] = id_
        self.flight.append(id_)
        return id_

    def leave(self) -> None:
        status = self.status
        dead: list[Any] = []
        try:
            if self.pending:
                self.pending = False
                self.here.settle()
                self._bury()
                if self.closing:
                    self._drop_everything()
                    return
            if self.flight:
                self._take_unheld(self.flight, dead)
            if status[_ZOMBIE_COUNT] > _FEW:
                self._raw["reap"]()
            if status[_ZOMBIES] != _END:
                self._take_zombies()
            if status[_REAPED]:
                self._take_reaped()
            if self.waiting:
                self._take_unheld(self.waiting, dead)
            if self.unheld:
                self._take_unheld(self.unheld, dead)
        except BaseException:
            self.request_leave()  # the next one goes on with it
            raise
        self.floor = 0
        self.limit = self.patience
        # Here, and not before, a finalizer may call the guest, or come here again through another object's
        # death.
        dead.clear()

    def release_since(self, mark: int) -> None:
        # All calls further out stood still meanwhile, so what was made since cannot be in their locals.
        self.unheld += self.flight[mark:]
        del self.flight[mark:]
        if self.pending:
            self.flight.append(0)
        self._drop_unheld()

    def sweep(self) -> None:
        """In the midst of a guest's call: release what no slot, no global and no frame holds.

        Only what the innermost call brought in is looked at, and what was cleared from slots.
        """
        words, status, flight, floor = self.words, self.status, self.flight, self.floor
        frames = words[(status[_FRAMES] & _WORD) // 4 : (status[_FRAMES_END] & _WORD) // 4].tolist()
        if OPAQUE in frames or self.unsettled:
            self.limit = len(flight) + self.patience
            return
        waiting, unheld = self.waiting, self.unheld
        calls = None
        while calls != self.calls:  # a finalizer's call changes what is looked at here
            calls = self.calls
            self._take_zombies()
            earlier = set(flight[:floor])
            in_frames = set(frames) - earlier
            new = dict.fromkeys(flight[floor:])
            # Cleared from slots by any call, so they may be in the frames of calls further out than this one.
            cleared = dict.fromkeys(waiting)
            kept = [id_ for id_ in new if id_ in in_frames]
            waited = [id_ for id_ in cleared if id_ in in_frames]
            lost = [id_ for id_ in {**new, **cleared} if id_ not in in_frames and id_ not in earlier]
            here, everything = slice(floor, None), slice(None)
        flight[here] = kept
        waiting[everything] = waited
        unheld += lost
        if waiting or self.pending:
            self.pending = True
            flight.append(0)
        # So that sweeps of deep stacks cost no more than the calls.
        self.limit = 2 * len(flight) + self.patience
        self._drop_unheld()

    def _take_zombies(self) -> None:
        """Move the ids whose last slot was cleared to ``waiting``."""
        status, waiting = self.status, self.waiting
        while True:
            zombie = status[_ZOMBIES]
            if zombie != _END:
                words = self.words
                at = self.records + (zombie >> 1) * _RECORD_WORDS
                status[_ZOMBIES] = words[at + 2]
                words[at + 2] = 0
                waiting += (words[at],)
            else:
                break
        status[_ZOMBIE_COUNT] = 0

    def _take_reaped(self) -> None:
        """Move the ids that the companion took out of service to ``unheld``."""
        status, unheld = self.status, self.unheld
        changes = -1
        while changes != self._changes:  # a finalizer may come here too, and move the records
            changes = self._changes
            first = self.records + _RECORD_WORDS - 1
            reaped = self.words[first : first + _RECORD_WORDS * status[_REAPED] : _RECORD_WORDS].tolist()
        unheld += reaped
        status[_REAPED] = 0
        self._changes = changes + 1

    def _take_unheld(self, ids: list[int], dead: list[Any]) -> None:
        """Empty ``ids``, and take those that nothing holds out of service: their objects, for the caller to
        drop, into ``dead``."""
        objects, gone, free = self.objects, self.gone, self.free
        while True:
            if ids:
                id_ = ids[-1]
                del ids[-1]
                words = self.words
                at = self.records + (id_ & _INDEX) * _RECORD_WORDS
                # An id can be both in flight and a zombie: then its record is empty now, or another id's.
                # The cases are told apart without a jump, at which the id could be lost to a signal handler.
                if not words[at + 1] and (id_ in objects) | (id_ in gone):
                    kept = (gone, objects)[id_ in objects]
                    value = kept[id_]
                    del kept[id_]
                    words[at] = 0
                    free.append((id_ + _GENERATION - _LOWEST & _WORD) + _LOWEST)
                    dead.append(value)
            else:
                break
        value = None

    def _drop_unheld(self) -> None:
        dead: list[Any] = []
        self._take_unheld(self.unheld, dead)
        dead.clear()

    def explain(
        self, error: BaseException, name: str, functype: FuncType, args: tuple[Any, ...]
    ) -> tuple[Any, ...] | None:
        self.request_leave()  # a signal may have interrupted what releases: it goes on with that
        return super().explain(error, name, functype, args)

    def fault(self) -> BaseException | str | None:
        why = self.status[_FAULT]
        if not why:
            return None
        self.status[_FAULT] = 0
        if why == _FAULT_FRAMES:
            return "call stack exhausted"
        if why == _FAULT_FORGED:
            return ForgedRefError("the guest stored an externref that it was not given: it forged an id")
        return "out of bounds table access"

    def global_object(self, raw: Any) -> Any:
        return self.objects[raw] if raw else NULL

    def live(self) -> int:
        return len(self.objects)

    def key(self, raw: Any) -> Any:
        return raw or None

    def places(self, keys: Iterable[Any]) -> list[int] | None:
        words, holders = self.words, self.records + 1
        return [words[holders + (key & _INDEX) * _RECORD_WORDS] for key in keys]

    def table_keys(self, instance: Instance) -> list[Numbers]:
        size = self.store.memory_size(self._companion["memory"])
        found = []
        for handle in instance.tables.values():
            # Pointer to the slots, and their number: the first words of a Table in c/externref/externref.c.
            slots, count = (number & _WORD for number in Numbers(self._base + handle, 2, "i").view())
            if slots + 4 * count <= size:
                found.append(Numbers(self._base + slots, count, "i"))
        return found

    def holder_records(self) -> Numbers:
        return Numbers(self._base + 4 * self.records, 4 * self._capacity, "I")

    # ---- instances

    def _import_table(self, instance: Instance, extern: Extern) -> RawExtern | None:
        instance.tables[instance.imported_tables] = extern.raw
        return None

    def _import_reference(self, instance: Instance, value: Any) -> RawExtern:
        outer = self.nesting[0]
        self.nesting[0] = self.depth + 1
        try:
            id_ = self.hold(value)
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

    def bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.engine.moves:
            token = new_token()
            function.__token__ = token  # type: ignore[attr-defined]
            self._bound[token] = cells_of(function, "status")
        return function

    def arrived(self) -> None:
        # The records are where they were, in another memory.
        self._base = self._address()
        self.words = self._view()
        self.status = self.words[self._state : self._state + _STATUS_WORDS]
        self._changes += 1
        for cells in list(self._bound.values()):
            set_cells(cells, status=self.status)
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


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number
