"""For setup.py: the engine native's libraries of the modules that the package ships, as optional extensions.

    from hiwire_py.engines.native._build import native_extensions
    setup(..., ext_modules=native_extensions(HERE / "build" / "native"))

It needs cffi and a wasm2c when the package is built, and nothing fails without them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ...errors import HiwireError
from .build import library_name, write_source
from .compile import lower_for_native, shipped_modules
from .tools import FLAGS, find_tools

__all__ = ["native_extensions"]


def native_extensions(directory: Path) -> list[Any]:
    """One setuptools Extension for each module, its C source in ``directory``; none without tools."""
    from setuptools import Extension

    try:
        tools = find_tools()
        extensions = []
        for label, wasm in shipped_modules().items():
            _, lowered = lower_for_native(wasm)
            code = wasm if lowered is None else lowered.wasm
            name = library_name(wasm, code)
            folder = directory / label
            folder.mkdir(parents=True, exist_ok=True)
            source = write_source(code, name, folder, tools.wasm2c)
            extensions.append(
                Extension(
                    f"hiwire_py.native.{name}",
                    sources=[str(source)],
                    extra_compile_args=[*FLAGS, "-I", str(folder), *tools.wasm2c.flags()],
                    extra_link_args=["-pthread", "-lm"],
                    optional=True,
                )
            )
    except HiwireError as e:
        print(f"hiwire_py: the engine native is not built: {e}", file=sys.stderr)
        return []
    return extensions
