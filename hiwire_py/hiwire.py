"""Class Hiwire: one handle table on its own."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Union

from .deduplicate import Identity, deduplicate_functions
from .errors import (
    ForgedRefError,
    HiwireError,
    NullRefError,
    StaleRefError,
    TableFullError,
    UnsupportedModuleError,
)
from .lowering.module import FUNCTION, Import
from .sources import VARIANTS, WasmSource, read_wasm, shipped
from .space import Gate, Space, new_space

__all__ = ["FAIL_DECREF", "FAIL_GET", "FAIL_INCREF", "FAIL_OVERFLOW", "Hiwire"]

# The codes that hiwire_invalid_ref is called with: HIWIRE_FAIL_* of c/hiwire/hiwire.h.
FAIL_GET, FAIL_INCREF, FAIL_DECREF, FAIL_OVERFLOW = 1, 2, 3, 4

OnInvalid = Union[str, Callable[[int, int], None]]

_PAGE = 65536
_WORD = 0xFFFFFFFF
# Bits of handles and slots: the layout in c/hiwire/layout.h.
_INDEX_BITS = 25
_INDEX = (1 << _INDEX_BITS) - 1
_VERSION_SHIFT = _INDEX_BITS + 1
_REQUIRED = (
    "new",
    "intern",
    "get",
    "incref",
    "decref",
    "pop",
    "num_refs",
    "refcount",
    "is_valid",
    "capacity",
    "next",
)


class Hiwire:
    """A table of Python objects inside a WebAssembly module: an object goes in, a 32-bit handle comes out.

    Handles are plain integers, reference counted and checked by generation: one that was released is found
    out when it is used, until its slot has been reused 64 times. They mean nothing in another table.

    A table belongs to the thread that made it, and to the guests that share it (``Guest(...,
    hiwire=table)``). It ends when it is closed or no longer used; then it lets go of all objects.

    Args:
        variant: ``"static_pages"`` (64 * 1,024 handles, no growth), ``"extern_realloc"`` (grows up to
            ``memory_limit``), or the path or bytes of a module built with hiwire.
        engine: one of the names that `engines` lists; None: the default.
        identity: when `new_deduplicate` takes objects for the same: see `deduplicate_functions`.
        on_invalid: what an invalid handle leads to, used from Python or by a guest. ``"raise"``: its
            exception comes out of the call. ``"ignore"``: ``NULL`` for the object, otherwise nothing. A
            function: it is called with the code (``FAIL_GET`` and so on) and the handle, and then as with
                ``"ignore"``; it may raise.
        memory_limit: of ``extern_realloc``, in bytes of the table's memory: 4 bytes a handle, and a page of
            65,536 bytes for the rest. The default has room for all 2**25 - 1 handles there can be.

    Raises:
        EngineUnavailableError: the engine is unknown or not installed.
        UnsupportedModuleError: the module was not built with hiwire, or cannot run here.
        ValueError: there is no such variant.
    """

    def __init__(
        self,
        variant: WasmSource = "static_pages",
        *,
        engine: str | None = None,
        identity: Identity = "identity",
        on_invalid: OnInvalid = "raise",
        memory_limit: int = 256 << 20,
    ) -> None:
        data, self._variant = _module(variant)
        invalid = _InvalidRefs(on_invalid)
        heap = _Heap(memory_limit)
        functions: dict[str, Callable[..., Any]] = deduplicate_functions(identity)
        functions["hiwire_invalid_ref"] = invalid
        functions["hiwire_realloc"] = heap.realloc
        self._space = new_space(engine)
        self._gate = Gate("table")

        def find(wanted: Import) -> Any:
            return functions[wanted.name]

        prepared = self._space.engine.prepare(data)
        exported = prepared.module.exported(FUNCTION)
        missing = [f"hiwire_{name}" for name in _REQUIRED if f"hiwire_{name}" not in exported]
        if missing:
            raise UnsupportedModuleError(
                f"{self._variant} is no hiwire module: it does not export {', '.join(missing)}"
            )
        instance = self._space.instantiate(prepared, find, self._gate, self._variant)
        self.exports: dict[str, Callable[..., Any]] = {
            name: instance.function(name) for name in exported if name.startswith("hiwire_")
        }
        """What to give a guest that imports hiwire functions, so that it shares this table: name ->
        function."""
        invalid.bind(self._space, instance)
        heap.bind(self._space, instance)
        if "_initialize" in exported:
            instance.function("_initialize")()
        calls = self.exports
        self._new, self._intern, self._get = calls["hiwire_new"], calls["hiwire_intern"], calls["hiwire_get"]
        self._incref, self._decref, self._pop = (
            calls["hiwire_incref"],
            calls["hiwire_decref"],
            calls["hiwire_pop"],
        )
        self._deduplicate = calls.get("hiwire_new_deduplicate")
        self._num_refs, self._refcount = calls["hiwire_num_refs"], calls["hiwire_refcount"]
        self._is_valid, self._capacity = calls["hiwire_is_valid"], calls["hiwire_capacity"]
        self._next = calls["hiwire_next"]
        self.wrapped: Any = None  # kept alive with the table: `collect` fills it in
        self._heap = heap

    # ---- handles

    def new(self, obj: Any) -> int:
        """A new handle of ``obj``, with the count 1. The table holds the object until the count is 0 again.

        Raises:
            TableFullError: there is no room; nothing has changed.
        """
        return self._new(obj) & _WORD or self._full()

    def intern(self, obj: Any) -> int:
        """An immortal handle of ``obj``: never released, and not counted.

        Raises:
            TableFullError: there is no room; nothing has changed.
        """
        return self._intern(obj) & _WORD or self._full()

    def new_deduplicate(self, obj: Any) -> int:
        """The handle of an object that is the same as ``obj`` and came this way before, with its count raised
        by one; else a new one. What is the same is up to ``identity``.

        Raises:
            TableFullError: there is no room; nothing has changed.
            TypeError: the object is not hashable, and ``identity`` needs its hash; nothing has changed.
            UnsupportedModuleError: the module was built without deduplication.
        """
        if self._deduplicate is None:
            raise UnsupportedModuleError(f"{self._variant} was built without HIWIRE_EXTERN_DEDUPLICATE")
        return self._deduplicate(obj) & _WORD or self._full()

    def get(self, ref: int) -> Any:
        """The object of a handle.

        Raises:
            StaleRefError, ForgedRefError, NullRefError: the handle is not valid, and ``on_invalid`` is
                ``"raise"``.
            TypeError: it is no integer.
        """
        if ref.__class__ is not int or not 0 <= ref <= _WORD:
            ref = _check_ref(ref)
        return self._get(ref)

    def pop(self, ref: int) -> Any:
        """The object of a handle, whose count goes down by one. Raises as `get` does."""
        if ref.__class__ is not int or not 0 <= ref <= _WORD:
            ref = _check_ref(ref)
        return self._pop(ref)

    def incref(self, ref: int) -> None:
        """Raise the count by one; nothing for ``0`` and immortal handles. Raises as `get` does.

        At 2**24 - 1 the count stays where it is and the handle is never released again: HiwireError says so.
        """
        if ref.__class__ is not int or not 0 <= ref <= _WORD:
            ref = _check_ref(ref)
        self._incref(ref)

    def decref(self, ref: int) -> None:
        """Lower the count by one; at 0 the object leaves the table and the handle is stale from then on.
        Nothing for ``0`` and immortal handles. Raises as `get` does."""
        if ref.__class__ is not int or not 0 <= ref <= _WORD:
            ref = _check_ref(ref)
        self._decref(ref)

    # ---- looking at the table

    def num_refs(self) -> int:
        """How many handles are live. Immortal handles do not count."""
        count: int = self._num_refs()
        return count

    def refcount(self, ref: int) -> int:
        """The count of a handle; 0 for one that is not valid."""
        return self._refcount(_check_ref(ref)) & _WORD if _fits(ref) else 0

    def is_valid(self, ref: int) -> bool:
        """Whether the handle, counted or immortal, names an object."""
        return _fits(ref) and bool(self._is_valid(_check_ref(ref)))

    def capacity(self) -> int:
        """How many handles there is room for before the table must grow."""
        count: int = self._capacity()
        return count & _WORD

    def __len__(self) -> int:
        return self.num_refs()

    def __iter__(self) -> Iterator[int]:
        """The live handles, in the order of their slots. Handles made or released meanwhile may be missed."""
        ref = self._next(0)
        while ref:
            yield ref & _WORD
            ref = self._next(ref)

    def __contains__(self, ref: object) -> bool:
        return isinstance(ref, int) and self.is_valid(ref)

    # ---- the table as a whole

    @property
    def space(self) -> Space:
        """Where the table lives; a guest that shares it lives there too."""
        return self._space

    def close(self) -> None:
        """Let go of all objects: now, or when the running call returns. Later use, also by guests that share
        the table, raises ClosedError. Idempotent."""
        if self._gate.owner is not None:
            self._gate.check()
            self._space.close()

    def __enter__(self) -> Hiwire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._gate.owner is None:
            return f"<closed Hiwire {self._variant}>"
        return f"<Hiwire {self._variant} on {self._space.engine.name}>"

    def _full(self) -> int:
        self._gate.check()
        reason = self._heap.refusal()
        message = (
            f"the table {self._variant} is full: {self.num_refs()} of {self.capacity()} handles are in use"
        )
        raise TableFullError(f"{message}; {reason}" if reason else message)


def _module(variant: WasmSource) -> tuple[bytes, str]:
    if isinstance(variant, str) and variant in VARIANTS:
        return shipped(variant), variant
    if isinstance(variant, str) and not os.path.isfile(variant):
        raise ValueError(
            f"there is no variant and no file {variant!r}; the variants are: {', '.join(VARIANTS)}"
        )
    return read_wasm(variant)


def _fits(ref: Any) -> bool:
    """Whether an integer, which ``ref`` must be, can be a handle at all."""
    try:
        _check_ref(ref)
    except ForgedRefError:
        return False
    return True


def _check_ref(ref: Any) -> int:
    """A handle as the 32 bits it is; a negative number is taken for a guest's signed form of one."""
    if isinstance(ref, bool) or not hasattr(ref, "__index__"):
        raise TypeError(f"a handle is an integer, not {type(ref).__name__}")
    number: int = ref.__index__()
    if not -(1 << 31) <= number <= _WORD:
        raise ForgedRefError(f"{number} is no handle: it does not fit 32 bits", number)
    return number & _WORD


