"""Values between Python and the memory of a component's instance.

For each type there is a `Codec`, made once, that knows four ways: out of memory and into it, out of core
values and into them. What a call needs besides, it finds in its `Context`: the memory, where new memory comes
from, and what becomes of handles.

Core values are signed integers and floats, as engines give them; both signs are taken.

Format: component model, CanonicalABI.md, "Loading" to "Flat Lowering". The classes: classes.py.
"""

from __future__ import annotations

import ctypes
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..checks import check_integer, shown
from ..errors import GuestTrap
from ..memory import GuestMemory
from ..wasm.types import F32, F64, I64
from .classes import Case, Classes, Err, Ok, Some, fields_from
from .faults import Fault
from .layout import MOST_BYTES, cases_of, discriminant_size, flatten, layout, offsets, payload_offset
from .types import (
    BOOL,
    CHAR,
    STRING,
    Borrow,
    Enum,
    Flags,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    Result,
    Tuple,
    ValueType,
    Variant,
)

__all__ = ["Codec", "Codecs", "Context", "Handles", "Window", "fault", "integer_range"]

_WORD = 0xFFFFFFFF
_FORMATS = {
    "s8": "b", "u8": "B", "s16": "h", "u16": "H", "s32": "i", "u32": "I", "s64": "q", "u64": "Q",
    "f32": "f", "f64": "d",
}  # fmt: skip
_PAIR = struct.Struct("<II")
_NOTHING = memoryview(b"")
_F32 = struct.Struct("<f")


def fault(why: Fault, name: str = "the call") -> GuestTrap:
    """The exception for what a guest did wrong."""
    return GuestTrap(f"{name} trapped: {why.words}", why.words)


class Handles(ABC):
    """What becomes of handles on their way between Python and a component instance."""

    @abstractmethod
    def lift(self, resource: Resource, owned: bool, handle: int) -> Any:
        """The object for a handle that the instance gives."""

    @abstractmethod
    def lower(self, resource: Resource, owned: bool, value: Any) -> int:
        """The handle that the instance gets for an object.

        Raises:
            TypeError: it is none of that resource.
        """


class Window:
    """A memory, as all calls of a side read and write it.

    Attributes:
        size, view: of the memory, good until a guest runs.
    """

    __slots__ = ("_memory", "size", "view")

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self.size, self.view = -1, _NOTHING

    def look(self) -> None:
        """A guest has run: the memory may have grown, and be elsewhere then."""
        size = self._memory.size
        if size != self.size:
            if size:
                array = (ctypes.c_char * size).from_address(self._memory.address)
                self.view = memoryview(array).cast("B")
            self.size = size


class Context:
    """One call's side of an instance.

    Args:
        window: None where nothing is in memory.
        reallocate: ``(old, old size, alignment, size) -> address``; what it gives is within the memory.
        encoding: of strings.
        handles: see there.
    """

    __slots__ = ("encoding", "handles", "reallocate", "size", "view", "window")

    def __init__(
        self,
        window: Window | None,
        reallocate: Callable[[int, int, int, int], int] | None,
        encoding: str,
        handles: Handles,
    ) -> None:
        self.window = window
        self.reallocate = reallocate
        self.encoding = encoding
        self.handles = handles
        self.view, self.size = _NOTHING, -1
        self.look()

    def look(self) -> None:
        """A guest has run."""
        window = self.window
        if window is not None:
            window.look()
            self.size, self.view = window.size, window.view

    def allocate(self, alignment: int, size: int) -> int:
        """The address of new memory."""
        assert self.reallocate is not None
        address = self.reallocate(0, 0, alignment, size) & _WORD
        self.look()
        return address

    def within(self, address: int, size: int, alignment: int, why: Fault) -> None:
        """Raise unless so many bytes are within the memory, and aligned."""
        if address % alignment:
            raise fault(Fault.BAD_POINTER)
        if address + size > max(self.size, 0):
            raise fault(why)


class Codec(ABC):
    """How values of one type are read and written."""

    def __init__(self, type_: ValueType) -> None:
        self.size, self.alignment = layout(type_)
        self.flat = flatten(type_)

    @abstractmethod
    def load(self, cx: Context, at: int) -> Any:
        """Out of memory, which is there."""

    @abstractmethod
    def store(self, cx: Context, value: Any, at: int) -> None:
        """Into memory, which is there."""

    @abstractmethod
    def lift(self, cx: Context, flat: Iterator[Any]) -> Any:
        """Out of core values."""

    @abstractmethod
    def lower(self, cx: Context, value: Any, flat: list[Any]) -> None:
        """Append core values."""

    def load_many(self, cx: Context, at: int, count: int) -> Any:
        """The elements of a list."""
        return [self.load(cx, place) for place in range(at, at + self.size * count, self.size)]

    def store_many(self, cx: Context, values: Sequence[Any], at: int) -> None:
        """The elements of a list."""
        for place, value in enumerate(values):
            self.store(cx, value, at + place * self.size)


