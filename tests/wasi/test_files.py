"""Files and directories below what a caller gave: what is reached, and that nothing else is."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hiwire_py.wasi.directories import OPEN_LIMIT, HostDirectory, open_directory
from hiwire_py.wasi.errors import FileError
from hiwire_py.wasi.files import Descriptor, MemoryDirectory

READ, WRITE = {"read"}, {"read", "write"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory; beside it is a secret."""
    (tmp_path / "secret").write_text("SECRET")
    inside = tmp_path / "in"
    (inside / "sub").mkdir(parents=True)
    (inside / "file").write_text("data")
    return inside


def fails(code: str, function: Callable[..., object], *args: object) -> None:
    """Check that an operation fails, and how."""
    with pytest.raises(FileError) as caught:
        function(*args)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "target",
    [
        "..",
        "../secret",
        "sub/../../secret",
        "/",
        "/etc/passwd",
        "sub/../sub/../..",
        "../in/../secret",
        "/proc/self/root",
    ],
)
def test_no_way_out(root: Path, target: str) -> None:
    """No path leads out of a directory, neither by itself nor by a symbolic link, for any operation."""
    (root / "link").symlink_to(target)
    directory = open_directory(root, write=True)
    for path in (target, "link", "link/", "sub/../link", "link/x"):
        fails("not-permitted", directory.open_at, path, True, (), READ)
        fails("not-permitted", directory.open_at, path, True, {"create"}, WRITE) if path[-1] != "/" else None
        fails("not-permitted", directory.stat_at, path, True)
    for path in (target, "link/x"):
        for operation in (
            directory.create_directory_at,
            directory.remove_directory_at,
            directory.unlink_at,
            directory.read_link_at,
        ):
            fails("not-permitted", operation, path)
        fails("not-permitted", directory.rename_at, "file", directory, path)
        fails("not-permitted", directory.rename_at, path, directory, "new")
        fails("not-permitted", directory.link_at, path, True, directory, "new")
        fails("not-permitted", directory.link_at, "file", False, directory, path)
        fails("not-permitted", directory.symlink_at, "file", path)
        fails("not-permitted", directory.set_times_at, path, True, 0, 0)
    fails("loop", directory.open_at, "link", False, (), READ)
    assert sorted(os.listdir(root)) == ["file", "link", "sub"]


def test_links_inside(root: Path) -> None:
    """Symbolic links that stay inside are followed, also by way of ``..``."""
    (root / "sub" / "up").symlink_to("../file")
    (root / "twice").symlink_to("sub/up")
    (root / "dangling").symlink_to("sub/made")
    directory = open_directory(root, write=True)
    assert directory.open_at("twice", True, (), READ).read(9, 0) == b"data"
    assert directory.stat_at("twice", False).type == "symbolic-link"
    directory.open_at("dangling", True, {"create"}, WRITE).write(b"new", 0)
    assert (root / "sub" / "made").read_text() == "new"
    fails("exist", directory.open_at, "dangling", True, {"create", "exclusive"}, WRITE)


def test_loops_end(root: Path) -> None:
    """Links that lead to each other, and those that make a path longer and longer, come to an end."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "grows").symlink_to("sub/../" * 30 + "grows/x")
    directory = open_directory(root)
    fails("loop", directory.stat_at, "a", True)
    with pytest.raises(FileError) as caught:
        directory.stat_at("grows", True)
    assert caught.value.code in ("loop", "name-too-long")
    fails("name-too-long", directory.stat_at, "x" * 5000, True)
    fails("name-too-long", directory.stat_at, "a/" * 200, True)
    fails("invalid", directory.stat_at, "a\0b", True)
    fails("no-entry", directory.stat_at, "", True)


def test_renamed_meanwhile(root: Path) -> None:
    """A directory that others exchange for a link to the outside, again and again, lets nobody out."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("SECRET")
    (root / "sub" / "secret").write_text("inner")
    (root / "evil").symlink_to("../outside")
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            os.rename(root / "sub", root / "kept")
            os.rename(root / "evil", root / "sub")
            os.rename(root / "sub", root / "evil")
            os.rename(root / "kept", root / "sub")

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        directory, seen = open_directory(root), set()
        for _ in range(3000):
            try:
                seen.add(directory.open_at("sub/secret", True, (), READ).read(9, 0))
            except FileError as error:
                seen.add(error.code.encode())
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"inner", b"no-entry", b"not-permitted", b"not-directory"}


