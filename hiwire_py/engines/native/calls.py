"""Calls across the boundary of the native engine: of exports, and of host functions."""

from __future__ import annotations

from typing import Any

from ...errors import WrongThreadError
from ...values import CROSSING, I32, FuncType, type_name
from .. import hosts
from ..calls import Call, CallForm, Quick, call_of
from .source import crosses

__all__ = ["NativeTrap", "call_of_export"]

# HW_* of runtime.h.
_HOST_RAISED, _NO_MEMORY = 10, 11
_KINDS = {
    1: "unreachable",
    2: "integer divide by zero",
    3: "integer overflow",
    4: "invalid conversion to integer",
    5: "out of bounds memory access",
    6: "out of bounds table access",
    7: "uninitialized element",
    8: "indirect call type mismatch",
    9: "call stack exhausted",
}
_TRAPPED, _REFUSED = 1 << 40, 1 << 41


class NativeTrap(Exception):
    """A trap. ``kind`` is its short name."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    @classmethod
    def of(cls, why: int) -> BaseException:
        """The exception for a code of runtime.h."""
        why &= _TRAPPED - 1
        if why == _HOST_RAISED:
            return hosts.raised()[-1]
        if why == _NO_MEMORY:
            return MemoryError("no memory for what the module declares: its memories and tables")
        return cls(_KINDS.get(why, f"trap {why}"))


# What entries return says whether they trapped; C has checked thread and arguments.
_QUICK = Quick(done="r <= 0x7FFFFFFF", refused=f"r >= {_REFUSED}")


def call_of_export(instance: Any, slot: int, functype: FuncType, lowered: FuncType) -> Call:
    """How an export is called.

    Args:
        instance: which exports it.
        slot: its number among the exports.
        functype: its type before lowering.
        lowered: and after that.
    """
    params, results = lowered
    if not crosses(lowered):
        names = ", ".join(type_name(code) for code in params + results if code not in CROSSING)

        def refuse(*args: Any) -> Any:
            raise TypeError(f"the function has values of type {names}, which cannot cross to Python")

        return call_of(refuse, functype)
    code = f"r = entry({', '.join(['{mark}', *(f'{{{i}}}' for i in range(len(params)))])})"
    if not results or results == bytes((I32,)):
        form = CallForm((code, "if r > 0x7FFFFFFF: fail(r)"), ("r",) if results else (), _QUICK)
    else:
        read = tuple(f"r[{i}]" for i in range(len(results)))
        form = CallForm((code, "if r.__class__ is not tuple: fail(r)"), read)
    names_: dict[str, Any] = {"fail": _fail}
    # cffi passes no Python objects; the dict's address is its id in CPython.
    if not instance.library.lib.hw_bind(instance.address, slot, id(names_)):
        raise MemoryError("no memory for a function")
    return Call(form, names_, instance)


def _fail(r: int) -> None:
    """Raise what a call failed with: see runtime.h."""
    if r & _REFUSED:
        if r & 1:
            raise WrongThreadError("the guest belongs to another thread, which has ended")
        raise OverflowError("an integer does not fit i32")
    raise NativeTrap.of(r)
