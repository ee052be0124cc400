"""Class Wasi: what a program in WebAssembly is given of a system."""

from __future__ import annotations

import os
import random as randomness
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..checks import check_callable
from .clocks import Clock
from .directories import HostDirectory, open_directory
from .files import Descriptor, MemoryDirectory
from .preview2 import interfaces
from .streams import Captured, Output, input_from, output_to

__all__ = ["Wasi"]


class Wasi:
    """What a program is given of a system; what is not given it does not have: no argument, variable, file or
    stream of this process gets to it by itself, and no network at all::

        wasi = Wasi(args=["app", "-v"], files={"/data": Wasi.directory("data"), "/etc/app": b"..."})
        with Component("app.wasm").instantiate(wasi=wasi) as app:
            app["wasi:cli/run"].run()
        print(wasi.stdout.decode())

    A program that exits raises `GuestExit` out of the call.

    Args:
        args: the program's arguments; the first is its name.
        env: its environment.
        stdin: bytes, a binary file object, or a callable that takes a number of bytes and gives as many or
            fewer, and b"" at the end; None: empty.
        stdout, stderr: a file object, or a callable that takes bytes; None: it is kept, up to
            64 MiB, and afterwards found in the attribute of that name.
        files: by absolute paths: bytes, which are a file that can be read, or a `Wasi.directory`.
        clock: None: the time of the system. See `Clock` and `ManualClock` for others.
        random: None: the system's; an int: the seed of random numbers that are the same in each run; or a
            callable that takes a number of bytes and gives as many.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(
        self,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        files: Mapping[str, bytes | HostDirectory] | None = None,
        clock: Clock | None = None,
        random: int | Callable[[int], bytes] | None = None,
    ) -> None:
        if isinstance(args, str):
            raise TypeError("args must be a sequence of str, not a str")
        self.args = [_text(one, "an argument") for one in args]
        self.env = {
            _text(key, "a variable"): _text(value, "a variable") for key, value in (env or {}).items()
        }
        self.input = input_from(stdin)
        self.output = output_to(stdout, "stdout")
        self.errors = output_to(stderr, "stderr")
        self.directories = _directories(files or {})
        """Those that are open at the start: (directory, its path)."""
        if clock is not None and not isinstance(clock, Clock):
            raise TypeError(f"clock must be a Clock, not {type(clock).__name__}")
        self.clock = Clock() if clock is None else clock
        self._random = _random(random)

    @staticmethod
    def directory(path: str | os.PathLike[str], write: bool = False) -> HostDirectory:
        """A directory of the host, for ``files``. It is opened now; programs get to what is in it and to
        nothing else, whatever paths and symbolic links say. It stays open until it is closed, by `close` or
        the end of a ``with`` block, or not used any more.

        Args:
            path: where it is.
            write: whether programs may change what is in it.

        Raises:
            OSError: there is none, or it cannot be opened.
        """
        return open_directory(path, write)

    @property
    def stdout(self) -> bytes:
        """What was written to standard output.

        Raises:
            ValueError: it was given to write to.
        """
        return _captured(self.output, "stdout")

    @property
    def stderr(self) -> bytes:
        """What was written to standard error.

        Raises:
            ValueError: it was given to write to.
        """
        return _captured(self.errors, "stderr")

    def random_bytes(self, size: int) -> bytes:
        """Random bytes.

        Raises:
            TypeError, ValueError: what was given as ``random`` gives something else.
        """
        data = self._random(size)
        if not isinstance(data, (bytes, bytearray)):
            raise TypeError(f"random must give bytes, not {type(data).__name__}")
        if len(data) != size:
            raise ValueError(f"random gave {len(data)} bytes, not {size}")
        return bytes(data)

    def component_imports(self, names: Iterable[str], longest: float | None) -> dict[str, dict[str, Any]]:
        """What a component imports of WASI 0.2.

        Args:
            names: all that it imports, with versions.
            longest: seconds that a program may wait at once, as it would be stopped then; None: any.

        Returns:
            For those of the names that are of WASI 0.2: the functions and classes by their names there.
        """
        return interfaces(self, names, longest)

    def __repr__(self) -> str:
        return f"<Wasi {' '.join(self.args[:1])!r}, {len(self.directories)} directories>"


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} must not have surrogates: {value!r:.100}") from None
    if "\0" in value:
        raise ValueError(f"{what} must not have a zero byte: {value!r:.100}")
    return value


def _directories(files: Mapping[str, Any]) -> list[tuple[Descriptor, str]]:
    memory: dict[str, bytes] = {}
    mounted: dict[str, tuple[Descriptor, str]] = {}
    for path, given in files.items():
        name = _text(path, "a path in files")
        if isinstance(given, HostDirectory):
            where = _normal(name)
            if where in mounted:
                raise ValueError(f"{name!r:.100} is in files twice")
            mounted[where] = given, name or "."
        elif isinstance(given, (bytes, bytearray, memoryview)):
            memory[name] = bytes(given)
        else:
            raise TypeError(
                f"files must be bytes or a Wasi.directory; {name!r:.100} is {type(given).__name__}"
            )
    for path in memory:
        below = [where for where in mounted if f"{_normal(path)}/".startswith(where and f"{where}/")]
        if below:
            raise ValueError(
                f"{path!r:.100} is in the directory {mounted[below[0]][1]!r:.100}, which is another's"
            )
    root: list[tuple[Descriptor, str]] = [(MemoryDirectory.of(memory), "/")] if memory else []
    return [*root, *mounted.values()]


def _normal(path: str) -> str:
    """A path as programs see it: ``/data``, ``data`` and ``./data/`` are the same."""
    return "/".join(name for name in path.split("/") if name not in ("", "."))


def _random(given: Any) -> Callable[[int], Any]:
    if given is None:
        return os.urandom
    if isinstance(given, int) and not isinstance(given, bool):
        return randomness.Random(given).randbytes
    if isinstance(given, (bool, str)) or not callable(given):
        raise TypeError(f"random must be an int or a callable, not {type(given).__name__}")
    check_callable(given, "random")
    return given  # type: ignore[no-any-return]


def _captured(output: Output, name: str) -> bytes:
    if not isinstance(output, Captured):
        raise ValueError(f"{name} was given to write to, so it is not kept here")
    return bytes(output.data)
