"""What an engine says about calls across its boundary: its part of the source that trampolines are made of.

A call costs a few hundred nanoseconds in all, and a call from Python to Python is a good part of that. So the
engine's part is not called: it is written into the function that users have, or that the engine calls.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from ..errors import WrongThreadError
from ..values import CROSSING, EXTERNREF, I32, FuncType

__all__ = [
    "Call",
    "CallForm",
    "HostForm",
    "call_of",
    "compiled_form",
    "crosses",
    "lowered",
    "plain_host_form",
    "refused",
    "uncallable",
]


class CallForm(NamedTuple):
    """How an export of some type is called.

    Attributes:
        code: statements, with ``{0}``, ``{1}`` and so on for the parameters, which are signed integers and
            floats. They raise what the engine raises. ``{mark}`` is for the list in which a quick call writes
            how deep calls are nested, once it has been checked; None in others.
        results: expressions for the results, good until another call is made.
        quick: the first statement may be run before anything is checked. It leaves ``r``: None if the call
            has not begun, since the thread is another one, or an argument does not fit.
    """

    code: tuple[str, ...]
    results: tuple[str, ...]
    quick: bool = False


class Call(NamedTuple):
    """An export as it is called.

    Attributes:
        form: the source.
        names: the variables in it that do not belong to the call: name -> value.
        keep: what must live as long as the function that is made of this.
    """

    form: CallForm
    names: Mapping[str, Any]
    keep: object = None


class HostForm(NamedTuple):
    """How a host function of some type is called by the engine.

    Attributes:
        params: the parameters that the engine gives.
        arguments: expressions for those of the host function: signed integers and floats.
        targets: what the results are stored in; None: they are returned.
    """

    params: tuple[str, ...]
    arguments: tuple[str, ...]
    targets: tuple[str, ...] | None = None


@functools.lru_cache(maxsize=1024)
def compiled_form(functype: FuncType) -> CallForm:
    """Of a function ``call`` in C, which takes ``{mark}`` and the parameters, and raises what the engine
    raises. It gives the result, a tuple of several, or True for none; None if the call has not begun."""
    count = len(functype.results)
    call = f"r = call({', '.join(['{mark}', *(f'{{{i}}}' for i in range(len(functype.params)))])})"
    results = ("r",) if count == 1 else tuple(f"r[{i}]" for i in range(count))
    return CallForm((call, "if r is None: refused()"), results, quick=True)


def refused() -> NoReturn:
    """Such a call has not begun, although its arguments were checked."""
    raise WrongThreadError("the guest belongs to another thread, which has ended")


def call_of(function: Any, functype: FuncType, keep: object = None) -> Call:
    """A Python callable that takes the parameters, and returns a sequence if there are several results."""
    call = f"function({', '.join(f'{{{i}}}' for i in range(len(functype.params)))})"
    results = tuple(f"r{i}" for i in range(len(functype.results)))
    form = CallForm((f"{', '.join(results)} = {call}" if results else call,), results)
    return Call(form, {"function": function}, keep)


def crosses(functype: FuncType) -> bool:
    """Whether Python can call, or be called by, a function of this type."""
    return CROSSING.issuperset(functype.params + functype.results)


def uncallable(functype: FuncType) -> Call:
    """Of an export that Python cannot call, for engines that would take its values for others. Trampolines
    refuse to call it before."""

    def refuse(*args: Any) -> Any:
        raise TypeError(f"the function is of type {functype}, whose values cannot cross to Python")

    return call_of(refuse, functype)


def lowered(functype: FuncType) -> FuncType:
    """The type as it is after lowering: externrefs are i32."""
    swap = bytes((EXTERNREF,)), bytes((I32,))
    return FuncType(functype.params.replace(*swap), functype.results.replace(*swap))


def plain_host_form(functype: FuncType) -> HostForm:
    """The parameters come as they are, and the result or a tuple of results is returned."""
    names = tuple(f"a{i}" for i in range(len(functype.params)))
    return HostForm(names, names)
