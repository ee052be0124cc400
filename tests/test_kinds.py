"""Names say nothing about kinds: what a module must export, and what it is given, is checked first."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sidetable_support import form_module
from support import ROOT, wat

from hiwire_py import Guest, Hiwire, HiwireError, UnsupportedModuleError
from hiwire_py.collect import layout
from hiwire_py.passes import Module
from hiwire_py.sidetable import SideTable
from hiwire_py.wasm.binary import leb, name, section, vector

# A module with the table's functions, which do nothing.
_PARTS = {
    "hiwire_realloc": '(import "env" "hiwire_realloc" (func (param i32 i32) (result i32)))',
    "hiwire_invalid_ref": '(import "env" "hiwire_invalid_ref" (func (param i32 i32)))',
    "hiwire_deduplicate_get": '(import "env" "hiwire_deduplicate_get" (func (param externref) (result i32)))',
    "hiwire_deduplicate_set": '(import "env" "hiwire_deduplicate_set" (func (param externref i32)))',
    "hiwire_deduplicate_delete": '(import "env" "hiwire_deduplicate_delete" (func (param externref)))',
    "memory": '(memory (export "memory") 1)',
    "__heap_base": '(global (export "__heap_base") i32 (i32.const 1024))',
    "_initialize": '(func (export "_initialize"))',
    **{
        f"{name}": f'(func (export "{name}") {types} {body})'
        for name, types, body in (
            ("hiwire_new", "(param externref) (result i32)", "(i32.const 3)"),
            ("hiwire_new_deduplicate", "(param externref) (result i32)", "(i32.const 3)"),
            ("hiwire_intern", "(param externref) (result i32)", "(i32.const 2)"),
            ("hiwire_get", "(param i32) (result externref)", "(ref.null extern)"),
            ("hiwire_pop", "(param i32) (result externref)", "(ref.null extern)"),
            ("hiwire_incref", "(param i32)", ""),
            ("hiwire_decref", "(param i32)", ""),
            ("hiwire_num_refs", "(result i32)", "(i32.const 0)"),
            ("hiwire_refcount", "(param i32) (result i32)", "(i32.const 0)"),
            ("hiwire_is_valid", "(param i32) (result i32)", "(i32.const 0)"),
            ("hiwire_capacity", "(result i32)", "(i32.const 9)"),
            ("hiwire_next", "(param i32) (result i32)", "(i32.const 0)"),
            ("_hiwire_slot_info", "(param i32) (result i32)", "(i32.const 0)"),
        )
    },
}
_OPTIONAL = {"_initialize", "hiwire_new_deduplicate", "_hiwire_slot_info"}
_IMPORTS = [part for part in _PARTS if "(import" in _PARTS[part]]
_EXPORTS = [part for part in _PARTS if part not in _IMPORTS]


def _module(**changed: str) -> bytes:
    return wat(f"(module {' '.join({**_PARTS, **changed}.values())})")


def test_what_fits(engine: str) -> None:
    """The module as it should be is taken; and a guest may export, by names that mean nothing to it, anything."""
    assert Hiwire(_module(), engine=engine).capacity() == 9
    odd = Guest(
        wat('(module (global (export "memory") i32 (i32.const 7)) (memory (export "m") 1))'), engine=engine
    )
    assert odd.memory.size == 65536 and odd.exports["memory"].value == 7


def test_a_table_that_lies_about_its_handles(engine: str) -> None:
    """More handles than there can be are no number of them, and going through them comes to an end."""
    lies = {"hiwire_num_refs": "(i32.const -1)", "hiwire_next": "(i32.const 7)"}
    parts = {name: _PARTS[name].replace("(i32.const 0)", lie) for name, lie in lies.items()}
    table = Hiwire(_module(**parts), engine=engine)
    for count in (len, list, Hiwire.num_refs):
        with pytest.raises(
            HiwireError, match="is no hiwire module: it says that 4294967295 handles are live"
        ):
            count(table)
    handles = iter(table)
    assert next(handles) == 7
    with pytest.raises(HiwireError, match="is no hiwire module: its handles come in no order"):
        next(handles)


@pytest.mark.parametrize("part", _EXPORTS)
def test_exports_of_a_table(part: str) -> None:
    """Each, as something of another kind, as a function or global of another type, or not there."""
    others = {
        "a global of type f64": f'(global (export "{part}") f64 (f64.const 1))',
        "a table of funcref": f'(table (export "{part}") 1 funcref)',
        "a function of type (i64) -> ()": f'(func (export "{part}") (param i64))',
    }
    for what, text in others.items():
        with pytest.raises(UnsupportedModuleError) as caught:
            Hiwire(_module(**{part: text}), engine="wasmtime")
        message = str(caught.value)
        assert f"is no hiwire module: it exports {part!r} as {what}, not as a " in message
    if part in _OPTIONAL:
        assert Hiwire(_module(**{part: ""}), engine="wasmtime").num_refs() == 0
    else:
        with pytest.raises(UnsupportedModuleError, match=f"is no hiwire module: it does not export {part}$"):
            Hiwire(_module(**{part: ""}), engine="wasmtime")


@pytest.mark.parametrize("part", _IMPORTS)
def test_imports_of_a_table(part: str) -> None:
    """Each, as a global, or as a function of another type."""
    others = {
        "a global of type i32": f'(import "env" "{part}" (global i32))',
        "a memory": f'(import "env" "{part}" (memory 1))',
        "a function of type (f32) -> ()": f'(import "env" "{part}" (func (param f32)))',
    }
    for what, text in others.items():
        if what == "a memory":
            text += '(export "memory" (memory 0))'
        changed = {part: text, **({"memory": ""} if what == "a memory" else {})}
        with pytest.raises(UnsupportedModuleError) as caught:
            Hiwire(_module(**changed), engine="wasmtime")
        assert f"is no hiwire module: it imports env.{part} as {what}, not as a function" in str(caught.value)


def test_memory_that_is_a_global(engine: str) -> None:
    """What is no memory is not taken for one, so that the guest does not choose where the host writes."""
    module = _module(memory='(global (export "memory") i64 (i64.const 0x123456789))')
    code = """import sys
