"""Making and starting a module in two steps: what it does at its start becomes an export, to be called.

    (module                                     (module
      (table (import "m" "t") 9 funcref)          (table (import "m" "t") 9 funcref)
      (func $f)                                   (func $f)
      (elem (i32.const 4) $f)                     (elem func $f)
      (func $start)                     ->        (func $start)
      (start $start))                             (func (export "start")
                                                    (table.init 0 (i32.const 4) (i32.const 0) (i32.const 1))
                                                    (elem.drop 0)
                                                    (call $start)))

The new function does what the specification says of instantiation (core specification 2.0, section 4.5.4). It
is for engines that give out no instance where a part of that fails, and free it, though its functions may be
in tables of others by then.
"""

from __future__ import annotations

from ..wasm.binary import Reader, leb, name, section, signed_leb, vector
from ..wasm.module import FUNCTION, Element, Module

__all__ = ["defer_start"]

_TYPES, _FUNCTIONS, _EXPORTS, _START, _ELEMENTS, _CODE, _DATA, _DATA_COUNT = 1, 3, 7, 8, 9, 10, 11, 12
_ORDER = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11)  # of the sections that are not custom
_NOTHING_TO_NOTHING = b"\x60\0\0"
_ZERO = b"\x41\0"  # i32.const 0


def defer_start(module: Module) -> tuple[bytes, str] | None:
    """The module with an export of type () -> () that must be called once, before any other, and that
    export's name; None if nothing happens at its start.

    The module is taken to be valid.
    """
    wasm = module.wasm
    spans = {kind: (start, end) for kind, start, end in module.sections if kind}
    steps: list[bytes] = []  # the code of the new function
    added: dict[int, list[bytes]] = {}  # what comes to a section's vector
    changed: dict[int, bytes | None] = {}
    if any(element.offset is not None for element in module.elements):
        changed[_ELEMENTS] = vector(_passive(module, element) for element in module.elements)
    for index, element in enumerate(module.elements):
        if element.offset is not None:
            where = leb(index)
            steps.append(
                _init(wasm, element.offset, len(element.items), b"\x0c" + where + leb(element.table))
            )
            steps.append(b"\xfc\x0d" + where)  # elem.drop
    if _DATA in spans:
        segments = _data(module, Reader(wasm, *spans[_DATA]), steps)
        changed[_DATA] = vector(segments)
        changed[_DATA_COUNT] = leb(len(segments))
    if _START in spans:
        steps.append(b"\x10" + wasm[slice(*spans[_START])])  # call
        changed[_START] = None
    if not steps:
        return None
    export = "start"
    while any(export == other.name for other in module.exports):
        export += "'"
    body = b"\0" + b"".join(steps) + b"\x0b"
    added[_TYPES] = [_NOTHING_TO_NOTHING]
    added[_FUNCTIONS] = [leb(len(module.types))]
    added[_EXPORTS] = [name(export) + bytes((FUNCTION,)) + leb(len(module.functions))]
    added[_CODE] = [leb(len(body)) + body]
    out = [wasm[:8]]
    for kind in _ORDER:
        content = changed.get(kind, wasm[slice(*spans[kind])] if kind in spans else None)
        if kind in added:
            content = _longer(content, added[kind])
        if content is not None:
            out.append(section(kind, content))
    return b"".join(out), export


def _longer(content: bytes | None, items: list[bytes]) -> bytes:
    if content is None:
        return vector(items)
    reader = Reader(content)
    count = reader.u32()
    return leb(count + len(items)) + content[reader.pos :] + b"".join(items)


def _init(wasm: bytes, offset: tuple[int, int], count: int, what: bytes) -> bytes:
    """``table.init`` or ``memory.init`` of a whole segment; a constant expression gives the offset."""
    start, end = offset
    return wasm[start : end - 1] + _ZERO + b"\x41" + signed_leb(count) + b"\xfc" + what


def _passive(module: Module, element: Element) -> bytes:
    items = vector(
        module.wasm[slice(*item)] if isinstance(item, tuple) else leb(item) for item in element.items
    )
    declared = 3 if element.flags & 3 == 3 else 1
    if element.flags & 4:
        return bytes((declared | 4, element.type)) + items
    return bytes((declared, 0)) + items


def _data(module: Module, r: Reader, steps: list[bytes]) -> list[bytes]:
    """The segments, all passive, and the code that puts the active ones where they belong."""
    segments = []
    for index in range(r.u32()):
        flags = r.u32()
        memory = r.u32() if flags == 2 else 0
        offset = None if flags == 1 else module.skip_expression(r)
        size = r.u32()
        segments.append(b"\1" + leb(size) + r.take(size))
        if offset is not None:
            where = leb(index)
            steps.append(_init(module.wasm, offset, size, b"\x08" + where + leb(memory)))
            steps.append(b"\xfc\x09" + where)  # data.drop
    return segments
