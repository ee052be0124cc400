"""What children of os.fork do with guests. Run by test_threads.py, in a process of its own:

python fork_scenarios.py ENGINE
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

from support import wat

from hiwire_py import DeadlineError, EngineUnavailableError, Guest, Hiwire

engine = sys.argv[1]
REFUSED, PATIENCE = 7, 60
# Two functions each: a compiler with threads uses them for more than one.
MODULES = [
    wat(f"""(module (import "e" "h" (func $h (param i32) (result i32)))
    (func $two (param i32) (result i32) (i32.add (local.get 0) (i32.const {i})))
    (func (export "f") (param i32) (result i32) (call $h (call $two (local.get 0)))))""")
    for i in range(9)
]


def use(number: int) -> int:
    result: int = Guest(MODULES[number], {"e": {"h": abs}}, engine=engine).exports.f(1)
    assert result == 1 + number
    return result


def child(name: str, function: Callable[[], object]) -> None:
    """Fork, and say how the child ended."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        signal.alarm(PATIENCE)
        try:
            function()
            os._exit(0)
        except EngineUnavailableError as error:
            assert "os.fork" in str(error) and "spawn" in str(error)
            os._exit(REFUSED)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(f"{name}:{ {0: 'ok', REFUSED: 'refused'}.get(code, code) }", flush=True)


def work(number: int) -> str:
    try:
        use(number)
    except EngineUnavailableError:
        return "refused"
    return "ok"


def in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


if __name__ == "__main__":
    use(0)
    table = Hiwire(engine=engine)
    old = Guest(MODULES[0], {"e": {"h": abs}}, hiwire=table)

    def use_old() -> None:
        assert old.exports.f(2) == 2
        assert table.get(table.new("x")) == "x"
        assert Guest(MODULES[2], {"e": {"h": abs}}, hiwire=table).exports.f(1) == 3

    def within(n: int) -> int:
        child("within", lambda: use(3))
        return n

    def from_a_thread() -> None:
        def both() -> None:
            use(0)
            in_thread(lambda: os._exit({"ok": 0, "refused": REFUSED}[work(4)]))

        use(0)
        child("thread", both)

    child("new", lambda: use(1))
    child("same", lambda: use(0))
    child("old", use_old)
    assert Guest(MODULES[0], {"e": {"h": within}}, engine=engine).exports.f(1) == 1
    if engine == "wasmtime":
        in_parent = os.getpid()
        spin = wat("""(module (import "e" "h" (func $h (param i32) (result i32)))
            (func (export "f") (drop (call $h (i32.const 0))) (loop $l (br $l))))""")

        def fork(n: int) -> int:
            return os.fork()

        try:
            Guest(spin, {"e": {"h": fork}}, engine=engine, deadline=0.2).exports.f()
        except DeadlineError:
            if os.getpid() != in_parent:
                os._exit(0)
        print("deadline:", os.waitstatus_to_exitcode(os.wait()[1]), sep="", flush=True)
    in_thread(from_a_thread)
    signal.alarm(PATIENCE)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print("pool:" + "+".join(sorted(set(pool.map(work, range(1, 6))))))
    signal.alarm(0)
    if engine != "wasmer":

        def parent() -> None:
            use(5)
            child("grandchild", lambda: use(6))

        child("child", parent)
