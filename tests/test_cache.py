"""What is kept on disk between processes, and when it is not used."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hiwire_py import cache
from hiwire_py.cache import LIBRARIES, MODULES, CacheError, Holding

BACK = object()


@pytest.fixture
def kept(cache_home: Path) -> Path:
    """The file of something that was stored under the name "one"."""
    path = cache.store(MODULES, "one", b"contents" * 100, b"notes")
    assert path == cache_home / "hiwire" / MODULES / "one"
    return path


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "hiwire_py.cache"]


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> None:
    """Each test hears all lines again."""
    caplog.set_level(logging.INFO, "hiwire_py.cache")
    cache._say.cache_clear()


def test_kept(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was stored comes back; directories and file are for this user only; nothing else is there."""
    found = cache.load(MODULES, "one")
    assert found is not None and found == (kept, b"contents" * 100, b"notes")
    assert cache.load(MODULES, "other") is None and cache.load(LIBRARIES, "one") is None
    assert kept.stat().st_mode & 0o777 == 0o600
    assert all(d.stat().st_mode & 0o777 == 0o700 for d in list(kept.parents)[:3])
    assert os.listdir(kept.parent) == ["one"] and not lines(caplog)


def test_replaced(kept: Path) -> None:
    """The last one stored counts, empty ones too."""
    for contents, notes in ((b"more", b""), (b"", b"notes"), (b"", b"")):
        cache.store(MODULES, "one", contents, notes)
        assert cache.load(MODULES, "one") == (kept, contents, notes)


def test_umask(cache_home: Path) -> None:
    """Directories are made for this user only, whatever the umask is."""
    before = os.umask(0)
    try:
        path = cache.store(MODULES, "one", b"contents")
    finally:
        os.umask(before)
    assert path is not None and path.stat().st_mode & 0o777 == 0o600
    assert all(d.stat().st_mode & 0o777 == 0o700 for d in list(path.parents)[:2])


@pytest.mark.parametrize("place", [0, 100, 799, 800, 804, 805, 812, 813, 844, 845, 852])
def test_a_flipped_bit(kept: Path, place: int, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever it is, in the contents, the notes or the seal: nothing is loaded, and storing again helps."""
    data = bytearray(kept.read_bytes())
    assert len(data) == 853
    data[place] ^= 4
    kept.write_bytes(data)
    assert cache.load(MODULES, "one") is None
    assert len(lines(caplog)) == 1 and f"not cached: {kept} is" in lines(caplog)[0]
    cache.store(MODULES, "one", b"again")
    assert cache.load(MODULES, "one") == (kept, b"again", b"")


@pytest.mark.parametrize("size", [0, 1, 47, 48, 100, 804, 805, 852])
def test_cut_short(kept: Path, size: int) -> None:
    """As after a crash: nothing is loaded. Nor if there is too much."""
    data = kept.read_bytes()
    kept.write_bytes(data[:size])
    assert cache.load(MODULES, "one") is None
    kept.write_bytes(data + data[: size + 1])
    assert cache.load(MODULES, "one") is None


def test_another_name(kept: Path) -> None:
    """A whole file under another one's name, or in another folder, is not taken for that."""
    (kept.parent / "two").write_bytes(kept.read_bytes())
    libraries = kept.parents[1] / LIBRARIES
    libraries.mkdir(mode=0o700)
    (libraries / "one").write_bytes(kept.read_bytes())
    for path in (kept.parent / "two", libraries / "one"):
        path.chmod(0o600)
    assert cache.load(MODULES, "two") is None and cache.load(LIBRARIES, "one") is None


def _link_file(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


# What is done to the file, and what is said then.
DONE_TO_FILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (_link_file, "ymbolic link"),
    "pipe": (_pipe, "is no file that only this user can write"),
    "directory": (_directory, "s a directory"),
    "group": (lambda path: path.chmod(0o620), "is no file that only this user can write"),
    "others": (lambda path: path.chmod(0o602), "is no file that only this user can write"),
}


@pytest.mark.parametrize("what", DONE_TO_FILE)
def test_untrusted_file(kept: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is none, or that others can write to, is not read."""
    change, reason = DONE_TO_FILE[what]
    change(kept)
    assert cache.load(MODULES, "one") is None
    (line,) = lines(caplog)
    assert reason in line


@pytest.mark.parametrize("up", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_exposed_directory(
    cache_home: Path, up: int, mode: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If any directory on the way can be written by others, sticky or not, nothing is read and nothing is
    written; the line says which, and what helps."""
    (cache_home / "above" / "home").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "above" / "home"))
    kept = cache.store(MODULES, "one", b"contents")
    assert kept is not None
    exposed = kept.parents[up]
    exposed.chmod(mode)
    assert cache.load(MODULES, "one") is None
    assert cache.store(MODULES, "two", b"contents") is None
    assert os.listdir(kept.parent) == ["one"]
    (line,) = lines(caplog)
    assert f"{exposed} can be written by others" in line
    assert ("XDG_CACHE_HOME" if mode & 0o1000 else f"chmod go-w {exposed}") in line
    with pytest.raises(CacheError, match="can be written by others"):
        cache.folder(MODULES)
    exposed.chmod(0o700)
    assert cache.load(MODULES, "one") is not None


