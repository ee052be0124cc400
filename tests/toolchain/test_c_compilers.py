"""find_compiler() takes the right one, or says of each why not; failures show what the tool said."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import c_support
import pytest
from c_support import compiler

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.compilers import find_compiler

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in compilers are shell scripts")


class Folder:
    """A folder that is all of PATH, with stand-ins for clang in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def clang(self, name: str, version: str, targets: str = "wasm32 - WebAssembly 32-bit") -> Path:
        return self.script(
            name,
            f'case "$1" in --version) echo "clang version {version}";; --print-targets) echo "{targets}";;'
            ' *) echo "${1#*=}";; esac',
        )


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HIWIRE_CLANG", raising=False)
    return Folder(tmp_path)


@pytest.fixture
def no_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_seventeen_is_preferred(path: Folder) -> None:
    """The release that the committed modules are built with goes before newer ones."""
    for number in (16, 17, 18, 21):
        path.clang(f"clang-{number}", f"{number}.0.6")
        path.script(f"wasm-ld-{number}", "")
    found = find_compiler()
    assert found.name == "clang" and found.version == (17, 0, 6)
    assert found.command == (str(path.folder / "clang-17"),)
    assert found.linker == (str(path.folder / "wasm-ld-17"),)


def test_newest_is_next(path: Folder) -> None:
    """Without 17 it is the newest; names count as numbers, so that 9 is not above 21."""
    for number in (9, 18, 21):
        path.clang(f"clang-{number}", f"{number}.1.0")
        path.script(f"wasm-ld-{number}", "")
    assert find_compiler().version == (21, 1, 0)


def test_one_without_its_linker_is_passed_over(path: Folder) -> None:
    """A clang without a wasm-ld does not hide the next one that has it."""
    path.clang("clang-17", "17.0.6")
    path.clang("clang-19", "19.1.7")
    path.script("wasm-ld-19", "")
    assert find_compiler().version == (19, 1, 7)


def test_plain_name(path: Folder) -> None:
    """A clang with no number in its name will do, with the wasm-ld beside it."""
    path.clang("clang", "18.1.3")
    path.script("wasm-ld", "")
    assert find_compiler().linker == (str(path.folder / "wasm-ld"),)


def test_forced(path: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_zig: None) -> None:
    """HIWIRE_CLANG is the only clang looked at."""
    path.clang("clang-17", "17.0.6")
    path.script("wasm-ld-17", "")
    path.script("wasm-ld-20", "")
    monkeypatch.setenv("HIWIRE_CLANG", str(path.clang("my-clang", "20.0.1")))
    assert find_compiler().command == (str(tmp_path / "my-clang"),)
    monkeypatch.setenv("HIWIRE_CLANG", str(tmp_path / "nowhere"))
    with pytest.raises(ToolchainError, match=r"no .*/nowhere\n"):
        find_compiler()


def test_every_reason_is_told(path: Folder, no_zig: None) -> None:
    """No candidate works: the error names each, why not, and the ways to get one."""
    path.clang("clang-16", "16.0.6")
    path.clang("clang-18", "18.1.3")
    path.clang("clang-20", "20.1.0", targets="x86-64")
    path.script("clang-21", "exit 3")
    path.script("clang", "echo gcc 12")
    with pytest.raises(ToolchainError) as caught:
        find_compiler()
    said = str(caught.value)
    assert "clang-16: version 16 is too old, 17 is the oldest that works" in said
    assert "clang-18: its wasm-ld is missing; on Debian `apt-get install lld-18`" in said
    assert "clang-20: it has no WebAssembly target" in said
    assert "clang-21 --version` failed: exit status 3" in said
    assert "clang: not a clang: --version says 'gcc 12'" in said
    assert f"ziglang: not installed for {sys.executable}" in said
    assert "pip install ziglang" in said and "apt-get install clang-17 lld-17" in said


def test_nothing_at_all(path: Folder, no_zig: None) -> None:
    """An empty PATH is said to be just that; asking for one kind does not look at the other."""
    with pytest.raises(ToolchainError, match="no clang on PATH"):
        find_compiler()
    with pytest.raises(ToolchainError) as caught:
        find_compiler("clang")
    assert "ziglang:" not in str(caught.value)
    with pytest.raises(ToolchainError) as caught:
        find_compiler("zig")
    assert "clang on PATH" not in str(caught.value)
    with pytest.raises(ToolchainError, match="no such toolchain: 'gcc'"):
        find_compiler("gcc")


def test_errors_of_the_tools_are_shown(tmp_path: Path) -> None:
    """What compiler and linker say is in the exception, with the command line."""
    toolchain = compiler()
    broken = tmp_path / "broken.c"
    broken.write_text("int f(void) { return undeclared; }\n")
    with pytest.raises(ToolchainError, match=r"(?s)cannot compile broken\.c: .*use of undeclared identifier"):
        toolchain.compile([broken], tmp_path / "out.wasm")
    broken.write_text("int missing(void); int f(void) { return missing(); }\n")
    with pytest.raises(ToolchainError, match=r"(?s)cannot link out\.wasm: .*undefined symbol: missing"):
        toolchain.compile([broken], tmp_path / "out.wasm", link_options=["--export=f"])
    with pytest.raises(ToolchainError, match=r"notes\.txt: not a C or C\+\+ source file"):
        toolchain.objects([tmp_path / "notes.txt"], tmp_path)


def test_target_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C tests for a target that the compiler cannot build for are skipped with the reason."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="cannot build for no-such-architecture: cannot compile"):
        compiler(target="no-such-architecture")


@pytest.mark.parametrize("ci", ["true", ""])
def test_without_a_compiler_ci_fails(
    ci: str, path: Folder, no_zig: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C tests are skipped with the reason where no compiler is, but not in CI."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(c_support, "_found", c_support._found.__wrapped__)
    outcome = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(outcome, match="no clang on PATH"):
        compiler()
    with pytest.raises(pytest.skip.Exception, match="no zig for wasm32-unknown-unknown"):
        compiler("zig")
