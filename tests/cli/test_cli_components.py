"""`hiwire run` and `hiwire inspect` of components: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import guest_file, wat

from hiwire_py import Component, cli


@pytest.fixture
def counters(tmp_path: Path) -> str:
    """The path of a component with a resource."""
    path = tmp_path / "counters.wasm"
    path.write_bytes(guest_file("counters"))
    return str(path)


@pytest.fixture
def shout(tmp_path: Path) -> str:
    """The path of a component that takes a string and gives several."""
    path = tmp_path / "shout.wasm"
    path.write_bytes(guest_file("shout"))
    return str(path)


def gives(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Run a command that must succeed; what it printed."""
    assert cli.main(args) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def fails(capsys: pytest.CaptureFixture[str], code: int, *args: str) -> str:
    """Run a command that must fail with this code and one line on standard error only; the line."""
    assert cli.main(args) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hiwire: error: ")
    assert err.count("\n") == 1
    return err


def component(tmp_path: Path, text: str) -> str:
    """The path of a component in text form."""
    path = tmp_path / "component.wasm"
    path.write_bytes(wat(text))
    return str(path)


RESULTS = """(component
    (core module $m
        (memory (export "memory") 1)
        (data (i32.const 0) "\\01\\00\\00\\00\\10\\00\\00\\00\\03\\00\\00\\00")
        (data (i32.const 16) "why")
        (func (export "zero") (result i32) i32.const 0)
        (func (export "one") (result i32) i32.const 1)
        (func (export "give") (param i32) (result i32) local.get 0)
        (func (export "trap") unreachable)
        (func (export "nothing")))
    (core instance $m (instantiate $m))
    (type $color' (enum "red" "green"))
    (export $color "color" (type $color'))
    (type $perms' (flags "read" "write"))
    (export $perms "perms" (type $perms'))
    (func (export "fail") (result (result u8 (error string)))
        (canon lift (core func $m "zero") (memory (core memory $m "memory"))))
    (func (export "good") (result (result)) (canon lift (core func $m "zero")))
    (func (export "bad") (result (result)) (canon lift (core func $m "one")))
    (func (export "color-of") (param "c" $color) (result $color) (canon lift (core func $m "give")))
    (func (export "perms-of") (param "p" $perms) (result $perms) (canon lift (core func $m "give")))
    (func (export "char-of") (param "c" char) (result char) (canon lift (core func $m "give")))
    (func (export "trap") (canon lift (core func $m "trap")))
    (func (export "nothing") (canon lift (core func $m "nothing"))))"""

COMMAND = """(component
    (core module $m (func (export "run") (result i32) i32.const {code}))
    (core instance $m (instantiate $m))
    (func $run (result (result)) (canon lift (core func $m "run")))
    (instance $run (export "run" (func $run)))
    (export "wasi:cli/run@0.2.3" (instance $run)){more})"""


# ---- hiwire run


