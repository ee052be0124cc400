"""Reading and writing the WebAssembly binary format: LEB128 integers, vectors, names."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UnsupportedModuleError

__all__ = ["Reader", "leb", "name", "section", "signed_leb", "vector"]


class Reader:
    """A cursor over ``data[pos:end]``. Everything it reads comes from untrusted bytes and is checked."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    def at(self, pos: int, end: int | None = None) -> Reader:
        """A second cursor over the same bytes."""
        return Reader(self.data, pos, self.end if end is None else end)

    def peek(self) -> int:
        """The next byte, which stays the next one."""
        if self.pos >= self.end:
            raise UnsupportedModuleError(f"the module is truncated or malformed at byte {self.pos}")
        return self.data[self.pos]

    def byte(self) -> int:
        if self.pos >= self.end:
            raise UnsupportedModuleError(f"the module is truncated or malformed at byte {self.pos}")
        self.pos += 1
        return self.data[self.pos - 1]

    def u32(self) -> int:
        """An unsigned LEB128 integer of at most 32 bits."""
        return self._unsigned(32)

    def u64(self) -> int:
        """An unsigned LEB128 integer of at most 64 bits."""
        return self._unsigned(64)

    def _unsigned(self, bits: int) -> int:
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= bits:
                raise UnsupportedModuleError(f"malformed integer at byte {self.pos}")
        if result >> bits:
            raise UnsupportedModuleError(f"malformed integer at byte {self.pos}")
        return result

    def signed(self, bits: int) -> int:
        """A signed LEB128 integer of at most so many bits."""
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= bits:
                raise UnsupportedModuleError(f"malformed integer at byte {self.pos}")
        if byte & 0x40:
            result -= 1 << shift
        if not -1 <= result >> bits - 1 <= 0:
            raise UnsupportedModuleError(f"malformed integer at byte {self.pos}")
        return result

    def s33(self) -> int:
        """What block types and heap types are: the index of a type, or a negative number."""
        return self.signed(33)

    def count(self) -> range:
        """The length of a vector, to step through; each of its items takes a byte at least."""
        length = self.u32()
        if length > self.end - self.pos:
            raise UnsupportedModuleError(f"the module is truncated or malformed at byte {self.pos}")
        return range(length)

    def skip_leb(self) -> None:
        """Step over an integer of any size and sign."""
        while self.byte() >= 0x80:
            pass

    def take(self, count: int) -> bytes:
        start = self.pos
        if count > self.end - start:
            raise UnsupportedModuleError(f"the module is truncated or malformed at byte {start}")
        self.pos = start + count
        return self.data[start : self.pos]

    def name(self) -> str:
        start = self.pos
        try:
            return self.take(self.u32()).decode()
        except UnicodeDecodeError:
            raise UnsupportedModuleError(f"malformed name at byte {start}") from None


def leb(number: int) -> bytes:
    """``number``, which is not negative, as unsigned LEB128."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed_leb(number: int) -> bytes:
    """A number as ``i32.const`` and block types have it."""
    out = bytearray()
    while True:
        byte = number & 0x7F
        number >>= 7
        if (number == 0 and not byte & 0x40) or (number == -1 and byte & 0x40):
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def vector(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return leb(len(items)) + b"".join(items)


def name(text: str) -> bytes:
    data = text.encode()
    return leb(len(data)) + data


def section(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + leb(len(body)) + body
