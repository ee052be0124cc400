"""What the tests of wrappers share: a table, the guest cycle, and a wrapper that is one with its callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hiwire_py import Guest, GuestObject, Hiwire, layout
from hiwire_py.sources import shipped


class Host:
    """A table, the guest cycle, and what the wrappers in a test need."""

    def __init__(self, engine: str, table: Hiwire | None = None) -> None:
        self.table = Hiwire(engine=engine) if table is None else table
        self.invoke: Callable[[Any, int], int] = lambda callback, argument: callback(argument)
        imports = {"env": {"invoke": lambda callback, argument: self.invoke(callback, argument)}}
        self.guest = Guest(shipped("guest-cycle"), imports, hiwire=self.table)
        self.layout = layout(self.guest, "object")

    @property
    def live(self) -> int:
        count: int = self.guest.exports.objects_live()
        return count


class Button(GuestObject):
    """Its callback is its own method: a cycle."""

    def __init__(self, host: Host, callback: object = None) -> None:
        super().__init__(host.guest, host.guest.exports.object_new, layout=host.layout, free="object_free")
        self.host = host
        assert host.guest.exports.object_attach(self.pointer, self.pressed if callback is None else callback)

    def pressed(self, argument: int) -> int:
        return argument * 2

    def fire(self, argument: int) -> int:
        result: int = self.host.guest.exports.object_fire(self.pointer, argument)
        return result


def left(host: Host) -> tuple[int, int, int]:
    """Structs, handles and objects that are still there."""
    return host.live, host.table.num_refs(), len(host.table.space.objects)
