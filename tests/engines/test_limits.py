"""Limits for untrusted guests: each raises its own exception, and host and other guests go on.

It is long because each limit is tried in the same few situations.
"""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import time

import pytest
from support import Thing, python_path, use_mode, wat

from hiwire_py import (
    NULL,
    ClosedError,
    DeadlineError,
    EngineUnavailableError,
    FuelError,
    Guest,
    GuestLimitError,
    Hiwire,
    HiwireError,
    MemoryLimitError,
    TableLimitError,
    engines,
)
from hiwire_py.engines.limits import MEMORY_DEFAULT, TABLE_DEFAULT, TICK, Ticker
from hiwire_py.engines.wasmtime.modes import MODES

PAGE = 65536
MODULE = wat(
    """(module (import "e" "h" (func $h (param i32) (result i32))) (import "e" "make" (func $make (result
    externref))) (memory (export "memory") 1) (table (export "t") 2 externref) (table $big 0 externref)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_t") (param i32) (result i32) (table.grow 0 (ref.null extern) (local.get 0)))
    (func (export "id") (param externref) (result externref) local.get 0)
    (func (export "set") (param i32 externref) (table.set 0 (local.get 0) (local.get 1)))
    (func (export "spin") (loop $l (br $l)))
    (func (export "spin_host") (loop $l (drop (call $h (i32.const 1))) (br $l)))
    (func (export "call") (param i32) (result i32) (call $h (local.get 0)))
    (func (export "hoard") (loop $l (drop (table.grow $big (call $make) (i32.const 1))) (br $l))))"""
)
ENV = {"e": {"h": lambda n: n, "make": Thing}}


