"""Which memory is asked for, in which order, while a string gets into a component: the canonical ABI says it
for each pair of encodings, and a guest can see it. The oracle follows CanonicalABI.md, store_string."""

from __future__ import annotations

import functools
from typing import NamedTuple

import pytest
from component_guests import ENCODINGS, Reference, ReferenceComponent, options, use_adapters
from component_types import STRINGS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import use_engine, wat

from hiwire_py.components import Component

Log = list[tuple[int, int, int, int]]
"""The arguments of each call: the old address, its size, the alignment, the new size."""

FIRST = 65536  # where the guests' allocator begins
TAG = 1 << 31

_LIBC = f"""
(core module $libc (memory (export "memory") 40)
  (global $top (mut i32) (i32.const {FIRST})) (global $calls (mut i32) (i32.const 0))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32) (local $log i32)
    (local.set $log (i32.add (i32.const 1024) (i32.mul (global.get $calls) (i32.const 16))))
    (i32.store (local.get $log) (local.get 0))
    (i32.store offset=4 (local.get $log) (local.get 1))
    (i32.store offset=8 (local.get $log) (local.get 2))
    (i32.store offset=12 (local.get $log) (local.get 3))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $top (i32.add (local.get $at) (local.get 3)))
    (memory.copy (local.get $at) (local.get 0)
      (select (local.get 1) (local.get 3) (i32.lt_u (local.get 1) (local.get 3))))
    (local.get $at))
  (func (export "log") (result i32)
    (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (global.get $calls))
    (global.set $calls (i32.const 0)) (global.set $top (i32.const {FIRST})) (i32.const 16)))
(core instance $libc (instantiate $libc))
(func (export "log") (result (list (tuple u32 u32 u32 u32)))
  (canon lift (core func $libc "log") (memory (core memory $libc "memory"))))
"""
_ECHO = '(param "x" string) (result string)'


_MEMORY = '(import "libc" "memory" (memory 40))'


def _returning() -> str:
    """A component whose functions return the strings that they get, and which has a log of its allocator."""
    functions = "".join(
        f'(func (export "f{number}") {_ECHO} (canon lift (core func $m "f") {options(encoding)}))'
        for number, encoding in enumerate(ENCODINGS)
    )
    return f"""{_LIBC}
      (core module $m {_MEMORY}
        (func (export "f") (param i32 i32) (result i32)
          (i32.store (i32.const 32) (local.get 0)) (i32.store (i32.const 36) (local.get 1)) (i32.const 32)))
      (core instance $m (instantiate $m (with "libc" (instance $libc))))
      {functions}
    """


def _composed() -> str:
    """With B, which sends any bytes as a string, from a place in its own memory, and has a log too."""
    imports = lowered = fields = bodies = given = b = with_ = out = ""
    for number in range(len(ENCODINGS)):
        with_ += f'(with "f{number}" (func $a "f{number}"))'
        imports += f'(import "f{number}" (func $f{number} {_ECHO}))'
        for place, source in enumerate(ENCODINGS):
            name = f"s{place}{number}"
            lowered += f"(core func ${name} (canon lower (func $f{number}) {options(source)}))"
            given += f'(export "{name}" (func ${name}))'
            fields += f'(import "" "{name}" (func ${name} (param i32 i32 i32)))'
            bodies += f"""
              (func (export "{name}") (param i32 i32 i32)
                (memory.copy (i32.const 1048576) (local.get 0) (local.get 1))
                (call ${name} (i32.const 1048576) (local.get 2) (i32.const 16)))"""
            b += (
                f'(func (export "{name}") (param "data" (list u8)) (param "units" u32)'
                f' (canon lift (core func $m "{name}") {options()}))'
            )
            out += f'(export "{name}" (func $b "{name}"))'
    return f"""
    (component
      (component $A {_returning()})
      (component $B {imports} {_LIBC} {lowered}
        (core module $m {_MEMORY} {fields} {bodies})
        (core instance $m
          (instantiate $m (with "libc" (instance $libc)) (with "" (instance {given}))))
        {b})
      (instance $a (instantiate $A))
      (instance $b (instantiate $B {with_}))
      {out} (export "log-a" (func $a "log")) (export "log-b" (func $b "log")))
    """


# ---- the oracle


class Stored(NamedTuple):
    """A string in a memory: its number of units, with the tag."""

    text: str
    encoding: str
    units: int


