"""Layouts, which are pointer maps: where in a guest's struct the owned handles and the owning pointers are.

The collector believes a layout as far as it can do no harm: a field that is missing keeps objects alive, and
what a field holds is checked against the table's counts and the memory's bounds before anything follows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union, overload

from ..checks import check_integer, shown
from ..guest import Guest
from ..interface import check_exports, function
from ..memory import GuestMemory

__all__ = ["Layout", "layout"]

_WORD = 4
_MOST_SIZE = 1 << 32
# What c/hiwire/hiwire_layout.h writes: a struct of three words, and fields of three words each.
_LAYOUT, _FIELD = struct.Struct("<III"), struct.Struct("<III")
_HANDLE, _OWNS = 1, 2
# Of a whole description, since its structs can all name the same fields, which costs a guest nothing.
_MOST_FIELDS = 1 << 16

Later = Callable[[], "Layout"]


class Layout:
    """See `layout`, which makes them.

    Attributes:
        size: bytes of the struct.
        handles: the offsets of owned handles, in words.
        owned: the offsets of owning pointers, in words, and what they point to or what gives that.
        pointer_map: the same as compiled types read it; `traverse` fills it in.
    """

    __slots__ = ("handles", "owned", "pointer_map", "size")

    def __init__(self, size: int, handles: tuple[int, ...], owns: Mapping[int, Union[Layout, Later]]) -> None:
        self.size = size
        self.handles = handles
        self.owned = dict(owns)
        self.pointer_map: Any = None

    def owns(self) -> list[tuple[int, Layout]]:
        """The owning pointers: their offsets in words, and what they point to."""
        found = []
        for offset, target in self.owned.items():
            owned = target if isinstance(target, Layout) else target()
            if not isinstance(owned, Layout):
                raise TypeError(
                    f"the function for the pointer at offset {offset * _WORD} must give a layout,"
                    f" not {type(owned).__name__}"
                )
            found.append((offset, owned))
        return found

    def __repr__(self) -> str:
        handles = [offset * _WORD for offset in self.handles]
        owns = [offset * _WORD for offset in self.owned]
        return f"<Layout of {self.size} bytes, handles at {handles}, owning pointers at {owns}>"


@overload
def layout(
    source: int, /, *, handles: Iterable[int] = ..., owns: Mapping[int, Union[Layout, Later]] | None = ...
) -> Layout: ...
@overload
def layout(source: Guest, name: str, /) -> Layout: ...
def layout(
    source: Union[int, Guest],
    name: str | None = None,
    /,
    *,
    handles: Iterable[int] = (),
    owns: Mapping[int, Union[Layout, Later]] | None = None,
) -> Layout:
    """Say where a guest's struct has its owned handles and its owning pointers.

    *Owned* means: whoever frees the struct gives this count of the handle back, or frees what the pointer
    points to, and nobody else does. A field left out is safe: what it holds stays alive. So is memory that
    does not say what the layout promises.

    Args:
        source: the struct's size in bytes; or a guest whose C code describes the struct with
            ``HIWIRE_LAYOUT`` of ``hiwire_layout.h``, so that the offsets are the compiler's.
        name: with a guest: the name it gave to ``HIWIRE_LAYOUT``.
        handles: the offsets of owned handles, in bytes.
        owns: offset of an owning pointer -> the layout of what it points to, or a function that gives it: a
            list's nodes can own each other so.

    Raises:
        ValueError: an offset is not a multiple of 4, not within the struct, or there twice; or the guest's
            description is damaged.
        LookupError: the guest has no such description.
        TypeError: an argument is of the wrong kind.
        UnsupportedModuleError: it exports something else by that name.
    """
    if isinstance(source, Guest):
        if not isinstance(name, str):
            given = "is missing" if name is None else f"must be a str, not {type(name).__name__}"
            raise TypeError(f"layout(guest, name): the name in HIWIRE_LAYOUT {given}")
        return _described(source, name)
    size = check_integer(source, "the first argument of layout(), a size or a guest,")
    if name is not None:
        raise TypeError("layout(size, ...) takes no name")
    if not isinstance(handles, Iterable):
        raise TypeError(f"handles must be a list of offsets, not {type(handles).__name__}")
    owned = {} if owns is None else owns
    if not isinstance(owned, Mapping):
        raise TypeError(f"owns must be a mapping of offsets to layouts, not {type(owned).__name__}")
    return _checked(
        size,
        [check_integer(offset, "an offset in handles") for offset in handles],
        {check_integer(offset, "an offset in owns"): target for offset, target in owned.items()},
    )


def _checked(size: int, handles: list[int], owns: Mapping[int, Union[Layout, Later]]) -> Layout:
    if not _WORD <= size <= _MOST_SIZE:
        raise ValueError(f"a struct has from {_WORD} to {_MOST_SIZE} bytes, not {shown(size)}")
    seen: set[int] = set()
    for offset in [*handles, *owns]:
        if offset % _WORD:
            raise ValueError(
                f"offset {shown(offset)} is not a multiple of {_WORD}: no handle or pointer is there"
            )
        if not 0 <= offset <= size - _WORD:
            raise ValueError(f"offset {shown(offset)} is not within the struct of {size} bytes")
        if offset in seen:
            raise ValueError(f"offset {offset} is there twice: a field is one handle or one pointer")
        seen.add(offset)
    for offset, target in owns.items():
        if not isinstance(target, Layout) and not callable(target):
            raise TypeError(f"offset {offset} must own a layout, not {type(target).__name__}")
    return Layout(
        size,
        tuple(offset // _WORD for offset in handles),
        {offset // _WORD: target for offset, target in owns.items()},
    )


def _described(guest: Guest, name: str) -> Layout:
    """What HIWIRE_LAYOUT wrote into a guest's memory, which may be anything. Descriptions may refer to each
    other in rings."""
    export = f"hiwire_layout_{name}"
    if export not in guest.exports:
        raise LookupError(
            f"the guest does not export {export!r}: describe the struct with"
            f" HIWIRE_LAYOUT({name}, ...) of hiwire_layout.h"
        )
    module = guest.instance.module
    check_exports("the guest", f"module that describes {name!r}", module, {export: function("", "i")})
    first = guest.exports[export]() & 0xFFFFFFFF
    waiting = [first]
    made: dict[int, Layout] = {}
    fields = 0
    try:
        while waiting:
            at = waiting.pop()
            if at in made:
                continue
            size, handles, owns = _fields(guest.memory, at)
            later = {offset: (lambda at=target: made[at]) for offset, target in owns.items()}
            made[at] = _checked(size, handles, later)
            waiting += owns.values()
            fields += len(handles) + len(owns)
            if fields > _MOST_FIELDS:
                raise ValueError("it has no end")
    except (IndexError, ValueError) as error:
        raise ValueError(f"the description of {name!r} is damaged: {error}") from None
    return made[first]


def _fields(memory: GuestMemory, at: int) -> tuple[int, list[int], dict[int, int]]:
    """The size of the struct described at an address, and its handles and owning pointers by offset."""
    size, count, first = _LAYOUT.unpack(memory.read(at, _LAYOUT.size))
    if count > _MOST_FIELDS:
        raise IndexError(f"{count} fields")
    handles, owns = [], {}
    for kind, offset, target in _FIELD.iter_unpack(memory.read(first, count * _FIELD.size)):
        if kind == _HANDLE:
            handles.append(offset)
        elif kind == _OWNS and offset not in owns:
            owns[offset] = target
        else:
            raise IndexError(f"a field of kind {kind} at offset {offset}")
    return size, handles, owns
