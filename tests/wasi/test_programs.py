"""A program in C, for which WASI is all there is: on every engine, and beside wasmtime's own WASI.

The program, programs/script.c, does what its input says. Errors are numbers of preview 1 in what it prints.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
import wasmtime.component
from wasi_support import program

from hiwire_py.components import Component
from hiwire_py.errors import DeadlineError, GuestExit, GuestTrap, UnsupportedModuleError
from hiwire_py.wasi import ManualClock, Wasi


@pytest.fixture(scope="module")
def script() -> Component:
    """The program."""
    return Component(program("script"))


def run(script: Component, engine: str, *lines: str, **given: Any) -> list[str]:
    """What the program prints for some lines of input, without the lines."""
    wasi = Wasi(stdin="\n".join(lines).encode(), **given)
    with script.instantiate(engine=engine, wasi=wasi) as instance:
        instance["wasi:cli/run"].run()
    return [line for line in wasi.stdout.decode().splitlines() if not line.startswith("> ")]


def test_arguments_and_environment(script: Component, engine: str) -> None:
    """A program sees the arguments and variables that it was given, and none of the host's."""
    os.environ["HIWIRE_SECRET"] = "x"
    printed = run(script, engine, "args", "env A", "env HIWIRE_SECRET", args=["app", "ä b"], env={"A": "1=2"})
    assert printed == ["0: app", "1: ä b", "1=2", "(none)"]


def test_output(script: Component, engine: str) -> None:
    """What a program writes goes where it was told to go, in order, also where it is much."""
    chunks: list[bytes] = []
    wasi = Wasi(stdin=b"out one\nerr two\nfill 200000\n", stdout=chunks.append)
    with script.instantiate(engine=engine, wasi=wasi) as instance:
        instance["wasi:cli/run"].run()
    assert b"".join(chunks) == b"> out one\none\n> err two\n> fill 200000\n" + b"x" * 200_000
    assert wasi.stderr == b"two\n"
    with pytest.raises(ValueError, match="given to write to"):
        _ = wasi.stdout


@pytest.mark.parametrize("status, code", [(0, 0), (7, 1)])
def test_exit(script: Component, engine: str, status: int, code: int) -> None:
    """Exit comes out of the call; of a status other than 0 this adapter tells no more than that it is one."""
    wasi = Wasi(stdin=f"out before\nexit {status}\nout after".encode())
    with script.instantiate(engine=engine, wasi=wasi) as instance, pytest.raises(GuestExit) as caught:
        instance["wasi:cli/run"].run()
    assert caught.value.code == code
    assert b"before\n" in wasi.stdout
    assert b"after" not in wasi.stdout


def test_abort(script: Component, engine: str) -> None:
    """A program that aborts traps, and what it printed before is there."""
    wasi = Wasi(stdin=b"out before\nabort")
    with script.instantiate(engine=engine, wasi=wasi) as instance, pytest.raises(GuestTrap) as caught:
        instance["wasi:cli/run"].run()
    assert caught.value.kind == "unreachable"
    assert b"before\n" in wasi.stdout


def test_clocks_and_random(script: Component, engine: str) -> None:
    """A clock that stands still and a seed make a run that can be repeated; waiting advances the clock."""
    lines = ["clock", "sleep 2500000", "clock", "entropy"]
    first = run(script, engine, *lines, clock=ManualClock(10**18), random=1)
    assert first[:3] == ["1000000000 0, 0 0", "nanosleep: ok", "1000000002 500000000, 2 500000000"]
    assert run(script, engine, *lines, clock=ManualClock(10**18), random=1) == first
    assert run(script, engine, *lines, clock=ManualClock(10**18), random=2)[-1] != first[-1]


def test_sleep(script: Component, engine: str) -> None:
    """A program waits in real time for the system's clock."""
    began = time.monotonic()
    assert run(script, engine, "sleep 200000") == ["nanosleep: ok"]
    assert time.monotonic() - began >= 0.2


def test_deadline(script: Component) -> None:
    """A program cannot sleep longer than its deadline allows."""
    wasi = Wasi(stdin=b"sleep 3600000000")
    began = time.monotonic()
    instance = script.instantiate(engine="wasmtime", wasi=wasi, deadline=0.5)
    with instance, pytest.raises(DeadlineError):
        instance["wasi:cli/run"].run()
    assert 0.4 < time.monotonic() - began < 30


