"""What a WebAssembly module declares, for `hiwire inspect`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .passes.externref import needs_lowering
from .values import EXTERNREF, V128, type_name
from .wasm.binary import Reader
from .wasm.module import GLOBAL, KINDS, Global, Limits, Module, TableType, Tag
from .wasm.types import ExternType

__all__ = ["Description", "Item", "describe"]

_CUSTOM, _DATA_COUNT = 0, 12


@dataclass(frozen=True)
class Item:
    """An import or export: ``kind`` is function, table, memory or global, ``type`` is in the words of the
    text format."""

    name: str
    kind: str
    type: str


@dataclass(frozen=True)
class Description:
    """What a module declares.

    Attributes:
        size: in bytes.
        needs_lowering: whether engines without externref run it lowered.
        features: WebAssembly features beyond the first release that its declarations use. What only its code
            uses is not seen.
        imports, exports, tables, memories: in the order of the module; imported tables and memories come
            first.
        custom_sections: their names.
    """

    size: int
    needs_lowering: bool
    features: tuple[str, ...]
    imports: tuple[Item, ...]
    exports: tuple[Item, ...]
    tables: tuple[str, ...]
    memories: tuple[str, ...]
    custom_sections: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The description as `json` writes it."""
        return asdict(self)


def describe(wasm: bytes) -> Description:
    """Read what a module declares.

    Raises:
        UnsupportedModuleError: the bytes are no core module, or declare something that is not supported.
    """
    module = Module.parse(wasm)
    return Description(
        size=len(wasm),
        needs_lowering=needs_lowering(module),
        features=tuple(_features(module)),
        imports=tuple(Item(str(i), KINDS[i.kind], type_text(i.type)) for i in module.imports),
        exports=tuple(
            Item(e.name, KINDS[e.kind], type_text(module.type_of(e.kind, e.index))) for e in module.exports
        ),
        tables=tuple(type_text(table) for table in module.tables),
        memories=tuple(type_text(memory) for memory in module.memories),
        custom_sections=tuple(
            Reader(wasm, s.start, s.end).name() for s in module.sections if s.kind == _CUSTOM
        ),
    )


def type_text(declared: ExternType) -> str:
    """The type of an import or export, for people."""
    if isinstance(declared, TableType):
        return f"{_range(declared.limits)} {type_name(declared.element)}"
    if isinstance(declared, Limits):
        return f"{_range(declared)} pages of 64 KiB"
    if isinstance(declared, Global):
        return f"mutable {type_name(declared.type)}" if declared.mutable else type_name(declared.type)
    return str(declared.functype if isinstance(declared, Tag) else declared)


def _range(limits: Limits) -> str:
    if limits.maximum is None:
        return f"{limits.minimum} or more"
    return f"{limits.minimum} to {limits.maximum}"


def _features(module: Module) -> list[str]:
    value_types = {code for functype in module.types for side in functype for code in side}
    value_types |= {global_.type for global_ in module.globals}
    shared_globals = [i.type for i in module.imports] + [
        module.globals[e.index] for e in module.exports if e.kind == GLOBAL
    ]
    found = {
        "bulk memory": any(section.kind == _DATA_COUNT for section in module.sections),
        "multiple memories": len(module.memories) > 1,
        "multiple results": any(len(functype.results) > 1 for functype in module.types),
        "mutable globals": any(isinstance(g, Global) and g.mutable for g in shared_globals),
        "reference types": EXTERNREF in value_types
        or len(module.tables) > 1
        or any(table.element == EXTERNREF for table in module.tables),
        "SIMD": V128 in value_types,
    }
    return [name for name, used in found.items() if used]
