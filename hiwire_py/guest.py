"""Class Guest: a WebAssembly module, its imports, its exports."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any

from .closing import Closing
from .engines import GuestLimits, get_engine
from .errors import HiwireError, MemoryLimitError, TableLimitError
from .hiwire import Hiwire
from .lowering.module import FUNCTION, GLOBAL, MEMORY, TABLE, Import, TableType
from .sources import WasmSource, read_wasm
from .space import Extern, Gate, Instance, Space, new_space
from .space.calls import bind_export
from .values import EXTERNREF, I32, FuncType, check_value

__all__ = ["Exports", "Guest", "GuestGlobal", "GuestMemory", "GuestTable"]

_PAGE = 65536


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
            global also its value. What the module does not import is not looked at. Functions, memories,
            tables and globals of another guest are linked without passing through Python if that guest is in
                the same space: the first guest or table
            found in ``imports`` decides on the space.
        engine: one of the names that `engines` lists. None: that of ``hiwire``, or of another guest among the
            imports, or the default.
        hiwire: a table to share. Its functions serve as imports ``hiwire_*`` of the modules ``env`` and
            ``hiwire``, unless ``imports`` has others.
        memory_limit: bytes that each memory may have. A module that asks for more at the start, and growth by
            Python, raise MemoryLimitError; to the guest's own ``memory.grow`` the answer is -1, as
            WebAssembly has it. What the engine needs to keep track of externrefs counts like one more memory.
        table_limit: the same for the elements of each table, and TableLimitError.
        deadline: seconds that each call from outside may take, counting the host functions it calls; then it
            is stopped in the guest, within some hundredths of a second, and DeadlineError is raised. A host
            function is not stopped.
        fuel: what each call from outside may burn, about one for each instruction; then FuelError. Unlike a
            deadline it does not depend on the machine. Guests that link with each other share all limits:
            those of the first.

    Raises:
        EngineUnavailableError: the engine is unknown or not installed, or has no such limits.
        GuestLimitError: the module asks for more than the limits allow, or its start function reached one.
        UnsupportedModuleError: the module is malformed or invalid, uses what is not supported, or lacks
            imports.
        GuestTrap: its start function trapped.
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
        self._gate = Gate("guest")
        self.table = hiwire
        """The handle table that the guest was given, or None."""
        self.wrapped: Any = None  # the guest's objects that have wrappers: `collect` fills it in
        self._owns_space = shared is None
        tables = {} if hiwire is None else hiwire.exports

        def find(wanted: Import) -> Any:
            module = imports.get(wanted.module, {})
            if wanted.name in module:
                return module[wanted.name]
            if wanted.module in ("env", "hiwire"):
                return tables[wanted.name]
            raise LookupError(wanted.name)

        prepared = space.engine.prepare(data)
        self._instance = space.instantiate(prepared, find, self._gate, what)
        self.exports = Exports(self._instance)
        if "_initialize" in self._instance.index:
            # A reactor: constructors run once, here (WASI application ABI).
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
        self._gate.check()
        self._instance.space.collect()

    def close(self) -> None:
        """Let go of all objects: now, or when the running call returns. Later calls raise ClosedError.
        Idempotent."""
        if self._gate.owner is None:
            return
        self._gate.check()
        if self._owns_space:
            self._instance.space.close()
        else:
            self._gate.owner = None
            self._instance.space.disown(self._instance)

    def __repr__(self) -> str:
        state = "closed " if self._gate.owner is None else ""
        return f"<{state}Guest on {self._instance.space.engine.name}, {len(self._instance.index)} exports>"


def _shared_space(imports: Mapping[str, Mapping[str, Any]], hiwire: Hiwire | None) -> Space | None:
    if hiwire is not None:
        return hiwire.space
    for module in imports.values():
        for value in module.values():
            extern = getattr(value, "__keep__", value)
            if isinstance(extern, Extern):
                return extern.space
    return None


class Exports:
    """A guest's exports as attributes and as items; functions as Python functions."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._instance.index:
            known = ", ".join(sorted(self._instance.index)) or "nothing"
            raise AttributeError(f"the guest does not export {name!r}; it exports {known}")
        value = self._make(name)
        self.__dict__[name] = value  # the next access finds it without coming here
        return value

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as e:
            raise KeyError(str(e)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._instance.index)

    def __len__(self) -> int:
        return len(self._instance.index)

    def __contains__(self, name: object) -> bool:
        return name in self._instance.index

    def _all(self) -> Iterator[tuple[str, Any]]:
        return ((name, self[name]) for name in self)

    def __dir__(self) -> list[str]:
        return list(self._instance.index)

    def _make(self, name: str) -> Any:
        kind, _ = self._instance.index[name]
        if kind == FUNCTION:
            return self._instance.function(name)
        extern = self._instance.extern(name)
        if kind == MEMORY:
            return GuestMemory(extern)
        if kind == TABLE:
            return GuestTable(extern)
        assert kind == GLOBAL
        return GuestGlobal(extern)


