"""Instantiating an assembly in a space: its modules, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import GuestTrap
from ..objects import Extern, Instance, Prepared, Space, ThreadGuard, instantiate, prepare
from ..wasm.module import Import
from .assemble import Assembly, Given, Reference
from .faults import Fault
from .glue import HostCall, HostDestructor

__all__ = ["Linked", "prepare_all"]

Host = Callable[["Linked", "HostCall | HostDestructor"], Any]


def prepare_all(assembly: Assembly, space: Space) -> list[Prepared]:
    """The modules of an assembly, compiled."""
    return [prepare(space.engine, stage.module.wasm) for stage in assembly.stages]


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
        for number, (stage, ready) in enumerate(zip(assembly.stages, prepared)):
            given = stage.given

            def find(wanted: Import, given: dict[tuple[str, str], Given] = given) -> Any:
                source = given[wanted.module, wanted.name]
                return self.extern(source) if isinstance(source, Reference) else host(self, source)

            name = f"module {number} of {what}" if stage.what == "core" else f"the {stage.what} of {what}"
            try:
                self.instances.append(instantiate(space, ready, find, guard, name))
            except GuestTrap as error:  # of a start function
                self.explain(error, name)
                raise

    def extern(self, reference: Reference) -> Extern:
        """What a stage exports, for others."""
        return self.instances[reference.stage].extern(reference.name)

    def function(self, reference: Reference) -> Callable[..., Any]:
        """What a stage exports, for Python."""
        return self.instances[reference.stage].function(reference.name)

    def calling(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of generated code; why it trapped is told."""
        try:
            return function(*args)
        except GuestTrap as error:
            self.explain(error, self._what)
            raise

    def explain(self, error: GuestTrap, name: str) -> None:
        """Raise the trap as it is to be told, if generated code says why it trapped. It does not return it:
        an exception that is raised from itself would be a reference cycle, and so would one in a local
        variable of a frame that it refers to."""
        store = self.space.store
        cell = self.extern(Reference(0, "fault")).raw
        number = store.global_get(cell)
        if not number:
            return
        store.global_set(cell, 0)
        why = Fault.of(number)
        raise GuestTrap(f"{name} trapped: {why.words}", why.words) from error
