"""The host function hiwire_invalid_ref: what an invalid handle leads to, and the exceptions it raises."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Union

from .checks import check_callable
from .errors import ForgedRefError, HiwireError, NullRefError, StaleRefError
from .handles import VERSION_SHIFT, slot_of
from .objects import Instance, Space
from .wasm.module import FUNCTION

__all__ = [
    "FAIL_DECREF",
    "FAIL_GET",
    "FAIL_INCREF",
    "FAIL_OVERFLOW",
    "InvalidRefs",
    "OnInvalid",
]

# The codes that hiwire_invalid_ref is called with: HIWIRE_FAIL_* of c/hiwire/hiwire.h.
FAIL_GET, FAIL_INCREF, FAIL_DECREF, FAIL_OVERFLOW = 1, 2, 3, 4

OnInvalid = Union[str, Callable[[int, int], None]]
"""``"raise"``, ``"ignore"``, or a function of the code and the handle."""

_WORD = 0xFFFFFFFF


class InvalidRefs:
    """The host function hiwire_invalid_ref.

    It refers to nothing that refers back to the table, so that a table dies by its reference count.
    """

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
        self.num_retired: Callable[[], int] = lambda: 0

    def bind(self, space: Space, instance: Instance) -> None:
        """Take the functions of the table's instance that tell what a handle's slot holds now."""
        space_ref = weakref.ref(space)

        def raw(name: str) -> Callable[..., int]:
            call = instance.raw_function(name)

            def ask(*args: int) -> int:
                try:
                    number: int = call(*args)
                except BaseException as error:
                    asked = space_ref()
                    if asked is not None:
                        asked.explain(error, f"{name}()")
                    raise
                return number

            return ask

        self.capacity = raw("hiwire_capacity")
        functions = instance.module.exported(FUNCTION)
        if "hiwire_num_retired" in functions:
            self.num_retired = raw("hiwire_num_retired")
        if "_hiwire_slot_info" in functions:
            self.slot_info = raw("_hiwire_slot_info")

    def __call__(self, code: int, ref: int) -> None:
        ref &= _WORD
        if callable(self.policy):
            self.policy(code, ref)
        elif self.policy == "raise":
            raise self.error(code, ref)

    def error(self, code: int, ref: int) -> HiwireError:
        """The exception for an invalid handle: NULL, released or never given out, as far as is known."""
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
        index, version = slot_of(ref), ref >> VERSION_SHIFT
        # A retired slot is no room any more, but it had its handles.
        last = (self.capacity() & _WORD) + (self.num_retired() & _WORD)
        if not 1 <= index <= last:
            return ForgedRefError(f"handle {ref} was never given out: this table has no slot {index}", ref)
        if self.slot_info is not None:
            word = self.slot_info(index) & _WORD
            now, is_free, following = word >> VERSION_SHIFT, not word & 1, slot_of(word)
            if version == now and is_free and following != index:  # a retired slot follows itself
                return ForgedRefError(
                    f"handle {ref} was never given out: its slot {index} is free and will give it out next"
                    " (or gave it out 64 releases ago)",
                    ref,
                )
            if version > now:
                return StaleRefError(
                    f"handle {ref} was released, or is made up: its slot {index} is at version {now} and the"
                    f" handle says {version}, which is one of the past if its 64 versions came round since",
                    ref,
                )
        return StaleRefError(
            f"handle {ref} was released: its slot {index} may hold another object by now", ref
        )
