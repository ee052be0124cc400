"""WASI 0.2 as imports of a component: functions and classes that take and give what `components` has for the
types.

All functions of wasi:cli, wasi:clocks, wasi:random, wasi:io and wasi:filesystem are here but those that are
marked as unstable. Those of wasi:sockets are here too, since programs import them that never use them, but
they refuse to make a socket.

Records are mappings, variants a label or a pair of a label and the payload, enums a label, flags sets of
labels.

Source: the WIT files of WASI 0.2, up to 0.2.12. All of its versions are one here: later ones add functions,
and a component imports those that it was made for.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from ..errors import ComponentError, DeadlineError, GuestExit, GuestTrap
from .clocks import Clock
from .errors import FileError, StreamClosed
from .files import Descriptor as File
from .files import FileInput, FileOutput, Stat
from .streams import Input, Output

__all__ = ["interfaces"]

_NAME = re.compile(r"(wasi:(?:cli|clocks|filesystem|io|random|sockets)/[a-z0-9-]+)@0\.2(?:\.\d+)?")

_MOST_READ = 1 << 20  # bytes: what is read at once, whatever a guest asks for
_PERMITTED = 1 << 20  # what it may write at once
_BLOCKING_WRITE = 4096  # what the WIT says of blocking-write-and-flush
_MOST_RANDOM = 64 << 20
_SECOND = 10**9

Function = TypeVar("Function", bound=Callable[..., Any])


class System(Protocol):
    """What a program is given: a `Wasi`."""

    args: list[str]
    env: dict[str, str]
    input: Input
    output: Output
    errors: Output
    directories: list[tuple[File, str]]
    clock: Clock

    def random_bytes(self, size: int) -> bytes:
        """Random bytes."""


def interfaces(wasi: System, names: Iterable[str], longest: float | None) -> dict[str, dict[str, Any]]:
    """What those of some names have that are interfaces of WASI 0.2: see `Wasi.component_imports`."""
    items = _items(wasi, longest)
    found = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None and match[1] in items:
            found[name] = items[match[1]]
    return found


def _trap(why: str) -> GuestTrap:
    """For what a program must not do, where WASI has no error for it."""
    return GuestTrap(f"the guest trapped in WASI: {why}", "wasi")


def _files(function: Function) -> Function:
    """A function that returns an error-code where it fails."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except FileError as error:
            raise ComponentError(error.code) from error

    return call  # type: ignore[return-value]


