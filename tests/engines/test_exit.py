"""The end of a process whose threads are in the midst of guests and host functions."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from support import python_path, wat

from hiwire_py import Guest, Hiwire

MODULE = """(module (import "e" "f" (func $f))
  (func (export "once") (call $f)) (func (export "ever") (loop (call $f) (br 0))))"""


def _guest(engine: str, function: Callable[[], object]) -> Guest:
    return Guest(wat(MODULE), {"e": {"f": function}}, engine=engine)


def _daemons(engine: str) -> None:
    """Threads that never end by themselves: waiting in a host function, called by a guest over and over, or
    both, one guest inside another, and with tables."""
    never = threading.Lock()
    never.acquire()
    started = threading.Semaphore(0)

    def sleeps() -> None:
        started.release()
        time.sleep(0.3)  # wakes up when the interpreter is going down

    def waits() -> None:
        started.release()
        never.acquire()

    def rests() -> None:
        started.release()
        time.sleep(0.001)

    def nested() -> None:
        _guest(engine, rests).exports.ever()

    def table() -> None:
        handles = Hiwire(engine=engine)
        started.release()
        while True:
            handles.decref(handles.new(object()))

    def fails() -> None:
        started.release()
        raise LookupError

    def catches() -> None:
        guest = _guest(engine, fails)
        while True:
            with contextlib.suppress(LookupError):
                guest.exports.once()

    runs = [
        lambda: _guest(engine, sleeps).exports.ever(),
        lambda: _guest(engine, waits).exports.once(),
        lambda: _guest(engine, started.release).exports.ever(),
        lambda: _guest(engine, nested).exports.once(),
        table,
        catches,
    ]
    for run in runs:
        threading.Thread(target=run, daemon=True).start()
        started.acquire()


def _main(engine: str, way: str) -> None:
    guest = _guest(engine, lambda: print("at exit"))
    _daemons(engine)
    atexit.register(guest.exports.once)
    ends = {"end": lambda: None, "sys.exit": lambda: sys.exit(3), "os._exit": lambda: os._exit(4)}
    _guest(engine, ends[way]).exports.once()


@pytest.mark.parametrize(("way", "status"), [("end", 0), ("sys.exit", 3), ("os._exit", 4)])
def test_threads_that_never_end(engine: str, way: str, status: int) -> None:
    """A process ends as it is told to, quietly, whatever its daemon threads are doing; what is to be done at
    exit is done."""
    if engine == "wasmer" and importlib.util.find_spec("hiwire_py.engines._stack") is None:
        assert "compiled" not in os.environ.get("HIWIRE_REQUIRE_MODES", "").split(",")
        pytest.skip("wasmer: needs a module compiled at install; see docs/limits.md")
    run = subprocess.run(
        [sys.executable, __file__, engine, way],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
        timeout=120,
        check=False,
    )
    said = "" if way == "os._exit" else "at exit\n"
    assert (run.returncode, run.stdout, run.stderr) == (status, said, "")


if __name__ == "__main__":
    _main(*sys.argv[1:])
