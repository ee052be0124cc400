"""Files and directories of the host, below a directory that the caller has opened; no path leads out of it.

A path is walked name by name: each directory on the way is opened by its name relative to the one before, and
never through a symbolic link. Links are read, and what they say is walked in the same way; ``..`` goes back
to what was opened before. So nothing that others rename or link meanwhile lets a guest out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .errors import FileError, told
from .files import Descriptor, Stat, steps

__all__ = ["OPEN_LIMIT", "HostDirectory", "open_directory"]

OPEN_LIMIT = 256
"""Descriptors that a guest has open below one directory, at most: a process has not many more."""

_CLOSED = -1  # which the system refuses
_MOST_LINKS = 40  # as on Linux
_MOST_READ = 1 << 20
_TYPES = {
    stat.S_IFBLK: "block-device", stat.S_IFCHR: "character-device", stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo", stat.S_IFLNK: "symbolic-link", stat.S_IFREG: "regular-file",
    stat.S_IFSOCK: "socket",
}  # fmt: skip
_DIRECTORY_ONLY = getattr(os, "O_DIRECTORY", 0)
_ON_THE_WAY = getattr(os, "O_PATH", os.O_RDONLY) | _DIRECTORY_ONLY | getattr(os, "O_NOFOLLOW", 0)
_ALWAYS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_HOW = {"create": os.O_CREAT, "exclusive": os.O_EXCL, "truncate": os.O_TRUNC, "directory": _DIRECTORY_ONLY}
_SYNC = {
    "file-integrity-sync": getattr(os, "O_SYNC", 0),
    "data-integrity-sync": getattr(os, "O_DSYNC", 0),
    "requested-write-sync": getattr(os, "O_RSYNC", 0),
}


def open_directory(path: str | os.PathLike[str], write: bool = False) -> HostDirectory:
    """Open a directory of the host.

    Args:
        path: the caller's, with links and all.
        write: whether what is in it may be changed.

    Raises:
        OSError: there is none, or it cannot be opened.
        NotImplementedError: this system opens nothing relative to a directory.
    """
    if os.open not in os.supports_dir_fd or not _DIRECTORY_ONLY:
        raise NotImplementedError(
            "this system cannot open files relative to a directory: give files as bytes"
        )
    fd = os.open(path, os.O_RDONLY | _DIRECTORY_ONLY)
    return HostDirectory(fd, write, set())


class _Place(NamedTuple):
    """Where a path leads: a name in an open directory; ``.`` is that directory itself."""

    fd: int
    name: str
    directory: bool  # the path says that it is one


class _Opened(Descriptor):
    """What has a descriptor of the host, and closes it when nobody uses it.

    Args:
        fd: the descriptor, which is this object's from now on.
        write: whether anything may be changed below the caller's directory.
        opened: all descriptors below it; that of the caller's directory is not among them.
    """

    def __init__(self, fd: int, write: bool, opened: set[int]) -> None:
        self._fd = fd
        self._write = write
        self._opened = opened

    def close(self) -> None:
        """Close it, now. Idempotent; what is done with it afterwards fails with `bad-descriptor`. What was
        opened below it stays open."""
        fd = getattr(self, "_fd", _CLOSED)
        if fd != _CLOSED:
            self._fd = _CLOSED
            self._opened.discard(fd)
            os.close(fd)

    __del__ = close

    def stat(self) -> Stat:
        with told():
            return _stat_of(os.fstat(self._fd))

    def set_times(self, accessed: int | None, modified: int | None) -> None:
        if not self._write:
            raise FileError("read-only")
        with told():
            before = os.fstat(self._fd)
            os.utime(self._fd, ns=_times(before, accessed, modified))

    def sync(self, data_only: bool) -> None:
        if self._write:
            with told():
                (getattr(os, "fdatasync", os.fsync) if data_only else os.fsync)(self._fd)


class _HostFile(_Opened):
    """What is no directory."""

    def __init__(self, fd: int, write: bool, opened: set[int], type_: str, flags: frozenset[str]) -> None:
        super().__init__(fd, write, opened)
        self.type = type_
        self.flags = flags

    def read(self, size: int, offset: int) -> bytes:
        self.need("read")
        with told():
            return os.pread(self._fd, min(size, _MOST_READ), offset)

    def write(self, data: bytes, offset: int) -> int:
        self.need("write")
        with told():
            return os.pwrite(self._fd, data, offset)

    def append(self, data: bytes) -> int:
        self.need("write")
        with told():
            return os.pwrite(self._fd, data, os.fstat(self._fd).st_size)

    def set_size(self, size: int) -> None:
        self.need("write")
        with told():
            os.ftruncate(self._fd, size)


class HostDirectory(_Opened):
    """A directory. One that is opened below another may be changed if that may, also where it was not opened
    for that: programs for preview 1, and the adapter that makes components of them, do not ask for it."""

    type = "directory"

    def __init__(self, fd: int, write: bool, opened: set[int]) -> None:
        super().__init__(fd, write, opened)
        self.flags = frozenset({"read", "mutate-directory"} if write else {"read"})

    def __enter__(self) -> HostDirectory:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def entries(self) -> list[tuple[str, str]]:
        found = []
        with told():
            # The position in a directory belongs to what was opened, and others may be reading it.
            fd = os.open(".", os.O_RDONLY | _DIRECTORY_ONLY, dir_fd=self._fd)
            try:
                with os.scandir(fd) as entries:
                    found = [(entry.name, _type_of(entry)) for entry in entries]
            finally:
                os.close(fd)
        # A name that is no UTF-8 cannot be told to a guest.
        return sorted((name, type_) for name, type_ in found if _is_unicode(name))

    @contextmanager
    def _at(self, path: str, follow: bool) -> Iterator[_Place]:
        """Where a path leads, as long as its directory is open.

        Args:
            follow: whether a symbolic link at the end is followed. One behind which a slash stands always is.
        """
        names, directory = steps(path)
        names.reverse()  # the next is the last
        way, links = [self._fd], 0
        with told():
            try:
                while names:
                    name = names.pop()
                    if name == "..":
                        if len(way) == 1:
                            raise FileError("not-permitted")
                        os.close(way.pop())
                        continue
                    last = not names
                    if last and not follow and not directory:
                        yield _Place(way[-1], name, directory)
                        return
                    if not last:
                        try:
                            way.append(os.open(name, _ON_THE_WAY, dir_fd=way[-1]))
                            continue
                        except OSError as error:
                            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                                raise
                    target = _link(way[-1], name)
                    if target is None:
                        if not last or (directory and _is_other(way[-1], name)):
                            raise FileError("not-directory")
                        yield _Place(way[-1], name, directory)
                        return
                    links += 1
                    if links > _MOST_LINKS:
                        raise FileError("loop")
                    more, must = steps(target)
                    directory = directory or (last and must)
                    names += reversed(more)
                    if len(way) + len(names) > OPEN_LIMIT:
                        raise FileError("name-too-long")
                yield _Place(way[-1], ".", True)
            finally:
                for fd in way[1:]:
                    os.close(fd)

    @contextmanager
    def _entry(self, path: str, directory: bool = True) -> Iterator[_Place]:
        """The place of a name that is to be made, removed or moved; a link of that name is not followed.

        Args:
            directory: whether it may be one.
        """
        self.need_change()
        with self._at(path.rstrip("/") or path, False) as place:
            if path.endswith("/"):
                if _is_other(place.fd, place.name):
                    raise FileError("not-directory")
                if not directory:
                    os.stat(place.name, dir_fd=place.fd, follow_symlinks=False)
            yield place

    def stat_at(self, path: str, follow: bool) -> Stat:
        with self._at(path, follow) as place:
            return _stat_of(os.stat(place.name, dir_fd=place.fd, follow_symlinks=False))

    def open_at(self, path: str, follow: bool, how: Collection[str], flags: Collection[str]) -> Descriptor:
        changes = "create" in how or "truncate" in how or "write" in flags or "mutate-directory" in flags
        if changes and not self._write:
            raise FileError("read-only")
        if len(self._opened) >= OPEN_LIMIT:
            raise FileError("quota")
        if "create" in how and ("directory" in how or path.endswith("/")):
            raise FileError("invalid" if "directory" in how else "is-directory")
        mode = os.O_RDONLY
        if "write" in flags:
            mode = os.O_RDWR if "read" in flags else os.O_WRONLY
        elif "truncate" in how:  # POSIX leaves open what that does without writing
            raise FileError("invalid")
        for label, bit in (*_HOW.items(), *_SYNC.items()):
            mode |= bit if label in how or label in flags else 0
        # What must not be there is not followed to where it leads.
        exclusive = "create" in how and "exclusive" in how
        with self._at(path, follow and not exclusive) as place:
            if place.directory:
                mode |= _DIRECTORY_ONLY
            fd = os.open(place.name, mode | _ALWAYS, 0o666, dir_fd=place.fd)
        self._opened.add(fd)
        try:
            type_ = _TYPES.get(stat.S_IFMT(os.fstat(fd).st_mode), "unknown")
        except BaseException:
            self._opened.discard(fd)
            os.close(fd)
            raise
        if type_ == self.type:
            return HostDirectory(fd, self._write, self._opened)
        kept = frozenset({"read", "write", *_SYNC}.intersection(flags))
        return _HostFile(fd, self._write, self._opened, type_, kept)

    def read_link_at(self, path: str) -> str:
        with self._at(path, False) as place:
            os.stat(place.name, dir_fd=place.fd, follow_symlinks=False)
            target = _link(place.fd, place.name)
        if target is None:
            raise FileError("invalid")
        if target.startswith("/"):
            raise FileError("not-permitted")
        if not _is_unicode(target):
            raise FileError("illegal-byte-sequence")
        return target

    def set_times_at(self, path: str, follow: bool, accessed: int | None, modified: int | None) -> None:
        self.need_change()
        with self._at(path, follow) as place:
            before = os.stat(place.name, dir_fd=place.fd, follow_symlinks=False)
            times = _times(before, accessed, modified)
            os.utime(place.name, ns=times, dir_fd=place.fd, follow_symlinks=False)

    def create_directory_at(self, path: str) -> None:
        self.need_change()
        with self._at(path.rstrip("/") or path, False) as place:
            os.mkdir(place.name, dir_fd=place.fd)

    def remove_directory_at(self, path: str) -> None:
        with self._entry(path) as place:
            os.rmdir(place.name, dir_fd=place.fd)

    def unlink_at(self, path: str) -> None:
        with self._entry(path) as place:
            found = os.stat(place.name, dir_fd=place.fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):  # some systems have another code, some remove it
                raise FileError("is-directory")
            os.unlink(place.name, dir_fd=place.fd)

    def _with(self, other: Descriptor) -> HostDirectory:
        other.need_change()
        if not isinstance(other, HostDirectory):
            raise FileError("cross-device")
        return other

    def rename_at(self, path: str, other: Descriptor, new: str) -> None:
        with self._entry(path) as old, self._with(other)._entry(new) as place:
            if new.endswith("/") and _is_other(old.fd, old.name):
                raise FileError("not-directory")
            os.rename(old.name, place.name, src_dir_fd=old.fd, dst_dir_fd=place.fd)

    def link_at(self, path: str, follow: bool, other: Descriptor, new: str) -> None:
        self.need_change()
        with self._at(path, follow) as old, self._with(other)._entry(new, False) as place:
            ends = {"src_dir_fd": old.fd, "dst_dir_fd": place.fd}
            os.link(old.name, place.name, **ends, follow_symlinks=False)

    def symlink_at(self, target: str, path: str) -> None:
        steps(target)  # an absolute one, above all, is refused
        with self._entry(path, False) as place:
            os.symlink(target, place.name, dir_fd=place.fd)


def _link(fd: int, name: str) -> str | None:
    """What a symbolic link says; None: there is none of that name."""
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # another kind of file; nothing at all
            return None
        raise


def _is_other(fd: int, name: str) -> bool:
    """Whether there is something of that name that is no directory."""
    try:
        return not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _stat_of(found: os.stat_result) -> Stat:
    return Stat(
        _TYPES.get(stat.S_IFMT(found.st_mode), "unknown"),
        found.st_size,
        found.st_nlink,
        found.st_atime_ns,
        found.st_mtime_ns,
        found.st_ctime_ns,
        (found.st_dev, found.st_ino),
    )


def _type_of(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "symbolic-link"
    if entry.is_file(follow_symlinks=False):
        return "regular-file"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    try:
        return _TYPES.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "unknown")
    except OSError:  # it is gone
        return "unknown"


def _times(before: os.stat_result, accessed: int | None, modified: int | None) -> tuple[int, int]:
    return (
        before.st_atime_ns if accessed is None else accessed,
        before.st_mtime_ns if modified is None else modified,
    )


def _is_unicode(name: str) -> bool:
    """Whether a name of the host is without bytes that are no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
