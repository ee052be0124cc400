"""What a guest exports beside functions: memories, tables and globals."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from .checks import check_integer, shown
from .errors import HiwireError
from .objects import Extern, check_limit
from .objects.trampolines import bind_export
from .resources import Unique
from .values import CROSSING, EXTERNREF, I32, FuncType, check_value

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["GuestGlobal", "GuestMemory", "GuestTable", "GuestTag"]

_PAGE = 65536
_MOST_PAGES = 1 << 16
_MOST_ELEMENTS = (1 << 32) - 1
# `ctypes.string_at`, the quickest way to copy, takes the count as a C int and looks at its low bits only.
_MOST_AT_ONCE = (1 << 31) - 1
# What the runtime of lowered modules exports for tables of externrefs. The last argument is the table.
_OPERATIONS = {
    "get": FuncType(bytes((I32, I32)), bytes((EXTERNREF,))),
    "set": FuncType(bytes((I32, EXTERNREF, I32)), b""),
    "size": FuncType(bytes((I32,)), bytes((I32,))),
    "grow": FuncType(bytes((EXTERNREF, I32, I32)), bytes((I32,))),
}


class GuestMemory(Unique):
    """A guest's linear memory. Addresses and sizes are bytes, and integers of any kind but bool."""

    def __init__(self, extern: Extern) -> None:
        self.__keep__ = extern
        self._store = extern.space.store
        self._guard = extern.owner.guard

    @property
    def size(self) -> int:
        """The size in bytes, a multiple of 65,536."""
        self._guard.check()
        return self._store.memory_size(self.__keep__.raw)

    @property
    def address(self) -> int:
        """Where the memory begins in this process. Good until the memory grows or is gone."""
        self._guard.check()
        return self._store.memory_address(self.__keep__.raw)

    def read(self, address: int, count: int) -> bytes:
        """A copy of ``count`` bytes.

        Raises:
            IndexError: the range is not within the memory.
            TypeError: address or count is no integer.
        """
        if address.__class__ is not int or count.__class__ is not int:
            address, count = check_integer(address, "the address"), check_integer(count, "the count")
        start = self._locate(address, count)
        if count > _MOST_AT_ONCE:
            return (ctypes.c_char * count).from_address(start).raw
        return ctypes.string_at(start, count) if count else b""

    def write(self, address: int, data: Buffer) -> None:
        """Copy ``data`` into the memory: bytes, or what has the buffer protocol, as its bytes lie in order
        (those of an array of numbers are in this machine's byte order). It may be a view of the same memory.

        Raises:
            IndexError: the range is not within the memory; nothing is written.
            TypeError: the address is no integer, or the data has no bytes.
        """
        if address.__class__ is not int:
            address = check_integer(address, "the address")
        if not isinstance(data, bytes):
            data = _bytes_of(data)
        count = len(data)
        start = self._locate(address, count)
        if count:
            ctypes.memmove(start, data, count)

    def grow(self, pages: int) -> int:
        """Add pages of 65,536 bytes; the size in bytes before.

        Raises:
            MemoryLimitError: ``memory_limit`` does not allow it.
            MemoryError: the memory's maximum, or the engine, does not allow it.
            ValueError: the number is negative.
            TypeError: it is no integer.
        """
        pages = _growth(pages, "memory", "pages")
        before = self.size
        refused = f"the memory of {before} bytes cannot grow by {shown(pages)} pages"
        check_limit(self.__keep__.space.limits, "memory_limit", before + pages * _PAGE, f"{refused}: ")
        # Engines are not asked for more than there can be: they take 32 or 64 bits of the number.
        fits = before // _PAGE + pages <= _MOST_PAGES
        if not (fits and self._store.memory_grow(self.__keep__.raw, pages)):
            raise MemoryError(refused)
        return before

    def _locate(self, address: int, count: int) -> int:
        """The address of some bytes in this process; any number where ``count`` is 0."""
        size = self.size
        if address < 0 or count < 0 or address + count > size:
            signed = address < 0 and address + (1 << 32) + count <= size
            hint = " (of a pointer that a guest returned, take & 0xFFFFFFFF)" if signed else ""
            raise IndexError(
                f"bytes {shown(address)} to {shown(address + count)} are not within the memory of {size}"
                f" bytes{hint}"
            )
        return self._store.memory_address(self.__keep__.raw) + address if count else 0