def test_files_in_memory(script: Component, engine: str) -> None:
    """Files given as bytes are read, listed, and not changed."""
    printed = run(
        script, engine,
        "cat /etc/app", "cat sub/../sub/./x", "ls /", "ls sub", "stat sub/x", "stat sub", "cat nothing",
        "put sub/x text", "put new text", "rm sub/x", "mkdir y", "pread sub/x 1 2",
        "cat ../x", "ls /etc/app", "cat sub", "cat sub/x/", "readlink sub/x",
        files={"/etc/app": b"one\ntwo", "sub/x": b"data"},
    )  # fmt: skip
    assert printed == [
        "read 7: one", "two", "read 4: data",
        "entry etc of type 3", "entry sub of type 3", "entry x of type 4",
        "stat: mode 100000, size 4, modified 0", "stat: mode 40000, size 0, modified 0", "open: errno 44",
        "open: errno 69", "open: errno 69", "unlink: errno 69", "mkdir: errno 69", "pread 2: at",
        "open: errno 63", "opendir: errno 54", "read: errno 8", "open: errno 54", "readlink: errno 28",
    ]  # fmt: skip


def test_several_directories(script: Component, engine: str, tmp_path: Path) -> None:
    """Directories of the host stand beside each other, and beside files in memory."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = {
        "/a": Wasi.directory(tmp_path / "a", write=True),
        "/b": Wasi.directory(tmp_path / "b"),
        "/m": b"m",
    }
    printed = run(
        script, engine, "put /a/x text", "cat /a/x", "put /b/x text", "cat /m", "mv /a/x /b/x", files=files
    )
    assert printed == [
        "written: 4", "close: ok", "read 4: text", "open: errno 69", "read 1: m", "rename: errno 69"
    ]  # fmt: skip
    assert (tmp_path / "a" / "x").read_text() == "text"


def test_left_open(script: Component, engine: str, tmp_path: Path) -> None:
    """What a program has open when it ends is closed with it; the adapter lets it have no more than 128."""
    (tmp_path / "x").touch()
    before = len(os.listdir("/dev/fd"))
    files = {"/": Wasi.directory(tmp_path)}
    (printed,) = run(script, engine, "many x", files=files)
    assert re.fullmatch(r"opened 1\d\d, errno 48", printed)
    assert len(os.listdir("/dev/fd")) == before + 1
    del files
    assert len(os.listdir("/dev/fd")) == before


def test_without_wasi(script: Component) -> None:
    """What a program for WASI lacks is said, with the remedy."""
    with pytest.raises(UnsupportedModuleError, match=r"wasi:.*wasi=Wasi\(...\)"):
        script.instantiate(engine="wasmtime")


def test_what_is_no_wasi(script: Component) -> None:
    """Anything else is refused as what it is."""
    with pytest.raises(TypeError, match="wasi must be a Wasi, not bool"):
        script.instantiate(engine="wasmtime", wasi=True)  # type: ignore[arg-type]


def test_imports_come_first(script: Component) -> None:
    """What is given as an import takes the place of what Wasi has."""
    wasi = Wasi(stdin=b"args", args=["from wasi"])
    given = {
        "get-arguments": lambda: ["given"],
        "get-environment": lambda: [("A", "given")],
        "initial-cwd": lambda: None,
    }
    with script.instantiate({"wasi:cli/environment": given}, engine="wasmtime", wasi=wasi) as instance:
        instance["wasi:cli/run"].run()
    assert b"0: given\n" in wasi.stdout


# ---- beside wasmtime's own WASI


def make_tree(place: Path) -> Path:
    """A directory with links that lead everywhere; a secret is beside it."""
    root = place / "in"
    (root / "sub" / "deep").mkdir(parents=True)
    (place / "secret").write_text("SECRET")
    (root / "a").write_text("alpha")
    (root / "sub" / "b").write_text("beta")
    links = {
        "la": "a", "ls": "sub", "out": "../secret", "abs": "/etc", "sub/up": "../a",
        "sub/out2": "../../secret",
        "loop": "loop", "dangling": "nowhere", "sub/dots": "../..", "far": "sub/deep/../../a",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    return root


PATHS = [
    "a", "b", "new", "new2", "sub", "sub/b", "sub/", "sub/deep", "sub/new", "sub/.", "ls", "ls/b",
    "ls/new", "la", "la/", "out", "abs", "abs/passwd", "sub/up", "sub/out2", "sub/dots",
    "sub/dots/secret", "sub/dots/in/a", "loop", "loop/x", "dangling", "dangling/", "far", "..", ".",
    "../secret", "sub/../a", "sub/../../secret", "a/", "a/x", "nope/x", "new/",
]  # fmt: skip


def random_lines(seed: int) -> Iterator[str]:
    """Operations on files at random places; the same for each seed."""
    r = random.Random(seed)
    for _ in range(30):
        one, other = r.choice(PATHS), r.choice(PATHS)
        target = r.choice(["a", "/etc", "../secret", "sub/b", "..", "new"])
        number = r.choice([0, 2, 20])
        yield r.choice([
            f"cat {one}", f"put {one} text{r.random():.3}", f"excl {one} e", f"append {one} more",
            f"ls {one}", f"pread {one} {number} 3", f"pwrite {one} {number} zz", f"truncate {one} {number}",
            f"stat {one}", f"lstat {one}", f"touch {one} 1234", f"mkdir {one}", f"rmdir {one}", f"rm {one}",
            f"mv {one} {other}", f"ln {one} {other}", f"symlink {target} {one}", f"readlink {one}",
        ])  # fmt: skip


@pytest.fixture(scope="module")
def theirs() -> tuple[wasmtime.Engine, wasmtime.component.Component]:
    """The program, compiled for wasmtime's own components."""
    engine = wasmtime.Engine()
    return engine, wasmtime.component.Component.from_file(engine, str(program("script")))


