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
in tables of others by then; and for what can only be code: see constants.py and memories.py.

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
from ..wasm.write import Edit, Writer

__all__ = ["defer_start"]

_MEMORY_INIT, _TABLE_INIT = 0x08, 0x0C  # behind a prefix


def defer_start(module: Module, before: bytes = b"") -> tuple[bytes, str] | None:
    """The module with an export of type () -> () that must be called once, before any other, and that
    export's name; None if nothing happens at its start. ``before`` is code that comes before everything
    else."""
    wasm = module.wasm
    steps = [before] if before else []  # the code of the new function
    edit, writer = Edit(module), Writer(module)
    if any(element.offset is not None for element in module.elements):
        edit.set(Kind.ELEMENTS, vector(writer.element(_passive(element)) for element in module.elements))
    data = list(module.data())
    inits = [
        (segment.offset, len(segment.items), _TABLE_INIT, index, segment.table)
        for index, segment in enumerate(module.elements)
    ]
    inits += [
        (segment.offset, segment.bytes[1] - segment.bytes[0], _MEMORY_INIT, index, segment.memory)
        for index, segment in enumerate(data)
    ]
    for offset, count, init, index, target in inits:
        if offset is not None:
            steps.append(wasm[offset[0] : offset[1] - 1] + i32_const(0) + i32_const(count))
            steps.append(bytes((0xFC, init)) + leb(index) + leb(target))
            steps.append(bytes((0xFC, init + 1)) + leb(index))  # elem.drop, data.drop
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


def _passive(element: Element) -> Element:
    declared = 3 if element.flags & 3 == 3 else 1
    return element._replace(flags=element.flags & 4 | declared, offset=None)
