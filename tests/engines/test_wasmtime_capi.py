"""wasmtime through cffi: the two ways of calling, exceptions, growth, depth.

It is long because most tests are for both ways of calling, which must do the same.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
import traceback
import weakref
from typing import Any

import pytest
from support import ROOT, Thing, guest_file, python_path, use_mode, wat
from wasmtime import _bindings

from hiwire_py import NULL, EngineUnavailableError, Guest, GuestTrap, Hiwire, engines
from hiwire_py.engines.wasmtime.declarations import STRUCTS, differences
from hiwire_py.engines.wasmtime.modes import MODES


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of calling in turn."""
    return use_mode(request.param, monkeypatch)


def everything(**host: Any) -> Guest:
    functions = {
        "make": lambda n: NULL,
        "see": lambda x, n: None,
        "swap": lambda a, b: (b, a),
        "again": lambda x, n: NULL,
    }
    return Guest(guest_file("everything"), {"env": {**functions, **host}}, engine="wasmtime")


# ---- choosing a way


def test_declarations_agree_with_the_package() -> None:
    """Every struct and function used is in the package's own bindings as it is declared here."""
    from hiwire_py.engines.wasmtime.abi import ffi

    assert list(differences(ffi, _bindings)) == []
    for name in STRUCTS:
        assert ffi.sizeof(name) == ctypes.sizeof(getattr(_bindings, name))


class _Changed:
    """The package's bindings, but for some names."""

    def __init__(self, **changed: Any) -> None:
        self.__dict__.update(changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(_bindings, name)


class _ChangedLibrary(_Changed):
    def __getattr__(self, name: str) -> Any:
        return getattr(_bindings.dll, name)  # type: ignore[attr-defined]


class _LongFunc(ctypes.Structure):
    _fields_ = [("store_id", ctypes.c_uint64), ("__private", ctypes.c_void_p), ("more", ctypes.c_uint64)]


class _MovedFunc(ctypes.Structure):
    _fields_ = [("__private", ctypes.c_uint32), ("store_id", ctypes.c_uint64)]


class _Function:
    restype = None
    argtypes = [ctypes.c_void_p, ctypes.c_uint32]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"wasmtime_func_t": _LongFunc}, "wasmtime_func_t has 24 bytes, not 16"),
        ({"wasmtime_func_t": _MovedFunc}, r"wasmtime_func_t.store_id has 8 bytes at 8, not 8 at 0"),
        ({"wasmtime_func_t": None}, "there is no wasmtime_func_t"),
        ({"wasmtime_val_raw_t": _LongFunc}, "wasmtime_val_raw_t"),
        (
            {"dll": _Changed(wasmtime_trap_new=_Function)},
            r"wasmtime_trap_new is \(word8, word4\) -> void, not",
        ),
        ({"dll": _Changed(wasmtime_trap_new=None)}, "there is no function wasmtime_trap_new"),
    ],
)
def test_differences_are_found(changed: dict[str, Any], words: str) -> None:
    """A field that moved, a size that changed, a parameter more: each is found and named."""
    from hiwire_py.engines.wasmtime.abi import ffi

    if "dll" in changed:
        dll = changed["dll"]
        dll.__class__ = _ChangedLibrary
    with pytest.raises(AssertionError, match=words):
        found = list(differences(ffi, _Changed(**changed)))
        raise AssertionError("; ".join(found))


def _run(code: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path(), "HIWIRE_WASMTIME_MODE": "", **environment},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


_SHOW = """
from hiwire_py import Guest, engines
from support import wat
info, = (i for i in engines() if i.name == "wasmtime")
module = wat('(module (func (export "f") (param externref) (result externref) local.get 0))')
guest = Guest(module, engine="wasmtime")
thing = object()
assert guest.exports.f(thing) is thing
print(info.mode, "|", info.mode_reason)
"""
_NO_COMPILED = "import sys; sys.modules['hiwire_py.engines.wasmtime._compiled'] = None\n"
_OTHER_SIZE = """
import ctypes, wasmtime._bindings as b
class Longer(ctypes.Structure):
    _fields_ = [("store_id", ctypes.c_uint64), ("p", ctypes.c_void_p), ("more", ctypes.c_uint64)]
b.wasmtime_func_t = Longer
"""


