"""Resources on Python's side: handles to those of components, and Python objects that are some.

Python has no table of its own: a handle is a Python object with the resource's representation in it, which
the component that defines the resource gave it. What a guest holds goes through the handle table of its
instance. The representation of a Python object is a handle of a `Hiwire` table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..engines import GuestLimits
from ..errors import ClosedError, GuestTrap, ResourceMovedError, WrongThreadError
from ..hiwire import Hiwire
from ..objects import Space
from ..real_threads import get_ident
from ..resources import Closing
from .abi import Handles, Window
from .faults import Fault
from .link import Linked
from .plan import Options, ResourceDefinition
from .types import Resource

__all__ = [
    "HostResource",
    "HostTable",
    "ResourceHandle",
    "Resources",
    "Scope",
    "SideHandles",
    "wanted",
]


class HostResource:
    """A Python class whose objects are a resource for a component, given for a resource that it imports::

        Component("app.wasm").instantiate({"demo:log/log": {"logger": HostResource(Logger)}})

    Functions that the component imports for the resource are found in the class: a constructor calls it,
    methods and static functions are its attributes. A table holds an object as long as a guest owns it.

    Args:
        cls: the class. What is given to a guest must be an instance of it.
    """

    def __init__(self, cls: type) -> None:
        if not isinstance(cls, type):
            raise TypeError(f"a HostResource is made of a class, not of {cls!r:.50}")
        self.cls = cls

    def __repr__(self) -> str:
        return f"HostResource({self.cls.__qualname__})"


class HostTable(Hiwire):
    """The table for Python objects that are resources, in a component's own space and under its limits."""

    def __init__(self, space: Space) -> None:
        self._given = space
        super().__init__("extern_realloc")

    def _place(self, engine: str | None, limits: GuestLimits) -> Space:
        return self._given


class ResourceHandle(Closing):
    """A handle to a resource of a component: the base of the classes that an instance has for its resources.

    It owns the resource, unless it was lent for a call of a host function. What it owns is destroyed when it
    is closed, at the end of a ``with`` block, or when it is not used any more; or it is given away by a call.
    """

    _resources: Resources
    _resource: Resource
    # Of an object, what differs from this. The generated functions of calls.py read and write it, too.
    _representation: int | None = None
    _owned = True
    _lent = 0  # to calls that have not returned
    _why = "was never made"  # why it has no representation

    @classmethod
    def _made(cls, representation: int, owned: bool) -> ResourceHandle:
        """A handle for what came from a guest."""
        self = cls.__new__(cls)
        self._representation, self._owned = representation, owned
        return self

    def _live(self) -> int:
        """The representation.

        Raises:
            ResourceMovedError: it has none any more.
        """
        if self._representation is None:
            raise ResourceMovedError(f"this {type(self).__name__} {self._why}")
        return self._representation

    def _lose(self, why: str) -> None:
        self._representation, self._why = None, why

    def close(self) -> None:
        """Destroy the resource, now. Idempotent; nothing where it was given away, or is only lent.

        Raises:
            ResourceMovedError: it is lent to a call that has not returned.
            WrongThreadError: the instance belongs to another thread.
        """
        representation = self._representation
        if representation is None or not self._owned:
            return
        if self._lent:
            raise ResourceMovedError(f"this {type(self).__name__} is lent to a call that has not returned")
        self._representation, self._why = None, "was closed"
        try:
            self._destroy(representation)
        except ClosedError:  # it is gone, with its instance
            pass
        except WrongThreadError:  # nothing has happened
            self._representation = representation
            raise

    @classmethod
    def _destroy(cls, representation: int) -> None:
        """Destroy a resource; when it is called first, what does so is put in the place of this."""
        cls._resources.destroyer(cls._resource)(representation)

    def __del__(self) -> None:
        if self._representation is not None and self._owned:
            representation, self._representation = self._representation, None
            self._resources.forget(self._resource, representation)

    def __repr__(self) -> str:
        state = f" that {self._why}" if self._representation is None else ""
        return f"<{type(self).__name__}{state}>"


