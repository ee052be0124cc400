"""Class Hiwire: a handle table, the module of hiwire that it is, and the host functions that this imports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from .checks import check_integer, shown
from .deduplicate import Identity, deduplicate_functions
from .engines import GuestLimits
from .engines.limits import MEMORY_DEFAULT
from .errors import ForgedRefError, HiwireError, TableFullError, UnsupportedModuleError
from .handles import INDEX, slot_of
from .interface import INITIALIZE, Required, check_exports, check_imports, function
from .invalid_refs import FAIL_DECREF, FAIL_GET, FAIL_INCREF, FAIL_OVERFLOW, InvalidRefs, OnInvalid
from .objects import Missing, Space, ThreadGuard, instantiate, keep_last, new_space, prepare
from .realloc import Realloc
from .resources import Closing
from .sources import VARIANTS, WasmSource, read_wasm, shipped
from .values import check_value
from .wasm.module import FUNCTION, Import

__all__ = ["FAIL_DECREF", "FAIL_GET", "FAIL_INCREF", "FAIL_OVERFLOW", "Hiwire"]

_WORD = 0xFFFFFFFF
# As c/hiwire/hiwire.h declares them.
_REQUIRED: dict[str, Required] = {
    "hiwire_new": function("e", "i"),
    "hiwire_intern": function("e", "i"),
    "hiwire_get": function("i", "e"),
    "hiwire_incref": function("i"),
    "hiwire_decref": function("i"),
    "hiwire_pop": function("i", "e"),
    "hiwire_num_refs": function("", "i"),
    "hiwire_refcount": function("i", "i"),
    "hiwire_is_valid": function("i", "i"),
    "hiwire_capacity": function("", "i"),
    "hiwire_next": function("i", "i"),
}
_OPTIONAL: dict[str, Required] = {
    "hiwire_new_deduplicate": function("e", "i"),
    "_hiwire_slot_info": function("i", "i"),
    **INITIALIZE,
}
_GIVEN: dict[str, Required] = {
    "hiwire_deduplicate_get": function("e", "i"),
    "hiwire_deduplicate_set": function("ei"),
    "hiwire_deduplicate_delete": function("e"),
    "hiwire_invalid_ref": function("ii"),
    "hiwire_realloc": function("ii", "i"),
}
_CLAIM = "hiwire module"


class Hiwire(Closing):
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
        deadline, fuel: for each call of the table and of the guests that share it; see `Guest`. They limit
            each memory of these to 256 MiB, or to ``memory_limit`` if that is more, and each of their tables
            to 4,194,304 elements, so that many objects are the most that the handle table has room for.

    Raises:
        EngineUnavailableError: the engine is unknown or not installed.
        UnsupportedModuleError: the module was not built with hiwire, or cannot run here.
        ValueError: there is no such variant, or an argument is out of range.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        variant: WasmSource = "static_pages",
        *,
        engine: str | None = None,
        identity: Identity = "identity",
        on_invalid: OnInvalid = "raise",
        memory_limit: int = 256 << 20,
        deadline: float | None = None,
        fuel: int | None = None,
    ) -> None:
        data, self._variant = _module(variant)
        invalid = InvalidRefs(on_invalid)
        realloc = Realloc(memory_limit)
        functions: dict[str, Callable[..., Any]] = deduplicate_functions(identity)
        functions["hiwire_invalid_ref"] = invalid
        functions["hiwire_realloc"] = realloc
        self._space = self._place(
            engine,
            GuestLimits(deadline=deadline, fuel=fuel, memory_default=max(memory_limit, MEMORY_DEFAULT)),
        )
        self._guard = ThreadGuard("table")

        def find(wanted: Import) -> Any:
            if wanted.name not in functions:
                raise Missing
            return functions[wanted.name]

        prepared = prepare(self._space.engine, data, lasting=True)
        exported = prepared.module.exported(FUNCTION)
        grows = any(wanted.name == "hiwire_realloc" for wanted in prepared.module.imports)
        required = {**_REQUIRED, **realloc.required} if grows else _REQUIRED
        check_exports(self._variant, _CLAIM, prepared.module, required, _OPTIONAL)
        check_imports(self._variant, _CLAIM, prepared.module, _GIVEN)
        instance = instantiate(self._space, prepared, find, self._guard, self._variant)
        self.exports: dict[str, Callable[..., Any]] = {
            name: instance.function(name) for name in exported if name.startswith("hiwire_")
        }
        """What to give a guest that imports hiwire functions, so that it shares this table: name ->
        function."""
        invalid.bind(self._space, instance)
        if grows:
            realloc.bind(self._space, instance)
        keep_last(instance)
        if "_initialize" in exported:
            instance.function("_initialize")()
        calls = self.exports
        self._new, self._intern = calls["hiwire_new"], calls["hiwire_intern"]
        self._deduplicate = calls.get("hiwire_new_deduplicate")
        self._num_refs, self._refcount = calls["hiwire_num_refs"], calls["hiwire_refcount"]
        self._is_valid, self._capacity = calls["hiwire_is_valid"], calls["hiwire_capacity"]
        self._next = calls["hiwire_next"]
        self._get: Callable[[int], Any]
        self._pop: Callable[[int], Any]
        self._incref: Callable[[int], None]
        self._decref: Callable[[int], None]
        self.wrapped: Any = None  # kept alive with the table: `collect` fills it in
        self._realloc = realloc
        for name in ("get", "pop", "incref", "decref"):
            function = instance.function(f"hiwire_{name}", _handle)
            setattr(self, f"_{name}", function)
            # It serves in place of the method: a call less. Not where a subclass has a method of its own.
            if getattr(type(self), name) is getattr(Hiwire, name):
                setattr(self, name, function)

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
        return self._get(ref)

    def pop(self, ref: int) -> Any:
        """The object of a handle, whose count goes down by one. Raises as `get` does."""
        return self._pop(ref)

    def incref(self, ref: int) -> None:
        """Raise the count by one; nothing for ``0`` and immortal handles. Raises as `get` does.

        At 2**24 - 1 the count stays where it is and the handle is never released again: HiwireError says so.
        """
        self._incref(ref)

    def decref(self, ref: int) -> None:
        """Lower the count by one; at 0 the object leaves the table and the handle is stale from then on.
        Nothing for ``0`` and immortal handles. Raises as `get` does."""
        self._decref(ref)

    # ---- looking at the table

    def num_refs(self) -> int:
        """How many handles are live. Immortal handles do not count."""
        count: int = self._num_refs() & _WORD
        if count > INDEX:  # Python would make a list of so many
            raise HiwireError(f"{self._variant} is no hiwire module: it says that {count} handles are live")
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
        ref, last = self._next(0), 0
        while ref:
            slot = slot_of(ref)
            if slot <= last:  # without this, a module of others could keep the loop going for ever
                raise HiwireError(f"{self._variant} is no hiwire module: its handles come in no order")
            yield ref & _WORD
            ref, last = self._next(ref), slot

    def __contains__(self, ref: object) -> bool:
        try:
            return self.is_valid(ref)  # type: ignore[arg-type]
        except TypeError:
            return False

    # ---- the table as a whole

    @property
    def space(self) -> Space:
        """Where the table lives; a guest that shares it lives there too."""
        return self._space

    def close(self) -> None:
        """Let go of all objects: now, or when the running call returns. Later use, also by guests that share
        the table, raises ClosedError. Idempotent."""
        if self._guard.owner is not None:
            self._guard.check()
            self._space.calls.close()

    def __repr__(self) -> str:
        if self._guard.owner is None:
            return f"<closed Hiwire {self._variant}>"
        return f"<Hiwire {self._variant} on {self._space.engine.name}>"

    def _place(self, engine: str | None, limits: GuestLimits) -> Space:
        """Where the table is to live. A component's table is put into the space that is there."""
        return new_space(engine, limits)

    def _full(self) -> int:
        self._guard.check()
        reason = self._realloc.refused
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
    if not isinstance(variant, (bytes, bytearray, memoryview, str, os.PathLike)):
        raise TypeError(
            f"variant must be one of {', '.join(VARIANTS)}, or the path or bytes of a module, not"
            f" {type(variant).__name__}"
        )
    return read_wasm(variant)


def _handle(value: Any, code: int, what: str) -> int:
    """A handle as engines take it: see `Fix`."""
    number: int = check_value(_check_ref(value), code, what)
    return number


def _fits(ref: Any) -> bool:
    """Whether an integer, which ``ref`` must be, can be a handle at all."""
    try:
        _check_ref(ref)
    except ForgedRefError:
        return False
    return True


def _check_ref(ref: Any) -> int:
    """A handle as the 32 bits it is; a negative number is taken for a guest's signed form of one."""
    number = check_integer(ref, "a handle")
    if not -(1 << 31) <= number <= _WORD:
        raise ForgedRefError(f"{shown(number)} is no handle: it does not fit 32 bits", number)
    return number & _WORD