class _InvalidRefs:
    """The host function hiwire_invalid_ref. It refers to nothing that refers back to the table."""

    def __init__(self, policy: OnInvalid) -> None:
        if not callable(policy) and policy not in ("raise", "ignore"):
            raise ValueError(f'on_invalid must be "raise", "ignore" or a function, not {policy!r}')
        self.policy = policy
        self.slot_info: Callable[[int], int] | None = None
        self.capacity: Callable[[], int] = lambda: 0

    def bind(self, space: Space, instance: Any) -> None:
        def raw(name: str) -> Callable[..., Any]:
            extern = instance.extern(name)
            return space.store.caller(extern.raw, extern.type)

        self.capacity = raw("hiwire_capacity")
        if "_hiwire_slot_info" in instance.index:
            self.slot_info = raw("_hiwire_slot_info")

    def __call__(self, code: int, ref: int) -> None:
        ref &= _WORD
        if callable(self.policy):
            self.policy(code, ref)
        elif self.policy == "raise":
            raise self.error(code, ref)

    def error(self, code: int, ref: int) -> HiwireError:
        if code == FAIL_OVERFLOW:
            return HiwireError(
                f"the count of handle {ref} is at its limit: the handle is never released from now on"
            )
        if ref == 0:
            return NullRefError("NULL (handle 0) names no object", ref)
        if not ref & 1:
            return ForgedRefError(
                f"handle {ref} was never given out: it is even, but no immortal handle of this table", ref
            )
        index, version = ref >> 1 & _INDEX, ref >> _VERSION_SHIFT
        if index == 0 or index >= self.capacity() & _WORD:
            return ForgedRefError(f"handle {ref} was never given out: this table has no slot {index}", ref)
        now = None if self.slot_info is None else (self.slot_info(index) & _WORD) >> _VERSION_SHIFT
        if now is not None and version >= now:
            return ForgedRefError(
                f"handle {ref} was never given out: slot {index} is at version {now}, the handle"
                f" says {version}",
                ref,
            )
        return StaleRefError(
            f"handle {ref} was released: its slot {index} may hold another object by now", ref
        )


