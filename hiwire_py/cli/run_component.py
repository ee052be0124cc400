"""`hiwire run` for components: arguments and results are values in WAVE."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..checks import arguments as in_words
from ..components import Component, ComponentInstance, wave
from ..components.plan import Export, FunctionExport, HostFunction, InstanceExports
from ..components.types import FuncType, Result
from ..components.wit import function_text
from ..errors import ComponentError, HiwireError
from ..wasi import Wasi

__all__ = ["run_component"]

_COMMAND = "wasi:cli/run"
_MOST_NAMES = 12  # in an error


def run_component(
    name: str, wasm: bytes, words: Sequence[str], options: Mapping[str, Any], given: Mapping[str, Any]
) -> list[str]:
    """Instantiate a component, and call one function.

    Args:
        name: the program's name, which is its first argument.
        words: the function, as ``name``, ``interface#name`` or ``interface.name``, with its arguments. A
            version may be left out. A component that exports ``wasi:cli/run``, and nothing else, is a
            command: then all words are the program's; one that exports more is a command if there are none.
        options: those of `Component.instantiate`, for engine and limits.
        given: those of `Wasi`, without arguments.

    Returns:
        The lines to print: the result, if there is one.

    Raises:
        click.UsageError: there is no such function, or the arguments do not fit it.
        GuestExit: the program has exited, with a status of its own.
        HiwireError: the component cannot run, trapped, or the function gave an error.
    """
    component = Component(wasm)
    found = _functions(component.exports)
    commands = [name for name in found if name.partition("#")[0].partition("@")[0] == _COMMAND]
    if commands and (not words or len(found) == len(commands)):
        system = Wasi([name, *words], **given)
        _call(component.instantiate(wasi=system, **options), commands[0], [])
        return []
    if not words:
        raise click.UsageError(f"a function is missing; {_known(found)}")
    called = _lookup(words[0], found)
    type_ = found[called].type
    shown = f"{called}{function_text(type_, component._names)[len('func') :]}"
    if len(words) - 1 != len(type_.params):
        raise click.UsageError(f"{shown} takes {in_words(len(type_.params))}, not {len(words) - 1}")
    values = []
    for number, (word, (label, one)) in enumerate(zip(words[1:], type_.params), 1):
        try:
            values.append(wave.parse(word, one, component._classes, component._names))
        except wave.WaveError as error:
            raise click.UsageError(f"argument {number} of {called}, {label}: {error}") from None
    instance = component.instantiate(wasi=Wasi([name], **given), **options)
    return _shown(_call(instance, called, values, type_), type_)


def _functions(exports: Mapping[str, Export], where: str = "") -> dict[str, FunctionExport]:
    """The functions of a component itself, by their names: ``name`` or ``interface#name``."""
    found: dict[str, FunctionExport] = {}
    for name, one in exports.items():
        if isinstance(one, InstanceExports):
            found.update(_functions(one.items, f"{where}{name}#"))
        elif isinstance(one, FunctionExport) and not isinstance(one.function, HostFunction):
            found[f"{where}{name}"] = one
    return found


def _spellings(name: str) -> list[str]:
    interface, hash_, own = name.rpartition("#")
    if not hash_:
        return [name]
    plain = interface.partition("@")[0]
    return [f"{one}{sign}{own}" for one in (interface, plain) for sign in "#."]


def _lookup(word: str, found: Mapping[str, FunctionExport]) -> str:
    """The name of the function that a word means."""
    if word in found:
        return word
    meant = [name for name in found if word in _spellings(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise click.UsageError(f"{word!r} may be {' or '.join(meant)}")
    raise click.UsageError(f"the component exports no function {word!r}; {_known(found, word)}")


def _known(found: Mapping[str, FunctionExport], word: str = "") -> str:
    names = sorted(found)
    if len(names) > _MOST_NAMES:
        near = difflib.get_close_matches(word, names, _MOST_NAMES, 0) if word else names[:_MOST_NAMES]
        return f"some of its {len(names)} functions are: {', '.join(near)}"
    return f"its functions are: {', '.join(names) or 'none'}"


def _call(
    instance: ComponentInstance, name: str, values: Sequence[Any], type_: FuncType | None = None
) -> Any:
    where, hash_, own = name.rpartition("#")
    scope: Mapping[str, Any] = instance
    for one in where.split("#") if hash_ else ():
        scope = scope[one]
    try:
        return scope[own](*values)
    except ComponentError as error:
        payload = type_.result.error if type_ is not None and isinstance(type_.result, Result) else None
        told = "" if payload is None else f"({wave.text(error.payload, payload)})"
        raise HiwireError(f"{name} gave err{told}") from error
    except HiwireError:
        raise
    except Exception as error:
        raise HiwireError(f"{name} raised {type(error).__name__}: {error}") from error


def _shown(value: Any, type_: FuncType) -> list[str]:
    if type_.result is None:
        return []
    if isinstance(type_.result, Result):  # an error was raised
        return ["ok" if type_.result.ok is None else f"ok({wave.text(value, type_.result.ok)})"]
    return [wave.text(value, type_.result)]
