"""How long a large component takes to start, the first time and in later processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .foreign import FETCHED, NotMeasured
from .rows import Row, available
from .starts import against_the_first

__all__ = ["starts"]

# It makes components of programs in Python: CPython and the program, as its start has left them in memory.
PACKAGE = "componentize-py==0.25.1"
WIT = "package bench:large; world large { export double: func(number: u32) -> u32; }\n"
PROGRAM = """\
import wit_world

class WitWorld(wit_world.WitWorld):
    def double(self, number: int) -> int:
        return 2 * number
"""
GOAL = "1 s"

# What it imports is WASI, which is of no use before a function is called: each import gets a stand-in. The
# engine is imported first, which is not what is measured.
START = """
import os, sys
from hiwire_py.components import Component, HostResource
from hiwire_py.components.plan import FunctionExport, InstanceExports
from hiwire_py.components.types import Resource
from hiwire_py.engines import get_engine
path, engine = sys.argv[1:]
get_engine(engine)

def stand_in(one):
    if isinstance(one, InstanceExports):
        return {name: stand_in(item) for name, item in one.items.items()}
    return HostResource(object) if isinstance(one, Resource) else lambda *args: 0

begin = sum(os.times()[:4])
component = Component(path)
instance = component.instantiate({n: stand_in(one) for n, one in component.imports.items()}, engine=engine)
print(sum(os.times()[:4]) - begin)
"""


def starts() -> Iterator[Row]:
    """A component of 18 MB in a later process, against the first: CPython as componentize-py makes it."""
    name = "a component of 18 MB on {}, in a later process / in the first"
    try:
        path = made()
    except NotMeasured as e:
        yield Row(name.format("each engine"), GOAL, note=f"not measured: {e}")
        return
    for engine in available():
        if engine == "native":
            yield Row(name.format(engine), GOAL, note="not measured: gcc takes more than 20 minutes for it")
        else:
            yield against_the_first(name.format(engine), path, engine, START, GOAL)


def made() -> Path:
    """The component; it stays in build/bench-modules.

    Raises:
        NotMeasured: it is not there, and what makes it cannot be had.
    """
    target = FETCHED / f"{PACKAGE.replace('==', '-')}.wasm"
    if target.exists():
        return target
    FETCHED.mkdir(parents=True, exist_ok=True)
    tools = FETCHED / PACKAGE.replace("==", "-")
    if not tools.exists():
        run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tools), PACKAGE])
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "large.wit").write_text(WIT)
        (place / "program.py").write_text(PROGRAM)
        env = {**os.environ, "PYTHONPATH": str(tools)}
        script = "from componentize_py import script; script()"
        command = [sys.executable, "-c", script, "-d", "large.wit", "-w", "large"]
        run([*command, "bindings", "."], cwd=place, env=env)
        run([*command, "componentize", "program", "-o", "large.wasm"], cwd=place, env=env)
        target.write_bytes((place / "large.wasm").read_bytes())
    return target


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command that makes something.

    Raises:
        NotMeasured: it failed.
    """
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise NotMeasured(f"{PACKAGE} cannot be installed or run: {said[-200:]}")