class GuestMemory:
    """A guest's linear memory. Addresses and sizes are bytes."""

    def __init__(self, extern: Extern) -> None:
        self.__keep__ = extern
        self._store = extern.space.store
        self._gate = extern.owner.gate

    @property
    def size(self) -> int:
        """The size in bytes, a multiple of 65,536."""
        self._gate.check()
        return self._store.memory_size(self.__keep__.raw)

    @property
    def address(self) -> int:
        """Where the memory begins in this process. Good until the memory grows or is gone."""
        self._gate.check()
        return self._store.memory_address(self.__keep__.raw)

    def read(self, address: int, count: int) -> bytes:
        """A copy of ``count`` bytes.

        Raises:
            IndexError: the range is not within the memory.
        """
        return ctypes.string_at(self._locate(address, count), count)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy ``data`` into the memory.

        Raises:
            IndexError: the range is not within the memory; nothing is written.
        """
        data = bytes(data)
        ctypes.memmove(self._locate(address, len(data)), data, len(data))

    def grow(self, pages: int) -> int:
        """Add pages of 65,536 bytes; the size in bytes before.

        Raises:
            MemoryLimitError: ``memory_limit`` does not allow it.
            MemoryError: the memory's maximum, or the engine, does not allow it.
        """
        before = self.size
        limit = self.__keep__.space.limits.memory_limit
        if limit is not None and before + pages * _PAGE > limit:
            raise MemoryLimitError(
                f"the memory of {before} bytes cannot grow by {pages} pages: memory_limit is {limit}"
            )
        if pages < 0 or not self._store.memory_grow(self.__keep__.raw, pages):
            raise MemoryError(f"the memory of {before} bytes cannot grow by {pages} pages")
        return before

    def _locate(self, address: int, count: int) -> int:
        size = self.size
        if address < 0 or count < 0 or address + count > size:
            raise IndexError(
                f"bytes {address} to {address + count} are not within the memory of {size} bytes"
            )
        return self._store.memory_address(self.__keep__.raw) + address


class GuestTable:
    """An exported table. Of a table of externrefs the elements can be read and set; others can be imported
    elsewhere."""

    def __init__(self, extern: Extern) -> None:
        self.__keep__ = extern
        table: TableType = extern.type
        if table.element != EXTERNREF:
            return
        space, gate = extern.space, extern.owner.gate
        types = {
            "get": FuncType(bytes((I32,)), bytes((EXTERNREF,))),
            "set": FuncType(bytes((I32, EXTERNREF)), b""),
            "size": FuncType(b"", bytes((I32,))),
            "grow": FuncType(bytes((EXTERNREF, I32)), bytes((I32,))),
        }
        raw = space.table_operations(extern)
        self._do = {
            name: bind_export(space, gate, raw[name], functype, f"{extern.name}.{name}", extern)
            for name, functype in types.items()
        }

    def _call(self, name: str, *args: Any) -> Any:
        if not hasattr(self, "_do"):
            raise HiwireError(
                f"the table {self.__keep__.name!r} holds functions; only those of externrefs can be used here"
            )
        return self._do[name](*args)

    def __len__(self) -> int:
        size: int = self._call("size")
        return size & 0xFFFFFFFF

    def _index(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not within the table of {len(self)} elements")
        return index

    def __getitem__(self, index: int) -> Any:
        return self._call("get", self._index(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self._call("set", self._index(index), value)

    def grow(self, count: int, value: Any) -> int:
        """Add ``count`` elements that hold ``value``; the size before.

        Raises:
            TableLimitError: ``table_limit`` does not allow it.
            MemoryError: the table's maximum, or the engine, does not allow it.
        """
        limit = self.__keep__.space.limits.table_limit
        if limit is not None and hasattr(self, "_do") and len(self) + count > limit:
            raise TableLimitError(
                f"the table of {len(self)} elements cannot grow by {count}: table_limit is {limit}"
            )
        before: int = self._call("grow", value, count) if count >= 0 else -1
        if before == -1:
            raise MemoryError(f"the table of {len(self)} elements cannot grow by {count}")
        return before


class GuestGlobal:
    """An exported global. ``value`` reads it, and sets it where it is mutable and no externref."""

    def __init__(self, extern: Extern) -> None:
        self.__keep__ = extern

    @property
    def value(self) -> Any:
        extern = self.__keep__
        extern.owner.gate.check()
        space = extern.space
        if extern.type.type != EXTERNREF:
            return space.store.global_get(extern.raw)
        space.here.check(f"the global {extern.name!r} cannot be read")
        nesting = space.nesting
        outer = nesting[0]
        nesting[0] = abs(outer) + 1  # a finalizer may come in between
        try:
            return space.global_object(space.store.global_get(extern.raw))
        finally:
            nesting[0] = outer
            if not outer and space.flight:
                space.leave()

    @value.setter
    def value(self, value: Any) -> None:
        extern = self.__keep__
        extern.owner.gate.check()
        if not extern.type.mutable or extern.type.type == EXTERNREF:
            what = (
                "is immutable"
                if not extern.type.mutable
                else "holds an externref, which only the guest can set"
            )
            raise TypeError(f"the global {extern.name!r} {what}")
        extern.space.store.global_set(
            extern.raw, check_value(value, extern.type.type, f"the global {extern.name!r}")
        )
