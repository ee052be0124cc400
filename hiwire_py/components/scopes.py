"""A scope: index spaces, and what was imported and exported under which names.

A *scope* is a component, or the type of a component or of an instance, while validate.py goes through its
definitions. An import or export enters it here: its name must be new and fit what it names, and whatever must
have a name in its type must have been named before.

Format: component model, Explainer.md, "Name Uniqueness" and "External Visibility of Types".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import definitions as d
from .abstract import Extern, Func, InstanceType, Item, Resource, Types, Value, View
from .names import Invalid, Name, check_attributes

__all__ = ["LABELLED", "Scope"]

LABELLED = {"record": "field", "variant": "case", "enum": "case", "flags": "flag"}
"""The value types that must have a name, and what their labels are of."""


@dataclass
class Scope:
    """Index spaces and all else that belongs to one scope.

    Attributes:
        kind: ``"component"``, ``"component type"`` or ``"instance type"``.
        imported: the resource types that came with imports, and the names under which they are found.
        defined: those that are made here.
        representations: the core types of those that a definition here makes.
        names: the unique parts of names so far, for imports and for exports, with the names themselves.
        resources: the names of resource types that imports or exports gave them.
        resource_names: all of these names.
        visible: the types that have a name for imports and for exports.
        checked: value types all whose parts were found to be visible.
    """

    kind: str
    parent: Scope | None
    types: Types
    spaces: dict[str, list[Any]] = field(default_factory=dict)
    imports: dict[str, Extern] = field(default_factory=dict)
    exports: dict[str, Extern] = field(default_factory=dict)
    imported: dict[Resource, tuple[str, ...]] = field(default_factory=dict)
    defined: dict[Resource, None] = field(default_factory=dict)
    representations: dict[Resource, int] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=lambda: {"import": {}, "export": {}})
    resources: dict[str, dict[View, str]] = field(default_factory=lambda: {"import": {}, "export": {}})
    resource_names: dict[str, set[str]] = field(default_factory=lambda: {"import": set(), "export": set()})
    visible: dict[str, set[Any]] = field(default_factory=lambda: {"import": set(), "export": set()})
    checked: dict[str, set[Any]] = field(default_factory=lambda: {"import": set(), "export": set()})

    def of(self, sort: str) -> list[Any]:
        return self.spaces.setdefault(sort, [])

    def get(self, sort: str, index: int) -> Any:
        """What is at an index of a space."""
        space = self.of(sort)
        if index >= len(space):
            raise Invalid(f"there is no {sort} {index}: there are {len(space)} so far")
        return space[index]

    def up(self, count: int) -> Scope:
        scope: Scope | None = self
        for _ in range(count):
            scope = None if scope is None else scope.parent
            if scope is None:
                break
        if scope is None:
            raise Invalid(f"an alias goes {count} scopes out, and there are not so many")
        return scope

    # ---- imports and exports

    def enter(self, way: str, name: d.ExternName, one: Extern) -> None:
        """Add an import or export to its space and to what is imported or exported."""
        if isinstance(one.item, View):
            self.resources[way][one.item] = name.text
            self.resource_names[way].add(name.text)
        if not self.name_types(way, one):
            before = "import before it" if way == "import" else "import or export before it"
            raise Invalid(
                f"its type has a resource, record, variant, enum or flags type in it that no {before} names"
            )
        self.check_name(name, way, one)
        (self.imports if way == "import" else self.exports)[name.text] = one
        self.of(one.sort).append(one.item)

    # ---- which types have names

    def name_types(self, way: str, one: Extern) -> bool:
        """Whether all that must have a name within a type has one; the types that this names get it."""
        if self.kind == "instance type":
            return True
        item = one.item
        if one.sort == "type":
            if not self.is_visible(way, item):
                return False
            self.visible["export"].add(item)
            if way == "import":
                self.visible["import"].add(item)
            return True
        if isinstance(item, InstanceType):
            self.types.spend(len(item.exports))
            return all(self.name_types(way, part) for part in item.exports.values())
        return not isinstance(item, Func) or self.is_visible(way, item)

    def is_visible(self, way: str, item: Item) -> bool:
        """Whether the types that a type is made of have names; it itself is just given one."""
        if isinstance(item, Value):
            if item.view is not None:
                return item.view in self.visible[way]
            return all(self.has_name(way, part) for part in item.inner)
        if isinstance(item, Func):
            return all(self.has_name(way, part) for part in item.values)
        if isinstance(item, InstanceType):
            self.types.spend(len(item.exports))
            return all(self.is_visible(way, one.item) for one in item.exports.values())
        return True

    def has_name(self, way: str, value: Value) -> bool:
        """Whether a value type has a name, or needs none and its parts have."""
        if value in self.checked[way]:
            return True
        if value.form in LABELLED:
            return value in self.visible[way]
        if value.view is not None:
            return value.view in self.visible[way]
        if not all(self.has_name(way, part) for part in value.inner):
            return False
        self.checked[way].add(value)
        return True

    # ---- names

    def check_name(self, name: d.ExternName, way: str, one: Extern) -> None:
        parsed = check_attributes(name, one.sort)
        if parsed.resource:
            if not isinstance(one.item, Func) or one.sort != "func":
                raise Invalid(f"only a function can be called {name.text!r}")
            if parsed.kind != "static":
                _check_member(parsed, one.item, self.resources[way])
            elif parsed.resource not in self.resource_names[way]:
                raise Invalid(f"{parsed.resource!r} is no resource that was named before")
        names = self.names[way]
        if parsed.unique in names:
            raise Invalid(f"the name conflicts with that of the {way} {names[parsed.unique]!r}")
        names[parsed.unique] = name.text


def _check_member(name: Name, type_: Func, resources: Mapping[View, str]) -> None:
    """Whether a function can be the constructor or method that its name says."""
    if name.kind == "constructor":
        value = type_.result
        if value is not None and value.form == "result":
            value = value.parts[0]
        if value is None or value.form != "own":
            raise Invalid("a constructor returns neither an own handle nor a result with one")
    else:
        if not type_.params:
            raise Invalid("a method has no parameter")
        label, value = type_.params[0]
        if label != "self":
            raise Invalid(f"the first parameter of a method is called {label!r}, not 'self'")
        if value.form != "borrow":
            raise Invalid("the first parameter of a method is no borrow")
    assert value.view is not None
    found = resources.get(value.view)
    if found is None:
        raise Invalid("the resource that the function belongs to was not named before")
    if found != name.resource:
        raise Invalid(f"the function belongs to the resource {found!r}, not {name.resource!r}")
