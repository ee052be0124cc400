"""What hiwire_py asks of an engine. One module beside this one implements it for each engine."""

from __future__ import annotations

import abc
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import EngineUnavailableError, HiwireError
from ..passes import Lowered, Module, lower_module, module_needs_lowering, refuse_lowered
from ..values import FuncType
from . import stack
from .calls import Call, HostForm, plain_host_form
from .limits import GuestLimits

__all__ = ["NO_LIMITS", "Engine", "Imports", "Prepared", "RawExtern", "Store"]

NO_LIMITS = GuestLimits()

RawExtern: TypeAlias = Any
"""A function, memory, table or global in the engine's own form."""

Imports: TypeAlias = Mapping[tuple[str, str], RawExtern]


@dataclass(frozen=True)
class Prepared:
    """A module ready to be instantiated: what it declares, its compiled form, and how it was lowered, if it
    was."""

    module: Module
    compiled: Any
    lowered: Lowered | None


class Store(abc.ABC):
    """Where the instances of one space live. Used by one thread only.

    Attributes:
        made: how many instances it holds that are freed with the store only. 0 where each is freed by itself.
    """

    made = 0

    def panic(self, error: BaseException) -> HiwireError | None:
        """What to raise in place of ``error`` if the engine itself failed; the space is closed then."""
        return None

    def on_panic(self, close: Callable[[], None]) -> None:
        """``close`` is called when the engine itself fails, and must not be used any more."""
        return None

    def begin(self) -> None:
        """A call from outside begins: its deadline and its fuel count from now on. Only called where limits
        are set."""
        raise NotImplementedError

    def end(self) -> None:
        """The call has returned; until the next one nothing counts."""
        raise NotImplementedError

    def limit_sizes(self) -> None:
        """From now on the limits of memories and tables hold. Only called where limits are set, after the
        runtime of lowered modules was made, whose memory has a bound of its own."""
        raise NotImplementedError

    @abc.abstractmethod
    def instantiate(
        self, prepared: Prepared, imports: Imports, keep: Callable[[object], None]
    ) -> Mapping[str, RawExtern]:
        """Instantiate, run the start function, and give the exports.

        Args:
            prepared: the module.
            imports: what it imports. Whatever the engine needs of that is the caller's to keep alive.
            keep: called, where the store does not keep instances itself, with what must stay as long as
                functions of the instance can be called. That is before any code runs and any segment is
                written: those may put functions into others' tables, and trap after that.

        Raises:
            the engine's own exceptions; `trap_kind` tells a trap from the rest.
        """

    def lasting(
        self,
        prepared: Prepared,
        raw: Mapping[str, RawExtern],
        imports: Callable[[Sequence[Mapping[str, RawExtern]]], Imports],
    ) -> Any:
        """An instance that was just made, with what it takes to move it. Only for engines that move.

        Args:
            prepared: its module, as lasting.
            raw: its exports.
            imports: gives what it imports, for the exports of the instances that are moved before it.
        """
        raise NotImplementedError

    def move(self, lasting: Sequence[Any]) -> Any:
        """Move these instances to another store: see `wasmtime.moving.Move`."""
        raise NotImplementedError

    def host_form(self, functype: FuncType) -> HostForm:
        """How the engine calls host functions of a type, as it is before lowering."""
        return plain_host_form(functype)

    @abc.abstractmethod
    def host_function(self, function: Callable[..., Any], functype: FuncType) -> RawExtern:
        """A function to import, which is called as `host_form` says."""

    @abc.abstractmethod
    def constant(self, code: int, value: Any, mutable: bool = False) -> RawExtern:
        """A new global of the value type ``code``."""

    @abc.abstractmethod
    def call(self, function: RawExtern, functype: FuncType) -> Call:
        """How an exported function is called.

        Args:
            function: the export.
            functype: its type before lowering.
        """

    @abc.abstractmethod
    def memory_size(self, memory: RawExtern) -> int:
        """The size in bytes."""

    @abc.abstractmethod
    def memory_address(self, memory: RawExtern) -> int:
        """Where the memory begins in this process. Good until the memory grows or is freed."""

    @abc.abstractmethod
    def memory_grow(self, memory: RawExtern, pages: int) -> bool:
        """Grow by ``pages`` of 65,536 bytes; False when the engine refuses."""

    @abc.abstractmethod
    def global_get(self, global_: RawExtern) -> Any:
        """The value of a global."""

    @abc.abstractmethod
    def global_set(self, global_: RawExtern, value: Any) -> None:
        """Set a mutable global."""

    def watch(self, address: int) -> None:
        """The 32-bit number at ``address`` is 1 when a call leaves nothing to do. For engines that look."""
        return None


