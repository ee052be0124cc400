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
import threading
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any, Generic, TypeVar, Union

from .types import Enum, Flags, Record, Variant
from .wit import Names, definition_text

__all__ = [
    "Case",
    "Classes",
    "Err",
    "Named",
    "Ok",
    "Some",
    "class_name",
    "fields_from",
    "item_name",
    "member_name",
    "method_name",
    "python_name",
]


_Value = TypeVar("_Value", covariant=True)


@dataclass(frozen=True)
class Some(Generic[_Value]):
    """An option that has a value, where the value is an option too."""

    value: _Value


@dataclass(frozen=True)
class Ok(Generic[_Value]):
    """A result that is within another value, and good."""

    value: _Value = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Err(Generic[_Value]):
    """A result that is within another value, and an error."""

    value: _Value = None  # type: ignore[assignment]


class Case:
    """The base of all variants' classes.

    Attributes:
        case: the number of the case.
        label: its name in WIT.
        cases: the classes of all cases, in order.
    """

    case: int
    label: str
    cases: tuple[type[Case], ...] = ()


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


def method_name(label: str) -> str:
    """As `python_name`, for what a resource has: its class has a method ``close`` of its own."""
    return "close_" if label.lower() == "close" else python_name(label)


def item_name(label: str) -> str:
    """As `python_name`, for what an instance has: it is a mapping, and has the methods of one."""
    name = python_name(label)
    return f"{name}_" if name in ("get", "items", "keys", "values") else name


class Classes:
    """The classes of a component's types: the same ones for all its instances, each made when it is first
    asked for. They can be used by several threads.

    Args:
        names: what types are called in docstrings: see `wit.edge_names`.
    """

    def __init__(self, names: Names | None = None) -> None:
        self._names: Names = {} if names is None else names
        # By identity, with the type itself: two types that are equal may have two names. The same type may
        # have a name where it is defined and be used elsewhere: the first name is taken.
        self._places: dict[int, tuple[Named, str, str]] = {}
        self._first: dict[Named, Named] = {}
        self._made: dict[int, tuple[Named, type]] = {}
        self._same: dict[tuple[Named, str, str], type] = {}
        self._lock = threading.Lock()

    def name(self, type_: Named, label: str, module: str) -> None:
        """Give a type its name, before any class is asked for.

        Args:
            label: the name in WIT.
            module: where it stands there, such as ``wasi:io/streams@0.2.0``.
        """
        self._places.setdefault(id(type_), (type_, label, module))
        self._first.setdefault(type_, type_)

    def of(self, type_: Named) -> type:
        """The class of a type; of one without a name, that of the first one which equals it."""
        known = self._made.get(id(type_))
        if known is None:
            with self._lock:
                known = self._made.setdefault(id(type_), (type_, self._class(type_)))
        return known[1]

    def case(self, type_: Variant, number: int) -> Any:
        """The class of a case."""
        class_: Any = self.of(type_)
        return class_.cases[number]

    def _class(self, type_: Named) -> type:
        first = type_ if id(type_) in self._places else self._first.setdefault(type_, type_)
        # An interface that is imported and exported has each of its types twice.
        named, label, module = self._places.get(id(first), (first, "", ""))
        made = self._same.get((named, label, module))
        if made is None:
            text = definition_text(named, label, self._names)
            doc = f"``{text}``" + (f" of {module}." if module else ".")
            name = class_name(label) if label else type(type_).__name__
            made = self._same[named, label, module] = _make(named, name, doc, module)
        return made


def _make(type_: Named, name: str, doc: str, module: str) -> type:
    made = _bare(type_, name, doc, module)
    made.__doc__ = doc
    made.__module__ = module
    return made


def _bare(type_: Named, name: str, doc: str, module: str) -> type:
    if isinstance(type_, Record):
        return make_dataclass(name, [(python_name(label), Any) for label, _ in type_.fields], frozen=True)
    if isinstance(type_, Enum):
        members = {member_name(label): number for number, label in enumerate(type_.labels)}
        return enum.Enum(name, members)  # type: ignore[return-value]
    if isinstance(type_, Flags):
        bits = {member_name(label): 1 << bit for bit, label in enumerate(type_.labels)}
        return enum.Flag(name, bits)  # type: ignore[return-value]
    made: Any = type(name, (Case,), {"__slots__": ()})
    cases: list[type] = []
    for number, (label, payload) in enumerate(type_.cases):
        has = [] if payload is None else [("value", Any)]
        case = make_dataclass(
            class_name(label), has, frozen=True, bases=(made,), namespace={"case": number, "label": label}
        )
        case.__qualname__ = f"{name}.{case.__name__}"
        case.__doc__ = f"The case ``{label}`` of the variant {name}."
        case.__module__ = module
        setattr(made, case.__name__, case)
        cases.append(case)
    made.cases = tuple(cases)
    return made  # type: ignore[no-any-return]


def member_name(label: str) -> str:
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