def test_fallback_without_the_compiled_part() -> None:
    """cffi's ABI mode is taken, it works, and the reason is told with a remedy."""
    mode, reason = _run(_NO_COMPILED + _SHOW).strip().split(" | ")
    assert mode == "cffi (ABI)"
    assert reason.startswith("cffi (compiled) is not used: its compiled part is missing")
    assert "pip install" in reason


_REFUSED = """
from hiwire_py import EngineUnavailableError, Guest, engines
info, = (i for i in engines() if i.name == "wasmtime")
try:
    Guest(b"\\0asm\\1\\0\\0\\0", engine="wasmtime")
except EngineUnavailableError as error:
    assert not info.available and info.reason in str(error)
    print(error)
"""


def test_no_way_without_cffi() -> None:
    """Where neither way is there the engine is not, for both reasons."""
    said = _run(_NO_COMPILED + "sys.modules['cffi'] = None\n" + _REFUSED)
    assert "cffi (compiled) is not used: its compiled part is missing" in said
    assert "cffi (ABI) is not used" in said


def test_another_version_of_the_package_is_refused() -> None:
    """A struct of another size is named, and the versions that are known to work."""
    said = _run(_OTHER_SIZE + _REFUSED)
    assert "wasmtime_func_t has 24 bytes, not 16" in said and "are known to work" in said
    assert 'pip install "wasmtime>=46,<' in said


def test_mode_is_forced(mode: str) -> None:
    """HIWIRE_WASMTIME_MODE decides, and `engines` says so."""
    assert _run(_SHOW, HIWIRE_WASMTIME_MODE=mode).startswith(MODES[mode] + " |")
    info = next(i for i in engines() if i.name == "wasmtime")
    assert info.mode == MODES[mode]
    assert info.mode_reason == "HIWIRE_WASMTIME_MODE asks for it"


def test_unknown_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is an error that lists the modes."""
    monkeypatch.setenv("HIWIRE_WASMTIME_MODE", "quick")
    with pytest.raises(EngineUnavailableError, match="is 'quick'; it can be compiled, abi"):
        Hiwire(engine="wasmtime")


def test_forced_mode_that_is_not_here() -> None:
    """Is an error with the reason: no silent fallback."""
    code = (
        _NO_COMPILED
        + """
from hiwire_py import EngineUnavailableError, Hiwire
try:
    Hiwire(engine="wasmtime")
except EngineUnavailableError as e:
    print(e)
"""
    )
    assert "compiled part is missing" in _run(code, HIWIRE_WASMTIME_MODE="compiled")


# ---- references


def test_a_hundred_thousand_objects(mode: str, no_gc: None) -> None:
    """Passed, some stored on the way, and dropped: nothing stays, in Python or in the engine."""
    guest = everything()
    a_set, same = guest.exports.a_set, guest.exports.same
    alive = weakref.WeakSet[Thing]()
    for i in range(100_000):
        thing = Thing(i)
        alive.add(thing)
        if i % 1000 == 0:
            a_set(0, thing)
        else:
            assert same(thing) is thing
        del thing
    a_set(0, NULL)
    guest.collect()
    space = guest._instance.space
    assert len(alive) == 0 and len(space.objects) == 0


def test_store_deleted_on_another_thread(mode: str) -> None:
    """wasmtime's finalizers then run there: they only queue, and the objects go all the same."""
    guests = [everything()]
    watch = []
    for i in range(3):
        thing = Thing(i)
        watch.append(weakref.ref(thing))
        guests[0].exports.a_set(i % guests[0].exports.a_size(), thing)
        del thing
    thread = threading.Thread(target=guests.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert [w() for w in watch] == [None] * 3
    assert everything().exports.same(watch) is watch


def test_interrupted_call_leaves_nothing_behind(mode: str) -> None:
    """An exception between the making of an id and the call: the object is not kept."""
    guest = everything()
    space = guest._instance.space
    thing = Thing()
    watch = weakref.ref(thing)
    space.ids.hold(thing)
    del thing
    with pytest.raises(TypeError):
        guest.exports.a_set("x", Thing())
    assert watch() is None and len(space.objects) == 0


# ---- exceptions and traps


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, Stop, KeyboardInterrupt, SystemExit, KeyError])
def test_host_exceptions_come_out_as_themselves(mode: str, error: type[BaseException]) -> None:
    """The very object, with the traceback down to where it was raised; the guest works on."""
    raised = error("x")

    def make(number: int) -> object:
        if number == 1:
            raise raised
        return NULL

    guest = everything(make=make)
    with pytest.raises(error) as caught:
        guest.exports.call_host(1, NULL)
    assert caught.value is raised
    assert "make" in [frame.name for frame in traceback.extract_tb(raised.__traceback__)]
    thing = Thing()
    assert guest.exports.same(thing) is thing


