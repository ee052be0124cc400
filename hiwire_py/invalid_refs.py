"""What an invalid handle leads to: the host function hiwire_invalid_ref, and the exceptions it raises."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Union

from .checks import check_callable
from .errors import ForgedRefError, HiwireError, NullRefError, StaleRefError
from .space import Instance, Space
from .values import FuncType

__all__ = ["FAIL_DECREF", "FAIL_GET", "FAIL_INCREF", "FAIL_OVERFLOW", "InvalidRefs", "OnInvalid"]

# The codes that hiwire_invalid_ref is called with: HIWIRE_FAIL_* of c/hiwire/hiwire.h.
FAIL_GET, FAIL_INCREF, FAIL_DECREF, FAIL_OVERFLOW = 1, 2, 3, 4

OnInvalid = Union[str, Callable[[int, int], None]]
"""``"raise"``, ``"ignore"``, or a function of the code and the handle."""

_WORD = 0xFFFFFFFF
# Bits of handles and slots: the layout in c/hiwire/layout.h.
_INDEX_BITS = 25
_INDEX = (1 << _INDEX_BITS) - 1
_VERSION_SHIFT = _INDEX_BITS + 1


class InvalidRefs:
    """The host function hiwire_invalid_ref. It refers to nothing that refers back to the table."""

    def __init__(self, policy: OnInvalid) -> None:
        wanted = 'on_invalid must be "raise", "ignore" or a function'
        if callable(policy):
            check_callable(policy, "on_invalid", 2)
        elif not isinstance(policy, str):
            raise TypeError(f"{wanted}, not {type(policy).__name__}")
        elif policy not in ("raise", "ignore"):
            raise ValueError(f"{wanted}, not {policy!r}")
        self.policy = policy
        self.slot_info: Callable[[int], int] | None = None
        self.capacity: Callable[[], int] = lambda: 0

    def bind(self, space: Space, instance: Instance) -> None:
        space_ref = weakref.ref(space)

        def raw(name: str) -> Callable[..., int]:
            extern = instance.extern(name)
            functype: FuncType = extern.type
            call = space.store.caller(extern.raw, functype)

            def ask(*args: int) -> int:
                try:
                    number: int = call(*args)
                except BaseException as error:
                    asked = space_ref()
                    if asked is not None:
                        asked.explain(error, f"{name}()", functype, args)
                    raise
                return number

            return ask

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
