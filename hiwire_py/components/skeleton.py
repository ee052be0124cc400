"""Components without code: what they import and export stays, and so do all types.

A core module becomes one that imports and exports the same, and whose functions do nothing but trap. The
result is a valid component, if the component was one.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UnsupportedModuleError
from ..wasm.binary import Reader, leb, section, vector
from ..wasm.module import FUNCTION, GLOBAL, MEMORY, TABLE, TAG, Kind, Module
from ..wasm.types import EXNREF, EXTERNREF, F32, F64, FUNCREF, I32, I64, REF_NULL, V128, limits_bytes
from ..wasm.write import export_bytes

__all__ = ["skeleton"]

_CUSTOM, _CORE_MODULE, _COMPONENT = 0, 1, 4
_ZEROS = {
    I32: b"\x41\0",
    I64: b"\x42\0",
    F32: b"\x43" + bytes(4),
    F64: b"\x44" + bytes(8),
    V128: b"\xfd\x0c" + bytes(16),
}
_TRAPS = b"\3\0\0\x0b"  # three bytes: no locals, unreachable, end


def skeleton(component: bytes) -> bytes:
    """A component without code and without custom sections."""
    r = Reader(component, 8)
    out = [component[:8]]
    while r.pos < r.end:
        kind = r.byte()
        body = r.take(r.u32())
        if kind == _CORE_MODULE:
            body = _stub(Module.parse(body))
        elif kind == _COMPONENT:
            body = skeleton(body)
        if kind != _CUSTOM:
            out.append(section(kind, body))
    return b"".join(out)


def _stub(module: Module) -> bytes:
    """A module with the same imports and exports."""
    spaces = (module.functions, module.tables, module.memories, module.globals, module.tags)
    imported = [module.count_imports(kind) for kind in range(len(spaces))]
    kept = [
        sorted({e.index for e in module.exports if e.kind == kind and e.index >= imported[kind]})
        for kind in range(len(spaces))
    ]
    places = [{old: first + new for new, old in enumerate(some)} for first, some in zip(imported, kept)]
    exports = [export_bytes(e.name, e.kind, places[e.kind].get(e.index, e.index)) for e in module.exports]
    sections = {kind: module.wasm[start:end] for kind, start, end in module.sections}
    tables = (module.tables[i] for i in kept[TABLE])
    globals_ = (module.globals[i] for i in kept[GLOBAL])
    items: dict[Kind, Iterable[bytes]] = {
        Kind.FUNCTIONS: [leb(module.functions[i]) for i in kept[FUNCTION]],
        Kind.TABLES: [_nullable(one.spelling) + limits_bytes(one.limits) for one in tables],
        Kind.MEMORIES: [limits_bytes(module.memories[i]) for i in kept[MEMORY]],
        Kind.TAGS: [b"\0" + leb(module.tags[i].type) for i in kept[TAG]],
        Kind.GLOBALS: [
            one.spelling + bytes((one.mutable,)) + _zero(one.spelling) + b"\x0b" for one in globals_
        ],
        Kind.EXPORTS: exports,
        Kind.CODE: [_TRAPS for _ in kept[FUNCTION]],
    }
    out = [b"\0asm\1\0\0\0"]
    for kind in Kind:
        if kind in (Kind.TYPES, Kind.IMPORTS):
            body = sections.get(kind, b"")
        else:
            body = vector(items[kind]) if items.get(kind) else b""
        if body:
            out.append(section(kind, body))
    return b"".join(out)


def _zero(spelling: bytes) -> bytes:
    """A constant of a type."""
    if spelling[0] in _ZEROS:
        return _ZEROS[spelling[0]]
    nullable = _nullable(spelling)
    return b"\xd0" + (nullable[1:] if nullable[0] == REF_NULL else nullable)


def _nullable(spelling: bytes) -> bytes:
    """A type of references that has null, as what is exported without its code must have."""
    if spelling[0] not in (REF_NULL, FUNCREF, EXTERNREF, EXNREF):
        raise UnsupportedModuleError(
            "a core module exports a table or global of references that are never null"
        )
    return spelling
