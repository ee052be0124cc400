"""What hiwire_py asks of an engine. One module beside this one implements it for each engine."""

from __future__ import annotations

import abc
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import EngineUnavailableError, HiwireError
from ..requirements import Code, Requirements
from ..values import FuncType
from .calls import Call, HostForm, plain_host_form
from .limits import GuestLimits

__all__ = ["NO_LIMITS", "Engine", "Imports", "RawExtern", "Store"]

NO_LIMITS = GuestLimits()

RawExtern: TypeAlias = Any
"""A function, memory, table or global in the engine's own form."""

Imports: TypeAlias = Mapping[tuple[str, str], RawExtern]


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
        self, compiled: Any, imports: Imports, keep: Callable[[object], None]
    ) -> Mapping[str, RawExtern]:
        """Instantiate, run the start function, and give the exports.

        Args:
            compiled: the module, as `Engine.compile` gave it.
            imports: what it imports. Whatever the engine needs of that is the caller's to keep alive.
            keep: called, where the store does not keep instances itself, with what must stay as long as
                functions of the instance can be called. That is before any code runs and any segment is
                written: those may put functions into others' tables, and trap after that.

        Raises:
            the engine's own exceptions; `trap_kind` tells a trap from the rest.
        """

    def lasting(
        self,
        compiled: Any,
        raw: Mapping[str, RawExtern],
        imports: Callable[[Sequence[Mapping[str, RawExtern]]], Imports],
    ) -> Any:
        """An instance that was just made, with what it takes to move it. Only for engines that move.

        Args:
            compiled: its module, with its `State`.
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


class Engine(abc.ABC):
    """An engine as one thread uses it.

    Attributes:
        name: as the public functions take it.
        binding: the name of the Python package that drives it.
        requires: what the modules that it compiles must be like.
        prepared: modules that were prepared for it, by their contents: see objects/prepare.py.
        capabilities: the limits it has, by the names of `GuestLimits`.
        cached_modules: how many compiled modules are kept for modules of the same bytes; None: all.
        moves: whether its stores free nothing before they are freed themselves, and so can be left for
            others: see `wasmtime.moving`.
    """

    name: str
    binding: str
    requires: Requirements
    capabilities: frozenset[str] = frozenset()
    cached_modules: int | None = 64
    moves = False

    def __init__(self) -> None:
        self.prepared: OrderedDict[bytes, Any] = OrderedDict()

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

    def configuration(self) -> Any:
        """What decides, besides the module, the processor and the code of this package, what `compile` gives,
        as JSON can write it; None: it cannot be kept on disk."""
        return None

    def serialize(self, compiled: Any) -> tuple[bytes | bytearray, Any]:
        """What `compile` gave, as bytes, and what belongs to it as JSON can write it."""
        raise NotImplementedError

    def deserialize(self, contents: bytes, notes: Any) -> Any:
        """What `serialize` was given, in this process or an earlier one of this user: it is trusted.

        Raises:
            CacheError: the engine does not take it, or a part of it is gone.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def store(self, limits: GuestLimits = NO_LIMITS) -> Store:
        """A store for a new space. ``limits`` are some that `limited` was asked for."""

    @abc.abstractmethod
    def compile(self, code: Code) -> Any:
        """The compiled module.

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