def test_read_only(root: Path) -> None:
    """Below a directory that was not opened for writing nothing changes."""
    directory = open_directory(root)
    changing: list[tuple[set[str], set[str]]] = [
        ({"create"}, READ),
        ({"truncate"}, READ),
        (set(), WRITE),
        (set(), {"mutate-directory"}),
    ]
    for how, flags in changing:
        fails("read-only", directory.open_at, "file", True, how, flags)
    fails("read-only", directory.create_directory_at, "x")
    fails("read-only", directory.remove_directory_at, "sub")
    fails("read-only", directory.unlink_at, "file")
    fails("read-only", directory.symlink_at, "file", "x")
    fails("read-only", directory.rename_at, "file", directory, "x")
    fails("read-only", directory.link_at, "file", False, directory, "x")
    fails("read-only", directory.set_times_at, "file", True, 0, 0)
    fails("read-only", directory.set_times, 0, 0)
    inner = directory.open_at("sub", True, {"directory"}, READ)
    fails("read-only", inner.create_directory_at, "x")
    file = directory.open_at("file", True, (), READ)
    fails("bad-descriptor", file.write, b"x", 0)
    fails("bad-descriptor", file.append, b"x")
    fails("bad-descriptor", file.set_size, 0)
    fails("read-only", file.set_times, 0, 0)
    other = open_directory(root, write=True)
    fails("read-only", other.rename_at, "file", directory, "x")
    fails("read-only", other.link_at, "file", False, directory, "x")
    assert sorted(os.listdir(root)) == ["file", "sub"]
    assert (root / "file").read_text() == "data"


def test_file(root: Path) -> None:
    """A file is read and written at offsets, at its end, and cut."""
    file = open_directory(root, write=True).open_at("file", True, (), WRITE)
    assert file.write(b"xyz", 6) == 3
    assert file.read(100, 0) == b"data\0\0xyz"
    assert file.append(b"!") == 1
    file.set_size(2)
    assert file.read(100, 0) == b"da"
    assert file.read(100, 2) == b""
    file.set_times(5, None)
    assert file.stat().accessed == 5
    assert file.stat().size == 2
    file.sync(True)
    file.sync(False)
    fails("not-directory", file.entries)
    fails("not-directory", file.open_at, "x", True, (), READ)
    write_only = open_directory(root, write=True).open_at("file", True, (), {"write"})
    fails("bad-descriptor", write_only.read, 1, 0)


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1])
def test_huge_numbers(root: Path, number: int) -> None:
    """Offsets, sizes and times that the system has no number for are errors of the operation."""
    file = open_directory(root, write=True).open_at("file", True, (), WRITE)
    for operation in (
        lambda: file.read(number, number),
        lambda: file.write(b"x", number),
        lambda: file.set_size(number),
        lambda: file.set_times(number * 10**9, None),
    ):
        fails("overflow", operation)
    assert file.read(number, 0) == b"data"


def test_entries(root: Path) -> None:
    """A directory is listed with types; a name that is no UTF-8 is left out: no guest can be told it."""
    (root / "link").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    (root / "ünï").touch()
    with open(os.fsencode(root) + b"/\xff", "w"):
        pass
    directory = open_directory(root)
    expected = [
        ("file", "regular-file"), ("link", "symbolic-link"), ("pipe", "fifo"), ("sub", "directory"),
        ("ünï", "regular-file"),
    ]  # fmt: skip
    assert directory.entries() == expected
    assert directory.open_at(".", True, (), READ).entries() == expected
    (root / "bad").symlink_to(os.fsdecode(b"\xff"))
    fails("illegal-byte-sequence", directory.read_link_at, "bad")


def test_pipes_do_not_wait(root: Path) -> None:
    """To open a pipe that nobody writes to does not hang."""
    os.mkfifo(root / "pipe")
    directory = open_directory(root, write=True)
    assert directory.open_at("pipe", True, (), READ).type == "fifo"
    fails("no-such-device", directory.open_at, "pipe", True, (), {"write"})


def test_open_limit(root: Path) -> None:
    """A guest cannot use up the descriptors of the process; closing makes room, and all are closed."""
    before = len(os.listdir("/dev/fd"))
    directory = open_directory(root)
    held: list[Descriptor] = [directory.open_at("file", True, (), READ) for _ in range(OPEN_LIMIT)]
    fails("quota", directory.open_at, "file", True, (), READ)
    held.pop()
    held.append(directory.open_at("sub", True, (), READ))
    fails("quota", directory.open_at, "file", True, (), READ)
    del held, directory
    gc.collect()  # exceptions that were caught hold what they came through
    assert len(os.listdir("/dev/fd")) == before


def test_close(root: Path) -> None:
    """A directory can be closed, again and again; then nothing can be done with it, here or in a guest."""
    before = len(os.listdir("/dev/fd"))
    with open_directory(root, write=True) as directory:
        file = directory.open_at("file", True, (), READ)
    directory.close()
    for operation in (
        directory.stat,
        directory.entries,
        lambda: directory.open_at("file", True, (), READ),
        lambda: directory.stat_at("sub/x", True),
        lambda: directory.create_directory_at("new"),
        lambda: directory.rename_at("file", directory, "new"),
        lambda: directory.set_times(0, 0),
    ):
        fails("bad-descriptor", operation)
    assert file.read(9, 0) == b"data"
    del file
    assert len(os.listdir("/dev/fd")) == before
    assert sorted(os.listdir(root)) == ["file", "sub"]