def run_theirs(
    theirs: tuple[wasmtime.Engine, wasmtime.component.Component], lines: list[str], root: Path, write: bool
) -> str:
    """What the program prints with wasmtime's own WASI."""
    engine, component = theirs
    source, printed = root.with_name("stdin"), root.with_name("stdout")
    source.write_text("\n".join(lines))
    config = wasmtime.WasiConfig()
    config.argv = ["app"]
    config.stdin_file = str(source)
    config.stdout_file = str(printed)
    config.preopen_dir(str(root), "/", write)
    store = wasmtime.Store(engine)
    store.set_wasi(config)
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    instance = linker.instantiate(store, component)
    names = component.type.exports(engine)
    name = next(name for name in names if name.startswith("wasi:cli/run@"))
    interface = instance.get_export_index(store, name)
    index = instance.get_export_index(store, "run", interface)
    assert index is not None
    function = instance.get_func(store, index)
    assert function is not None
    function(store)
    store.close()
    return printed.read_text()


def tree(root: Path) -> dict[str, object]:
    """All that is below a directory."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        content = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(root))] = content
    return found


def told(output: str, write: bool) -> list[str]:
    """What a run printed, but for what two systems may differ in.

    Below a directory that must not be changed wasmtime says "not permitted", where the WIT says "read-only".
    Where a name has a slash behind it, one error may be found before another; and wasmtime removes no
    directory so.
    """
    said = []
    for part in output.split("> ")[1:]:
        line, _, result = part.partition("\n")
        if not write:
            result = result.replace("errno 69", "errno 63")
        if re.search(r"/( |$)", line):
            result = "" if line.startswith("rmdir") else re.sub(r"errno \d+", "an error", result)
        said.append(f"{line}\n{result}")
    return said


@pytest.mark.parametrize("seed", range(25))
def test_like_wasmtime(
    script: Component,
    theirs: tuple[wasmtime.Engine, wasmtime.component.Component],
    seed: int,
    tmp_path: Path,
) -> None:
    """Files are opened, made, changed, moved and removed as with wasmtime's WASI, and nothing is reached that
    is outside."""
    write = seed % 5 != 0
    lines = [line for line in random_lines(seed) if not re.fullmatch(r"rmdir \S+/", line)]
    roots = []
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        roots.append(make_tree(tmp_path / name))
    wasi = Wasi(["app"], stdin="\n".join(lines).encode(), files={"/": Wasi.directory(roots[0], write=write)})
    with script.instantiate(engine="wasmtime", wasi=wasi) as instance:
        instance["wasi:cli/run"].run()
    ours = wasi.stdout.decode()
    assert told(ours, write) == told(run_theirs(theirs, lines, roots[1], write), write)
    assert tree(roots[0]) == tree(roots[1])
    assert "SECRET" not in ours
    assert (tmp_path / "ours" / "secret").read_text() == "SECRET"


def test_nothing_is_left(script: Component, engine: str, no_gc: None) -> None:
    """After a run, also one that exits or traps, nothing holds what the program was given, whether the
    instance was closed or is only not used any more."""
    for line, closes in itertools.product(("out x", "cat /x", "exit 3", "abort"), (True, False)):
        wasi = Wasi(stdin=line.encode(), files={"/x": b"x"})
        instance = script.instantiate(engine=engine, wasi=wasi)
        with contextlib.suppress(GuestExit, GuestTrap):
            instance["wasi:cli/run"].run()
        if closes:
            instance.close()
        dead = weakref.ref(wasi)
        del wasi, instance
        assert dead() is None, (line, closes)
