"""Whether a module is valid: asked of wasmtime, for engines that cannot tell.

* native: wasm2c validates modules too, but not completely. It does not see the names, which `native.plain`
  replaces, and its releases differ. What comes out of it is C, where a mistake is no trap but a crash. So
  nothing is compiled that wasmtime does not take. For a library that was compiled elsewhere, this was done
  there.
* wasmer: its validator is of 2021, and refuses some modules that are valid today. Lowering can make of such a
  module one that wasmer takes, so before a module is refused wasmtime is asked as well.

hiwire_py requires the package wasmtime on all Pythons. It is imported here only when it is needed, as that
takes a while.
"""

from __future__ import annotations

import functools
from typing import Any

from ..errors import ToolchainError, UnsupportedModuleError

__all__ = ["validate"]

# Features that neither of these engines has, and those that one of them has not. Releases of the package
# wasmtime differ in which features can be turned off by name.
_NEWER = (
    "threads",
    "relaxed_simd",
    "tail_call",
    "memory64",
    "exceptions",
    "custom_page_sizes",
    "wide_arithmetic",
    "gc",
    "function_references",
)
_MISSING = {"native": ("simd",)}


def validate(wasm: bytes, engine: str) -> None:
    """Check that a module is valid, and does without features that ``engine`` has not.

    Raises:
        UnsupportedModuleError: it is not.
        ToolchainError: the package wasmtime is missing.
    """
    wasmtime, validator = _validator(_MISSING.get(engine, ()))
    try:
        wasmtime.Module.validate(validator, wasm)
    except wasmtime.WasmtimeError as e:
        raise UnsupportedModuleError(
            f"the engine {engine} does not take the module: {' '.join(str(e).split())}"
        ) from e


@functools.lru_cache(maxsize=2)
def _validator(missing: tuple[str, ...]) -> tuple[Any, Any]:
    """The package wasmtime, and an engine of it that runs nothing."""
    try:
        import wasmtime
    except ImportError as e:
        raise ToolchainError(
            f"the package wasmtime, which validates modules, is missing ({e}): python -m pip install wasmtime"
        ) from e
    config = wasmtime.Config()
    config.parallel_compilation = False  # its threads do not come along when the process forks
    if hasattr(type(config), "signals_based_traps"):
        config.signals_based_traps = False  # so that it leaves the process' signal handlers alone
    for feature in _NEWER + missing:
        if hasattr(type(config), f"wasm_{feature}"):
            setattr(config, f"wasm_{feature}", False)
    return wasmtime, wasmtime.Engine(config)
