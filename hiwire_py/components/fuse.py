"""From a component to one core module, by static linking: `fuse`.

What is merged (merge.py) are the modules that instantiating the component takes, core ones and generated ones
(assemble.py); fused.py says what the result imports and exports. In one module all of the code is known, so
some of what generated code does for each call can be left out, where nobody can tell:

Whether an instance may be entered. A call marks the callee and the instances around it as entered, and traps
where one of them is marked. A mark is left out if nothing that the callee can lead to, by calls between
instances and destructors, looks at it; and looking is left out where no call that leads to the place sets
the mark. What is left of it, where no instance calls one that is on its way, is the mark of the outermost
instance, which every call of the host sets and looks at. So the host cannot come back into any instance while
one is running, and after a trap it cannot enter any: it is told so in the same words.

Whether an instance may call out, which it may not while its ``realloc`` or post-return function runs. Both
setting the mark and looking at it are left out if these functions cannot come to call anything that looks,
as far as their code tells: through tables that do not change too. With other indirect calls it stays.

Where nothing is left but passing numbers on, the caller calls the core function directly.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Union

from ..engines import get_engine
from ..errors import UnsupportedModuleError
from ..sources import WasmSource, read_wasm
from ..wasm.module import MEMORY, Module
from .adapters import GENERATED, is_plain
from .assemble import Assembler, Assembly, Given, Reference, assemble
from .decode import decode
from .fused import DECREF, OPERATIONS, SECTION, Names, passes_handles
from .glue import Glue, HostCall, HostDestructor, Source
from .inline import inline
from .layout import MAX_FLAT_PARAMS, resources_in
from .memory_tables import PAGE, memory_table_module
from .merge import MOST_PAGES, HostItem, Item, Merger
from .plan import (
    CoreExport,
    CoreItem,
    Generated,
    HostFunction,
    Lifted,
    Lower,
    Options,
    Plan,
    ResourceDrop,
    ResourceNew,
)
from .skeleton import skeleton
from .types import F32, F64, S32, S64, U32, U64, Resource
from .validate import core_modules, validate

__all__ = ["fuse"]

_UNCHANGED = (S32, U32, S64, U64, F32, F64)  # a core value of these is passed on as it is


def fuse(component: WasmSource, *, table_in_memory: bool = False, hardened: bool = False) -> bytes:
    """One core module that does what a component does.

    It uses several memories, where the component's modules have several. `Component` takes it as it takes the
    component; other hosts call it by the names that fused.py lists.

    Args:
        component: its bytes, or the path of its file.
        table_in_memory: the handle tables of instances that hold handles of resources which they do not
            define are in these instances' own memories: see memory_tables.py.
        hardened: the other handle tables are hardened: see tables.py.

    Raises:
        UnsupportedModuleError: it is no component, an invalid one, or one that is not supported.
    """
    wasm, _ = read_wasm(component)
    decoded = decode(wasm)
    validate(decoded)
    for module in core_modules(decoded):
        get_engine("wasmtime").validate(module)  # what is merged is taken to be valid
    plan = inline(decoded)
    names = Names(plan)
    assembler = _FusingAssembler(plan, hardened, _Checks(plan, names), table_in_memory)
    assembly = assembler.assembled()
    grown = dict.fromkeys(assembler.places.values(), 1)
    merger = Merger(_parts(assembly, names), grown)
    _export_all(merger, assembly, names)
    for instance in assembler.places:
        table = assembly.tables[instance]
        for name in ("ht_new", "ht_rep", "ht_drop", "ht_next"):
            merger.export(f"{name}_{instance}", merger.find(Reference(table, name)))
    return merger.written([(SECTION, skeleton(wasm))])


_Part = tuple[Module, dict[tuple[str, str], Union[Reference, HostItem]]]


def _parts(assembly: Assembly, names: Names) -> list[_Part]:
    """The stages as parts to merge."""
    hosts = {call: HostItem(*name) for name, call in names.hosts.items()}

    def given(one: Given) -> Reference | HostItem:
        if isinstance(one, HostCall):
            return hosts[one]
        if isinstance(one, HostDestructor):
            return HostItem(*DECREF)
        return one

    stages = assembly.stages
    return [(stage.module, {key: given(one) for key, one in stage.given.items()}) for stage in stages]


def _export_all(merger: Merger, assembly: Assembly, names: Names) -> None:
    """What the host needs, by its names."""

    def export(name: str, reference: Reference | None) -> None:
        if reference is not None:
            merger.export(name, merger.find(reference))

    def side(prefix: str, name: str, options: Options, handles: bool) -> None:
        export(f"{prefix}memory_{name}", assembly.memory(options))
        export(f"{prefix}realloc_{name}", assembly.reallocations.get(options))
        for operation in OPERATIONS if handles else ():
            field = f"cabi_{operation}_{options.instance}"
            export(field, assembly.operation(options.instance, operation))

    export("cabi_fault", assembly.fault)
    for name, function in names.functions.items():
        entry = assembly.entries[function]
        export(name, entry.call)
        if not is_plain(function.type):
            export(f"cabi_begin_{name}", entry.begin)
            export(f"cabi_end_{name}", entry.end)
            export(f"cabi_leave_{name}", entry.leave)
            side("cabi_", name, function.options, passes_handles(function.type))
    for resource in _of_the_host(assembly, names):
        export(names.destroyers[resource], assembly.destroyers[resource])
    known: set[HostItem] = set()
    while True:  # what the host needs for its functions may call others
        new = [one for one in merger.settle() if one not in known and tuple(one) != DECREF]
        if not new:
            return
        known.update(new)
        for one in new:
            call = names.hosts[one.module, one.field]
            side("cabi_import_", "#".join(one), call.options, passes_handles(call.function.type))


def _of_the_host(assembly: Assembly, names: Names) -> list[Resource]:
    """The resources of components that the host can come to own."""
    types = [function.type for function in names.functions.values()]
    types += [call.function.type for call in names.hosts.values()]
    passed = {one for type_ in types for part in (*type_.types, *type_.results) for one in resources_in(part)}
    return [resource for resource in assembly.destroyers if resource in passed]


class _Checks:
    """Which checks generated code has to make.

    Args:
        plan: of the component.
        names: for it.
    """

    def __init__(self, plan: Plan, names: Names) -> None:
        self.plan = plan
        self.assembly = assemble(plan)
        self.merger = Merger(_parts(self.assembly, names))
        self.calls = {
            (caller, callee)
            for caller, callee in map(self.sides, self.assembly.generated)
            if callee is not None and caller != callee
        }
        self.reached = {number: self.reach(number) for number in range(len(plan.instances))}

    def sides(self, item: Generated) -> tuple[int, int | None]:
        """The instances that a generated function is called by and calls; None: none."""
        if isinstance(item, Lower):
            function = item.function
            callee = None if isinstance(function, HostFunction) else function.options.instance
            return item.options.instance, callee
        callee = self.plan.resources[item.resource].definer if isinstance(item, ResourceDrop) else None
        return item.instance, callee

    # ---- entering

    def reach(self, instance: int) -> set[int]:
        """The instances that code can come to run in, beginning with one."""
        found, work = {instance}, [instance]
        while work:
            at = work.pop()
            new = {callee for caller, callee in self.calls if caller == at} - found
            found |= new
            work += new
        return found

    @functools.cache  # noqa: B019
    def marks(self, caller: int | None, callee: int) -> list[int]:
        """The instances that a call has to mark as entered."""
        after = [call for call in self.calls if call[0] in self.reached[callee]]
        looked = {one for call in after for one in self.plan.entered(*call)}
        if caller is None:
            looked.add(0)
        return [one for one in self.plan.entered(caller, callee) if one in looked]

    @functools.cache  # noqa: B019
    def looks(self, caller: int | None, callee: int) -> list[int]:
        """The instances of which a call has to look whether they are marked."""
        if caller is None:
            return [0]
        entries = [(None, one) for one in range(len(self.plan.instances))]
        before = [call for call in (*self.calls, *entries) if caller in self.reached[call[1]]]
        marked = {one for call in before for one in self.marks(*call)}
        return [one for one in self.plan.entered(caller, callee) if one in marked]

    # ---- leaving

    @functools.cache  # noqa: B019
    def leaves(self, instance: int) -> bool:
        """Whether a ``realloc`` or post-return function of an instance may come to call out."""
        options = [one.options for one in self.plan_sides()]
        functions = {f for one in options if one.instance == instance for f in (one.realloc, one.post_return)}
        roots = [self.item(one) for one in functions if one is not None]
        reached = self.merger.reach(roots)
        if reached is None:
            return True
        looking = [
            one
            for one in self.assembly.generated
            if isinstance(one, (Lower, ResourceNew, ResourceDrop)) and self.sides(one)[0] == instance
        ]
        return any(self.item(one) in reached for one in looking)

    def item(self, one: CoreItem) -> Item | HostItem:
        """Where a core item is."""
        assembly = self.assembly
        if isinstance(one, CoreExport):
            return self.merger.find(assembly.steps[one.instance, one.name])
        return self.merger.find(assembly.generated[one])

    def plan_sides(self) -> Iterable[Lower | Lifted]:
        """All that has options: what is lowered, and what is lifted."""
        for one in self.assembly.generated:
            if isinstance(one, Lower):
                yield one
                if isinstance(one.function, Lifted):
                    yield one.function
        yield from self.assembly.entries

    # ---- calls without an adapter

    def direct(self, item: object) -> CoreItem | None:
        """The core function that a lowered function does nothing but call; None: it does more."""
        if not isinstance(item, Lower) or isinstance(item.function, HostFunction):
            return None
        caller, callee = item.options.instance, item.function.options.instance
        type_ = item.function.type
        if callee in self.plan.ancestors(caller):  # which keeps what was lent: see Glue.reenter
            return None
        if len(type_.types) > MAX_FLAT_PARAMS or item.function.options.post_return:
            return None
        if any(one not in _UNCHANGED for one in (*type_.types, *type_.results)):
            return None
        if self.leaves(caller) or self.marks(caller, callee) or self.looks(caller, callee):
            return None
        return item.function.core


class _FusingGlue(Glue):
    """Makes the checks that are needed."""

    def __init__(self, plan: Plan, checks: _Checks) -> None:
        super().__init__(plan)
        self.checks = checks

    def check_leave(self, instance: int) -> bytes:
        return super().check_leave(instance) if self.checks.leaves(instance) else b""

    def without_leave(self, instance: int, code: bytes) -> bytes:
        return super().without_leave(instance, code) if self.checks.leaves(instance) else code

    def entering(self, caller: int | None, callee: int) -> tuple[list[int], list[int]]:
        return self.checks.looks(caller, callee), self.checks.marks(caller, callee)


class _FusingAssembler(Assembler):
    """Makes the stages of a fused module.

    Attributes:
        places: of instances whose table is in their own memory, the stage and index of that.
    """

    def __init__(self, plan: Plan, hardened: bool, checks: _Checks, in_memory: bool) -> None:
        super().__init__(plan, hardened)
        self.checks = checks
        self.holders = _holders(plan, checks) if in_memory else set()
        self.places: dict[int, tuple[int, int]] = {}
        self.memories: dict[int, CoreExport] = {}

    def assembled(self) -> Assembly:
        assembly = super().assembled()
        for instance, export in self.memories.items():
            memory = assembly.steps[export.instance, export.name]
            assembly.stages[assembly.tables[instance]].given["", "memory"] = memory
            found = assembly.stages[memory.stage].module.exported(MEMORY)[memory.name]
            self.places[instance] = memory.stage, found
        return assembly

    def new_glue(self) -> Glue:
        return _FusingGlue(self.plan, self.checks)

    def make(self, items: Iterable[Generated]) -> None:
        behind = map(self.behind, items)
        super().make(one for one in behind if isinstance(one, GENERATED))

    def reference(self, source: Source) -> Given:
        return super().reference(self.behind(source))

    def behind(self, source: Source) -> Source:
        """What is called in its place."""
        core = self.checks.direct(source)
        return source if core is None else self.behind(core)

    def new_table(self, instance: int) -> int:
        memory = _own_memory(self.plan, instance) if instance in self.holders else None
        if memory is None:
            return super().new_table(instance)
        module = self.plan.modules[self.plan.steps[memory.instance].module]
        limits = module.memories[module.exported(MEMORY)[memory.name]]
        if limits.wide or limits.minimum >= MOST_PAGES:
            raise UnsupportedModuleError(
                f"the memory of component instance {instance} has no room for the page of its handle table"
            )
        self.memories[instance] = memory
        given: dict[tuple[str, str], Given] = {("", "fault"): Reference(0, "fault")}  # the memory follows
        return self.add(memory_table_module(limits.minimum * PAGE), given, "table", instance)


def _holders(plan: Plan, checks: _Checks) -> set[int]:
    """The instances that hold handles of resources which they do not define."""
    held: set[tuple[int, Resource]] = set()
    for one in checks.plan_sides():
        type_ = one.function.type if isinstance(one, Lower) else one.type
        for part in (*type_.types, *type_.results):
            held |= {(one.options.instance, resource) for resource in resources_in(part)}
    held |= {(one.instance, one.resource) for one in checks.assembly.generated if not isinstance(one, Lower)}
    return {instance for instance, resource in held if plan.resources[resource].definer != instance}


def _own_memory(plan: Plan, instance: int) -> CoreExport | None:
    """A memory that a core module of a component instance defines and exports: the first one."""
    for number, step in enumerate(plan.steps):
        module = plan.modules[step.module]
        own = module.count_imports(MEMORY)
        for name, index in module.exported(MEMORY).items():
            if step.component == instance and index >= own:
                return CoreExport(number, name, MEMORY)
    return None
