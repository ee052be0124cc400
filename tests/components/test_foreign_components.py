"""Components in Python and JavaScript, made by componentize-py and componentize-js, which `make test-foreign`
fetches from PyPI and npm.

Both are of the same world, foreign/texts.wit, and do the same. They have an interpreter inside, of 10 MB, and
import WASI. What they give is what they give with `wasmtime.component`.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from component_builds import Hiwire, Reference, neutral, outcome, same_cause
from support import use_engine

from hiwire_py.components import Component
from hiwire_py.errors import ComponentError, GuestTrap
from hiwire_py.wasi import Wasi

pytestmark = pytest.mark.skipif(
    not os.environ.get("HIWIRE_TEST_FOREIGN"),
    reason="it fetches tools of others: make test-foreign, or HIWIRE_TEST_FOREIGN=1",
)

SOURCES = Path(__file__).resolve().parent / "foreign"
FETCHED = Path(__file__).resolve().parents[2] / "build" / "foreign"
COMPONENTIZE_PY, COMPONENTIZE_JS = "componentize-py==0.25.1", "@bytecodealliance/componentize-js@0.23.0"
TEXTS = "demo:texts/texts"


def run(*command: object, cwd: Path | None = None) -> None:
    """A command, which has to succeed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stderr[-3000:]}"


def made(kind: str, sources: list[Path], make: Callable[[Path], None]) -> bytes:
    """What a tool makes of sources; kept in build/foreign until they change."""
    target = FETCHED / f"{kind}.wasm"
    newest = max(path.stat().st_mtime for path in sources)
    if not target.exists() or target.stat().st_mtime < newest:
        make(target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)
    return target.read_bytes()


@functools.cache
def in_python() -> bytes:
    """The component in Python."""
    folder = FETCHED / COMPONENTIZE_PY

    def make(target: Path) -> None:
        if not (folder / "done").exists():
            run(sys.executable, "-m", "venv", "--clear", folder)
            run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", COMPONENTIZE_PY)
            (folder / "done").touch()
        world = ("--wit-path", SOURCES / "texts.wit", "--world", "program")
        app = ("--python-path", SOURCES / "python", "app", "--output", target)
        run(folder / "bin" / "componentize-py", *world, "componentize", *app)

    return made("python", [*(SOURCES / "python").glob("*.py"), SOURCES / "texts.wit"], make)


@functools.cache
def in_javascript() -> bytes:
    """The component in JavaScript."""
    npm, node, folder = shutil.which("npm"), shutil.which("node"), FETCHED / "componentize-js"
    if npm is None or node is None:
        pytest.fail("npm and node are needed to make components; on Debian: apt-get install npm")

    def make(target: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "done").exists():
            run(npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", COMPONENTIZE_JS, cwd=folder)
            (folder / "done").touch()
        shutil.copy(SOURCES / "make.mjs", folder)
        run(node, "make.mjs", SOURCES / "app.js", SOURCES / "texts.wit", "program", target, cwd=folder)

    return made("javascript", [SOURCES / name for name in ("app.js", "make.mjs", "texts.wit")], make)


MAKERS = {"python": in_python, "javascript": in_javascript}


@pytest.fixture(params=MAKERS)
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["wasmer", "wasmtime"])
def engine(request: pytest.FixtureRequest) -> str:
    """The engines that compile an interpreter in a minute; native takes a C compiler very much longer."""
    return use_engine(request.param)


class Log:
    """The host's side, which numbers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.imports = {"demo:texts/log": {"write": self.write}}

    def write(self, level: Any, text: str) -> int:
        self.told.append((neutral(level), text))
        return len(self.told)


def scenario(side: Any) -> list[Any]:
    """Calls of everything that the world has."""
    found: list[Any] = []

    def call(*path: str, args: tuple[Any, ...] = ()) -> None:
        kind, value = outcome(side.call(*path), *args)
        assert kind == "value", (path, value)
        found.append(bytes(value) if path[-1] == "bytes-of" else value)

    for text in ("a b a ü€😀 b", "", "x" * 1000, "é" * 1001):
        call(TEXTS, "counted", args=(text,))
    for number in (0, 1, 2**64 - 2):
        call(TEXTS, "bytes-of", args=(number,))
    call("greet", args=("wörld",))
    call("greet", args=("again",))
    make = side.call(TEXTS, "[constructor]tally")
    tallies = [make(start) for start in (5, -3, 40)]
    call(TEXTS, "[method]tally.add", args=(tallies[0], 10))
    call(TEXTS, "[method]tally.add", args=(tallies[1], -(2**31) + 3))
    call(TEXTS, "[static]tally.largest", args=(tallies,))
    call(TEXTS, "[static]tally.largest", args=([],))
    return found


def test_results(language: str, engine: str) -> None:
    """Every function gives what it does with wasmtime, and the host is told the same."""
    wasm = MAKERS[language]()
    ours, theirs = Log(), Log()
    assert scenario(Hiwire(wasm, engine, ours.imports, Wasi())) == scenario(Reference(wasm, theirs.imports))
    assert ours.told == theirs.told == [("warning", "greeting wörld"), ("warning", "greeting again")]


def test_classes(language: str, engine: str) -> None:
    """The same by the classes of the component's types; what is dropped does not break anything."""
    log = Log()
    instance = Hiwire(MAKERS[language](), engine, log.imports, Wasi()).instance
    texts = instance[TEXTS]
    assert texts.counted("a b a") == [texts.Count("a", 2), texts.Count("b", 1)]
    with pytest.raises(ComponentError) as caught:
        texts.counted("")
    assert caught.value.payload == texts.Failure.Empty()
    with texts.Tally(5) as tally:
        assert tally.add(10) == 15 and texts.Tally.largest([tally, texts.Tally(20)]) == 20
    for number in range(200):
        assert texts.Tally(number).add(1) == number + 1


def test_failure(language: str, engine: str) -> None:
    """A program that fails says why on its standard error, and traps by the same cause as with wasmtime."""
    wasm, wasi = MAKERS[language](), Wasi()
    ours = outcome(Hiwire(wasm, engine, Log().imports, wasi).call("fail"))
    theirs = outcome(Reference(wasm, Log().imports).call("fail"))
    assert ours[0] == theirs[0] == "trap" and same_cause(ours[1], theirs[1])
    assert b"this program fails" in wasi.stderr


def test_host_function_raises(language: str, engine: str) -> None:
    """What a host function raises comes through the interpreter as itself."""
    raised = LookupError("mine")

    def write(level: Any, text: str) -> int:
        raise raised

    instance = Hiwire(MAKERS[language](), engine, {"demo:texts/log": {"write": write}}, Wasi()).instance
    with pytest.raises(LookupError) as caught:
        instance["greet"]("you")
    assert caught.value is raised
    with pytest.raises(GuestTrap, match="cannot enter component instance"):
        instance["greet"]("you")


def test_without_a_system(language: str) -> None:
    """Without a `Wasi`, what is missing is named."""
    with pytest.raises(ValueError, match="imports what it was not given: 'wasi:"):
        Component(MAKERS[language]()).instantiate(Log().imports, engine=use_engine("wasmtime"))
