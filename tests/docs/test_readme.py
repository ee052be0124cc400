"""README.md does as it says: its snippets run, and what it names exists."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import click
import pytest
from c_support import compiler
from support import guest_file

import hiwire_py
from hiwire_py import Component, errors
from hiwire_py.cli import command

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_every_block_is_checked() -> None:
    """No block is of a language that no test here reads."""
    languages = set(re.findall(r"^```(\S+)$", README, re.MULTILINE))
    assert languages == {"pycon", "c", "wit", "console", "sh", "text"}
    assert len(blocks("pycon")) == 4
    assert len(blocks("c")) == 1
    assert len(blocks("wit")) == 1


@pytest.mark.parametrize("number", range(4))
def test_sessions(number: int, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Python session gives what is shown, on each engine; the C file and the component stand
    beside it."""
    session = blocks("pycon")[number]
    if "find_compiler" in session:
        compiler()  # says what is missing, and fails in CI
    (tmp_path / "undo.c").write_text(blocks("c")[0])
    (tmp_path / "counters.wasm").write_bytes(guest_file("counters"))
    (tmp_path / "c").symlink_to(ROOT / "c")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HIWIRE_ENGINE", engine)
    test = doctest.DocTestParser().get_doctest(session, {}, f"README session {number + 1}", "README.md", 0)
    assert len(test.examples) > 5
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_component() -> None:
    """The interface that is shown is the component's, and the session with it has about ten lines."""
    wit = Component(guest_file("counters")).wit()
    inner = [line.strip() for line in blocks("wit")[0].splitlines()[2:-1]]
    shown = " ".join(inner).replace("last: option<u32> }", "last: option<u32>, }")
    assert shown in " ".join(wit.split())
    assert len(re.findall(r"^(?:>>>|\.\.\.) ", blocks("pycon")[3], re.MULTILINE)) <= 10


def test_promised_lengths() -> None:
    """The first session has about 15 lines of input and the C guest about 25 lines."""
    assert len(re.findall(r"^(?:>>>|\.\.\.) ", blocks("pycon")[0], re.MULTILINE)) <= 15
    assert len(blocks("c")[0].splitlines()) <= 27


def test_exceptions() -> None:
    """README names every exception of the package, and no other of that kind."""
    named = set(re.findall(r"`(\w+(?:Error|Trap))`", README)) - {"LookupError", "MemoryError"}
    assert named == {name for name in errors.__all__ if name in hiwire_py.__all__}


def test_commands_and_options() -> None:
    """README names every command and every option of its own, and none that does not exist."""
    context = click.Context(command)
    exist = {name: command.get_command(context, name) for name in command.list_commands(context)}
    table = dict(re.findall(r"^\| `hiwire (demo cycles|\w+)[^|]*`\s*\|(.*)\|$", README, re.MULTILINE))
    assert table.keys() == exist.keys()
    for name, found in exist.items():
        assert found is not None
        options = {opt for p in found.params for opt in p.opts if opt.startswith("--")}
        named = set(re.findall(r"`(--[\w-]+)`", table[name]))
        assert named <= options, name
        if named:
            assert named == options - ({"--json"} - named), name
    used = re.findall(r"hiwire (\w+) (--[\w-]+)", README)
    assert used
    for name, option in used:
        found = exist[name]
        assert found is not None and option in {opt for p in found.params for opt in p.opts}


def test_make_targets() -> None:
    """README names targets that the Makefile has."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    named = set(
        re.findall(r"\bmake ([a-z-]+)(?= |`|$)", "\n".join([*blocks("sh"), *re.findall("`[^`\n]+`", README)]))
    )
    assert {"demo", "test"} <= named <= set(phony[1].split())


def test_extras() -> None:
    """README names the extras of the package."""
    extras = re.search(r"extras_require=\{(.*)\}", (ROOT / "setup.py").read_text())
    assert extras is not None
    assert set(re.findall(r'"(\w+)":', extras[1])) == {"cli", "build", "plots", "test", "dev"}
    for name in ("cli", "build", "plots", "test", "dev"):
        assert f"`{name}`" in README


def test_layout_and_links() -> None:
    """Every path of the layout and every link leads somewhere."""
    paths = [line.split()[0] for line in blocks("text")[0].splitlines()]
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(paths) > 10 and links
    assert [path for path in [*paths, *links] if not (ROOT / path).exists()] == []


def test_demo_output() -> None:
    """The demo's output in README has the form of the real one, and the same facts."""
    shown = blocks("console")[0].splitlines()
    assert shown[0] == "$ hiwire demo"
    facts = dict(line.strip().split("  ", 1) for line in shown if re.match(r" [a-z]", line))
    assert {key: value.strip() for key, value in facts.items()}.keys() == {
        "words", "speed", "engine", "variant", "live refs", "check",
    }  # fmt: skip
    assert re.search(r"0 before, [\d,]+ at the peak, 0 after", facts["live refs"])
    ranks = [int(line.split()[0]) for line in shown if re.match(r" +\d+ ", line)]
    assert ranks == list(range(1, 21))


def test_numbers() -> None:
    """Numbers of limits are those of the code."""
    assert hiwire_py.Hiwire("static_pages").capacity() == 65_535
    assert "65,535 handles" in README
    assert f"{2**25 - 1:,} handles" in README
