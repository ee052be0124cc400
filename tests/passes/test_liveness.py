"""What lowering finds out about locals and operands: against a search, and in time that fits the code."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from support import python_path, wat

from hiwire_py.passes.externref.liveness import CALL, GET, SET, Event, live_at_calls

SEED = int(os.environ.get("HIWIRE_FUZZ_SEED", "1"))
FUNCTIONS = int(os.environ.get("HIWIRE_FUZZ_CALLS", "600"))
_BLOCK, _LOOP, _IF = 0x02, 0x03, 0x04
_LOCALS = 4


def _random_events(r: random.Random, depth: int = 0, inside: int = 1) -> list[Event]:
    events: list[Event] = []
    for _ in range(r.randrange(1, 6)):
        kind = r.randrange(8)
        if kind < 3:
            events.append((r.choice((GET, GET, SET)), r.randrange(_LOCALS)))
        elif kind == 3:
            events.append((CALL, 0))
        elif kind == 4:
            events.append(("branch", r.randrange(inside)))
            if r.random() < 0.3:
                events.append(("stop", 0))
        elif depth < 5:
            op = r.choice((_BLOCK, _LOOP, _LOOP, _IF))
            events.append(("open", op))
            events += _random_events(r, depth + 1, inside + 1)
            if op == _IF and r.random() < 0.5:
                events.append(("else", 0))
                events += _random_events(r, depth + 1, inside + 1)
            events.append(("end", op))
    return events


def _ways(events: list[Event]) -> list[list[int]]:
    """For each event those that can come next."""
    opened: list[int] = []
    ends: dict[int, int] = {}  # open -> end
    elses: dict[int, int] = {}  # open -> else
    owners: dict[int, int] = {}  # else -> open
    inside: list[list[int]] = []  # the blocks around each event, the innermost last
    for i, (name, _) in enumerate(events):
        if name == "end" and opened:
            ends[opened.pop()] = i
        inside.append(list(opened))
        if name == "else":
            elses[opened[-1]] = i
            owners[i] = opened[-1]
        elif name == "open":
            opened.append(i)
    ways: list[list[int]] = []
    for i, (name, number) in enumerate(events):
        after = [i + 1]
        if name == "stop":
            after = []
        elif name == "else":
            after = [ends[owners[i]]]
        elif name == "open" and number == _IF:
            after.append(elses[i] + 1 if i in elses else ends[i])
        elif name == "branch":
            if number < len(inside[i]):
                block = inside[i][-1 - number]
                after.append(block if events[block][1] == _LOOP else ends[block])
            else:
                after.append(len(events))
        ways.append(after)
    return ways


def _searched(events: list[Event]) -> set[int]:
    """From each call, every way on until the local is set."""
    ways = _ways(events)
    found = set()
    for local in range(_LOCALS):
        waiting = [next_ for i, (name, _) in enumerate(events) if name == CALL for next_ in ways[i]]
        seen = set(waiting)
        while waiting:
            i = waiting.pop()
            if i >= len(events) or events[i] == (SET, local):
                continue
            if events[i] == (GET, local):
                found.add(local)
                break
            fresh = [next_ for next_ in ways[i] if next_ not in seen]
            seen.update(fresh)
            waiting += fresh
    return found & {n for name, n in events if name == SET}


def test_against_a_search() -> None:
    """The walk finds what a search along all ways finds, in random functions of nested blocks and loops."""
    r = random.Random(SEED)
    some = 0
    for n in range(FUNCTIONS):
        events = [*_random_events(r), ("end", 0)]
        expected = _searched(events)
        assert live_at_calls(events) == expected, f"seed {SEED}, function {n}: {events}"
        some += bool(expected)
    assert some > FUNCTIONS // 10


@pytest.mark.parametrize("depth", [1, 5, 8, 9, 40])
def test_loops_in_loops(depth: int) -> None:
    """A local that is read at the start of the outermost loop is live at the call in the innermost."""
    events: list[Event] = [("open", _LOOP), (GET, 0), (SET, 1)]
    for _ in range(depth - 1):
        events += [("open", _LOOP), ("branch", 1)]
    events += [(CALL, 0), (SET, 0), ("branch", 0), (GET, 1)]
    events += [("end", _LOOP)] * depth + [("end", 0)]
    found = live_at_calls(events)
    assert 1 in found
    assert _searched(events) <= found


# One function, or module, with 25,000 of something. It takes some ten seconds of processor time, and minutes
# where anything takes time in proportion to the square. How busy the machine is does not count.
_PROCESSOR_SECONDS = 90
_GROWTH = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
from support import wat
from hiwire_py.passes import lower

n = 25_000
imports = '(import "e" "n" (func $n (result externref))) (import "e" "s" (func $s (param externref)))'
operands = f'(func (export "f") {"(call $n)" * n} {"(call $s)" * n})'
sets = " ".join(f"(local.set {i} (call $n))" for i in range(n))
gets = " ".join(f"(call $s (local.get {i}))" for i in range(n))
locals_ = f'(func (export "f") (local {"externref " * n}) {sets} {gets})'
mixed = f'''(func (export "f") (local {"externref i32 " * (n // 2)})
    {" ".join(f"(local.set {2 * i} (call $n))" for i in range(n // 2))}
    {" ".join(f"(call $s (local.get {2 * i}))" for i in range(n // 2))})'''
older = " ".join(f"(local.get {i})" for i in range(n))
newer = " ".join(f"(call $s) (local.set {i} (call $n))" for i in range(n))
overtaken = f'(func (export "f") (local {"externref " * n}) {older} {newer})'
blocks = f'''(func (export "f") (param i32) {"(block (result externref) " * n} (call $n)
    {"(br_if 0 (local.get 0)) drop (call $n))" * n} (call $n) drop (call $s))'''
loops = f'''(func (export "f") (local externref externref)
    {"(loop (call $s (local.get 0)) (local.set 1 (call $n)) (br_if 0 (i32.const 0)) " * n} {")" * n}
    (call $s (local.get 1)))'''
labels = f'''(func (export "f") (param i32) (local externref) {"block " * n} (local.set 1 (call $n))
    (br_table {" ".join(map(str, range(n)))} (local.get 0)) {"end " * n} (call $s (local.get 1)))'''
segments = "(table 1 externref)" + "(elem (i32.const 0) externref (ref.null extern))" * n
nulls = f'(table {n} externref) (elem (i32.const 0) externref {"(ref.null extern)" * n})'
thunks = "(func $f (param externref))" + "(func (param externref))" * n + f'''(table {n} funcref)
    (elem (i32.const 0) func {" ".join(map(str, range(2, n)))})'''
parts = "".join(f'(export "{i}" (func $n)) (global (mut externref) (ref.null extern))' for i in range(n))
shapes = [operands, locals_, mixed, overtaken, blocks, loops, labels, segments, nulls, thunks, parts]
for number, shape in enumerate(shapes):
    print(number, len(lower(wat(f"(module {imports} {shape})"))), flush=True)
"""


def test_large_functions_and_modules() -> None:
    """Time grows with the code, not its square: live operands and locals, blocks, loops, labels, segments,
    exports, globals."""
    environment = {**os.environ, "PYTHONPATH": python_path()}
    run = subprocess.run(
        [sys.executable, "-c", _GROWTH, str(_PROCESSOR_SECONDS)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, (run.returncode, run.stdout, run.stderr[-2000:])
    assert len(run.stdout.splitlines()) == 11


def test_operands_in_dead_code() -> None:
    """Dead code can take any number of operands that are not there, and this takes no time and no memory."""
    text = """(module (type $a (array i32)) (import "e" "n" (func $n (result externref)))
      (func (export "f") (drop (ref.is_null (call $n))) unreachable array.new_fixed $a 4000000000 drop))"""
    # In a process of its own, whose processor time and memory are limited, as it could take all there is.
    code = """import resource, sys
from hiwire_py.passes import lower
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
print(len(lower(sys.stdin.buffer.read())))
"""
    environment = {**os.environ, "PYTHONPATH": python_path()}
    run = subprocess.run([sys.executable, "-c", code], input=wat(text), env=environment, capture_output=True)
    assert run.returncode == 0, (run.returncode, run.stderr[-2000:])