def _streams(function: Function) -> Function:
    """A function that returns a stream-error where it fails."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except StreamClosed:
            raise ComponentError("closed") from None
        except FileError as error:
            raise ComponentError(("last-operation-failed", IoError(error.code))) from error

    return call  # type: ignore[return-value]


def _labels(flags: Any) -> set[str]:
    """The labels of flags that a guest gives."""
    return {one.name.lower().replace("_", "-") for one in type(flags) if one.value & flags.value}


def _datetime(nanoseconds: int) -> dict[str, int]:
    seconds, rest = divmod(nanoseconds, _SECOND)
    return {"seconds": max(seconds, 0), "nanoseconds": rest}


# ---- wasi:io


class IoError:
    """The resource ``error``."""

    def __init__(self, code: str) -> None:
        self.code = code

    def to_debug_string(self) -> str:
        """A sentence for people."""
        return f"the operation failed: {self.code}"


class Waiter:
    """Waits for clocks.

    Args:
        longest: seconds, at most; None: any.
    """

    def __init__(self, clock: Clock, longest: float | None) -> None:
        self.clock = clock
        self.longest = longest

    def wait(self, when: int) -> None:
        """Until a time of the monotonic clock.

        Raises:
            DeadlineError: that is later than the guest may run.
        """
        began = time.monotonic()
        while True:
            rest = when - self.clock.monotonic()
            if rest <= 0:
                return
            if self.longest is not None:
                left = self.longest - (time.monotonic() - began)
                if left <= 0:
                    raise DeadlineError(f"the guest has waited until its deadline of {self.longest} s")
                rest = min(rest, int(left * _SECOND) + 1)
            self.clock.sleep(rest)


class Pollable:
    """The resource ``pollable``. All streams are ready at once; only clocks are waited for.

    Args:
        when: the time of the monotonic clock; 0: now.
    """

    def __init__(self, waiter: Waiter, when: int = 0) -> None:
        self._waiter = waiter
        self.when = when

    def ready(self) -> bool:
        """Whether waiting for it is over."""
        return not self.when or self._waiter.clock.monotonic() >= self.when

    def block(self) -> None:
        """Wait for it."""
        if self.when:
            self._waiter.wait(self.when)

    @staticmethod
    def poll(pollables: Sequence[Pollable]) -> list[int]:
        """Wait for one of several; gives the numbers of those that are ready."""
        if not pollables:
            raise _trap("poll was called without a pollable")
        ready = [number for number, one in enumerate(pollables) if one.ready()]
        if ready:
            return ready
        min(pollables, key=lambda one: one.when).block()
        return [number for number, one in enumerate(pollables) if one.ready()]


class InputStream:
    """The resource ``input-stream``."""

    def __init__(self, source: Input, waiter: Waiter) -> None:
        self.source = source
        self._waiter = waiter

    @_streams
    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        return self.source.read(min(size, _MOST_READ)) if size else b""

    blocking_read = read

    @_streams
    def skip(self, size: int) -> int:
        """Read them, and tell how many they are."""
        return len(self.source.read(min(size, _MOST_READ))) if size else 0

    blocking_skip = skip

    def subscribe(self) -> Pollable:
        """What is ready when there is something to read."""
        return Pollable(self._waiter)


class OutputStream:
    """The resource ``output-stream``."""

    def __init__(self, target: Output, waiter: Waiter) -> None:
        self.target = target
        self._waiter = waiter
        self._permitted = 0

    def check_write(self) -> int:
        """How many bytes may be written now."""
        self._permitted = _PERMITTED
        return _PERMITTED

    def _spend(self, size: int) -> None:
        if size > self._permitted:
            raise _trap(
                f"{size} bytes were written to a stream where check-write had permitted {self._permitted}"
            )
        self._permitted -= size

    @_streams
    def write(self, data: bytes) -> None:
        """Write so many as check-write has permitted."""
        self._spend(len(data))
        self.target.write(data)

    @_streams
    def write_zeroes(self, size: int) -> None:
        """The same with zeroes."""
        self._spend(size)
        self.target.write(bytes(size))

    @_streams
    def blocking_write_and_flush(self, data: bytes) -> None:
        """Write at most 4096 bytes."""
        if len(data) > _BLOCKING_WRITE:
            raise _trap(f"blocking-write-and-flush takes at most {_BLOCKING_WRITE} bytes, not {len(data)}")
        self.target.write(data)
        self.target.flush()

    @_streams
    def blocking_write_zeroes_and_flush(self, size: int) -> None:
        """The same with zeroes."""
        if size > _BLOCKING_WRITE:
            raise _trap(f"blocking-write-zeroes-and-flush takes at most {_BLOCKING_WRITE} bytes, not {size}")
        self.target.write(bytes(size))
        self.target.flush()

    @_streams
    def flush(self) -> None:
        """Let others see what was written."""
        self.target.flush()

    blocking_flush = flush

    @_streams
    def splice(self, source: InputStream, size: int) -> int:
        """Write what is read from another stream."""
        if not size:
            return 0
        data = source.source.read(min(size, _MOST_READ))
        self.target.write(data)
        return len(data)

    blocking_splice = splice

    def subscribe(self) -> Pollable:
        """What is ready when something can be written."""
        return Pollable(self._waiter)


class TerminalInput:
    """The resource ``terminal-input``: stdin is typed by a person."""


class TerminalOutput:
    """The resource ``terminal-output``: a person reads it."""


# ---- wasi:filesystem


class DirectoryEntryStream:
    """The resource ``directory-entry-stream``."""

    def __init__(self, entries: list[tuple[str, str]]) -> None:
        self._entries: Iterator[tuple[str, str]] = iter(entries)

    def read_directory_entry(self) -> dict[str, str] | None:
        """The next one; None: there are no more."""
        for name, type_ in self._entries:
            return {"name": name, "type": type_}
        return None


_SECRET = os.urandom(32)  # so that a guest learns no inode from a hash


class Descriptor:
    """The resource ``descriptor``."""

    def __init__(self, file: File, waiter: Waiter) -> None:
        self.file = file
        self._waiter = waiter

    # ---- of itself

    @_files
    def read_via_stream(self, offset: int) -> InputStream:
        """Read it from there on."""
        return InputStream(FileInput(self.file, offset), self._waiter)

    @_files
    def write_via_stream(self, offset: int) -> OutputStream:
        """Write it from there on."""
        return OutputStream(FileOutput(self.file, offset), self._waiter)

    @_files
    def append_via_stream(self) -> OutputStream:
        """Write at its end."""
        return OutputStream(FileOutput(self.file, None), self._waiter)

    @_files
    def advise(self, offset: int, length: int, advice: object) -> None:
        """Advice is heard, and not followed."""
        if self.file.is_directory:
            raise FileError("bad-descriptor")

    @_files
    def sync_data(self) -> None:
        """Wait for the disk."""
        self.file.sync(True)

    @_files
    def sync(self) -> None:
        """The same for what is known of it, too."""
        self.file.sync(False)

    def get_flags(self) -> frozenset[str]:
        """What it was opened for."""
        return self.file.flags

    def get_type(self) -> str:
        """What it is."""
        return self.file.type

    @_files
    def set_size(self, size: int) -> None:
        """Cut it, or add zeroes."""
        self.file.set_size(size)

    @_files
    def set_times(self, accessed: Any, modified: Any) -> None:
        """When it was read and written."""
        self.file.set_times(self._time(accessed), self._time(modified))

    def _time(self, given: Any) -> int | None:
        if given.label == "no-change":
            return None
        if given.label == "now":
            return self._waiter.clock.wall()
        when = given.value
        if when.nanoseconds >= _SECOND:
            raise FileError("invalid")
        nanoseconds: int = when.seconds * _SECOND + when.nanoseconds
        return nanoseconds

    @_files
    def read(self, size: int, offset: int) -> tuple[bytes, bool]:
        """Up to so many bytes, and whether that was the end."""
        size = min(size, _MOST_READ)
        data = self.file.read(size, offset)
        return data, bool(size) and not data

    @_files
    def write(self, data: bytes, offset: int) -> int:
        """How many bytes were written."""
        return self.file.write(data, offset)

    @_files
    def read_directory(self) -> DirectoryEntryStream:
        """What is in it."""
        return DirectoryEntryStream(self.file.entries())

    @_files
    def stat(self) -> dict[str, Any]:
        """What is known of it."""
        return _stat(self.file.stat())

    def is_same_object(self, other: Descriptor) -> bool:
        """Whether both are the same file."""
        try:
            return self.file.stat().identity == other.file.stat().identity
        except FileError:
            return False

    @_files
    def metadata_hash(self) -> dict[str, int]:
        """A number that is another when the file is."""
        return _hash(self.file.stat())

    # ---- of what is below it

    @_files
    def stat_at(self, path_flags: Any, path: str) -> dict[str, Any]:
        """What is known of it."""
        return _stat(self.file.stat_at(path, _follows(path_flags)))

    @_files
    def metadata_hash_at(self, path_flags: Any, path: str) -> dict[str, int]:
        """As `metadata_hash`."""
        return _hash(self.file.stat_at(path, _follows(path_flags)))

    @_files
    def open_at(self, path_flags: Any, path: str, how: Any, flags: Any) -> Descriptor:
        """Open it."""
        return Descriptor(
            self.file.open_at(path, _follows(path_flags), _labels(how), _labels(flags)), self._waiter
        )

    @_files
    def readlink_at(self, path: str) -> str:
        """What a symbolic link says."""
        return self.file.read_link_at(path)

    @_files
    def set_times_at(self, path_flags: Any, path: str, accessed: Any, modified: Any) -> None:
        """As `set_times`."""
        self.file.set_times_at(path, _follows(path_flags), self._time(accessed), self._time(modified))

    @_files
    def create_directory_at(self, path: str) -> None:
        """Make a directory."""
        self.file.create_directory_at(path)

    @_files
    def remove_directory_at(self, path: str) -> None:
        """Remove one."""
        self.file.remove_directory_at(path)

    @_files
    def unlink_file_at(self, path: str) -> None:
        """Remove a file."""
        self.file.unlink_at(path)

    @_files
    def rename_at(self, path: str, other: Descriptor, new: str) -> None:
        """Move it."""
        self.file.rename_at(path, other.file, new)

    @_files
    def link_at(self, path_flags: Any, path: str, other: Descriptor, new: str) -> None:
        """Give it another name."""
        self.file.link_at(path, _follows(path_flags), other.file, new)

    @_files
    def symlink_at(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self.file.symlink_at(target, path)


def _follows(path_flags: Any) -> bool:
    return "symlink-follow" in _labels(path_flags)


def _stat(stat: Stat) -> dict[str, Any]:
    times = [None if one is None else _datetime(one) for one in (stat.accessed, stat.modified, stat.changed)]
    return {
        "type": stat.type,
        "link-count": stat.links,
        "size": stat.size,
        "data-access-timestamp": times[0],
        "data-modification-timestamp": times[1],
        "status-change-timestamp": times[2],
    }


def _hash(stat: Stat) -> dict[str, int]:
    what = repr((stat.identity, stat.type, stat.size, stat.modified)).encode()
    digest = hashlib.blake2b(what, digest_size=16, key=_SECRET).digest()
    return {"lower": int.from_bytes(digest[:8], "little"), "upper": int.from_bytes(digest[8:], "little")}


def filesystem_error_code(error: IoError) -> str:
    """The error-code of a stream's error: all are from the system."""
    return error.code