class Allocator:
    """As the guest has it."""

    def __init__(self, top: int = FIRST) -> None:
        self.top = top
        self.log: Log = []

    def realloc(self, old: int, had: int, alignment: int, size: int) -> int:
        self.log.append((old, had, alignment, size))
        at = -(-self.top // alignment) * alignment
        self.top = at + size
        return at


def simple(stored: Stored) -> tuple[str, int]:
    """The encoding that the units are in, and how many they are."""
    if stored.encoding != "latin1+utf16":
        return stored.encoding, stored.units
    return ("utf16", stored.units ^ TAG) if stored.units & TAG else ("latin1", stored.units)


def store(memory: Allocator, source: Stored, target: str, narrowing: int = 1) -> Stored:
    """Have a string copied into a memory. ``narrowing`` is the alignment that is asked for where UTF-16 turns
    out to be Latin-1: 1 in the specification, 2 in wasmtime."""
    encoding, units = simple(source)
    text, realloc = source.text, memory.realloc
    if target == "utf8":
        if encoding == "utf8":
            realloc(0, 0, 1, units)
            return Stored(text, target, units)
        at = realloc(0, 0, 1, units)
        if text.isascii():
            return Stored(text, target, units)
        most, size = units * (3 if encoding == "utf16" else 2), len(text.encode())
        at = realloc(at, units, 1, most)
        if size < most:
            realloc(at, most, 1, size)
        return Stored(text, target, size)
    wide = len(text.encode("utf-16-le"))
    if target == "utf16":
        at = realloc(0, 0, 2, 2 * units)
        if encoding == "utf8" and wide < 2 * units:
            realloc(at, 2 * units, 2, wide)
        return Stored(text, target, wide // 2)
    narrow = all(ord(character) < 256 for character in text)
    if source.encoding == target:
        if encoding == "latin1":
            realloc(0, 0, 2, units)
            return Stored(text, target, units)
        at = realloc(0, 0, 2, 2 * units)
        if narrow:
            realloc(at, 2 * units, narrowing, units)
            return Stored(text, target, units)
        return Stored(text, target, units | TAG)
    at = realloc(0, 0, 2, units)
    if narrow:
        if len(text) < units:
            realloc(at, units, 2, len(text))
        return Stored(text, target, len(text))
    at = realloc(at, units, 2, 2 * units)
    if wide < 2 * units:
        realloc(at, 2 * units, 2, wide)
    return Stored(text, target, wide // 2 | TAG)


def stored_as(text: str, encoding: str, wide: bool) -> tuple[Stored, bytes]:
    """A string as a guest may have it; ``wide``: in UTF-16 even where Latin-1 would do."""
    if encoding == "utf8":
        data = text.encode()
        return Stored(text, encoding, len(data)), data
    if encoding == "latin1+utf16" and not wide and all(ord(character) < 256 for character in text):
        return Stored(text, encoding, len(text)), text.encode("latin-1")
    data = text.encode("utf-16-le")
    return Stored(text, encoding, len(data) // 2 | (TAG if encoding != "utf16" else 0)), data


# ---- the tests

_SETTINGS = settings(
    max_examples=60,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@functools.cache
def made() -> tuple[Component, Reference]:
    wasm = wat(_composed())
    return Component(wasm), ReferenceComponent(wasm).instantiate()


def there_and_back(text: str, source: str, target: str, wide: bool, narrowing: int = 1) -> tuple[Log, Log]:
    """The logs of A, and of B whose first call is for the bytes that Python passes."""
    stored, data = stored_as(text, source, wide)
    a, b = Allocator(), Allocator()
    b.realloc(0, 0, 1, len(data))
    store(b, store(a, stored, target, narrowing), source, narrowing)
    return a.log, b.log


@pytest.mark.parametrize("name", ["wasmtime", "wasmer", "native"])
def test_between_components(name: str) -> None:
    """For all three encodings to all three, there and back, the calls of both allocators are those of the
    specification."""
    engine = use_adapters(name)
    component, reference = made()
    with component.instantiate(engine=engine) as instance:

        @_SETTINGS
        @given(STRINGS, st.booleans())
        def check(text: str, wide: bool) -> None:
            for number, target in enumerate(ENCODINGS):
                for place, source in enumerate(ENCODINGS):
                    stored, data = stored_as(text, source, wide)
                    instance[f"s{place}{number}"](data, stored.units)
                    found = instance["log-a"](), instance["log-b"]()
                    assert found == there_and_back(text, source, target, wide), (source, target)
                    if engine == "wasmtime":
                        reference.function(f"s{place}{number}")(data, stored.units)
                        others = reference.function("log-a")(), reference.function("log-b")()
                        assert others == there_and_back(text, source, target, wide, 2), (source, target)

        check()


@pytest.mark.parametrize("name", ["wasmtime", "wasmer", "native"])
def test_from_python(name: str) -> None:
    """Python asks once for what the string needs, as a component does that has the same encoding."""
    engine = use_engine(name)
    with Component(wat(f"(component {_returning()})")).instantiate(engine=engine) as instance:

        @_SETTINGS
        @given(STRINGS)
        def check(text: str) -> None:
            for number, target in enumerate(ENCODINGS):
                memory = Allocator()
                store(memory, stored_as(text, target, False)[0], target)
                assert instance[f"f{number}"](text) == text
                assert instance["log"]() == memory.log

        check()
