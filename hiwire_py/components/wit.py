"""What a component imports and exports, as WIT: the text from which such components are made.

A plan has the items at the component's edge by their names, and every use of a named type is the very object
that stands under the name (see `plan.Plan`). So names come back by identity: a type is defined where it
stands first, an interface where it stands again uses it, and within functions it has its name.

Where an interface is both imported and exported, WIT has one text for the two, with all that either has.

Format: component model, WIT.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Union

from ..errors import UnsupportedModuleError
from .plan import Export, FunctionExport, InstanceExports, Plan
from .types import (
    Borrow,
    Enum,
    Flags,
    FuncType,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    Result,
    Tuple,
    ValueType,
    Variant,
    parts,
)

__all__ = [
    "ANNOTATED",
    "Names",
    "definition_text",
    "edge_names",
    "escaped",
    "function_text",
    "type_text",
    "wit",
]

ANNOTATED = re.compile(r"\[(constructor|method|static)\]([^.]+)(?:\.(.+))?")
"""The name of a function that belongs to a resource: its kind, the resource, and its own name."""

_INTERFACE = re.compile(r"([a-zA-Z].*)/([^/@]+)(@.+)?")
_KEYWORDS = frozenset(
    [
        "_",
        "as",
        "async",
        "bool",
        "borrow",
        "char",
        "constructor",
        "enum",
        "error-context",
        "export",
        "f32",
        "f64",
        "flags",
        "from",
        "func",
        "future",
        "import",
        "include",
        "interface",
        "list",
        "map",
        "option",
        "own",
        "package",
        "record",
        "resource",
        "result",
        "s16",
        "s32",
        "s64",
        "s8",
        "static",
        "stream",
        "string",
        "tuple",
        "type",
        "u16",
        "u32",
        "u64",
        "u8",
        "use",
        "variant",
        "with",
        "world",
    ]
)

Names = Mapping[int, str]
"""What types are called in some place, by their identity."""

_Type = Union[ValueType, Resource]


def escaped(label: str) -> str:
    """A label as an identifier of WIT, which its keywords are not."""
    return f"%{label}" if label in _KEYWORDS else label


def edge_names(plan: Plan) -> dict[int, str]:
    """What the types at a component's edge are called where each stands first; and resources that are none
    of its edge by what they were named within."""
    found = {id(one): escaped(one.name or f"resource-{d.number}") for one, d in plan.resources.items()}

    def walk(items: Mapping[str, Export]) -> None:
        for name, one in items.items():
            if isinstance(one, InstanceExports):
                walk(one.items)
            elif not isinstance(one, FunctionExport):
                named.setdefault(id(one), escaped(name))

    named: dict[int, str] = {}
    walk(plan.imports)
    walk(plan.exports)
    return {**found, **named}


# ---- types


def type_text(type_: ValueType, names: Names) -> str:
    """A type where it is used. One that has no name is written out; so are records and the like, which WIT
    cannot have there, in the way of their definitions."""
    known = names.get(id(type_))
    if known is not None:
        return known

    def text(one: ValueType | None) -> str:
        return "_" if one is None else type_text(one, names)

    if isinstance(type_, Primitive):
        return type_.name
    if isinstance(type_, Own):
        return names.get(id(type_.resource), type_.resource.name)
    if isinstance(type_, Borrow):
        return f"borrow<{names.get(id(type_.resource), type_.resource.name)}>"
    if isinstance(type_, List):
        length = "" if type_.length is None else f", {type_.length}"
        return f"list<{text(type_.element)}{length}>"
    if isinstance(type_, Tuple):
        return f"tuple<{', '.join(map(text, type_.items))}>"
    if isinstance(type_, Option):
        return f"option<{text(type_.payload)}>"
    if isinstance(type_, Map):
        return f"map<{text(type_.key)}, {text(type_.value)}>"
    if isinstance(type_, Result):
        if type_.error is None:
            return "result" if type_.ok is None else f"result<{text(type_.ok)}>"
        return f"result<{text(type_.ok)}, {text(type_.error)}>"
    kind, entries = _definition(type_, names)
    return f"{kind} {{ {', '.join(entries)} }}"


def _definition(type_: Record | Variant | Enum | Flags, names: Names) -> tuple[str, list[str]]:
    """The keyword of a type that must have a name, and its parts."""
    if isinstance(type_, Record):
        return "record", [f"{escaped(label)}: {type_text(one, names)}" for label, one in type_.fields]
    if isinstance(type_, Variant):
        return "variant", [
            escaped(label) if one is None else f"{escaped(label)}({type_text(one, names)})"
            for label, one in type_.cases
        ]
    return "enum" if isinstance(type_, Enum) else "flags", [escaped(label) for label in type_.labels]


def definition_text(type_: Record | Variant | Enum | Flags, label: str, names: Names) -> str:
    """The definition of a type, in one line."""
    kind, entries = _definition(type_, names)
    return (
        f"{kind} {escaped(label)} {{ {', '.join(entries)} }}"
        if label
        else f"{kind} {{ {', '.join(entries)} }}"
    )


def function_text(type_: FuncType, names: Names, skipped: int = 0) -> str:
    """A function's type. ``skipped``: how many parameters, at the front, are not shown."""
    params = [f"{escaped(label)}: {type_text(one, names)}" for label, one in type_.params[skipped:]]
    result = "" if type_.result is None else f" -> {type_text(type_.result, names)}"
    return f"{'async ' if type_.is_async else ''}func({', '.join(params)}){result}"