@pytest.fixture(params=MODES)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of calling wasmtime in turn."""
    return use_mode(request.param, monkeypatch)


def guest(**limits: float | None) -> Guest:
    return Guest(MODULE, ENV, engine="wasmtime", **limits)  # type: ignore[arg-type]


def test_memory(way: str) -> None:
    """The guest's own growth ends at the limit with -1; the host's with an exception; what asks for more is
    not made."""
    limited, free = guest(memory_limit=2 * PAGE), guest()
    assert limited.exports.grow(1) == 1 and limited.exports.grow(1) == -1
    with pytest.raises(
        MemoryLimitError, match=f"131072 bytes cannot grow by 1 pages: memory_limit is {2 * PAGE}"
    ):
        limited.memory.grow(1)
    assert limited.memory.size == 2 * PAGE and limited.exports.id(limited) is limited
    with pytest.raises(MemoryLimitError, match="asks for a memory of 65536 bytes, and memory_limit is 65535"):
        guest(memory_limit=PAGE - 1)
    assert free.exports.grow(100) == 1 and free.memory.grow(1) == 101 * PAGE


def test_each_memory(way: str) -> None:
    """Of several memories each has the limit for itself, from the start and when it grows."""
    text = """(module (memory $a (export "a") 1) (memory $b (export "b") 1)
      (func (export "grow") (param i32) (result i32)
        (drop (memory.grow $a (local.get 0))) (memory.grow $b (local.get 0))))"""
    limited = Guest(wat(text), engine="wasmtime", memory_limit=2 * PAGE)
    assert [limited.exports.grow(pages) for pages in (1, 1)] == [1, -1]
    assert [limited.exports[name].size for name in ("a", "b")] == [2 * PAGE, 2 * PAGE]
    with pytest.raises(MemoryLimitError, match=f"memory_limit is {2 * PAGE}"):
        limited.exports.b.grow(1)
    with pytest.raises(
        MemoryLimitError, match="asks for a memory of 131072 bytes, and memory_limit is 65536"
    ):
        Guest(wat("(module (memory 1) (memory 2))"), engine="wasmtime", memory_limit=PAGE)


def test_tables(way: str) -> None:
    """The same for tables."""
    limited, free = guest(table_limit=5), guest()
    assert limited.exports.grow_t(3) == 2 and limited.exports.grow_t(1) == -1
    with pytest.raises(TableLimitError, match="5 elements cannot grow by 1: table_limit is 5"):
        limited.exports.t.grow(1, None)
    assert len(limited.exports.t) == 5
    with pytest.raises(TableLimitError, match="asks for a table of 2 elements, and table_limit is 1"):
        guest(table_limit=1)
    assert free.exports.grow_t(1000) == 2


def test_references_count_as_memory(way: str) -> None:
    """A guest that hoards objects is stopped by memory_limit, and lets go of them when it is closed."""
    limited = guest(memory_limit=2 * PAGE)
    with pytest.raises(MemoryLimitError, match="memory_limit is 131072"):
        limited.exports.hoard()
    assert guest().exports.id(NULL) is NULL
    limited.close()
    with pytest.raises(ClosedError):
        limited.exports.id(1)


def test_references_have_room_within_a_small_limit(way: str) -> None:
    """A guest without a memory works where memories have no byte: references have 4 MiB, and beyond them
    tables do not grow."""
    text = """(module (table (export "t") 0 externref) (func (export "grow") (param externref i32)
      (result i32) (table.grow 0 (local.get 0) (local.get 1))))"""
    limited = Guest(wat(text), engine="wasmtime", memory_limit=0)
    thing = Thing()
    assert limited.exports.grow(thing, 1000) == 0 and limited.exports.t[999] is thing
    assert limited.exports.grow(thing, 1 << 20) == -1 and len(limited.exports.t) == 1000
    with pytest.raises(MemoryError, match="the table of 1000 elements cannot grow by 1048576"):
        limited.exports.t.grow(1 << 20, thing)
    roomy = Guest(wat(text), engine="wasmtime", memory_limit=64 << 20)
    assert roomy.exports.grow(thing, 1 << 20) == 0
    with pytest.raises(MemoryLimitError, match="asks for a memory of 65536 bytes, and memory_limit is 0"):
        Guest(wat("(module (memory 1))"), engine="wasmtime", memory_limit=0)


def test_limit_and_maximum_of_a_table(way: str) -> None:
    """The smaller of the two holds; a guest that imports the table sees the maximum that it declares."""
    text = """(module (table (export "t") 1 {} externref) (func (export "grow") (param i32) (result i32)
      (table.grow 0 (ref.null extern) (local.get 0))))"""
    for maximum, most in ((3, 3), (9, 5)):
        limited = Guest(wat(text.format(maximum)), engine="wasmtime", table_limit=5)
        other = f"""(module (import "a" "t" (table 1 {maximum} externref)) (func (export "grow") (param i32)
          (result i32) (table.grow 0 (ref.null extern) (local.get 0))))"""
        sharing = Guest(wat(other), {"a": limited.exports})
        assert limited.exports.grow(most) == sharing.exports.grow(most) == -1
        assert sharing.exports.grow(most - 1) == 1 and limited.exports.grow(1) == -1


def test_deadline(way: str) -> None:
    """A call that does not end is stopped in time, again and again; fast calls are not touched."""
    limited, free = guest(deadline=0.1), guest()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(
            DeadlineError, match=r"spin\(\) was stopped: it took longer than its deadline of 0.1 s"
        ):
            limited.exports.spin()
        assert 0.09 < time.monotonic() - began < 5
        thing = Thing()
        assert limited.exports.id(thing) is thing is free.exports.id(thing)
    with pytest.raises(DeadlineError):
        limited.exports.spin_host()
    time.sleep(0.3)  # the time between calls does not count
    assert limited.exports.call(3) == 3


def test_deadline_of_nested_calls(way: str) -> None:
    """The outermost call's time is what counts; a host function may see the exception, but cannot extend
    it."""
    seen: list[BaseException] = []

    def h(n: int) -> int:
        if n == 2:
            try:
                limited.exports.spin()
            except DeadlineError as e:
                seen.append(e)
        return n

    limited = Guest(
        wat("""(module (import "e" "h" (func $h (param i32) (result i32)))
        (func (export "spin") (loop $l (br $l)))
        (func (export "outer") (drop (call $h (i32.const 2))) (loop $l (br $l))))"""),
        {"e": {"h": h}},
        engine="wasmtime",
        deadline=0.1,
    )
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="outer"):
        limited.exports.outer()
    assert len(seen) == 1 and time.monotonic() - began < 5


def test_fuel(way: str) -> None:
    """A call may burn so much; the next one gets the same again."""
    limited, free = guest(fuel=10_000), guest()
    for _ in range(2):
        with pytest.raises(FuelError, match=r"spin\(\) was stopped: it burnt all its fuel, which was 10000"):
            limited.exports.spin()
        for _ in range(5000):
            assert limited.exports.call(1) == 1
    assert free.exports.call(2) == 2


def test_all_limits_at_once(way: str) -> None:
    """They do not get into each other's way."""
    limited = guest(memory_limit=4 * PAGE, table_limit=10, deadline=30, fuel=1000)
    with pytest.raises(FuelError):
        limited.exports.spin()
    assert limited.exports.grow(9) == -1 and limited.exports.grow_t(9) == -1


