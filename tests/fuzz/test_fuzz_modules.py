"""Some of the modules of scripts/fuzz_modules.py on each engine; and what that script must find.

``HIWIRE_FUZZ_MODULES`` says how many (40). All 20,000 take the script itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "fuzz_modules.py"
COUNT = os.environ.get("HIWIRE_FUZZ_MODULES", "40")


def fuzz(tmp_path: Path, *options: str, **variables: str) -> tuple[int, str]:
    """The script's exit status and what it printed."""
    command = [sys.executable, str(SCRIPT), "--jobs", "1", "--keep", str(tmp_path), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=540, env={**os.environ, **variables}
    )
    return done.returncode, done.stdout + done.stderr


def test_no_faults(engine: str, tmp_path: Path) -> None:
    """Nothing crashes, hangs, raises what it should not, or differs from plain wasmtime."""
    status, said = fuzz(tmp_path, "--engine", engine, "--count", COUNT, "--first", "500")
    assert status == 0, said
    assert f"{engine}: {int(COUNT):,} modules from 500, 0 faults" in said
    assert " ran" in said and " refused" in said


@pytest.mark.parametrize(
    ("how", "found"),
    [("die", "SIGSEGV"), ("hang", "hangs in"), ("raise", "KeyError"), ("lie", "differs")],
)
def test_what_must_be_found(how: str, found: str, tmp_path: Path) -> None:
    """A package that dies, hangs, raises another exception, or reads zeros is found out, and the module
    kept."""
    status, said = fuzz(
        tmp_path, "--engine", "wasmtime", "--count", "30", HIWIRE_FUZZ_SABOTAGE=how, HIWIRE_FUZZ_SECONDS="1"
    )
    assert status == 1
    assert found in said
    assert list(tmp_path.glob("wasmtime-*.wasm"))