# ---- the whole


def wit(plan: Plan) -> str:
    """The world of a component, and the interfaces that it names, by their packages.

    Raises:
        UnsupportedModuleError: something has a name that WIT cannot have, such as one with a URL.
    """
    return _Writer(plan).written()


def _merged(sides: Iterable[Mapping[str, Export]]) -> dict[str, list[Export]]:
    found: dict[str, list[Export]] = {}
    for side in sides:
        for name, one in side.items():
            found.setdefault(name, []).append(one)
    return found


class _Writer:
    """Writes one component's text.

    Attributes:
        interfaces: those with a name of their own, from imports and exports: one or two sides of each.
        owners: where each type stands first: the interface, and its names there. Those of the world, and of
            interfaces that are written within it, cannot be used from elsewhere.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.interfaces: dict[str, list[InstanceExports]] = {}
        self.owners: dict[int, tuple[str, list[str]]] = {}
        for side in (plan.imports, plan.exports):
            for name, one in side.items():
                if isinstance(one, InstanceExports) and ":" in name:
                    self.interfaces.setdefault(_checked(name), []).append(one)
                    for label, item in one.items.items():
                        if not isinstance(item, (FunctionExport, InstanceExports)):
                            owner, labels = self.owners.setdefault(id(item), (name, []))
                            if owner == name and label not in labels:
                                labels.append(label)

    def written(self) -> str:
        world = ["world root {", *self.world(), "}"]
        out = ["package root:component;", "", *world]
        packages: dict[str, list[str]] = {}
        for name in self.interfaces:
            package, own, version = _split(name)
            body = self.interface([side.items for side in self.interfaces[name]], name, "")
            lines = [f"interface {escaped(own)} {{", *body, "}"]
            packages.setdefault(f"{package}{version or ''}", []).extend(_indented(lines))
        for package, lines in packages.items():
            out += [f"package {package} {{", *lines, "}"]
        return "\n".join(out) + "\n"

    def world(self) -> list[str]:
        """What is between the braces of the world."""
        imports, exports = self.plan.imports, self.plan.exports
        types = {n: o for n, o in imports.items() if not isinstance(o, (FunctionExport, InstanceExports))}
        known = set(map(id, types.values()))
        for name, one in exports.items():
            # Types of a world are imports for WIT, and there are no others.
            if not isinstance(one, (FunctionExport, InstanceExports)) and id(one) not in known:
                types.setdefault(name, one)
        functions = {n: o for n, o in imports.items() if isinstance(o, FunctionExport)}
        members = {**types, **{n: o for n, o in functions.items() if ANNOTATED.fullmatch(n)}}
        types_, names = self.types([members], "", [*functions.values(), *_functions(exports)])

        member = ANNOTATED.fullmatch

        def placed(word: str, side: Mapping[str, Export], kind: type) -> list[str]:
            out: list[str] = []
            for name, one in side.items():
                if isinstance(one, InstanceExports) and kind is not FunctionExport:
                    out += self.placed(word, name, one)
                elif isinstance(one, FunctionExport) and kind is not InstanceExports and not member(name):
                    out.append(f"{word} {escaped(_plain(name))}: {function_text(one.type, names)};")
            return out

        # In the order of wasm-tools, so that texts can be compared.
        instances = placed("import", imports, InstanceExports)
        functions_ = placed("import", imports, FunctionExport)
        return _indented([*instances, *types_, *functions_, *placed("export", exports, object)])

    def placed(self, word: str, name: str, one: InstanceExports) -> list[str]:
        """An interface in a world: named, or written there."""
        if ":" in name:
            return [f"{word} {name};"]
        return [
            f"{word} {escaped(_plain(name))}: interface {{",
            *self.interface([one.items], name, name),
            "}",
        ]

    def interface(self, sides: list[Mapping[str, Export]], name: str, inline: str) -> list[str]:
        """What is between the braces of an interface."""
        functions = [one for side in sides for one in _functions(side)]
        lines, names = self.types(sides, "" if inline else name, functions)
        for label, found in _merged(sides).items():
            one = found[0]
            if isinstance(one, InstanceExports):
                raise UnsupportedModuleError(f"{name} has an instance, {label}: WIT has none in interfaces")
            if isinstance(one, FunctionExport) and not ANNOTATED.fullmatch(label):
                lines.append(f"{escaped(_plain(label))}: {function_text(one.type, names)};")
        return _indented(lines)

    def types(
        self, sides: list[Mapping[str, Export]], interface: str, functions: Iterable[FunctionExport]
    ) -> tuple[list[str], dict[int, str]]:
        """The types of an interface, with the functions of resources; and what types are called in it.

        Args:
            interface: its name; "" where no other can use its types.
            functions: of it, which may have types that it does not name itself.
        """
        names: dict[int, str] = {}
        defined: list[tuple[str, _Type]] = []
        aliases: list[tuple[str, str]] = []
        uses: dict[str, list[str]] = {}
        for label, found in _merged(sides).items():
            types = [one for one in found if not isinstance(one, (FunctionExport, InstanceExports))]
            for place, one in enumerate(types):
                first, known = place == 0, names.get(id(one))
                owner, labels = self.owners.get(id(one), (interface, [label]))
                names.setdefault(id(one), escaped(label))
                if not first or known == escaped(label):
                    continue
                if known is not None and owner == interface:
                    aliases.append((label, known))
                elif owner != interface:
                    uses.setdefault(owner, []).append(_used(label if label in labels else labels[0], label))
                else:
                    defined.append((label, one))
        for function in functions:
            self.use_unnamed(function.type, interface, names, uses)
        lines = [f"use {_seen_from(interface, o)}.{{{', '.join(labels)}}};" for o, labels in uses.items()]
        for label, one in defined:
            lines += self.type_(label, one, names, sides)
        lines += [f"type {escaped(label)} = {known};" for label, known in aliases]
        return lines, names

    def use_unnamed(
        self, type_: FuncType, interface: str, names: dict[int, str], uses: dict[str, list[str]]
    ) -> None:
        """Types of other interfaces that a function has, and its own interface does not name."""
        waiting: list[_Type] = [*type_.types, *type_.results]
        while waiting:
            one = waiting.pop()
            if id(one) in names:
                continue
            owner, labels = self.owners.get(id(one), ("", [""]))
            if owner and owner != interface and not isinstance(one, Primitive):
                taken, new, count = set(names.values()), labels[0], 2
                while escaped(new) in taken:
                    new, count = f"{labels[0]}-n{count}", count + 1
                uses.setdefault(owner, []).append(_used(labels[0], new))
                names[id(one)] = escaped(new)
            elif isinstance(one, (Own, Borrow)):
                waiting.append(one.resource)
            elif isinstance(one, Resource):
                raise UnsupportedModuleError(f"{one!r} has no name where {interface or 'the world'} needs it")
            elif isinstance(one, (Record, Variant, Enum, Flags)):
                kind = type(one).__name__.lower()
                raise UnsupportedModuleError(f"a {kind} in {interface or 'the world'} has no name")
            else:
                waiting += parts(one)

    def type_(
        self, label: str, one: _Type, names: dict[int, str], sides: list[Mapping[str, Export]]
    ) -> list[str]:
        """The definition of a type."""
        if isinstance(one, Resource):
            members = self.members(label, names, sides)
            if not members:
                return [f"resource {escaped(label)};"]
            return [f"resource {escaped(label)} {{", *_indented(members), "}"]
        if isinstance(one, (Record, Variant, Enum, Flags)):
            kind, entries = _definition(one, names)
            return [f"{kind} {escaped(label)} {{", *_indented([f"{entry}," for entry in entries]), "}"]
        others = {key: name for key, name in names.items() if key != id(one)}
        target = f"own<{type_text(one, others)}>" if isinstance(one, Own) else type_text(one, others)
        return [f"type {escaped(label)} = {target};"]

    def members(self, resource: str, names: Names, sides: list[Mapping[str, Export]]) -> list[str]:
        """The functions of a resource."""
        found = []
        for name, items in _merged(sides).items():
            annotated, one = ANNOTATED.fullmatch(name), items[0]
            if annotated is None or annotated[2] != resource or not isinstance(one, FunctionExport):
                continue
            kind, label = annotated[1], escaped(annotated[3] or "")
            if kind == "constructor":
                text = function_text(one.type, names)[len("func") :]
                if isinstance(one.type.result, Own):
                    text = text.rpartition(" -> ")[0]
                found.append(f"constructor{text};")
            elif kind == "static":
                found.append(f"{label}: static {function_text(one.type, names)};")
            else:
                found.append(f"{label}: {function_text(one.type, names, 1)};")
        return found


def _functions(items: Mapping[str, Export]) -> list[FunctionExport]:
    return [one for one in items.values() if isinstance(one, FunctionExport)]


def _used(label: str, new: str) -> str:
    return escaped(label) if label == new else f"{escaped(label)} as {escaped(new)}"


def _seen_from(interface: str, other: str) -> str:
    """How an interface names another one: if they are of one package, by its own name."""
    if interface:
        here, there = _split(interface), _split(other)
        if (here[0], here[2]) == (there[0], there[2]):
            return escaped(there[1])
    return other


def _split(name: str) -> tuple[str, str, str | None]:
    """The package of an interface, its own name, and its version with the @."""
    found = _INTERFACE.fullmatch(name)
    assert found is not None
    package, own, version = found.groups()
    return ":".join(map(escaped, package.split(":"))), own, version


def _checked(name: str) -> str:
    if _INTERFACE.fullmatch(name) is None or "=" in name:
        raise UnsupportedModuleError(f"WIT has no name like {name!r}")
    return name


def _plain(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9-]+", name):
        raise UnsupportedModuleError(f"WIT has no name like {name!r}")
    return name


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
