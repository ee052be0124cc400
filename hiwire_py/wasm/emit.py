"""Instructions as bytes, by their names; structured ones take their bodies.

    if_(i32_eqz(local_get(0)), unreachable()) + local_get(0)

is ``(if (i32.eqz (local.get 0)) (then unreachable)) (local.get 0)``: operands come first, and are joined.

Format: WebAssembly core specification 3.0, section 5.4.
"""

from __future__ import annotations

from collections.abc import Callable

from .binary import leb, signed_leb, vector

__all__ = [
    "block",
    "br",
    "br_if",
    "br_table",
    "call",
    "drop",
    "f32_const",
    "f64_const",
    "global_get",
    "global_set",
    "i32_const",
    "i64_const",
    "if_",
    "load",
    "local_get",
    "local_set",
    "local_tee",
    "loop",
    "memory_copy",
    "memory_fill",
    "memory_grow",
    "memory_size",
    "numeric",
    "return_",
    "store",
    "unreachable",
]

_VOID = b"\x40"
_END = b"\x0b"
_LOADS = {
    "i32.load": 0x28, "i64.load": 0x29, "f32.load": 0x2A, "f64.load": 0x2B, "i32.load8_s": 0x2C,
    "i32.load8_u": 0x2D, "i32.load16_s": 0x2E, "i32.load16_u": 0x2F, "i64.load8_s": 0x30,
    "i64.load8_u": 0x31, "i64.load16_s": 0x32, "i64.load16_u": 0x33,
    "i64.load32_s": 0x34, "i64.load32_u": 0x35,
}  # fmt: skip
_STORES = {
    "i32.store": 0x36, "i64.store": 0x37, "f32.store": 0x38, "f64.store": 0x39, "i32.store8": 0x3A,
    "i32.store16": 0x3B, "i64.store8": 0x3C, "i64.store16": 0x3D, "i64.store32": 0x3E,
}  # fmt: skip
_NUMERIC = (
    (0x45, "i32", "eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    (0x50, "i64", "eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    (0x5B, "f32", "eq ne lt gt le ge"),
    (0x61, "f64", "eq ne lt gt le ge"),
    (0x67, "i32", "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"),
    (0x79, "i64", "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"),
    (0xA7, "i32", "wrap_i64"),
    (0xAC, "i64", "extend_i32_s extend_i32_u"),
    (0xB6, "f32", "demote_f64"),
    (0xBB, "f64", "promote_f32"),
    (0xBC, "i32", "reinterpret_f32"),
    (0xBD, "i64", "reinterpret_f64"),
    (0xBE, "f32", "reinterpret_i32"),
    (0xBF, "f64", "reinterpret_i64"),
    (0xC0, "i32", "extend8_s extend16_s"),
)
_OPCODES = {
    f"{type_}.{one}": first + place
    for first, type_, names in _NUMERIC
    for place, one in enumerate(names.split())
}


def numeric(name: str, *operands: bytes) -> bytes:
    """An instruction without immediates, by its name in the text format."""
    return b"".join(operands) + bytes((_OPCODES[name],))


def i32_const(number: int) -> bytes:
    """``number`` may be given with or without a sign."""
    return b"\x41" + signed_leb(number - (1 << 32) if number >= 1 << 31 else number)


def i64_const(number: int) -> bytes:
    """``number`` may be given with or without a sign."""
    return b"\x42" + signed_leb(number - (1 << 64) if number >= 1 << 63 else number)


def f32_const(bits: bytes) -> bytes:
    """Of the four bytes of a float in little-endian order."""
    return b"\x43" + bits


def f64_const(bits: bytes) -> bytes:
    """Of the eight bytes of a float in little-endian order."""
    return b"\x44" + bits


def _indexed(code: int) -> Callable[..., bytes]:
    def instruction(index: int, *operands: bytes) -> bytes:
        return b"".join(operands) + bytes((code,)) + leb(index)

    return instruction


br, br_if, call = _indexed(0x0C), _indexed(0x0D), _indexed(0x10)
local_get, local_set, local_tee = _indexed(0x20), _indexed(0x21), _indexed(0x22)
global_get, global_set = _indexed(0x23), _indexed(0x24)


def br_table(targets: list[int], otherwise: int, operand: bytes = b"") -> bytes:
    return operand + b"\x0e" + vector(map(leb, targets)) + leb(otherwise)


def unreachable() -> bytes:
    return b"\0"


def return_(*operands: bytes) -> bytes:
    return b"".join(operands) + b"\x0f"


def drop(operand: bytes = b"") -> bytes:
    return operand + b"\x1a"


def block(*body: bytes, type_: int | None = None) -> bytes:
    """``type_`` is the code of the value type that it leaves; None: nothing."""
    return b"\x02" + _type(type_) + b"".join(body) + _END


def loop(*body: bytes) -> bytes:
    return b"\x03" + _VOID + b"".join(body) + _END


def if_(condition: bytes, then: bytes, otherwise: bytes = b"", type_: int | None = None) -> bytes:
    """``type_`` is the code of the value type that both sides leave; None: nothing."""
    other = b"\x05" + otherwise if otherwise else b""
    return condition + b"\x04" + _type(type_) + then + other + _END


def _type(type_: int | None) -> bytes:
    return _VOID if type_ is None else bytes((type_,))


def load(name: str, address: bytes, offset: int = 0, memory: int = 0) -> bytes:
    """A load by its name, as if nothing were known of the alignment."""
    return address + bytes((_LOADS[name],)) + _access(offset, memory)


def store(name: str, address: bytes, value: bytes, offset: int = 0, memory: int = 0) -> bytes:
    """A store by its name, as if nothing were known of the alignment."""
    return address + value + bytes((_STORES[name],)) + _access(offset, memory)


def _access(offset: int, memory: int) -> bytes:
    return (b"\x40" + leb(memory) if memory else b"\0") + leb(offset)


def memory_size(memory: int = 0) -> bytes:
    """In pages."""
    return b"\x3f" + leb(memory)


def memory_grow(pages: bytes, memory: int = 0) -> bytes:
    return pages + b"\x40" + leb(memory)


def memory_copy(to: bytes, start: bytes, count: bytes, to_memory: int = 0, from_memory: int = 0) -> bytes:
    return to + start + count + b"\xfc\x0a" + leb(to_memory) + leb(from_memory)


def memory_fill(to: bytes, byte: bytes, count: bytes, memory: int = 0) -> bytes:
    return to + byte + count + b"\xfc\x0b" + leb(memory)
