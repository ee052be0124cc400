"""Reading and writing the WebAssembly binary format: LEB128 integers, vectors, names."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UnsupportedModuleError

__all__ = ["Reader", "leb", "name", "section", "signed_leb", "sized", "vector"]


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
        byte = self.byte()
        self.pos -= 1
        return byte

    def byte(self) -> int:
        if self.pos >= self.end:
            raise UnsupportedModuleError(f"the module is truncated or malformed at byte {self.pos}")
        self.pos += 1
        return self.data[self.pos - 1]

    def u32(self) -> int:
        """An unsigned LEB128 integer of at most 32 bits."""
        pos = self.pos
        if pos < self.end and self.data[pos] < 0x80:  # one byte, as most are: lowering spends its time here
            self.pos = pos + 1
            return self.data[pos]
        return self._leb(32)

    def u64(self) -> int:
        """An unsigned LEB128 integer of at most 64 bits."""
        return self._leb(64)

    def signed(self, bits: int) -> int:
        """A signed LEB128 integer of at most so many bits. Block types and heap types have 33: a negative
        number, or the index of a type."""
        return self._leb(bits, signed=True)

    def _leb(self, bits: int, signed: bool = False) -> int:
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= bits:
                raise UnsupportedModuleError(f"malformed integer at byte {self.pos}")
        if signed and byte & 0x40:
            result -= 1 << shift
        if not -1 <= result >> bits - signed <= 0:
            raise UnsupportedModuleError(f"malformed integer at byte {self.pos}")
        return result

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
        self.skip(count)
        return self.data[start : self.pos]

    def skip(self, count: int) -> None:
        """Step over so many bytes."""
        if count > self.end - self.pos:
            raise UnsupportedModuleError(f"the module is truncated or malformed at byte {self.pos}")
        self.pos += count

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


def sized(body: bytes) -> bytes:
    return leb(len(body)) + body


def name(text: str) -> bytes:
    return sized(text.encode())


def section(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + sized(body)
