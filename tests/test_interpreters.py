"""In a subinterpreter the package says at its import that it cannot be used there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hiwire_py import engines

SCRIPT = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
if sys.argv[1:] == ["main"]:
    import hiwire_py
legacy = {"config": "legacy"} if sys.version_info >= (3, 13) else {"isolated": False}
for one in (interpreters.create(**legacy), interpreters.create()):
    failed = interpreters.run_string(one, '''
try:
    import hiwire_py
except ImportError as error:
    assert "hiwire_py cannot be imported in a subinterpreter" in str(error), error
    assert "or start another process" in str(error)
else:
    raise AssertionError("hiwire_py was imported")
''')
    assert failed is None, failed
    interpreters.destroy(one)
if sys.argv[1:] == ["main"]:
    for engine in hiwire_py.engines():
        if engine.available:
            table = hiwire_py.Hiwire(engine=engine.name)
            assert table.get(table.new("x")) == "x"
"""


@pytest.mark.parametrize("first", ["", "main"])
def test_subinterpreters(first: str) -> None:
    """Both kinds are refused, also where the main interpreter has imported the package; that one goes on."""
    assert any(engine.available for engine in engines())
    subprocess.run([sys.executable, "-c", SCRIPT, *first.split()], check=True, timeout=60)