_NEST = """(module (import "e" "f" (func $f (param i32) (result i32)))
  (func (export "g") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))
  (func (export "trap") unreachable)
  (func (export "floats") (param f64 i64 f32) (result f64 i64 f32) local.get 0 local.get 1 local.get 2)
  (func (export "five") (param i32 i32 i32 i32 i32) (result i32) local.get 4)
  (func (export "size") (result i32) memory.size)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (memory (export "memory") 1))"""


def test_uncaught_exceptions(mode: str) -> None:
    """One that a guest throws and does not catch is named, wherever it was thrown."""
    thrown = "(module (tag $e (param i32)) (func $f {} (throw $e (i32.const 1))) {})"
    guest = Guest(wat(thrown.format('(export "f")', "")), engine="wasmtime")
    with pytest.raises(GuestTrap, match=r"f\(\) trapped: uncaught exception"):
        guest.exports.f()
    with pytest.raises(GuestTrap, match=r"start function of the module trapped: uncaught exception"):
        Guest(wat(thrown.format("", "(start $f)")), engine="wasmtime")


def test_trap_in_a_function_with_a_name_like_a_message(mode: str) -> None:
    """A trap tells the names of functions; one that reads like the trap after a host exception is none."""
    name = '$"a host function raised an exception"'
    guest = Guest(wat(f'(module (func {name} (export "f") unreachable))'), engine="wasmtime")
    with pytest.raises(GuestTrap, match="unreachable"):
        guest.exports.f()


def test_many_nested_calls(mode: str) -> None:
    """Host and guest call each other, and each level keeps its own arguments and results."""

    def f(n: int) -> int:
        return 0 if n == 0 else guest.exports.g(n - 1) * 2 - n

    guest = Guest(wat(_NEST), {"e": {"f": f}}, engine="wasmtime")

    def expected(n: int) -> int:
        return 1 + (0 if n == 0 else expected(n - 1) * 2 - n)

    for depth in [*range(20)] * 10:
        assert guest.exports.g(depth) == expected(depth)


def test_traps_inside_callbacks(mode: str) -> None:
    """A trap of a nested call can be handled by the host function; if it is not, it comes out as it is."""
    caught: list[str] = []

    def f(n: int) -> int:
        if n == 1:
            guest.exports.trap()
        try:
            guest.exports.trap()
        except GuestTrap as e:
            caught.append(e.kind)
        return n

    guest = Guest(wat(_NEST), {"e": {"f": f}}, engine="wasmtime")
    assert guest.exports.g(5) == 6 and caught == ["unreachable"]
    with pytest.raises(GuestTrap, match=r"trap\(\) trapped: unreachable"):
        guest.exports.g(1)
    assert guest.exports.g(7) == 8


