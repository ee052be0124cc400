"""Instantiating an assembly in a space: its modules, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import GuestTrap
from ..objects import (
    LEAST,
    Extern,
    Group,
    Instance,
    Prepared,
    Shape,
    Space,
    ThreadGuard,
    instantiate,
    prepare,
)
from ..wasm.module import Import
from .assemble import Assembly, Given, Reference
from .faults import Fault
from .glue import HostCall, HostDestructor

__all__ = ["Linked", "prepare_all"]

Host = Callable[["Linked", "HostCall | HostDestructor"], Any]


def prepare_all(assembly: Assembly, space: Space) -> list[Prepared]:
    """The modules of an assembly, compiled. Where one of them is kept on disk, all are: the next process
    compiles nothing."""
    modules = [stage.module for stage in assembly.stages]
    least = 0 if any(len(module.wasm) >= LEAST for module in modules) else None
    return [prepare(space.engine, module, least=least) for module in modules]


class Linked:
    """An assembly in a space.

    Args:
        assembly: what to instantiate.
        prepared: its modules, for the space's engine.
        space: where.
        guard: of all its functions.
        host: gives what is imported from the host. It may be called before all instances are there.
        what: names the component in errors.

    Attributes:
        instances: of each stage.
    """

    def __init__(
        self,
        assembly: Assembly,
        prepared: Sequence[Prepared],
        space: Space,
        guard: ThreadGuard,
        host: Host,
        what: str,
    ) -> None:
        self.assembly = assembly
        self.space = space
        self.guard = guard
        self._what = what
        self.instances: list[Instance] = []
        self._externs: dict[Reference, Extern] = {}
        group = Group(space, guard)
        for number, (stage, ready) in enumerate(zip(assembly.stages, prepared)):
            given = stage.given

            def find(wanted: Import, given: dict[tuple[str, str], Given] = given) -> Any:
                source = given[wanted.module, wanted.name]
                return self.extern(source) if isinstance(source, Reference) else host(self, source)

            name = f"module {number} of {what}" if stage.what == "core" else f"the {stage.what} of {what}"
            try:
                self.instances.append(instantiate(space, ready, find, group, name))
            except GuestTrap as error:  # of a start function
                if self._told():
                    raise self.explained(error, name) from error
                raise

    def extern(self, reference: Reference) -> Extern:
        """What a stage exports, for others."""
        found = self._externs.get(reference)
        if found is None:
            found = self._externs[reference] = self.instances[reference.stage].extern(reference.name)
        return found

    def function(self, reference: Reference) -> Callable[..., Any]:
        """What a stage exports, for Python."""
        return self.instances[reference.stage].function(reference.name)

    def told(
        self, reference: Reference, name: str | None = None, shape: Shape | None = None, **names: Any
    ) -> Callable[..., Any]:
        """The same, where a trap is told as it is to be; ``shape`` and ``names`` see `bind_export`."""
        name = self._what if name is None else name
        instance = self.instances[reference.stage]

        def explain(error: BaseException, shown: str) -> None:
            try:
                self.space.explain(error, shown)
            except GuestTrap as trap:
                raise self.explained(trap, name) from trap

        return instance.function(reference.name, shown=name, shape=shape, names=names, explain=explain)

    def _told(self) -> int:
        """Why generated code trapped; 0: it did not, or it was the start function of the module that would
        say so."""
        fault = self.assembly.fault
        if fault.stage >= len(self.instances):
            return 0
        number: int = self.space.store.global_get(self.extern(fault).raw)
        return number

    def explained(self, error: GuestTrap, name: str) -> GuestTrap:
        """The trap as it is to be told: it names the function, and generated code says why it trapped."""
        number = self._told()
        if not number:
            return GuestTrap(f"{name} trapped: {error.kind}", error.kind)
        self.space.store.global_set(self.extern(self.assembly.fault).raw, 0)
        why = Fault.of(number)
        return GuestTrap(f"{name} trapped: {why.words}", why.words)
