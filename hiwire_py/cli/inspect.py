"""`hiwire inspect`: what a WebAssembly module declares. Components: inspect_component.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from ..components.decode import is_component
from ..passes.externref import needs_lowering
from ..values import EXTERNREF, V128, type_name
from ..wasm.binary import Reader
from ..wasm.module import GLOBAL, KINDS, Global, Kind, Limits, Module, TableType, Tag
from ..wasm.types import ExternType
from .display import console, facts, print_json
from .inspect_component import describe_component, show_component, show_declared
from .options import INPUT, OK, json_option

__all__ = ["describe", "inspect_command"]


def describe(wasm: bytes) -> dict[str, Any]:
    """What a module declares, as ``--json`` prints it.

    Returns:
        ``size`` in bytes; ``needs_lowering``: whether it is lowered when it is loaded; ``features`` of
        WebAssembly beyond the first release that its declarations use (what only its code uses is not seen);
        ``imports`` and ``exports``: each with its name, kind, and type in the words of the text format;
        ``tables`` and ``memories``, imported ones first; the names of ``custom_sections``.

    Raises:
        UnsupportedModuleError: the bytes are no core module, or declare something that is not supported.
    """
    module = Module.parse(wasm)
    custom = (s for s in module.sections if s.kind == Kind.CUSTOM)
    return {
        "size": len(wasm),
        "needs_lowering": needs_lowering(module),
        "features": _features(module),
        "imports": [_item(str(i), i.kind, i.type) for i in module.imports],
        "exports": [_item(e.name, e.kind, module.type_of(e.kind, e.index)) for e in module.exports],
        "tables": list(map(type_text, module.tables)),
        "memories": list(map(type_text, module.memories)),
        "custom_sections": [Reader(wasm, s.start, s.end).name() for s in custom],
    }


def _item(name: str, kind: int, declared: ExternType) -> dict[str, str]:
    return {"name": name, "kind": KINDS[kind], "type": type_text(declared)}


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
        "bulk memory": any(section.kind == Kind.DATA_COUNT for section in module.sections),
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

    Of a component: its types, the roles of its component instances with resources, where each one's handle
    table is and why, its core modules, and what is generated for it.

    \b
    Examples:
        hiwire inspect guest.wasm
        hiwire inspect --json guest.wasm
    """
    wasm = module.read_bytes()
    of_component = is_component(wasm)
    found = (describe_component if of_component else describe)(wasm)
    if as_json:
        print_json(found)
    else:
        (show_component if of_component else _show)(str(module), found)
    return OK


def _show(name: str, found: dict[str, Any]) -> None:
    """What a module declares."""
    screen = console()
    table = facts(indent=0)
    table.add_row("size", f"{found['size']:,} bytes")
    table.add_row("needs lowering", "yes, when it is loaded" if found["needs_lowering"] else "no")
    table.add_row("features", ", ".join(found["features"]) or "none beyond the first release of WebAssembly")
    table.add_row("memory", "; ".join(found["memories"]) or "none")
    table.add_row("tables", "; ".join(found["tables"]) or "none")
    if found["custom_sections"]:
        table.add_row("custom sections", escape(", ".join(found["custom_sections"])))
    screen.print(escape(name), style="bold", soft_wrap=True)
    screen.print(table)
    show_declared(screen, found)
