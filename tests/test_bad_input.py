"""Whatever comes in: an exception of its own that says what and why, and all that was there before still
works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading

import pytest
from support import Thing, guest_file, python_path, wat

from hiwire_py import (
    NULL,
    ClosedError,
    EngineUnavailableError,
    ForgedRefError,
    Guest,
    GuestTrap,
    Hiwire,
    HiwireError,
    UnsupportedModuleError,
    WrongThreadError,
    engines,
)
from hiwire_py.passes import lower
from hiwire_py.sources import shipped

PUT_AND_TAKE = """(module (import "env" "see" (func $see (param externref)))
  (table $t 4 externref)
  (func (export "put") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
  (func (export "take") (param i32) (result externref) (table.get $t (local.get 0)))
  (func (export "show") (param i32) (call $see (table.get $t (local.get 0)))))"""


def in_thread(function: object) -> BaseException | None:
    """What ``function`` raises in another thread."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            function()  # type: ignore[operator]
        except BaseException as e:
            caught.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught[0] if caught else None


def test_another_thread(engine: str, variant: str) -> None:
    """Refused before the engine notices, for every operation; the owner goes on."""
    table = Hiwire(variant, engine=engine)
    guest = Guest(wat(PUT_AND_TAKE), {"env": {"see": print}}, engine=engine)
    ref = table.new("x")
    memory = Guest(wat('(module (memory (export "memory") 1))'), engine=engine).memory
    for use in (
        lambda: table.get(ref),
        lambda: table.new("y"),
        lambda: list(table),
        lambda: len(table),
        lambda: table.close(),
        lambda: guest.exports.put(0, "x"),
        lambda: guest.collect(),
        lambda: guest.close(),
        lambda: memory.size,
        lambda: memory.read(0, 1),
    ):
        error = in_thread(use)
        assert isinstance(error, WrongThreadError), error
        assert "belongs to the thread" in str(error) and "make one for each thread" in str(error)
    assert table.get(ref) == "x" and guest.exports.take(0) is NULL


def test_each_thread_its_own(engine: str, variant: str) -> None:
    """Tables made in several threads at once work, and end there."""

    def work() -> None:
        table = Hiwire(variant, engine=engine)
        refs = [table.new(i) for i in range(200)]
        assert [table.get(ref) for ref in refs] == list(range(200))

    errors = [in_thread(work) for _ in range(4)]
    assert errors == [None] * 4


def test_dropped_in_another_thread(engine: str, variant: str) -> None:
    """The last reference may go anywhere, as Python's cycle collector decides."""
    box = [Hiwire(variant, engine=engine)]
    box[0].new(Thing())
    guests = [Guest(wat(PUT_AND_TAKE), {"env": {"see": print}}, engine=engine)]
    guests[0].exports.put(0, Thing())
    shared = Hiwire(variant, engine=engine)
    guests.append(Guest(wat(PUT_AND_TAKE), {"env": {"see": print}}, hiwire=shared))
    guests[1].exports.put(0, Thing())

    def drop() -> None:
        box.clear()
        guests.clear()

    assert in_thread(drop) is None
    assert shared.new("still here") == 3


def test_closed(engine: str, variant: str) -> None:
    """Every use of a closed table or guest is a ClosedError; closing twice is nothing."""
    table = Hiwire(variant, engine=engine)
    sharing = Guest(wat(PUT_AND_TAKE), {"env": {"see": print}}, hiwire=table)
    guest = Guest(wat('(module (memory (export "memory") 1) (func (export "f")))'), engine=engine)
    memory, f = guest.memory, guest.exports.f
    table.close()
    table.close()
    guest.close()
    guest.close()
    for use in (
        lambda: table.new(1),
        lambda: table.get(3),
        lambda: len(table),
        lambda: list(table),
        lambda: 3 in table,
        lambda: sharing.exports.take(0),
        lambda: f(),
        lambda: memory.size,
        lambda: memory.read(0, 1),
        lambda: guest.collect(),
        lambda: Guest(wat(PUT_AND_TAKE), {"env": {"see": print}}, hiwire=table),
    ):
        with pytest.raises(ClosedError, match="is closed"):
            use()
    assert "closed" in repr(table) and "closed" in repr(guest)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a WebAssembly module"),
        (b"\x7fELF and so on", "not a WebAssembly module"),
        (b"\0asm", "version"),
        (b"\0asm\x0d\0\1\0", "a WebAssembly component"),
        (b"\0asm\2\0\0\0", "version 02000000"),
        (b"\0asm\1\0\0\0\1", "truncated"),
        (b"\0asm\1\0\0\0\1\5\1", "truncated"),
        (b"\0asm\1\0\0\0\1\x84\x80\x80\x80\x80\x80\x80", "malformed"),
        (b"\0asm\1\0\0\0\x0e\1\0", "a section of kind 14"),
        (b"\0asm\1\0\0\0\1\4\1\x5d\0\0", "type form 0x5d"),
        (b"\0asm\1\0\0\0\x63\1\0", "a section of kind 99"),
        (b"\0asm\1\0\0\0\3\2\1\0", "unknown type 0"),
    ],
)
def test_not_a_module(engine: str, data: bytes, words: str) -> None:
    """Bytes that are no module, or another kind of one."""
    with pytest.raises(UnsupportedModuleError, match=words):
        Guest(data, engine=engine)


