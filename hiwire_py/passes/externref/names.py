"""The ``name`` section: debuggers' names move with the indexes (core specification, appendix "Custom
Sections")."""

from __future__ import annotations

from ...wasm.binary import Reader, leb, name, vector
from .code import HELPERS, IndexMap

__all__ = ["rewrite_names"]

_FUNCTIONS, _LOCALS, _LABELS, _TABLES, _GLOBALS, _ELEMENTS = 1, 2, 3, 5, 7, 8


def rewrite_names(to: IndexMap, r: Reader) -> bytes:
    """The section's contents after its title, with indexes of the lowered module."""
    out = []
    while r.pos < r.end:
        kind, size = r.byte(), r.u32()
        start = r.pos
        r.take(size)
        part = r.at(start, r.pos)
        if kind in (_FUNCTIONS, _GLOBALS):
            body = _direct(to, part, kind)
        elif kind in (_LOCALS, _LABELS):
            body = _indirect(to, part)
        elif kind in (_TABLES, _ELEMENTS):
            continue
        else:
            body = r.data[start : r.pos]
        out.append(bytes((kind,)) + leb(len(body)) + body)
    return b"".join(out)


def _direct(to: IndexMap, r: Reader, kind: int) -> bytes:
    index = to.function if kind == _FUNCTIONS else to.global_
    found = {}
    for _ in range(r.u32()):
        old = r.u32()
        found[index(old)] = r.name()
    if kind == _FUNCTIONS:
        found.update({to.first_function + n: f"externref.{helper}" for n, helper in enumerate(HELPERS)})
    return vector(leb(i) + name(found[i]) for i in sorted(found))


def _indirect(to: IndexMap, r: Reader) -> bytes:
    items = []
    for _ in range(r.u32()):
        function = r.u32()
        start = r.pos
        for _ in range(r.u32()):
            r.u32()
            r.take(r.u32())
        items.append(leb(to.function(function)) + r.data[start : r.pos])
    return vector(items)
