"""Values on their way from one side of a call to the other: code that lifts and lowers them at once.

A value is in a *place*: in core values, which are locals, or in a memory, from an address that a local holds.
Both sides lay values out alike, as both memories have 32 bits.

For ``list<bool>``, from memory 1 to memory 0, what is generated is::

    (if (i32.gt_u (local.get $n) (i32.const 268435455)) (then trap))
    (call $check_bounds (local.get $from) (local.get $n))
    (local.set $to (call $allocate (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $left)))
      (i32.store8 0 (local.get $t) (i32.ne (i32.load8_u 1 (local.get $f)) (i32.const 0)))
      ;; the next one
      (br $next)))

Format: component model, CanonicalABI.md, "Loading", "Storing", "Flat Lifting" and "Flat Lowering".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Union

from ..wasm.emit import (
    block,
    br,
    br_if,
    br_table,
    i32_const,
    load,
    local_get,
    local_set,
    local_tee,
    loop,
    memory_copy,
    numeric,
    store,
)
from ..wasm.types import F32, F64, I32, I64
from .faults import Fault
from .glue import Code, Glue, Side
from .layout import (
    MOST_BYTES,
    cases_of,
    discriminant_size,
    element_of,
    fields_of,
    flatten,
    layout,
    offsets,
    payload_offset,
)
from .strings import transcode
from .types import BOOL, CHAR, STRING, Borrow, Flags, List, Own, Primitive, ValueType

__all__ = ["Flat", "InMemory", "Place", "Translator"]


# Load, store, and what brings a core value to the range of the type; "" where each is one of its values.
_NUMBERS: dict[str, tuple[str, str, str | int]] = {
    "s8": ("i32.load8_s", "i32.store8", "i32.extend8_s"),
    "u8": ("i32.load8_u", "i32.store8", 0xFF),
    "s16": ("i32.load16_s", "i32.store16", "i32.extend16_s"),
    "u16": ("i32.load16_u", "i32.store16", 0xFFFF),
    "s32": ("i32.load", "i32.store", ""),
    "u32": ("i32.load", "i32.store", ""),
    "s64": ("i64.load", "i64.store", ""),
    "u64": ("i64.load", "i64.store", ""),
    "f32": ("f32.load", "f32.store", ""),
    "f64": ("f64.load", "f64.store", ""),
}
_BY_SIZE = {
    1: ("i32.load8_u", "i32.store8"),
    2: ("i32.load16_u", "i32.store16"),
    4: ("i32.load", "i32.store"),
}
# How a core value is read out of a local that has to hold others as well, and how it gets there.
_NARROW = {
    (I64, I32): ("i32.wrap_i64",),
    (I32, F32): ("f32.reinterpret_i32",),
    (I64, F32): ("i32.wrap_i64", "f32.reinterpret_i32"),
    (I64, F64): ("f64.reinterpret_i64",),
}
_WIDEN = {
    (I32, I64): ("i64.extend_i32_u",),
    (F32, I32): ("i32.reinterpret_f32",),
    (F32, I64): ("i32.reinterpret_f32", "i64.extend_i32_u"),
    (F64, I64): ("i64.reinterpret_f64",),
}


class Flat(NamedTuple):
    """In locals: each with the core type that it has, which may be a wider one than that of the value."""

    locals: tuple[tuple[int, int], ...]

    def rest(self, first: int) -> Flat:
        return Flat(self.locals[first:])


class InMemory(NamedTuple):
    """In the memory of its side, at an offset from the address in a local."""

    address: int
    offset: int = 0

    def at(self, offset: int) -> InMemory:
        return InMemory(self.address, self.offset + offset)


Place = Union[Flat, InMemory]

_Move = Callable[[int, int], bytes]


class Translator:
    """Writes code of one function that moves values from a side to another.

    Attributes:
        lends: whether handles were lent, by the side that values come from.
        borrows: whether handles were lent to the other side, so that it has to give them up.
    """

    def __init__(self, code: Code, source: Side, target: Side) -> None:
        self.code = code
        self.source = source
        self.target = target
        self.glue: Glue = source.glue
        self.lends = self.borrows = False

    # ---- core values

    def get(self, place: Place, code: int, operation: str = "") -> bytes:
        """The first core value of a place on the source's side."""
        if isinstance(place, InMemory):
            return load(operation, local_get(place.address), place.offset, self.source.memory)
        index, have = place.locals[0]
        value = local_get(index)
        for conversion in _NARROW.get((have, code), ()):
            value = numeric(conversion, value)
        return value

    def put(self, place: Place, code: int, value: bytes, operation: str = "") -> bytes:
        """Make it the first core value of a place on the target's side."""
        if isinstance(place, InMemory):
            return store(operation, local_get(place.address), value, place.offset, self.target.memory)
        index, want = place.locals[0]
        for conversion in _WIDEN.get((code, want), ()):
            value = numeric(conversion, value)
        return local_set(index, value)

    def new_flat(self, types: Sequence[ValueType]) -> Flat:
        """New locals for values."""
        return Flat(tuple((self.code.local(code), code) for one in types for code in flatten(one)))

    # ---- values

    def values(self, types: Sequence[ValueType], source: Place, target: Place) -> bytes:
        """Move values that are next to each other."""
        out, passed = [], 0
        for type_, offset in zip(types, offsets(types)):
            places = [
                place.rest(passed) if isinstance(place, Flat) else place.at(offset)
                for place in (source, target)
            ]
            out.append(self.value(type_, *places))
            passed += len(flatten(type_))
        return b"".join(out)

    def value(self, type_: ValueType, source: Place, target: Place) -> bytes:
        """Move one value."""
        if isinstance(type_, Primitive):
            if type_ == STRING:
                return self.pair(source, target, self.string)
            return self.primitive(type_, source, target)
        if isinstance(type_, (Own, Borrow)):
            operations = _BY_SIZE[4]
            value = self.handle(type_, self.get(source, I32, operations[0]))
            return self.put(target, I32, value, operations[1])
        if isinstance(type_, Flags):
            operations = _BY_SIZE[layout(type_).size]
            known = i32_const((1 << len(type_.labels)) - 1)
            value = numeric("i32.and", self.get(source, I32, operations[0]), known)
            return self.put(target, I32, value, operations[1])
        if isinstance(type_, List) and type_.length is not None:
            return self.values([type_.element] * type_.length, source, target)
        element = element_of(type_)
        if element is not None:
            return self.pair(source, target, lambda address, count: self.list_(element, address, count))
        fields = fields_of(type_)
        if fields is not None:
            return self.values(fields, source, target)
        return self.case(type_, source, target)

    def primitive(self, type_: Primitive, source: Place, target: Place) -> bytes:
        if type_ == BOOL:
            value = numeric("i32.ne", self.get(source, I32, "i32.load8_u"), i32_const(0))
            return self.put(target, I32, value, "i32.store8")
        if type_ == CHAR:
            char = self.code.local()
            surrogate = numeric("i32.and", local_get(char), i32_const(0xFFFFF800))
            bad = numeric(
                "i32.or",
                numeric("i32.ge_u", local_tee(char, self.get(source, I32, "i32.load")), i32_const(0x110000)),
                numeric("i32.eq", surrogate, i32_const(0xD800)),
            )
            check = self.glue.trap_if(bad, Fault.BAD_CHAR)
            return check + self.put(target, I32, local_get(char), "i32.store")
        loading, storing, range_ = _NUMBERS[type_.name]
        code = flatten(type_)[0]
        value = self.get(source, code, loading)
        if isinstance(source, Flat) and range_:
            if isinstance(range_, int):
                value = numeric("i32.and", value, i32_const(range_))
            else:
                value = numeric(range_, value)
        return self.put(target, code, value, storing)

    def handle(self, type_: Own | Borrow, handle: bytes) -> bytes:
        """The handle that the target has for one of the source."""
        glue, resource = self.glue, type_.resource
        giver, taker = self.source.options.instance, self.target.options.instance
        if isinstance(type_, Own):
            return glue.table(taker, "own", resource, glue.table(giver, "take", resource, handle))
        self.lends = True
        representation = glue.table(giver, "lend", resource, handle)
        if glue.plan.resources[resource].definer == taker:
            return representation
        self.borrows = True
        return glue.table(taker, "borrow", resource, representation)

    def case(self, type_: ValueType, source: Place, target: Place) -> bytes:
        """One of several cases: its number, and its payload."""
        cases = cases_of(type_)
        assert cases is not None
        loading, storing = _BY_SIZE[discriminant_size(len(cases))]
        number = self.code.local()
        check = self.glue.trap_if(
            numeric("i32.ge_u", local_tee(number, self.get(source, I32, loading)), i32_const(len(cases))),
            Fault.BAD_DISCRIMINANT,
        )
        out = check + self.put(target, I32, local_get(number), storing)
        with_payload = [(at, payload) for at, payload in enumerate(cases) if payload is not None]
        if not with_payload:
            return out
        offset = payload_offset(type_)
        inner = [place.rest(1) if isinstance(place, Flat) else place.at(offset) for place in (source, target)]
        # Each payload's code stands behind the end of a block that its case's number leaves; the outermost
        # block is left by all.
        targets = [len(with_payload)] * len(cases)
        for place, (at, _) in enumerate(with_payload):
            targets[at] = place
        body = br_table(targets[:-1], targets[-1], local_get(number))
        for place, (_, payload) in enumerate(with_payload):
            leave = br(len(with_payload) - place - 1) if place + 1 < len(with_payload) else b""
            body = block(body) + self.value(payload, *inner) + leave
        return out + block(body)

    # ---- what is elsewhere in memory

    def pair(self, source: Place, target: Place, move: _Move) -> bytes:
        """An address and a number: ``move`` gives code that leaves those of the target on the stack."""
        address, count = self.code.local(), self.code.local()
        parts = [
            (place, place.rest(1) if isinstance(place, Flat) else place.at(4)) for place in (source, target)
        ]
        (address_from, count_from), (address_to, count_to) = parts
        out = local_set(address, self.get(address_from, I32, "i32.load"))
        out += local_set(count, self.get(count_from, I32, "i32.load"))
        new_address, new_count = self.code.local(), self.code.local()
        out += move(address, count) + local_set(new_count) + local_set(new_address)
        out += self.put(address_to, I32, local_get(new_address), "i32.store")
        return out + self.put(count_to, I32, local_get(new_count), "i32.store")

    def string(self, address: int, count: int) -> bytes:
        return transcode(self.source, self.target, local_get(address), local_get(count))

    def list_(self, element: ValueType, address: int, count: int) -> bytes:
        size, alignment = layout(element)
        code, source, target = self.code, self.source, self.target
        whole, to = code.local(), code.local()
        out = self.glue.trap_if(
            numeric("i32.gt_u", local_get(count), i32_const(MOST_BYTES // size)), Fault.LIST_TOO_LONG
        )
        out += local_set(whole, numeric("i32.mul", local_get(count), i32_const(size)))
        out += source.check_alignment(local_get(address), alignment, Fault.BAD_POINTER)
        out += source.check_bounds(local_get(address), local_get(whole), Fault.LIST_BOUNDS)
        out += local_set(to, target.allocate(alignment, local_get(whole)))
        if _copies(element):
            out += memory_copy(
                local_get(to), local_get(address), local_get(whole), target.memory, source.memory
            )
        else:
            at, at_to, left = code.local(), code.local(), code.local()
            out += local_set(at, local_get(address)) + local_set(at_to, local_get(to))
            out += local_set(left, local_get(count))
            out += block(
                loop(
                    br_if(1, numeric("i32.eqz", local_get(left))),
                    self.value(element, InMemory(at), InMemory(at_to)),
                    local_set(at, numeric("i32.add", local_get(at), i32_const(size))),
                    local_set(at_to, numeric("i32.add", local_get(at_to), i32_const(size))),
                    local_set(left, numeric("i32.sub", local_get(left), i32_const(1))),
                    br(0),
                )
            )
        return out + local_get(to) + local_get(count)


def _copies(type_: ValueType) -> bool:
    """Whether every pattern of bytes is a value, and all bytes belong to it: such values are copied at
    once."""
    if isinstance(type_, Primitive):
        return type_.name in _NUMBERS
    if isinstance(type_, List):
        return type_.length is not None and _copies(type_.element)
    fields = fields_of(type_)
    if fields is None:
        return False
    return all(map(_copies, fields)) and sum(layout(one).size for one in fields) == layout(type_).size
