"""The handle table, as a module by itself."""

from __future__ import annotations

from typing import Any

import pytest

from hiwire_py import Guest, GuestTrap
from hiwire_py.components.faults import Fault
from hiwire_py.components.tables import table_module

STATE = b"\0asm\1\0\0\0\x06\x06\1\x7f\1\x41\0\x0b\x07\x09\1\x05fault\3\0"


class Table:
    """A table on an engine; each operation gives what it does, or the `Fault` that it traps with."""

    def __init__(self, engine: str, hardened: bool) -> None:
        self.state = Guest(STATE, engine=engine)
        self.guest = Guest(table_module(hardened), {"": self.state.exports})

    def __getattr__(self, name: str) -> Any:
        call, fault = self.guest.exports[name], self.state.exports["fault"]

        def operation(*args: int) -> int | Fault:
            try:
                found: int = call(*args)
                return found
            except GuestTrap:
                return Fault.of(fault.value)

        return operation


@pytest.fixture(params=[False, True], ids=["plain", "hardened"])
def table(request: pytest.FixtureRequest, engine: str) -> Table:
    return Table(engine, request.param)


def test_handles_are_used_again(table: Table) -> None:
    """The entry that was freed last is used first; entry 0 never."""
    handles = [table.own(1, 100 + i) for i in range(3)]
    assert [handle & 0xFFFFF for handle in handles] == [1, 2, 3]
    assert table.take(1, handles[0]) == 100 and table.take(1, handles[2]) == 102
    assert [table.own(1, 0) & 0xFFFFF for _ in range(3)] == [3, 1, 4]
    assert table.rep(1, handles[1]) == 101


def test_what_is_refused(table: Table) -> None:
    """Handles that are unknown, of another type, not owned, or lent."""
    own, borrow = table.own(1, 7), table.borrow(2, 8)
    assert table.guest.exports["borrows"].value == 1
    assert table.rep(1, 0) == table.rep(1, 99) == table.rep(1, -1) == Fault.UNKNOWN_HANDLE
    assert table.rep(2, own) == Fault.WRONG_TYPE
    assert table.take(2, borrow) == Fault.NOT_OWNED
    assert table.lend(1, own) == 7
    assert table.take(1, own) == table.drop(1, own) == Fault.LENT
    table.guest.exports["calls"].value += 1
    assert table.drop(1, own) == 1 and table.guest.exports["dropped"].value == 7
    assert table.drop(1, own) == Fault.UNKNOWN_HANDLE
    assert table.drop(2, borrow) == 0 and table.guest.exports["borrows"].value == 0


def test_growth(table: Table) -> None:
    """Thousands of handles are told apart; the memory grows with them."""
    handles = [table.own(1, i) for i in range(10_000)]
    assert len(set(handles)) == 10_000
    assert [table.rep(1, handle) for handle in handles[::97]] == list(range(0, 10_000, 97))


def test_hardened_finds_old_handles(engine: str) -> None:
    """A handle that was given away stays unknown though its entry is used again; in a plain table it names
    what is there now, as the canonical ABI has it."""
    plain, hardened = Table(engine, False), Table(engine, True)
    for table in (plain, hardened):
        old = table.own(1, 5)
        assert table.take(1, old) == 5
        new = table.own(1, 6)
        assert table.rep(1, old) == (6 if table is plain else Fault.UNKNOWN_HANDLE)
        assert table.rep(1, new) == 6 and new > 0