def test_truncated_anywhere(engine: str) -> None:
    """A module cut off at any byte is refused, and never crashes anything."""
    whole = guest_file("everything")
    for end in range(0, len(whole) - 1, 7 if engine == "wasmer" else 23):
        try:
            Guest(whole[:end], {"env": dict.fromkeys(("make", "see", "swap", "again"), print)}, engine=engine)
        except UnsupportedModuleError:
            continue
        except (HiwireError, TypeError):
            continue  # cut between sections it can be a valid module whose start function fails
        assert end > 8


def test_invalid_code(engine: str) -> None:
    """Code that only becomes valid by lowering, an externref taken for an i32, is refused."""
    add = bytearray(
        wat(
            '(module (func (export "f") (param externref i32) (result i32) (i32.add (local.get 1) (local.get 1))))'
        )
    )
    at = add.index(b"\x20\x01\x20\x01\x6a")
    add[at + 1] = 0
    with pytest.raises(UnsupportedModuleError, match="type mismatch"):
        Guest(bytes(add), engine=engine)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '(import "externref" "get" (func (param i32 i32) (result i32))) (func (export "f") (param externref))',
            "is reserved",
        ),
        ("(type (struct (field externref))) (func (param externref))", "garbage collected types"),
        ("(rec (type (func (param externref))) (type (struct)))", "types that refer to each other"),
        ("(type $f (func (param externref))) (func (param (ref $f)))", "must be funcrefs"),
        (
            "(type $f (func (param externref))) (func (result (ref null $f)) (ref.null $f))",
            "must be funcrefs",
        ),
        ("(func (param externref (ref extern)))", "never null"),
        ("(func (param externref) (drop (any.convert_extern (local.get 0))))", "anyref"),
    ],
)
def test_features_that_lowering_does_not_do(text: str, words: str) -> None:
    """Named in the error."""
    with pytest.raises(UnsupportedModuleError, match=words):
        lower(wat(f"(module {text})"))


def test_lowered_modules_are_refused(engine: str) -> None:
    """What lowering made is not loaded again: its imports would give it the companion's insides."""
    with pytest.raises(UnsupportedModuleError, match="pass the original"):
        Guest(lower(wat(PUT_AND_TAKE)), {"env": {"see": print}}, engine=engine)


def test_missing_imports(engine: str) -> None:
    """All that is missing is named, with its type."""
    with pytest.raises(UnsupportedModuleError) as caught:
        Guest(guest_file("everything"), {"env": {"make": print}}, engine=engine)
    message = str(caught.value)
    assert (
        "function env.see(externref, i32) -> ()" in message
        and "env.swap" in message
        and "env.make" not in message
    )
    with pytest.raises(TypeError, match=r"import env\.see\(externref\) -> \(\) must be a callable, not int"):
        Guest(wat(PUT_AND_TAKE), {"env": {"see": 5}}, engine=engine)
    with pytest.raises(TypeError, match="must be a memory of another guest"):
        Guest(wat('(module (import "env" "m" (memory 1)))'), {"env": {"m": bytearray(65536)}}, engine=engine)


def test_not_a_hiwire_module(engine: str) -> None:
    """A module without the table's functions."""
    with pytest.raises(
        UnsupportedModuleError, match="no hiwire module: it does not export hiwire_new, hiwire_intern"
    ):
        Hiwire(wat("(module)"), engine=engine)
    with pytest.raises(TypeError, match="bytes or as a path, not as int"):
        Guest(5)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        Guest("no such file.wasm", engine=engine)


def test_trap_in_the_start_function(engine: str) -> None:
    """The guest is not made, and says why."""
    with pytest.raises(GuestTrap, match="the start function of the module trapped: unreachable"):
        Guest(wat("(module (func $s unreachable) (start $s))"), engine=engine)


def test_recursion(engine: str, variant: str) -> None:
    """Infinite recursion in the guest, alone and through a host function; table and guest work on."""
    table = Hiwire(variant, engine=engine)
    ref = table.new("x")
    guest: Guest = Guest(
        wat("""(module (import "env" "hiwire_get" (func $get (param i32) (result externref)))
        (import "env" "host" (func $host))
        (func $r (export "recurse") (param i32) (drop (call $get (local.get 0))) (call $r (local.get 0)))
        (func (export "through_host") (call $host))
        (func (export "get") (param i32) (result externref) (call $get (local.get 0))))"""),
        {"env": {"host": lambda: guest.exports.through_host()}},
        hiwire=table,
    )
    for _ in range(3):
        with pytest.raises(GuestTrap, match="call stack exhausted"):
            guest.exports.recurse(ref)
        with pytest.raises(RecursionError, match="40 calls from Python into guests are nested already"):
            guest.exports.through_host()
        assert guest.exports["get"](ref) == "x" == table.get(ref)
    assert in_thread(lambda: None) is None