class _Scalar(Codec):
    """One core value, of one type's range; ``format`` is that of `struct`."""

    format: str

    def __init__(self, type_: ValueType) -> None:
        super().__init__(type_)
        self.struct = struct.Struct(f"<{self.format}")

    @abstractmethod
    def read(self, number: Any) -> Any:
        """The value of what is in memory, or was a core value."""

    @abstractmethod
    def check(self, value: Any) -> Any:
        """The number to write for what Python gives."""

    def load(self, cx: Context, at: int) -> Any:
        return self.read(self.struct.unpack_from(cx.view, at)[0])

    def store(self, cx: Context, value: Any, at: int) -> None:
        number = self.check(value)
        self.struct.pack_into(cx.view, at, number)

    def lift(self, cx: Context, flat: Iterator[Any]) -> Any:
        return self.read(next(flat))

    def lower(self, cx: Context, value: Any, flat: list[Any]) -> None:
        flat.append(self.check(value))


def integer_range(type_: Primitive) -> tuple[int, int]:
    """The least and the greatest number of an integer type."""
    bits = 8 * layout(type_).size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if type_.name[0] == "s" else (0, (1 << bits) - 1)


class _Integer(_Scalar):
    def __init__(self, type_: Primitive) -> None:
        self.name = type_.name
        self.format = _FORMATS[type_.name]
        super().__init__(type_)
        self.low, self.high = integer_range(type_)
        self.mask, self.sign = (1 << 8 * self.size) - 1, -self.low

    def read(self, number: Any) -> Any:
        if self.low <= number <= self.high:
            return number
        return ((number & self.mask) ^ self.sign) - self.sign

    def check(self, value: Any) -> Any:
        if value.__class__ is not int:
            value = check_integer(value, f"a {self.name}")
        if not self.low <= value <= self.high:
            raise OverflowError(f"{shown(value)} is no {self.name}: it must be {self.low} to {self.high}")
        return value

    def load_many(self, cx: Context, at: int, count: int) -> Any:
        if self.name == "u8":
            return bytes(cx.view[at : at + count])
        return list(struct.unpack_from(f"<{count}{self.format}", cx.view, at))

    def store_many(self, cx: Context, values: Sequence[Any], at: int) -> None:
        if self.name == "u8" and isinstance(values, (bytes, bytearray, memoryview)):
            cx.view[at : at + len(values)] = values
        else:
            checked = [value if value.__class__ is int else self.check(value) for value in values]
            try:
                struct.pack_into(f"<{len(checked)}{self.format}", cx.view, at, *checked)
            except struct.error:
                for value in checked:
                    self.check(value)
                raise


def _in_range(format_: struct.Struct, number: float) -> float:
    """A number that a float of that size can be: too large ones become infinite, as when core values are
    passed."""
    try:
        format_.pack(number)
    except OverflowError:
        return math.copysign(math.inf, number)
    return number


class _Float(_Scalar):
    def __init__(self, type_: Primitive) -> None:
        self.name = type_.name
        self.format = _FORMATS[type_.name]
        super().__init__(type_)

    def read(self, number: Any) -> Any:
        return number

    def check(self, value: Any) -> Any:
        if value.__class__ is float:
            return value
        if isinstance(value, bool) or not hasattr(type(value), "__float__"):
            raise TypeError(f"a {self.name} must be a number, not {type(value).__name__}")
        return float(value)

    def store(self, cx: Context, value: Any, at: int) -> None:
        self.struct.pack_into(cx.view, at, _in_range(self.struct, self.check(value)))

    def load_many(self, cx: Context, at: int, count: int) -> Any:
        return list(struct.unpack_from(f"<{count}{self.format}", cx.view, at))


class _Bool(_Scalar):
    format = "B"

    def read(self, number: Any) -> Any:
        return number != 0

    def check(self, value: Any) -> Any:
        if value is not True and value is not False:
            raise TypeError(f"a bool must be True or False, not {type(value).__name__}")
        return int(value)


