"""For setup.py: the engine native's libraries of the modules that the package ships, as optional extensions.

    from hiwire_py.ahead import code_for_native
    from hiwire_py.engines.native._build import native_extensions
    setup(..., ext_modules=native_extensions(HERE / "build" / "native", code_for_native))

It needs cffi and a wasm2c when the package is built, and nothing fails without them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import HiwireError
from ...requirements import Code
from ...sources import VARIANTS, shipped
from .build import library_name, write_source
from .tools import FLAGS, find_tools

__all__ = ["native_extensions"]


def native_extensions(directory: Path, code_for: Callable[[bytes], Code]) -> list[Any]:
    """One setuptools Extension for each module, its C source in ``directory``; none without tools.
    ``code_for`` makes of a module what is compiled."""
    from setuptools import Extension

    try:
        tools = find_tools()
        extensions = []
        for label in ("externref", *VARIANTS, "guest-wordcount"):
            code = code_for(shipped(label))
            name = library_name(code.source, code.named)
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
