"""What an engine says about calls across its boundary: its part of the source that trampolines are made of.

A call costs a few hundred nanoseconds in all, and a call from Python to Python is a good part of that. So the
engine's part is not called: it is written into the function that users have, or that the engine calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..values import FuncType

__all__ = ["Call", "CallForm", "HostForm", "Quick", "call_of", "plain_form", "plain_host_form"]


class Quick(NamedTuple):
    """How a call goes whose thread and arguments the engine's part checks itself.

    Attributes:
        done: an expression of ``r``: the call has returned.
        refused: the same: it has not begun, since the thread is another one, or an argument does not fit.
    """

    done: str
    refused: str


class CallForm(NamedTuple):
    """How an export of some type is called.

    Attributes:
        code: statements, with ``{0}``, ``{1}`` and so on for the parameters, which are signed integers and
            floats. They raise what the engine raises. ``{mark}`` is for the list in which a quick call writes
            how deep calls are nested, once it has been checked; None in others.
        results: expressions for the results, good until another call is made.
        quick: the first statement may be run before anything is checked: it leaves ``r``. None where that is
            not so.
    """

    code: tuple[str, ...]
    results: tuple[str, ...]
    quick: Quick | None = None


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
        nothing: what is returned where no results are.
    """

    params: tuple[str, ...]
    arguments: tuple[str, ...]
    targets: tuple[str, ...] | None = None
    nothing: str = "None"


def plain_form(functype: FuncType) -> CallForm:
    """Of a Python callable ``function`` that takes the parameters, and returns the results as a sequence if
    there are several."""
    call = f"function({', '.join(f'{{{i}}}' for i in range(len(functype.params)))})"
    results = tuple(f"r{i}" for i in range(len(functype.results)))
    return CallForm((f"{', '.join(results)} = {call}" if results else call,), results)


def call_of(function: Any, functype: FuncType, keep: object = None) -> Call:
    """A Python callable as `plain_form` has it."""
    return Call(plain_form(functype), {"function": function}, keep)


def plain_host_form(functype: FuncType) -> HostForm:
    """The parameters come as they are, and the result or a tuple of results is returned."""
    names = tuple(f"a{i}" for i in range(len(functype.params)))
    return HostForm(names, names)
