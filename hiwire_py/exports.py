"""Class Exports: what a guest exports, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from .memory import GuestGlobal, GuestMemory, GuestTable, GuestTag
from .objects import Instance
from .resources import Unique
from .wasm.module import FUNCTION, GLOBAL, MEMORY, TABLE, TAG

__all__ = ["Exports", "unknown"]

_CLASSES = {MEMORY: GuestMemory, TABLE: GuestTable, GLOBAL: GuestGlobal, TAG: GuestTag}
_MOST_NAMES = 12  # in an error


class Exports(Unique, Mapping[str, Any]):
    """A guest's exports: name -> function, `GuestMemory`, `GuestTable`, `GuestGlobal` or `GuestTag`, made
    when it is first asked for, and always the same one.

    Every export is an item: ``exports["name"]``. Most are attributes as well, ``exports.name``, which is
    quicker. Names that are attributes of this object already are items only: the methods of a mapping
    (``get``, ``keys``, ``items``, ``values``), and names with two underscores at both ends. So a guest's
    function ``get`` is ``exports["get"]``.

    The whole can be given to another guest: ``Guest(wasm, {"env": other.exports})`` links the two.
    """

    # Two underscores at both ends, so that no export can be mistaken for them, nor they for an export. They
    # are in the object's dict and not in slots: on CPython 3.13 exports that have become attributes, which
    # are in the dict, are found half as fast where there are slots as well.
    __instance__: Instance
    __made__: dict[str, Any]

    def __init__(self, instance: Instance) -> None:
        self.__dict__.update(__instance__=instance, __made__={})

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__" == name[-2:]:
            raise AttributeError(
                f"attribute {name!r} would be Exports' own; an export is the item [{name!r}]"
            )
        try:
            value = self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None
        self.__dict__[name] = value  # the next access finds it without coming here
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name!r} cannot be set: exports are what the guest exports")

    def __getitem__(self, name: str) -> Any:
        made = self.__made__
        try:
            return made[name]
        except KeyError:
            if name not in self.__instance__.index:
                raise KeyError(unknown(name, self.__instance__.index)) from None
        return made.setdefault(name, _make(self.__instance__, name))

    def get(self, name: str, default: Any = None) -> Any:
        """The export of that name, or ``default``: a mapping's method, not a guest's function.

        Raises:
            TypeError: ``name`` is no str, as where the guest's own ``get`` is meant, the item ``["get"]``.
        """
        if not isinstance(name, str):
            raise TypeError(
                f"the name of an export is a str, not {type(name).__name__}; a guest's own function get is"
                ' the item ["get"]'
            )
        return self[name] if name in self.__instance__.index else default

    def __iter__(self) -> Iterator[str]:
        return iter(self.__instance__.index)

    def __len__(self) -> int:
        return len(self.__instance__.index)

    def __contains__(self, name: object) -> bool:
        return name in self.__instance__.index

    def __dir__(self) -> list[str]:
        return [*self.__instance__.index, "get", "items", "keys", "values"]

    def __repr__(self) -> str:
        return f"<{len(self)} exports of a guest on {self.__instance__.space.engine.name}>"


def unknown(name: object, index: Mapping[str, object]) -> str:
    """The message of the error where none of the exports in ``index`` has that name."""
    if not index:
        known = "nothing"
    elif len(index) <= _MOST_NAMES:
        known = ", ".join(sorted(index))
    else:
        near = difflib.get_close_matches(str(name), index, 3)
        known = f"{len(index)} other names" + (f", {' and '.join(near)} among them" if near else "")
    wanted = repr(name) if isinstance(name, str) else f"a name that is no str but {type(name).__name__}"
    return f"the guest does not export {wanted}; it exports {known}"


def _make(instance: Instance, name: str) -> Any:
    kind, _ = instance.index[name]
    if kind == FUNCTION:
        return instance.function(name)
    return _CLASSES[kind](instance.extern(name))
