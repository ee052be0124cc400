"""`hiwire inspect` for components: types at the edge, instances and their handle tables, modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from ..components import Component
from ..components.assemble import Assembly
from ..components.plan import Export, FunctionExport, InstanceExports
from ..components.roles import Roles, roles_of
from ..components.types import Enum, Flags, Record, Resource, Variant
from ..components.wit import Names, definition_text, function_text, type_text
from .display import console, facts

__all__ = ["describe_component", "show_component", "show_declared"]

_PRIVATE = "a generated module of its own, whose memory no guest can reach"


def describe_component(wasm: bytes) -> dict[str, Any]:
    """What a component is made of, as ``--json`` prints it.

    Returns:
        ``kind``, which is ``"component"``; ``size`` in bytes; ``imports`` and ``exports``: each with its
        name, kind and type in WIT, and of an instance its ``items``; ``instances`` of components: the number,
        the ``parent``'s, where it stands, its ``roles`` (see `components.roles`) with the resources that they
        are about, its ``table`` (the number of the module, or null, and ``where``) and ``why`` it has it;
        ``modules``: core modules with their size, how many imports and exports they have, and the numbers of
        the component instances that have one; ``generated`` modules in the order of instantiation: what each
        is, whose it is, and its size.

    Raises:
        UnsupportedModuleError: the bytes are no component that can be run.
    """
    component = Component(wasm)
    assembly, names = component._assembly, component._names
    plan = assembly.plan
    modules = [
        {
            "number": number,
            "size": len(module.wasm),
            "imports": len(module.imports),
            "exports": len(module.exports),
            "instances": [step.component for step in plan.steps if step.module == number],
        }
        for number, module in enumerate(plan.modules)
    ]
    generated = [
        {"number": number, "what": stage.what, "instance": stage.component, "size": len(stage.module.wasm)}
        for number, stage in enumerate(assembly.stages)
        if stage.what != "core"
    ]
    return {
        "kind": "component",
        "size": len(wasm),
        "imports": [_item(name, one, names) for name, one in component.imports.items()],
        "exports": [_item(name, one, names) for name, one in component.exports.items()],
        "instances": [_instance(assembly, n, roles) for n, roles in enumerate(roles_of(plan))],
        "modules": modules,
        "generated": generated,
    }


def _item(name: str, one: Export, names: Names) -> dict[str, Any]:
    if isinstance(one, FunctionExport):
        return {"name": name, "kind": "function", "type": function_text(one.type, names)}
    if isinstance(one, InstanceExports):
        items = [_item(inner, item, names) for inner, item in one.items.items()]
        return {"name": name, "kind": "instance", "type": "", "items": items}
    if isinstance(one, Resource):
        return {"name": name, "kind": "resource", "type": names[id(one)]}
    if isinstance(one, (Record, Variant, Enum, Flags)):
        return {"name": name, "kind": "type", "type": definition_text(one, "", names)}
    others = {key: known for key, known in names.items() if key != id(one)}
    return {"name": name, "kind": "type", "type": type_text(one, others)}


def _instance(assembly: Assembly, number: int, roles: Roles) -> dict[str, Any]:
    instance, table = assembly.plan.instances[number], assembly.tables.get(number)
    return {
        "number": number,
        "parent": instance.parent,
        "name": instance.name or "root",
        "roles": roles.names,
        "defines": [one.name for one in roles.defines],
        "re_exports": [one.name for one in roles.re_exports],
        "consumes": [one.name for one in roles.consumes],
        "table": table,
        "where": None if table is None else _PRIVATE,
        "why": roles.reasons if table is not None else ["no handle comes to it"],
    }


def show_declared(screen: Console, found: Mapping[str, Any]) -> None:
    """Print the imports and exports of a module or component, and what is within instances."""
    for title in ("imports", "exports"):
        items = found[title]
        screen.print(f"\n{title}" if items else f"\n{title}: none", style="bold")
        if items:
            table = facts(indent=2)
            for item in items:
                table.add_row(item["kind"], escape(item["name"]), escape(item["type"]))
                for inner in item.get("items", ()):
                    table.add_row(f"  {inner['kind']}", f"  {escape(inner['name'])}", escape(inner["type"]))
            screen.print(table)


def show_component(name: str, found: Mapping[str, Any]) -> None:
    """Print what `describe_component` has found, for people."""
    screen = console()
    made = found["generated"]
    table = facts(indent=0)
    table.add_row("size", f"{found['size']:,} bytes")
    table.add_row("core modules", f"{len(found['modules'])}, {_bytes(found['modules'])} bytes")
    table.add_row("generated modules", f"{len(made)}, {_bytes(made)} bytes")
    screen.print(escape(name), style="bold", soft_wrap=True)
    screen.print(table)
    show_declared(screen, found)
    screen.print("\ncomponent instances", style="bold")
    table = facts(indent=2)
    for one in found["instances"]:
        about = [f"defines {', '.join(map(_or_none, one['defines']))}"] * bool(one["defines"])
        about += [f"re-exports {', '.join(map(_or_none, one['re_exports']))}"] * bool(one["re_exports"])
        about += [f"consumes {', '.join(map(_or_none, one['consumes']))}"] * bool(one["consumes"])
        table.add_row(str(one["number"]), escape(one["name"]), ", ".join(one["roles"]), "; ".join(about))
        if one["table"] is None:
            table.add_row("", "", "no handle table", escape(one["why"][0]))
            continue
        table.add_row("", "", f"handle table {one['table']}", one["where"])
        for place, why in enumerate(one["why"]):
            table.add_row("", "", "" if place else "because", escape(why))
    screen.print(table)
    for title, rows in (("core modules", _core_rows(found)), ("generated modules", _made_rows(made))):
        screen.print(f"\n{title}", style="bold")
        table = facts(indent=2)
        for row in rows:
            table.add_row(*row)
        screen.print(table)


def _core_rows(found: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            str(one["number"]),
            f"{one['size']:,} bytes",
            f"{one['imports']} imports, {one['exports']} exports",
            f"in {', '.join(map(str, one['instances']))}" if one["instances"] else "not instantiated",
        ]
        for one in found["modules"]
    ]


def _made_rows(made: list[dict[str, Any]]) -> list[list[str]]:
    whose = ["" if one["instance"] is None else f"of {one['instance']}" for one in made]
    return [[str(one["number"]), f"{one['size']:,} bytes", one["what"], of] for one, of in zip(made, whose)]


def _bytes(modules: list[dict[str, Any]]) -> str:
    return f"{sum(one['size'] for one in modules):,}"


def _or_none(name: str) -> str:
    return escape(name) or "a resource without a name"