def test_failures_leave_nothing_open(root: Path) -> None:
    """However a path is refused, what was opened on its way is closed."""
    deep = root
    for _ in range(20):
        deep /= "d"
        deep.mkdir()
    (deep / "out").symlink_to("/etc")
    directory = open_directory(root, write=True)
    before = len(os.listdir("/dev/fd"))
    way = "d/" * 20
    for end in ("out", "out/x", "nothing", "nothing/x", "../" * 21, "a\0"):
        with pytest.raises(FileError):
            directory.open_at(way + end, True, (), READ)
        with pytest.raises(FileError):
            directory.rename_at(way + end, directory, way + end + "/x/y")
    assert len(os.listdir("/dev/fd")) == before


def test_moves_between_directories(root: Path) -> None:
    """Files are moved and linked from one directory to another."""
    directory = open_directory(root, write=True)
    sub = directory.open_at("sub", True, {"directory"}, READ)
    directory.link_at("file", False, sub, "linked")
    assert directory.stat_at("file", True).identity == sub.stat_at("linked", True).identity
    assert directory.stat_at("file", True).links == 2
    directory.rename_at("file", sub, "moved")
    assert [name for name, _ in sub.entries()] == ["linked", "moved"]
    sub.create_directory_at("inner/")
    directory.rename_at("sub/inner", directory, "outer/")
    directory.remove_directory_at("outer/")
    fails("not-empty", directory.remove_directory_at, "sub")
    fails("is-directory", directory.unlink_at, "sub")
    fails("busy", directory.rename_at, ".", directory, "x")
    fails("cross-device", directory.rename_at, "sub/moved", _Changeable(), "x")


class _Changeable(MemoryDirectory):
    """One in memory that says it may be changed."""

    flags = frozenset({"read", "mutate-directory"})


def test_memory() -> None:
    """Files in memory are found by paths, whole and in parts, and lead nowhere else."""
    root = MemoryDirectory.of({"/a/b": b"data", "c": b""})
    assert root.entries() == [("a", "directory"), ("c", "regular-file")]
    assert root.open_at("a/./../a//b", True, (), READ).read(2, 1) == b"at"
    assert root.open_at("a/.", True, {"directory"}, READ).entries() == [("b", "regular-file")]
    assert root.stat_at("a/b", True).size == 4
    assert root.stat_at("a/b", True).identity != root.stat_at("c", True).identity
    assert root.stat_at("a/b", True) == root.open_at("a/b", True, (), READ).stat()
    fails("not-permitted", root.open_at, "..", True, (), READ)
    fails("not-permitted", root.open_at, "a/../..", True, (), READ)
    fails("not-permitted", root.open_at, "/a", True, (), READ)
    fails("not-directory", root.open_at, "c/", True, (), READ)
    fails("not-directory", root.open_at, "c/.", True, (), READ)
    fails("not-directory", root.open_at, "c/x", True, (), READ)
    fails("not-directory", root.open_at, "c", True, {"directory"}, READ)
    fails("no-entry", root.open_at, "d", True, (), READ)
    fails("read-only", root.open_at, "c", True, (), WRITE)
    fails("read-only", root.open_at, "d", True, {"create"}, READ)
    fails("read-only", root.rename_at, "c", root, "d")
    fails("is-directory", root.read, 1, 0)
    fails("bad-descriptor", root.open_at("c", True, (), ()).read, 1, 0)


@pytest.mark.parametrize(
    "files",
    [
        {"": b""},
        {"/": b""},
        {"../x": b""},
        {"a/": b""},
        {"a": b"", "a/b": b""},
        {"a/b": b"", "a": b""},
        {"a": b"", "/a": b""},
    ],
)
def test_memory_refused(files: dict[str, bytes]) -> None:
    """Paths that are none, or stand for two things, are refused where they are given."""
    with pytest.raises(ValueError, match="is"):
        MemoryDirectory.of(files)


def test_opened_once(root: Path, tmp_path: Path) -> None:
    """A directory stays the one that was opened, wherever it is moved to; there must be one."""
    directory = open_directory(root)
    root.rename(tmp_path / "elsewhere")
    assert directory.open_at("file", True, (), READ).read(9, 0) == b"data"
    with pytest.raises(FileNotFoundError):
        open_directory(root)
    with pytest.raises(NotADirectoryError):
        open_directory(tmp_path / "secret")
    assert isinstance(directory, HostDirectory)
