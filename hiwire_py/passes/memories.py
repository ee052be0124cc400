"""Memories: a module has one memory; the others are in modules of their own, whose functions it calls.

    (module                                   (module
      (memory 1)                                (import "memory 1" "28+8"
      (memory $m (export "m") 2)                  (func $load (param i32) (result i32)))
      (func (param i32) (result i32)            (memory 1)
        (i32.load $m offset=8            ->     (func (param i32) (result i32)
          (local.get 0))))                        (call $load (local.get 0))))

                                              (module
                                                (memory (export "memory") 2)
                                                (func (export "28+8") (param i32) (result i32)
                                                  (i32.load offset=8 (local.get 0))))

The second one is an *accessor*. It has a function for each instruction that the first uses on its memory: one
for loads and stores of each kind and offset, here number 0x28 at 8, so that they trap where those would; and
``size``, ``grow``, ``fill``, ``copy``, and for a data segment ``init0`` and ``drop0``, with its number.

Where one memory is copied to another, the module gets a function that carries the bytes in local variables,
64 at a time where there are so many. Both ranges are checked before anything is written. Two memories can be
the same one, imported twice, so the ranges may overlap: it goes up or down, as ``memmove`` does, and reads
the end that it would overwrite before it begins.

Requires: a valid module. Active segments of data are in the first memory.
Leaves: the first memory at most. New imports of functions are behind the others, and new functions at the
end. Segments of data that only other memories are filled from are empty. Custom sections are gone, as they
name functions by their indexes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from ..errors import UnsupportedModuleError
from ..requirements import ACCESSED, Accessor
from ..wasm.binary import Reader, leb, name, sized, vector
from ..wasm.build import ModuleBuilder
from ..wasm.code import RUN, UNCHANGED, opcode, rewritten, runs
from ..wasm.emit import (
    br,
    call,
    drop,
    i32_const,
    i64_const,
    if_,
    load,
    local_get,
    local_set,
    loop,
    memory_copy,
    memory_fill,
    memory_grow,
    memory_size,
    numeric,
    return_,
)
from ..wasm.instructions import INSTRUCTIONS, Instruction
from ..wasm.module import FUNCTION, MEMORY, Data, Module
from ..wasm.opcodes import (
    CALL,
    DATA_DROP,
    MEMORY_COPY,
    MEMORY_FILL,
    MEMORY_GROW,
    MEMORY_INIT,
    MEMORY_SIZE,
)
from ..wasm.types import F32, F64, I32, I64, V128, FuncType, function_type
from ..wasm.write import Writer, fresh_name

__all__ = ["one_memory"]

_NAMED: Final = 0x40  # among an access' flags: the index of a memory follows
_THREADS: Final = 0xFE
_NUMBERS: Final = {"i": I32, "j": I64, "f": F32, "d": F64}
_VALUES: Final = {0x28 + place: _NUMBERS[letter] for place, letter in enumerate("ijfdiiiijjjjjjijfdiijjj")}
"""What each load gives, or each store takes, that is not of vectors."""

_I32: Final = bytes((I32,))
_NOTHING: Final = FuncType(b"", b"")
_SPAN: Final = FuncType(_I32 * 3, b"")
_WHOLE: Final = {
    MEMORY_SIZE: ("size", FuncType(b"", _I32), memory_size()),
    MEMORY_GROW: ("grow", FuncType(_I32, _I32), memory_grow(b"")),
    MEMORY_FILL: ("fill", _SPAN, memory_fill(b"", b"", b"")),
}
_INIT, _DROP = b"\xfc\x08", b"\xfc\x09"

_CARRIED: Final = {64: (V128, 4), 8: (I64, 1), 4: (I32, 1), 1: (I32, 1)}
"""Bytes that are carried at once: in which and how many locals."""
_OPCODES: Final = {64: (0xFD0000, 0xFD000B), 8: (0x29, 0x37), 4: (0x28, 0x36), 1: (0x2D, 0x3A)}
"""The same: how each of them is loaded and stored."""


def one_memory(module: Module) -> tuple[bytes, tuple[Accessor, ...]]:
    """The module's bytes with one memory, and the accessors of the others.

    Raises:
        UnsupportedModuleError: another memory than the first is shared, has 64 bits, or is used by atomic
            instructions.
    """
    writer = _OneMemory(module)
    return writer.written(), tuple(one.written() for one in writer.accessors.values())


def _changes(code: int, instruction: Instruction) -> bool:
    return not set("FMD").isdisjoint(instruction.immediates)


_unchanged = runs(_changes, (), (CALL,), first_memory=True)


class _Accessor:
    """The accessor of a memory, while it is found out what it needs.

    Attributes:
        functions: its functions, by name: the index that each has in the module.
        segments: the data segments that it has: number in the module -> its own.
    """

    def __init__(self, module: Module, index: int, taken: Collection[str]) -> None:
        self.functions: dict[str, int] = {}
        self.segments: dict[int, int] = {}
        self.name = fresh_name(f"memory {index}", taken)
        self.builder = builder = ModuleBuilder()
        self._exports = tuple(field for field, i in module.exported(MEMORY).items() if i == index)
        limits = module.memories[index]
        if limits.shared or limits.wide:
            raise _refusal(f"memory {index} {'is shared' if limits.shared else 'has 64 bits'}")
        imported = [wanted for wanted in module.imports if wanted.kind == MEMORY]
        if index < len(imported):
            builder.import_memory(imported[index].module, imported[index].name, limits)
        else:
            builder.add_memory(limits)
        builder.export(ACCESSED, MEMORY, 0)

    def written(self) -> Accessor:
        return Accessor(self.builder.written(), self.name, self._exports)


class _OneMemory(Writer):
    """Attributes:
    accessors: by the index of the memory.
    """

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        taken = {wanted.module for wanted in module.imports}
        others = range(1, len(module.memories))
        self.accessors = {index: _Accessor(module, index, taken) for index in others}
        self.renumber = {**UNCHANGED, "F": self._function, "D": self._keep}
        self._first = module.count_imports(FUNCTION)
        self._segments: list[Data] = list(module.data())
        self._kept: set[int] = set()  # segments that the module uses itself
        self._types: dict[FuncType, int] = {}
        self._imports: list[bytes] = []  # the accessors' functions
        self._added = 0  # how many of them there are
        self._copies: dict[tuple[int, int], bytes] = {}
        # Indexes of functions are known when all imports are, so what comes of this first time is not used.
        list(self.code())
        self._added = len(self._imports)
        self._copies.clear()

    def _function(self, index: int) -> int:
        return index if index < self._first else index + self._added

    def _type(self, type_: FuncType) -> int:
        return self._types.setdefault(type_, len(self.module.types) + len(self._types))

    # ---- sections

    def types(self) -> Iterator[bytes]:
        yield from super().types()
        for sides in self._types:
            yield function_type(*([bytes((code,)) for code in side] for side in sides))

    def imports(self) -> Iterator[bytes]:
        memories = 0
        for wanted in self.module.imports:
            memories += wanted.kind == MEMORY
            if wanted.kind != MEMORY or memories == 1:
                yield self.import_(wanted)
        yield from self._imports

    def functions(self) -> Iterator[bytes]:
        yield from super().functions()
        for _ in self._copies:
            yield leb(self._type(_SPAN))

    def memories(self) -> list[bytes]:
        return list(super().memories())[: 0 if self.module.count_imports(MEMORY) else 1]

    def exports(self) -> Iterator[bytes]:
        return (self.export(one) for one in self.module.exports if one.kind != MEMORY or not one.index)

    def code(self) -> Iterator[bytes]:
        yield from super().code()
        yield from map(sized, self._copies.values())

    def data(self) -> Iterator[bytes]:
        for index, (segment, written) in enumerate(zip(self._segments, super().data())):
            yield written if segment.offset is not None or index in self._kept else b"\1\0"

    def custom(self) -> tuple[bytes, ...]:
        return ()

    # ---- code

    def instructions(self, r: Reader) -> bytes:
        data, end = r.data, r.end
        out: list[bytes] = []
        while r.pos < end:
            at = r.pos
            r.pos, behind = _unchanged(data, at, end).span(1)
            out.append(data[at : r.pos])
            if r.pos != behind:
                r.byte()
                out.append(call(self._function(r.u32())))
            elif r.pos < end and r.pos - at < RUN:  # else the run may have been cut off at its longest
                out.append(self._one(r))
        return b"".join(out)

    def _one(self, r: Reader) -> bytes:
        at = r.pos
        code = opcode(r)
        here = r.pos
        new = None
        if INSTRUCTIONS[code].immediates[:1] == "a":
            new = self._access(r, code)
        elif code in _WHOLE:
            memory = r.u32()
            new = self._forward(memory, *_WHOLE[code]) if memory else None
        elif code == MEMORY_COPY:
            new = self._copy(r.u32(), r.u32())
        elif code == MEMORY_INIT:
            new = self._init(r.u32(), r.u32())
        elif code == DATA_DROP:
            segment = r.u32()
            copies = [index for index, one in self.accessors.items() if segment in one.segments]
            drops = (self._call(index, f"drop{segment}", _NOTHING, b"") for index in copies)
            new = b"".join(drops) + r.data[at : r.pos]
        if new is not None:
            return new
        r.pos = here
        return rewritten(r, code, self.renumber)

    def _access(self, r: Reader, code: int) -> bytes | None:
        flags = r.u32()
        memory = r.u32() if flags & _NAMED else 0
        if not memory:
            return None
        if code >> 16 == _THREADS:
            raise _refusal(f"an atomic instruction uses memory {memory}")
        offset = r.u64()
        lane = r.take(1) if INSTRUCTIONS[code].immediates == "a1" else b""
        return self._load_or_store(memory, code, offset, lane)

    def _load_or_store(self, memory: int, code: int, offset: int = 0, lane: bytes = b"") -> bytes:
        """Code for a load or store in another memory than the first."""
        value = bytes((_VALUES.get(code, V128),))
        shape = INSTRUCTIONS[code]
        type_ = FuncType(_I32 + value * (shape.operands - 1), value * shape.results)
        field = f"{code:x}+{offset}" + (f".{lane[0]}" if lane else "")
        return self._forward(memory, field, type_, _instruction(code, offset) + lane)

    def _forward(self, memory: int, field: str, type_: FuncType, instruction: bytes) -> bytes:
        """Code that calls a function of a memory's accessor, which does nothing but one instruction."""
        operands = b"".join(map(local_get, range(len(type_.params))))
        return self._call(memory, field, type_, operands + instruction)

    def _call(self, memory: int, field: str, type_: FuncType, body: bytes) -> bytes:
        """Code that calls a function of a memory's accessor, which is made when it is asked for first."""
        accessor = self.accessors[memory]
        if field not in accessor.functions:
            accessor.builder.add_function(type_, (), body, field)
            accessor.functions[field] = self._first + len(self._imports)
            described = bytes((FUNCTION,)) + leb(self._type(type_))
            self._imports.append(name(accessor.name) + name(field) + described)
        return call(accessor.functions[field])

    def _keep(self, segment: int) -> int:
        self._kept.add(segment)
        return segment

    def _init(self, segment: int, memory: int) -> bytes | None:
        if not memory:
            return None
        accessor = self.accessors[memory]
        if segment not in accessor.segments:
            content = self.module.wasm[slice(*self._segments[segment].bytes)]
            own = accessor.segments[segment] = accessor.builder.add_data(content)
            self._call(memory, f"drop{segment}", _NOTHING, _DROP + leb(own))
        own = accessor.segments[segment]
        return self._forward(memory, f"init{segment}", _SPAN, _INIT + leb(own) + b"\0")

    def _copy(self, to: int, from_: int) -> bytes | None:
        if to == from_:
            return self._forward(to, "copy", _SPAN, memory_copy(b"", b"", b"")) if to else None
        if self.module.memories[0].wide:  # the others are not
            raise _refusal(f"memory.copy between memories {to} and {from_}, of which one has 64 bits")
        if (to, from_) not in self._copies:
            self._type(_SPAN)
            self._copies[to, from_] = b""  # has its place
            self._copies[to, from_] = self._copy_function(to, from_)
        place = list(self._copies).index((to, from_))
        return call(self._function(len(self.module.functions)) + place)

    # ---- copies between memories

    def _copy_function(self, to: int, from_: int) -> bytes:
        """The body of ``(to, from, count)``."""
        target, source, count = map(local_get, range(3))
        locals_ = ((V128, 8), (I64, 2), (I32, 3))
        vectors, wide, narrow = 3, 11, 13

        def at_least(size: int) -> bytes:
            return numeric("i32.ge_u", count, i32_const(size))

        middle, last = numeric("i32.shr_u", count, i32_const(1)), numeric("i32.sub", count, i32_const(1))
        few = [(i32_const(0), narrow), (middle, narrow + 1), (last, narrow + 2)]
        ends = [(i32_const(0), narrow), (numeric("i32.sub", count, i32_const(4)), narrow + 1)]
        body = (
            self._check(to, target)
            + self._check(from_, source)
            + if_(at_least(64), self._stepped(to, from_, 64, vectors) + return_())
            + if_(at_least(8), self._stepped(to, from_, 8, wide) + return_())
            + if_(at_least(4), self._carried(to, from_, 4, ends) + return_())
            + if_(count, self._carried(to, from_, 1, few))
        )
        return vector(leb(how_many) + bytes((type_,)) for type_, how_many in locals_) + body + b"\x0b"

    def _check(self, memory: int, address: bytes) -> bytes:
        """Trap unless the range is within the memory."""
        pages = self._forward(memory, *_WHOLE[MEMORY_SIZE]) if memory else memory_size()
        end = numeric("i64.add", *(numeric("i64.extend_i32_u", one) for one in (address, local_get(2))))
        size = numeric("i64.shl", numeric("i64.extend_i32_u", pages), i64_const(16))
        # No memory is as large as that, so this traps as the copy would.
        trap = drop(load("i32.load8_u", i32_const(-1), 0xFFFFFFFF))
        return if_(numeric("i64.gt_u", end, size), trap)

    def _stepped(self, to: int, from_: int, size: int, first: int) -> bytes:
        """Copy ``size`` bytes at a time, where there are so many: up, or down where the end of the source
        would be overwritten before it is read. What is left at the end is less, and was read before.
        ``first`` is the first of the locals for that, and for what is carried in between."""
        target, source, count = map(local_get, range(3))
        carried = first + _CARRIED[size][1]

        def step(local: int, by: str) -> bytes:
            return local_set(local, numeric(f"i32.{by}", local_get(local), i32_const(size)))

        def each(body: bytes) -> bytes:
            return loop(if_(numeric("i32.gt_u", count, i32_const(size)), body + br(1)))

        def moved(*offset: bytes) -> bytes:
            return self._get(from_, size, _plus(source, *offset), carried) + self._put(
                to, size, _plus(target, *offset), carried
            )

        left = numeric("i32.sub", count, i32_const(size))
        up = (
            self._get(from_, size, _plus(source, left), first)
            + each(moved() + step(0, "add") + step(1, "add") + step(2, "sub"))
            + self._put(to, size, _plus(target, left), first)
        )
        down = (
            self._get(from_, size, source, first)
            + each(step(2, "sub") + moved(count))
            + self._put(to, size, target, first)
        )
        return if_(numeric("i32.ge_u", numeric("i32.sub", target, source), count), up, down)

    def _carried(self, to: int, from_: int, size: int, places: list[tuple[bytes, int]]) -> bytes:
        """Copy ``size`` bytes from each of these offsets, by these locals: all are read before one is
        written."""
        return b"".join(
            self._get(from_, size, _plus(local_get(1), offset), local) for offset, local in places
        ) + b"".join(self._put(to, size, _plus(local_get(0), offset), local) for offset, local in places)

    def _get(self, memory: int, size: int, address: bytes, first: int) -> bytes:
        """Read ``size`` bytes into locals."""
        (type_, count), (code, _) = _CARRIED[size], _OPCODES[size]
        places = range(count)
        if not memory:
            return b"".join(
                local_set(first + i, address + _instruction(code, size // count * i)) for i in places
            )
        if count == 1:
            read = self._load_or_store(memory, code)
        else:
            body = b"".join(local_get(0) + _instruction(code, size // count * i) for i in places)
            read = self._call(memory, f"load{size}", FuncType(_I32, bytes((type_,)) * count), body)
        return address + read + b"".join(local_set(first + i) for i in reversed(places))

    def _put(self, memory: int, size: int, address: bytes, first: int) -> bytes:
        """Write ``size`` bytes out of locals."""
        (type_, count), (_, code) = _CARRIED[size], _OPCODES[size]
        places = range(count)
        if not memory:
            return b"".join(
                address + local_get(first + i) + _instruction(code, size // count * i) for i in places
            )
        if count == 1:
            write = self._load_or_store(memory, code)
        else:
            stores = (local_get(0) + local_get(1 + i) + _instruction(code, size // count * i) for i in places)
            type_of = FuncType(_I32 + bytes((type_,)) * count, b"")
            write = self._call(memory, f"store{size}", type_of, b"".join(stores))
        return address + b"".join(local_get(first + i) for i in places) + write


def _plus(address: bytes, *offset: bytes) -> bytes:
    return numeric("i32.add", address, *offset) if offset else address


def _instruction(code: int, offset: int) -> bytes:
    """A load or store, as if nothing were known of the alignment."""
    prefixed = bytes((code,)) if code <= 0xFF else bytes((code >> 16,)) + leb(code & 0xFFFF)
    return prefixed + b"\0" + leb(offset)


def _refusal(why: str) -> UnsupportedModuleError:
    return UnsupportedModuleError(
        f"{why}, which is possible with the first memory alone on this engine, as it has one a module;"
        ' take another, as engine="wasmtime"'
    )
