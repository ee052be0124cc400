"""The demo of collection: `hiwire demo cycles`, its plot and its picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hiwire_py import cli
from hiwire_py.cli import cycles

ROOT = Path(__file__).resolve().parents[2]


def test_rounds(engine: str) -> None:
    """Without collection the memory is full; with it the same rounds stay bounded, and nothing is left."""
    result = cycles.run_cycles(engine, 16, 1000)
    assert result.ok
    without, with_ = result.without_collection, result.with_collection
    assert without.failed_in == 13 and without.pages == 10
    assert without.live[:3] == [1000, 2000, 3000] and without.live[-1] == without.left
    assert with_.failed_in == 0 and len(with_.live) == 16
    assert max(with_.live) <= 2000 and with_.left == 0


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both runs in the terminal and as JSON, and as a picture."""
    arguments = ["demo", "cycles", "--rounds", "15", "--objects", "1000"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "out of memory in round 13" in out and "all 15 rounds" in out
    assert re.search(r"12,\d{3} ┤ +.*█x", out), out
    picture = tmp_path / "cycles.png"
    pytest.importorskip("matplotlib", reason="matplotlib: not installed; pip install 'hiwire_py[plots]'")
    assert cli.main([*arguments, "--json", "--png", str(picture)]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and picture.stat().st_size > 5_000


def test_files_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`demo cycles` is the other demo, also where there is a file of that name."""
    (tmp_path / "cycles").write_text("one two two")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--json", "./cycles"]) == 0
    assert json.loads(capsys.readouterr().out)["words"] == 3
    assert cli.main(["demo", "cycles", "--rounds", "1", "--objects", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rounds"] == 1


def test_the_documentation_runs() -> None:
    """The Python code in docs/cycles.md, as it stands there."""
    text = (ROOT / "docs" / "cycles.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "docs/cycles.md", "exec"), {})
    assert (ROOT / "docs" / "cycles.png").read_bytes()[:4] == b"\x89PNG"
