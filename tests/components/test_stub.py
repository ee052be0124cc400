"""`hiwire stub`: type checkers take it and find mistakes by it, and it says what is there."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from component_tools import SHAPES, dummy, random_worlds
from support import ROOT, guest_file

from hiwire_py import Component, cli
from hiwire_py.components import InstanceNamespace, ResourceHandle
from hiwire_py.components.classes import Case

PROGRAM = """
import counters
from typing import assert_type

def program(name: str) -> None:
    with counters.instantiate(engine="wasmtime") as i:
        space = i["demo:counters/counters"]
        assert_type(i["demo:counters/counters@1.0.0"], counters.DemoCountersCounters)
        with space.Counter(3) as a, space.Counter(4) as b:
            assert_type(a, counters.DemoCountersCounters.Counter)
            assert_type(a.add(1), int)
            assert_type(space.Counter.merge(a, b), counters.DemoCountersCounters.Counter)
        stats = space.get_stats()
        assert_type(stats.last, int | None)
        assert_type(space.highest([a]), int)
        i[name]
"""
MISTAKES = """
import counters

i = counters.instantiate()
space = i["demo:counters/counters"]
space.Counter("three")
space.Counter(3).sub(1)
space.highest([1])
space.get_stats().last + 1
counters.instantiate(engine=1)
"""


def check(folder: Path, *files: str) -> str:
    """What mypy --strict says of files in a folder; skip with the reason where it is not here."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not here: it is installed for the tests on Python 3.11 to 3.14")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11"]
    # Only what is asked for: the package itself is checked elsewhere.
    command += ["--follow-imports=silent", "--config-file=", f"--cache-dir={folder / 'cache'}", *files]
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True).stdout


def test_mypy_takes_it_and_finds_mistakes(tmp_path: Path) -> None:
    """A program that uses a component by its stub passes mypy --strict; wrong arguments, a method that is not
    there, and an option used as a value are found."""
    (tmp_path / "counters.wasm").write_bytes(guest_file("counters"))
    stub = tmp_path / "counters.pyi"
    assert cli.main(["stub", str(tmp_path / "counters.wasm"), "-o", str(stub)]) == 0
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    assert "Success" in check(tmp_path, "counters.pyi", "program.py")
    lines = [line for line in check(tmp_path, "mistakes.py").splitlines() if ": error: " in line]
    assert [int(line.split(":")[1]) for line in lines] == [6, 7, 8, 9, 10]


def test_mypy_takes_all_types(tmp_path: Path) -> None:
    """Stubs of all kinds of types, names that are Python's own, and random worlds pass mypy --strict."""
    clashing = """package demo:names;
        interface names {
            record types { int: list<u8>, str: string, %list: list<string>, %tuple: tuple<u8, bool> }
            resource self { constructor(self: string); %static: static func(int: u8) -> list<u16>; }
            %list: func(%list: list<list<u8>>, abc: option<option<string>>) -> types;
            get: func() -> result<result<u8>, string>;
            optional: func(dataclass: %self) -> option<%self>;
        }
        interface other { use names.{types, %self}; f: func(t: types) -> %self; }
        world w { import names; import other; export names; export other; }"""
    worlds = [dummy(tmp_path, SHAPES, "everything"), dummy(tmp_path, clashing, "w")]
    for seed in range(6):
        worlds += random_worlds(tmp_path, seed)
    files = []
    for number, world in enumerate(worlds):
        files.append(f"world{number}.pyi")
        (tmp_path / files[-1]).write_text(Component(world).stub())
    assert f"Success: no issues found in {len(worlds)} source files" in check(tmp_path, *files)


@pytest.mark.parametrize("name", ["counters", "shapes"])
def test_it_says_what_is_there(name: str, tmp_path: Path) -> None:
    """The classes and functions of a stub are those of an instance, with as many parameters."""
    wasm = guest_file("counters") if name == "counters" else dummy(tmp_path, SHAPES, "exports")
    component = Component(wasm)
    tree = ast.parse(component.stub())
    (made,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    real = [name for name in inspect.signature(Component.instantiate).parameters if name != "self"]
    assert [one.arg for one in (*made.args.args, *made.args.kwonlyargs)] == real
    instance = component.instantiate(engine="wasmtime")
    spaces = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    seen = 0
    for name, space in instance.items():
        if isinstance(space, InstanceNamespace):
            node = spaces["".join(map(str.capitalize, name.partition("@")[0].replace(":", "/").split("/")))]
            compare(node, space, {key for key in vars(space) if not key.startswith("_")})
            seen += 1
    assert seen
    instance.close()


def compare(node: ast.ClassDef, real: Any, names: set[str]) -> None:
    """Check that a class of the stub has just these names, and what they stand for."""
    found = {}
    for item in node.body:
        if isinstance(item, (ast.ClassDef, ast.FunctionDef)):
            found[item.name] = item
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            found[item.targets[0].id] = item  # type: ignore[assignment]
    assert found.keys() - {"__init__"} == names, node.name
    for name, item in found.items():
        thing = getattr(real, name)
        if isinstance(item, ast.FunctionDef):
            assert parameters(item) == 1 + len(inspect.signature(thing).parameters), name
        elif isinstance(item, ast.ClassDef):
            compare_class(item, thing)
        else:
            assert isinstance(thing, type)


def parameters(function: ast.FunctionDef) -> int:
    """How many parameters it has, ``self`` included."""
    return len(function.args.posonlyargs) + len(function.args.args)


def compare_class(node: ast.ClassDef, real: type) -> None:
    """The same for the class of a type."""
    fields = [item.target.id for item in node.body if isinstance(item, ast.AnnAssign)
              and isinstance(item.target, ast.Name)]  # fmt: skip
    base = node.bases[0].id if node.bases and isinstance(node.bases[0], ast.Name) else ""
    if base == "_ResourceHandle":
        assert issubclass(real, ResourceHandle)
        own = {name for name in vars(real) if not name.startswith("_")}
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        assert methods - {"__init__"} == own
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name != "__init__":
                thing = getattr(real, item.name)
                assert parameters(item) == len(inspect.signature(thing).parameters)
    elif base in ("_Enum", "_Flag"):
        members = {item.targets[0].id: ast.literal_eval(item.value) for item in node.body
                   if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)}  # fmt: skip
        assert members == {one.name: one.value for one in real}  # type: ignore[attr-defined]
    elif base == "_Case":
        assert issubclass(real, Case)
        cases = [item for item in node.body if isinstance(item, ast.ClassDef)]
        assert [case.name for case in cases] == [case.__name__ for case in real.cases]
        for case, class_ in zip(cases, real.cases):
            compare_class(case, class_)
    else:
        assert fields == list(getattr(real, "__match_args__", ()))
