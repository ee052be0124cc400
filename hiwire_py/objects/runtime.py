"""The runtime of lowered modules, as one space has it: where its guests' references to objects are.

Lowering puts an id in the place of each externref, and a call of the runtime in the place of each instruction
that uses a table of them, or keeps one in a global. The runtime is a module of WebAssembly
(c/externref/externref.c), of which each space has an instance. In its memory are the tables, and for each id
a record of how many slots and globals hold it. What an id is, and how long it lives, is told in `ids`.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from ..engines import Engine, GuestLimits, RawExtern, Store
from ..errors import ForgedRefError, MemoryLimitError, TableFullError
from ..passes.externref import HELPERS, RUNTIME_MODULE
from ..values import FuncType
from ..wasm.module import FUNCTION, Limits
from .ids import new_ids
from .layout import (
    FAULT_FORGED,
    FAULT_FRAMES,
    RECORD_WORDS,
    STATE_FAULT,
    STATE_RECORD_COUNT,
    STATE_RECORDS,
    STATE_WORDS,
    TABLE_SIZE,
    TABLE_SLOTS,
)
from .prepare import prepare
from .trampolines import bind_raw

__all__ = ["Numbers", "Runtime", "helpers"]

_PAGE = 65536
_ROOM = 64  # pages that the runtime's memory may have, whatever the limit of memories
_FIRST_RESERVE = 1024
_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Numbers:
    """Numbers of 32 bits in this process' memory, which must stay where they are as long as this is used.

    Attributes:
        address: of the first.
        count: how many.
        code: their type, "I" or "i", as in the module `array`.
    """

    address: int
    count: int
    code: Literal["I", "i"]

    def view(self) -> memoryview[int]:
        """The numbers themselves, to read and write."""
        return (
            memoryview((ctypes.c_char * (4 * self.count)).from_address(self.address))
            .cast("B")
            .cast(self.code)
        )


@functools.lru_cache(maxsize=1)
def _wasm() -> bytes:
    return resources.files("hiwire_py").joinpath("modules/hiwire-externref.wasm").read_bytes()


class Runtime:
    """The runtime of one space.

    Args:
        settle: see `new_ids`.
        close: closes the space.

    Attributes:
        prepared: its module.
        exports: of the instance.
        call: its functions: name -> what calls it.
        ids: what its guests hold.
        keep: what must stay as long as a guest can run.
    """

    patience = 1024
    """How many objects may wait in a long call before they are looked at."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        limits: GuestLimits,
        settle: Callable[[], bool],
        close: Callable[[], None],
    ) -> None:
        self._store = store
        self._limits = limits
        self._close = close
        self.keep: list[object] = []
        self.prepared = prepare(engine, _wasm(), lasting=True)
        self.exports = store.instantiate(self.prepared.compiled, {}, self.keep.append)
        module = self.prepared.module
        self.call: dict[str, Callable[..., Any]] = {
            e.name: self._function(e.name, module.function_type(e.index))
            for e in module.exports
            if e.kind == FUNCTION
        }
        if not self.call["reserve"](_FIRST_RESERVE):
            raise self._no_room(_FIRST_RESERVE)
        if limits.memory_limit is not None or limits.table_limit is not None:
            self._limit_sizes()
        self._base = self._address()
        self._state = self.call["state"]() & _WORD
        reserve = functools.partial(_reserve, weakref.ref(self))
        self.ids = new_ids(self._base, self._state, reserve, settle, self.patience)

    def _function(self, name: str, functype: FuncType) -> Callable[..., Any]:
        return bind_raw(self._store.call(self.exports[name], functype), functype)

    def _limit_sizes(self) -> None:
        """Have the engine limit memories and tables. The runtime's memory, which has references to objects,
        is one more memory, but not refused by a limit which is less than it needs to begin with."""
        memory = self.exports["memory"]
        missing = _ROOM - self._store.memory_size(memory) // _PAGE
        if missing > 0 and (self._limits.memory_limit or 0) < _ROOM * _PAGE:
            self._store.memory_grow(memory, missing)  # pages that are not used take no room
        self._store.limit_sizes()

    # ---- its memory

    def reserve(self, count: int) -> None:
        """Make room for so many ids.

        Raises:
            MemoryError: there is none.
        """
        if not self.call["reserve"](count):
            raise self._no_room(count)
        if self._address() != self._base:
            # Addresses in the memory are in use everywhere, and would now be of what is not theirs.
            self._close()
            raise MemoryError(
                "the engine moved a memory when it grew; engines must reserve its address space"
            )

    def _no_room(self, count: int) -> MemoryError:
        if self._limits.memory_limit is None:
            return MemoryError(f"no memory for references to {count} objects")
        return MemoryLimitError(
            f"no room for references to {count} objects, which take memory too:"
            f" {self._limits.describe('memory_limit')}"
        )

    def _address(self) -> int:
        return self._store.memory_address(self.exports["memory"])

    def moved(self) -> None:
        """The instance has been made anew in another store, with all that was in its memory."""
        self._base = self._address()
        self.ids.moved(self._base)

    # ---- what guests hold

    def new_table(self, limits: Limits, table_limit: int | None) -> int:
        """The handle of a new table.

        Raises:
            TableFullError: there is no memory for it.
        """
        maximum = min(limit for limit in (limits.maximum, table_limit, _WORD) if limit is not None)
        handle: int = self.call["table"](_signed(limits.minimum), _signed(maximum))
        if not handle:
            raise TableFullError(f"no memory for a table of {limits.minimum} externrefs")
        return handle

    def table_keys(self, tables: Mapping[int, int]) -> list[Numbers]:
        """The ids in the slots of each of an instance's tables, 0 for null; good until a guest runs."""
        size = self._store.memory_size(self.exports["memory"])
        found = []
        for handle in tables.values():
            table = Numbers(self._base + handle, 2, "I").view()
            slots, count = table[TABLE_SLOTS], table[TABLE_SIZE]
            if slots + 4 * count <= size:
                found.append(Numbers(self._base + slots, count, "i"))
        return found

    def state(self) -> memoryview[int]:
        """The words of its state, by the numbers ``STATE_*`` of `layout`; they can be written, too."""
        return Numbers(self._base + self._state, STATE_WORDS, "I").view()

    def holder_records(self) -> Numbers:
        """The records of all ids, by their indexes: see `layout`. Good until the next id is made."""
        state = self.state()
        return Numbers(self._base + state[STATE_RECORDS], RECORD_WORDS * state[STATE_RECORD_COUNT], "I")

    # ---- how it fails

    def fault(self) -> BaseException | str | None:
        """Why the engine's last trap happened, where the runtime trapped: an exception, or the trap's real
        kind. It is told once."""
        state = self.state()
        why, state[STATE_FAULT] = state[STATE_FAULT], 0
        if not why:
            return None
        if why == FAULT_FRAMES:
            return "call stack exhausted"
        if why == FAULT_FORGED:
            return ForgedRefError("the guest stored an externref that it was not given: it forged an id")
        return "out of bounds table access"


def helpers(exports: Mapping[str, RawExtern]) -> dict[tuple[str, str], RawExtern]:
    """What every lowered module imports of the runtime's exports."""
    return {(RUNTIME_MODULE, helper): exports[helper] for helper in HELPERS}


def _reserve(runtime_ref: Callable[[], Runtime | None], count: int) -> None:
    runtime = runtime_ref()
    if runtime is not None:
        runtime.reserve(count)


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number
