"""scripts/dev.py, which `make` calls: which interpreters it takes, and what it says about the others."""

from __future__ import annotations

import importlib.util
import itertools
import re
import stat
import sys
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "dev.py"


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("hiwire_dev", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hiwire_dev", module)
    spec.loader.exec_module(module)
    return module


def fake(folder: Path, name: str, answer: str, status: int = 0) -> str:
    """A program that answers the probe as an interpreter would."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_which_pythons(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest patch of each final CPython from 3.10 on; others are left out, or named where a package is
    missing."""
    paths = [
        fake(tmp_path, "a", "3 13 0 final cpython -"),
        fake(tmp_path, "b", "3 10 4 final cpython -"),
        fake(tmp_path, "c", "3 10 13 final cpython -"),
        fake(tmp_path, "d", "3 9 18 final cpython -"),
        fake(tmp_path, "e", "3 14 0 candidate cpython -"),
        fake(tmp_path, "f", "3 12 0 final pypy -"),
        fake(tmp_path, "g", "3 11 2 final cpython ensurepip"),
        fake(tmp_path, "h", "pyenv: python3.12: command not found", 127),
    ]
    monkeypatch.setattr(dev, "candidates", lambda: paths)
    found = dev.find_pythons()
    assert [python.version for python in found.pythons] == [(3, 10, 13), (3, 13, 0)]
    assert found.rejected == [
        f"{paths[6]} (3.11.2): it lacks ensurepip; on Debian: apt-get install python3-venv"
    ]
    assert dev.choose(found).short == "3.10"
    assert dev.choose(found, newest=True).short == "3.13"


def test_hidden_ones_of_pyenv(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pyenv has installed counts, whether it is selected or not."""
    for version in ("3.10.13", "3.13.0"):
        folder = tmp_path / "versions" / version / "bin"
        folder.mkdir(parents=True)
        fake(folder, "python", f"{version.replace('.', ' ')} final cpython -")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [python.short for python in dev.find_pythons().pythons] == ["3.10", "3.13"]


def test_named_ones(dev: ModuleType) -> None:
    """`--on` chooses among those that are here, and ends with what is there where one is not."""
    found = dev.Found([dev.Python(f"/p{minor}", (3, minor, 1)) for minor in (10, 14, 15)])
    chosen, options = dev.named(found, ["--on", "3.15,3.14", "-k", "lru"])
    assert [python.short for python in chosen] == ["3.15", "3.14"] and options == ["-k", "lru"]
    assert [python.short for python in dev.named(found, ["--on", "newest"])[0]] == ["3.15"]
    assert dev.named(found, ["-k", "lru"]) == ([], ["-k", "lru"])
    with pytest.raises(SystemExit, match=r"no Python 3\.16 here; there is 3\.10, 3\.14, 3\.15, newest"):
        dev.named(found, ["--on", "3.14,3.16"])
    with pytest.raises(SystemExit, match=r"no Python newest here; there is 3\.10$"):
        dev.named(dev.Found(found.pythons[:1]), ["--on", "newest"])


def test_one_installation_is_enough(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has the packages of an extra, or of one with more, is used; what has fewer, or those of another
    setup.py, is added to."""
    for name in ("setup.py", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    ran: list[str] = []
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "works", lambda python: True)
    monkeypatch.setattr(dev, "call", lambda command, **options: ran.append(command[-1].rpartition("[")[2]))
    (tmp_path / ".venv-3.13").mkdir()
    python = dev.Python("/p13", (3, 13, 1))
    for extra in ("cli", "test", "cli", "test", "dev", "test", "cli"):
        dev.environment(python, extra)
    assert ran == ["cli]", "test]", "dev]"]
    (tmp_path / "setup.py").write_text("changed")
    dev.environment(python, "cli")
    dev.environment(python, "test")
    assert ran[3:] == ["cli]", "test]"]


def test_extras(dev: ModuleType) -> None:
    """Each has all that those before it have, in setup.py as it is."""
    needs = [
        {line for line in requires("hiwire_py") or [] if re.search(rf"extra == .{extra}.", line)}
        for extra in dev.EXTRAS
    ]
    names = [{re.split(r"[^\w-]", line)[0] for line in lines} for lines in needs]
    assert all(names) and all(fewer < more for fewer, more in itertools.pairwise(names))


def test_no_python(dev: ModuleType) -> None:
    """Without one there is a reason for each that was near."""
    with pytest.raises(SystemExit, match=r"no Python 3\.10 or newer can be used(.|\n)*it lacks venv"):
        dev.choose(dev.Found([], ["/usr/bin/python3 (3.11.2): it lacks venv"]))


@pytest.mark.parametrize(
    ("body", "status", "summary"),
    [
        ("def test(): pass", 0, "1 passed in"),
        ("def test(): assert False", 1, "1 failed in"),
        ("import os\ndef test(): os.abort()", 1, "CRASHED with status -6"),
    ],
)
def test_summary(dev: ModuleType, tmp_path: Path, body: str, status: int, summary: str) -> None:
    """The summary is pytest's own; a crash, which has none, is a failure and says so."""
    (tmp_path / "test_it.py").write_text(body)
    options = ["-p", "no:cacheprovider", "-c", str(tmp_path / "pytest.ini"), str(tmp_path)]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    code, line = dev.pytest(Path(sys.executable), options, {})
    assert code == status
    assert line.startswith(summary)


def test_required_engines(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that must run and did not is a failure, named in the last line; so is each thing not run."""
    version = (sys.version_info.major, sys.version_info.minor, sys.version_info.micro)
    found = dev.Found([dev.Python(sys.executable, version)], ["/usr/bin/python3 (3.11.2): it lacks venv"])
    monkeypatch.setattr(dev, "environment", lambda python, extra: Path(python.path))
    monkeypatch.setattr(dev, "pytest", lambda python, options, variables: (0, "9 passed in 1s"))
    monkeypatch.setenv("HIWIRE_REQUIRE_ENGINES", "wasmtime")
    assert dev.test(found, []) == 0
    out = capsys.readouterr().out
    assert "9 passed in 1s" in out
    assert f"not run: a newer Python than {version[0]}.{version[1]}" in out
    assert "not used: /usr/bin/python3 (3.11.2): it lacks venv" in out
    monkeypatch.setenv("HIWIRE_REQUIRE_ENGINES", "wasmtime,abacus")
    assert dev.test(found, []) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("did not run: abacus")
