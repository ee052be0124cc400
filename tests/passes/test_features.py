"""Guests that use externrefs and a newer feature of WebAssembly at once: lowered, they do what they do on plain
wasmtime, which has true externrefs.

Host functions release whatever seems to be unused, so that what lowering forgets to hold is gone at once.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import wasmtime
from support import Thing, frame_bytes, use_engine, wat

from hiwire_py import NULL, Guest, GuestTrap, UnsupportedModuleError
from hiwire_py.objects.runtime import Runtime

HEAD = """(import "env" "make" (func $make (param i32) (result externref)))
  (import "env" "see" (func $see (param externref)))
  (func $two (param externref externref) (call $see (local.get 0)) (drop (call $make (i32.const 90)))
    (call $see (local.get 1)))
"""
WASMTIME = ("wasmtime",)
EVERYWHERE = ("wasmtime", "native", "wasmer")

# Name -> engines that have it, a guest, and what is called.
FEATURES: dict[str, tuple[tuple[str, ...], str, list[tuple[str, int]]]] = {
    "SIMD": (
        ("wasmtime", "wasmer"),
        """(global $v (mut v128) (v128.const i32x4 1 2 3 4)) (memory 1)
        (func $f (param v128 externref i32) (result v128 externref) (local $w v128)
          (local.set $w (i32x4.add (local.get 0) (global.get $v)))
          (v128.store offset=16 (i32.const 0) (local.get $w))
          (v128.store32_lane 2 (i32.const 4) (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
            (v128.load8x8_s (i32.const 16)) (local.get $w)))
          (global.set $v (i8x16.swizzle (local.get $w) (i32x4.splat (local.get 2))))
          (drop (call $make (i32.const 7)))
          (v128.bitselect (local.get $w) (global.get $v) (f64x2.sqrt (local.get 0))) (local.get 1))
        (func (export "go") (param i32) (result i32) (local $x externref)
          (local.set $x (call $make (local.get 0)))
          (call $f (i32x4.splat (local.get 0)) (local.get $x) (local.get 0))
          (call $see) (i32x4.extract_lane 3)
          (i32.add (i32.load (i32.const 4))) (i32.add (ref.is_null (local.get $x))) (call $see (local.get $x)))""",
        [("go", 3), ("go", -5)],
    ),
    "relaxed SIMD": (
        WASMTIME,
        """(func (export "go") (param i32) (result i32) (local $x externref)
          (local.set $x (call $make (local.get 0)))
          (i32x4.extract_lane 0 (i32x4.relaxed_laneselect (i32x4.splat (local.get 0))
            (i8x16.relaxed_swizzle (i32x4.splat (i32.const 9)) (i32x4.splat (i32.const 0))) (v128.const i64x2 -1 -1)))
          (call $two (local.get $x) (call $make (i32.const 4))))""",
        [("go", 3)],
    ),
    "atomics": (
        WASMTIME,
        """(memory 1) (func (export "go") (param i32) (result i32) (local $x externref)
          (local.set $x (call $make (local.get 0)))
          (drop (i32.atomic.rmw.add offset=4 (i32.const 0) (local.get 0)))
          (drop (i64.atomic.rmw32.cmpxchg_u (i32.const 4) (i64.const 3) (i64.const 70)))
          (atomic.fence) (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
          (call $see (local.get $x)) (i32.atomic.load8_u (i32.const 4)))""",
        [("go", 3), ("go", 1)],
    ),
    "tail calls of its own functions": (
        WASMTIME,
        """(func $turn (param externref i32) (result i32)
          (drop (call $make (i32.const 1)))
          (if (i32.eqz (local.get 1)) (then (call $see (local.get 0)) (return (i32.const 5))))
          (return_call $turn (local.get 0) (i32.sub (local.get 1) (i32.const 1))))
        (func $even (param i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
          (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
        (func $odd (param i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
          (return_call $even (i32.sub (local.get 0) (i32.const 1))))
        (func (export "go") (param i32) (result i32)
          (i32.add (return_call $turn (call $make (i32.const 3)) (local.get 0)) (unreachable)))
        (func (export "kept") (param i32) (result i32) (local $x externref)
          (local.set $x (call $make (i32.const 4))) (drop (call $make (i32.const 5))) (call $see (local.get $x))
          (return_call $even (local.get 0)))""",
        [("go", 30), ("kept", 300001), ("kept", 0)],
    ),
    "tail calls that set their parameters": (
        WASMTIME,
        """(func $turn (param externref externref i32)
          (call $see (local.get 0)) (local.set 0 (call $make (local.get 2))) (call $see (local.get 1))
          (if (i32.eqz (local.get 2)) (then (call $two (local.get 0) (local.get 1)) (return)))
          (return_call $turn (local.get 1) (local.get 0) (i32.sub (local.get 2) (i32.const 1))))
        (func (export "go") (param i32) (result i32)
          (call $turn (call $make (i32.const 50)) (call $make (i32.const 51)) (local.get 0)) (i32.const 0))""",
        [("go", 9)],
    ),
    "tail calls of imports": (
        WASMTIME,
        """(func $last (param externref i32) (drop (call $make (local.get 1))) (return_call $see (local.get 0)))
        (func (export "go") (param i32) (result i32)
          (call $last (call $make (i32.const 3)) (local.get 0)) (i32.const 1))""",
        [("go", 8)],
    ),
    "tail calls through a table": (
        WASMTIME,
        """(type $turn (func (param externref i32) (result i32))) (table $t 2 funcref) (elem (i32.const 0) $a $b)
        (func $a (type $turn) (drop (call $make (i32.const 1)))
          (if (i32.eqz (local.get 1)) (then (call $see (local.get 0)) (return (i32.const 5))))
          (return_call_indirect $t (type $turn)
            (local.get 0) (i32.sub (local.get 1) (i32.const 1)) (i32.and (local.get 1) (i32.const 1))))
        (func $b (type $turn) (return_call $a (local.get 0) (local.get 1)))
        (func (export "go") (param i32) (result i32)
          (return_call_indirect $t (type $turn) (call $make (i32.const 3)) (local.get 0) (i32.const 1)))
        (func $deep (param externref i32) (result i32)
          (if (i32.eqz (local.get 1)) (then (call $see (local.get 0)) (return (i32.const 6))))
          (return_call_indirect $d (type $turn) (local.get 0) (i32.sub (local.get 1) (i32.const 1)) (i32.const 0)))
        (table $d 1 funcref) (elem (table $d) (i32.const 0) func $deep)
        (func (export "deep") (param i32) (result i32) (call $deep (call $make (i32.const 3)) (local.get 0)))""",
        [("go", 30), ("deep", 300000)],
    ),
    "tail calls through a table that others see": (
        WASMTIME,
        """(type $turn (func (param externref i32) (result i32)))
        (table $t (export "t") 2 funcref) (elem (i32.const 0) $a $b)
        (func $a (type $turn) (drop (call $make (i32.const 1)))
          (if (i32.eqz (local.get 1)) (then (call $see (local.get 0)) (return (i32.const 5))))
          (return_call_indirect $t (type $turn)
            (local.get 0) (i32.sub (local.get 1) (i32.const 1)) (i32.and (local.get 1) (i32.const 1))))
        (func $b (type $turn) (return_call $a (local.get 0) (local.get 1)))
        (func (export "go") (param i32) (result i32)
          (return_call_indirect $t (type $turn) (call $make (i32.const 3)) (local.get 0) (i32.const 1)))""",
        [("go", 30)],
    ),
    "tail calls out of blocks that catch": (
        WASMTIME,
        """(tag $e (param i32)) (func $throws (param externref i32) (drop (call $make (i32.const 2)))
          (call $see (local.get 0)) (throw $e (local.get 1)))
        (func $inner (param externref i32) (block $h (result i32)
            (try_table (catch $e $h) (return_call $throws (local.get 0) (local.get 1))) (unreachable)) (drop))
        (func (export "go") (param i32) (result i32) (block $h (result i32)
            (try_table (catch $e $h) (call $inner (call $make (i32.const 3)) (local.get 0))) (i32.const 100)))""",
        [("go", 8)],
    ),
    "exceptions that carry objects": (
        WASMTIME,
        """(tag $e (param externref i32)) (tag $empty)
        (func $throws (param i32) (local $x externref) (local.set $x (call $make (local.get 0)))
          (drop (call $make (i32.const 1))) (call $see (local.get $x))
          (if (local.get 0) (then (throw $e (local.get $x) (local.get 0)))) (throw $empty))
        (func $passes (param i32) (local $y externref) (local.set $y (call $make (i32.const 60)))
          (block $h (result exnref) (try_table (catch_all_ref $h) (call $throws (local.get 0))) (return))
          (drop (call $make (i32.const 61))) (call $see (local.get $y)) (throw_ref))
        (func (export "go") (param i32) (result i32) (local $kept externref) (local $x externref)
          (local.set $kept (call $make (i32.const 40)))
          (block $none (block $h (result externref i32)
              (try_table (catch $e $h) (catch_all $none) (call $passes (local.get 0))) (unreachable))
            (drop) (local.set $x) (drop (call $make (i32.const 41))) (call $two (local.get $kept) (local.get $x))
            (return (i32.const 1)))
          (drop (call $make (i32.const 42))) (call $see (local.get $kept)) (i32.const 2))""",
        [("go", 3), ("go", 0)],
    ),
    "a local that only the handler reads": (
        WASMTIME,
        """(tag $e) (func $throws (drop (call $make (i32.const 1))) (throw $e))
        (func (export "go") (param i32) (result i32) (local $x externref)
          (local.set $x (call $make (local.get 0)))
          (block $h (try_table (catch $e $h) (call $throws) (local.set $x (ref.null extern))) (return (i32.const 0)))
          (call $see (local.get $x)) (i32.const 1))""",
        [("go", 3)],
    ),
    "exceptions by the hundred thousand": (
        WASMTIME,
        """(tag $e) (func $throws (param externref) (local $x externref) (local.set $x (call $make (i32.const 2)))
          (call $nothing) (if (ref.is_null (local.get $x)) (then (return))) (call $nothing2 (local.get $x)) (throw $e))
        (func $nothing) (func $nothing2 (param externref))
        (func (export "go") (param i32) (result i32) (local $x externref) (local.set $x (call $make (i32.const 3)))
          (loop $again (block $h (try_table (catch $e $h) (call $throws (local.get $x))))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
          (call $see (local.get $x)) (i32.const 9))
        (func (export "to_a_loop") (param i32) (result i32)
          (loop $again (if (i32.eqz (local.get 0)) (then (return (i32.const 8))))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (try_table (catch $e $again) (call $throws (ref.null extern))))
          (i32.const 7))""",
        [("go", 40000), ("to_a_loop", 40000)],
    ),
    "several memories": (
        EVERYWHERE,
        """(memory $a 1) (memory $b 2) (data $d (memory $b) (i32.const 9) "abc") (data $p "xyz")
        (func (export "go") (param i32) (result i32) (local $x externref) (local.set $x (call $make (local.get 0)))
          (memory.copy $a $b (i32.const 4) (i32.const 9) (i32.const 3)) (i32.store8 $b offset=5 (i32.const 0) (local.get 0))
          (memory.init $b $p (i32.const 0) (i32.const 1) (i32.const 2)) (memory.fill $a (i32.const 5) (i32.const 65) (i32.const 1))
          (call $see (local.get $x))
          (i32.add (i32.load $a (i32.const 4)) (i32.add (i32.load $b (i32.const 2)) (memory.size $b))))""",
        [("go", 3)],
    ),
    "a memory of 64 bits": (
        WASMTIME,
        """(memory i64 1) (data (i64.const 8) "abc")
        (func (export "go") (param i32) (result i32) (call $see (call $make (local.get 0)))
          (i64.store offset=0x10 (i64.const 0) (i64.extend_i32_s (local.get 0)))
          (i32.add (i32.load (i64.const 8)) (i32.wrap_i64 (i64.add (memory.size) (i64.load (i64.const 16))))))
        (func (export "beyond") (param i32) (result i32) (i32.load offset=0x100000000 (i64.const 0)))""",
        [("go", 3), ("beyond", 0)],
    ),
    "tables of 64 bits": (
        WASMTIME,
        """(table $t i64 3 10 externref) (table $u i64 2 externref) (table $s 4 externref)
        (elem $p externref (ref.null extern) (ref.null extern)) (elem (table $t) (i64.const 2) externref (ref.null extern))
        (table $f i64 2 funcref) (elem (table $f) (i64.const 1) func $f)
        (type $f (func (param externref) (result externref)))
        (func $f (type $f) (drop (call $make (i32.const 6))) (local.get 0))
        (func (export "go") (param i32) (result i32)
          (table.set $t (i64.const 1) (call $make (local.get 0)))
          (table.fill $u (i64.const 0) (table.get $t (i64.const 1)) (i64.const 2))
          (table.copy $s $u (i32.const 1) (i64.const 0) (i32.const 2))
          (table.copy $t $s (i64.const 0) (i32.const 2) (i32.const 1))
          (table.copy $t $t (i64.const 1) (i64.const 0) (i64.const 2))
          (table.init $t $p (i64.const 0) (i32.const 1) (i32.const 1))
          (call $see (table.get $t (i64.const 0))) (call $see (table.get $t (i64.const 1))) (call $see (table.get $s (i32.const 2)))
          (call $see (call_indirect $f (type $f) (table.get $t (i64.const 1)) (i64.const 1)))
          (i32.wrap_i64 (i64.add (table.size $t) (table.grow $t (table.get $t (i64.const 1)) (i64.const 2)))))
        (func (export "full") (param i32) (result i32)
          (i64.eq (table.grow $t (ref.null extern) (i64.const 0x100000001)) (i64.const -1)))
        (func (export "beyond") (param i32) (result i32) (table.set $t (i64.const 0x100000000) (ref.null extern)) (i32.const 0))
        (func (export "beyond_fill") (param i32) (result i32)
          (table.fill $t (i64.const 0x100000000) (ref.null extern) (i64.const 0)) (i32.const 0))""",
        [("go", 3), ("full", 0), ("beyond", 0), ("beyond_fill", 0), ("go", 4)],
    ),
    "extended constants, of globals that are not imported": (
        WASMTIME,
        """(global $at i32 (i32.const 1)) (table $t 5 externref) (memory 1)
        (elem (table $t) (offset (i32.add (global.get $at) (i32.mul (i32.const 2) (i32.const 1)))) externref (ref.null extern))
        (data (offset (i32.sub (global.get $at) (i32.const 1))) "a")
        (func (export "go") (param i32) (result i32) (table.set $t (i32.const 4) (call $make (local.get 0)))
          (call $see (table.get $t (i32.const 4))) (i32.load8_u (i32.const 0)))""",
        [("go", 3)],
    ),
    "garbage collected types beside": (
        WASMTIME,
        """(type $s (struct (field (mut i32)) (field (ref null $s)))) (type $a (array (mut i16)))
        (type $f (func (param i32) (result i32)))
        (func $double (type $f) (i32.mul (local.get 0) (i32.const 2))) (elem declare func $double)
        (table $any 2 anyref) (global $g (mut (ref null $s)) (ref.null $s))
        (func (export "go") (param i32) (result i32) (local $x externref) (local $o (ref null $s)) (local $n (ref null $a))
          (local.set $x (call $make (local.get 0)))
          (local.set $o (struct.new $s (local.get 0) (global.get $g))) (global.set $g (local.get $o))
          (local.set $n (array.new $a (i32.const 5) (i32.const 4)))
          (table.set $any (i32.const 1) (ref.i31 (local.get 0)))
          (call $two (local.get $x) (call $make (i32.const 2)))
          (i32.add (ref.is_null (struct.get $s 1 (local.get $o))) (i32.add (array.get_u $a (local.get $n) (i32.const 2))
            (i32.add (call_ref $f (struct.get $s 0 (local.get $o)) (ref.func $double))
              (i31.get_s (ref.cast (ref i31) (table.get $any (i32.const 1))))))))""",
        [("go", 3), ("go", 4)],
    ),
    "wide arithmetic": (
        WASMTIME,
        """(func (export "go") (param i32) (result i32) (local $x externref) (local.set $x (call $make (local.get 0)))
          (i64.mul_wide_u (i64.const -1) (i64.extend_i32_u (local.get 0))) (i64.const 5) (i64.const 6) (i64.add128)
          (call $see (local.get $x)) (i64.add) (i32.wrap_i64))""",
        [("go", 3)],
    ),
}


def plainly(text: str, calls: list[tuple[str, int]]) -> list[Any]:
    """What the guest does on plain wasmtime."""
    store = wasmtime.Store()
    linker = wasmtime.Linker(store.engine)
    log: list[Any] = []
    ref, i32 = wasmtime.ValType.externref(), wasmtime.ValType.i32()

    def see(thing: Any) -> None:
        log.append(None if thing is None else thing.name)

    linker.define_func("env", "make", wasmtime.FuncType([i32], [ref]), Thing)
    linker.define_func("env", "see", wasmtime.FuncType([ref], []), see)
    exports = linker.instantiate(store, wasmtime.Module(store.engine, wat(text))).exports(store)
    for name, argument in calls:
        try:
            log.append(exports[name](store, argument))  # type: ignore[operator]
        except wasmtime.Trap:
            log.append("trap")
    return log


@pytest.mark.parametrize("engine", EVERYWHERE)
@pytest.mark.parametrize("feature", FEATURES)
def test_feature(feature: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same calls give the same results, and show the same objects; no frame is left at the end. An engine
    that has not got the feature says so."""
    monkeypatch.setattr(Runtime, "patience", 0)
    engines, body, calls = FEATURES[feature]
    text = f"(module {HEAD} {body})"
    log: list[Any] = []

    def see(thing: Any) -> None:
        log.append(None if thing is NULL else thing.name)

    try:
        guest = Guest(wat(text), {"env": {"make": Thing, "see": see}}, engine=use_engine(engine))
    except UnsupportedModuleError as error:
        assert engine not in engines, error
        assert re.match(
            f"(the engine {engine}|wasm2c .*|wasmer) (does not take|fails at) the module", str(error)
        )
        return
    for name, argument in calls:
        try:
            log.append(guest.exports[name](argument))
        except GuestTrap:
            log.append("trap")
    space = guest._instance.space
    assert log == plainly(text, calls) and len(log) >= len(calls)
    assert frame_bytes(space) == 0, "frames are left"


def test_shared_memory_is_refused_in_words() -> None:
    """wasmtime takes the instructions, and has no shared memories as it is set up here."""
    text = "(module (memory 1 2 shared) (func (param externref)))"
    with pytest.raises(UnsupportedModuleError, match="shared memory support is disabled"):
        Guest(wat(text), engine=use_engine("wasmtime"))


def test_tags_link_guests() -> None:
    """A tag that one guest exports is another's import, if what it carries is the same before lowering too."""
    engine = use_engine("wasmtime")
    thrower = Guest(
        wat("""(module (tag $e (export "e") (param externref)) (tag (export "n") (param i32))
          (func (export "throw") (param externref) (throw $e (local.get 0))))"""),
        engine=engine,
    )
    text = """(module (import "a" "throw" (func $throw (param externref))) (import "a" "e" (tag $e (param externref)))
      (func (export "back") (param externref) (result externref)
        (block $h (result externref) (try_table (catch $e $h) (call $throw (local.get 0))) (unreachable))))"""
    catcher = Guest(wat(text), {"a": thrower.exports})
    thing = Thing("it")
    assert catcher.exports.back(thing) is thing
    with pytest.raises(GuestTrap):
        thrower.exports.throw(thing)
    with pytest.raises(UnsupportedModuleError, match=r"is of type \(i32\)"):
        Guest(wat(text), {"a": {"throw": thrower.exports.throw, "e": thrower.exports.n}})
    with pytest.raises(TypeError, match="must be a tag"):
        Guest(wat(text), {"a": {"throw": thrower.exports.throw, "e": 5}}, engine=engine)
