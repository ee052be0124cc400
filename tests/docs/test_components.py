"""docs/components.md does as it says: its sessions run, and what it names is what there is."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from support import guest_file

import hiwire_py
from hiwire_py import cli
from hiwire_py.components.faults import Fault
from hiwire_py.components.stub import stub

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_block_is_checked() -> None:
    """No block is of a language that no test here reads."""
    assert set(re.findall(r"^```(\S+)$", PAGE, re.MULTILINE)) == {"pycon", "console", "python"}
    assert [len(blocks(one)) for one in ("pycon", "console", "python")] == [2, 1, 1]


@pytest.mark.parametrize("number", range(2))
def test_sessions(number: int, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session gives what is shown, on each engine."""
    for name in ("counters", "notes"):
        (tmp_path / f"{name}.wasm").write_bytes(guest_file(name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HIWIRE_ENGINE", engine)
    test = doctest.DocTestParser().get_doctest(
        blocks("pycon")[number], {}, f"session {number + 1}", "components.md", 0
    )
    assert len(test.examples) > 4
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints what is shown."""
    (tmp_path / "counters.wasm").write_bytes(guest_file("counters"))
    monkeypatch.chdir(tmp_path)
    command, shown = blocks("console")[0].split("\n", 1)
    assert command.startswith("$ hiwire ")
    assert cli.main(command.split()[2:]) == 0
    assert capsys.readouterr().out == shown


def test_module_of_two_lines() -> None:
    """The module that a stub describes is the one that the stub names."""
    plan = hiwire_py.Component(guest_file("notes"))._plan
    head = stub(plan, {}, "app.wasm").partition('"""')[2].partition('"""')[0]
    assert "".join(blocks("python")[0].split()) in "".join(head.split())


def test_causes() -> None:
    """The table of causes has all that generated code tells, and no others."""
    rows = PAGE.partition("| cause | |")[2].partition("\n\n")[0].splitlines()[2:]
    table = "\n".join(row.split(" | ")[0] for row in rows)
    named = set(re.findall(r"``(.+?)``", table)) | set(re.findall(r"(?<!`)`([^`]+)`(?!`)", table))
    assert named - {"char"} == {one.words for one in Fault}


def test_names() -> None:
    """Exceptions and classes that it names are public, and its links lead somewhere."""
    for name in re.findall(r"`(\w+Error|Component|HostResource|Some|Ok|Err|GuestTrap)\b", PAGE):
        assert name in hiwire_py.__all__, name
    links = re.findall(r"\]\(([\w./-]+\.md)\)", PAGE)
    assert links and all((ROOT / "docs" / link).exists() for link in links)
