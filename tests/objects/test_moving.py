"""A table that moves to another store of wasmtime, and what may come in between. (test_growth.py has
what moves, and when.)"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from support import python_path, use_mode
from test_growth import Ways, moves

from hiwire_py import HiwireError
from hiwire_py.collect.heap import Heap
from hiwire_py.collect.refcounts import handle_table
from hiwire_py.engines.wasmtime.modes import MODES


@pytest.fixture(params=MODES)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of calling wasmtime in turn."""
    return use_mode(request.param, monkeypatch)


KEPT = """
import gc, sys
from hiwire_py import ClosedError, Guest, Hiwire
from test_growth import USER, moves, use

class Kept:
    def __del__(self):
        kept.append(self)

def guest(table):
    it = Kept()
    it.itself, it.guest = it, Guest(USER, {"env": {"host": lambda x: x}}, hiwire=table)
    it.find = it.guest.exports.find

def whole(table):
    it = Kept()
    it.itself, it.table, it.find = it, table, table.exports["hiwire_get"]

kept = []
table = Hiwire(engine=sys.argv[1])
ref = table.new("x")
(guest if sys.argv[2] == "guest" else whole)(table)
find = use(table, ref, "x").exports.find  # has the space stay
find.__keep__.owner.guard.owner = None
del table
gc.collect()
[it] = kept
table = it.table if sys.argv[2] == "table" else it.guest.table
for _ in range(40):
    use(table, ref, "x").close()
for _ in range(3):
    try:
        assert it.find(ref) == "x"
    except ClosedError as error:  # its host function is gone
        assert sys.argv[2] == "guest" and "env.host" in str(error)
    assert table.get(ref) == "x"
print(moves(table))
"""


@pytest.mark.parametrize(("kept", "moved"), [("guest", False), ("table", True)])
def test_what_a_finalizer_keeps(way: str, kept: str, moved: bool) -> None:
    """A guest that a finalizer kept is open like others, and functions of a table that it kept move with
    that, though all weak references to them are gone."""
    printed = run(KEPT, "wasmtime", kept)
    assert bool(int(printed)) == moved


DROPPED = """
import gc, sys
from hiwire_py import Guest, Hiwire
from support import wat
from test_growth import moves, use

table = Hiwire(engine=sys.argv[1])
ref = table.new("x")
caller = Guest(wat('''(module (table (export "t") 1 funcref)
  (func (export "call") (result i32) (call_indirect (result i32) (i32.const 0))))'''), hiwire=table)
called = Guest(wat('''(module (import "caller" "t" (table 1 funcref))
  (global $g (mut externref) (ref.null extern))
  (func (export "keep") (param externref) (global.set $g (local.get 0)))
  (func $f (result i32) (i32.const 7)) (elem (i32.const 0) $f))'''), {"caller": caller.exports})
class Thing: pass
thing = Thing()
import weakref
watch = weakref.ref(thing)
called.exports.keep(thing)
del called, thing
assert caller.exports.call() == 7 and watch() is not None
caller.close()
for _ in range(40):
    use(table, ref, "x").close()
assert watch() is None
del caller
for _ in range(40):
    use(table, ref, "x").close()
print(moves(table))
"""


def test_globals_of_guests_that_only_others_keep(way: str) -> None:
    """A guest that was dropped, and of which a closed one has a function, is left behind with what its global
    holds."""
    assert int(run(DROPPED, "wasmtime")) >= 2


def run(program: str, *args: str) -> str:
    """What a program prints that could end its process."""
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path(__file__)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_collection_opens_no_table_that_moves(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer or signal handler may have Python collect in the midst of a move."""
    ways = Ways("wasmtime")
    space, store = ways.table.space, type(ways.table.space.store)
    heap = Heap(space, handle_table(ways.table))
    tried = []

    def grow(self: Any, *args: Any) -> Any:
        heap.begin()
        with pytest.raises(HiwireError, match="was used while it was moved"):
            ways.table.get(ways.refs[0])
        tried.append(1)
        return instantiate(self, *args)

    instantiate = store.instantiate
    monkeypatch.setattr(store, "instantiate", grow)
    assert space.mover._move() == ""
    monkeypatch.undo()
    assert tried and moves(ways.table) == 1
    ways.check()


def test_alarms_during_a_move_come_out(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a signal handler is no reason not to move the table the next time."""
    ways = Ways("wasmtime")
    space, store = ways.table.space, type(ways.table.space.store)

    def alarm(*args: object) -> object:
        raise TimeoutError

    for name in ("instantiate", "_open"):
        monkeypatch.setattr(store, name, alarm)
        with pytest.raises(TimeoutError):
            space.mover._move()
        monkeypatch.undo()
        ways.check()
    assert moves(ways.table) == 0 and space.mover._move() == "" and moves(ways.table) == 1
    ways.check()


HANDLED = """
import sys
from hiwire_py import Hiwire, HiwireError
from test_growth import USER, moves, use

table = Hiwire(engine=sys.argv[1])
ref = table.new("x")
store = type(table.space.store)
read, handled = store.global_get, []

def signalled(self, global_):
    # A handler comes in where the global of a guest that was closed is in hand.
    if not handled:
        handled.append(1)
        table.space.mover._next = 0
        use(table, ref, "x").close()
    return read(self, global_)

guest = use(table, ref, "x")
store.global_get = signalled
guest.close()
assert handled
store.global_get = read
table.space.mover._next = 0
use(table, ref, "x").close()
assert table.get(ref) == "x" and moves(table) == 1
print("done")
"""


def test_a_handler_that_makes_a_guest(way: str) -> None:
    """The table does not move while what a closed guest holds is released."""
    assert run(HANDLED, "wasmtime") == "done\n"


SHORT = """
import sys, threading
from hiwire_py import Hiwire, HiwireError
from test_growth import use

def deeper(count):
    try:
        use(table, ref, "x").close()
    except (RecursionError, HiwireError) as error:
        return ends.append(error)
    deeper(count + 1)

def main():
    global table, ref
    table = Hiwire(engine=sys.argv[1])
    ref = table.new("x")
    deeper(0)
    use(table, ref, "x").close()
    print(len(ends))

ends = []
sys.setrecursionlimit(3000)
threading.stack_size(512 * 1024)
thread = threading.Thread(target=main)
thread.start()
thread.join()
"""


def test_guests_at_the_end_of_the_stack(way: str) -> None:
    """One that cannot be made, or moved for, there says so, and the next one is made."""
    assert run(SHORT, "wasmtime") == "1\n"
