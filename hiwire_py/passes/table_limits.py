"""Tables that can grow no further than an engine can take it."""

from __future__ import annotations

from ..wasm.binary import leb, section, vector
from ..wasm.module import TABLE, Limits, Module

__all__ = ["limit_tables"]

_TABLES = 4


def limit_tables(module: Module, most: int) -> bytes:
    """The module with ``most`` as the maximum of each of its own tables that has a larger one, or none; the
    same bytes if there are none. A guest that wants more elements is given -1, as by an engine that has no
    room for them."""
    own = module.tables[module.count_imports(TABLE) :]
    if all(table.limits.maximum is not None and table.limits.maximum <= most for table in own):
        return module.wasm
    limited = vector(bytes((table.element, 1)) + _limited(table.limits, most) for table in own)
    out = [module.wasm[:8]]
    for kind, start, end in module.sections:
        out.append(section(kind, limited if kind == _TABLES else module.wasm[start:end]))
    return b"".join(out)


def _limited(limits: Limits, most: int) -> bytes:
    maximum = limits.maximum
    if maximum is None or maximum > most:
        maximum = max(limits.minimum, most)
    return leb(limits.minimum) + leb(maximum)
