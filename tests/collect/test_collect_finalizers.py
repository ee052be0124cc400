"""Finalizers and callbacks that Python runs during a collection: what they find, and what they may do."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from collect_support import Button, Host, left

from hiwire_py import collect


def test_a_finalizer_may_call_the_guest(host: Host) -> None:
    """__del__ uses the struct, and its handle still names the callback; one collect() is enough."""
    said = []

    class Speaking(Button):
        def __del__(self) -> None:
            said.append(self.fire(6))

    other = Button(host)
    Speaking(host)
    assert collect() == 1
    assert said == [12] and host.live == 1
    assert other.fire(1) == 2


def test_a_finalizer_may_call_other_structs(host: Host) -> None:
    """During a collection the guest can be entered: what is alive is all there."""
    said = []
    other = Button(host)
    pointer = other.pointer

    class Calling(Button):
        def __del__(self) -> None:
            said.append(host.guest.exports.object_fire(pointer, 7))

    Calling(host)
    assert collect() == 1
    assert said == [14] and host.live == 1 and other.fire(2) == 4


@pytest.mark.parametrize("way", ["get", "pop"])
def test_a_finalizer_may_use_the_table(host: Host, way: str) -> None:
    """Also by those methods in whose place an engine has functions of its own: the object is there."""
    said: list[Any] = []
    other = Button(host)
    pointer = other.pointer
    handle = int.from_bytes(host.guest.memory.read(pointer, 4), "little")

    class Calling(Button):
        def __del__(self) -> None:
            said.append(getattr(host.table, way)(handle))
            if way == "pop":
                host.guest.memory.write(pointer, host.table.new(said[0]).to_bytes(4, "little"))

    Calling(host)
    assert collect() == 1
    assert said == [other.pressed] and host.live == 1 and other.fire(2) == 4


@pytest.mark.parametrize("used", [False, True])
def test_resurrection(host: Host, used: bool) -> None:
    """A finalizer stores its wrapper: the struct and its callback stay until it dies for good."""
    kept: list[Lasting] = []

    class Lasting(Button):
        def __del__(self) -> None:
            if used:
                self.fire(1)
            kept.append(self)

    Lasting(host)
    assert collect() == 0
    assert len(kept) == 1 and host.live == 1
    # Not through the wrapper: the guest's own calls must find the callback too.
    pointer = kept[0]._guest_pointer
    assert host.guest.exports.object_fire(pointer, 8) == 16
    assert collect() == 0 and kept[0].fire(3) == 6
    kept.clear()
    assert collect() == 1 and left(host) == (0, 0, 0)


def test_resurrection_by_plain_gc(host: Host) -> None:
    """Also where Python's collector, not collect(), ran the finalizer."""
    kept: list[Lasting] = []

    class Lasting(Button):
        def __del__(self) -> None:
            kept.append(self)

    button = Lasting(host, abs)
    button.ring = button
    del button
    gc.collect(1)
    gc.collect()
    assert len(kept) == 1 and kept[0].fire(-1) == 1
    host.guest.exports.object_attach(kept[0].pointer, kept[0].pressed)
    kept.clear()
    assert collect() == 1 and left(host) == (0, 0, 0)


def test_weak_reference_callbacks(host: Host) -> None:
    """They run, and may call the guest."""
    said = []
    other = Button(host)
    button = Button(host)
    watch = weakref.ref(button, lambda _: said.append(other.fire(5)))
    del button
    assert collect() == 1
    assert said == [10] and watch() is None