class _Char(_Scalar):
    format = "I"

    def read(self, number: Any) -> Any:
        number &= _WORD
        if number >= 0x110000 or 0xD800 <= number < 0xE000:
            raise fault(Fault.BAD_CHAR)
        return chr(number)

    def check(self, value: Any) -> Any:
        if not isinstance(value, str) or len(value) != 1 or 0xD800 <= ord(value) < 0xE000:
            raise TypeError(f"a char must be a str of one character that is no surrogate, not {value!r:.50}")
        return ord(value)


class _Enum(_Scalar):
    def __init__(self, type_: Enum, class_: Any) -> None:
        self.format = _FORMATS[f"u{8 * discriminant_size(len(type_.labels))}"]
        super().__init__(type_)
        self.members = list(class_)
        self.class_ = class_
        self.labels = type_.labels

    def read(self, number: Any) -> Any:
        number &= _WORD
        if number >= len(self.members):
            raise fault(Fault.BAD_DISCRIMINANT)
        return self.members[number]

    def check(self, value: Any) -> Any:
        if value.__class__ is self.class_:
            return value.value
        label = value.name.lower().replace("_", "-") if hasattr(value, "name") else value
        for number, one in enumerate(self.labels):
            if label in (one, one.lower()):
                return number
        members = ", ".join(map(str, self.members))
        raise TypeError(
            f"a {self.class_.__name__} must be one of {members}, or the name of one, not {value!r:.50}"
        )


class _Flags(_Scalar):
    def __init__(self, type_: Flags, class_: Any) -> None:
        self.format = _FORMATS[f"u{8 * layout(type_).size}"]
        super().__init__(type_)
        self.class_ = class_
        self.known = (1 << len(type_.labels)) - 1
        self.bits = {label: 1 << bit for bit, label in enumerate(type_.labels)}

    def read(self, number: Any) -> Any:
        return self.class_(number & self.known)

    def check(self, value: Any) -> Any:
        if value.__class__ is self.class_:
            return value.value & self.known
        if isinstance(value, (set, frozenset, list, tuple)) and set(value) <= set(self.bits):
            return sum(self.bits[label] for label in set(value))
        number = getattr(value, "value", None)
        if hasattr(value, "name") and isinstance(number, int) and 0 <= number <= self.known:
            return number
        raise TypeError(
            f"a {self.class_.__name__} must be one, or a set of the names {', '.join(self.bits)}, not"
            f" {value!r:.50}"
        )


class _Handle(_Scalar):
    format = "I"

    def __init__(self, type_: Own | Borrow) -> None:
        super().__init__(type_)
        self.resource = type_.resource
        self.owned = isinstance(type_, Own)

    def read(self, number: Any) -> Any:
        raise NotImplementedError

    def check(self, value: Any) -> Any:
        raise NotImplementedError

    def load(self, cx: Context, at: int) -> Any:
        return cx.handles.lift(self.resource, self.owned, self.struct.unpack_from(cx.view, at)[0])

    def store(self, cx: Context, value: Any, at: int) -> None:
        self.struct.pack_into(cx.view, at, cx.handles.lower(self.resource, self.owned, value))

    def lift(self, cx: Context, flat: Iterator[Any]) -> Any:
        return cx.handles.lift(self.resource, self.owned, next(flat) & _WORD)

    def lower(self, cx: Context, value: Any, flat: list[Any]) -> None:
        flat.append(cx.handles.lower(self.resource, self.owned, value))


class _Pair(Codec):
    """An address, and how many there are of something."""

    @abstractmethod
    def get(self, cx: Context, address: int, count: int) -> Any:
        """What is there."""

    @abstractmethod
    def put(self, cx: Context, value: Any) -> tuple[int, int]:
        """Where it is now, and how many there are."""

    def load(self, cx: Context, at: int) -> Any:
        return self.get(cx, *_PAIR.unpack_from(cx.view, at))

    def store(self, cx: Context, value: Any, at: int) -> None:
        pair = self.put(cx, value)
        _PAIR.pack_into(cx.view, at, *pair)

    def lift(self, cx: Context, flat: Iterator[Any]) -> Any:
        return self.get(cx, next(flat) & _WORD, next(flat) & _WORD)

    def lower(self, cx: Context, value: Any, flat: list[Any]) -> None:
        flat += self.put(cx, value)


