"""From a plan to the modules that are instantiated for it, in order, and what each one's imports are.

Beside the component's own modules these are generated: one with the state that they share (glue.py), a handle
table for each component instance that needs one (tables.py), the functions between instances, and at the end
Python's way in (adapters.py). What is generated is made as late as possible, so that there are few modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Union

from ..wasm.module import Module
from . import adapters
from .glue import (
    FAULT,
    Glue,
    GlueModule,
    HostCall,
    HostDestructor,
    Source,
    StateFlag,
    TableItem,
    state_module,
)
from .layout import resources_in
from .plan import (
    CoreExport,
    Export,
    FunctionExport,
    Generated,
    HostFunction,
    InstanceExports,
    Lifted,
    Lower,
    Options,
    Plan,
)
from .tables import table_module
from .types import FuncType, Resource, resources_of

__all__ = ["Assembler", "Assembly", "Entry", "Given", "Reference", "Stage", "assemble"]


class Reference(NamedTuple):
    """An export of a stage, by its number and name."""

    stage: int
    name: str


Given = Union[Reference, HostCall, HostDestructor]


@dataclass
class Stage:
    """A module to instantiate.

    Attributes:
        module: the module.
        given: what its imports are given, by module and name.
        what: what it is, for messages: ``"state"``, ``"table"``, ``"glue"`` or ``"core"``.
        component: the component instance that it belongs to; None: to all.
    """

    module: Module
    given: dict[tuple[str, str], Given]
    what: str
    component: int | None = None


class Entry(NamedTuple):
    """How Python calls a function.

    Attributes:
        call: the plain function, or of others the core function.
        begin, end, leave: see adapters.py; None for a plain function.
    """

    call: Reference
    begin: Reference | None = None
    end: Reference | None = None
    leave: Reference | None = None


@dataclass
class Assembly:
    """Attributes:
    plan: what it was made of.
    stages: in order.
    tables: of component instances that have a handle table, the number of its stage.
    generated: where each generated function is.
    entries: of each function that is exported and lifted.
    reallocations: of each side whose memory Python writes.
    destroyers: of each resource that Python may own; that of a component.
    """

    plan: Plan
    stages: list[Stage] = field(default_factory=list)
    tables: dict[int, int] = field(default_factory=dict)
    generated: dict[Generated, Reference] = field(default_factory=dict)
    entries: dict[Lifted, Entry] = field(default_factory=dict)
    reallocations: dict[Options, Reference] = field(default_factory=dict)
    destroyers: dict[Resource, Reference] = field(default_factory=dict)

    @property
    def fault(self) -> Reference:
        """The global that says why generated code trapped."""
        return Reference(0, FAULT.export)

    def operation(self, instance: int, name: str) -> Reference:
        """A function of the handle table of a component instance: see tables.py."""
        return Reference(self.tables[instance], name)

    def memory(self, options: Options) -> Reference | None:
        """The memory of a side."""
        return None if options.memory is None else self.steps[options.memory.instance, options.memory.name]

    steps: dict[tuple[int, str], Reference] = field(default_factory=dict)
    """Exports of core instances, by the number of the step and the name."""


def assemble(plan: Plan, hardened: bool = False) -> Assembly:
    """The modules of a plan.

    Args:
        hardened: see tables.py.
    """
    return Assembler(plan, hardened).assembled()


class Assembler:
    """Makes one assembly; fuse.py has another one, whose code does less where that is enough."""

    def __init__(self, plan: Plan, hardened: bool = False) -> None:
        self.plan = plan
        self.hardened = hardened
        self.assembly = Assembly(plan)
        self.generated = self.assembly.generated
        self.add(state_module(len(plan.instances)), {}, "state")

    def assembled(self) -> Assembly:
        """All of it."""
        for number in range(len(self.plan.steps)):
            self.core(number)
        self.ways_in()
        return self.assembly

    def new_glue(self) -> Glue:
        """A module in the making."""
        return Glue(self.plan)

    def new_table(self, instance: int) -> int:
        """Add a handle table."""
        fault: dict[tuple[str, str], Given] = {("", "fault"): Reference(0, "fault")}
        return self.add(table_module(self.hardened), fault, "table", instance)

    def add(
        self, wasm: bytes, given: dict[tuple[str, str], Given], what: str, component: int | None = None
    ) -> int:
        self.assembly.stages.append(Stage(Module.parse(wasm), given, what, component))
        return len(self.assembly.stages) - 1

    def core(self, number: int) -> None:
        """Instantiate a core module, and before that make what it needs."""
        step = self.plan.steps[number]
        self.make(item for item in step.arguments.values() if not isinstance(item, CoreExport))
        given = {key: self.reference(item) for key, item in step.arguments.items()}
        module = self.plan.modules[step.module]
        self.assembly.stages.append(Stage(module, given, "core", step.component))
        stage = len(self.assembly.stages) - 1
        for export in module.exports:
            self.assembly.steps[number, export.name] = Reference(stage, export.name)

    def make(self, items: Iterable[Generated]) -> None:
        """Generate functions that are not there yet, in one module."""
        missing = [item for item in dict.fromkeys(items) if item not in self.generated]
        if not missing:
            return
        for item in missing:
            if isinstance(item, Lower) and isinstance(item.function, HostFunction):
                self.table_for(item.function.type, item.options.instance)
        glue = self.new_glue()
        names = {item: str(place) for place, item in enumerate(missing)}
        for item, name in names.items():
            adapters.add_generated(glue, name, item)
        stage = self.glue(glue.written())
        for item, name in names.items():
            self.generated[item] = Reference(stage, name)

    def glue(self, made: GlueModule) -> int:
        """A stage for generated code; what it needs is made before it."""
        self.make(s for s in made.sources.values() if isinstance(s, adapters.GENERATED))
        given = {key: self.reference(source) for key, source in made.sources.items()}
        return self.add(made.wasm, given, "glue")

    def reference(self, source: Source) -> Given:
        """What stands for a source."""
        if isinstance(source, CoreExport):
            return self.assembly.steps[source.instance, source.name]
        if isinstance(source, StateFlag):
            return Reference(0, source.export)
        if isinstance(source, TableItem):
            return Reference(self.table(source.instance), source.name)
        if isinstance(source, (HostCall, HostDestructor)):
            return source
        return self.generated[source]

    def table(self, instance: int) -> int:
        """The handle table of a component instance."""
        tables = self.assembly.tables
        if instance not in tables:
            tables[instance] = self.new_table(instance)
        return tables[instance]

    def table_for(self, type_: FuncType, instance: int) -> None:
        """Make the table of an instance that Python passes handles to, or takes them from: what is generated
        for such a function may not need it."""
        for one in (*type_.types, *type_.results):
            for resource, owned in resources_of(one):
                if owned or self.plan.resources[resource].definer != instance:
                    self.table(instance)

    # ---- for Python

    def ways_in(self) -> None:
        """Functions by which Python calls exports, gives memory to guests, and destroys what it owns."""
        glue, names = self.new_glue(), _Names()
        assembly = self.assembly
        labels = dict(_lifted(self.plan.exports))
        functions = list(labels)
        for function in functions:
            if adapters.is_plain(function.type):
                names[function, "call"] = labels[function]  # what errors call it
                adapters.entry(glue, labels[function], function)
            else:
                instance = function.options.instance
                self.table_for(function.type, instance)
                adapters.begin(glue, names[instance, "begin"], instance)
                adapters.leave(glue, names[instance, "leave"], instance)
                adapters.end(glue, names[function, "end"], function)
        sides = {f.options for f in functions if f.options.realloc is not None}
        sides |= {call.options for call in self.host_calls() if call.options.realloc is not None}
        for side in sorted(sides, key=lambda one: (one.instance, repr(one))):
            adapters.reallocation(glue, names[side, "realloc"], side)
        for resource, definition in self.plan.resources.items():
            if definition.definer is not None:
                adapters.destroy(glue, names[resource, "destroy"], resource)
        for instance, type_ in self.through_memory(functions):
            if any(map(resources_in, (*type_.types, *type_.results))):
                self.table(instance)  # Python reads and writes the handles among values
        cores = [f.core for f in functions if not adapters.is_plain(f.type)]
        self.make(core for core in cores if not isinstance(core, CoreExport))
        stage = self.glue(glue.written())

        def way(of: object, what: str) -> Reference:
            return Reference(stage, names[of, what])

        for function in functions:
            if adapters.is_plain(function.type):
                assembly.entries[function] = Entry(way(function, "call"))
            else:
                core, instance = self.reference(function.core), function.options.instance
                assert isinstance(core, Reference)
                begin, leave = way(instance, "begin"), way(instance, "leave")
                assembly.entries[function] = Entry(core, begin, way(function, "end"), leave)
        assembly.reallocations = {side: way(side, "realloc") for side in sides}
        for resource, definition in self.plan.resources.items():
            if definition.definer is not None:
                assembly.destroyers[resource] = way(resource, "destroy")

    def through_memory(self, functions: Iterable[Lifted]) -> Iterable[tuple[int, FuncType]]:
        """What Python reads and writes values for, by instance."""
        yield from ((f.options.instance, f.type) for f in functions if not adapters.is_plain(f.type))
        yield from ((call.options.instance, call.function.type) for call in self.host_calls())

    def host_calls(self) -> list[HostCall]:
        given = [one for stage in self.assembly.stages for one in stage.given.values()]
        return [one for one in given if isinstance(one, HostCall)]


class _Names(dict[tuple[object, str], str]):
    """Names for what a module exports, given out as they are asked for."""

    def __missing__(self, key: tuple[object, str]) -> str:
        self[key] = found = f"{key[1]} {len(self)}"
        return found


def _lifted(exports: Mapping[str, Export], instance: str = "") -> Iterable[tuple[Lifted, str]]:
    """The component's own functions, with what they are called by: ``demo:bags/bags#count`` in an instance.
    None is called as what is generated beside them, since names in a component have no spaces."""
    for name, one in exports.items():
        if isinstance(one, InstanceExports):
            yield from _lifted(one.items, f"{instance}{name}#")
        elif isinstance(one, FunctionExport) and not isinstance(one.function, HostFunction):
            yield one.function, f"{instance}{name}"
