"""A component made of Python code by componentize-py: CPython and its Rust runtime on this package's WASI.

componentize-py is no dependency, since it is large; where it is installed, or on PATH, this runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from wasi_support import PROGRAMS

from hiwire_py.components import Component
from hiwire_py.errors import GuestExit
from hiwire_py.wasi import ManualClock, Wasi

ENGINE = "wasmtime"  # its modules have extended constant expressions, which wasmer does not take


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Component:
    """The component of programs/python."""
    beside = Path(sys.executable).with_name("componentize-py")
    tool = str(beside) if beside.is_file() else shutil.which("componentize-py")
    if tool is None:
        pytest.skip("componentize-py is not here: pip install componentize-py")
    place = tmp_path_factory.mktemp("python")
    for name in ("app.py", "app.wit"):
        shutil.copy(PROGRAMS / "python" / name, place)
    made = [tool, "--wit-path", "app.wit", "--world", "app", "componentize", "app", "-o", "app.wasm"]
    subprocess.run(made, cwd=place, check=True, timeout=600)
    return Component(place / "app.wasm")


def test_python(app: Component, tmp_path: Path) -> None:
    """Streams, variables, clock, random numbers and files get to Python, and no socket."""
    wasi = Wasi(
        env={"A": "b"},
        stdin=b"from stdin",
        files={"/data": Wasi.directory(tmp_path, write=True)},
        clock=ManualClock(1234 * 10**9),
        random=lambda size: b"\x07" * size,
    )
    with app.instantiate(engine=ENGINE, wasi=wasi) as instance:
        assert instance["greet"]("you") == "hello you, from stdin"
        assert instance["system"]() == (["A=b"], 1234, b"\x07" * 4)
        assert instance["make"]("/data") == ["moved"]
        assert instance["reach-out"]() in ("PermissionError", "OSError")
    assert (wasi.stdout, wasi.stderr) == (b"printed you\n", b"to stderr\n")
    assert (tmp_path / "moved").read_text() == "by Python"


@pytest.mark.parametrize("status, code", [(0, 0), (1, 1)])
def test_exit(app: Component, status: int, code: int) -> None:
    """Python exits with a status."""
    with app.instantiate(engine=ENGINE, wasi=Wasi()) as instance, pytest.raises(GuestExit) as caught:
        instance["leave"](status)
    assert caught.value.code == code