BULK = wat(
    """(module (memory (export "memory") 1) (table $refs (export "refs") 1 externref) (table $funcs 1 funcref)
    (func (export "memory_grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "refs_grow") (param i32) (result i32) (table.grow $refs (ref.null extern) (local.get 0)))
    (func (export "funcs_grow") (param i32) (result i32)
      (table.grow $funcs (ref.null func) (local.get 0))))"""
)


@pytest.mark.parametrize("limit", [{"deadline": 60.0}, {"fuel": 1 << 40}])
def test_no_instruction_is_endless(way: str, limit: dict[str, float]) -> None:
    """A deadline or fuel brings limits of memory and tables, as a guest is not stopped within an instruction
    that grows, fills or copies one; they can be set to others."""
    for limited in (
        Guest(BULK, engine="wasmtime", **limit),  # type: ignore[arg-type]
        Guest(BULK, hiwire=Hiwire(engine="wasmtime", **limit)),  # type: ignore[arg-type]
    ):
        call = limited.exports
        assert call.memory_grow(MEMORY_DEFAULT // PAGE) == -1 and call.memory_grow(10) == 1
        assert call.refs_grow(1 << 31) == call.funcs_grow(1 << 31) == -1
        assert call.funcs_grow(TABLE_DEFAULT) == -1 and call.funcs_grow(10) == call.refs_grow(10) == 1
        with pytest.raises(
            MemoryLimitError, match=f"is {MEMORY_DEFAULT}, as for all with a deadline or fuel"
        ):
            limited.memory.grow(MEMORY_DEFAULT // PAGE)
        with pytest.raises(TableLimitError, match="give table_limit to have another"):
            call.refs.grow(TABLE_DEFAULT, NULL)
    with pytest.raises(MemoryLimitError, match="give memory_limit"):
        Guest(wat("(module (memory 4097))"), engine="wasmtime", **limit)  # type: ignore[arg-type]
    with pytest.raises(TableLimitError, match="give table_limit"):
        Guest(wat("(module (table 4194305 funcref))"), engine="wasmtime", **limit)  # type: ignore[arg-type]


def test_limits_that_a_deadline_brings_can_be_others(way: str) -> None:
    """Those that are given count, also where they are more."""
    roomy = guest(deadline=60, memory_limit=8192 * PAGE, table_limit=TABLE_DEFAULT + 2)
    assert roomy.exports.grow(8191) == 1 and roomy.exports.grow(1) == -1
    assert roomy.exports.grow_t(TABLE_DEFAULT) == 2 and roomy.exports.grow_t(1) == -1
    shared = Guest(BULK, hiwire=Hiwire(engine="wasmtime", deadline=60, memory_limit=8192 * PAGE))
    assert shared.exports.memory_grow(8191) == 1 and shared.exports.memory_grow(1) == -1
    assert guest().exports.grow(8191) == 1


def test_start_functions_are_limited(way: str) -> None:
    """Also what runs when the guest is made."""
    spin = wat("(module (func $s (loop $l (br $l))) (start $s))")
    with pytest.raises(FuelError, match="the start function of"):
        Guest(spin, engine="wasmtime", fuel=1000)
    with pytest.raises(DeadlineError, match="the start function of"):
        Guest(spin, engine="wasmtime", deadline=0.05)


def test_stopped_calls_leave_nothing_behind(way: str) -> None:
    """What a stopped guest had stored stays its own, the rest is released."""
    made: list[int] = []

    class Counted(Thing):
        def __del__(self) -> None:
            made.append(1)

    limited = Guest(
        wat("""(module (import "e" "make" (func $make (result externref))) (table (export "t") 1 externref)
        (func (export "f") (table.set 0 (i32.const 0) (call $make))
            (loop $l (drop (call $make)) (br $l))))"""),
        {"e": {"make": Counted}},
        engine="wasmtime",
        fuel=10_000,
    )
    with pytest.raises(FuelError):
        limited.exports.f()
    limited.collect()
    assert len(limited._instance.space.objects) == 1
    before = len(made)
    limited.exports.t[0] = NULL
    assert len(made) == before + 1


def test_tables_of_handles_have_deadlines() -> None:
    """Guests that share a table are limited by the table's limits, and cannot have their own."""
    table = Hiwire(engine="wasmtime", deadline=0.1)
    ref = table.new("x")
    sharing = Guest(MODULE, ENV, hiwire=table)
    with pytest.raises(DeadlineError):
        sharing.exports.spin()
    assert table.get(ref) == "x"
    with pytest.raises(ValueError, match="fuel: limits are those of a space"):
        Guest(MODULE, ENV, hiwire=table, fuel=1)


@pytest.mark.parametrize("name", ["memory_limit", "table_limit", "deadline", "fuel"])
def test_engines_without_limits_say_so(engine: str, name: str) -> None:
    """A limit that an engine does not have is an error that names both, not silence."""
    limits = {name: 1 << 20}
    if engine == "wasmtime":
        assert Guest(MODULE, ENV, engine=engine, **limits).exports.call(1) == 1  # type: ignore[arg-type]
        return
    with pytest.raises(EngineUnavailableError, match=f"{engine!r} has no {name}; .* is wasmtime"):
        Guest(MODULE, ENV, engine=engine, **limits)  # type: ignore[arg-type]


def test_engines_list_their_limits() -> None:
    """`engines` tells which engine has which."""
    found = {i.name: i.capabilities for i in engines()}
    assert found["wasmtime"] == ("deadline", "fuel", "memory_limit", "table_limit") and found["wasmer"] == ()


@pytest.mark.parametrize(
    ("limits", "error", "words"),
    [
        ({"memory_limit": -1}, ValueError, "memory_limit must be 0 or more"),
        ({"table_limit": 1.5}, TypeError, "table_limit must be an int, not float"),
        ({"fuel": True}, TypeError, "fuel must be an int, not bool"),
        ({"fuel": 1 << 63}, ValueError, "below 2"),
        ({"deadline": 0}, ValueError, "deadline must be more than 0"),
        ({"deadline": float("inf")}, ValueError, "finite"),
        ({"deadline": float("nan")}, ValueError, "finite"),
        ({"deadline": "1"}, TypeError, "number of seconds, not str"),
    ],
)
def test_limits_that_are_none(limits: dict[str, float], error: type[Exception], words: str) -> None:
    """Values that make no sense are refused by name."""
    with pytest.raises(error, match=words):
        guest(**limits)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (MemoryLimitError, "MemoryError"),
        (TableLimitError, "MemoryError"),
        (DeadlineError, "TimeoutError"),
        (FuelError, "RuntimeError"),
    ],
)
def test_exceptions_have_their_bases(error: type[Exception], builtin: str) -> None:
    """Code that does not know this package catches them as what they are."""
    assert issubclass(error, (GuestLimitError,)) and issubclass(error, HiwireError)
    assert issubclass(error, getattr(builtins, builtin))


