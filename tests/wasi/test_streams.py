"""What standard streams are read from and written to."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import pytest

from hiwire_py.wasi.errors import FileError, StreamClosed
from hiwire_py.wasi.files import FileInput, FileOutput, MemoryDirectory
from hiwire_py.wasi.streams import Captured, Input, input_from, output_to


def everything(source: Input, size: int = 3) -> bytes:
    """All that a stream has, read in parts."""
    data = b""
    while True:
        try:
            part = source.read(size)
        except StreamClosed:
            return data
        assert 0 < len(part) <= size
        data += part


def test_inputs() -> None:
    """Bytes, files of bytes and of text, and callables are read to their end."""
    rest = iter([b"one", b"much more", b""])
    for source in (
        b"onemuch more",
        io.BytesIO(b"onemuch more"),
        io.StringIO("onemuch more"),
        lambda size: next(rest),
    ):
        assert everything(input_from(source)) == b"onemuch more"
    assert everything(input_from(None)) == b""
    text = io.TextIOWrapper(io.BytesIO("ünï".encode()), "utf-8")
    assert everything(input_from(text)) == "ünï".encode()


def test_input_does_not_wait_for_more() -> None:
    """Of a pipe that has something it is read at once, not only when there is as much as asked for."""
    reader, writer = os.pipe()
    os.write(writer, b"some")
    with open(reader, "rb") as file, open(writer, "wb"):
        assert input_from(file).read(1000) == b"some"


@pytest.mark.parametrize("given", [1, "text", object()])
def test_what_is_no_stream(given: object) -> None:
    """Anything else is refused where it is given."""
    with pytest.raises(TypeError, match="stdin must be"):
        input_from(given)
    with pytest.raises(TypeError, match="stdout must be"):
        output_to(given, "stdout")


def test_input_that_gives_no_bytes() -> None:
    """A callable that gives something else is told so, and what it raises comes out as it is."""
    with pytest.raises(TypeError, match="must give bytes, not int"):
        input_from(lambda size: 5).read(1)

    def failing(size: int) -> bytes:
        raise KeyError(size)

    with pytest.raises(KeyError):
        input_from(failing).read(1)


def test_outputs() -> None:
    """Files of bytes and of text, and callables, get all that is written, in order."""
    data, text, parts = io.BytesIO(), io.StringIO(), list[bytes]()
    over = io.TextIOWrapper(io.BytesIO(), "utf-8")
    over.write("before ")
    for target in (data, text, parts.append, over):
        output = output_to(target, "stdout")
        for part in (b"a\xc3", b"\xbcb", b""):  # a character in two parts
            output.write(part)
        output.flush()
    assert data.getvalue() == "aüb".encode()
    assert text.getvalue() == "aüb"
    assert parts == [b"a\xc3", b"\xbcb"]
    assert over.buffer.getvalue() == "before aüb".encode()


def test_partial_writes() -> None:
    """A raw file that takes a part is given the rest; one that takes nothing without waiting is an error."""

    class Raw(io.RawIOBase):
        took = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.took += bytes(data[:2])
            return len(data[:2])

    raw = Raw()
    output_to(raw, "stdout").write(b"12345")
    assert raw.took == b"12345"

    class Full(Raw):
        def write(self, data: Any) -> Any:
            return None

    with pytest.raises(FileError) as caught:
        output_to(Full(), "stdout").write(b"1")
    assert caught.value.code == "would-block"


def test_errors_of_files() -> None:
    """What the system refuses is an error of the stream, by its code."""
    reader, writer = os.pipe()
    os.close(reader)
    file = open(writer, "wb", buffering=0)  # noqa: SIM115 - closed below
    output = output_to(file, "stdout")
    with pytest.raises(FileError) as caught:
        output.write(b"x")
    assert caught.value.code == "pipe"
    file.close()
    with pytest.raises(FileError) as caught:
        output.write(b"x")
    assert caught.value.code == "invalid"


def test_capture_has_a_limit() -> None:
    """What is kept of a stream does not fill the host's memory."""
    captured = Captured(limit=5)
    captured.write(b"12345")
    with pytest.raises(FileError) as caught:
        captured.write(b"6")
    assert caught.value.code == "insufficient-space"
    assert captured.data == b"12345"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_terminals() -> None:
    """A stream knows whether a person is at its end."""
    assert not input_from(None).terminal
    assert not input_from(io.BytesIO()).terminal
    assert not output_to(sys.stdout.write, "stdout").terminal
    there, here = os.openpty()
    with open(here, "r+b", buffering=0) as file, open(there, "rb", buffering=0):
        assert input_from(file).terminal
        assert output_to(file, "stdout").terminal


def test_streams_of_files() -> None:
    """A file as a stream begins at an offset, and is not there for what it was not opened for."""
    file = MemoryDirectory.of({"x": b"0123456789"}).open_at("x", True, (), {"read"})
    assert everything(FileInput(file, 4)) == b"456789"
    assert everything(FileInput(file, 40)) == b""
    with pytest.raises(FileError) as caught:
        FileOutput(file, 0)
    assert caught.value.code == "bad-descriptor"
