"""docs/wasi.md does as it says: its session runs, and its limits are those of the code."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from wasi_support import program

from hiwire_py.wasi import directories, files, preview2, streams

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "wasi.md").read_text(encoding="utf-8")


def test_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The example runs, with a program beside it."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shutil.copy(program("script"), tmp_path / "app.wasm")
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    script = b"args\ncat /etc/app.conf\nput /data/made text"
    exec(block.replace("args=", f"stdin={script!r}, args="), {})
    printed = capsys.readouterr().out
    assert "1: -v" in printed
    assert "read 3: ..." in printed
    assert (tmp_path / "data" / "made").read_text() == "text"


def test_limits() -> None:
    """The table of limits has the numbers of the code."""
    mebi = 1 << 20
    assert f"| {streams.CAPTURE_LIMIT // mebi} MiB each |" in PAGE
    assert f"| {directories.OPEN_LIMIT} descriptors |" in PAGE
    names = f"{files._DEEPEST} names, {directories._MOST_LINKS} symbolic links"
    assert f"| {files._LONGEST_PATH} bytes, {names} |" in PAGE
    assert {preview2._MOST_READ, preview2._PERMITTED, directories._MOST_READ} == {mebi}
    assert "| read or written at once | 1 MiB |" in PAGE
    assert f"| {preview2._MOST_RANDOM // mebi} MiB | a trap |" in PAGE
