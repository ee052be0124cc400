"""The command `hiwire`: what it prints, where, and its exit codes.

It is long because each command has its few lines here, and all share how the command is started.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from support import wat

import hiwire_py
from hiwire_py import cache, cli, engines, needs_lowering
from hiwire_py.cli import demo, doctor
from hiwire_py.collect import backend
from hiwire_py.engines import EngineInfo, stack
from hiwire_py.sources import shipped

ADD = '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'
ECHO = """(module
    (memory (export "memory") 1 4)
    (global (export "g") (mut i64) (i64.const 1))
    (func (export "echo") (param externref) (result externref) local.get 0)
    (func (export "null") (result externref) ref.null extern)
    (func (export "half") (param f64) (result f64) local.get 0 f64.const 2 f64.div)
    (func (export "big") (param i64) (result i64) local.get 0)
    (func (export "two") (result i32 i32) i32.const 1 i32.const 2)
    (func (export "ref") (param funcref))
    (func (export "nothing"))
    (func (export "trap") unreachable))"""


@pytest.fixture
def echo(tmp_path: Path) -> str:
    """The path of a module with exports of many types."""
    path = tmp_path / "echo.wasm"
    path.write_bytes(wat(ECHO))
    return str(path)


def fails(capsys: pytest.CaptureFixture[str], code: int, *args: str) -> str:
    """Run a command that must fail with this code and one line on standard error only; the line."""
    assert cli.main(args) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hiwire: error: ")
    assert err.count("\n") == 1
    return err


def gives(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Run a command that must succeed; what it printed."""
    assert cli.main(args) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


# ---- the command as a whole


@pytest.mark.parametrize("name", sorted(cli.command.commands))
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has help with examples that start with its name; -h is --help."""
    text = gives(capsys, name, "--help")
    assert "Examples:" in text
    assert f"\n      hiwire {name}" in text
    assert gives(capsys, name, "-h") == text


def test_examples_in_help_can_be_parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The options in the examples exist: the parser takes each example."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "add.wasm",
        "app.wasm",
        "echo.wasm",
        "guest.wasm",
        "hiwire-static_pages.wasm",
        "README.md",
        "CHANGELOG.md",
    ):
        Path(name).write_bytes(b"")
    count = 0
    for name, command in cli.command.commands.items():
        for line in (command.help or "").splitlines():
            words = line.split("|")[0].split()
            if words[:2] == ["hiwire", name]:
                command.make_context(
                    f"hiwire {name}", words[2:] if "{'a':" not in words else ["echo.wasm", "echo", "x"]
                )
                count += 1
    assert count >= 14


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Alone it shows its help, which names the exit codes."""
    text = gives(capsys)
    assert all(code in text for code in ("0    ", "1    ", "2    ", "130  "))
    assert gives(capsys, "--version") == f"hiwire_py {hiwire_py.__version__}\n"


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["demo", "--nonsense"],
        ["demo", "--all-engines", "--engine", "wasmtime"],
        ["doctor", "extra"],
        ["run"],
    ],
)
def test_wrong_usage(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands and options: 2, one line, and where the help is."""
    assert "--help)" in fails(capsys, 2, *args)


def test_as_a_program(echo: str) -> None:
    """`python -m hiwire_py`, with its exit code."""
    program = [sys.executable, "-m", "hiwire_py"]
    done = subprocess.run([*program, "run", echo, "two"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n2\n", "")
    done = subprocess.run([*program, "run", echo, "trap"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "unreachable" in done.stderr


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra(package: str) -> None:
    """Without its dependencies the command says how to get them, in one line."""
    code = (
        f"import sys; sys.modules['{package}'] = None; from hiwire_py.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"needs the package {package}" in done.stderr
    assert "pip install 'hiwire_py[cli]'" in done.stderr


def test_closed_pipe(echo: str) -> None:
    """A reader that goes away leaves no traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "hiwire_py", "inspect", echo], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert done.stderr == b""


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C: 130 and one line."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupted)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "hiwire: error: interrupted"


# ---- demo