class _Heap:
    """The host function hiwire_realloc: memory for the slots, by growing the module's own memory.

    The module's data ends at its global ``__heap_base``; what comes after is ours. Its only blocks are the
    few arrays of hiwire, so the last one grows in place and others are copied to the end.
    """

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"memory_limit must not be negative: {limit}")
        self.limit = limit
        self.end = 0
        self.blocks: dict[int, int] = {}
        self.refused = ""
        self.store: Any = None
        self.memory: Any = None

    def bind(self, space: Space, instance: Any) -> None:
        if not any(i.name == "hiwire_realloc" for i in instance.module.imports):
            return
        for name in ("memory", "__heap_base"):
            if name not in instance.index:
                raise UnsupportedModuleError(f"a module that imports hiwire_realloc must export {name!r}")
        self.store = space.store
        self.memory = instance.extern("memory").raw
        self.end = (space.store.global_get(instance.extern("__heap_base").raw) & _WORD) + 15 & ~15

    def realloc(self, old: int, size: int) -> int:
        """A block of ``size`` bytes with the contents of ``old``, a block from here or 0; 0 when there is no
        memory."""
        old, size = old & _WORD, size & _WORD
        if self.memory is None or (old and old not in self.blocks):
            return 0
        before = self.blocks.get(old, 0)
        if old and size <= before:
            return old
        start = old if old and old + before == self.end else self.end
        end = start + size + 15 & ~15
        if not self._reach(end):
            return 0
        if old and start != old:
            base = self.store.memory_address(self.memory)
            ctypes.memmove(base + start, base + old, before)
            del self.blocks[old]
        self.blocks[start] = end - start
        self.end = end
        return start

    def _reach(self, end: int) -> bool:
        have = self.store.memory_size(self.memory)
        if end > self.limit:
            self.refused = f"growing needs {end} bytes of memory, and memory_limit is {self.limit}"
            return False
        if end > have and not self.store.memory_grow(self.memory, (end - have + _PAGE - 1) // _PAGE):
            self.refused = f"the engine does not let the memory grow to {end} bytes"
            return False
        self.refused = ""
        return True

    def refusal(self) -> str:
        """Why the last growth failed; "" if it did not."""
        return self.refused
