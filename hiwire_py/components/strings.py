"""Strings on their way from one memory to another: three encodings to three, as functions in WebAssembly.

Which memory is asked for, and when it is given back, is part of the canonical ABI, and followed here: what an
encoding may need at most is allocated only where a shorter guess turned out to be too short.

A string is an address and a number of *units*: bytes of UTF-8 and Latin-1, and of UTF-16 two bytes each. In
``latin1+utf16`` the highest bit of the number says which of the two it is.

Format: component model, CanonicalABI.md, "Loading" and "Storing", load_string and store_string.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wasm.emit import (
    block,
    br,
    br_if,
    drop,
    i32_const,
    i64_const,
    if_,
    load,
    local_get,
    local_set,
    local_tee,
    loop,
    memory_copy,
    numeric,
    return_,
    store,
)
from ..wasm.types import I32, I64
from ..wasm.types import FuncType as CoreFuncType
from .faults import Fault
from .glue import Code, Side
from .layout import MOST_BYTES

__all__ = ["transcode"]

_TAG = 1 << 31
_FEW = 24  # bytes that are copied by loads and stores
_UTF8, _UTF16, _LATIN1, _EITHER = "utf8", "utf16", "latin1", "latin1+utf16"

_PAIR = bytes((I32, I32))
_TO_PAIR = CoreFuncType(_PAIR, _PAIR)
_TO_ONE = CoreFuncType(_PAIR, bytes((I32,)))
_TO_NONE = CoreFuncType(_PAIR, b"")


def transcode(source: Side, target: Side, address: bytes, count: bytes) -> bytes:
    """Code that leaves address and number of units of the string as the target has it."""
    strings = _Strings(source, target)
    key = ("string", source.options.memory, source.options.encoding, target.options)
    return source.glue.helper(key, _TO_PAIR, strings.whole, address, count)


def add(one: bytes, other: bytes | int) -> bytes:
    return numeric("i32.add", one, other if isinstance(other, bytes) else i32_const(other))


def times(one: bytes, factor: int) -> bytes:
    return one if factor == 1 else numeric("i32.mul", one, i32_const(factor))


class _Strings:
    """Writes the function of one pair of sides. Its parameters are address and number of units."""

    def __init__(self, source: Side, target: Side) -> None:
        self.source = source
        self.target = target
        self.glue = source.glue

    def whole(self, code: Code) -> bytes:
        encoding, to = self.source.options.encoding, self.target.options.encoding
        if encoding != _EITHER:
            return self.check(encoding, 1) + self.moved(code, encoding, to, encoding)
        tagged = numeric("i32.and", local_get(1), i32_const(_TAG))
        untag = local_set(1, numeric("i32.xor", local_get(1), i32_const(_TAG)))
        wide = untag + self.check(_UTF16, 1) + self.moved(code, _UTF16, to, encoding)
        narrow = self.check(_LATIN1, 2) + self.moved(code, _LATIN1, to, encoding)
        return if_(tagged, return_(wide)) + narrow

    def check(self, encoding: str, alignment: int) -> bytes:
        """Whether the string is within the source's memory, aligned and not too long."""
        size = 2 if encoding == _UTF16 else 1
        long = numeric("i32.gt_u", local_get(1), i32_const(MOST_BYTES // size))
        return (
            self.glue.trap_if(long, Fault.STRING_TOO_LONG)
            + self.source.check_alignment(local_get(0), max(size, alignment), Fault.BAD_POINTER)
            + self.source.check_bounds(local_get(0), times(local_get(1), size), Fault.STRING_BOUNDS)
        )

    def moved(self, code: Code, encoding: str, to: str, declared: str) -> bytes:
        """Code that leaves the string in the target's memory. ``declared`` is the encoding of the side that
        the string has come from."""
        if encoding == to == _UTF8:
            return self.copied_utf8(code)
        if encoding == to == _UTF16:
            return self.copied(code, 2, 2) + self.checked(code, _UTF16)
        if to == _UTF8:
            return self.to_utf8(code, encoding)
        if to == _UTF16:
            return self.to_utf16(code, encoding)
        if encoding == _LATIN1:
            return self.copied(code, 1, 2) + local_get(self.to) + local_get(1)
        if declared == _EITHER:
            return self.perhaps_latin1(code)
        return self.to_either(code, encoding)

    # ---- the same units on both sides

    def copied(self, code: Code, size: int, alignment: int) -> bytes:
        """Copy all units as they are; `to` is the local with their address then."""
        self.to = code.local()
        count = times(local_get(1), size)
        return local_set(self.to, self.target.allocate(alignment, count)) + memory_copy(
            local_get(self.to), local_get(0), count, self.target.memory, self.source.memory
        )

    def copied_utf8(self, code: Code) -> bytes:
        """Copy UTF-8, and check it; leaves what the function gives.

        An engine calls a function of its own for ``memory.copy``. So few bytes are copied by loads and
        stores, four at a time and then one, and whether all of them are ASCII is known then."""
        self.to = code.local()
        at, seen, bits = (code.local() for _ in range(3))
        target, source = self.target.memory, self.source.memory  # in the order in which they are imported

        def while_(size: int, loading: str, storing: str) -> bytes:
            """Go on as long as there are so many bytes."""
            value = local_tee(bits, load(loading, add(local_get(0), local_get(at)), 0, source))
            return block(
                loop(
                    br_if(1, numeric("i32.gt_u", add(local_get(at), size), local_get(1))),
                    store(storing, add(local_get(self.to), local_get(at)), value, 0, target),
                    local_set(seen, numeric("i32.or", local_get(seen), local_get(bits))),
                    local_set(at, add(local_get(at), size)),
                    br(0),
                )
            )

        few = while_(4, "i32.load", "i32.store") + while_(1, "i32.load8_u", "i32.store8")
        others = numeric("i32.and", local_get(seen), i32_const(0x80808080))
        few += if_(numeric("i32.eqz", others), return_(local_get(self.to) + local_get(1)))
        many = memory_copy(local_get(self.to), local_get(0), local_get(1), target, source)
        return (
            local_set(self.to, self.target.allocate(1, local_get(1)))
            + if_(numeric("i32.le_u", local_get(1), i32_const(_FEW)), few, many)
            + self.checked(code, _UTF8)
        )

    def checked(self, code: Code, encoding: str) -> bytes:
        """Stop unless what was copied is valid. Nobody else has seen it so far, and this memory is the one
        that is reached faster where an engine has one memory a module."""
        size = 2 if encoding == _UTF16 else 1
        end = add(local_get(self.to), times(local_get(1), size))
        check = self.glue.helper(
            ("valid", encoding, self.target.memory),
            _TO_NONE,
            self.valid_utf8 if size == 1 else self.valid_utf16,
            local_get(self.to),
            end,
        )
        return check + local_get(self.to) + local_get(1)

    def valid_utf8(self, code: Code) -> bytes:
        """Parameters: where it begins and ends. ASCII is checked 64 bytes at a time, and what has two bytes a
        character, eight: most text is one of these, or a mixture. What any check that takes many at a time
        does not find to be good, `next_utf8` checks, one character::

            (block $done
              (loop $more
                ;; while 64 bytes are ASCII, while eight are, while eight are four characters of two
                (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
                ;; one character
                (br $more)))
        """
        memory = self.target.memory
        at, end, word = 0, 1, code.local(I64)

        def words(count: int) -> bytes:
            """So many words, or-ed."""
            value = load("i64.load", local_get(at), 0, memory)
            for place in range(1, count):
                value = numeric("i64.or", value, load("i64.load", local_get(at), 8 * place, memory))
            return value

        def while_(size: int, good: bytes) -> bytes:
            """Go on as long as there are so many bytes, and they are good."""
            left = numeric("i32.sub", local_get(end), local_get(at))
            return block(
                loop(
                    br_if(1, numeric("i32.lt_u", left, i32_const(size))),
                    br_if(1, numeric("i32.eqz", good)),
                    local_set(at, add(local_get(at), size)),
                    br(0),
                )
            )

        def ascii_(count: int) -> bytes:
            return numeric("i64.eqz", numeric("i64.and", words(count), i64_const(0x8080808080808080)))

        # Of each two bytes the marks are right, and of the first one's bits not only the lowest is set: that
        # would be a character that fits one byte. Adding carries the others into the highest bit.
        marks = numeric(
            "i64.eq",
            numeric("i64.and", local_tee(word, words(1)), i64_const(0xC0E0C0E0C0E0C0E0)),
            i64_const(0x80C080C080C080C0),
        )
        bits = numeric("i64.and", local_get(word), i64_const(0x001E001E001E001E))
        carried = numeric("i64.add", bits, i64_const(0x7FFF7FFF7FFF7FFF))
        high = i64_const(0x8000800080008000)
        long = numeric("i64.eq", numeric("i64.and", carried, high), high)
        return block(
            loop(
                while_(64, ascii_(8)),
                while_(8, ascii_(1)),
                while_(8, numeric("i32.and", marks, long)),
                br_if(1, numeric("i32.ge_u", local_get(at), local_get(end))),
                self.next_utf8(self.target, local_get(at), local_get(end)) + local_set(at) + drop(),
                br(0),
            )
        )

    def valid_utf16(self, code: Code) -> bytes:
        """Parameters: where it begins and ends."""
        return self.each(
            0, 1, self.next_utf16(self.target, local_get(0), local_get(1)) + local_set(0) + drop()
        )

    # ---- characters, one by one

    def each(self, at: int, end: int, body: bytes) -> bytes:
        """Repeat a body, which moves ``at``, until the end."""
        return block(
            loop(br_if(1, numeric("i32.ge_u", local_get(at), local_get(end))), body, br(0)),
        )

    def next_utf8(self, side: Side, at: bytes, end: bytes) -> bytes:
        """Leaves a character, and the address behind it."""
        glue, memory = self.glue, side.memory

        def following(code: Code) -> bytes:
            """Six bits of a byte that goes on with a character."""
            byte = code.local()
            bad = numeric(
                "i32.ne",
                numeric(
                    "i32.and",
                    local_tee(byte, load("i32.load8_u", local_get(0), 0, memory)),
                    i32_const(0xC0),
                ),
                i32_const(0x80),
            )
            return (
                glue.trap_if(numeric("i32.ge_u", local_get(0), local_get(1)), Fault.STRING_ENCODING)
                + glue.trap_if(bad, Fault.STRING_ENCODING)
                + numeric("i32.and", local_get(byte), i32_const(0x3F))
            )

        def more(place: int) -> bytes:
            address = add(local_get(0), place)
            return glue.helper(("following", memory), _TO_ONE, following, address, local_get(1))

        def body(code: Code) -> bytes:
            first, char = code.local(), code.local()

            def joined(mask: int, count: int, least: int) -> bytes:
                value = numeric("i32.and", local_get(first), i32_const(mask))
                for place in range(1, count + 1):
                    value = numeric("i32.or", numeric("i32.shl", value, i32_const(6)), more(place))
                short = numeric("i32.lt_u", local_tee(char, value), i32_const(least))
                out = glue.trap_if(short, Fault.STRING_ENCODING)
                if count == 2:
                    surrogate = numeric("i32.and", local_get(char), i32_const(0xFFFFF800))
                    out += glue.trap_if(
                        numeric("i32.eq", surrogate, i32_const(0xD800)), Fault.STRING_ENCODING
                    )
                if count == 3:
                    high = numeric("i32.gt_u", local_get(char), i32_const(0x10FFFF))
                    out += glue.trap_if(high, Fault.STRING_ENCODING)
                return out + return_(local_get(char) + add(local_get(0), count + 1))

            def below(limit: int) -> bytes:
                return numeric("i32.lt_u", local_get(first), i32_const(limit))

            return (
                local_set(first, load("i32.load8_u", local_get(0), 0, memory))
                + if_(below(0x80), return_(local_get(first) + add(local_get(0), 1)))
                + glue.trap_if(below(0xC2), Fault.STRING_ENCODING)
                + if_(below(0xE0), joined(0x1F, 1, 0x80))
                + if_(below(0xF0), joined(0x0F, 2, 0x800))
                + if_(below(0xF5), joined(0x07, 3, 0x10000))
                + glue.trap(Fault.STRING_ENCODING)
            )

        return glue.helper(("next utf8", memory), _TO_PAIR, body, at, end)

    def next_utf16(self, side: Side, at: bytes, end: bytes) -> bytes:
        """Leaves a character, and the address behind it."""
        glue, memory = self.glue, side.memory

        def body(code: Code) -> bytes:
            first, second = code.local(), code.local()

            def kind(unit: int, mask: int, pattern: int, operation: str) -> bytes:
                return numeric(
                    operation, numeric("i32.and", local_get(unit), i32_const(mask)), i32_const(pattern)
                )

            high = numeric("i32.shl", numeric("i32.and", local_get(first), i32_const(0x3FF)), i32_const(10))
            low = numeric("i32.and", local_get(second), i32_const(0x3FF))
            last = numeric("i32.ge_u", add(local_get(0), 2), local_get(1))
            return (
                local_set(first, load("i32.load16_u", local_get(0), 0, memory))
                + if_(kind(first, 0xF800, 0xD800, "i32.ne"), return_(local_get(first) + add(local_get(0), 2)))
                + glue.trap_if(kind(first, 0xFC00, 0xD800, "i32.ne"), Fault.STRING_ENCODING)
                + glue.trap_if(last, Fault.STRING_ENCODING)
                + local_set(second, load("i32.load16_u", local_get(0), 2, memory))
                + glue.trap_if(kind(second, 0xFC00, 0xDC00, "i32.ne"), Fault.STRING_ENCODING)
                + add(numeric("i32.or", high, low), 0x10000)
                + add(local_get(0), 4)
            )

        return glue.helper(("next utf16", memory), _TO_PAIR, body, at, end)

    def next_latin1(self, side: Side, at: bytes, end: bytes) -> bytes:
        return load("i32.load8_u", at, 0, side.memory) + add(at, 1)

    def next(self, encoding: str, at: int, end: int) -> bytes:
        """Leaves a character of the source, and the address behind it."""
        reading: dict[str, Callable[[Side, bytes, bytes], bytes]] = {
            _UTF8: self.next_utf8,
            _UTF16: self.next_utf16,
            _LATIN1: self.next_latin1,
        }
        return reading[encoding](self.source, local_get(at), local_get(end))

    def put_utf8(self, at: bytes, char: bytes) -> bytes:
        """Write a character; leaves the address behind it."""
        memory = self.target.memory

        def body(code: Code) -> bytes:
            def byte(shift: int, mask: int, mark: int) -> bytes:
                bits = numeric("i32.shr_u", local_get(1), i32_const(shift)) if shift else local_get(1)
                return numeric("i32.or", numeric("i32.and", bits, i32_const(mask)), i32_const(mark))

            def written(marks: list[int]) -> bytes:
                out = b""
                for place, mark in enumerate(marks):
                    shift = 6 * (len(marks) - place - 1)
                    out += store(
                        "i32.store8",
                        local_get(0),
                        byte(shift, 0x3F if mark == 0x80 else 0x7F, mark),
                        place,
                        memory,
                    )
                return out + return_(add(local_get(0), len(marks)))

            def below(limit: int) -> bytes:
                return numeric("i32.lt_u", local_get(1), i32_const(limit))

            return (
                if_(below(0x80), written([0]))
                + if_(below(0x800), written([0xC0, 0x80]))
                + if_(below(0x10000), written([0xE0, 0x80, 0x80]))
                + written([0xF0, 0x80, 0x80, 0x80])
            )

        return self.glue.helper(("put utf8", memory), _TO_ONE, body, at, char)

    def put_utf16(self, at: bytes, char: bytes) -> bytes:
        """Write a character; leaves the address behind it."""
        memory = self.target.memory

        def body(code: Code) -> bytes:
            rest = code.local()
            high = add(numeric("i32.shr_u", local_get(rest), i32_const(10)), 0xD800)
            low = add(numeric("i32.and", local_get(rest), i32_const(0x3FF)), 0xDC00)
            single = store("i32.store16", local_get(0), local_get(1), 0, memory)
            return (
                if_(
                    numeric("i32.lt_u", local_get(1), i32_const(0x10000)),
                    single + return_(add(local_get(0), 2)),
                )
                + local_set(rest, numeric("i32.sub", local_get(1), i32_const(0x10000)))
                + store("i32.store16", local_get(0), high, 0, memory)
                + store("i32.store16", local_get(0), low, 2, memory)
                + add(local_get(0), 4)
            )

        return self.glue.helper(("put utf16", memory), _TO_ONE, body, at, char)

    # ---- other units

    def begin(self, code: Code, encoding: str) -> tuple[int, int, int, int, int, bytes]:
        """Locals: where reading is and ends, a character, where the result begins and writing is; and code
        that sets the first two."""
        at, end, char, to, put = (code.local() for _ in range(5))
        size = 2 if encoding == _UTF16 else 1
        start = local_set(at, local_get(0)) + local_set(end, add(local_get(0), times(local_get(1), size)))
        return at, end, char, to, put, start

    def shrink(self, to: int, have: bytes, alignment: int, need: int) -> bytes:
        """Give back what is not needed of the memory at an address."""
        shorter = self.target.reallocate(local_get(to), have, alignment, local_get(need))
        return if_(numeric("i32.lt_u", local_get(need), have), local_set(to, shorter))

    def narrow(self, at: int, end: int, read: bytes, char: int, below: int, put: int, behind: int) -> bytes:
        """Write characters as a byte each, until one is not below a number; it is read again then."""
        return self.each(
            at,
            end,
            read
            + br_if(1, numeric("i32.ge_u", local_get(char), i32_const(below)))
            + store("i32.store8", local_get(put), local_get(char), 0, self.target.memory)
            + local_set(put, add(local_get(put), 1))
            + local_set(at, local_get(behind)),
        )

    def to_utf16(self, code: Code, encoding: str) -> bytes:
        at, end, char, to, put, out = self.begin(code, encoding)
        most, used = times(local_get(1), 2), code.local()
        out += local_set(put, local_tee(to, self.target.allocate(2, most)))
        out += self.each(
            at,
            end,
            self.next(encoding, at, end)
            + local_set(at)
            + local_set(char)
            + local_set(put, self.put_utf16(local_get(put), local_get(char))),
        )
        out += local_set(used, numeric("i32.sub", local_get(put), local_get(to)))
        out += self.shrink(to, most, 2, used)
        return out + local_get(to) + numeric("i32.shr_u", local_get(used), i32_const(1))

    def to_utf8(self, code: Code, encoding: str) -> bytes:
        """At first as if all were ASCII."""
        at, end, char, to, put, out = self.begin(code, encoding)
        used, behind = code.local(), code.local()
        most = times(local_get(1), 3 if encoding == _UTF16 else 2)
        out += local_set(put, local_tee(to, self.target.allocate(1, local_get(1))))
        read = self.next(encoding, at, end) + local_set(behind) + local_set(char)
        out += self.narrow(at, end, read, char, 0x80, put, behind)
        done = numeric("i32.ge_u", local_get(at), local_get(end))
        out += if_(done, return_(local_get(to) + local_get(1)))
        out += local_set(used, numeric("i32.sub", local_get(put), local_get(to)))
        out += local_set(to, self.target.reallocate(local_get(to), local_get(1), 1, most))
        out += local_set(put, add(local_get(to), local_get(used)))
        out += self.each(
            at,
            end,
            read
            + local_set(at, local_get(behind))
            + local_set(put, self.put_utf8(local_get(put), local_get(char))),
        )
        out += local_set(used, numeric("i32.sub", local_get(put), local_get(to)))
        return out + self.shrink(to, most, 1, used) + local_get(to) + local_get(used)

    def to_either(self, code: Code, encoding: str) -> bytes:
        """At first as if all were Latin-1."""
        at, end, char, to, put, out = self.begin(code, encoding)
        used, behind, place = code.local(), code.local(), code.local()
        memory = self.target.memory
        most = times(local_get(1), 2)
        out += local_set(put, local_tee(to, self.target.allocate(2, local_get(1))))
        read = self.next(encoding, at, end) + local_set(behind) + local_set(char)
        out += self.narrow(at, end, read, char, 0x100, put, behind)
        out += local_set(used, numeric("i32.sub", local_get(put), local_get(to)))
        done = numeric("i32.ge_u", local_get(at), local_get(end))
        shrink = self.shrink(to, local_get(1), 2, used)
        out += if_(done, shrink + return_(local_get(to) + local_get(used)))
        out += local_set(to, self.target.reallocate(local_get(to), local_get(1), 2, most))
        # What has been written gets wider in its place, so the last one is first.
        out += local_set(place, local_get(used)) + block(
            loop(
                br_if(1, numeric("i32.eqz", local_get(place))),
                local_set(place, numeric("i32.sub", local_get(place), i32_const(1))),
                store(
                    "i32.store16",
                    add(local_get(to), times(local_get(place), 2)),
                    load("i32.load8_u", add(local_get(to), local_get(place)), 0, memory),
                    0,
                    memory,
                ),
                br(0),
            )
        )
        out += local_set(put, add(local_get(to), times(local_get(used), 2)))
        out += self.each(
            at,
            end,
            read
            + local_set(at, local_get(behind))
            + local_set(put, self.put_utf16(local_get(put), local_get(char))),
        )
        out += local_set(used, numeric("i32.sub", local_get(put), local_get(to)))
        units = numeric("i32.shr_u", local_get(used), i32_const(1))
        out += self.shrink(to, most, 2, used)
        return out + local_get(to) + numeric("i32.or", units, i32_const(_TAG))

    def perhaps_latin1(self, code: Code) -> bytes:
        """UTF-16 of a side that also has Latin-1: it may have become narrow."""
        out = self.copied(code, 2, 2)
        to, memory = self.to, self.target.memory
        out += self.checked(code, _UTF16) + drop() + drop()
        place, wide = code.local(), code.local()
        unit = load("i32.load16_u", add(local_get(to), times(local_get(place), 2)), 0, memory)
        out += self.each(
            place,
            1,
            local_set(wide, numeric("i32.or", local_get(wide), unit))
            + local_set(place, add(local_get(place), 1)),
        )
        out += if_(
            numeric("i32.ge_u", local_get(wide), i32_const(0x100)),
            return_(local_get(to) + numeric("i32.or", local_get(1), i32_const(_TAG))),
        )
        out += local_set(place, i32_const(0))
        out += self.each(
            place,
            1,
            store("i32.store8", add(local_get(to), local_get(place)), unit, 0, memory)
            + local_set(place, add(local_get(place), 1)),
        )
        shorter = self.target.reallocate(local_get(to), times(local_get(1), 2), 1, local_get(1))
        return out + shorter + local_get(1)