class Engine(abc.ABC):
    """An engine as one thread uses it.

    Attributes:
        name: as the public functions take it.
        binding: the name of the Python package that drives it.
        capabilities: the limits it has, by the names of `GuestLimits`.
        cached_modules: how many compiled modules are kept for modules of the same bytes; None: all.
        moves: whether its stores free nothing before they are freed themselves, and so can be left for
            others: see `wasmtime.moving`.
    """

    name: str
    binding: str
    capabilities: frozenset[str] = frozenset()
    cached_modules: int | None = 64
    moves = False

    def __init__(self) -> None:
        self._prepared: OrderedDict[bytes, Prepared] = OrderedDict()

    def prepare(self, wasm: bytes, lasting: bool = False) -> Prepared:
        """Parse, validate, lower where needed, and compile; the same bytes are compiled once.

        Args:
            wasm: the module.
            lasting: other instances in the store come and go, while this one stays; the engine may have to
                move it.

        Raises:
            EngineUnavailableError: the thread's stack is too small for this engine.
            RecursionError: too little of it is left.
            UnsupportedModuleError: the module is malformed, invalid, or uses features that are not handled
                here.
        """
        stack.require(self.name)
        lasting = lasting and self.moves
        key = hashlib.blake2b(wasm, digest_size=32).digest() + bytes((lasting,))
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._prepared[key] = self._prepare(wasm, lasting)
            if self.cached_modules is not None and len(self._prepared) > self.cached_modules:
                self._prepared.popitem(last=False)
        else:
            self._prepared.move_to_end(key)
        return prepared

    def _prepare(self, wasm: bytes, lasting: bool) -> Prepared:
        module = Module.parse(wasm)
        refuse_lowered(module)
        if not module_needs_lowering(module):
            return Prepared(module, self.compile(wasm, lasting), None)
        self.validate(wasm)
        lowered = lower_module(module)
        return Prepared(module, self.compile(lowered.wasm, lasting), lowered)

    def limited(self, limits: GuestLimits) -> Engine:
        """The engine to use where ``limits`` are set: itself, or one that compiles differently.

        Raises:
            EngineUnavailableError: it has no such limits.
        """
        missing = [name for name in limits.names if name not in self.capabilities]
        if missing:
            raise EngineUnavailableError(
                f"the engine {self.name!r} has no {', '.join(missing)};"
                ' an engine that has all limits is wasmtime: engine="wasmtime"'
            )
        return self

    @abc.abstractmethod
    def store(self, limits: GuestLimits = NO_LIMITS) -> Store:
        """A store for a new space. ``limits`` are some that `limited` was asked for."""

    @abc.abstractmethod
    def compile(self, wasm: bytes, lasting: bool = False) -> Any:
        """The compiled module; for ``lasting`` see `prepare`.

        Raises:
            UnsupportedModuleError: the module is not valid for this engine; the message is the engine's.
        """

    @abc.abstractmethod
    def validate(self, wasm: bytes) -> None:
        """Raise UnsupportedModuleError unless the module is valid."""

    @abc.abstractmethod
    def trap_kind(self, error: BaseException) -> str | None:
        """The short name of the trap that ``error`` reports, as in the specification's tests; None if it is
        none."""

    @abc.abstractmethod
    def is_link_error(self, error: BaseException) -> bool:
        """Whether ``error``, out of `Store.instantiate`, says that imports do not fit."""
