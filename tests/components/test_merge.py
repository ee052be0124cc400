"""Static linking of modules that `wasm-tools smith` makes, and of some that it does not make."""

from __future__ import annotations

import random
import subprocess
from typing import Any

import pytest
import wasmtime
from component_support import wasm_tools

from hiwire_py.components.assemble import Reference
from hiwire_py.components.merge import HostItem, Merger
from hiwire_py.errors import UnsupportedModuleError
from hiwire_py.wasm.module import FUNCTION, GLOBAL, MEMORY, TABLE, Module
from hiwire_py.wasm.types import F32, F64, I32, I64

FUEL = 20_000
_OPTIONS = [
    "--max-imports=0",
    "--export-everything=true",
    "--max-memories=3",
    "--max-tables=4",
    "--max-instructions=300",
    "--max-memory32-bytes=1000000",
    "--min-funcs=3",
    "--allow-start-export=true",
    "--bulk-memory-enabled=true",
    "--exceptions-enabled=true",
    "--extended-const-enabled=true",
    "--gc-enabled=true",
    "--memory64-enabled=false",
    "--multi-value-enabled=true",
    "--reference-types-enabled=true",
    "--saturating-float-to-int-enabled=true",
    "--simd-enabled=true",
    "--tail-call-enabled=true",
    "--threads-enabled=false",
    "--relaxed-simd-enabled=false",
    "--custom-page-sizes-enabled=false",
    "--shared-everything-threads-enabled=false",
    "--custom-descriptors-enabled=false",
    "--compact-imports-enabled=false",
    "--canonicalize-nans=true",
]


def smith(number: int) -> bytes:
    """A valid module that imports nothing, always the same one for a number."""
    r = random.Random(number)
    options = [*_OPTIONS, f"--min-uleb-size={r.choice([1, 1, 5])}"]
    done = subprocess.run(
        [wasm_tools(), "smith", *options], input=r.randbytes(r.choice([500, 3000, 9000])), capture_output=True
    )
    assert not done.returncode, done.stderr
    return done.stdout


def engine() -> wasmtime.Engine:
    """With everything that smith makes."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.wasm_multi_memory = config.wasm_gc = config.wasm_function_references = True
    config.wasm_tail_call = config.wasm_simd = config.wasm_exceptions = True
    return wasmtime.Engine(config)


ENGINE = engine()
NUMBERS = {I32, I64, F32, F64}


def observed(wasm: bytes, prefix: str) -> list[object]:
    """What a module's exports whose names begin with a prefix do and hold, one after the other."""
    store = wasmtime.Store(ENGINE)
    store.set_fuel(FUEL)
    module = wasmtime.Module(ENGINE, wasm)
    try:
        exports = wasmtime.Instance(store, module, []).exports(store)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
        return [cause(error)]
    found: list[object] = []
    declared = Module.parse(wasm)
    for one in sorted(declared.exports, key=lambda one: one.name):
        if not one.name.startswith(prefix):
            continue
        thing: Any = exports[one.name]
        type_: Any = declared.type_of(one.kind, one.index)  # wasmtime's own aborts at newer types
        if one.kind == FUNCTION and NUMBERS.issuperset(type_.params + type_.results):
            store.set_fuel(FUEL)
            found.append(called(thing, store, [1 if code in (I32, I64) else 1.0 for code in type_.params]))
        elif one.kind == MEMORY:
            found.append(hash(bytes(thing.read(store))))
        elif one.kind == TABLE:
            found.append(thing.size(store))
        elif one.kind == GLOBAL and type_.type in NUMBERS:
            found.append(repr(thing.value(store)))
    return found


def called(function: Any, store: wasmtime.Store, args: list[float]) -> object:
    try:
        given = function(store, *args)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
        return cause(error)
    return repr(given)


def cause(error: Exception) -> str:
    """Why it failed, without places in the code, which are not the same."""
    lines = [line for line in str(error).splitlines() if "!" not in line and " at " not in line]
    return " ".join(lines[-1:]).strip()


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_made_modules(first: int) -> None:
    """Modules that smith makes do the same when two of them are linked to one; which is valid."""
    for number in range(first, first + 10):
        both = smith(number), smith(number + 1000)
        modules = [Module.parse(wasm) for wasm in both]
        merger = Merger([(module, {}) for module in modules])
        for place, module in enumerate(modules):
            for one in module.exports:
                merger.export(f"{place}{one.name}", merger.find(Reference(place, one.name)))
        merged = merger.written()
        run = subprocess.run(
            [wasm_tools(), "validate", "--features=all", "-"], input=merged, capture_output=True
        )
        assert run.returncode == 0, (number, run.stderr)
        alone = [observed(wasm, "") for wasm in both]
        if len(alone[0]) > 1 and len(alone[1]) > 1:  # else a start function or segment traps
            assert observed(merged, "0") == alone[0], number
            assert observed(merged, "1") == alone[1], number


def test_first_memory() -> None:
    """The memory that code names most is the first one; what it holds is still its own."""
    one = '(module (memory (export "m") 1) (data (i32.const 0) "1")' + READS.format("a")
    other = '(module (memory (export "m") 2) (data (i32.const 0) "2")' + READS.format("a") + READS.format("b")
    modules = [Module.parse(bytes(wasmtime.wat2wasm(text + ")"))) for text in (one, other)]
    merger = Merger([(module, {}) for module in modules])
    for place, names in enumerate(("am", "abm")):
        for name in names:
            merger.export(f"{place}{name}", merger.find(Reference(place, name)))
    module = Module.parse(merger.written())
    assert [one.minimum for one in module.memories] == [2, 1]
    assert observed(module.wasm, "0") == observed(modules[0].wasm, "")
    assert observed(module.wasm, "1") == observed(modules[1].wasm, "")


READS = '(func (export "{0}") (result i32) (i32.load8_u (i32.const 0)))'


def test_imports_that_do_not_fit() -> None:
    """An import that is given something of another type, or nothing, is refused by name."""
    giver = Module.parse(
        bytes(
            wasmtime.wat2wasm(
                '(module (func (export "f")) (memory (export "m") 1) (global (export "g") i32 (i32.const 0))'
                ' (table (export "t") 1 funcref))'
            )
        )
    )
    for wanted, words in (
        ('(import "" "f" (func (param i32)))', "is given a function of another type"),
        ('(import "" "m" (memory 2))', "is given a memory of another type"),
        ('(import "" "g" (global (mut i32)))', "is given a global of another type"),
        ('(import "" "t" (table 1 externref))', "is given a table of another type"),
        ('(import "" "f" (memory 1))', "is given what is no memory"),
        ('(import "" "none" (func))', "is given what is no function"),
    ):
        taker = Module.parse(bytes(wasmtime.wat2wasm(f"(module {wanted})")))
        (name,) = (one.name for one in taker.imports)
        with pytest.raises(UnsupportedModuleError, match=words):
            merger = Merger([(giver, {}), (taker, {("", name): Reference(0, name)})])
            merger.resolve(1, taker.imports[0].kind, 0)


def test_host_function_of_two_types() -> None:
    """One function of the host cannot be imported with two types."""
    texts = ['(module (import "" "f" (func (param i32))))', '(module (import "" "f" (func (param i64))))']
    parts = [
        (Module.parse(bytes(wasmtime.wat2wasm(text))), {("", "f"): HostItem("host", "f")}) for text in texts
    ]
    merger = Merger(parts)
    merger.resolve(0, FUNCTION, 0)
    with pytest.raises(UnsupportedModuleError, match="has two types"):
        merger.resolve(1, FUNCTION, 0)