# ---- wasi:sockets


class _Refused(type):
    """A class whose every attribute is a function: no program has a handle to one of its objects, so none of
    them is ever called."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _deny


def _deny(*args: object) -> Any:
    raise ComponentError("access-denied")


class Network:
    """The resource ``network``, through which nothing can be reached."""


class Socket(metaclass=_Refused):
    """The other resources of wasi:sockets."""


def _sockets() -> dict[str, dict[str, Any]]:
    return {
        "wasi:sockets/network": {"network": Network, "network-error-code": lambda error: None},
        "wasi:sockets/instance-network": {"network": Network, "instance-network": lambda: Network()},
        "wasi:sockets/tcp": {"tcp-socket": Socket},
        "wasi:sockets/udp": dict.fromkeys(
            ("udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"), Socket
        ),
        "wasi:sockets/tcp-create-socket": {"create-tcp-socket": _deny},
        "wasi:sockets/udp-create-socket": {"create-udp-socket": _deny},
        "wasi:sockets/ip-name-lookup": {"resolve-address-stream": Socket, "resolve-addresses": _deny},
    }


# ---- all together


def _exit(status: Any) -> None:
    # An Ok or an Err of components, whose classes this package does not import.
    raise GuestExit(0 if type(status).__name__ == "Ok" else 1)


def _exit_with_code(code: int) -> None:
    raise GuestExit(code)


def _items(wasi: System, longest: float | None) -> dict[str, dict[str, Any]]:
    """Interface -> label -> function or class."""
    clock, waiter = wasi.clock, Waiter(wasi.clock, longest)

    def random_bytes(size: int) -> bytes:
        if size > _MOST_RANDOM:
            raise _trap(f"{size} random bytes were asked for: {_MOST_RANDOM} are allowed")
        return wasi.random_bytes(size)

    def random_u64() -> int:
        return int.from_bytes(wasi.random_bytes(8), "little")

    def at(when: int) -> Pollable:
        return Pollable(waiter, when)

    def after(duration: int) -> Pollable:
        return Pollable(waiter, clock.monotonic() + duration)

    def output(target: Output) -> Callable[[], OutputStream]:
        return lambda: OutputStream(target, waiter)

    def terminal(stream: Input | Output, class_: type) -> Callable[[], Any]:
        return lambda: class_() if stream.terminal else None

    def preopened() -> list[tuple[Descriptor, str]]:
        return [(Descriptor(file, waiter), path) for file, path in wasi.directories]

    return {
        "wasi:cli/environment": {
            "get-environment": lambda: list(wasi.env.items()),
            "get-arguments": lambda: list(wasi.args),
            "initial-cwd": lambda: None,
        },
        "wasi:cli/exit": {"exit": _exit, "exit-with-code": _exit_with_code},
        "wasi:cli/stdin": {"get-stdin": lambda: InputStream(wasi.input, waiter)},
        "wasi:cli/stdout": {"get-stdout": output(wasi.output)},
        "wasi:cli/stderr": {"get-stderr": output(wasi.errors)},
        "wasi:cli/terminal-input": {"terminal-input": TerminalInput},
        "wasi:cli/terminal-output": {"terminal-output": TerminalOutput},
        "wasi:cli/terminal-stdin": {"get-terminal-stdin": terminal(wasi.input, TerminalInput)},
        "wasi:cli/terminal-stdout": {"get-terminal-stdout": terminal(wasi.output, TerminalOutput)},
        "wasi:cli/terminal-stderr": {"get-terminal-stderr": terminal(wasi.errors, TerminalOutput)},
        "wasi:clocks/monotonic-clock": {
            "now": clock.monotonic,
            "resolution": lambda: clock.resolution,
            "subscribe-instant": at,
            "subscribe-duration": after,
        },
        "wasi:clocks/wall-clock": {
            "now": lambda: _datetime(clock.wall()),
            "resolution": lambda: _datetime(clock.resolution),
        },
        "wasi:random/random": {"get-random-bytes": random_bytes, "get-random-u64": random_u64},
        "wasi:random/insecure": {
            "get-insecure-random-bytes": random_bytes,
            "get-insecure-random-u64": random_u64,
        },
        "wasi:random/insecure-seed": {"insecure-seed": lambda: (random_u64(), random_u64())},
        "wasi:io/error": {"error": IoError},
        "wasi:io/poll": {"pollable": Pollable, "poll": Pollable.poll},
        "wasi:io/streams": {"input-stream": InputStream, "output-stream": OutputStream},
        "wasi:filesystem/types": {
            "descriptor": Descriptor,
            "directory-entry-stream": DirectoryEntryStream,
            "filesystem-error-code": filesystem_error_code,
        },
        "wasi:filesystem/preopens": {"get-directories": preopened},
        **_sockets(),
    }
