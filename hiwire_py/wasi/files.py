"""Descriptors: files and directories that a guest has opened; and those that are in memory, for reading.

A path is relative to the descriptor of a directory, and leads nowhere but into it: a leading ``/``, and a
``..`` that would leave it, are refused with the code ``not-permitted``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import FileError, StreamClosed
from .streams import Input, Output

__all__ = ["Descriptor", "FileInput", "FileOutput", "MemoryDirectory", "Stat", "steps"]

_LONGEST_PATH = 4096  # bytes; as on Linux
_DEEPEST = 128  # names in a path: each of a directory of the host is opened on the way


@dataclass(frozen=True)
class Stat:
    """What is known of a file without opening it. Times are nanoseconds since 1970, None: not known."""

    type: str
    size: int = 0
    links: int = 1
    accessed: int | None = None
    modified: int | None = None
    changed: int | None = None
    identity: tuple[Any, ...] = ()
    """Equal for two that are the same file."""


def steps(path: str) -> tuple[list[str], bool]:
    """The names in a path, and whether a slash behind the last says that it must be a directory.

    Raises:
        FileError: it is empty, absolute, has a zero byte, or is too long.
    """
    if not path:
        raise FileError("no-entry")
    if path.startswith("/"):
        raise FileError("not-permitted")
    if "\0" in path:
        raise FileError("invalid")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if path.rstrip("/").rpartition("/")[2] == ".":
        names.append(".")  # what is before it must be a directory, and is not what is removed or renamed
    if len(path.encode()) > _LONGEST_PATH or len(names) > _DEEPEST:
        raise FileError("name-too-long")
    return names, path.endswith("/")


class Descriptor:
    """An open file or directory. Here are those operations that fail; subclasses have what they can do.

    Attributes:
        type: a label of `descriptor-type` in WASI 0.2.
        flags: labels of `descriptor-flags`.

    All operations raise a `FileError` when they fail.
    """

    type = "unknown"
    flags: frozenset[str] = frozenset()

    @property
    def is_directory(self) -> bool:
        return self.type == "directory"

    def need(self, flag: str) -> None:
        """Refuse what the descriptor was not opened for."""
        if self.is_directory:
            raise FileError("is-directory")
        if flag not in self.flags:
            raise FileError("bad-descriptor")

    def need_change(self) -> None:
        """Refuse to change what is in a directory."""
        if not self.is_directory:
            raise FileError("not-directory")
        if "mutate-directory" not in self.flags:
            raise FileError("read-only")

    # ---- of itself

    def stat(self) -> Stat:
        """What is known of it."""
        raise NotImplementedError

    def read(self, size: int, offset: int) -> bytes:
        """Up to so many bytes; none at the end."""
        self.need("read")
        raise FileError("unsupported")

    def write(self, data: bytes, offset: int) -> int:
        """How many bytes were written."""
        self.need("write")
        raise FileError("unsupported")

    def append(self, data: bytes) -> int:
        """Write at the end."""
        self.need("write")
        raise FileError("unsupported")

    def set_size(self, size: int) -> None:
        """Cut it, or add zeroes."""
        self.need("write")
        raise FileError("unsupported")

    def set_times(self, accessed: int | None, modified: int | None) -> None:
        """Nanoseconds since 1970; None: as it was."""
        raise FileError("read-only")

    def sync(self, data_only: bool) -> None:
        """Wait until what was written is on the disk."""

    def entries(self) -> list[tuple[str, str]]:
        """Names in the directory, with their types, sorted."""
        raise FileError("not-directory")

    # ---- of what is below it, by a path

    def stat_at(self, path: str, follow: bool) -> Stat:
        """What is known of it; ``follow``: of what a symbolic link leads to."""
        raise FileError("not-directory")

    def open_at(self, path: str, follow: bool, how: Collection[str], flags: Collection[str]) -> Descriptor:
        """Open a file or directory.

        Args:
            how: labels of `open-flags`.
            flags: labels of `descriptor-flags`.
        """
        raise FileError("not-directory")

    def read_link_at(self, path: str) -> str:
        """What a symbolic link says."""
        raise FileError("not-directory")

    def set_times_at(self, path: str, follow: bool, accessed: int | None, modified: int | None) -> None:
        """As `set_times`."""
        self.need_change()

    def create_directory_at(self, path: str) -> None:
        """Make a directory."""
        self.need_change()

    def remove_directory_at(self, path: str) -> None:
        """Remove an empty directory."""
        self.need_change()

    def unlink_at(self, path: str) -> None:
        """Remove what is no directory."""
        self.need_change()

    def rename_at(self, path: str, other: Descriptor, new: str) -> None:
        """Move it to a path below another descriptor."""
        self.need_change()

    def link_at(self, path: str, follow: bool, other: Descriptor, new: str) -> None:
        """Give a file another name, below another descriptor."""
        self.need_change()

    def symlink_at(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self.need_change()


class FileInput(Input):
    """A file that is read from an offset on."""

    def __init__(self, file: Descriptor, offset: int) -> None:
        file.need("read")
        self._file, self._offset = file, offset

    def read(self, size: int) -> bytes:
        data = self._file.read(size, self._offset)
        if not data:
            raise StreamClosed
        self._offset += len(data)
        return data


class FileOutput(Output):
    """A file that is written from an offset on; None: at its end."""

    def __init__(self, file: Descriptor, offset: int | None) -> None:
        file.need("write")
        self._file, self._offset = file, offset

    def write(self, data: bytes) -> None:
        while data:
            if self._offset is None:
                count = self._file.append(data)
            else:
                count = self._file.write(data, self._offset)
                self._offset += count
            data = data[count:]


# ---- in memory


@dataclass(frozen=True, eq=False)
class _Content:
    """A file."""

    data: bytes
    type = "regular-file"

    def stat(self) -> Stat:
        return Stat(self.type, len(self.data), identity=("memory", id(self)))


class _MemoryFile(Descriptor):
    """A file that was opened."""

    type = _Content.type

    def __init__(self, content: _Content, flags: frozenset[str]) -> None:
        self._content = content
        self.flags = flags

    def stat(self) -> Stat:
        return self._content.stat()

    def read(self, size: int, offset: int) -> bytes:
        self.need("read")
        return self._content.data[offset : offset + size]


class MemoryDirectory(Descriptor):
    """A directory that has names, and below them files or directories, which are read and not changed."""

    type = "directory"
    flags = frozenset({"read"})

    def __init__(self) -> None:
        self._items: dict[str, _Content | MemoryDirectory] = {}

    @staticmethod
    def of(files: Mapping[str, bytes]) -> MemoryDirectory:
        """A directory of files by their paths, which may begin with a slash.

        Raises:
            ValueError: a path leads nowhere, or is that of a file and of a directory.
        """
        root = MemoryDirectory()
        for path, data in files.items():
            names = [name for name in path.split("/") if name not in ("", ".")]
            if not names or ".." in names or "\0" in path or path.endswith("/"):
                raise ValueError(f"{path!r:.100} is no path of a file")
            place = root
            for name in names[:-1]:
                inner = place._items.setdefault(name, MemoryDirectory())
                if not isinstance(inner, MemoryDirectory):
                    raise ValueError(f"{path!r:.100} is below a file")
                place = inner
            content = _Content(data)
            if place._items.setdefault(names[-1], content) is not content:
                raise ValueError(f"{path!r:.100} is there twice, or is a directory")
        return root

    def stat(self) -> Stat:
        return Stat(self.type, identity=("memory", id(self)))

    def entries(self) -> list[tuple[str, str]]:
        return [(name, item.type) for name, item in sorted(self._items.items())]

    def _find(self, path: str) -> _Content | MemoryDirectory:
        names, directory = steps(path)
        found: _Content | MemoryDirectory = self
        way: list[MemoryDirectory] = []
        for name in names:
            if not isinstance(found, MemoryDirectory):
                raise FileError("not-directory")
            if name == ".":
                continue
            if name == "..":
                if not way:
                    raise FileError("not-permitted")
                found = way.pop()
            elif name in found._items:
                way.append(found)
                found = found._items[name]
            else:
                raise FileError("no-entry")
        if directory and not isinstance(found, MemoryDirectory):
            raise FileError("not-directory")
        return found

    def stat_at(self, path: str, follow: bool) -> Stat:
        return self._find(path).stat()

    def open_at(self, path: str, follow: bool, how: Collection[str], flags: Collection[str]) -> Descriptor:
        if not {"write", "mutate-directory"}.isdisjoint(flags) or not {"create", "truncate"}.isdisjoint(how):
            raise FileError("read-only")
        found = self._find(path)
        if isinstance(found, MemoryDirectory):
            return found
        if "directory" in how:
            raise FileError("not-directory")
        return _MemoryFile(found, frozenset({"read"}.intersection(flags)))

    def read_link_at(self, path: str) -> str:
        self._find(path)
        raise FileError("invalid")  # there are no symbolic links
