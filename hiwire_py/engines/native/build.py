"""Libraries of modules: where compiled ones are kept, and how one is made."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ...errors import ToolchainError, UnsupportedModuleError
from ...sources import shipped
from ...values import V128
from ...wasm.module import Module
from .plain import plain
from .source import make_source
from .tools import FLAGS, Tools, Wasm2c, find_tools

__all__ = [
    "cache_directory",
    "compile_library",
    "find_cached",
    "find_installed",
    "library_name",
    "load_library",
    "run_wasm2c",
    "write_source",
]

log = logging.getLogger("hiwire_py.native")

# Where setup.py puts libraries of the modules that the package ships.
INSTALLED = Path(__file__).parents[2] / "native"

_SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
# What decides, besides the module, what is in a library. Another version of it makes other names.
_FORMAT = ("runtime.h", "../python_calls.h", "../stack_end.h", "source.py", "plain.py")

_loaded: dict[str, Any] = {}
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # No fork comes while another thread loads a library: the child would find half of it, and the lock taken.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def library_name(original: bytes, lowered: bytes) -> str:
    """The name of a module's library, which holds for its contents and this package's run time.

    ``original`` is part of it because lowering makes some invalid modules valid: there are libraries
    of valid ones only.
    """
    parts = (_digest(part) for part in (original, lowered))
    return "hw_" + hashlib.blake2b(_format() + b"".join(parts), digest_size=16).hexdigest()


@functools.lru_cache(maxsize=1)
def _format() -> bytes:
    return b"".join(_digest((Path(__file__).parent / name).read_bytes()) for name in _FORMAT)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def cache_directory() -> Path:
    """Where compiled modules are kept: ``${XDG_CACHE_HOME:-~/.cache}/hiwire/native``."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "hiwire" / "native"


def find_installed(name: str) -> Path | None:
    """The library in a directory of ``HIWIRE_NATIVE_PATH`` or in the package, if it is there."""
    given = [Path(d) for d in os.environ.get("HIWIRE_NATIVE_PATH", "").split(os.pathsep) if d]
    for directory in (*given, INSTALLED):
        path = directory / (name + _SUFFIX)
        if path.is_file():
            return path
    return None


def find_cached(name: str, tools: Tools | None) -> Path | None:
    """The library in the cache, if it is there: what ``tools`` made, or where there are none, any.

    Raises:
        ToolchainError: it is there, but others can write there.
    """
    directory = cache_directory()
    if tools is not None:
        cached = [directory / _cached_name(name, tools)]
    else:
        cached = sorted(directory.glob(f"{name}-*{_SUFFIX}"))
    for path in cached:
        if path.is_file():
            _check_private(directory)
            _check_private(path)
            return path
    return None


def compile_library(
    original: bytes, lowered: bytes, what: str = "the module", directory: str | os.PathLike[str] | None = None
) -> Path:
    """Compile a module, and keep the library.

    Args:
        original: the module before lowering.
        lowered: the same, lowered; or the same bytes.
        what: names it in messages.
        directory: where to put the library; None: into the cache.

    Raises:
        ToolchainError: a tool is missing or failed, or the directory can be written by others.
        UnsupportedModuleError: wasm2c does not take the module.
    """
    tools = find_tools()
    name = library_name(original, lowered)
    if directory is None:
        target = cache_directory()
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(target)
        path = target / _cached_name(name, tools)
    else:
        target = Path(directory)
        target.mkdir(parents=True, exist_ok=True)
        path = target / (name + _SUFFIX)
    log.info(
        "compiling %s of %d bytes with %s; this is done once", what, len(lowered), tools.compiler_version
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
        source = write_source(lowered, name, Path(scratch), tools.wasm2c)
        # Beside its final place, so that it appears there at once, whoever else compiles the same.
        handle, part = tempfile.mkstemp(prefix=".part-", dir=target)
        os.close(handle)
        try:
            compile_source(source, Path(part), tools, what)
            os.chmod(part, 0o755)
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)  # an interrupt may come after it has got its name
            raise
    log.info("compiled %s in %.1f s: %s", what, time.perf_counter() - started, path)
    return path


def write_source(lowered: bytes, name: str, directory: Path, wasm2c: Wasm2c) -> Path:
    """Write the C source of the extension module ``name``, and what it includes, into ``directory``.

    Raises:
        UnsupportedModuleError: wasm2c does not take the module.
    """
    import cffi
    from cffi.recompiler import make_c_source

    code = run_wasm2c(plain(Module.parse(lowered)), directory, name, wasm2c)
    code.write_text(wasm2c.dialect.indirect(code.read_text("utf-8")), "utf-8")
    # The runtime of lowered modules is this package's own, and looks at every index, length and id.
    trusted = lowered == shipped("externref")
    made = make_source(Module.parse(lowered), wasm2c.dialect, code.name, trusted)
    ffi = cffi.FFI()
    ffi.cdef(made.cdef)
    path = directory / f"{name}.c"
    make_c_source(ffi, name, made.preamble, str(path))
    return path


def run_wasm2c(wasm: bytes, directory: Path, name: str, wasm2c: Wasm2c) -> Path:
    """wasm2c's output for a module: the path of the C file, which has its header beside it.

    Raises:
        UnsupportedModuleError: wasm2c does not take the module; the message is its.
    """
    binary, code = directory / f"{name}.wasm", directory / f"{name}-module.c"
    binary.write_bytes(wasm)
    command = [wasm2c.path, *wasm2c.options(), "-n", "m", "--no-debug-names", "-o", str(code), str(binary)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        said = (
            " ".join(run.stderr.replace(str(binary) + ":", "").split())
            or f"it ended with status {run.returncode}"
        )
        declared = b"".join(map(b"".join, Module.parse(wasm).types))
        hint = "; it has functions of v128 (SIMD), which not every wasm2c takes" if V128 in declared else ""
        raise UnsupportedModuleError(f"wasm2c {wasm2c.version} does not take the module: {said[:500]}{hint}")
    return code


def compile_source(source: Path, target: Path, tools: Tools, what: str) -> None:
    """Compile an extension module."""
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    include = ["-I", sysconfig.get_path("include"), "-I", str(source.parent)]
    command = [
        *tools.compiler,
        *FLAGS,
        *shared,
        *include,
        *tools.wasm2c.flags(),
        str(source),
        "-o",
        str(target),
        "-lm",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        said = "\n".join(run.stderr.splitlines()[:12])
        raise ToolchainError(
            f"{tools.compiler_version} cannot compile the C that wasm2c made of {what}:\n{said}"
        )


def load_library(path: Path) -> Any:
    """The library's extension module, loaded once in a process. All share the run time of the first."""
    name = path.name.removesuffix(_SUFFIX).partition("-")[0]
    with _lock:
        module = _loaded.get(name)
        if module is None:
            loader = ExtensionFileLoader(name, str(path))
            spec = spec_from_file_location(name, path, loader=loader)
            assert spec is not None
            module = module_from_spec(spec)
            loader.exec_module(module)
            for first in _loaded.values():
                module.lib.hw_borrow(first.lib.hw_lend())
                break
            module.lib.hw_prepare()
            _loaded[name] = module
        return module


def _cached_name(name: str, tools: Tools) -> str:
    return f"{name}-{tools.identity()}{_SUFFIX}"


def _check_private(path: Path) -> None:
    """What is loaded from here runs in this process: nobody else may have put it there."""
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ToolchainError(
            f"{path} belongs to another user or can be written by others, so what is in it cannot be trusted:"
            f" remove it, or chmod go-w {path}"
        )
