"""Where modules come from: bytes, files, and the built modules in the package."""

from __future__ import annotations

import os
from importlib import resources
from typing import Union

__all__ = ["VARIANTS", "WasmSource", "read_wasm", "shipped"]

WasmSource = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]"]
"""A module's bytes, or the path of its file."""

VARIANTS = ("static_pages", "extern_realloc")
"""The built variants of hiwire that the package ships."""


def shipped(name: str) -> bytes:
    """The bytes of ``hiwire-NAME.wasm`` in the package.

    Raises:
        FileNotFoundError: the package was built without it.
    """
    file = resources.files(__package__).joinpath(f"modules/hiwire-{name}.wasm")
    if not file.is_file():
        raise FileNotFoundError(
            f"the package lacks hiwire-{name}.wasm; rebuild it with: scripts/check_wasm.py --update"
        )
    return file.read_bytes()


def read_wasm(source: WasmSource) -> tuple[bytes, str]:
    """A module's bytes and a name for it in messages.

    Raises:
        TypeError: ``source`` is neither bytes nor a path.
        OSError: the file cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the module"
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        with open(path, "rb") as file:
            return file.read(), os.path.basename(path)
    raise TypeError(f"a module is given as bytes or as a path, not as {type(source).__name__}")