class _String(_Pair):
    def get(self, cx: Context, address: int, count: int) -> Any:
        encoding, size, alignment = "utf-8", count, 1
        if cx.encoding != "utf8":
            wide = cx.encoding == "utf16" or count >> 31
            count = count if cx.encoding == "utf16" else count & 0x7FFFFFFF
            encoding, size, alignment = ("utf-16-le", 2 * count, 2) if wide else ("latin-1", count, 2)
        if size > MOST_BYTES:
            raise fault(Fault.STRING_TOO_LONG)
        if address % alignment:
            raise fault(Fault.BAD_POINTER)
        if address + size > max(cx.size, 0):
            raise fault(Fault.STRING_BOUNDS)
        try:
            return str(cx.view[address : address + size], encoding)
        except UnicodeDecodeError:
            raise fault(Fault.STRING_ENCODING) from None

    def put(self, cx: Context, value: Any) -> tuple[int, int]:
        if not isinstance(value, str):
            raise TypeError(f"a string must be a str, not {type(value).__name__}")
        data, alignment, count = _encoded(value, cx.encoding)
        if len(data) > MOST_BYTES:
            raise ValueError(f"a string of {len(data)} bytes is too long: {MOST_BYTES} are allowed")
        address = cx.allocate(alignment, len(data))
        cx.view[address : address + len(data)] = data
        return address, count

    def load_many(self, cx: Context, at: int, count: int) -> Any:
        # Of a copy: an iterator over the view itself, held by an exception's traceback in a reference cycle,
        # crashes CPython 3.10's collector, which clears a view that is in use.
        pairs = _PAIR.iter_unpack(bytes(cx.view[at : at + 8 * count]))
        if cx.encoding != "utf8":
            return [self.get(cx, *pair) for pair in pairs]
        view, end, found = cx.view, max(cx.size, 0), []
        try:
            for address, size in pairs:
                if size > MOST_BYTES or address + size > end:
                    raise fault(Fault.STRING_TOO_LONG if size > MOST_BYTES else Fault.STRING_BOUNDS)
                found.append(str(view[address : address + size], "utf-8"))
        except UnicodeDecodeError:
            raise fault(Fault.STRING_ENCODING) from None
        return found


def _encoded(value: str, encoding: str) -> tuple[bytes, int, int]:
    """The bytes, their alignment, and the number of units."""
    try:
        if encoding == "utf8":
            data = value.encode()
            return data, 1, len(data)
        if encoding == "latin1+utf16":
            try:
                data = value.encode("latin-1")
                return data, 2, len(data)
            except UnicodeEncodeError:
                data = value.encode("utf-16-le")
                return data, 2, len(data) // 2 | 1 << 31
        data = value.encode("utf-16-le")
        return data, 2, len(data) // 2
    except UnicodeEncodeError as e:
        raise ValueError(f"a string must not have surrogates, as at {e.start}") from None


class _List(_Pair):
    def __init__(self, type_: ValueType, element: Codec) -> None:
        super().__init__(type_)
        self.element = element

    def get(self, cx: Context, address: int, count: int) -> Any:
        element = self.element
        size = count * element.size
        if size > MOST_BYTES:
            raise fault(Fault.LIST_TOO_LONG)
        cx.within(address, size, element.alignment, Fault.LIST_BOUNDS)
        return element.load_many(cx, address, count)

    def put(self, cx: Context, value: Any) -> tuple[int, int]:
        values = self.values(value)
        size = len(values) * self.element.size
        if size > MOST_BYTES:
            raise ValueError(f"a list of {size} bytes is too long: {MOST_BYTES} are allowed")
        address = cx.allocate(self.element.alignment, size)
        self.element.store_many(cx, values, address)
        return address, len(values)

    def values(self, value: Any) -> Sequence[Any]:
        """The elements of what Python gives."""
        if isinstance(value, str) or not hasattr(type(value), "__iter__"):
            raise TypeError(
                f"a list must be a list or another iterable that is no str, not {type(value).__name__}"
            )
        return value if isinstance(value, (list, tuple, bytes, bytearray)) else list(value)


class _Map(_List):
    def values(self, value: Any) -> Sequence[Any]:
        return list(value.items()) if isinstance(value, Mapping) else super().values(value)