from hiwire_py import Hiwire, UnsupportedModuleError
try:
    table = Hiwire(sys.stdin.buffer.read(), engine=sys.argv[1])
    table._realloc(0, 100)
    table._realloc(table._realloc(0, 100), 5000)
except UnsupportedModuleError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, engine],
        input=module,
        capture_output=True,
        timeout=120,
        check=True,
        cwd=ROOT,
    )
    assert b"it exports 'memory' as a global of type i64, not as a memory" in run.stdout


def test_initialize_of_a_guest(engine: str) -> None:
    """A reactor's `_initialize` takes nothing and gives nothing; anything else is refused before it runs."""
    for text, what in (
        ('(func (export "_initialize") (param i32))', "function of type (i32) -> ()"),
        ('(memory (export "_initialize") 1)', "memory"),
    ):
        with pytest.raises(UnsupportedModuleError) as caught:
            Guest(wat(f"(module {text})"), engine=engine)
        assert (
            f"the module is no reactor: it exports '_initialize' as a {what}, not as a function of type () -> ()"
            in str(caught.value)
        )


def test_description_of_a_struct() -> None:
    """What HIWIRE_LAYOUT exports is a function that gives an address."""
    for text in (
        '(global (export "hiwire_layout_x") i32 (i32.const 8))',
        '(func (export "hiwire_layout_x"))',
    ):
        guest = Guest(wat(f'(module (memory (export "memory") 1) {text})'), engine="wasmtime")
        with pytest.raises(UnsupportedModuleError, match="it exports 'hiwire_layout_x' as a"):
            layout(guest, "x")


def _with_export(wasm: bytes, changed: str, kind: int, index: int) -> bytes:
    """A module in which an export is something else."""
    module = Module.parse(wasm)
    entries = [
        name(e.name) + (bytes((kind,)) + leb(index) if e.name == changed else bytes((e.kind,)) + leb(e.index))
        for e in module.exports
    ]
    parts = (
        section(kind, vector(entries) if kind == 7 else wasm[start:end])
        for kind, start, end in module.sections
    )
    return wasm[:8] + b"".join(parts)


def test_side_table() -> None:
    """Its functions have their types, and its imports too."""
    wasm = form_module("c")
    module = Module.parse(wasm)
    free = next(e.index for e in module.exports if e.name == "free_obj")
    with pytest.raises(
        UnsupportedModuleError, match=r"it exports 'make_obj' as a function of type \(i32\) -> \(\)"
    ):
        SideTable(_with_export(wasm, "make_obj", 0, free), engine="wasmtime")
    with pytest.raises(
        UnsupportedModuleError, match="it exports 'attach_callback' as a memory, not as a function"
    ):
        SideTable(_with_export(wasm, "attach_callback", 2, 0), engine="wasmtime")
