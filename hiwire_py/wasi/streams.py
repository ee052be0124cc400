"""What a guest's standard streams and files are read from and written to.

Whatever is here is ready always: to read from a file of the host may take until there is something, and the
guest waits for it then, also where it only wants to know what is there.
"""

from __future__ import annotations

import codecs
import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ..checks import check_callable
from .errors import FileError, StreamClosed, told

__all__ = ["CAPTURE_LIMIT", "Captured", "Input", "Output", "input_from", "output_to"]

CAPTURE_LIMIT = 64 << 20
"""Bytes that are captured of a stream, at most: a guest must not fill the host's memory."""


class Input(ABC):
    """What bytes are read from."""

    terminal = False
    """Whether a person types it."""

    @abstractmethod
    def read(self, size: int) -> bytes:
        """At least one byte, and at most so many, of which there is at least one.

        Raises:
            StreamClosed: there are no more.
            FileError: it cannot be read.
        """


class Output(ABC):
    """What bytes are written to."""

    terminal = False
    """Whether a person reads it."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            FileError: it cannot be written; some of it may have been.
        """

    def flush(self) -> None:  # noqa: B027 - most have nothing to do
        """Let others see what was written.

        Raises:
            FileError: that does not go.
        """


# ---- input


class _FromBytes(Input):
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if not data:
            raise StreamClosed
        return data


class _FromCallable(Input):
    """Bytes that a function gives: for a number of bytes up to so many, b"" at the end. It may give more than
    was asked for; the rest is kept."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        self._function = function
        self._rest = b""

    def read(self, size: int) -> bytes:
        data = self._rest or self._more(size)
        if not data:
            raise StreamClosed
        self._rest = data[size:]
        return data[:size]

    def _more(self, size: int) -> bytes:
        data = self._function(size)
        if isinstance(data, str):
            data = data.encode("utf-8", "replace")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"what stdin is read from must give bytes, not {type(data).__name__}")
        return bytes(data)


class _FromFile(_FromCallable):
    """A file object of the host."""

    def __init__(self, file: Any) -> None:
        file = getattr(file, "buffer", file)
        # What a person has typed is a part of what could be read: read1 does not wait for the rest.
        super().__init__(getattr(file, "read1", file.read))
        self.terminal = _is_terminal(file)

    def _more(self, size: int) -> bytes:
        with told():
            return super()._more(size)


def input_from(source: Any) -> Input:
    """The input for what a caller gave as stdin: None, which is empty, bytes, a file object, or a callable.

    Raises:
        TypeError: it is none of these.
    """
    if source is None or isinstance(source, (bytes, bytearray, memoryview)):
        return _FromBytes(b"" if source is None else bytes(source))
    if hasattr(source, "read"):
        return _FromFile(source)
    if isinstance(source, str) or not callable(source):
        raise TypeError(f"stdin must be bytes, a file object or a callable, not {type(source).__name__}")
    check_callable(source, "stdin")
    return _FromCallable(source)


# ---- output


class Captured(Output):
    """What is written is kept.

    Attributes:
        data: all of it.
    """

    def __init__(self, limit: int = CAPTURE_LIMIT) -> None:
        self.data = bytearray()
        self._limit = limit

    def write(self, data: bytes) -> None:
        if len(self.data) + len(data) > self._limit:
            raise FileError("insufficient-space")
        self.data += data


class _ToCallable(Output):
    def __init__(self, function: Callable[[bytes], Any]) -> None:
        self._function = function

    def write(self, data: bytes) -> None:
        if data:
            self._function(data)


class _ToFile(Output):
    """A file object of the host that takes bytes."""

    def __init__(self, file: Any, over: Any = None) -> None:
        self._file = file
        self._over = over  # a text layer on top of it, which may have something that is not written yet
        self.terminal = _is_terminal(file)

    def write(self, data: bytes) -> None:
        with told():
            if self._over is not None:
                self._over.flush()
            while data:
                count = self._file.write(data)
                if count is None:  # a raw file that does not wait; others give a number
                    raise FileError("would-block")
                data = data[count:]

    def flush(self) -> None:
        flush = getattr(self._file, "flush", None)
        if flush is not None:
            with told():
                flush()


class _ToText(Output):
    """A file object that takes str alone, such as `io.StringIO`."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.terminal = _is_terminal(file)

    def write(self, data: bytes) -> None:
        with told():
            self._file.write(self._decode(data))

    def flush(self) -> None:
        with told():
            self._file.flush()


def output_to(target: Any, name: str) -> Output:
    """The output for what a caller gave: None, for what is captured, a file object, or a callable.

    Args:
        name: of the argument, for errors.

    Raises:
        TypeError: it is none of these.
    """
    if target is None:
        return Captured()
    if hasattr(target, "write"):
        if hasattr(target, "buffer"):
            return _ToFile(target.buffer, target)
        return _ToText(target) if isinstance(target, io.TextIOBase) else _ToFile(target)
    if not callable(target):
        raise TypeError(f"{name} must be a file object or a callable, not {type(target).__name__}")
    check_callable(target, name)
    return _ToCallable(target)


def _is_terminal(file: Any) -> bool:
    try:
        return bool(file.isatty())
    except (AttributeError, OSError, ValueError):
        return False