def test_below_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of our own, but in one that all can write to: nothing is kept there."""
    (tmp_path / "all").mkdir()
    (tmp_path / "all").chmod(0o1777)
    (tmp_path / "all" / "own").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "all" / "own"))
    assert cache.store(MODULES, "one", b"contents") is None
    assert not list((tmp_path / "all" / "own").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
@pytest.mark.parametrize("up", [None, 0, 1, 2])
def test_another_owner(kept: Path, up: int | None, caplog: pytest.LogCaptureFixture) -> None:
    """Files of another user are not read, nor what is in another's directories."""
    os.chown(kept if up is None else kept.parents[up], 12345, -1)
    assert cache.load(MODULES, "one") is None
    (line,) = lines(caplog)
    assert "belongs to another user" in line or "is no file that only this user can write" in line


def test_files_of_root(kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Directories may be root's, files not: what is executed was written by this user."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cache.load(MODULES, "one") is None
    (line,) = lines(caplog)
    owner = "is no file that only this user can write" if os.getuid() == 0 else "belongs to another user"
    assert owner in line


def test_link_on_the_way(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that is elsewhere, through a link, is fine where all that leads to it is; circles are none."""
    (cache_home / "large").mkdir(mode=0o700)
    (cache_home / "link").symlink_to("large")
    (cache_home / "again").symlink_to(cache_home / "link" / ".." / "link")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "again"))
    assert cache.store(MODULES, "one", b"contents") == cache_home / "large" / "hiwire" / MODULES / "one"
    assert cache.load(MODULES, "one") is not None
    (cache_home / "swapped").mkdir(mode=0o700)
    (cache_home / "swapped" / "link").symlink_to(cache_home / "large")
    (cache_home / "swapped").chmod(0o777)  # so that others can let the link lead elsewhere
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "swapped" / "link"))
    assert cache.load(MODULES, "one") is None
    (cache_home / "circle").symlink_to("circle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "circle"))
    assert cache.store(MODULES, "one", b"contents") is None


def _full(*args: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("function", ["mkdir", "replace", "fstat", "lstat"])
def test_the_system_refuses(
    cache_home: Path, function: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full or read-only disk is one logged line, and leaves nothing half written."""
    with monkeypatch.context() as patch:
        if function == "fstat":
            assert cache.store(MODULES, "one", b"contents") is not None
        patch.setattr(os, function, _full)
        if function != "fstat":
            assert cache.store(MODULES, "one", b"contents") is None
        assert cache.load(MODULES, "one") is None
    assert "No space left on device" in lines(caplog)[0]
    assert not list(cache_home.rglob(".part*"))


def test_no_home(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A user without a home directory has no cache."""

    def none() -> Path:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the specification says is to be ignored
    monkeypatch.setattr(Path, "home", none)
    assert cache.store(MODULES, "one", b"contents") is None and cache.load(MODULES, "one") is None
    assert lines(caplog) == [
        "not cached: there is no home directory (could not determine home directory): set HOME or"
        " XDG_CACHE_HOME"
    ]


def test_home_that_is_no_directory(
    cache_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As /dev/null, which services are given."""
    (cache_home / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "file"))
    assert cache.store(MODULES, "one", b"contents") is None and cache.load(MODULES, "one") is None
    assert lines(caplog) == [f"not cached: {cache_home}/file is no directory"]


def test_switched_off(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HIWIRE_CACHE=0: nothing is read, nothing is written; what is there can still be cleared."""
    monkeypatch.setenv("HIWIRE_CACHE", "0")
    assert cache.load(MODULES, "one") is None and cache.store(MODULES, "two", b"contents") is None
    assert os.listdir(kept.parent) == ["one"]
    with pytest.raises(CacheError, match="HIWIRE_CACHE=0 switches the cache off"):
        cache.require()
    assert cache.clear() == Holding(1, 853) and os.listdir(kept.parent) == []


@pytest.mark.parametrize("given, bytes_", [("", 1 << 30), ("1", 1 << 20), ("0.5", 1 << 19), ("-3", 0)])
def test_limit(given: str, bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """HIWIRE_CACHE is a number of MiB."""
    monkeypatch.setenv("HIWIRE_CACHE", given)
    assert cache.limit() == bytes_


@pytest.mark.parametrize("given", ["lots", "nan", "inf", "1G"])
def test_no_limit_at_all(
    given: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no number is the default, and said."""
    monkeypatch.setenv("HIWIRE_CACHE", given)
    assert cache.limit() == cache.DEFAULT_LIMIT
    assert lines(caplog) == [f"HIWIRE_CACHE={given!r} is no number of MiB, so it is 1024"]


def test_eviction(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit goes what was used longest ago, in either folder. Loading is using."""
    monkeypatch.setenv("HIWIRE_CACHE", "1")
    piece = bytes(300 << 10)
    for number, (folder, name) in enumerate(((LIBRARIES, "a"), (MODULES, "b"), (MODULES, "c"))):
        path = cache.store(folder, name, piece)
        assert path is not None
        os.utime(path, (1000 + number, 1000 + number))
    assert cache.load(LIBRARIES, "a") is not None
    cache.store(MODULES, "d", piece)
    assert cache.names(MODULES) == ["c", "d"] and cache.names(LIBRARIES) == ["a"]
    assert cache.store(MODULES, "e", bytes(1 << 20 | 1)) is None
    assert cache.names(MODULES) == ["c", "d"]
    assert cache.holding() == Holding(3, 3 * (len(piece) + 48))
    assert cache.clear() == Holding(3, 3 * (len(piece) + 48)) and cache.holding() == Holding(0, 0)


def test_left_behind(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process left half written counts, and goes like the rest."""
    path = cache.store(MODULES, "a", b"contents")
    assert path is not None
    left = path.with_name(".part-killed")
    left.write_bytes(bytes(1 << 20))
    os.utime(left, (1000, 1000))
    monkeypatch.setenv("HIWIRE_CACHE", "1")
    cache.store(MODULES, "b", b"contents")
    assert cache.names(MODULES) == ["a", "b"]


RACE = """
import sys
from hiwire_py import cache
wrong = 0
for turn in range(150):
    cache.store(cache.MODULES, "one", bytes([turn % 251]) * 20000)
    kept = cache.load(cache.MODULES, "one")
    wrong += kept is not None and len(set(kept.contents)) != 1
    if turn % 50 == 49:
        cache.clear()
sys.exit(wrong)
"""


def test_many_processes(cache_home: Path) -> None:
    """They store, load, evict and clear at once: each finds something whole, or nothing."""
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", RACE]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert set(cache.names(MODULES)) <= {"one"}
