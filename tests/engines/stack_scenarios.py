"""Recursion in a thread with a stack of some size. Run by test_threads.py, in a process of its own:

python stack_scenarios.py ENGINE KIB compiled|plain NAME...
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

if sys.argv[3] == "plain":
    sys.modules["hiwire_py.engines._stack"] = None  # type: ignore[assignment]

from support import wat

from hiwire_py import EngineUnavailableError, Guest, GuestTrap, Hiwire

MODULE = wat("""(module (import "e" "h" (func $h (param i32) (result i32)))
  (func $r (export "recurse") (param i32) (result i32) (i32.add (i32.const 1) (call $r (local.get 0))))
  (func (export "call") (param i32) (result i32) (call $h (local.get 0)))
  (func $down (export "down") (param i32) (result i32) (if (result i32) (local.get 0)
    (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
    (else (call $h (i32.const 0))))))""")
engine = sys.argv[1]


def guest(function: Callable[[int], int]) -> Guest:
    return Guest(MODULE, {"e": {"h": function}}, engine=engine)


def ends(function: Callable[..., Any], *args: int) -> None:
    try:
        function(*args)
    except (GuestTrap, RecursionError) as error:
        if isinstance(error, GuestTrap) and error.kind != "call stack exhausted":
            raise
        print(type(error).__name__)
    else:
        raise AssertionError("it did not end")


def recursion() -> None:
    one = guest(abs)
    for _ in range(3):
        ends(one.exports.recurse, 0)


def host() -> None:
    one: Guest = guest(lambda n: one.exports.call(n))
    for _ in range(3):
        ends(one.exports.call, 0)


def _chain(name: str, argument: int) -> Guest:
    guests: list[Guest] = []
    for i in range(50):
        guests.append(
            guest(lambda n, i=i: guests[i + 1].exports[name](argument) if i < 49 else n)  # type: ignore[misc]
        )
    return guests[0]


def spaces() -> None:
    for _ in range(2):
        ends(_chain("call", 1).exports.call, 1)


def deep_spaces() -> None:
    for levels in (500, 4000, 12000):
        ends(_chain("down", levels).exports.down, levels)


def finalizer() -> None:
    one = guest(abs)

    class Last:
        def __del__(self) -> None:
            ends(one.exports.recurse, 0)

    held = [Last()]

    def let_go(n: int) -> int:
        held.clear()
        return n

    guest(let_go).exports.call(1)
    assert not held


def refused() -> None:
    for function in (lambda: guest(abs), lambda: Hiwire(engine=engine)):
        try:
            function()
        except EngineUnavailableError as error:
            assert "threading.stack_size" in str(error)
    print("EngineUnavailableError")


failed = [True]


def main() -> None:
    for name in sys.argv[4:]:
        globals()[name]()
        print(name, flush=True)
    failed.clear()


threading.stack_size(int(sys.argv[2]) << 10)
thread = threading.Thread(target=main)
thread.start()
thread.join()
sys.exit(bool(failed))
