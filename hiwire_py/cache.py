"""What is kept on disk between processes: compiled modules, in ``${XDG_CACHE_HOME:-~/.cache}/hiwire``.

What is read from there runs as machine code in this process, so nobody else may be able to put things there.
docs/cache.md has the rules that see to it, in "Who is trusted", and what the digest at the end of a file is
for: it finds accidents, and does not stop somebody who can write there.

Nothing here is an error for who makes a guest. What cannot be read is compiled again, and what cannot be
written is not kept; the logger ``hiwire_py.cache`` says why.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import stat
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

from .errors import ToolchainError

__all__ = [
    "DEFAULT_LIMIT",
    "LIBRARIES",
    "MODULES",
    "VARIANTS",
    "CacheError",
    "Holding",
    "Kept",
    "clear",
    "describe",
    "folder",
    "holding",
    "limit",
    "load",
    "names",
    "refuse",
    "require",
    "root",
    "store",
]

MODULES = "modules"
"""The folder of modules that wasmtime or wasmer compiled, and of what native knows of large ones."""
LIBRARIES = "native"
"""The folder of the engine native's libraries."""
VARIANTS = "compare"
"""The folder of variants of hiwire that were built to be compared."""

DEFAULT_LIMIT = 1 << 30
_SWITCH = "HIWIRE_CACHE"
_MIB = 1 << 20

# After the contents and the notes: how long the notes are, a digest, the version of this format. A library
# with this at its end can still be loaded.
_SEAL = struct.Struct("<Q32s8s")
_LENGTH = 8  # bytes, of the first field
_FORMAT = b"hiwire\0\1"
_LINKS = 40  # as many as Linux follows


class CacheError(ToolchainError):
    """Nothing can be kept on disk; the message says why, and what would help."""


class _ExposedError(CacheError):
    """Others can put things where the cache is, which the user will want to know."""


class Kept(NamedTuple):
    """A file of the cache, and what `store` was given."""

    path: Path
    contents: bytes
    notes: bytes


class Holding(NamedTuple):
    """How much the cache has: files, and their bytes."""

    files: int
    size: int


def root() -> Path:
    """Where everything is kept. The directory need not be there.

    Raises:
        CacheError: the user has no home directory.
    """
    base = os.environ.get("XDG_CACHE_HOME") or ""
    if os.path.isabs(base):  # others are to be ignored, says the specification of these variables
        return Path(base) / "hiwire"
    try:
        return Path.home() / ".cache" / "hiwire"
    except RuntimeError as e:
        raise CacheError(f"there is no home directory ({e}): set HOME or XDG_CACHE_HOME") from e


def _allowed() -> int:
    """As `limit`, which may not be 0."""
    most = limit()
    if not most:
        raise CacheError(f"{_SWITCH}=0 switches the cache off")
    return most


def limit() -> int:
    """How many bytes may be kept; 0: nothing is kept, and nothing that was is used."""
    given = os.environ.get(_SWITCH, "").strip()
    if not given:
        return DEFAULT_LIMIT
    try:
        return max(0, int(float(given) * _MIB))
    except (OverflowError, ValueError):
        _say(f"{_SWITCH}={given!r} is no number of MiB, so it is {DEFAULT_LIMIT // _MIB}", loud=True)
        return DEFAULT_LIMIT


def folder(name: str, make: bool = False) -> Path:
    """A folder of the cache, which can be trusted.

    Args:
        name: `MODULES`, `LIBRARIES` or `VARIANTS`.
        make: make what is missing on the way.

    Raises:
        CacheError: others can write there, or this system does not tell.
        OSError: it is missing, or cannot be made.
    """
    if not hasattr(os, "geteuid"):
        raise CacheError("this system does not say who else can write to a directory")
    at, rest, links = "/", str(root() / name).split("/")[::-1], 0
    _check(at, os.lstat(at))
    while rest:
        step = os.path.normpath(os.path.join(at, rest.pop()))  # "..", of a link, is right: `at` has no link
        if make and not os.path.lexists(step):
            with contextlib.suppress(FileExistsError):  # another process may be as far
                os.mkdir(step, 0o700)
        found = os.lstat(step)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _LINKS:
                raise CacheError(f"{step} is a symbolic link to itself")
            target = os.readlink(step)
            at = "/" if os.path.isabs(target) else at
            rest += target.split("/")[::-1]
        else:
            _check(step, found)
            at = step
    return Path(at)