def test_demo(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe: the table and the facts, no progress bar; as JSON the same."""
    text = tmp_path / "text"
    text.write_text("to be or not to be")
    out = gives(capsys, "demo", "--engine", engine, "--top", "2", str(text))
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "to", "2"] in lines and ["2", "be", "2"] in lines
    assert "6, of them distinct 4, in 1 file " in out
    assert "0 before, 5 at the peak, 0 after" in out
    assert "every count equals that of collections.Counter" in out
    assert "\x1b" not in out
    found = json.loads(gives(capsys, "demo", "--json", "--engine", engine, str(text)))
    assert found["ok"] is True
    assert found["top"] == [["to", 2], ["be", 2], ["or", 1], ["not", 1]]
    assert (found["engine"], found["live_refs"]) == (engine, {"before": 0, "peak": 5, "after": 0})


def test_demo_on_all_engines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run for each engine that is here, each with its own speed."""
    text = tmp_path / "text"
    text.write_text("to be or not to be")
    here = [info.name for info in engines() if info.available]
    found = json.loads(gives(capsys, "demo", "--json", "--all-engines", str(text)))
    assert [run["engine"] for run in found["runs"]] == here and all(run["ok"] for run in found["runs"])
    out = gives(capsys, "demo", "--all-engines", str(text))
    assert out.count(" words per second ") == len(here)


def test_demo_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    """Without files it counts the standard library."""
    found = json.loads(gives(capsys, "demo", "--json", "--seconds", "0.3"))
    assert found["ok"] and found["words"] > 1000


def test_demo_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal there is a progress bar, which is gone at the end, and colour."""
    text = tmp_path / "text"
    text.write_text("to be or not to be")
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    with subprocess.Popen(
        [sys.executable, "-m", "hiwire_py", "demo", str(text)], stdout=side, stdin=side, env=environment
    ) as process:
        os.close(side)
        shown = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
    os.close(main)
    assert process.returncode == 0
    assert b"counting words" in shown
    assert b"100%" in shown
    assert b"every count equals" in shown.rpartition(b"counting words")[2]


def test_demo_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A difference from Counter, or a leak, is shown and gives 1."""
    text = tmp_path / "text"
    text.write_text("to be")
    right = demo.count_words([text])
    monkeypatch.setattr(demo, "count_words", lambda *_, **__: replace(right, difference="1 word differs"))
    assert cli.main(["demo", str(text)]) == 1
    assert "WRONG: 1 word differs" in capsys.readouterr().out
    monkeypatch.setattr(
        demo, "count_words", lambda *_, **__: replace(right, live_refs={"before": 0, "peak": 3, "after": 3})
    )
    assert cli.main(["demo", str(text)]) == 1
    assert "LEAK" in capsys.readouterr().out
    assert cli.main(["demo", "--json", str(text)]) == 1


def test_demo_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that are not there, directories, numbers out of range, and a table too small."""
    assert "does not exist" in fails(capsys, 2, "demo", str(tmp_path / "absent"))
    assert "is a directory" in fails(capsys, 2, "demo", str(tmp_path))
    assert "--top" in fails(capsys, 2, "demo", "--top", "-1")
    assert "--seconds" in fails(capsys, 2, "demo", "--seconds", "0")
    text = tmp_path / "text"
    text.write_text(" ".join(f"w{i}" for i in range(70_000)))
    assert "--variant extern_realloc" in fails(capsys, 1, "demo", "--variant", "static_pages", str(text))


def test_engine_that_is_not_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine of the environment that does not exist: 1, and its name."""
    monkeypatch.setenv("HIWIRE_ENGINE", "abacus")
    assert "unknown engine 'abacus'" in fails(capsys, 1, "demo", __file__)
    assert "'abacus' is not one of" in fails(capsys, 2, "demo", "--engine", "abacus")


# ---- doctor


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    """Every engine, every shipped module and every toolchain is in the report."""
    found = json.loads(gives(capsys, "doctor", "--json"))
    assert found["ok"] is True
    assert [e["name"] for e in found["engines"]] == [info.name for info in engines()]
    assert found["default_engine"] in {e["name"] for e in found["engines"] if e["ok"]}
    names = {module["name"] for module in found["modules"]}
    folder = Path(hiwire_py.__file__).parent / "modules"
    assert names == {path.name for path in folder.glob("*.wasm")}
    assert all(module["ok"] for module in found["modules"])
    assert {t["name"] for t in found["toolchains"]} == {"docker", "podman", "buildah", "clang", "zig"}
    groups = ("engines", "collector", "modules", "toolchains", "cache")
    assert all(item["detail"] for group in groups for item in found[group])
    assert found["collector"][0]["ok"] == (backend.BACKEND == "types")
    out = gives(capsys, "doctor")
    assert all(name in out for name in names)


def test_cache(cache_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is, how much it has, and why it cannot be used; it can be cleared."""
    place = cache_home / "hiwire"
    most = "of at most 1,024 MiB, which HIWIRE_CACHE can change\n"
    assert gives(capsys, "cache") == f"{place}: 0 compiled modules, 0.0 MiB {most}"
    assert not place.exists()
    for folder in (cache.MODULES, cache.LIBRARIES):
        cache.store(folder, "one", bytes(1 << 20))
    assert gives(capsys, "cache") == f"{place}: 2 compiled modules, 2.0 MiB {most}"
    (finding,) = json.loads(gives(capsys, "doctor", "--json"))["cache"]
    assert finding["ok"] and finding["detail"] + "\n" == f"{place}: 2 compiled modules, 2.0 MiB {most}"
    assert gives(capsys, "cache", "clear") == f"{place}: 2 compiled modules removed, 2.0 MiB\n"
    assert gives(capsys, "cache") == f"{place}: 0 compiled modules, 0.0 MiB {most}"
    place.chmod(0o777)
    assert cli.main(["cache"]) == 1
    assert f"{place} can be written by others" in capsys.readouterr().err
    (finding,) = json.loads(gives(capsys, "doctor", "--json"))["cache"]
    assert not finding["ok"] and f"chmod go-w {place}" in finding["detail"]
    monkeypatch.setenv("HIWIRE_CACHE", "0")
    assert cli.main(["cache"]) == 1
    assert "HIWIRE_CACHE=0 switches the cache off" in capsys.readouterr().err
    assert cli.main(["cache", "empty"]) == 2


def test_doctor_finds_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed module, a missing one, missing sums: named with the remedy, exit code 1."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setattr("hiwire_py.cli.doctor.resources.files", lambda package: tmp_path)
    assert cli.main(["doctor"]) == 1
    assert "SHA256SUMS" in capsys.readouterr().out
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  hiwire-a.wasm\n{'0' * 64}  hiwire-b.wasm\n")
    (folder / "hiwire-a.wasm").write_bytes(b"changed")
    assert cli.main(["doctor", "--json"]) == 1
    details = [module["detail"] for module in json.loads(capsys.readouterr().out)["modules"]]
    assert details[0].startswith("its SHA-256 is not the one") and details[1].startswith("missing;")
    assert all("install the package again" in detail for detail in details)


def test_doctor_without_engines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No engine at all: exit code 1, and each says how to get it."""
    none = [replace(i, available=False, version="", reason="install it with: pip") for i in engines()]
    monkeypatch.setattr(doctor, "engines", lambda: none)
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "No engine works" in out
    assert out.count("install it with: pip") == len(none)


# ---- run


@pytest.mark.parametrize(
    ("args", "printed"),
    [
        (["echo", "text"], "'text'"),
        (["echo", "{'a': [1, None]}"], "{'a': [1, None]}"),
        (["echo", "None"], "None"),
        (["echo", "null"], "null"),
        (["echo", "{[]: 1}"], "'{[]: 1}'"),
        (["null"], "null"),
        (["half", "5"], "2.5"),
        (["half", "-1e300"], "-5e+299"),
        (["big", "-0x8000000000000000"], "-9223372036854775808"),
        (["big", "0xffffffffffffffff"], "-1"),
        (["two"], "1\n2"),
        (["nothing"], ""),
    ],
)
def test_run(
    engine: str, echo: str, args: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arguments are read by type, and results are printed in the same form."""
    out = gives(capsys, "run", "--engine", engine, echo, *args)
    assert out.rstrip("\n") == printed


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["absent"], 2, "its functions are: big, echo"),
        (["echo"], 2, "takes 1 argument, not 0"),
        (["half", "x"], 2, "argument 1 of half must be a number (f64), not 'x'"),
        (["big", "1.5"], 2, "must be an integer (i64)"),
        (["big", "0x10000000000000000"], 2, "must fit i64"),
        (["ref", "0"], 2, "funcref"),
        (["trap"], 1, "unreachable"),
    ],
)
def test_run_refuses(
    echo: str, args: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is named; 2 for the arguments, 1 for the guest."""
    assert message in fails(capsys, code, "run", echo, *args)


@pytest.mark.parametrize("name", ["__wbindgen_malloc", "__class__", "_instance", "get", "keys"])
def test_run_of_any_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every exported function can be called, whatever it is called."""
    path = tmp_path / "odd.wasm"
    path.write_bytes(wat(f'(module (func (export "{name}") (param i32) (result i32) local.get 0))'))
    assert gives(capsys, "run", str(path), name, "5") == "5\n"


def test_run_with_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that imports hiwire gets a table; hiwire's own modules are tables; other imports are
    refused."""
    for name in ("guest-lru", "guest-wordcount", "static_pages"):
        (tmp_path / name).write_bytes(shipped(name))
    assert gives(capsys, "run", str(tmp_path / "guest-lru"), "lru_get", "key") == "null\n"
    assert gives(capsys, "run", str(tmp_path / "static_pages"), "hiwire_new", "key") == "3\n"
    assert "no function '_initialize'" in fails(
        capsys, 2, "run", str(tmp_path / "static_pages"), "_initialize"
    )
    error = fails(capsys, 1, "run", str(tmp_path / "guest-lru"), "lru_get", "[]")
    assert "lru_get raised TypeError: " in error and "unhashable type: 'list'" in error
    assert "next_word" in fails(capsys, 1, "run", str(tmp_path / "guest-wordcount"), "count_file")


# ---- inspect and lower


def test_inspect(echo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Imports and exports with types, sizes, features."""
    out = gives(capsys, "inspect", echo)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "function echo (externref) -> (externref)" in lines
    assert "memory memory 1 to 4 pages of 64 KiB" in lines
    assert "global g mutable i64" in lines
    assert "needs lowering yes, when it is loaded" in lines
    found = json.loads(gives(capsys, "inspect", "--json", echo))
    assert found["features"] == ["multiple results", "mutable globals", "reference types"]
    assert found["imports"] == []
    assert {"name": "two", "kind": "function", "type": "() -> (i32, i32)"} in found["exports"]


def test_inspect_a_plain_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module of the first release of WebAssembly, and what is no module."""
    path = tmp_path / "add.wasm"
    path.write_bytes(wat(ADD))
    out = gives(capsys, "inspect", str(path))
    assert "none beyond the first release" in out and "imports: none" in out
    path.write_bytes(wat(ADD)[:-5])
    assert "truncated" in fails(capsys, 1, "inspect", str(path))
    path.write_bytes(b"text")
    assert "not a WebAssembly module" in fails(capsys, 1, "inspect", str(path))


def test_lower(echo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lowered module is written; the input is replaced only when asked."""
    target = tmp_path / "lowered.wasm"
    Path(echo).write_bytes(wat(ECHO.replace('(func (export "ref") (param funcref))', "")))
    gives(capsys, "lower", echo, str(target))
    assert not needs_lowering(target.read_bytes())
    assert "does not need lowering" in gives(capsys, "lower", str(target), str(tmp_path / "again.wasm"))
    before = Path(echo).read_bytes()
    assert "--in-place" in fails(capsys, 2, "lower", echo, echo)
    link = tmp_path / "link.wasm"
    link.symlink_to(echo)
    assert "--in-place" in fails(capsys, 2, "lower", echo, str(link))
    assert Path(echo).read_bytes() == before
    gives(capsys, "lower", "--in-place", echo, echo)
    assert Path(echo).read_bytes() == target.read_bytes()
    assert "No such file" in fails(capsys, 2, "lower", echo, str(tmp_path / "absent" / "out.wasm"))


# ---- build


def test_build_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options arrive at build(), and its report is printed. The build itself is tested in
    test_toolchain.py."""
    asked: dict[str, object] = {}

    class Report:
        def describe(self) -> str:
            return "built with care"

    def build(out: Path, **options: object) -> Report:
        asked.update(options, out=out)
        return Report()

    monkeypatch.setattr("hiwire_py.cli.build.build", build)
    assert gives(capsys, "build", "--out", str(tmp_path), "--static-pages", "3") == "built with care\n"
    assert (asked["out"], asked["static_pages"], asked["toolchain"]) == (tmp_path, 3, None)
    assert "--static-pages" in fails(capsys, 2, "build", "--static-pages", "0")


def test_build_without_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Away from a checkout the reason is given."""
    assert "no c/Makefile" in fails(capsys, 1, "build", "--source", str(tmp_path))


def test_options_are_documented() -> None:
    """Every option has a help text."""
    for command in cli.command.commands.values():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{command.name} {option.opts}"


@pytest.mark.parametrize(("seen", "how"), [(True, "through ctypes"), (False, "by nobody")])
def test_doctor_misses_the_guard_of_host_functions(
    seen: bool, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only wasmer has one; where it was not compiled, what that leads to is said."""
    here = [EngineInfo(name, True, "1", "", "a note") for name in ("wasmer", "native")]
    monkeypatch.setattr(stack, "COMPILED", False)
    monkeypatch.setattr(stack, "SEEN", seen)
    wasmer, native = (doctor._note(info) for info in here)
    assert f"the stack's end is watched {how}, and a daemon thread" in wasmer and native == "a note"
    monkeypatch.setattr(stack, "COMPILED", True)
    assert [doctor._note(info) for info in here] == ["a note", "a note"]
