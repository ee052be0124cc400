"""The definitions of a component, as its binary has them: names and indexes, nothing looked up.

A component is a list of definitions, each with the byte at which it stands. What they refer to is found by
the index spaces that they fill, in order: validate.py and inline.py build these.

Format: component model, Binary.md; the names here are those of the grammar there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from ..wasm.module import Module
from ..wasm.types import FuncType as CoreFuncType
from ..wasm.types import Global, Limits, TableType

__all__ = [
    "Alias",
    "Canon",
    "Component",
    "ComponentType",
    "CoreAliasOuter",
    "CoreExportDecl",
    "CoreExports",
    "CoreExternType",
    "CoreFunc",
    "CoreImportDecl",
    "CoreInstantiate",
    "CoreModule",
    "CoreModuleType",
    "CoreTag",
    "CoreType",
    "Declaration",
    "DefinedType",
    "Definition",
    "Export",
    "ExternName",
    "ExternType",
    "FuncDef",
    "Handle",
    "Import",
    "InstanceType",
    "Instantiate",
    "InlineExports",
    "Lift",
    "LowerDef",
    "OptionList",
    "ResourceBuiltin",
    "ResourceDef",
    "Shape",
    "SortIndex",
    "TypeDef",
    "ValueRef",
]

ValueRef = Union[str, int]
"""A value type where it is used: a primitive one by its name, another by its index in the type space."""


@dataclass(frozen=True)
class SortIndex:
    """Something in an index space. ``sort`` is the name of the space: ``"func"``, ``"type"``,
    ``"component"``, ``"instance"``, or one of the core module's with ``"core "`` before it."""

    sort: str
    index: int


@dataclass(frozen=True)
class ExternName:
    """The name of an import or export, and its attributes, by their kinds."""

    text: str
    attributes: tuple[tuple[str, str], ...] = ()


# ---- types


@dataclass(frozen=True)
class Shape:
    """A value type that is made of others.

    Attributes:
        form: ``"record"``, ``"variant"``, ``"list"``, ``"tuple"``, ``"flags"``, ``"enum"``, ``"option"``,
            ``"result"`` or ``"map"``; ``"primitive"`` where a primitive type is given an index.
        labels: of fields, cases or flags.
        types: of fields, cases, items, of key and value, or of the two sides of a result; None where there
            is no payload.
        length: of a list that has always as many elements.
    """

    form: str
    labels: tuple[str, ...]
    types: tuple[ValueRef | None, ...]
    length: int | None = None


@dataclass(frozen=True)
class Handle:
    """``form`` is ``"own"`` or ``"borrow"``, and ``resource`` an index of the type space."""

    form: str
    resource: int


@dataclass(frozen=True)
class FuncDef:
    params: tuple[tuple[str, ValueRef], ...]
    result: ValueRef | None
    is_async: bool


@dataclass(frozen=True)
class ResourceDef:
    """``representation`` is a core value type, ``destructor`` an index of the space of core functions."""

    representation: int
    destructor: int | None


@dataclass(frozen=True)
class ComponentType:
    declarations: tuple[Declaration, ...]


@dataclass(frozen=True)
class InstanceType:
    declarations: tuple[Declaration, ...]


DefinedType = Union[Shape, Handle, FuncDef, ResourceDef, ComponentType, InstanceType]


@dataclass(frozen=True)
class ExternType:
    """Of an import or export.

    Attributes:
        sort: of what there is: ``"core module"``, ``"func"``, ``"type"``, ``"component"`` or ``"instance"``.
        index: of its type, or of the type that a type is equal to; None: any resource type.
    """

    sort: str
    index: int | None


# ---- types of core modules


@dataclass(frozen=True)
class CoreFunc:
    """A function type; parameters and results in their spelling (see `wasm.types`)."""

    params: tuple[bytes, ...]
    results: tuple[bytes, ...]

    def functype(self) -> CoreFuncType:
        """By the codes of its values."""
        return CoreFuncType(bytes(t[0] for t in self.params), bytes(t[0] for t in self.results))


@dataclass(frozen=True)
class CoreTag:
    """``type`` is an index of the module type's own types."""

    type: int


CoreExternType = Union[int, TableType, Limits, Global, CoreTag]
"""Of a module's import or export; that of a function is an index of the module type's own types."""


@dataclass(frozen=True)
class CoreImportDecl:
    module: str
    name: str
    type: CoreExternType


@dataclass(frozen=True)
class CoreExportDecl:
    name: str
    type: CoreExternType


@dataclass(frozen=True)
class CoreAliasOuter:
    """A core type of an enclosing scope, so many levels out."""

    count: int
    index: int


@dataclass(frozen=True)
class CoreModuleType:
    declarations: tuple[CoreImportDecl | CoreExportDecl | CoreAliasOuter | CoreFunc, ...]


# ---- definitions


@dataclass(frozen=True)
class CoreModule:
    """The bytes of a module start at byte ``at`` of the component."""

    module: Module
    at: int


@dataclass(frozen=True)
class CoreInstantiate:
    """Arguments are core instances by name."""

    module: int
    arguments: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CoreExports:
    """A core instance that is put together from what there is."""

    exports: tuple[tuple[str, SortIndex], ...]


@dataclass(frozen=True)
class CoreType:
    type: CoreFunc | CoreModuleType


@dataclass(frozen=True)
class Component:
    definitions: tuple[tuple[int, Definition], ...]


@dataclass(frozen=True)
class Instantiate:
    component: int
    arguments: tuple[tuple[str, SortIndex], ...]


@dataclass(frozen=True)
class InlineExports:
    """An instance that is put together from what there is."""

    exports: tuple[tuple[ExternName, SortIndex], ...]


@dataclass(frozen=True)
class Alias:
    """``kind`` is ``"export"`` or ``"core export"``, of instance ``index`` and by ``name``; or ``"outer"``,
    of the scope ``count`` levels out, by ``index``."""

    kind: str
    sort: str
    index: int
    name: str = ""
    count: int = 0


@dataclass(frozen=True)
class TypeDef:
    type: DefinedType


@dataclass(frozen=True)
class OptionList:
    """Options of a canonical definition. ``encoding`` is None where it is not said; the others are indexes
    of memories and core functions."""

    encoding: str | None = None
    memory: int | None = None
    realloc: int | None = None
    post_return: int | None = None


@dataclass(frozen=True)
class Lift:
    core: int
    options: OptionList
    type: int


@dataclass(frozen=True)
class LowerDef:
    func: int
    options: OptionList


@dataclass(frozen=True)
class ResourceBuiltin:
    """``name`` is ``"resource.new"``, ``"resource.drop"`` or ``"resource.rep"``."""

    name: str
    resource: int


Canon = Union[Lift, LowerDef, ResourceBuiltin]


@dataclass(frozen=True)
class Import:
    name: ExternName
    type: ExternType


@dataclass(frozen=True)
class Export:
    """``target`` is None in types, which only declare; ``type`` is None where it is that of the target."""

    name: ExternName
    target: SortIndex | None
    type: ExternType | None


Declaration = Union[CoreType, TypeDef, Alias, Import, Export]
Definition = Union[
    CoreModule, CoreInstantiate, CoreExports, CoreType, Component, Instantiate, InlineExports, Alias, TypeDef,
    Lift, LowerDef, ResourceBuiltin, Import, Export,
]  # fmt: skip