def _check(path: str, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise CacheError(f"{path} is no directory")
    if found.st_uid not in (os.geteuid(), 0):
        raise _ExposedError(
            f"{path} belongs to another user, so what is in it cannot be trusted: let XDG_CACHE_HOME name a"
            " directory of your own"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        remedy = "let XDG_CACHE_HOME name another" if found.st_mode & stat.S_ISVTX else f"chmod go-w {path}"
        raise _ExposedError(f"{path} can be written by others, so what is in it cannot be trusted: {remedy}")


def require() -> None:
    """See to it that things can be kept.

    Raises:
        CacheError: they cannot.
    """
    _allowed()
    try:
        folder(LIBRARIES, make=True)
    except OSError as e:
        raise CacheError(f"nothing can be kept in {root()}: {e}") from e


def load(folder_name: str, name: str) -> Kept | None:
    """What is kept under that name; None if nothing is, or it cannot be trusted. It counts as used now."""
    try:
        _allowed()
        path = folder(folder_name) / name
        with open(path, "rb", opener=_open) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise _ExposedError(f"{path} is no file that only this user can write: remove it")
            size = max(0, found.st_size - _SEAL.size)
            file.seek(size)
            seal = file.read()
            length = min(int.from_bytes(seal[:_LENGTH], "little"), size)
            file.seek(0)
            kept = Kept(path, file.read(size - length), file.read(length))
            if seal != _seal(folder_name, name, kept.contents, kept.notes):
                raise CacheError(f"{path} is damaged, cut short, or of another release")
            with contextlib.suppress(OSError):
                os.utime(file.fileno())
    except FileNotFoundError:
        return None
    except (OSError, CacheError) as e:
        refuse(e)
        return None
    return kept


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _seal(folder_name: str, name: str, contents: bytes | bytearray, notes: bytes) -> bytes:
    digest = hashlib.sha256(f"{folder_name}/{name}\0{len(notes)}\0".encode())
    digest.update(contents)
    digest.update(notes)
    return _SEAL.pack(len(notes), digest.digest(), _FORMAT)


def store(folder_name: str, name: str, contents: bytes | bytearray, notes: bytes = b"") -> Path | None:
    """Keep something under a name, in place of what is there, and let go of what was used longest ago if all
    is more than `limit`.

    Returns:
        Its file; None where it cannot be kept.
    """
    try:
        most = _allowed()
        directory = folder(folder_name, make=True)
        if len(contents) > most:
            raise CacheError(f"{name} is larger than the cache may be: raise {_SWITCH}")
        handle, part = tempfile.mkstemp(prefix=".part-", dir=directory)
        try:
            with open(handle, "wb") as file:
                for piece in (contents, notes, _seal(folder_name, name, contents, notes)):
                    file.write(piece)
            os.replace(part, directory / name)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):  # an interrupt may come after it has got its name
                os.unlink(part)
            raise
        _evict(most)
    except (OSError, CacheError) as e:
        refuse(e)
        return None
    return directory / name


def names(folder_name: str) -> list[str]:
    """The names of what is kept, in order."""
    try:
        return sorted(os.path.basename(path) for _, _, path in _files(folder_name))
    except (OSError, CacheError):
        return []


def _files(*folders: str) -> list[tuple[float, int, str]]:
    """When each file was used, its size and path: those used last come first."""
    files = []
    for folder_name in folders:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder(folder_name)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another process may remove it
                    if entry.is_file(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        files.append((found.st_mtime, found.st_size, entry.path))
    return sorted(files, reverse=True)


def _evict(most: int) -> None:
    """Remove what was used longest ago, until the rest has so many bytes."""
    files = _files(MODULES, LIBRARIES, VARIANTS)
    for total, (_, _, path) in zip(itertools.accumulate(size for _, size, _ in files), files):
        if total > most:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def holding() -> Holding:
    """What the cache has.

    Raises:
        CacheError: others can write there.
        OSError: it cannot be read.
    """
    sizes = [size for _, size, _ in _files(MODULES, LIBRARIES, VARIANTS)]
    return Holding(len(sizes), sum(sizes))


def describe() -> str:
    """Where the cache is and how full, for users. Makes no directory.

    Raises:
        CacheError: it cannot be used; the message says why.
    """
    most = _allowed()
    try:
        held = holding()
    except OSError as e:
        raise CacheError(str(e)) from e
    place = root()
    nearest = next(path for path in (place, *place.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        raise CacheError(f"{nearest} cannot be written")
    return (
        f"{place}: {held.files:,} compiled modules, {held.size / _MIB:,.1f} MiB of at most"
        f" {most / _MIB:,.0f} MiB, which {_SWITCH} can change"
    )


def clear() -> Holding:
    """Remove all compiled modules; how much that was. Processes that use them go on.

    Raises:
        CacheError, OSError: as `folder` does.
    """
    held = holding()
    _evict(-1)
    return held


def refuse(error: Exception) -> None:
    """Log why something is not read from the cache, or not written there."""
    _say(f"not cached: {error}", loud=isinstance(error, _ExposedError))


@functools.lru_cache(maxsize=256)
def _say(message: str, loud: bool = False) -> None:
    """Log a line, once in a process."""
    import logging  # here, because most processes have nothing to say, and it takes some milliseconds

    logging.getLogger("hiwire_py.cache").log(logging.WARNING if loud else logging.INFO, message)