_DEEP = """
import sys
from support import Thing, wat
from hiwire_py import Guest, GuestTrap

calls = ended = 0

def host(thing):
    global calls, ended
    calls += 1
    try:
        down(60)
    finally:
        ended += 1

def down(levels):
    return levels and 1 + down(levels - 1)

# Through a table, as a C compiler inlines what calls itself: 1,700,000 levels of it go into 8 MB of stack.
text = '''(module (import "env" "host" (func $host (param externref)))
  (table funcref (elem $r))
  (func $r (export "r") (param externref) (call $host (local.get 0))
    (call_indirect (param externref) (local.get 0) (i32.const 0))))'''
guest = Guest(wat(text), {"env": {"host": host}}, engine=sys.argv[1])
for _ in range(3):
    try:
        guest.exports.r(Thing())
    except (GuestTrap, RecursionError) as error:
        print(type(error).__name__)
    assert down(200) == 200
print(calls > 100, calls == ended)
"""


def test_deep_guest_that_calls_host_functions(engine: str) -> None:
    """A guest near the end of its stack calls a host function that needs some itself, and is not cut off. In a
    process of its own, as that is what wasmer would do (docs/limits.md)."""
    run = subprocess.run(
        [sys.executable, "-c", _DEEP, engine],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
        check=False,
    )
    said = run.stdout.split()
    looks = engine != "wasmer" or importlib.util.find_spec("hiwire_py.engines._stack") is not None
    assert looks or "compiled" not in os.environ.get("HIWIRE_REQUIRE_MODES", "").split(",")
    assert run.returncode == 0 and said[3:] == ["True", "True" if looks else said[4]], run.stderr
    assert set(said[:3]) <= {"GuestTrap", "RecursionError"}


def test_forged_externrefs(engine: str) -> None:
    """A guest cannot make an integer into an object: validation, types at links and at indirect calls stop
    it."""
    table = Hiwire(engine=engine)
    with pytest.raises(UnsupportedModuleError, match=r"is a function of type \(i32\) -> \(i32\)"):
        Guest(wat('(module (import "env" "hiwire_new" (func (param i32) (result i32))))'), hiwire=table)


def test_forged_ids_in_the_companion(engine: str) -> None:
    """Were an id forged all the same, storing or passing it is an error, and nothing breaks."""
    seen: list[object] = []
    guest = Guest(wat(PUT_AND_TAKE), {"env": {"see": seen.append}}, engine=engine)
    instance = guest._instance
    put = instance.raw_function("put")
    guest.exports.put(0, "real")
    real = next(iter(instance.space.objects))
    # Generations start anywhere, so that any of the fixed ones may be the real one.
    for id_ in {1, 5, real ^ 1 << 26, real + 1, -1, 0x3FFFFFF, 0x7FFFFFFF, -(1 << 31)} - {real}:
        with pytest.raises(Exception):  # noqa: B017  # the engine's own kind of exception
            put(1, id_)
        instance.space.runtime.fault()
        with pytest.raises(ForgedRefError, match="no such object"):
            from hiwire_py.engines.calls import plain_host_form
            from hiwire_py.objects.trampolines import Given, bind_host
            from hiwire_py.values import EXTERNREF, FuncType

            given = Given(instance.space, seen.append)
            functype = FuncType(bytes((EXTERNREF,)), b"")
            host = bind_host(given, functype, plain_host_form(functype), "env.see")
            host(id_)
    assert guest.exports.take(0) == "real" and guest.exports.take(1) is NULL and seen == []


def test_unknown_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, with the ones there are."""
    for make in (lambda: Hiwire(engine="v8"), lambda: Guest(wat("(module)"), engine="v8")):
        with pytest.raises(
            EngineUnavailableError, match="unknown engine 'v8'; the engines are: wasmer, wasmtime"
        ):
            make()
    monkeypatch.setenv("HIWIRE_ENGINE", "v9")
    with pytest.raises(EngineUnavailableError, match="from the environment variable HIWIRE_ENGINE"):
        Hiwire()


def test_engine_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why it is not available, and what would help."""
    for info in engines():
        assert info.available == bool(info.version and not info.reason) and info.note
        if not info.available:
            with pytest.raises(EngineUnavailableError, match="is not available: "):
                Hiwire(engine=info.name)


def test_a_module_that_lies_about_its_heap(engine: str) -> None:
    """The host's realloc trusts nothing of the module: a heap base outside the memory only means no
    memory."""
    data = shipped("extern_realloc")
    table = Hiwire(data, engine=engine)
    for end in (1 << 31, (1 << 32) - 16, 0xFFFFFFF0):
        table._realloc.end = end
        with pytest.raises(MemoryError):
            table.new("x")
    assert table._realloc(12345, 10) == 0