class _Fields(Codec):
    """What has parts, one behind the other."""

    def __init__(self, type_: ValueType, types: Sequence[ValueType], codecs: Sequence[Codec]) -> None:
        super().__init__(type_)
        self.parts = list(zip(offsets(types), codecs))
        self.codecs = list(codecs)

    @abstractmethod
    def made(self, values: list[Any]) -> Any:
        """The whole."""

    @abstractmethod
    def taken(self, value: Any) -> Sequence[Any]:
        """The parts."""

    def load(self, cx: Context, at: int) -> Any:
        return self.made([codec.load(cx, at + offset) for offset, codec in self.parts])

    def store(self, cx: Context, value: Any, at: int) -> None:
        for (offset, codec), part in zip(self.parts, self.taken(value)):
            codec.store(cx, part, at + offset)

    def lift(self, cx: Context, flat: Iterator[Any]) -> Any:
        return self.made([codec.lift(cx, flat) for codec in self.codecs])

    def lower(self, cx: Context, value: Any, flat: list[Any]) -> None:
        for codec, part in zip(self.codecs, self.taken(value)):
            codec.lower(cx, part, flat)


class _Record(_Fields):
    def __init__(self, type_: Record, codecs: Sequence[Codec], class_: type) -> None:
        super().__init__(type_, [one for _, one in type_.fields], codecs)
        self.class_ = class_
        self.labels = tuple(label for label, _ in type_.fields)

    def made(self, values: list[Any]) -> Any:
        return self.class_(*values)

    def taken(self, value: Any) -> Sequence[Any]:
        return fields_from(value, self.labels, self.class_)


class _Tuple(_Fields):
    def made(self, values: list[Any]) -> Any:
        return tuple(values)

    def taken(self, value: Any) -> Sequence[Any]:
        if not isinstance(value, (tuple, list)) or len(value) != len(self.codecs):
            what = f"{len(value)} items" if isinstance(value, (tuple, list)) else type(value).__name__
            raise TypeError(f"a tuple of {len(self.codecs)} items is wanted, not {what}")
        return value


class _FixedList(_Tuple):
    def made(self, values: list[Any]) -> Any:
        return values


class _Cases(Codec):
    """One of several, with its payload."""

    def __init__(self, type_: ValueType, codecs: Sequence[Codec | None]) -> None:
        super().__init__(type_)
        self.codecs = codecs
        self.offset = payload_offset(type_)
        self.number = struct.Struct("<" + _FORMATS[f"u{8 * discriminant_size(len(codecs))}"])

    @abstractmethod
    def made(self, number: int, payload: Any) -> Any:
        """The value of a case."""

    @abstractmethod
    def taken(self, value: Any) -> tuple[int, Any]:
        """The case of what Python gives, and its payload."""

    def load(self, cx: Context, at: int) -> Any:
        number = self.number.unpack_from(cx.view, at)[0]
        if number >= len(self.codecs):
            raise fault(Fault.BAD_DISCRIMINANT)
        codec = self.codecs[number]
        return self.made(number, None if codec is None else codec.load(cx, at + self.offset))

    def store(self, cx: Context, value: Any, at: int) -> None:
        number, payload = self.taken(value)
        codec = self.codecs[number]
        if codec is not None:
            codec.store(cx, payload, at + self.offset)
        self.number.pack_into(cx.view, at, number)

    def lift(self, cx: Context, flat: Iterator[Any]) -> Any:
        number = next(flat) & _WORD
        rest = [next(flat) for _ in self.flat[1:]]
        if number >= len(self.codecs):
            raise fault(Fault.BAD_DISCRIMINANT)
        codec = self.codecs[number]
        if codec is None:
            return self.made(number, None)
        narrow = iter([_narrow(*one) for one in zip(rest, self.flat[1:], codec.flat)])
        return self.made(number, codec.lift(cx, narrow))

    def lower(self, cx: Context, value: Any, flat: list[Any]) -> None:
        number, payload = self.taken(value)
        codec, given = self.codecs[number], list[Any]()
        if codec is not None:
            codec.lower(cx, payload, given)
        wanted = self.flat[1:]
        flat.append(number)
        flat += [_widen(*one) for one in zip(given, codec.flat if codec else b"", wanted)]
        flat += [0.0 if code in (F32, F64) else 0 for code in wanted[len(given) :]]


def _narrow(value: Any, have: int, want: int) -> Any:
    """A core value out of one that holds others as well."""
    if have == want:
        return value
    if want == F64:
        return struct.unpack("<d", (value & (1 << 64) - 1).to_bytes(8, "little"))[0]
    if want == F32:
        return struct.unpack("<f", (value & _WORD).to_bytes(4, "little"))[0]
    return value & _WORD