class Resources:
    """The resources of one instance.

    Args:
        table: for Python's own objects; None where it imports no resource.

    Attributes:
        linked: the instance; it may not be complete yet.
        classes: of the resources of components; those that were asked for.
        make_class: makes another one.
        hosts: of those of the host.
        inside: how many calls are begun and not ended, between which Python reads and writes memories.
        sides: memories that Python reads and writes, and what allocates in them: see calls.py.
    """

    def __init__(self, table: Hiwire | None) -> None:
        self.linked: Linked | None = None
        self.table = table
        self.classes: dict[Resource, type[ResourceHandle]] = {}
        self.make_class: Callable[[Resources, Resource], type[ResourceHandle]] | None = None
        self.hosts: dict[Resource, HostResource] = {}
        self.dead: deque[tuple[Resource, int]] = deque()
        self.inside = 0
        self.sides: dict[Options, tuple[Window | None, Callable[[int, int, int, int], int] | None]] = {}
        self._destroyers: dict[Resource, Callable[[int], None]] = {}
        self._tables: dict[tuple[int, str], Callable[[int, int], int]] = {}

    def definition(self, resource: Resource) -> ResourceDefinition:
        assert self.linked is not None
        return self.linked.assembly.plan.resources[resource]

    def class_of(self, resource: Resource) -> type[ResourceHandle]:
        """The class of a component's resource."""
        known = self.classes.get(resource)
        if known is None:
            assert self.make_class is not None
            known = self.make_class(self, resource)
        return known

    def in_table(self, instance: int, operation: str, resource: Resource, operand: int) -> int:
        """Do something in the handle table of a component instance: see tables.py."""
        assert self.linked is not None
        function = self._tables.get((instance, operation))
        if function is None:
            found = self.linked.assembly.operation(instance, operation)
            function = self._tables[instance, operation] = self.linked.told(found)
        return function(self.definition(resource).number, operand)

    # ---- the end

    def destroyer(self, resource: Resource) -> Callable[[int], None]:
        """What destroys resources that Python owns, by their representations."""
        assert self.linked is not None
        found = self._destroyers.get(resource)
        if found is None:
            found = self.linked.told(self.linked.assembly.destroyers[resource])
            self._destroyers[resource] = found
            if resource in self.classes:
                self.classes[resource]._destroy = staticmethod(found)  # type: ignore[method-assign]
        return found

    def forget(self, resource: Resource, representation: int) -> None:
        """A handle that owned something is gone, which may happen in any thread and at any time."""
        self.dead.append((resource, representation))
        linked = self.linked
        if linked is not None and linked.guard.owner == get_ident():
            self.destroy_dead()

    def destroy_dead(self) -> None:
        """Destroy what the handles that are gone owned; later, if the instance cannot be entered now."""
        dead, linked = self.dead, self.linked
        assert linked is not None
        while dead and not self.inside and not linked.space.calls.depth:
            try:
                resource, representation = dead.popleft()
            except IndexError:  # a finalizer was here meanwhile
                return
            try:
                self.destroyer(resource)(representation)
            except ClosedError:
                pass
            except GuestTrap as error:
                # An instance that has trapped is not entered any more: nothing can be destroyed there.
                if error.kind != Fault.CANNOT_ENTER.words:
                    raise

    # ---- between an object and its representation

    def object(self, resource: Resource, representation: int, owned: bool, scope: Scope) -> Any:
        """The object for a representation that a guest gives away, or lends."""
        if self.definition(resource).definer is None:
            assert self.table is not None
            return self.table.pop(representation) if owned else self.table.get(representation)
        handle = self.class_of(resource)._made(representation, owned)
        if not owned:
            scope.borrowed.append(handle)
        return handle

    def representation(self, resource: Resource, value: Any, owned: bool, scope: Scope) -> int:
        """The representation of an object that a guest is given, or lent.

        Raises:
            TypeError: it is none of that resource.
            ResourceMovedError: it is not there any more.
        """
        if self.definition(resource).definer is None:
            assert self.table is not None
            host = self.hosts[resource]
            if not isinstance(value, host.cls):
                raise TypeError(f"a {host.cls.__name__} is wanted, not {type(value).__name__}")
            representation = self.table.new(value)
            scope.own.append(representation)
            if owned:
                scope.given.append(representation)
            return representation
        class_ = self.class_of(resource)
        if not isinstance(value, class_):
            raise wanted(class_, value)
        live = value._live()
        if not owned:
            value._lent += 1
            scope.lent.append(value)
        elif not value._owned:
            raise ResourceMovedError(f"this {class_.__name__} is only lent: it cannot be given away")
        elif value._lent:
            raise ResourceMovedError(f"this {class_.__name__} is lent: it cannot be given away now")
        else:
            value._lose("was given away")
            scope.moved.append((value, live))
        return live


def wanted(class_: type, value: object) -> TypeError:
    """The exception for a value that is no handle of a class."""
    other = ""
    if isinstance(value, ResourceHandle) and type(value).__name__ == class_.__name__:
        other = " of another instance"
    return TypeError(f"a {class_.__name__} is wanted, not {type(value).__name__}{other}")


class Scope:
    """What a call has to put right when it is over.

    Attributes:
        moved: handles that were given away, with what they were.
        lent: handles that were lent to the guest.
        borrowed: handles that the guest has lent.
        own: representations of Python's own objects, made for the call.
        given: those of them that the guest owns now.
    """

    __slots__ = ("borrowed", "given", "lent", "moved", "own", "resources")

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.moved: list[tuple[ResourceHandle, int]] = []
        self.lent: list[ResourceHandle] = []
        self.borrowed: list[ResourceHandle] = []
        self.own: list[int] = []
        self.given: list[int] = []

    def undo(self) -> None:
        """The call was not made: nothing was given away."""
        for handle, representation in self.moved:
            handle._representation = representation
        self.given.clear()

    def end(self) -> None:
        """The call has returned."""
        for handle in self.lent:
            handle._lent -= 1
        for handle in self.borrowed:
            handle._lose("was lent for a call, which has returned")
        table = self.resources.table
        if table is not None:
            for representation in self.own:
                if representation in self.given:
                    self.given.remove(representation)
                else:
                    table.decref(representation)


class SideHandles(Handles):
    """The handles that one call passes to and from a component instance."""

    def __init__(self, resources: Resources, instance: int, scope: Scope) -> None:
        self.resources = resources
        self.instance = instance
        self.scope = scope
        self.entered: list[tuple[str, Resource, int]] = []

    def lift(self, resource: Resource, owned: bool, handle: int) -> Any:
        operation = "take" if owned else "lend"
        representation = self.resources.in_table(self.instance, operation, resource, handle)
        return self.resources.object(resource, representation, owned, self.scope)

    def lower(self, resource: Resource, owned: bool, value: Any) -> int:
        resources, instance = self.resources, self.instance
        representation = resources.representation(resource, value, owned, self.scope)
        if not owned and resources.definition(resource).definer == instance:
            return representation
        handle = resources.in_table(instance, "own" if owned else "borrow", resource, representation)
        self.entered.append(("take" if owned else "drop", resource, handle))
        return handle

    def undo(self) -> None:
        """The call was not made: the instance has not got any of it."""
        for operation, resource, handle in reversed(self.entered):  # so that free handles come as before
            self.resources.in_table(self.instance, operation, resource, handle)
        self.scope.undo()