class Clock:
    """Stands for an engine."""

    def __init__(self) -> None:
        self.ticks = 0

    def increment_epoch(self) -> None:
        self.ticks += 1

    def wait_for(self, ticks: int) -> None:
        end = time.monotonic() + 30
        while self.ticks < ticks and time.monotonic() < end:
            time.sleep(0.01)


def test_ticker_starts_late_and_rests() -> None:
    """No thread before the first deadline, and no ticks while no such call runs."""
    ticker, clock = Ticker(), Clock()
    assert not ticker.begun
    began = time.monotonic()
    ticker.start(1, clock)
    clock.wait_for(6)
    ticker.stop(1)
    assert ticker.begun and 6 <= clock.ticks <= (time.monotonic() - began) / TICK + 1
    time.sleep(0.05)
    count = clock.ticks
    time.sleep(0.1)
    assert clock.ticks == count


def test_stores_of_one_engine_share_its_ticks() -> None:
    """An engine advances once a tick, however many of its stores run calls: else each of their deadlines
    would come early."""
    ticker, shared, own = Ticker(), Clock(), Clock()
    for key in range(8):
        ticker.start(key, shared)
    ticker.start(8, own)
    own.wait_for(20)
    for key in range(7):
        ticker.stop(key)
    own.wait_for(own.ticks + 5)  # one call that still runs is enough
    for key in (7, 8):
        ticker.stop(key)
    assert 0 <= shared.ticks - own.ticks <= own.ticks / 2


_FORK = """
import os, sys
from hiwire_py import DeadlineError, Guest
from support import wat
spin = wat('(module (func (export "spin") (loop $l (br $l))))')
def stopped():
    try:
        Guest(spin, engine="wasmtime", deadline=0.05).exports.spin()
    except DeadlineError:
        return True
assert stopped()
child = os.fork()
if not child:
    os._exit(0 if stopped() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_deadlines_after_a_fork() -> None:
    """Threads do not come along into a child, so it starts its own."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORK],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