@pytest.mark.parametrize(
    "name",
    [
        "demo:counters/counters@1.0.0#get-stats",
        "demo:counters/counters@1.0.0.get-stats",
        "demo:counters/counters#get-stats",
        "demo:counters/counters.get-stats",
    ],
)
def test_run_function_of_an_instance(name: str, counters: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A function of an instance is called by the names of both, the version may be left out, and the result
    is printed as a value; an option that is none is not in it."""
    assert gives(capsys, "run", counters, name) == "{live: 0}\n"


@pytest.mark.parametrize(
    ("args", "out"),
    [
        (["shout", '"hé\\n"', "2"], '["hé\\n", "hé\\n"]\n'),
        (["shout", '""', "0"], "[]\n"),
    ],
)
def test_run_strings(
    args: list[str], out: str, engine: str, shout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Strings and lists go in and come out, on each engine."""
    assert gives(capsys, "run", "--engine", engine, shout, *args) == out


@pytest.mark.parametrize(
    ("args", "out"),
    [
        (["good"], "ok\n"),
        (["color-of", "green"], "green\n"),
        (["perms-of", "{write}"], "{write}\n"),
        (["char-of", "'é'"], "'é'\n"),
        (["nothing"], ""),
    ],
)
def test_run_values(args: list[str], out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values of named types are read and printed by their labels; no result prints nothing."""
    assert gives(capsys, "run", component(tmp_path, RESULTS), *args) == out


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        (1, ["fail"], 'fail gave err("why")'),
        (1, ["bad"], "bad gave err\n"),
        (1, ["trap"], "unreachable"),
        (2, [], "a function is missing; its functions are: bad, char-of, color-of, fail, good,"),
        (2, ["nope"], "exports no function 'nope'; its functions are: bad, "),
        (2, ["good", "1"], "good() -> result takes no arguments, not 1"),
        (2, ["char-of"], "char-of(c: char) -> char takes 1 argument, not 0"),
        (2, ["color-of", "blue"], "argument 1 of color-of, c: a case is wanted: red, green, not 'blue'"),
        (2, ["char-of", "'ab'"], "(character 3 of \"'ab'\")"),
        (2, ["--deadline", "0", "good"], "deadline must be more than 0 seconds"),
    ],
)
def test_run_errors(
    code: int, args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that a function gives, and a trap, are exit code 1; wrong arguments 2, with their place."""
    options = [word for word in args if word.startswith("--")]
    words = [*args[: 2 * len(options)], component(tmp_path, RESULTS), *args[2 * len(options) :]]
    assert message in fails(capsys, code, "run", *words)


def test_run_with_limits(shout: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The limits of the options hold."""
    args = ["shout", '"abc"', "200"]
    gives(capsys, "run", "--engine", "wasmtime", "--fuel", "100000", shout, *args)
    assert "fuel" in fails(capsys, 1, "run", "--engine", "wasmtime", "--fuel", "100", shout, *args)


def test_run_handles(counters: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A function that takes a handle cannot be called from here, and says so; one that gives one can."""
    method = "demo:counters/counters#[method]counter.add"
    error = fails(capsys, 2, "run", counters, method, "1", "2")
    assert "a borrow<counter> is wanted, which cannot be written" in error
    assert gives(capsys, "run", counters, "demo:counters/counters#[constructor]counter", "3") == "<Counter>\n"


@pytest.mark.parametrize("words", [[], ["an", "argument"]])
def test_run_a_command(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A component that exports nothing but wasi:cli/run is run as a command, whatever its arguments; an error
    is exit code 1."""
    assert gives(capsys, "run", component(tmp_path, COMMAND.format(code=0, more="")), *words) == ""
    error = fails(capsys, 1, "run", component(tmp_path, COMMAND.format(code=1, more="")), *words)
    assert "wasi:cli/run@0.2.3#run gave err" in error


def test_run_a_command_with_more_functions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there are other functions, a word names one of them."""
    path = component(tmp_path, COMMAND.format(code=0, more='(export "again" (func $run))'))
    assert gives(capsys, "run", path) == ""
    assert gives(capsys, "run", path, "again") == "ok\n"
    assert gives(capsys, "run", path, "wasi:cli/run#run") == "ok\n"
    assert "no function 'x'" in fails(capsys, 2, "run", path, "x")


PROGRAM = """(component
    (import "wasi:cli/exit@0.2.3" (instance $exit (export "exit" (func (param "status" (result))))))
    (import "wasi:cli/environment@0.2.3" (instance $env
        (export "get-arguments" (func (result (list string))))
        (export "get-environment" (func (result (list (tuple string string)))))))
    (core module $store
        (memory (export "memory") 1)
        (global $end (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $end)
            (global.set $end
                (i32.and (i32.add (i32.add (global.get $end) (local.get 3)) (i32.const 7)) (i32.const -8)))))
    (core instance $store (instantiate $store))
    (core func $exit (canon lower (func $exit "exit")))
    (core func $arguments (canon lower (func $env "get-arguments")
        (memory (core memory $store "memory")) (realloc (core func $store "realloc"))))
    (core func $variables (canon lower (func $env "get-environment")
        (memory (core memory $store "memory")) (realloc (core func $store "realloc"))))
    (core module $code
        (import "" "exit" (func $exit (param i32)))
        (import "" "arguments" (func $arguments (param i32)))
        (import "" "variables" (func $variables (param i32)))
        (import "store" "memory" (memory 1))
        (func (export "run") (result i32)
            (call $arguments (i32.const 0))
            (call $variables (i32.const 8))
            ;; two arguments beside the name: exits well; a variable: exits badly; else it gives an error
            (if (i32.eq (i32.load (i32.const 4)) (i32.const 3)) (then (call $exit (i32.const 0))))
            (if (i32.load (i32.const 12)) (then (call $exit (i32.const 1))))
            (i32.const 1)))
    (core instance $code (instantiate $code
        (with "store" (instance $store))
        (with "" (instance (export "exit" (func $exit)) (export "arguments" (func $arguments))
            (export "variables" (func $variables))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $run (export "run" (func $run)))
    (export "wasi:cli/run@0.2.3" (instance $run)))"""


@pytest.mark.parametrize(("options", "words", "code"), [([], ["a", "-b"], 0), (["--env", "A=b=c"], ["a"], 1)])
def test_run_a_program(
    options: list[str], words: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program for WASI gets its name, its arguments and variables, and its exit status is the command's."""
    path = component(tmp_path, PROGRAM)
    assert cli.main(["run", *options, "--dir", str(tmp_path), path, *words]) == code
    assert capsys.readouterr() == ("", "")
    assert "gave err" in fails(capsys, 1, "run", path)


def test_run_a_program_with_wrong_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable without a value, and a directory that is not there, are refused."""
    path = component(tmp_path, PROGRAM)
    assert "--env wants NAME=VALUE, not 'A'" in fails(capsys, 2, "run", "--env", "A", path)
    assert "nowhere" in fails(capsys, 2, "run", "--dir-write", str(tmp_path / "nowhere"), path)


def test_run_what_was_fused(counters: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A component that was fused into one module is run as it was before."""
    out = str(tmp_path / "fused.wasm")
    gives(capsys, "fuse", counters, "-o", out)
    name = "demo:counters/counters.get-stats"
    assert gives(capsys, "run", "--engine", "wasmtime", out, name) == "{live: 0}\n"


# ---- hiwire inspect


def test_inspect(counters: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints types at the edge, roles, where handle tables are and why, and what is generated."""
    out = " ".join(gives(capsys, "inspect", counters).split())
    assert "imports: none" in out
    assert "function get-stats func() -> stats" in out
    assert "type stats record { live: u32, last: option<u32> }" in out
    assert "definer defines counter" in out
    assert "none no handle table no handle comes to it" in out
    assert "because its function make has handles of counter" in out
    assert "it drops handles of counter" in out


def test_inspect_json(counters: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the same is there for programs, and agrees with what is instantiated."""
    found = json.loads(gives(capsys, "inspect", "--json", counters))
    assert found["kind"] == "component"
    assert found["size"] == Path(counters).stat().st_size
    (exported,) = found["exports"]
    assert exported["name"] == "demo:counters/counters@1.0.0"
    kinds = [one["kind"] for one in exported["items"]]
    assert kinds == ["resource", "type", *["function"] * 5]
    root, inner = found["instances"]
    assert (root["name"], root["roles"], root["table"], root["parent"]) == ("root", ["none"], None, None)
    assert (inner["roles"], inner["defines"], inner["parent"]) == (["definer"], ["counter"], 0)
    assembly = Component(counters)._assembly
    generated = {one["number"]: one for one in found["generated"]}
    assert generated[inner["table"]]["what"] == "table"
    assert {n: len(s.module.wasm) for n, s in enumerate(assembly.stages) if s.what != "core"} == {
        number: one["size"] for number, one in generated.items()
    }
    assert [one["size"] for one in found["modules"]] == [len(m.wasm) for m in assembly.plan.modules]
    assert [one["instances"] for one in found["modules"]] == [[1], [1]]


def test_inspect_of_what_is_malformed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A component that is cut off is told as for modules."""
    path = tmp_path / "half.wasm"
    path.write_bytes(guest_file("counters")[:200])
    assert "malformed" in fails(capsys, 1, "inspect", str(path))
    assert "malformed" in fails(capsys, 1, "run", str(path), "x")
