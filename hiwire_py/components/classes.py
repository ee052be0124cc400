"""The Python classes of a component's types: dataclasses, enums and flags, and what stands for the rest.

| type | Python |
|---|---|
| bool, numbers, char, string | bool, int, float, str of one character, str |
| list, map, tuple | list (of u8: bytes), list of pairs, tuple |
| record | a frozen dataclass; a mapping of its fields is taken as well |
| variant | a dataclass for each case, below a class for the variant; ``value`` is the payload |
| enum, flags | an `enum.Enum`, an `enum.Flag` |
| option | None or the value; `Some` where the value may be None itself |
| result | `Ok` or `Err`; of a whole function the value, or `ComponentError` |

Host functions, which have no class of a component at hand, may give labels of WIT: ``"closed"`` for a case
without a payload, ``("failed", payload)`` for one with a payload, ``"no-entry"`` of an enum, and a set of
labels for flags.
"""

from __future__ import annotations

import enum
import functools
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any, Union

from .types import Enum, Flags, Record, ValueType, Variant

__all__ = ["Case", "Classes", "Err", "Ok", "Some", "class_name", "python_name"]


@dataclass(frozen=True)
class Some:
    """An option that has a value, where the value is an option too."""

    value: Any


@dataclass(frozen=True)
class Ok:
    """A result that is within another value, and good."""

    value: Any = None


@dataclass(frozen=True)
class Err:
    """A result that is within another value, and an error."""

    value: Any = None


class Case:
    """The base of all variants' classes.

    Attributes:
        case: the number of the case.
        label: its name in WIT.
    """

    case: int
    label: str


Named = Union[Record, Variant, Enum, Flags]


@functools.lru_cache(maxsize=4096)
def python_name(label: str) -> str:
    """A name of WIT as an attribute of Python: ``get-JSON`` is ``get_json``; a keyword has ``_`` behind
    it."""
    name = re.sub(r"\W", "_", label.lower())
    return f"{name}_" if keyword.iskeyword(name) or name[:1].isdigit() else name


def class_name(label: str) -> str:
    """A name of WIT as a class of Python: ``http-request`` is ``HttpRequest``."""
    words = re.split(r"\W+", label)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return f"{name}_" if keyword.iskeyword(name) or name[:1].isdigit() else name


class Classes:
    """The classes of a component's types. A type that has no name at the component's edge gets a class as
    soon as it is asked for."""

    def __init__(self) -> None:
        # By identity, with the type itself: two types that are equal may have two names. The same type may
        # have a name where it is defined and be used elsewhere: the first name is taken.
        self._names: dict[int, tuple[Named, str, str]] = {}
        self._first: dict[Named, Named] = {}  # for a type the first one with a name that is equal
        self._made: dict[int, tuple[Named, type]] = {}
        self._unnamed: dict[Named, type] = {}

    def name(self, type_: Named, label: str, module: str) -> None:
        """Say what the class of a type is to be called: like the type. It is made when it is asked for.

        Args:
            label: the name in WIT.
            module: where it stands there, such as ``wasi:io/streams@0.2.0``.
        """
        self._names.setdefault(id(type_), (type_, label, module))
        self._first.setdefault(type_, type_)

    def of(self, type_: Named) -> type:
        """The class of a type."""
        known = self._made.get(id(type_))
        if known is not None:
            return known[1]
        if id(type_) in self._names:
            _, label, module = self._names[id(type_)]
            made = _make(type_, class_name(label), f"``{label}`` of {module}.", module)
            self._made[id(type_)] = type_, made
            return made
        if type_ in self._first:
            return self.of(self._first[type_])
        if type_ not in self._unnamed:
            self._unnamed[type_] = _make(type_, type(type_).__name__, "A type without a name.", "")
        return self._unnamed[type_]


def _make(type_: Named, name: str, doc: str, module: str) -> type:
    made = _bare(type_, name, doc, module)
    made.__doc__ = doc
    made.__module__ = module
    return made


def _bare(type_: Named, name: str, doc: str, module: str) -> type:
    if isinstance(type_, Record):
        return make_dataclass(name, [(python_name(label), Any) for label, _ in type_.fields], frozen=True)
    if isinstance(type_, Enum):
        members = {_member(label): number for number, label in enumerate(type_.labels)}
        return enum.Enum(name, members)  # type: ignore[return-value]
    if isinstance(type_, Flags):
        bits = {_member(label): 1 << bit for bit, label in enumerate(type_.labels)}
        return enum.Flag(name, bits)  # type: ignore[return-value]
    made = type(name, (Case,), {"__slots__": ()})
    for number, (label, payload) in enumerate(type_.cases):
        has = [] if payload is None else [("value", Any)]
        case = make_dataclass(
            class_name(label), has, frozen=True, bases=(made,), namespace={"case": number, "label": label}
        )
        case.__qualname__ = f"{name}.{case.__name__}"
        case.__doc__ = f"The case ``{label}`` of {doc}"
        case.__module__ = module
        setattr(made, case.__name__, case)
    return made


def _member(label: str) -> str:
    """A member of an enum: in capitals."""
    name = re.sub(r"\W", "_", label).upper()
    return f"_{name}" if name[:1].isdigit() else name


def fields_from(value: Any, fields: tuple[str, ...], class_: type) -> tuple[Any, ...]:
    """The fields of a record that Python gives: of its class, a mapping, or what has such attributes.

    Raises:
        TypeError: it has others, or not all of them.
    """
    if isinstance(value, Mapping) and len(value) == len(fields) and all(label in value for label in fields):
        return tuple(value[label] for label in fields)  # by the names of WIT: nothing is to be looked for
    names = [python_name(label) for label in fields]
    if isinstance(value, Mapping):
        given = {python_name(key) if isinstance(key, str) else key for key in value}
        if given != set(names):
            missing, more = sorted(set(names) - given), sorted(map(repr, given - set(names)))
            told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(more)}"] * bool(more)
            raise TypeError(
                f"a {class_.__name__} has the fields {', '.join(names)}; what was given {'; '.join(told)}"
            )
        by_name = {python_name(key): one for key, one in value.items()}
        return tuple(by_name[name] for name in names)
    try:
        return tuple(getattr(value, name) for name in names)
    except AttributeError:
        raise TypeError(
            f"a {class_.__name__} is wanted, or a mapping with its fields {', '.join(names)}, not"
            f" {type(value).__name__}"
        ) from None
