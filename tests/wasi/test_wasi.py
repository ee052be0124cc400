"""Class Wasi: what it takes, and what it refuses where it is given."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hiwire_py.wasi import Clock, ManualClock, Wasi


@pytest.mark.parametrize(
    "given, error",
    [
        ({"args": "app"}, TypeError),
        ({"args": [1]}, TypeError),
        ({"args": ["a\0b"]}, ValueError),
        ({"args": ["\udcff"]}, ValueError),
        ({"env": {"A": 1}}, TypeError),
        ({"env": {"A": "\0"}}, ValueError),
        ({"stdin": "text"}, TypeError),
        ({"stdout": b""}, TypeError),
        ({"stderr": 2}, TypeError),
        ({"files": {"a": "text"}}, TypeError),
        ({"files": {1: b""}}, TypeError),
        ({"files": {"..": b""}}, ValueError),
        ({"clock": 5}, TypeError),
        ({"random": "seed"}, TypeError),
        ({"random": True}, TypeError),
    ],
)
def test_refused(given: dict[str, Any], error: type[Exception]) -> None:
    """What cannot be given to a program is refused at once, and not when it asks."""
    with pytest.raises(error):
        Wasi(**given)


def test_nothing_is_inherited() -> None:
    """Without arguments a program is given nothing of this process."""
    wasi = Wasi()
    assert (wasi.args, wasi.env, wasi.directories, wasi.stdout, wasi.stderr) == ([], {}, [], b"", b"")


def test_directories(tmp_path: Path) -> None:
    """Files in memory are one directory, and each directory of the host is one; they must not overlap."""
    data, other = Wasi.directory(tmp_path), Wasi.directory(tmp_path)
    wasi = Wasi(files={"/data": data, "/app/x": b"x", "y": b"y", "/databases": b""})
    (root, name), (mounted, where) = wasi.directories
    assert (name, where, mounted) == ("/", "/data", data)
    assert [entry for entry, _ in root.entries()] == ["app", "databases", "y"]
    overlaps: list[dict[str, Any]] = [
        {"/data": data, "data/": other},
        {"/data": data, "data/x": b""},
        {"/": data, "x": b""},
    ]
    for files in overlaps:
        with pytest.raises(ValueError, match=r"twice|another's"):
            Wasi(files=files)


def test_random() -> None:
    """Random bytes come from the system, a seed or a function; a function must give as many as asked for."""
    assert len({Wasi().random_bytes(16) for _ in range(5)}) == 5
    assert Wasi(random=3).random_bytes(9) == Wasi(random=3).random_bytes(9) != Wasi(random=4).random_bytes(9)
    assert Wasi(random=bytes).random_bytes(4) == bytes(4)
    with pytest.raises(ValueError, match="random gave 1 bytes, not 4"):
        Wasi(random=lambda size: b"x").random_bytes(4)
    with pytest.raises(TypeError, match="must give bytes, not str"):
        Wasi(random=lambda size: "x" * size).random_bytes(4)  # type: ignore[arg-type,return-value]


def test_clocks() -> None:
    """The system's clock goes on from 0, and the manual one only where somebody waits."""
    clock = Clock()
    first = clock.monotonic()
    assert 0 <= first < 10**9
    clock.sleep(2_000_000)
    assert clock.monotonic() >= first + 2_000_000
    assert abs(clock.wall() - time.time_ns()) < 10**9
    manual = ManualClock(wall=7)
    manual.sleep(5)
    manual.sleep(-1)
    assert (manual.monotonic(), manual.wall()) == (5, 12)
    with pytest.raises(ValueError, match="0 or more"):
        ManualClock(-1)
    with pytest.raises(TypeError):
        ManualClock(1.5)  # type: ignore[arg-type]
