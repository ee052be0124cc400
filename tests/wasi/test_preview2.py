"""WASI 0.2 as a component sees it: versions, exits, traps, errors, and what programs in C do not use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from component_support import component

from hiwire_py.components import Component, Err, Ok
from hiwire_py.errors import (
    ComponentError,
    DeadlineError,
    GuestExit,
    GuestTrap,
    UnsupportedModuleError,
)
from hiwire_py.hiwire import Hiwire
from hiwire_py.wasi import ManualClock, Wasi
from hiwire_py.wasi.preview2 import (
    Descriptor,
    InputStream,
    IoError,
    OutputStream,
    Pollable,
    Waiter,
    filesystem_error_code,
    interfaces,
)
from hiwire_py.wasi.streams import Captured, input_from

VERSION = "0.2.12"


def calls(interface: str, function: str, param: str, result: str, core: tuple[str, str, str]) -> Component:
    """A component whose ``run`` calls one function of WASI, and returns what that does.

    Args:
        interface: with its version.
        param, result: of the function, in text; "" where there is none.
        core: the same of the core function, and instructions that push the parameter.
    """
    core_param, core_result, push = core
    return component(f"""
    (component
     (import "{interface}" (instance $w (export "{function}" (func {param} {result}))))
     (core func $f (canon lower (func $w "{function}")))
     (core module $m (import "" "f" (func $f {core_param} {core_result}))
      (func (export "run") {core_result} {push} (call $f)))
     (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
     (func (export "run") {result} (canon lift (core func $i "run"))))""")


def exit_with(code: int, version: str = VERSION) -> Component:
    """A component that exits."""
    core = "(param i32)", "", f"(i32.const {code})"
    return calls(f"wasi:cli/exit@{version}", "exit-with-code", '(param "status-code" u8)', "", core)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(engine: str, code: int) -> None:
    """A program's exit status comes out of the call."""
    with exit_with(code).instantiate(engine=engine, wasi=Wasi()) as instance:
        with pytest.raises(GuestExit, match=f"exited with status {code}") as caught:
            instance["run"]()
        assert caught.value.code == code
        with pytest.raises(GuestTrap):  # it was left in the middle
            instance["run"]()


@pytest.mark.parametrize("status, code", [("ok", 0), ("error", 1)])
def test_exit(engine: str, status: str, code: int) -> None:
    """The older function knows success and failure."""
    core = "(param i32)", "", f"(i32.const {int(status != 'ok')})"
    one = calls(f"wasi:cli/exit@{VERSION}", "exit", '(param "status" (result))', "", core)
    with one.instantiate(engine=engine, wasi=Wasi()) as instance, pytest.raises(GuestExit) as caught:
        instance["run"]()
    assert caught.value.code == code


@pytest.mark.parametrize(
    "version, known",
    [
        ("0.2.0", True),
        ("0.2.3", True),
        ("0.2.99", True),
        ("0.3.0", False),
        ("0.2.0-rc1", False),
        ("1.2.0", False),
    ],
)
def test_versions(version: str, known: bool) -> None:
    """All versions of 0.2 are served, whatever comes behind; others are not."""
    one = exit_with(3, version)
    if known:
        with one.instantiate(engine="wasmtime", wasi=Wasi()) as instance, pytest.raises(GuestExit):
            instance["run"]()
    else:
        with pytest.raises(UnsupportedModuleError, match="was not given"):
            one.instantiate(engine="wasmtime", wasi=Wasi())


def test_numbers(engine: str) -> None:
    """Clocks and random numbers are as they were given."""
    for interface, function, expected in (
        ("wasi:clocks/monotonic-clock", "now", 0),
        ("wasi:clocks/monotonic-clock", "resolution", 1),
        ("wasi:random/random", "get-random-u64", (1 << 64) - 1),
        ("wasi:random/insecure", "get-insecure-random-u64", (1 << 64) - 1),
    ):
        core = "", "(result i64)", ""
        one = calls(f"{interface}@{VERSION}", function, "", "(result u64)", core)
        wasi = Wasi(clock=ManualClock(), random=lambda size: b"\xff" * size)
        with one.instantiate(engine=engine, wasi=wasi) as instance:
            assert instance["run"]() == expected


SLEEPS = f"""
(component
 (import "wasi:io/poll@{VERSION}" (instance $p (export "pollable" (type $P (sub resource)))
  (export "[method]pollable.block" (func (param "self" (borrow $P))))
  (export "[method]pollable.ready" (func (param "self" (borrow $P)) (result bool)))))
 (alias export $p "pollable" (type $P))
 (import "wasi:clocks/monotonic-clock@{VERSION}" (instance $c (alias outer 1 $P (type $Q))
  (export "pollable" (type $R (eq $Q)))
  (export "subscribe-duration" (func (param "when" u64) (result (own $R))))))
 (core func $block (canon lower (func $p "[method]pollable.block")))
 (core func $ready (canon lower (func $p "[method]pollable.ready")))
 (core func $subscribe (canon lower (func $c "subscribe-duration")))
 (core func $drop (canon resource.drop $P))
 (core module $m
  (import "" "block" (func $block (param i32))) (import "" "ready" (func $ready (param i32) (result i32)))
  (import "" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "" "drop" (func $drop (param i32)))
  (func (export "sleep") (param i64) (result i32) (local i32 i32)
   (local.set 1 (call $subscribe (local.get 0)))
   (local.set 2 (call $ready (local.get 1)))
   (call $block (local.get 1))
   (local.set 2 (i32.add (i32.mul (local.get 2) (i32.const 2)) (call $ready (local.get 1))))
   (call $drop (local.get 1)) (local.get 2)))
 (core instance $i (instantiate $m (with "" (instance
  (export "block" (func $block)) (export "ready" (func $ready))
  (export "subscribe" (func $subscribe)) (export "drop" (func $drop))))))
 (func (export "sleep") (param "for" u64) (result u32) (canon lift (core func $i "sleep"))))
"""


def test_sleep(engine: str) -> None:
    """A pollable becomes ready by waiting for it; the longest time there is takes none on a manual clock."""
    sleeps = component(SLEEPS)
    clock = ManualClock()
    with sleeps.instantiate(engine=engine, wasi=Wasi(clock=clock)) as instance:
        assert instance["sleep"](1000) == 1
        assert clock.monotonic() == 1000
        assert instance["sleep"]((1 << 64) - 1) == 1
    with sleeps.instantiate(engine=engine, wasi=Wasi()) as instance:
        began = time.monotonic()
        assert instance["sleep"](50_000_000) & 1 == 1
        assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("shared", [False, True])
def test_deadline(shared: bool) -> None:
    """Waiting ends at the deadline, at the latest, also that for the longest time there is; the deadline may
    be that of a table whose space the instance shares."""
    given: dict[str, Any] = {"engine": "wasmtime", "deadline": 0.2}
    if shared:
        given = {"hiwire": Hiwire(**given)}
    with component(SLEEPS).instantiate(wasi=Wasi(), **given) as instance:
        began = time.monotonic()
        with pytest.raises(DeadlineError):
            instance["sleep"]((1 << 64) - 1)
        assert time.monotonic() - began < 10


def test_random_too_many(engine: str) -> None:
    """A guest that asks for more bytes than there is memory for traps; nothing of that size is made."""
    one = component(f"""
    (component
     (import "wasi:random/random@{VERSION}" (instance $w
      (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
     (core module $memory (memory (export "m") 1) (func (export "r") (param i32 i32 i32 i32) (result i32)
      (i32.const 64)))
     (core instance $mi (instantiate $memory))
     (core func $f (canon lower (func $w "get-random-bytes") (memory (core memory $mi "m"))
      (realloc (core func $mi "r"))))
     (core module $m (import "" "f" (func $f (param i64 i32))) (import "" "m" (memory 1))
      (func (export "run") (param i64) (result i32) (call $f (local.get 0) (i32.const 0))
       (i32.load (i32.const 4))))
     (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))
      (export "m" (memory $mi "m"))))))
     (func (export "run") (param "n" u64) (result u32) (canon lift (core func $i "run"))))""")
    with one.instantiate(engine=engine, wasi=Wasi()) as instance:
        assert instance["run"](1000) == 1000
        with pytest.raises(GuestTrap, match="random bytes were asked for"):
            instance["run"]((1 << 64) - 1)


# ---- the classes, as an instance calls them


@pytest.fixture
def waiter() -> Waiter:
    """One on a clock that stands still."""
    return Waiter(ManualClock(), None)


def payload(function: Any, *args: object) -> Any:
    """What an operation fails with."""
    with pytest.raises(ComponentError) as caught:
        function(*args)
    return caught.value.payload


def test_poll(waiter: Waiter) -> None:
    """Of several pollables those are told that are ready; the clock is waited for where none is."""
    later, sooner, now = Pollable(waiter, 50), Pollable(waiter, 20), Pollable(waiter)
    assert Pollable.poll([later, now, sooner, now]) == [1, 3]
    assert Pollable.poll([later, sooner]) == [1]
    assert waiter.clock.monotonic() == 20
    assert Pollable.poll([later]) == [0]
    with pytest.raises(GuestTrap, match="without a pollable"):
        Pollable.poll([])


def test_input_stream(waiter: Waiter) -> None:
    """A stream is read and skipped in parts, and is closed at its end."""
    stream = InputStream(input_from(b"0123456789"), waiter)
    assert stream.read(0) == b""
    assert stream.read(3) == b"012"
    assert stream.skip(2) == 2
    assert stream.blocking_read((1 << 64) - 1) == b"56789"
    assert payload(stream.read, 1) == "closed"
    assert payload(stream.blocking_skip, 1) == "closed"
    assert stream.subscribe().ready()


def test_output_stream(waiter: Waiter) -> None:
    """A stream takes what it has permitted, and a guest that writes more traps."""
    target = Captured()
    stream = OutputStream(target, waiter)
    with pytest.raises(GuestTrap, match="had permitted 0"):
        stream.write(b"x")
    permitted = stream.check_write()
    stream.write(b"ab")
    stream.write_zeroes(2)
    with pytest.raises(GuestTrap, match="had permitted"):
        stream.write_zeroes(permitted - 3)
    with pytest.raises(GuestTrap):
        stream.write_zeroes((1 << 64) - 1)
    stream.blocking_write_and_flush(b"c" * 4096)
    stream.blocking_write_zeroes_and_flush(1)
    with pytest.raises(GuestTrap, match="at most 4096"):
        stream.blocking_write_and_flush(b"c" * 4097)
    with pytest.raises(GuestTrap, match="at most 4096"):
        stream.blocking_write_zeroes_and_flush(1 << 40)
    stream.flush()
    assert target.data == b"ab\0\0" + b"c" * 4096 + b"\0"


def test_splice(waiter: Waiter) -> None:
    """One stream is written to another."""
    target = Captured()
    source, stream = InputStream(input_from(b"abcdef"), waiter), OutputStream(target, waiter)
    assert stream.splice(source, 0) == 0
    assert stream.splice(source, 4) == 4
    assert stream.blocking_splice(source, 100) == 2
    assert payload(stream.splice, source, 1) == "closed"
    assert target.data == b"abcdef"


def test_stream_errors(waiter: Waiter) -> None:
    """An error of a stream has a reason, which is an error-code of the file system."""
    stream = OutputStream(Captured(limit=1), waiter)
    label, error = payload(stream.blocking_write_and_flush, b"ab")
    assert label == "last-operation-failed"
    assert isinstance(error, IoError)
    assert error.to_debug_string() == "the operation failed: insufficient-space"
    assert filesystem_error_code(error) == "insufficient-space"


class Label:
    """A new-timestamp, as an instance gives it."""

    def __init__(self, label: str, value: Any = None) -> None:
        self.label, self.value = label, value


class Datetime:
    """A datetime, as an instance gives it."""

    def __init__(self, seconds: int, nanoseconds: int) -> None:
        self.seconds, self.nanoseconds = seconds, nanoseconds


def test_descriptor(waiter: Waiter, tmp_path: Path) -> None:
    """What is known of a file: times, hashes, whether two are the same."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("a")
    root = Wasi.directory(tmp_path, write=True)
    a, again, b = (
        Descriptor(root.open_at(name, True, (), {"read", "write"}), waiter) for name in ("a", "a", "b")
    )
    assert a.is_same_object(again)
    assert not a.is_same_object(b)
    before = a.metadata_hash()
    assert before == again.metadata_hash() != b.metadata_hash()
    a.set_times(Label("no-change"), Label("timestamp", Datetime(5, 6)))
    assert a.stat()["data-modification-timestamp"] == {"seconds": 5, "nanoseconds": 6}
    assert a.metadata_hash() != before
    waiter.clock.sleep(7)
    a.set_times(Label("now"), Label("no-change"))
    assert a.stat()["data-access-timestamp"] == {"seconds": 0, "nanoseconds": 7}
    assert payload(a.set_times, Label("timestamp", Datetime(0, 10**9)), Label("now")) == "invalid"
    assert payload(a.set_times, Label("timestamp", Datetime((1 << 64) - 1, 0)), Label("now")) == "overflow"
    assert a.read(10, 0) == (b"a", False)
    assert a.read(10, 1) == (b"", True)
    assert a.read(0, 0) == (b"", False)
    stream = a.append_via_stream()
    stream.blocking_write_and_flush(b"bc")
    assert a.read_via_stream(1).read(10) == b"bc"
    a.write_via_stream(0).blocking_write_and_flush(b"A")
    assert (tmp_path / "a").read_text() == "Abc"
    a.advise(0, 0, None)
    assert payload(Descriptor(root, waiter).advise, 0, 0, None) == "bad-descriptor"
    assert payload(Descriptor(root, waiter).read_via_stream, 0) == "is-directory"
    assert payload(a.read_directory) == "not-directory"
    assert a.get_flags() == {"read", "write"}
    assert a.get_type() == "regular-file"


def test_no_network() -> None:
    """A program that imports sockets runs, and is refused one."""
    names = [
        f"wasi:sockets/{name}@0.2.0" for name in ("tcp", "tcp-create-socket", "ip-name-lookup", "network")
    ]
    found = interfaces(Wasi(), names, None)
    assert set(found) == set(names)
    assert (
        payload(found["wasi:sockets/tcp-create-socket@0.2.0"]["create-tcp-socket"], None) == "access-denied"
    )
    assert payload(found["wasi:sockets/tcp@0.2.0"]["tcp-socket"].start_bind, None) == "access-denied"


def test_interfaces() -> None:
    """Only names of WASI 0.2 are served; what is marked as unstable is not."""
    names = ["wasi:io/poll@0.2.1", "wasi:io/poll", "demo:io/poll@0.2.1", "wasi:clocks/timezone@0.2.1", "f"]
    assert list(interfaces(Wasi(), names, None)) == ["wasi:io/poll@0.2.1"]


VARIANTS = """
(component
 (import "host" (instance $h
  (type $v' (variant (case "none") (case "some" u32) (case "low" u8)))
  (export "v" (type $v (eq $v')))
  (export "get" (func (result $v)))))
 (alias export $h "get" (func $get))
 (alias export $h "v" (type $V))
 (core module $mm (memory (export "m") 1))
 (core instance $mi (instantiate $mm))
 (core func $g (canon lower (func $get) (memory (core memory $mi "m"))))
 (core module $m (import "" "g" (func $g (param i32))) (func (export "run") (result i32)
  (call $g (i32.const 16)) (i32.const 16)))
 (core instance $i (instantiate $m (with "" (instance (export "g" (func $g))))))
 (export $E "v" (type $V))
 (func (export "run") (result $E) (canon lift (core func $i "run") (memory (core memory $mi "m")))))
"""


@pytest.mark.parametrize(
    "given, label, value",
    [("none", "none", None), (("some", 70000), "some", 70000), (("low", 5), "low", 5)],
)
def test_variants_by_label(engine: str, given: object, label: str, value: object) -> None:
    """A host function gives a variant by its label, with the payload if the case has one."""
    host = {"v": None, "get": lambda: given}
    with component(VARIANTS).instantiate({"host": host}, engine=engine) as instance:
        case = instance["run"]()
    assert (case.label, getattr(case, "value", None)) == (label, value)


@pytest.mark.parametrize(
    "given, message",
    [
        ("some", "has a payload"),
        (("none", 1), "has no payload"),
        ("other", "must be one of"),
        (("some", 1, 2), "must be one of"),
        ((1, 2), "must be one of"),
        (("some", "x"), "must be an integer"),
    ],
)
def test_variants_refused(given: object, message: str) -> None:
    """A label that is none, or has another payload, is told apart."""
    host = {"v": None, "get": lambda: given}
    instance = component(VARIANTS).instantiate({"host": host}, engine="wasmtime")
    with instance, pytest.raises(TypeError, match=message):
        instance["run"]()


def test_exit_takes_results() -> None:
    """What the older exit is given is told apart by the classes of results."""
    leave = interfaces(Wasi(), ["wasi:cli/exit@0.2.0"], None)["wasi:cli/exit@0.2.0"]["exit"]
    for status, code in ((Ok(), 0), (Err(), 1)):
        with pytest.raises(GuestExit) as caught:
            leave(status)
        assert caught.value.code == code
