"""Prepared modules on disk: what an engine compiled serves the next process, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from support import use_engine, wat

from hiwire_py import NULL, Guest, Hiwire, cache
from hiwire_py.engines import get_engine
from hiwire_py.engines.base import Engine
from hiwire_py.errors import GuestLimitError, GuestTrap, UnsupportedModuleError
from hiwire_py.objects import kept
from hiwire_py.passes.runner import run

# All that a deserialized module must have kept: imports, references, a memory with data, a table with
# functions, globals, a start function.
WHOLE = """(module
  (import "env" "back" (func $back (param externref i32) (result externref)))
  (import "env" "given" (global $given i32))
  (memory (export "memory") 1 2)
  (data (i32.const 8) "data")
  (table $refs (export "refs") 4 8 externref)
  (table $calls 3 funcref)
  (elem (table $calls) (i32.const 1) func $load)
  (global $started (export "started") (mut i32) (i32.const 0))
  (global $held (export "held") (mut externref) (ref.null extern))
  (type $load_type (func (param i32) (result i32)))
  (func $start (global.set $started (global.get $given)))
  (start $start)
  (func $load (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "call") (param i32 i32) (result i32)
    (call_indirect $calls (type $load_type) (local.get 1) (local.get 0)))
  (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "keep") (param externref) (result externref)
    (table.set $refs (i32.const 2) (local.get 0)) (global.set $held (local.get 0))
    (call $back (local.get 0) (i32.const 7)))
  (func (export "kept") (result externref) (table.get $refs (i32.const 2)))
  (func $deep (export "deep") (call $deep))
  (func (export "spin") (loop $more (br $more))))"""


@pytest.fixture(autouse=True)
def every_module(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The cache is empty, and the smallest modules are kept. The engines of this thread forget theirs."""
    monkeypatch.setattr(kept, "LEAST", 0)
    forget()
    yield
    forget()


def forget() -> None:
    """As in a new process: what this thread's engines have in memory is gone."""
    for engine in Engine.__subclasses__():
        state = vars(engine)["_threads"].__dict__  # as this thread sees it
        for one in (*state.get("engines", {}).values(), *filter(None, [state.get("engine")])):
            one.prepared.clear()


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What went through the passes, to be compiled."""
    made: list[object] = []

    def counted(*args: Any) -> Any:
        made.append(args)
        return run(*args)

    monkeypatch.setattr(sys.modules["hiwire_py.objects.prepare"], "run", counted)
    return made


def use(engine: str, text: str = WHOLE) -> None:
    """Make a guest of the whole module, and use all it has."""
    seen = []

    def back(value: Any, number: int) -> Any:
        seen.append((value, number))
        return value

    value = object()
    guest = Guest(wat(text), {"env": {"back": back, "given": 44}}, engine=engine)
    exports = guest.exports
    assert exports.load(9) == ord("a") and exports.call(1, 9) == ord("a")
    assert exports.keep(value) is value and exports.kept() is value and seen == [(value, 7)]
    assert exports.refs[2] is value and exports.refs[1] is NULL and len(exports.refs) == 4
    assert exports.started.value == 44 and exports.held.value is value
    assert guest.memory.read(8, 4) == b"data" and guest.memory.size == 65536
    assert guest.memory.grow(1) == 65536 == guest.memory.size - 65536
    for name, args in (("divide", (1, 0)), ("load", (1 << 20,)), ("call", (0, 0)), ("call", (9, 0))):
        with pytest.raises(GuestTrap):
            exports[name](*args)
    assert exports.divide(9, 2) == 4
    guest.close()


def test_recalled(engine: str, prepared: list[object]) -> None:
    """The second time nothing is prepared, and the guest has all that the first one had."""
    use(engine)
    made = len(prepared)
    assert made >= 1
    for _ in range(2):
        forget()
        use(engine)
    assert len(prepared) == made


FOLDERS = f"{Path(__file__).parent}:{Path(support.__file__).parent}"
SECOND = """
import sys
sys.path += sys.argv[1].split(':')
from hiwire_py.objects import kept
kept.LEAST = 0
import test_kept
if sys.argv[3] == "recalled":
    sys.modules["hiwire_py.objects.prepare"].run = None
test_kept.use(sys.argv[2])
"""


def test_another_process(engine: str) -> None:
    """What one process prepared is there for another."""
    for what in ("prepared", "recalled", "recalled"):
        command = [sys.executable, "-c", SECOND, FOLDERS, engine, what]
        subprocess.run(command, check=True, timeout=120)


def test_another_thread(engine: str, prepared: list[object]) -> None:
    """Each thread has engines of its own, and they share what is kept."""
    use(engine)
    made = len(prepared)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            use(engine)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(prepared) == made


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_fork(engine: str) -> None:
    """It takes what is kept, also where it cannot compile: the threads of wasmer's compiler stay behind."""
    use(engine)
    forget()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            use(engine)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_small_modules(engine: str, monkeypatch: pytest.MonkeyPatch, cache_home: Path) -> None:
    """They stay out of it, as does the run time of lowered modules: compiling them takes less time."""
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    use(engine)
    assert not (cache_home / "hiwire" / cache.MODULES).exists()


