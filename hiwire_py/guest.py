"""Class Guest: a WebAssembly module, its imports, its exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .engines import GuestLimits, get_engine
from .exports import Exports
from .hiwire import Hiwire
from .interface import INITIALIZE, check_exports
from .memory import GuestMemory
from .objects import Extern, Instance, Missing, Space, ThreadGuard, instantiate, new_space, prepare
from .resources import Closing
from .sources import WasmSource, read_wasm
from .wasm.module import MEMORY, Import

__all__ = ["Guest"]


class Guest(Closing):
    """An instance of a WebAssembly module whose functions take and give Python objects.

    Externrefs are Python objects on this side; the null externref is ``hiwire_py.NULL``, and None is an
    ordinary object. Integers come back signed, as WebAssembly's integers have no sign of their own; both
    forms are taken.

    A guest belongs to the thread that made it. It ends when it is closed or no longer used; then it lets go
    of all objects it holds. An object may hold its own guest: Python's cycle collector sees through both.

    Args:
        wasm: the module's bytes, or the path of its file.
        imports: module name -> name -> what to import: for a function a callable (its WebAssembly type is
            read from the module), for a memory, table or global an export of another guest, for an immutable
            global also its value. What the module does not import is not looked at. All exports of a guest
            make such a mapping: ``{"env": other.exports}``. Functions, memories, tables and globals of
            another guest are linked without passing through Python if that guest is in the same space: the
            first guest or table found in ``imports`` decides on the space.
        engine: one of the names that `engines` lists. None: that of ``hiwire``, or of another guest among the
            imports, or the default.
        hiwire: a table to share. Its functions serve as imports ``hiwire_*`` of the modules ``env`` and
            ``hiwire``, unless ``imports`` has others.
        memory_limit: bytes that each memory may have. A module that asks for more at the start, and growth by
            Python, raise MemoryLimitError; to the guest's own ``memory.grow`` the answer is -1, as
            WebAssembly has it. What externrefs are held in counts as one more memory, of 4 MiB at least.
        table_limit: the same for the elements of each table, and TableLimitError.
        deadline: seconds that each call from outside may take, counting the host functions it calls; then it
            is stopped in the guest, within some hundredths of a second, and DeadlineError is raised. A host
            function is not stopped. Nor is one instruction, and it can fill, copy or grow a whole memory or
            table: so with a deadline ``memory_limit`` is 256 MiB and ``table_limit`` 4,194,304 unless they
            are given, which keeps each below a second.
        fuel: what each call from outside may burn, about one for each instruction; then FuelError. Unlike a
            deadline it does not depend on the machine. It brings the same limits of memory and tables. Guests
            that link with each other share all limits: those of the first.

    Raises:
        EngineUnavailableError: the engine is unknown or not installed, or has no such limits.
        GuestLimitError: the module asks for more than the limits allow, or its start function reached one.
        UnsupportedModuleError: the module is malformed or invalid, uses what is not supported, or lacks
            imports.
        GuestTrap: its start function trapped.
        TypeError: an argument, or what an import is given, is of the wrong kind. A coroutine function is no
            host function.
    """

    def __init__(
        self,
        wasm: WasmSource,
        imports: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        engine: str | None = None,
        hiwire: Hiwire | None = None,
        memory_limit: int | None = None,
        table_limit: int | None = None,
        deadline: float | None = None,
        fuel: int | None = None,
    ) -> None:
        limits = GuestLimits(memory_limit, table_limit, deadline, fuel)
        data, what = read_wasm(wasm)
        imports = {} if imports is None else imports
        _check_imports(imports)
        if hiwire is not None and not isinstance(hiwire, Hiwire):
            raise TypeError(f"hiwire must be a table, a Hiwire, not {type(hiwire).__name__}")
        shared = _shared_space(imports, hiwire)
        if shared is None:
            space = new_space(engine, limits)
        elif limits.names:
            raise ValueError(
                f"{', '.join(limits.names)}: limits are those of a space, and this guest shares another's;"
                " give them to the guest or table that it shares"
            )
        elif engine is not None and get_engine(engine).name != shared.engine.name:
            raise ValueError(
                f"the guest shares a space on {shared.engine.name}, so it cannot run on {engine}"
            )
        else:
            space = shared
        self._guard = ThreadGuard("guest")
        self.table = hiwire
        """The handle table that the guest was given, or None."""
        self.wrapped: Any = None  # the guest's objects that have wrappers: `collect` fills it in
        self._owns_space = shared is None

        def find(wanted: Import) -> Any:
            module = imports.get(wanted.module, {})
            if wanted.name in module:
                return module[wanted.name]
            if wanted.module not in ("env", "hiwire") or not wanted.name.startswith("hiwire_"):
                raise Missing
            if hiwire is None:
                raise Missing("its hiwire functions come from a table: pass hiwire=Hiwire()")
            if wanted.name not in hiwire.exports:
                raise Missing(f"{hiwire!r} has no {wanted.name}: build its module with the option for it")
            return hiwire.exports[wanted.name]

        prepared = prepare(space.engine, data)
        check_exports(what, "reactor", prepared.module, {}, INITIALIZE)
        self._instance = instantiate(space, prepared, find, self._guard, what)
        self.exports = Exports(self._instance)
        if "_initialize" in self._instance.index:
            self.exports["_initialize"]()

    @property
    def memory(self) -> GuestMemory:
        """The guest's memory: the export ``memory``, else its first exported memory.

        Raises:
            AttributeError: the guest exports no memory.
        """
        names = [name for name, (kind, _) in self._instance.index.items() if kind == MEMORY]
        if not names:
            raise AttributeError("the guest exports no memory")
        memory: GuestMemory = self.exports["memory" if "memory" in names else names[0]]
        return memory

    @property
    def instance(self) -> Instance:
        """What stands behind the guest."""
        return self._instance

    def collect(self) -> None:
        """Release objects that the guest does not hold any more.

        This happens by itself whenever a call from outside has returned; there is nothing to call it for in
        between.
        """
        self._guard.check()
        self._instance.space.calls.collect()

    def close(self) -> None:
        """Let go of all objects: now, or when the running call returns. Later calls raise ClosedError.
        Idempotent."""
        if self._guard.owner is None:
            return
        self._guard.check()
        if self._owns_space:
            self._instance.space.calls.close()
        else:
            self._instance.close()

    def __repr__(self) -> str:
        state = "closed " if self._guard.owner is None else ""
        return f"<{state}Guest on {self._instance.space.engine.name}, {len(self._instance.index)} exports>"


def _check_imports(imports: object) -> None:
    wanted = 'a mapping of module names to mappings, as in {"env": {"name": function}}'
    if not isinstance(imports, Mapping):
        raise TypeError(f"imports must be {wanted}, not {type(imports).__name__}")
    for name, module in imports.items():
        if not isinstance(module, Mapping):
            raise TypeError(f"imports must be {wanted}; for {name!r} it has {type(module).__name__}")


def _shared_space(imports: Mapping[str, Mapping[str, Any]], hiwire: Hiwire | None) -> Space | None:
    if hiwire is not None:
        return hiwire.space
    for module in imports.values():
        if isinstance(module, Exports):  # all of one guest, and there may be thousands
            if len(module):
                return module.__instance__.space
            continue
        for value in module.values():
            extern = getattr(value, "__keep__", value)
            if isinstance(extern, Extern):
                return extern.space
    return None
