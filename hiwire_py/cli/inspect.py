"""`hiwire inspect`: what a WebAssembly module declares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from ..passes import Module, module_needs_lowering
from ..values import EXTERNREF, V128, FuncType, type_name
from ..wasm.binary import Reader
from ..wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, TABLE, Global, Limits, TableType
from .display import console, facts, print_json
from .options import INPUT, OK, json_option

__all__ = ["Description", "Item", "describe", "inspect_command"]

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
        needs_lowering: whether it is lowered when it is loaded.
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
        needs_lowering=module_needs_lowering(module),
        features=tuple(_features(module)),
        imports=tuple(Item(str(i), KINDS[i.kind], type_text(i.type)) for i in module.imports),
        exports=tuple(
            Item(e.name, KINDS[e.kind], _export_type(module, e.kind, e.index)) for e in module.exports
        ),
        tables=tuple(type_text(table) for table in module.tables),
        memories=tuple(type_text(memory) for memory in module.memories),
        custom_sections=tuple(
            Reader(wasm, s.start, s.end).name() for s in module.sections if s.kind == _CUSTOM
        ),
    )


def type_text(declared: FuncType | TableType | Limits | Global) -> str:
    """The type of an import or export, for people."""
    if isinstance(declared, TableType):
        return f"{_range(declared.limits)} {type_name(declared.element)}"
    if isinstance(declared, Limits):
        return f"{_range(declared)} pages of 64 KiB"
    if isinstance(declared, Global):
        return f"mutable {type_name(declared.type)}" if declared.mutable else type_name(declared.type)
    return str(declared)


def _range(limits: Limits) -> str:
    if limits.maximum is None:
        return f"{limits.minimum} or more"
    return f"{limits.minimum} to {limits.maximum}"


def _export_type(module: Module, kind: int, index: int) -> str:
    if kind == FUNCTION:
        return type_text(module.function_type(index))
    if kind == TABLE:
        return type_text(module.tables[index])
    if kind == MEMORY:
        return type_text(module.memories[index])
    assert kind == GLOBAL
    return type_text(module.globals[index])


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


@click.command("inspect")
@click.argument("module", type=INPUT)
@json_option
def inspect_command(module: Path, as_json: bool) -> int:
    """Show what MODULE imports and exports, and whether it is lowered when it is loaded.

    \b
    Examples:
        hiwire inspect guest.wasm
        hiwire inspect --json guest.wasm
    """
    found = describe(module.read_bytes())
    if as_json:
        print_json(found.as_json())
    else:
        _show(str(module), found)
    return OK


def _show(name: str, found: Description) -> None:
    """What a module declares."""
    screen = console()
    table = facts(indent=0)
    table.add_row("size", f"{found.size:,} bytes")
    lowering = "yes, when it is loaded" if found.needs_lowering else "no"
    table.add_row("needs lowering", lowering)
    table.add_row("features", ", ".join(found.features) or "none beyond the first release of WebAssembly")
    table.add_row("memory", "; ".join(found.memories) or "none")
    table.add_row("tables", "; ".join(found.tables) or "none")
    if found.custom_sections:
        table.add_row("custom sections", escape(", ".join(found.custom_sections)))
    screen.print(escape(name), style="bold", soft_wrap=True)
    screen.print(table)
    for title, items in (("imports", found.imports), ("exports", found.exports)):
        screen.print(f"\n{title}" if items else f"\n{title}: none", style="bold")
        if items:
            screen.print(_lines(items))


def _lines(items: Iterable[Item]) -> Table:
    table = facts(indent=2)
    for item in items:
        table.add_row(item.kind, escape(item.name), escape(item.type))
    return table
