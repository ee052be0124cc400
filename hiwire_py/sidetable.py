"""The host of the side table modules of c/sidetable/: callbacks of Python objects in WebAssembly.

docs/sidetable.md tells what these modules are. Here is what a host for them has to get right: an object in
the guest lives as long as its wrapper in Python, no call is made from a finalizer, running out of memory is
an exception that leaves everything as it was, and a callback that refers to its own wrapper is no leak.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .checks import check_callable, check_integer, shown
from .collect import GuestObject, collect, layout
from .collect.backend import Registry
from .collect.heap import Heap
from .collect.refcounts import RefcountSource
from .collect.triggers import install
from .errors import NullRefError, TableFullError
from .guest import Guest
from .interface import A_MEMORY, Required, check_exports, check_imports, function
from .memory import GuestMemory
from .resources import Closing
from .sources import WasmSource, read_wasm
from .values import EXTERNREF, NULL
from .wasm.binary import section, vector
from .wasm.module import MEMORY, TABLE, Kind, Module
from .wasm.types import Limits, limits_bytes
from .wasm.write import export_bytes

__all__ = ["MOST_MEMORY", "SideTable", "WasmObject"]

_PAGE = 65536

MOST_MEMORY = 4096 * _PAGE
"""The most bytes that a side table module can use: what it is linked with (--max-memory)."""

_EXPORTS: dict[str, Required] = {
    "make_obj": function("", "i"),
    "free_obj": function("i"),
    "attach_callback": function("ie"),
    "invoke_callback": function("i"),
}
_GIVEN: dict[str, Required] = {"memory": A_MEMORY, "invoke": function("e"), "out_of_memory": function()}
_CLAIM = "side table"
_REMEDY = "`make -C c sidetable` builds the ones that do"

# c/sidetable/sidetable.c: an object is its handle, and a mark that no other word looks like.
_OBJECT = layout(8, handles=[0])
_NONE = 0xFFFFFFFF  # stands where an object has no handle
_LIVE = 0xA9D3517E


class SideTable(Closing):
    """A side table module with a memory of its own.

    Like a guest, it belongs to the thread that made it, and lets go of all callbacks when it is closed or no
    longer used. The callbacks in it are strong references. One that refers to its own `WasmObject`, and is
    referred to by nothing else, is found by `hiwire_py.collect`, which also runs by itself.

    Args:
        wasm: the module, one of the three that ``make -C c sidetable`` builds: its bytes, or the path of its
            file.
        engine: one of the names that `engines` lists; None: the default.
        memory_limit: how many bytes its memory may have, at most; rounded down to whole pages of 65,536.
        on_full: called when there is no room, before trying once more; the default finds unreachable
            wrappers. Not called while the guest runs, since then nothing can be freed. None: give up at once.
        cycles: whether the collector looks into the table. If not, callbacks that refer to their own wrappers
            stay as long as the table is there, as they do in a module whose objects do not look like those
            of the three.

    Raises:
        EngineUnavailableError: the engine is unknown or not installed.
        UnsupportedModuleError: the module is no side table, or cannot run here.
        ValueError: the limit is less than a page or more than `MOST_MEMORY`.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        wasm: WasmSource,
        *,
        engine: str | None = None,
        memory_limit: int = 10 * _PAGE,
        on_full: Callable[[], object] | None = collect,
        cycles: bool = True,
    ) -> None:
        memory_limit = check_integer(memory_limit, "memory_limit")
        if on_full is not None:
            check_callable(on_full, "on_full", 0)
        if not _PAGE <= memory_limit <= MOST_MEMORY:
            raise ValueError(
                f"memory_limit must be from {_PAGE} to {MOST_MEMORY} bytes, not {shown(memory_limit)}"
            )
        pages = memory_limit // _PAGE
        module, looks = _checked(wasm)
        self._memory = Guest(_memory_module(pages), engine=engine)
        self._on_full = on_full
        imports = {
            "env": {"memory": self._memory.exports.memory},
            "rt": {"invoke": _invoke, "out_of_memory": _raiser(pages)},
        }
        self._guest = guest = Guest(module, imports)
        self._looks = looks and cycles  # until the first object was looked at
        source = RefcountSource(guest.instance, _NONE) if self._looks else None
        heap = Heap(guest.instance.space, source, lasting=False)
        self._registry: Any = Registry(guest, heap, self.memory)
        guest.wrapped = self._registry
        install()
        self._make_obj = guest.exports.make_obj
        self._attach_callback = guest.exports.attach_callback
        self._invoke_callback = guest.exports.invoke_callback

    @property
    def memory(self) -> GuestMemory:
        """The memory that the module imports."""
        return self._memory.memory

    def collect(self) -> int:
        """Free the objects of dead wrappers.

        Using the table does this first, so this is only needed to let go of callbacks before that. While the
        guest runs it does nothing, because the guest may be about to use the object. `hiwire_py.collect` does
        the same, and looks for cycles.

        Returns:
            How many were freed.

        Raises:
            GuestTrap: someone wrote into the memory, and an object is none any more. The others are freed all
                the same.
        """
        self._guest._guard.check()
        errors: list[BaseException] = []
        freed: int = self._registry.heap.free_dead(errors)
        if errors:
            raise errors[0]
        return freed

    def close(self) -> None:
        """Let go of all callbacks. Later calls raise ClosedError. Idempotent."""
        self._memory.close()  # its space is the table's

    def __len__(self) -> int:
        """How many objects the guest has: those of living wrappers, and of dead ones until they are freed."""
        return len(self._registry.live)

    def __bool__(self) -> bool:
        """True: an empty table is still a table."""
        return True

    def __repr__(self) -> str:
        return f"<SideTable on {self._guest._instance.space.engine.name}, {len(self)} objects>"

    def _make(self) -> int:
        pointer: int = self._with_room(self._make_obj) & 0xFFFFFFFF
        if self._looks:
            self._looks = False
            memory = self.memory
            words = memory.read(pointer, 8) if pointer <= memory.size - 8 else b""
            if words != _NONE.to_bytes(4, "little") + (pointer ^ _LIVE).to_bytes(4, "little"):
                self._registry.heap.source = None  # of another make: who knows where its handles are
        return pointer

    def _with_room(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls a function of the guest that needs memory."""
        try:
            return function(*args)
        except TableFullError:
            if self._on_full is None or self._guest._instance.space.calls.busy:
                raise
        # The exception is gone by now: its traceback would keep what its frames hold.
        self._on_full()
        self.collect()
        return function(*args)


class WasmObject(GuestObject):
    """An object in the guest's memory that holds a Python callback, and is freed after this wrapper has died.

    Args:
        table: where it is made.

    Raises:
        TableFullError: there is no memory; nothing has changed.
    """

    __slots__ = ("_table",)

    def __init__(self, table: SideTable) -> None:
        if not isinstance(table, SideTable):
            raise TypeError(f"a WasmObject is made in a SideTable, not in {type(table).__name__}")
        self._table = table
        super().__init__(table._guest, table._make, layout=_OBJECT, free="free_obj")

    def attach_callback(self, callback: Callable[[], object]) -> None:
        """Hold ``callback``, and let go of what was held before.

        Raises:
            TypeError: it cannot be called, or not without arguments.
            TableFullError: there is no memory for a handle; the object is as before.
        """
        check_callable(callback, "a callback", 0)
        self._table._with_room(self._table._attach_callback, self.pointer, callback)

    def invoke_callback(self) -> None:
        """Have the guest call the callback. What the callback raises comes out; what it returns does not.

        Raises:
            NullRefError: there is none.
        """
        self._table._invoke_callback(self.pointer)

    def _guest_make(self, function: Callable[[], int]) -> int:
        return function()  # the table has tried twice already, if it is to

    def __repr__(self) -> str:
        where = f"at {self._guest_pointer:#x}" if hasattr(self, "_guest_registry") else "without an object"
        return f"<WasmObject {where} in {self._table!r}>"


def _checked(wasm: WasmSource) -> tuple[bytes, bool]:
    """The module, and whether its handles are for one table of externrefs, its own, as those of the three."""
    data, what = read_wasm(wasm)
    module = Module.parse(data)
    check_exports(what, _CLAIM, module, _EXPORTS, remedy=_REMEDY)
    check_imports(what, _CLAIM, module, _GIVEN, _REMEDY)
    tables = [index for index, table in enumerate(module.tables) if table.element == EXTERNREF]
    return data, len(tables) == 1 and tables[0] >= module.count_imports(TABLE)


def _memory_module(pages: int) -> bytes:
    """A module that has nothing but a memory of one page, which can grow to so many."""
    memory, export = limits_bytes(Limits(1, pages)), export_bytes("memory", MEMORY, 0)
    sections = section(Kind.MEMORIES, vector([memory])) + section(Kind.EXPORTS, vector([export]))
    return b"\0asm\x01\0\0\0" + sections


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
