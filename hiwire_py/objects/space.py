"""Spaces: which Python objects guests hold, since when and how long, and how instances link.

Instances that share a handle table, or import from each other, live in one space; others do not meet. Modules
are lowered before an engine sees them: ids stand in the place of externrefs. A space keeps the objects its
guests hold in a Python dict, id -> object, where Python's cycle collector sees them. How many table slots and
globals hold an id is counted by a module of WebAssembly, the *runtime* of externref lowering
(c/externref/externref.c), of which each space has an instance of its own. What an id is, and how long it
lives, is told in `ids`; here is how calls end, what instances hold, and what becomes of that when they are
gone.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from importlib import resources
from typing import Any, NamedTuple

from ..checks import check_callable
from ..engines import NO_LIMITS, Engine, GuestLimits, Prepared, RawExtern, Store
from ..engines.release import at_release
from ..engines.stack import StackEnd
from ..errors import (
    ClosedError,
    DeadlineError,
    ForgedRefError,
    FuelError,
    GuestTrap,
    MemoryLimitError,
    RefError,
    StaleRefError,
    TableFullError,
    UnsupportedModuleError,
)
from ..passes.externref.code import HELPERS
from ..passes.externref.rewrite import COMPANION_MODULE
from ..real_threads import get_ident
from ..values import CROSSING, EXTERNREF, I32, NULL, FuncType, check_value, type_name
from ..wasm.module import FUNCTION, GLOBAL, KINDS, TABLE, Global, Import, TableType
from .calls import Given, bind_host, bind_raw
from .fitting import check_fit, check_sizes, no_fit
from .here import here
from .ids import new_ids
from .instances import Extern, Gate, Instance, Missing
from .layout import (
    FAULT_FORGED,
    FAULT_FRAMES,
    ID_INDEX,
    RECORD_HOLDERS,
    RECORD_WORDS,
    TABLE_SIZE,
    TABLE_SLOTS,
)
from .lifetimes import link
from .moving import Mover
from .numbers import Numbers

__all__ = ["Space"]

_PAGE = 65536
_ROOM = 64  # pages that the runtime's memory may have, whatever the limit of memories
_FIRST_RESERVE = 1024
_WORD = 0xFFFFFFFF


class _Owned:
    """What an instance's tables and globals hold on to in the runtime.

    When the instance is gone, in whatever thread, this only queues: the space frees the tables when none of
    its guests runs. The token says when that is. A finalizer of this object's own would not do: those of a
    dying cycle run in any order, and others of them may call the guest after it.
    """

    def __init__(self, space: Space) -> None:
        self.holdings = _Holdings([], [], [], [])
        self._token = at_release(functools.partial(_orphan, weakref.ref(space), self.holdings))
        space.holdings[id(self.holdings)] = self.holdings


class _Holdings(NamedTuple):
    """Of an instance, or of those that are gone."""

    drops: list[int]  # tables that are only to be emptied: others may still use them
    tables: list[int]
    pins: list[int]  # ids held by immutable globals
    globals: list[RawExtern]  # mutable externref globals


def _orphan(space_ref: Callable[[], Space | None], holdings: _Holdings) -> None:
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


class Space:
    """Where instances live that can meet, and the objects that they hold. A thread's own.

    Raises:
        EngineUnavailableError: the engine has no such limits.
    """

    patience = 1024
    """How many objects may wait in a long call before they are looked at."""

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        self.here = here()
        self.here.check("a table or guest cannot be made")
        self.here.spaces.add(self)
        self.engine = engine
        self.limits = limits
        self.store = engine.store(limits)
        self.timed = limits.deadline is not None or limits.fuel is not None
        self.functions: weakref.WeakSet[Given] = weakref.WeakSet()  # host functions, each an instance's
        # `depth`, in a list, which is what calls.py can read and write quickest; negative in host functions.
        # It is set back without a call, in which a signal handler could raise.
        self.nesting = [0]
        self.thread = self.here.ident
        self.closing = False
        # By their ids, until their instances are gone. Weak references would not do: those to a guest that a
        # finalizer keeps are gone, and closing the space must close it all the same.
        self.gates: dict[int, Gate] = {}
        # As `Gate.held`, for those who come in by no gate. While it is there `objects` must not change.
        self.paused: Callable[[], None] | None = None
        self.mover = Mover()
        self._ref = weakref.ref(self)
        self.holdings: dict[int, _Holdings] = {}  # by their ids, until they are among the orphans
        self.orphans = _Holdings([], [], [], [])
        self._lasting: list[object] = []
        runtime = resources.files("hiwire_py").joinpath("modules/hiwire-externref.wasm").read_bytes()
        prepared = engine.prepare(runtime, lasting=True)
        self._runtime = self.store.instantiate(prepared, {}, self._lasting.append)
        self._raw = {
            e.name: self.raw_call(self._runtime[e.name], prepared.module.function_type(e.index))
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
        if limits.memory_limit is not None or limits.table_limit is not None:
            self._limit_sizes()
        self.store.watch(self._base + state)
        if engine.moves:
            self.mover.lasting.append(self.store.lasting(prepared, self._runtime, lambda made: {}))

    def _limit_sizes(self) -> None:
        """Have the engine limit memories and tables. The runtime's memory, which has references to objects,
        is one more memory, but not refused by a limit which is less than it needs to begin with."""
        memory = self._runtime["memory"]
        missing = _ROOM - self.store.memory_size(memory) // _PAGE
        if missing > 0 and (self.limits.memory_limit or 0) < _ROOM * _PAGE:
            self.store.memory_grow(memory, missing)  # pages that are not used take no room
        self.store.limit_sizes()

    @property
    def depth(self) -> int:
        """How many calls from Python into guests of this space have not returned."""
        return abs(self.nesting[0])

    # ---- ids

    def _reserve(self, count: int) -> None:
        """Have the runtime make room for so many ids."""
        if not self._raw["reserve"](count):
            raise self._no_room(count)
        if self._address() != self._base:
            # Addresses in the memory are in use everywhere, and would now be of what is not theirs.
            self.close()
            raise MemoryError(
                "the engine moved a memory when it grew; engines must reserve its address space"
            )

    def _no_room(self, count: int) -> MemoryError:
        if self.limits.memory_limit is None:
            return MemoryError(f"no memory for references to {count} objects")
        return MemoryLimitError(
            f"no room for references to {count} objects, which take memory too:"
            f" {self.limits.describe('memory_limit')}"
        )

    def _address(self) -> int:
        return self.store.memory_address(self._runtime["memory"])

    def leave(self) -> None:
        """The outermost call has returned: release what no guest stored."""
        self.ids.release()

    def request_leave(self) -> None:
        """See to it that `leave` runs when the outermost call returns, and does what is pending."""
        self.ids.request()

    def _settle(self) -> bool:
        """Do what is pending. True if the space is closed, so that all objects are to be dropped."""
        self.here.settle()
        self._bury()
        if self.closing:
            for given in list(self.functions):
                given.function = _closed
        return self.closing

    def fault(self) -> BaseException | str | None:
        """Why the engine's last trap happened, where the runtime trapped: an exception, or the trap's real
        kind."""
        why = self.ids.fault()
        if not why:
            return None
        if why == FAULT_FRAMES:
            return "call stack exhausted"
        if why == FAULT_FORGED:
            return ForgedRefError("the guest stored an externref that it was not given: it forged an id")
        return "out of bounds table access"

    def global_object(self, raw: int) -> Any:
        """The object of an externref global's value, as the engine gives it."""
        return self.objects[raw] if raw else NULL

    def live(self) -> int:
        """How many objects the guests of this space hold."""
        return len(self.objects)

    # ---- what the collector of cycles asks

    def places(self, keys: Iterable[int]) -> list[int]:
        """How many table slots and globals of guests hold each object."""
        records = self.holder_records().view()
        return [records[(key & ID_INDEX) * RECORD_WORDS + RECORD_HOLDERS] for key in keys]

    def table_keys(self, instance: Instance) -> list[Numbers]:
        """The ids in the slots of each externref table of an instance, 0 for null; good until a guest
        runs."""
        size = self.store.memory_size(self._runtime["memory"])
        found = []
        for handle in instance.tables.values():
            table = Numbers(self._base + handle, 2, "I").view()
            slots, count = table[TABLE_SLOTS], table[TABLE_SIZE]
            if slots + 4 * count <= size:
                found.append(Numbers(self._base + slots, count, "i"))
        return found

    def holder_records(self) -> Numbers:
        """The records of all ids, by their indexes: see `layout`."""
        return Numbers(self.ids.records, RECORD_WORDS * self.ids.record_count, "I")

    # ---- how calls end

    @property
    def busy(self) -> bool:
        """Whether something is on the way that no other call may come into: a call, or the engine's own
        cleaning up."""
        return self.depth > 0 or self.here.elsewhere()

    def explain(self, error: BaseException, name: str) -> None:
        """Raise the exception of this package that ``error``, out of a call of ``name``, as in ``f()``,
        stands for; return where it should go on as it is."""
        self.request_leave()  # a signal may have interrupted what releases: it goes on with that
        self._clear_frames(error)
        raised = self.here.passed(error)
        failure = self.store.panic(error)
        if failure is not None:
            raise failure from error
        # Where calls are timed, a trap can also come out of our own calls of a guest's function on the way.
        if raised and not (self.timed and self.engine.trap_kind(error)):
            return
        if isinstance(error, KeyError) and [type(value) for value in error.args] == [int]:
            raise self.missing(error.args[0], f"{name} gave") from None
        kind = self.engine.trap_kind(error) if isinstance(error, Exception) else None
        if kind is None:
            return
        fault = self.fault()
        if isinstance(fault, BaseException):
            raise fault from error
        kind = fault or kind
        if kind == "interrupt" and self.limits.deadline is not None:
            limit = self.limits.deadline
            raise DeadlineError(
                f"{name} was stopped: it took longer than its deadline of {limit} s"
            ) from error
        if kind == "out of fuel":
            raise FuelError(
                f"{name} was stopped: it burnt all its fuel, which was {self.limits.fuel}"
            ) from error
        advice = " (infinite recursion?)" if kind == "call stack exhausted" else ""
        raise GuestTrap(f"{name} trapped: {kind}{advice}", kind) from error

    def missing(self, key: int, what: str) -> RefError:
        """The exception for an externref that names no object.

        Args:
            what: who came with it, as in ``"f() gave"``.
        """
        if key in self.gone:
            return StaleRefError(
                f"{what} an object that was collected: its handle is in a struct whose wrapper is dead, and"
                " only good for being released"
            )
        return ForgedRefError(
            f"{what} the externref {key & 0xFFFFFFFF:#x}, but the guest was given no such object", key
        )

    def close(self) -> None:
        """Let no one in any more, and drop all objects: now, or when the running call returns."""
        self.closing = True
        if self.paused is not None:
            self.paused()
        for gate in list(self.gates.values()):
            gate.owner = None
        self.request_leave()
        self.leave_if_idle()

    def collect(self) -> None:
        """Release what no guest holds any more, if no call is on its way."""
        if self.paused is not None:
            self.paused()
        self.leave_if_idle()

    def leave_if_idle(self) -> None:
        """Release what can be released, or where a call is on the way, see to it that this is done after
        it."""
        if self.depth:
            return
        if self.here.elsewhere():
            self.here.put_off(self)
        else:
            self.leave()

    def _clear_frames(self, error: BaseException) -> None:
        """Frames of the engine's binding, in the traceback, hold arguments, and an exception that one of them
        raised itself: the arguments would live until Python's collector comes by."""
        traceback, binding = error.__traceback__, self.engine.binding
        ours = False
        while traceback is not None:
            frame = traceback.tb_frame
            module = frame.f_globals.get("__name__", "")
            # The binding's own context managers, but not those of host functions, which come later.
            ours = module.startswith(binding) or (ours and module == "contextlib")
            if ours or module == type(self.engine).__module__:
                frame.clear()
            traceback = traceback.tb_next

    # ---- instances

    def instantiate(
        self, prepared: Prepared, imports: Callable[[Import], Any], gate: Gate, what: str
    ) -> Instance:
        """Make an instance.

        Args:
            prepared: the module, of this space's engine.
            imports: for each import what to give: a Python callable, an `Extern`, a number for an immutable
                global. `Missing` says that there is none.
            gate: for the instance's functions.
            what: names the module in errors.

        Raises:
            UnsupportedModuleError: imports are missing or do not fit.
        """
        if self.paused is not None:
            self.paused()
        if self.here.inside[0]:
            self.here.check(f"{what} cannot be instantiated")
        self.mover.make_room(self, what)
        if self.closing:  # perhaps by a finalizer, just now
            raise ClosedError(f"{what} cannot be added: the table or guest it shares is closed")
        instance = Instance(self, prepared, gate)
        # By its id, since a gate can lead to the space, which what waits for its own end must not hold.
        instance.token = at_release(functools.partial(_forget_gate, self._ref, id(gate)))
        self.gates[id(gate)] = gate
        missing: list[str] = []
        advice: dict[str, None] = {}
        given: list[Any] = []
        for wanted in prepared.module.imports:
            try:
                given.append(imports(wanted))
            except Missing as error:
                missing.append(
                    f"{KINDS[wanted.kind]} {wanted}{wanted.type if wanted.kind == FUNCTION else ''}"
                )
                advice |= dict.fromkeys(map(str, error.args))
        if missing:
            told = "; ".join([f"{what} imports what it was not given: {', '.join(missing)}", *advice])
            raise UnsupportedModuleError(told)
        check_sizes(prepared.module, self.limits, what)
        raw = {}
        for wanted, value in zip(prepared.module.imports, given):
            extern = self._import(instance, wanted, value)
            if extern is not None:
                raw[wanted.module, wanted.name] = extern
            instance.imported_tables += wanted.kind == TABLE
        try:
            self._add_imports(instance, prepared, raw)
        except StackEnd as error:
            self.explain(error, f"making {what}")
            raise
        link(instance.lifetime, prepared.module, instance.links)
        outer = self.nesting[0]
        self.nesting[0] = self.depth + 1  # the start function may call host functions
        try:
            if self.timed and self.depth == 1:
                self.store.begin()
            instance.raw = self.store.instantiate(
                prepared, raw, lambda made: instance.lifetime.hold((made, raw, instance.owned))
            )
        except BaseException as error:
            self.explain(error, f"the start function of {what}")
            if self.engine.is_link_error(error):
                raise UnsupportedModuleError(
                    f"{what} cannot be linked: {' '.join(str(error).split())}"
                ) from error
            raise
        finally:
            self.nesting[0] = outer
            if not outer:
                if self.timed:
                    self.store.end()
                self.leave()
        self._own(instance, prepared)
        if instance.owned is not None:
            instance.lifetime.hold(instance.owned)
        return instance

    # ---- moving to another store: see moving.py

    def last(self, instance: Instance) -> None:
        """The instance, of a module prepared as lasting, outlives all that come after it."""
        if self.engine.moves:
            store, hosts, handles = self.store, instance.hosts, instance.handles
            others = _lasting_imports

            def imports(made: Sequence[Mapping[str, RawExtern]]) -> dict[tuple[str, str], RawExtern]:
                found = {key: store.host_function(*host) for key, host in hosts.items()}
                return {**found, **others(store, handles, made)}

            self.mover.lasting.append(store.lasting(instance.prepared, instance.raw, imports))
            self.mover.gates.append(instance.gate)
            self.mover.complete = True

    def arrived(self) -> None:
        """The lasting instances have been moved. What only guests held that were left behind is released when
        a call has returned. May be called again where a signal interrupted it."""
        self._base = self._address()
        self.ids.moved(self._base)
        lasting = {id(extern) for one in self.mover.lasting for extern in one.raw.values()}
        # Orphans last: they may have become so just now, on another thread.
        for holdings in (*self.holdings.values(), self.orphans):
            held = holdings.globals
            held[:] = [global_ for global_ in held if id(global_) in lasting]

    def depart(self, lasting: Sequence[Any]) -> None:
        """All instances but the lasting ones, of which these tell, are about to be left behind: release what
        would be held for them."""
        kept = {id(extern) for one in lasting for extern in one.raw.values()}
        for holdings in list(self.holdings.values()):
            self._clear_globals(holdings.globals, kept)

    # ---- imports, and what instances own

    def raw_call(self, function: RawExtern, functype: FuncType) -> Callable[..., Any]:
        """What calls an export as the engine does it: for this package's own functions."""
        return bind_raw(self.store.call(function, functype), functype)

    def _import(self, instance: Instance, wanted: Import, value: Any) -> RawExtern | None:
        extern = getattr(value, "__keep__", value)
        if isinstance(extern, Extern) and extern.kind == wanted.kind and extern.space is self:
            check_fit(wanted, extern)
            instance.links.append((wanted.type, extern.owner.lifetime))
            if (
                wanted.kind == TABLE
                and isinstance(extern.type, TableType)
                and extern.type.element == EXTERNREF
            ):
                instance.tables[instance.imported_tables] = extern.raw
                return None  # it was lowered: its instructions have the table's handle
            return extern.raw
        if wanted.kind == FUNCTION:
            assert isinstance(wanted.type, FuncType)
            check_callable(value, f"import {wanted}{wanted.type}")
            for code in wanted.type.params + wanted.type.results:
                if code not in CROSSING:
                    raise UnsupportedModuleError(
                        f"import {wanted}{wanted.type} cannot be a Python function: {type_name(code)} cannot"
                        " cross between Python and the guest; a function that another guest of the same space"
                        " exports fits"
                    )
            given = Given(self, value)
            self.functions.add(given)
            instance.lifetime.hold(given)
            form = self.store.host_form(wanted.type)
            function = bind_host(weakref.ref(given), wanted.type, form, str(wanted), self.nesting, self.here)
            instance.hosts[wanted.module, wanted.name] = function, wanted.type
            return self.store.host_function(function, wanted.type)
        if isinstance(wanted.type, Global) and not wanted.type.mutable:
            code = wanted.type.type
            # A function of a guest, say, is an object like others; that of a global might be meant otherwise.
            if not isinstance(extern, Extern) or (code == EXTERNREF and extern.kind != GLOBAL):
                number = check_value(value, code, f"import {wanted}")
                if code == EXTERNREF:
                    return self._import_reference(instance, number)
                return self.store.constant(code, number)
        raise no_fit(wanted, value)

    def _import_reference(self, instance: Instance, value: Any) -> RawExtern:
        """An immutable externref global that holds ``value``."""
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
        """Add what lowering made the module import."""
        if prepared.lowered is None:
            return
        for helper in HELPERS:
            raw[COMPANION_MODULE, helper] = self._runtime[helper]
        for wanted in prepared.lowered.handles:
            limits, table = wanted.limits, wanted.table
            handle = instance.tables.get(table) if table is not None else None
            if handle is None:
                # A hidden table of a segment never grows, and is not what table_limit is about.
                most = self.limits.table_limit if table is not None else None
                maximum = min(limit for limit in (limits.maximum, most, _WORD) if limit is not None)
                handle = self._raw["table"](_signed(limits.minimum), _signed(maximum))
                if not handle:
                    raise TableFullError(f"no memory for a table of {limits.minimum} externrefs")
                self._holdings(instance).tables.append(handle)
                if table is not None:
                    instance.tables[table] = handle
            instance.handles[wanted.name] = handle
            raw[COMPANION_MODULE, wanted.name] = self.store.constant(I32, handle)
        instance.lifetime.hold(self._lasting)

    def _own(self, instance: Instance, prepared: Prepared) -> None:
        """Arrange for the release of what the instance's globals hold, when the instance is gone."""
        if prepared.lowered is not None and prepared.lowered.globals:
            globals_ = (instance.raw[name] for name in prepared.lowered.globals.values())
            self._holdings(instance).globals.extend(globals_)

    def disown(self, instance: Instance) -> None:
        """The instance is closed: release now what its tables and globals hold, or when the running call
        returns."""
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
        """get(index), set(index, id), size() and grow(id, count) -> old size or -1, of an externref table."""
        raw, handle = self._raw, extern.raw
        return {
            "get": lambda index: raw["get"](index, handle),
            "set": lambda index, id_: raw["set"](index, id_, handle),
            "size": lambda: raw["size"](handle),
            "grow": lambda id_, count: raw["grow"](id_, count, handle),
        }


def _lasting_imports(
    store: Store, handles: Mapping[str, int], made: Sequence[Mapping[str, RawExtern]]
) -> dict[tuple[str, str], RawExtern]:
    """What lowering makes a module import, where it is made again."""
    runtime = made[0]
    found = {(COMPANION_MODULE, helper): runtime[helper] for helper in HELPERS}
    for name, handle in handles.items():
        found[COMPANION_MODULE, name] = store.constant(I32, handle)
    return found


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def _forget_gate(space_ref: Callable[[], Space | None], number: int) -> None:
    space = space_ref()
    if space is not None:
        space.gates.pop(number, None)


def _reserve(space_ref: Callable[[], Space | None], count: int) -> None:
    space = space_ref()
    if space is not None:
        space._reserve(count)


def _settle(space_ref: Callable[[], Space | None]) -> bool:
    space = space_ref()
    return space is None or space._settle()


def _close(space: Callable[[], Space | None]) -> None:
    found = space()
    if found is not None:
        found.close()


def _closed(*args: Any) -> Any:
    raise ClosedError("the guest called a host function, but what stood behind it was closed")