def _widen(value: Any, have: int, want: int) -> Any:
    """A core value as one that holds others as well."""
    if have == want:
        return value
    if have == F64:
        return struct.unpack("<q", struct.pack("<d", value))[0]
    if have == F32:
        number: int = struct.unpack("<I" if want == I64 else "<i", _F32.pack(_in_range(_F32, value)))[0]
        return number
    return value & _WORD


class _Variant(_Cases):
    def __init__(self, type_: Variant, codecs: Sequence[Codec | None], class_: Any) -> None:
        super().__init__(type_, codecs)
        self.class_ = class_
        self.classes = class_.cases
        self.labels = {label: number for number, (label, _) in enumerate(type_.cases)}

    def made(self, number: int, payload: Any) -> Any:
        return self.classes[number]() if self.codecs[number] is None else self.classes[number](payload)

    def taken(self, value: Any) -> tuple[int, Any]:
        if isinstance(value, self.class_):
            return value.case, getattr(value, "value", None)
        if isinstance(value, Case) and value.label in self.labels:
            return self.labels[value.label], getattr(value, "value", None)
        # For host functions, which have no class at hand: the label of a case, and its payload if it has one.
        label, given = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
        if isinstance(label, str) and label in self.labels:
            number = self.labels[label]
            if (self.codecs[number] is None) != isinstance(value, str):
                has = "no payload" if self.codecs[number] is None else f'a payload: ("{label}", payload)'
                raise TypeError(f"the case {label} of a {self.class_.__name__} has {has}")
            return number, given
        cases = ", ".join(f"{self.class_.__name__}.{one.__name__}" for one in self.classes)
        raise TypeError(f"a {self.class_.__name__} must be one of {cases}, not {type(value).__name__}")


class _Option(_Cases):
    def __init__(self, type_: Option, payload: Codec) -> None:
        super().__init__(type_, (None, payload))
        self.nested = isinstance(type_.payload, Option)

    def made(self, number: int, payload: Any) -> Any:
        return (Some(payload) if self.nested else payload) if number else None

    def taken(self, value: Any) -> tuple[int, Any]:
        if value is None:
            return 0, None
        if isinstance(value, Some):
            return 1, value.value
        if self.nested:
            raise TypeError("an option within an option must be None or a Some")
        return 1, value


class _Result(_Cases):
    def made(self, number: int, payload: Any) -> Any:
        return Err(payload) if number else Ok(payload)

    def taken(self, value: Any) -> tuple[int, Any]:
        if not isinstance(value, (Ok, Err)):
            raise TypeError(f"a result must be an Ok or an Err, not {type(value).__name__}")
        number = int(isinstance(value, Err))
        if self.codecs[number] is None and value.value is not None:
            raise TypeError(f"this {type(value).__name__} has no value")
        return number, value.value


class Codecs:
    """The codecs of a component, made as they are asked for."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._made: dict[int, tuple[ValueType, Codec]] = {}  # by identity, as classes are

    def of(self, type_: ValueType) -> Codec:
        """The codec of a type."""
        known = self._made.get(id(type_))
        if known is None:
            known = self._made[id(type_)] = type_, self._make(type_)
        return known[1]

    def _make(self, type_: ValueType) -> Codec:
        if isinstance(type_, Primitive):
            if type_ == STRING:
                return _String(type_)
            if type_ in (BOOL, CHAR):
                return _Bool(type_) if type_ == BOOL else _Char(type_)
            return _Float(type_) if type_.name[0] == "f" else _Integer(type_)
        if isinstance(type_, (Own, Borrow)):
            return _Handle(type_)
        if isinstance(type_, Enum):
            return _Enum(type_, self.classes.of(type_))
        if isinstance(type_, Flags):
            return _Flags(type_, self.classes.of(type_))
        if isinstance(type_, List):
            element = self.of(type_.element)
            if type_.length is None:
                return _List(type_, element)
            return _FixedList(type_, [type_.element] * type_.length, [element] * type_.length)
        if isinstance(type_, Map):
            return _Map(type_, self.of(Tuple((type_.key, type_.value))))
        if isinstance(type_, Record):
            return _Record(type_, [self.of(one) for _, one in type_.fields], self.classes.of(type_))
        if isinstance(type_, Tuple):
            return _Tuple(type_, type_.items, [self.of(one) for one in type_.items])
        if isinstance(type_, Option):
            return _Option(type_, self.of(type_.payload))
        cases = cases_of(type_)
        assert cases is not None
        codecs = [None if one is None else self.of(one) for one in cases]
        if isinstance(type_, Result):
            return _Result(type_, codecs)
        return _Variant(type_, codecs, self.classes.of(type_))