def _growth(value: Any, thing: str, parts: str) -> int:
    """By how many parts a thing is to grow."""
    number = check_integer(value, f"the number of {parts}")
    if number < 0:
        raise ValueError(
            f"a {thing} only grows: the number of {parts} must be 0 or more, not {shown(number)}"
        )
    return number


def _bytes_of(data: Any) -> bytes:
    """A copy of what the buffer protocol gives."""
    try:
        view = memoryview(data)
    except TypeError as error:
        hint = "; encode it first" if isinstance(data, str) else ""
        raise TypeError(
            f"what is written must be bytes or have the buffer protocol, not {type(data).__name__}{hint}"
        ) from error
    if "O" in view.format:
        raise TypeError("what is written must be bytes or numbers, not an array of Python objects")
    return view.tobytes()


class GuestTable(Unique):
    """An exported table. The elements of a table of externrefs can be read and set. A table of functions can
    only be given to other guests, as an import."""

    def __init__(self, extern: Extern) -> None:
        self.__keep__ = extern
        if extern.type.element != EXTERNREF:
            return
        space, guard = extern.space, extern.owner.guard
        self._do = {
            name: bind_export(
                space,
                guard,
                space.store.call(space.runtime.exports[name], functype),
                functype,
                f"{extern.name}.{name}",
                extern,
            )
            for name, functype in _OPERATIONS.items()
        }

    def _call(self, name: str, *args: Any) -> Any:
        extern = self.__keep__
        if extern.type.element != EXTERNREF:
            raise HiwireError(
                f"the table {extern.name!r} holds functions; only those of externrefs can be used here"
            )
        return self._do[name](*args, extern.raw)

    def __len__(self) -> int:
        size: int = self._call("size")
        return size & _MOST_ELEMENTS

    def _index(self, index: Any) -> int:
        if isinstance(index, slice):
            raise TypeError("an element of a table is read or set by its index, not by a slice")
        number = check_integer(index, "the index")
        if not 0 <= number < len(self):
            raise IndexError(f"index {shown(number)} is not within the table of {len(self)} elements")
        return number

    def __getitem__(self, index: int) -> Any:
        return self._call("get", self._index(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self._call("set", self._index(index), value)

    def grow(self, count: int, value: Any) -> int:
        """Add ``count`` elements that hold ``value``; the size before.

        Raises:
            TableLimitError: ``table_limit`` does not allow it.
            MemoryError: the table's maximum, or the engine, does not allow it.
            ValueError: the number is negative.
            TypeError: it is no integer.
        """
        count = _growth(count, "table", "elements")
        size = len(self)
        refused = f"the table of {size} elements cannot grow by {shown(count)}"
        check_limit(self.__keep__.space.limits, "table_limit", size + count, f"{refused}: ")
        # Engines are not asked for more than there can be: they take 32 bits of the number.
        before: int = self._call("grow", value, count) if size + count <= _MOST_ELEMENTS else -1
        if before == -1:
            raise MemoryError(refused)
        return before & _MOST_ELEMENTS


class GuestGlobal(Unique):
    """An exported global. ``value`` reads it, and sets it where it is mutable and no externref."""

    def __init__(self, extern: Extern) -> None:
        self.__keep__ = extern

    @property
    def value(self) -> Any:
        """The value.

        Raises:
            TypeError: it is of a type that Python has no values of, v128 or funcref; or what it is set to is
                no such value; or the global cannot be set from here.
            OverflowError: an integer does not fit its type.
        """
        extern = self.__keep__
        extern.owner.guard.check()
        space, what = extern.space, f"the global {extern.name!r}"
        code = extern.type.type
        if code == EXTERNREF:
            return space.read_reference(extern.raw, what)
        if code not in CROSSING:
            check_value(None, code, what)
        return space.store.global_get(extern.raw)

    @value.setter
    def value(self, value: Any) -> None:
        extern = self.__keep__
        extern.owner.guard.check()
        code = extern.type.type
        if not extern.type.mutable:
            raise TypeError(f"the global {extern.name!r} is immutable")
        if code == EXTERNREF:
            raise TypeError(f"the global {extern.name!r} holds an externref, which only the guest can set")
        extern.space.store.global_set(extern.raw, check_value(value, code, f"the global {extern.name!r}"))


class GuestTag(Unique):
    """An exported tag of exceptions, for other guests to import."""

    def __init__(self, extern: Extern) -> None:
        self.__keep__ = extern
