"""Greenlets under gevent's patches. Run by test_threads.py, in a process of its own:

python gevent_scenarios.py ENGINE before|after
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

if sys.argv[2] == "before":
    import gevent.monkey

    gevent.monkey.patch_all()

from support import wat

from hiwire_py import DeadlineError, Guest, WrongThreadError
from hiwire_py.engines import get_engine

if sys.argv[2] == "after":
    import gevent.monkey

    gevent.monkey.patch_all()
import gevent
from gevent.threadpool import ThreadPool

engine = sys.argv[1]
MODULE = wat("""(module (import "e" "h" (func $h (param i32) (result i32)))
    (func (export "number") (param i32) (result i32) (local.get 0))
    (func (export "spin") (loop $l (br $l)))
    (func (export "call") (param i32) (result i32) (call $h (local.get 0))))""")


def waiting(n: int) -> int:
    gevent.sleep(0.01)
    return n


def other_thread() -> str:
    try:
        guest.exports.number(1)
    except WrongThreadError as error:
        assert "belongs to the thread" in str(error)
        return "refused"
    return "taken"


guest = Guest(MODULE, {"e": {"h": waiting}}, engine=engine)
outcomes: dict[str, list[Any]] = {"results": [], "refused": []}


def work(n: int) -> None:
    assert get_engine(engine) is guest.instance.space.engine  # one for the thread, not for each greenlet
    for _ in range(3):
        try:
            outcomes["results"].append(guest.exports.call(n) == n)
        except WrongThreadError as error:
            assert "another greenlet" in str(error)
            outcomes["refused"].append(n)
            gevent.sleep(0.005)


gevent.joinall([gevent.spawn(work, n) for n in range(4)], raise_error=True)
assert outcomes["results"] and all(outcomes["results"]) and outcomes["refused"]
killed = gevent.spawn(guest.exports.call, 1)
gevent.sleep(0)
killed.kill()
assert guest.exports.number(7) == 7
assert ThreadPool(1).spawn(other_thread).get() == "refused"
if engine == "wasmtime":
    with contextlib.suppress(DeadlineError):
        Guest(MODULE, {"e": {"h": abs}}, engine=engine, deadline=0.05).exports.spin()
print("done")
