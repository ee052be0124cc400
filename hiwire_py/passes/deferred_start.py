"""Deferred start: what a module does when it is made becomes an export, to be called once.

    (module                                     (module
      (table (import "m" "t") 9 funcref)          (table (import "m" "t") 9 funcref)
      (func $f)                                   (func $f)
      (elem (i32.const 4) $f)                     (elem func $f)
      (func $start)                     ->        (func $start)
      (start $start))                             (func (export "start")
                                                    (table.init 0 (i32.const 4) (i32.const 0) (i32.const 1))
                                                    (elem.drop 0)
                                                    (call $start)))

The new function does what the specification says of instantiation (core specification 3.0, section 4.7.4). It
is for engines that give out no instance where a part of that fails, and free it, though its functions may be
in tables of others by then.

Requires: a valid module, with tables and memories of 32 bits.
Leaves: all segments are passive or declarative, and there is no start function. The export must be called
once, before any other; then, and where it traps, everything is as after the start of the module. What is
exported is exported still, and existing indexes stay as they are.
"""

from __future__ import annotations

from ..wasm.binary import leb, sized, vector
from ..wasm.code import i32_const
from ..wasm.module import FUNCTION, Element, Kind, Module
from ..wasm.types import function_type
from ..wasm.write import Edit

__all__ = ["defer_start"]


def defer_start(module: Module) -> tuple[bytes, str] | None:
    """The module with an export of type () -> () that must be called once, before any other, and that
    export's name; None if nothing happens at its start."""
    wasm = module.wasm
    steps: list[bytes] = []  # the code of the new function
    edit = Edit(module)
    if any(element.offset is not None for element in module.elements):
        edit.set(Kind.ELEMENTS, vector(_passive(module, element) for element in module.elements))
    for index, element in enumerate(module.elements):
        if element.offset is not None:
            count, where = len(element.items), leb(index)
            steps.append(_init(wasm, element.offset, count, b"\x0c" + where + leb(element.table)))
            steps.append(b"\xfc\x0d" + where)  # elem.drop
    data = list(module.data())
    for index, segment in enumerate(data):
        if segment.offset is not None:
            where, (start, end) = leb(index), segment.bytes
            steps.append(_init(wasm, segment.offset, end - start, b"\x08" + where + leb(segment.memory)))
            steps.append(b"\xfc\x09" + where)  # data.drop
    if data:
        edit.set(Kind.DATA, vector(b"\1" + sized(wasm[slice(*segment.bytes)]) for segment in data))
        edit.set(Kind.DATA_COUNT, leb(len(data)))
    if module.start is not None:
        steps.append(b"\x10" + leb(module.start))  # call
        edit.set(Kind.START, None)
    if not steps:
        return None
    edit.add(Kind.TYPES, function_type((), ()))
    edit.add(Kind.FUNCTIONS, leb(len(module.types)))
    edit.add(Kind.CODE, sized(b"\0" + b"".join(steps) + b"\x0b"))
    export = edit.export("start", FUNCTION, len(module.functions))
    return edit.written(), export


def _init(wasm: bytes, offset: tuple[int, int], count: int, what: bytes) -> bytes:
    """``table.init`` or ``memory.init`` of a whole segment; a constant expression gives the offset."""
    start, end = offset
    return wasm[start : end - 1] + i32_const(0) + i32_const(count) + b"\xfc" + what


def _passive(module: Module, element: Element) -> bytes:
    items = vector(
        module.wasm[slice(*item)] if isinstance(item, tuple) else leb(item) for item in element.items
    )
    declared = 3 if element.flags & 3 == 3 else 1
    if element.flags & 4:
        return bytes((declared | 4,)) + element.spelling + items
    return bytes((declared, 0)) + items
