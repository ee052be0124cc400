"""Stacks of threads, nested spaces, children of fork, greenlets: what used to end the process, each in one
of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from support import python_path, wat

from hiwire_py import Guest
from hiwire_py.engines import stack
from hiwire_py.engines.wasmtime.modes import MODES

HERE = os.path.dirname(os.path.abspath(__file__))
MODULE = wat("""(module (import "e" "h" (func $h (param i32) (result i32)))
    (func (export "call") (param i32) (result i32) (call $h (local.get 0))))""")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
needs_greenlet = pytest.mark.skipif(
    importlib.util.find_spec("greenlet") is None, reason="greenlet is not installed"
)


def run(script: str, *args: str, **environment: str) -> list[str]:
    """What a script of this directory prints; it must not fail, hang, or be ended by a signal."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", os.path.join(HERE, script), *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path(), **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    return done.stdout.split()


@pytest.mark.parametrize("kilobytes", [128, 512, 8192])
def test_stacks(engine: str, kilobytes: int) -> None:
    """Recursion ends with an exception: of a guest, of guest and host, of spaces in each other, each deep by
    itself, and in finalizers."""
    names = ("recursion", "host", "spaces", "deep_spaces", "finalizer")
    said = run("stack_scenarios.py", engine, str(kilobytes), "compiled", *names)
    assert [name for name in said if name in names] == list(names)
    assert set(said) - set(names) <= {"GuestTrap", "RecursionError"}


@pytest.mark.parametrize("mode", list(MODES)[1:])
def test_stacks_without_a_compiler(mode: str) -> None:
    """The stack is looked at through ctypes where nothing could be compiled at install."""
    names = ("recursion", "host", "spaces", "deep_spaces")
    said = run("stack_scenarios.py", "wasmtime", "512", "plain", *names, HIWIRE_WASMTIME_MODE=mode)
    assert [name for name in said if name in names] == list(names)


@pytest.mark.parametrize("how", ["compiled", "plain"])
def test_stacks_that_are_too_small(engine: str, how: str) -> None:
    """Where an engine cannot be used at all, that is said before anything begins."""
    assert run("stack_scenarios.py", engine, "32", how, "refused") == ["EngineUnavailableError", "refused"]


@pytest.mark.skipif(not stack.COMPILED, reason="there is nothing to compare with: no C compiler was here")
def test_the_same_without_a_compiler() -> None:
    """ctypes finds what the compiled functions find."""
    found: list[tuple[tuple[int, int, int], tuple[int, int, int]]] = []

    def look() -> None:
        found.append((stack.look(), stack._look()))

    thread = threading.Thread(target=look)
    look()
    thread.start()
    thread.join()
    assert len(found) == 2
    for compiled, plain in found:
        assert compiled[1:] == plain[1:] and (compiled[0] >> 14) - (plain[0] >> 14) in (0, 1)


@needs_fork
def test_forks(engine: str) -> None:
    """Children make guests and use older ones, also those that were forked within a host function or in
    another thread; or are told at once why the engine cannot."""
    said = run("fork_scenarios.py", engine)
    refused = {"new", "old", "within", "thread", "pool"} if engine == "wasmer" else set()
    names = ["new", "same", "old", "within", "thread", "pool"]
    if engine == "wasmtime":  # a call with a deadline, forked in its midst
        assert "deadline:0" in said
        said.remove("deadline:0")
    expected = [f"{name}:{'refused' if name in refused else 'ok'}" for name in names]
    assert said == expected + ([] if engine == "wasmer" else ["grandchild:ok", "child:ok"])


@needs_greenlet
@pytest.mark.parametrize("names", [("entries", "order"), ("ends", "finalizers", "exit_")])
def test_greenlets(engine: str, names: tuple[str, ...]) -> None:
    """Guests are not entered from another greenlet while one is in a host function, nothing is lost by
    that, and a greenlet that is ended there ends its call."""
    assert "done" in run("greenlet_scenarios.py", engine, *names, "finished")


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
@pytest.mark.parametrize("when", ["before", "after"])
def test_gevent(engine: str, when: str) -> None:
    """Greenlets of a patched Python share their thread's guests, whenever it was patched; real threads do
    not."""
    assert run("gevent_scenarios.py", engine, when) == ["done"]


def test_asyncio(engine: str) -> None:
    """Tasks take turns between calls, and cannot within one: a host function has no way to wait."""
    order: list[int] = []

    def host(n: int) -> int:
        order.append(n)
        return n

    guest = Guest(MODULE, {"e": {"h": host}}, engine=engine)

    async def work(first: int) -> list[int]:
        results = []
        for n in range(first, first + 3):
            results.append(guest.exports.call(n))
            await asyncio.sleep(0)
        return results

    async def both() -> Any:
        return await asyncio.gather(work(0), work(10))

    assert asyncio.run(both()) == [[0, 1, 2], [10, 11, 12]]
    assert order == [0, 10, 1, 11, 2, 12]
