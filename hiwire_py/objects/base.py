"""Spaces: which Python objects guests hold, since when and how long, and how instances link.

Instances that share a handle table, or import from each other, live in one space; others do not meet. A space
keeps the objects its guests hold in a Python dict, where Python's cycle collector sees them; the engine gets
only ids (`lowered`) or tokens (`tokens`).
"""

from __future__ import annotations

import abc
import functools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..checks import check_callable
from ..engines import NO_LIMITS, Engine, GuestLimits, RawExtern, Store
from ..engines.release import at_release
from ..engines.stack import StackEnd
from ..errors import (
    ClosedError,
    DeadlineError,
    ForgedRefError,
    FuelError,
    GuestTrap,
    RefError,
    StaleRefError,
    UnsupportedModuleError,
)
from ..values import CROSSING, EXTERNREF, FuncType, check_value, type_name
from ..wasm.module import FUNCTION, GLOBAL, KINDS, TABLE, Global, Import, TableType
from .calls import Given, bind_host
from .fitting import check_fit, check_sizes, no_fit
from .here import here
from .instances import Extern, Gate, Instance, Missing
from .lifetimes import link
from .moving import Mover
from .numbers import Numbers
from .prepare import Prepared
from .styles import Style

__all__ = ["Space"]


class Space(abc.ABC):
    """Base of the three kinds of space."""

    style: Style

    def __init__(self, engine: Engine, limits: GuestLimits = NO_LIMITS) -> None:
        self.here = here()
        self.here.check("a table or guest cannot be made")
        self.here.spaces.add(self)
        self.engine = engine
        self.limits = limits
        self.store = engine.store(limits)
        self.timed = limits.deadline is not None or limits.fuel is not None
        if self.timed:
            self.style = self.style.limited
        self.functions: weakref.WeakSet[Given] = weakref.WeakSet()  # host functions, each an instance's
        self.objects: dict[Any, Any] = {}
        # The keys of objects that the collector of cycles took out although handles name them still, until
        # those are released: who looks one of them up finds out by the KeyError.
        self.gone: dict[Any, None] = {}
        self.flight: list[Any] = []  # always the same list, as are the other things that calls.py binds
        self.floor = self.limit = 0
        self.status: Any = [0] * 5
        # `depth`, in a list, which is what calls.py can read and write quickest; negative in host functions.
        # It is set back without a call, in which a signal handler could raise.
        self.nesting = [0]
        self.calls = 0  # of those, how many were not the outermost
        self.unsettled = False  # a finalizer's call is on the way, see calls.py
        self.raised: BaseException | None = None  # what a host function raised last; the engine passes it on
        self.thread = self.here.ident
        self.pending = False  # something waits for the outermost call to return
        self.closing = False
        # By their ids, until their instances are gone. Weak references would not do: those to a guest that a
        # finalizer keeps are gone, and closing the space must close it all the same.
        self.gates: dict[int, Gate] = {}
        # As `Gate.held`, for those who come in by no gate. While it is there `objects` must not change.
        self.paused: Callable[[], None] | None = None
        self.mover = Mover()
        self.holders = 0  # instances with externref tables or globals, handle tables among them
        self._ref = weakref.ref(self)
        self.store.on_panic(functools.partial(_close, self._ref))

    @property
    def depth(self) -> int:
        """How many calls from Python into guests of this space have not returned."""
        return abs(self.nesting[0])

    def style_of(self, instance: Instance) -> Style:
        """How the exports of an instance are called."""
        return self.style

    # ---- objects: what the boundary functions of calls.py use

    @abc.abstractmethod
    def hold(self, value: Any) -> Any:
        """The engine's form of an externref for ``value``, which lives at least until the outermost call
        returns."""

    @abc.abstractmethod
    def leave(self) -> None:
        """The outermost call has returned: release what no guest stored."""

    @abc.abstractmethod
    def release_since(self, mark: int) -> None:
        """A nested call has returned: release what was made since ``flight`` had ``mark`` entries, if not
        stored."""

    @abc.abstractmethod
    def fault(self) -> BaseException | str | None:
        """Why the engine's last trap happened, where it was on our account: an exception, or the trap's real
        kind."""

    @abc.abstractmethod
    def global_object(self, raw: Any) -> Any:
        """The object of an externref global's value, as the engine gives it."""

    @abc.abstractmethod
    def live(self) -> int:
        """How many objects the guests of this space hold."""

    # ---- objects: what the collector of cycles asks

    @abc.abstractmethod
    def key(self, raw: Any) -> Any:
        """The key in ``objects`` of an externref in the engine's form; None for the null externref."""

    @abc.abstractmethod
    def places(self, keys: Iterable[Any]) -> list[int] | None:
        """How many table slots and globals of guests hold each object; None where only the engine knows."""

    def table_keys(self, instance: Instance) -> list[Numbers]:
        """The keys in the slots of each externref table of an instance, 0 for null, good until a guest runs.
        Empty where reading a slot takes a call from Python."""
        return []

    def other_keys(self, instance: Instance) -> Sequence[int] | None:
        """The keys in externref tables and globals of all other instances; None if that is not known."""
        return None

    def holder_records(self) -> Numbers:
        """Records of four words for each key, by its low 26 bits; the second word says how many slots and
        globals hold the object. At address 0: there are none."""
        return Numbers(0, 0, "I")

    @property
    def busy(self) -> bool:
        """Whether something is on the way that no other call may come into: a call, or the engine's own
        cleaning up."""
        return self.depth > 0 or self.here.elsewhere()

    def explain(
        self, error: BaseException, name: str, functype: FuncType, args: tuple[Any, ...]
    ) -> tuple[Any, ...] | None:
        """Raise the exception of this package that ``error``, out of a call of ``name``, as in ``f()``,
        stands for.

        Returns:
            None when ``error`` should go on as it is: a host function raised it. Or arguments to call again
            with, when the engine did not take one that is an integer to Python, but not an int.
        """
        self._clear_frames(error)
        raised, self.raised = self.raised, None
        failure = self.store.panic(error)
        if failure is not None:
            raise failure from error
        # Where calls are timed, a trap can also come out of our own calls of a guest's function on the way.
        if error is raised and not (self.timed and self.engine.trap_kind(error)):
            return None
        if isinstance(error, KeyError) and [type(value) for value in error.args] == [int]:
            raise self.missing(error.args[0], f"{name} gave") from None
        if not isinstance(error, Exception):
            return None
        kind = self.engine.trap_kind(error)
        if kind is None:
            types = enumerate(zip(args, functype.params))
            checked = tuple(
                check_value(value, code, f"argument {i + 1} of {name}") for i, (value, code) in types
            )
            changed = any(type(a) is not type(b) for a, b in zip(args, checked))
            return checked if changed and isinstance(error, TypeError) else None
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

    def missing(self, key: Any, what: str) -> RefError:
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

    def request_leave(self) -> None:
        """See to it that `leave` runs when the outermost call returns, and does what is pending."""
        self.pending = True
        self.flight.append(0)  # null: there to be seen, and never released

    def _drop_everything(self) -> None:
        for given in list(self.functions):
            given.function = _closed
        self.flight.clear()
        self.objects.clear()
        self.gone.clear()
        self.here.settle()

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
        raw = {}
        for wanted, value in zip(prepared.module.imports, given):
            extern = self._import(instance, wanted, value)
            if extern is not None:
                raw[wanted.module, wanted.name] = extern
            instance.imported_tables += wanted.kind == TABLE
        try:
            self._add_imports(instance, prepared, raw)
        except StackEnd as error:
            self.explain(error, f"making {what}", FuncType(b"", b""), ())
            raise
        check_sizes(prepared.module, self.limits, what)
        link(instance.lifetime, prepared.module, instance.links)
        module = prepared.module
        self.holders += any(t.element == EXTERNREF for t in module.tables) or any(
            g.type == EXTERNREF for g in module.globals
        )
        outer = self.nesting[0]
        self.nesting[0] = self.depth + 1  # the start function may call host functions
        try:
            if self.timed and self.depth == 1:
                self.store.begin()
            instance.raw = self.store.instantiate(
                prepared.compiled, raw, lambda made: instance.lifetime.hold((made, raw, instance.owned))
            )
        except BaseException as error:
            self.explain(error, f"the start function of {what}", FuncType(b"", b""), ())
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
            others = self._lasting_imports

            def imports(made: Sequence[Mapping[str, RawExtern]]) -> dict[tuple[str, str], RawExtern]:
                found = {key: store.host_function(*host) for key, host in hosts.items()}
                return {**found, **others(store, handles, made)}

            self.mover.lasting.append(store.lasting(instance.prepared.compiled, instance.raw, imports))
            self.mover.gates.append(instance.gate)
            self.mover.complete = True

    @staticmethod
    def _lasting_imports(
        store: Store, handles: Mapping[str, int], made: Sequence[Mapping[str, RawExtern]]
    ) -> dict[tuple[str, str], RawExtern]:
        """What lowering makes a module import, where it is made again."""
        return {}

    def bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """An export's function was made."""
        return function

    def depart(self, lasting: Sequence[Any]) -> None:
        """All instances but the lasting ones, of which these tell, are about to be left behind: release what
        would be held for them."""
        return None

    def arrived(self) -> None:
        """The lasting instances have been moved. What only guests held that were left behind is released when
        a call has returned. May be called again where a signal interrupted it."""
        return None

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
                return self._import_table(instance, extern)
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
            trampoline = bind_host(
                weakref.ref(given), self.style, wanted.type, str(wanted), self.nesting, self.here.inside
            )
            instance.hosts[wanted.module, wanted.name] = trampoline, wanted.type
            return self.store.host_function(trampoline, wanted.type)
        if isinstance(wanted.type, Global) and not wanted.type.mutable:
            code = wanted.type.type
            # A function of a guest, say, is an object like others; that of a global might be meant otherwise.
            if not isinstance(extern, Extern) or (code == EXTERNREF and extern.kind != GLOBAL):
                number = check_value(value, code, f"import {wanted}")
                if code == EXTERNREF:
                    return self._import_reference(instance, number)
                return self.store.constant(code, number)
        raise no_fit(wanted, value)

    @abc.abstractmethod
    def _import_table(self, instance: Instance, extern: Extern) -> RawExtern | None:
        """An externref table of another instance; None where lowering made it a handle."""

    @abc.abstractmethod
    def _import_reference(self, instance: Instance, value: Any) -> RawExtern:
        """An immutable externref global that holds ``value``."""

    @abc.abstractmethod
    def _add_imports(
        self, instance: Instance, prepared: Prepared, raw: dict[tuple[str, str], RawExtern]
    ) -> None:
        """Add what lowering made the module import."""

    def _own(self, instance: Instance, prepared: Prepared) -> None:
        """Arrange for the release of what the instance's tables and globals hold, when the instance is
        gone."""
        return None

    def disown(self, instance: Instance) -> None:
        """The instance is closed: release now what its tables and globals hold, or when the running call
        returns."""
        return None

    @abc.abstractmethod
    def table_operations(self, extern: Extern) -> dict[str, Callable[..., Any]]:
        """get(index), set(index, ref), size() and grow(ref, count) of an externref table, in the engine's
        terms."""


def _forget_gate(space_ref: Callable[[], Space | None], number: int) -> None:
    space = space_ref()
    if space is not None:
        space.gates.pop(number, None)


def _close(space: Callable[[], Space | None]) -> None:
    found = space()
    if found is not None:
        found.close()


def _closed(*args: Any) -> Any:
    raise ClosedError("the guest called a host function, but what stood behind it was closed")
