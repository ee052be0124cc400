"""UTF-8 that one component passes to another is good where Python finds it good."""

from __future__ import annotations

import random

import pytest
from component_support import component

from hiwire_py.components import ComponentInstance
from hiwire_py.errors import GuestTrap

# The inner one gives back each string it takes. The outer one takes bytes, and passes them as a string.
ECHO = """
(component
  (component $inner
    (core module $m
      (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
      (func (export "echo") (param i32 i32) (result i32)
        (i32.store (i32.const 8) (local.get 0))
        (i32.store (i32.const 12) (local.get 1))
        (i32.const 8)))
    (core instance $i (instantiate $m))
    (func (export "echo") (param "text" string) (result string)
      (canon lift (core func $i "echo")
        (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
  (component $outer
    (import "echo" (func $echo (param "text" string) (result string)))
    (core module $memory
      (memory (export "memory") 1)
      (global $at (mut i32) (i32.const 1024))
      ;; Two places in turn, aligned to nothing.
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $at (i32.xor (global.get $at) (i32.const 0x4000)))
        (i32.add (global.get $at) (i32.const 3))))
    (core instance $mi (instantiate $memory))
    (core func $lowered (canon lower (func $echo)
      (memory (core memory $mi "memory")) (realloc (core func $mi "realloc"))))
    (core module $m
      (import "" "echo" (func $echo (param i32 i32 i32)))
      (func (export "pass") (param i32 i32) (result i32)
        (call $echo (local.get 0) (local.get 1) (i32.const 8))
        (i32.const 8)))
    (core instance $i (instantiate $m (with "" (instance (export "echo" (func $lowered))))))
    (func (export "pass") (param "bytes" (list u8)) (result string)
      (canon lift (core func $i "pass")
        (memory (core memory $mi "memory")) (realloc (core func $mi "realloc")))))
  (instance $inner (instantiate $inner))
  (instance $outer (instantiate $outer (with "echo" (func $inner "echo"))))
  (export "pass" (func $outer "pass")))
"""
# Each kind of character with the least and greatest of it, and what is wrong in each way that there is.
GOOD = [
    "a",
    "\x7f",
    "\x80",
    "é",
    "\u07ff",
    "\u0800",
    "€",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
]
BAD = [
    b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xc3\x28", b"\xc3\xc3", b"\xdf\xff",
    b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xe2\x82", b"\xe2\x28\xac", b"\xed\xa0\x80", b"\xed\xbf\xbf",
    b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff",
]  # fmt: skip
LENGTHS = [0, 1, 3, 4, 5, 7, 8, 9, 15, 23, 24, 25, 63, 64, 65, 72, 129]


def passes(instance: ComponentInstance, data: bytes) -> str | None:
    """What comes back; None where the call traps since the string is not valid."""
    try:
        found: str = instance["pass"](data)
        return found
    except GuestTrap as error:
        assert "not valid in its encoding" in str(error)
        return None


def decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def test_lengths(engine: str) -> None:
    """Strings of each length at which another way of copying or checking begins come through as they are."""
    instance = component(ECHO).instantiate(engine=engine)
    for length in LENGTHS:
        for char in ("x", "é", "€", "😀"):
            text = (char * length)[:length]
            assert instance["pass"](text.encode()) == text
            mixed = "x" * length + char + "x" * (length % 7)
            assert instance["pass"](mixed.encode()) == mixed


@pytest.mark.parametrize("before", ["", "abc", "x" * 61, "éé", "é" * 40, "€a€"])
def test_edges(engine: str, before: str) -> None:
    """The first and last characters of each kind pass, and each kind of fault is found, wherever it is."""
    found = component(ECHO)
    instance = found.instantiate(engine=engine)
    for char in GOOD:
        for behind in ("", "z", "z" * 70, "éz"):
            text = before + char + behind
            assert instance["pass"](text.encode()) == text
    for bad in BAD:
        for behind_bytes in (b"", b"z" * 9, "é".encode() * 9):
            data = before.encode() + bad + behind_bytes
            # Nothing can be called after a trap.
            assert passes(found.instantiate(engine=engine), data) is None, data


def test_random_bytes(engine: str) -> None:
    """Random mixtures of characters with a byte changed are valid to the adapter just where Python decodes
    them."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    found = component(ECHO)
    instance = found.instantiate(engine=engine)
    good = 0
    for _ in range(300):
        alphabet = rng.choice([["a"], ["é", "ß"], ["a", "é"], GOOD])
        data = bytearray("".join(rng.choices(alphabet, k=rng.randrange(90))).encode())
        if data and rng.random() < 0.7:
            data[rng.randrange(len(data))] = rng.randrange(256)
        expected = decoded(bytes(data))
        assert passes(instance, bytes(data)) == expected, bytes(data)
        good += expected is not None
        if expected is None:
            instance = found.instantiate(engine=engine)
    assert 20 < good < 290
