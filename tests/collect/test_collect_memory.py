"""There is no memory when a collection ends: handles go on naming what they did."""

from __future__ import annotations

import pytest
from collect_support import Button, Host
from support import Thing, use_engine

from hiwire_py.collect.backend import BACKEND

OTHERS = 160  # objects of no wrapper, more than those of wrappers


@pytest.mark.skipif(BACKEND != "types", reason="only the compiled types can do without memory")
@pytest.mark.parametrize("others", [0, OTHERS])
def test_no_memory(others: int) -> None:
    """What was lent is given back with nothing made for it."""
    hooks = pytest.importorskip("_testcapi", reason="this Python is without the hooks of its own tests")
    host = Host(use_engine("wasmtime"))
    things = {host.table.new(thing): thing for thing in [Thing() for _ in range(others)]}
    buttons = [Button(host) for _ in range(4)]
    heap = host.guest.wrapped.heap
    heap.begin()
    assert heap._edges is not None
    end = heap._edges.end
    hooks.set_nomemory(0)
    try:
        end()
    finally:
        hooks.remove_mem_hooks()
    heap.end()
    assert [button.fire(3) for button in buttons] == [6] * 4
    assert all(host.table.get(ref) is thing for ref, thing in things.items())
