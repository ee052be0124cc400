"""Types as validation knows them: with identities for what must have a name, and with their measures.

types.py has the types that are left when everything is known. Here a component is looked at once, however
often it is instantiated, so resource types are variables: an import brings one, an instantiation puts another
in its place (`Substitution`), and each place that names a type makes an object, or a `View`, of its own, for
which types may be visible outside is a question of which of them was named.

Values are compared by their keys: numbers that are equal if the structure is.

Format: component model, Explainer.md, "Type Checking".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union

from .cores import ModuleType
from .names import Invalid

__all__ = [
    "ComponentType",
    "Extern",
    "Func",
    "InstanceType",
    "Item",
    "Resource",
    "Substitution",
    "Types",
    "Value",
    "View",
    "free_resources",
    "has_free",
    "join_flat",
    "measure",
    "resources_of",
]

_LARGEST = 1_000_000  # of a type that is written out; wasm-tools has these two bounds as well
_DEEPEST = 100
_MOST_WORK = 200_000  # parts of types that instances have; those of componentize-py have some hundreds
_WIDEST = 1 << 28  # bytes in memory that a value of one type may take
_FLAT = 16  # more core values than this are never passed
I32, I64, F32, F64 = 0x7F, 0x7E, 0x7D, 0x7C


@dataclass(eq=False)
class Resource:
    """A variable that stands for a resource type."""


class View(NamedTuple):
    """A resource type under one of its names: ``alias`` tells these apart."""

    resource: Resource
    alias: int


@dataclass(eq=False)
class Value:
    """A value type.

    Attributes:
        form: as in `definitions.Shape`, or the name of a primitive type, ``"own"`` or ``"borrow"``.
        view: what a handle is to.
        key: the same number for equal types.
        size, depth: of the type as a tree.
        borrows, handles: whether a borrow, or any handle, is in it.
        pointers: whether a string or list is in it, so that a memory is needed for it.
        bytes, alignment: in a memory with addresses of 64 bits.
        flat: the core values that it is passed as; None: they are too many.
    """

    form: str
    labels: tuple[str, ...]
    parts: tuple[Value | None, ...]
    length: int | None
    view: View | None
    key: int
    size: int
    depth: int
    borrows: bool
    handles: bool
    pointers: bool
    bytes: int
    alignment: int
    flat: tuple[int, ...] | None

    @property
    def inner(self) -> Iterable[Value]:
        """The parts that are there."""
        return (one for one in self.parts if one is not None)

    def __str__(self) -> str:
        return self.form


@dataclass(eq=False)
class Func:
    params: tuple[tuple[str, Value], ...]
    result: Value | None
    size: int
    depth: int

    @property
    def values(self) -> Iterable[Value]:
        """Types of the parameters and of the result."""
        yield from (one for _, one in self.params)
        if self.result is not None:
            yield self.result


class Extern(NamedTuple):
    """What something is that is imported or exported: its sort and its type; of a type, the type itself."""

    sort: str
    item: Item


@dataclass(eq=False)
class InstanceType:
    """``bound`` are the resource types that are made anew wherever there is such an instance; ``paths`` and
    ``free`` are what `resources_of` and `free_resources` found."""

    exports: Mapping[str, Extern]
    bound: frozenset[Resource]
    size: int
    depth: int
    paths: dict[Resource, tuple[str, ...]] | None = None
    free: frozenset[Resource] | None = None


@dataclass(eq=False)
class ComponentType:
    """``imported`` are the resource types that it is given, and ``defined`` those that each of its instances
    makes; each with the names under which it is found."""

    imports: Mapping[str, Extern]
    exports: Mapping[str, Extern]
    imported: Mapping[Resource, tuple[str, ...]]
    defined: Mapping[Resource, tuple[str, ...]]
    size: int
    depth: int
    free: frozenset[Resource] | None = None


Item = Union[View, Value, Func, InstanceType, ComponentType, ModuleType]

_PRIMITIVES = {
    "bool": (1, I32), "s8": (1, I32), "u8": (1, I32), "s16": (2, I32), "u16": (2, I32), "s32": (4, I32),
    "u32": (4, I32), "s64": (8, I64), "u64": (8, I64), "f32": (4, F32), "f64": (8, F64), "char": (4, I32),
}  # fmt: skip


def measure(parts: Iterable[Item]) -> tuple[int, int]:
    """Size and depth of what is made of other types.

    Raises:
        Invalid: it is too large or too deep.
    """
    size, depth = 1, 0
    for one in parts:
        if isinstance(one, View):
            size, depth = size + 1, max(depth, 1)
        elif isinstance(one, ModuleType):
            size, depth = size + one.size, max(depth, 1)
        else:
            size, depth = size + one.size, max(depth, one.depth)
    if size > _LARGEST:
        raise Invalid(f"the type is too large: written out, it has more than {_LARGEST} parts")
    if depth >= _DEEPEST:
        raise Invalid(f"types are nested in each other more than {_DEEPEST} deep")
    return size, depth + 1


class Types:
    """Makes the types of one component."""

    def __init__(self) -> None:
        self.keys: dict[object, int] = {}
        self.aliases = 0
        self.work = 0
        self.primitives = {name: self._primitive(name) for name in (*_PRIMITIVES, "string")}

    def _primitive(self, name: str) -> Value:
        if name == "string":
            return Value(
                name, (), (), None, None, self.key(name), 1, 1, False, False, True, 16, 8, (I32, I32)
            )
        size, core = _PRIMITIVES[name]
        return Value(name, (), (), None, None, self.key(name), 1, 1, False, False, False, size, size, (core,))

    def spend(self, parts: int) -> None:
        """Count work that a few bytes can ask for again and again: to go through so many parts of a type.

        Raises:
            Invalid: it was too much altogether.
        """
        self.work += parts
        if self.work > _MOST_WORK:
            raise Invalid(f"the types of all instances, written out, have more than {_MOST_WORK} parts")

    def key(self, structure: object) -> int:
        return self.keys.setdefault(structure, len(self.keys))

    def named(self, item: Item) -> Item:
        """The same type as a place that names it has it."""
        if isinstance(item, View):
            return self.view(item.resource)
        if isinstance(item, Value):
            return Value(**item.__dict__)
        return item

    def view(self, resource: Resource) -> View:
        self.aliases += 1
        return View(resource, self.aliases)

    def handle(self, form: str, view: View) -> Value:
        key = self.key((form, view.resource))
        return Value(form, (), (), None, view, key, 1, 1, form == "borrow", True, False, 4, 4, (I32,))

    def value(
        self, form: str, labels: tuple[str, ...], parts: tuple[Value | None, ...], length: int | None
    ) -> Value:
        """A type that is made of others."""
        inner = [one for one in parts if one is not None]
        size, depth = measure(inner)
        keys = tuple(None if one is None else one.key for one in parts)
        bytes_, alignment = _layout(form, labels, parts, length)
        if bytes_ >= _WIDEST:
            raise Invalid(f"a value of the type takes {bytes_} bytes: {_WIDEST} is too many")
        pointers = form == "map" or (form == "list" and length is None)
        return Value(
            form,
            labels,
            parts,
            length,
            None,
            self.key((form, labels, keys, length)),
            size,
            depth,
            any(one.borrows for one in inner),
            any(one.handles for one in inner),
            pointers or any(one.pointers for one in inner),
            bytes_,
            alignment,
            _flatten(form, parts, length),
        )

    def func(self, params: tuple[tuple[str, Value], ...], result: Value | None) -> Func:
        size, depth = measure([*(one for _, one in params), *(() if result is None else (result,))])
        return Func(params, result, size, depth)

    def instance(self, exports: Mapping[str, Extern], bound: frozenset[Resource]) -> InstanceType:
        return InstanceType(exports, bound, *measure(one.item for one in exports.values()))


def _discriminant(cases: int) -> int:
    return 1 if cases <= 1 << 8 else 2 if cases <= 1 << 16 else 4


def _round_up(number: int, alignment: int) -> int:
    return -(-number // alignment) * alignment


def _cases(form: str, parts: tuple[Value | None, ...]) -> tuple[Value | None, ...]:
    return (None, *parts) if form == "option" else parts


def _layout(
    form: str, labels: tuple[str, ...], parts: tuple[Value | None, ...], length: int | None
) -> tuple[int, int]:
    """Bytes and alignment in a memory whose addresses have 64 bits."""
    inner = [one for one in parts if one is not None]
    if form in ("record", "tuple"):
        offset, alignment = 0, 1
        for one in inner:
            offset = _round_up(offset, one.alignment) + one.bytes
            alignment = max(alignment, one.alignment)
        return _round_up(offset, alignment), alignment
    if form == "flags":
        size = 1 if len(labels) <= 8 else 2 if len(labels) <= 16 else 4
        return size, size
    if form in ("list", "map"):
        if length is None:
            return 16, 8
        return inner[0].bytes * length, inner[0].alignment
    size = _discriminant(len(labels) if form in ("variant", "enum") else 2)
    alignment = max([size, *(one.alignment for one in inner)])
    widest = max((one.bytes for one in inner), default=0)
    return _round_up(_round_up(size, max([1, *(o.alignment for o in inner)])) + widest, alignment), alignment


def _flatten(form: str, parts: tuple[Value | None, ...], length: int | None) -> tuple[int, ...] | None:
    """The core values that a value is passed as; None: more than any function takes."""
    if form in ("flags", "enum"):
        return (I32,)
    if form in ("list", "map"):
        if length is None:
            return (I32, I32)
        element = parts[0]
        assert element is not None
        if element.flat is None or len(element.flat) * length > _FLAT:
            return None
        return element.flat * length
    if form in ("record", "tuple"):
        return join_flat(parts)
    joined: list[int] = []
    for one in _cases(form, parts):
        if one is None:
            continue
        if one.flat is None:
            return None
        for i, core in enumerate(one.flat):
            if i >= len(joined):
                joined.append(core)
            elif joined[i] != core:
                joined[i] = I32 if {joined[i], core} == {I32, F32} else I64
    return (I32, *joined) if len(joined) < _FLAT else None


def join_flat(parts: Iterable[Value | None]) -> tuple[int, ...] | None:
    """The core values of several values after each other; None: too many."""
    flat: tuple[int, ...] = ()
    for one in parts:
        if one is None:
            continue
        if one.flat is None:
            return None
        flat += one.flat
        if len(flat) > _FLAT:
            return None
    return flat


@dataclass
class Substitution:
    """Puts resource types, and types by identity, in the places of others. Types that do not change are the
    same objects afterwards."""

    types: Types
    resources: dict[Resource, Resource] = field(default_factory=dict)
    items: dict[object, Item] = field(default_factory=dict)
    done: dict[int, tuple[object, Any]] = field(default_factory=dict)

    def extern(self, one: Extern) -> Extern:
        item = self.item(one.item)
        return one if item is one.item else Extern(one.sort, item)

    def item(self, one: Any) -> Any:
        """A type after the substitution."""
        if isinstance(one, ModuleType):
            return one
        if isinstance(one, View):
            if one in self.items:
                return self.items[one]
            resource = self.resources.get(one.resource)
            return one if resource is None else View(resource, one.alias)
        if one in self.items:
            return self.items[one]
        if not self.items and (not self.resources or not has_free(one)):
            return one
        if id(one) not in self.done:
            # The key is kept alive, so that its number is that of no other object.
            self.done[id(one)] = one, self._inside(one)
        return self.done[id(one)][1]

    def _inside(self, one: Any) -> Any:
        if isinstance(one, Value):
            return self._value(one)
        if isinstance(one, Func):
            self.types.spend(1 + len(one.params))
            params = tuple((label, self.item(value)) for label, value in one.params)
            result = None if one.result is None else self.item(one.result)
            same = result is one.result and all(a is b for (_, a), (_, b) in zip(params, one.params))
            return one if same else self.types.func(params, result)
        exports = self._externs(one.exports)
        if isinstance(one, InstanceType):
            same = exports is one.exports
            return one if same else InstanceType(exports, one.bound, one.size, one.depth)
        imports = self._externs(one.imports)
        if imports is one.imports and exports is one.exports:
            return one
        return ComponentType(imports, exports, one.imported, one.defined, one.size, one.depth)

    def _value(self, one: Value) -> Value:
        if one.view is not None:
            view = self.item(one.view)
            return one if view is one.view else self.types.handle(one.form, view)
        self.types.spend(1 + len(one.parts))
        parts = tuple(None if part is None else self.item(part) for part in one.parts)
        if all(a is b for a, b in zip(parts, one.parts)):
            return one
        return self.types.value(one.form, one.labels, parts, one.length)

    def _externs(self, externs: Mapping[str, Extern]) -> Mapping[str, Extern]:
        self.types.spend(3 * (1 + len(externs)))  # what is made is gone through for its resources, too
        found = {name: self.extern(one) for name, one in externs.items()}
        return externs if all(found[name] is one for name, one in externs.items()) else found


def resources_of(instance: InstanceType) -> dict[Resource, tuple[str, ...]]:
    """The resource types that an instance exports, with the names under which they are found."""
    if instance.paths is None:
        found: dict[Resource, tuple[str, ...]] = {}
        for name, one in instance.exports.items():
            if isinstance(one.item, View):
                found.setdefault(one.item.resource, (name,))
            elif one.sort == "instance" and isinstance(one.item, InstanceType):
                for resource, path in resources_of(one.item).items():
                    found.setdefault(resource, (name, *path))
        instance.paths = found
    return instance.paths


def has_free(item: Item) -> bool:
    """Whether a type mentions resource types that it does not bind itself."""
    if isinstance(item, Value):
        return item.handles
    if isinstance(item, Func):
        return any(one.handles for one in item.values)
    return bool(free_resources((item,)))


def free_resources(items: Iterable[Item]) -> set[Resource]:
    """The resource types that types mention and do not bind themselves."""
    found: set[Resource] = set()
    seen: set[int] = set()

    def values(one: Value) -> None:
        if not one.handles or id(one) in seen:
            return
        seen.add(id(one))
        if one.view is not None:
            found.add(one.view.resource)
        for part in one.inner:
            values(part)

    for item in items:
        if isinstance(item, View):
            found.add(item.resource)
        elif isinstance(item, Value):
            values(item)
        elif isinstance(item, Func):
            for value in item.values:
                values(value)
        elif isinstance(item, (InstanceType, ComponentType)):
            found |= _free_of(item)
    return found


def _free_of(item: InstanceType | ComponentType) -> frozenset[Resource]:
    if item.free is None:
        externs = list(item.exports.values())
        bound: Iterable[Resource] = item.bound if isinstance(item, InstanceType) else ()
        if isinstance(item, ComponentType):
            externs += item.imports.values()
            bound = (*item.imported, *item.defined)
        item.free = frozenset(free_resources(one.item for one in externs).difference(bound))
    return item.free