def entries(cache_home: Path) -> list[Path]:
    return sorted((cache_home / "hiwire" / cache.MODULES).iterdir())


@pytest.mark.parametrize("what", ["flipped", "cut", "removed", "nonsense"])
def test_damaged(engine: str, what: str, prepared: list[object], cache_home: Path) -> None:
    """What is damaged, or what the engine does not take, is prepared again and replaced."""
    use(engine)
    made = len(prepared)
    for path in entries(cache_home):
        data = path.read_bytes()
        if what == "flipped":
            path.write_bytes(data[:20] + bytes((data[20] ^ 1,)) + data[21:])
        elif what == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif what == "removed":
            path.unlink()
        else:
            notes = cache.load(cache.MODULES, path.name)
            assert notes is not None
            cache.store(cache.MODULES, path.name, b"nonsense", notes.notes)
    forget()
    use(engine)
    if what != "nonsense" or engine != "native":  # whose library is taken all the same
        assert len(prepared) == 2 * made
    forget()
    use(engine)
    assert len(prepared) <= 2 * made


def test_library_that_is_gone(cache_home: Path) -> None:
    """The engine native's libraries have their own place; one that is gone is compiled again."""
    use_engine("native")
    libraries = cache_home / "hiwire" / cache.LIBRARIES
    for _ in range(2):
        command = [sys.executable, "-c", SECOND, FOLDERS, "native", "prepared"]
        subprocess.run(command, check=True, timeout=120)
        (library,) = libraries.iterdir()
        library.unlink()


def test_another_configuration(
    engine: str, prepared: list[object], monkeypatch: pytest.MonkeyPatch, cache_home: Path
) -> None:
    """Another release of the engine or of this package, or another processor, makes its own."""
    use(engine)
    made, before = len(prepared), len(entries(cache_home))
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(kept, "_here", lambda: ["another processor"])
        use(engine)
    assert len(prepared) == 2 * made and len(entries(cache_home)) == 2 * before
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(type(get_engine(engine)), "configuration", lambda self: ["another release"])
        use(engine)
    assert len(prepared) == 3 * made and len(entries(cache_home)) == 3 * before


@pytest.mark.parametrize("how", ["here", "configuration", "off"])
def test_not_kept(
    engine: str, how: str, prepared: list[object], monkeypatch: pytest.MonkeyPatch, cache_home: Path
) -> None:
    """Where it cannot be told what decides, or the cache is switched off, all is prepared each time."""
    if how == "here":
        monkeypatch.setattr(kept, "_here", lambda: None)
    elif how == "configuration":
        monkeypatch.setattr(type(get_engine(engine)), "configuration", lambda self: None)
    else:
        monkeypatch.setenv("HIWIRE_CACHE", "0")
    use(engine)
    made = len(prepared)
    forget()
    use(engine)
    assert len(prepared) == 2 * made and not (cache_home / "hiwire" / cache.MODULES).exists()


def test_invalid_modules(engine: str, cache_home: Path) -> None:
    """They are refused each time, and not kept."""
    wasm = wat('(module (func (export "f") (result i32) (i32.const 1)))').replace(b"\x41\x01", b"\x42\x01")
    Hiwire(engine=engine)
    before = entries(cache_home)
    for _ in range(2):
        forget()
        with pytest.raises(UnsupportedModuleError):
            Guest(wasm, engine=engine)
    assert entries(cache_home) == before


def test_limits(prepared: list[object]) -> None:
    """Code that counts time or fuel is kept apart from code that does not, and counts when it is recalled."""
    spin = wat('(module (func (export "spin") (loop $more (br $more))))')
    for _ in range(2):
        for limits in ({"deadline": 0.05}, {"fuel": 1000}):
            with pytest.raises(GuestLimitError):
                Guest(spin, engine="wasmtime", **limits).exports.spin()
        Guest(spin, engine="wasmtime")
        made = len(prepared)
        forget()
    assert len(prepared) == made


def test_tables_that_move(prepared: list[object]) -> None:
    """A table of handles that was recalled can leave its store of wasmtime, so that guests come and go."""
    for _ in range(2):
        table = Hiwire(engine="wasmtime")
        value = object()
        handle = table.new(value)
        store = table.space.store
        before = getattr(store, "_store", None)
        guest = wat('(module (import "env" "hiwire_get" (func (param i32) (result externref))))')
        for _ in range(300):
            Guest(guest, hiwire=table).close()
        assert getattr(store, "_store", None) is not before and table.get(handle) is value
        table.close()
        made = len(prepared)
        forget()
    assert len(prepared) == made
