"""The host of the side table modules of c/sidetable/: callbacks of Python objects in WebAssembly.

docs/sidetable.md tells what these modules are. Here is what a host for them has to get right: an object in
the guest lives as long as its wrapper in Python, no call is made from a finalizer, and running out of memory
is an exception that leaves everything as it was.
"""

from __future__ import annotations

import gc
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from .errors import NullRefError, TableFullError, UnsupportedModuleError
from .guest import Guest, GuestMemory
from .lowering.binary import leb, name, section, vector
from .sources import WasmSource
from .values import NULL

__all__ = ["MOST_MEMORY", "SideTable", "WasmObject"]

_PAGE = 65536

MOST_MEMORY = 4096 * _PAGE
"""The most bytes that a side table module can use: what it is linked with (--max-memory)."""

_EXPORTS = ("make_obj", "free_obj", "attach_callback", "invoke_callback")


class SideTable:
    """A side table module with a memory of its own.

    Like a guest, it belongs to the thread that made it, and lets go of all callbacks when it is closed or no
    longer used. The callbacks in it are strong references: one that refers to its own `WasmObject` keeps it
    alive as long as the table is there.

    Args:
        wasm: the module, one of the three that ``make -C c sidetable`` builds: its bytes, or the path of its
            file.
        engine: one of the names that `engines` lists; None: the default.
        memory_limit: how many bytes its memory may have, at most; rounded down to whole pages of 65,536.
        on_full: called when there is no room, before trying once more; the default finds unreachable
            wrappers. Not called while the guest runs, since then nothing can be freed. None: give up at once.

    Raises:
        EngineUnavailableError: the engine is unknown or not installed.
        UnsupportedModuleError: the module is no side table, or cannot run here.
        ValueError: the limit is less than a page or more than `MOST_MEMORY`.
    """

    def __init__(
        self,
        wasm: WasmSource,
        *,
        engine: str | None = None,
        memory_limit: int = 10 * _PAGE,
        on_full: Callable[[], object] | None = gc.collect,
    ) -> None:
        if not _PAGE <= memory_limit <= MOST_MEMORY:
            raise ValueError(f"memory_limit must be from {_PAGE} to {MOST_MEMORY} bytes, not {memory_limit}")
        pages = memory_limit // _PAGE
        self._memory = Guest(_memory_module(pages), engine=engine)
        self._on_full = on_full
        self._dead: deque[tuple[int, weakref.ref[WasmObject]]] = deque()
        self._live = 0
        imports = {
            "env": {"memory": self._memory.exports.memory},
            "rt": {"invoke": _invoke, "out_of_memory": _raiser(pages)},
        }
        self._guest = guest = Guest(wasm, imports)
        missing = [export for export in _EXPORTS if export not in guest.exports]
        if missing:
            raise UnsupportedModuleError(
                f"the module is no side table: it does not export {', '.join(missing)};"
                " `make -C c sidetable` builds the ones that do"
            )
        self._make_obj, self._free_obj = guest.exports.make_obj, guest.exports.free_obj
        self._attach_callback = guest.exports.attach_callback
        self._invoke_callback = guest.exports.invoke_callback

    @property
    def memory(self) -> GuestMemory:
        """The memory that the module imports."""
        return self._memory.memory

    def collect(self) -> int:
        """Free the objects of dead wrappers.

        Using the table does this first, so this is only needed to let go of callbacks before that. While the
        guest runs it does nothing, because the guest may be about to use the object.

        Returns:
            How many were freed.
        """
        self._guest._gate.check()
        if self._guest._instance.space.depth:
            return 0
        freed = 0
        kept = []
        while self._dead:
            # Freeing drops a callback, which may run any code, and that may come back here: so take one at a
            # time.
            pointer, wrapper = self._dead.popleft()
            if wrapper() is None:
                self._live -= 1
                self._free_obj(pointer)
                freed += 1
            else:  # another finalizer kept it, and its own will not run again: ask once more next time
                kept.append((pointer, wrapper))
        self._dead.extend(kept)
        return freed

    def close(self) -> None:
        """Let go of all callbacks. Later calls raise ClosedError. Idempotent."""
        self._memory.close()  # its space is the table's
        self._dead.clear()

    def __len__(self) -> int:
        """How many objects the guest has: those of living wrappers, and of dead ones until they are freed."""
        return self._live

    def __bool__(self) -> bool:
        """True: an empty table is still a table."""
        return True

    def __enter__(self) -> SideTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SideTable on {self._guest._instance.space.engine.name}, {self._live} objects>"

    def _make(self) -> int:
        pointer: int = self._with_room(self._make_obj) & 0xFFFFFFFF
        self._live += 1
        return pointer

    def _with_room(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls a function of the guest that needs memory."""
        if self._dead:
            self.collect()
        try:
            return function(*args)
        except TableFullError:
            if self._on_full is None or self._guest._instance.space.depth:
                raise
        # The exception is gone by now: its traceback would keep what its frames hold.
        self._on_full()
        self.collect()
        return function(*args)


class WasmObject:
    """An object in the guest's memory that holds a Python callback, and is freed when this wrapper dies.

    Args:
        table: where it is made.

    Raises:
        TableFullError: there is no memory; nothing has changed.
    """

    __slots__ = ("__weakref__", "_pointer", "_table")

    def __init__(self, table: SideTable) -> None:
        self._pointer = 0  # what __del__ finds if there is no memory
        self._table = table
        self._pointer = table._make()

    def attach_callback(self, callback: Callable[[], object]) -> None:
        """Hold ``callback``, and let go of what was held before.

        Raises:
            TypeError: it cannot be called.
            TableFullError: there is no memory for a handle; the object is as before.
        """
        if not callable(callback):
            raise TypeError(f"a callback must be callable, and {type(callback).__name__} is not")
        self._table._with_room(self._table._attach_callback, self._pointer, callback)

    def invoke_callback(self) -> None:
        """Have the guest call the callback. What the callback raises comes out; what it returns does not.

        Raises:
            NullRefError: there is none.
        """
        table = self._table
        if table._dead:
            table.collect()
        table._invoke_callback(self._pointer)

    def __del__(self) -> None:
        # Any thread, and any moment, also in the middle of a call: so only note it. The weak reference is
        # made here, not earlier: Python clears earlier ones before finalizers run, also if one of them then
        # keeps the wrapper.
        if getattr(self, "_pointer", 0):
            self._table._dead.append((self._pointer, weakref.ref(self)))

    def __repr__(self) -> str:
        return f"<WasmObject at {self._pointer:#x} in {self._table!r}>"


def _memory_module(pages: int) -> bytes:
    """A module that has nothing but a memory of one page, which can grow to so many."""
    limits = b"\x01" + leb(1) + leb(pages)
    export = name("memory") + b"\x02" + leb(0)
    return b"\0asm\x01\0\0\0" + section(5, vector([limits])) + section(7, vector([export]))


# The guest's imports know nothing of the table that they serve: no cycle, and it dies by its counts.


def _invoke(callback: Any) -> None:
    if callback is NULL:
        raise NullRefError("this object has no callback; give it one with attach_callback()")
    callback()


def _raiser(pages: int) -> Callable[[], None]:
    def out_of_memory() -> None:
        raise TableFullError(
            f"the side table has no room in {pages} pages of memory ({pages * _PAGE} bytes);"
            " drop objects, or give it a larger memory_limit"
        )

    return out_of_memory
