"""What instantiating a component comes to: core modules to instantiate in order, and functions in between.

Which component is instantiated with what is fixed in its binary, so all of it is worked out once (inline.py):
components nested in each other are gone, aliases are followed, and every resource type and component instance
has a number. A plan is executed on an engine (link.py), or written as one core module (fuse.py), or shown
(`hiwire inspect`); what generated code is made of, tables.py and adapters.py, is chosen by it too.

    core item    something that a core instance exports, or a function that is generated
    function     of a component: lifted from a core function, or the host's
    generated    a core function that a canonical definition makes: lowered, or one of the resource's three
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from ..wasm.module import Module
from .types import FuncType, Resource, ValueType

__all__ = [
    "CoreExport",
    "CoreItem",
    "ComponentInstance",
    "Export",
    "Function",
    "FunctionExport",
    "Generated",
    "HostFunction",
    "InstanceExports",
    "Instantiate",
    "Lifted",
    "Lower",
    "Options",
    "Plan",
    "ResourceDefinition",
    "ResourceDrop",
    "ResourceNew",
    "ResourceRep",
]


@dataclass(frozen=True)
class CoreExport:
    """An export of a core instance: ``instance`` is its number, that of the step that makes it; ``kind`` is
    one of `wasm.module`."""

    instance: int
    name: str
    kind: int


@dataclass(frozen=True)
class Options:
    """Of a lifted or lowered function.

    Attributes:
        instance: the component instance whose core code is on that side.
        encoding: of strings: ``"utf8"``, ``"utf16"`` or ``"latin1+utf16"``.
        memory, realloc, post_return: None where the canonical definition has none.
    """

    instance: int
    encoding: str = "utf8"
    memory: CoreExport | None = None
    realloc: CoreItem | None = None
    post_return: CoreItem | None = None


@dataclass(eq=False)
class Lifted:
    """A function of a component that a core function stands behind."""

    core: CoreItem
    type: FuncType
    options: Options


@dataclass(eq=False)
class HostFunction:
    """A function that the root component imports; ``path`` is the name of the import, and within instances
    the names of their exports."""

    path: tuple[str, ...]
    type: FuncType


Function = Union[Lifted, HostFunction]


@dataclass(frozen=True)
class FunctionExport:
    """A function at the component's edge. ``type`` is that of the function, made of the types that are known
    there, which stand beside it under their names."""

    function: Function
    type: FuncType


@dataclass(frozen=True)
class Lower:
    """The core function by which an instance calls a component's function."""

    function: Function
    options: Options


@dataclass(frozen=True)
class ResourceNew:
    """``(i32) -> (i32)``: a handle of the instance for a representation."""

    resource: Resource
    instance: int


@dataclass(frozen=True)
class ResourceRep:
    """``(i32) -> (i32)``: the representation of a handle of the instance."""

    resource: Resource
    instance: int


@dataclass(frozen=True)
class ResourceDrop:
    """``(i32) -> ()``: takes a handle out of the instance's table."""

    resource: Resource
    instance: int


Generated = Union[Lower, ResourceNew, ResourceRep, ResourceDrop]
"""A core function that is generated; equal ones are one function."""

CoreItem = Union[CoreExport, Generated]


@dataclass
class Instantiate:
    """A step: a core instance is made. Its number is that of the step.

    Attributes:
        module: the index of its module.
        arguments: what each import is given, by module and name.
        component: the component instance that it belongs to.
    """

    module: int
    arguments: Mapping[tuple[str, str], CoreItem]
    component: int


@dataclass
class ComponentInstance:
    """An instance of a component, nested ones included.

    Attributes:
        parent: the one that instantiated it; None for the root, which is number 0.
        name: where it stands, for messages: names and numbers of instances, joined by slashes.
    """

    parent: int | None
    name: str


@dataclass
class ResourceDefinition:
    """A resource type that exists once the plan was executed.

    Attributes:
        number: unique in the plan, from 1: the id by which tables tell types apart.
        definer: the component instance whose type it is; None: the host's.
        destructor: called with the representation when an own handle is dropped; None: there is none, or the
            resource is the host's.
        path: of the import, if it is the host's, as of a `HostFunction`.
    """

    number: int
    resource: Resource
    definer: int | None
    destructor: CoreItem | None = None
    path: tuple[str, ...] = ()


@dataclass(eq=False)
class InstanceExports:
    """An instance at the component's edge: what it exports, or what an import must have."""

    items: Mapping[str, Export]


Export = Union[FunctionExport, InstanceExports, Resource, ValueType]
"""What a component imports or exports by a name."""


@dataclass
class Plan:
    """Attributes:
    modules: the core modules, parsed; each of other bytes.
    instances: of components, parents before children.
    steps: in order.
    resources: what each resource type is.
    imports, exports: of the root component. Value types stand there under their names, and the types of the
        functions beside them refer to the same objects.
    """

    modules: list[Module] = field(default_factory=list)
    instances: list[ComponentInstance] = field(default_factory=list)
    steps: list[Instantiate] = field(default_factory=list)
    resources: dict[Resource, ResourceDefinition] = field(default_factory=dict)
    imports: dict[str, Export] = field(default_factory=dict)
    exports: dict[str, Export] = field(default_factory=dict)

    def ancestors(self, instance: int) -> list[int]:
        """The instance, the one that made it, and so on to the root."""
        found: list[int] = []
        at: int | None = instance
        while at is not None:
            found.append(at)
            at = self.instances[at].parent
        return found

    def entered(self, caller: int | None, callee: int) -> list[int]:
        """The instances that a call enters: the callee and its ancestors, without the caller and its own.
        None: the caller is the host."""
        own = set() if caller is None else set(self.ancestors(caller))
        return [one for one in self.ancestors(callee) if one not in own]