def test_deep_recursion(mode: str) -> None:
    """Through host functions until Python or wasmtime says stop; the guest works on."""
    guest: Guest = Guest(wat(_NEST), {"e": {"f": lambda n: guest.exports.g(n + 1)}}, engine="wasmtime")
    for _ in range(3):
        with pytest.raises((RecursionError, GuestTrap), match="recursion"):
            guest.exports.g(0)
    assert guest.exports.five(1, 2, 3, 4, 5) == 5


def test_numbers_of_all_kinds(mode: str) -> None:
    """Floats, 64 bits, several results, more parameters than have a function of their own."""
    guest = Guest(wat(_NEST), {"e": {"f": lambda n: n}}, engine="wasmtime")
    assert guest.exports.floats(0.1, -(1 << 63), 0.5) == (0.1, -(1 << 63), 0.5)
    assert guest.exports.five(1, 2, 3, 4, -1) == -1 == guest.exports.five(1, 2, 3, 4, 0xFFFFFFFF)
    assert guest.exports.g(-(1 << 31)) == -(1 << 31) + 1


def test_references_among_many_values(mode: str) -> None:
    """Nine parameters and results, references between numbers: each arrives where it belongs, both ways."""
    kinds = "externref i32 externref f64 externref i64 externref f32 externref"
    gets = " ".join(f"(local.get {i})" for i in range(9))
    seen: list[object] = []

    def host(*args: object) -> tuple[object, ...]:
        seen.extend(args)
        return args

    guest = Guest(
        wat(f'(module (import "e" "h" (func $h (param {kinds}) (result {kinds})))'
            f' (func (export "f") (param {kinds}) (result {kinds}) (call $h {gets})))'),
        {"e": {"h": host}},
        engine="wasmtime",
    )  # fmt: skip
    args = (Thing(), 1, NULL, 2.5, None, -3, "s", 0.5, Thing())
    assert guest.exports.f(*args) == args == tuple(seen)


def test_memory_after_growth(mode: str) -> None:
    """What is read and written after the memory grew, by the guest or by Python, is the new memory."""
    guest = Guest(wat(_NEST), {"e": {"f": lambda n: n}}, engine="wasmtime")
    memory = guest.memory
    memory.write(65535, b"\x07")
    with pytest.raises(IndexError):
        memory.read(65536, 1)
    assert guest.exports.grow(3) == 1 and memory.size == 4 * 65536
    memory.write(4 * 65536 - 1, b"\x09")
    assert guest.exports.load(4 * 65536 - 1) == 9 and memory.read(65535, 1) == b"\x07"
    assert memory.grow(60) == 4 * 65536 and memory.size == 64 * 65536
    memory.write(64 * 65536 - 1, b"\x0b")
    assert guest.exports.load(64 * 65536 - 1) == 11 and guest.exports.load(65535) == 7


def test_function_references_cannot_cross(mode: str) -> None:
    """A function that takes one says so when it is called."""
    guest = Guest(wat('(module (func (export "f") (result funcref) (ref.null func)))'), engine="wasmtime")
    with pytest.raises(TypeError, match="funcref, which cannot cross"):
        guest.exports.f()


_SUITES = (
    "test_bad_input.py",
    "collect/test_collect.py",
    "test_deduplicate.py",
    "passes/test_differential.py",
    "objects/test_finalizers.py",
    "objects/test_frames.py",
    "test_guest.py",
    "test_hiwire.py",
    "objects/test_lifetimes.py",
    "objects/test_signals.py",
)
# What takes seconds where a call takes microseconds, and is about amounts.
_SLOW = ("full_static_table", "guest_is_out_of_memory", "many_guests", "many_objects", "test_threads")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a newer Python runs this with the same code")
def test_the_suites_pass_in_abi_mode() -> None:
    """What the engine tests ask for holds for both ways of calling, not only for the better one."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
         "-k", " and not ".join(("wasmtime", *_SLOW)),
         *(str(ROOT / "tests" / name) for name in _SUITES)],
        capture_output=True,
        text=True,
        env={**os.environ, "HIWIRE_WASMTIME_MODE": "abi"},
        cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:]
