"""Functions that are imported, and whose address is taken: called indirectly they are the same functions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import _cffi_backend
import pytest
from c_support import compiler
from support import ROOT, python_path, wat

from hiwire_py import Guest, engines

_HERE = Path(__file__).parent
_NATIVE = next(info for info in engines() if info.name == "native")


def test_addresses_of_imported_functions(engine: str) -> None:
    """In segments of every kind, in a global, in code and exported again; of the host and of other guests."""
    run = subprocess.run(
        [sys.executable, "-W", "error", str(_HERE / "function_references.py"), engine],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": python_path()},
        check=False,
    )
    assert run.returncode == 0, f"status {run.returncode}: {run.stderr[-2000:]}"


@pytest.mark.skipif(not _NATIVE.available, reason=f"native: {_NATIVE.reason}")
def test_either_callee_is_right() -> None:
    """wasm2c stores, for an imported function, the address of the field with the imports; another might store
    what is in the field. Both are the same."""
    ffi = _cffi_backend.FFI()
    module = wat("""(module (import "env" "f" (func $f (param i32))) (memory 1) (table 3 funcref)
        (global (mut i64) (i64.const 5)) (elem (i32.const 0) func $f) (func (export "call") (call $f (i32.const 1))))""")
    guest = Guest(module, {"env": {"f": print}}, engine="native")
    start = int(ffi.cast("uintptr_t", guest.instance.raw["call"].instance.with_))
    words = ffi.cast("uintptr_t *", start)
    size = ffi.sizeof("uintptr_t")
    assert any(words[i] == start + i * size for i in range(16)), "no field holds its own address"


def test_pointer_to_an_imported_function_in_c(engine: str, tmp_path: Path) -> None:
    """What a C compiler makes of the address of an imported function."""
    source = tmp_path / "pointer.c"
    source.write_text("""\
__attribute__((import_module("env"), import_name("f"))) int imported(int);
int (*volatile pointer)(int) = imported;
__attribute__((export_name("call"))) int call(int number) { return pointer(number); }
""")
    tools = compiler()
    objects = tools.objects([source], tmp_path)
    # In a process of its own: the wrong instance is a crash, and the segment is the start's.
    module = tools.link(objects, tmp_path / "pointer.wasm")
    code = "import sys; from hiwire_py import Guest; assert Guest(sys.argv[1], {'env': {'f': abs}}, engine=sys.argv[2]).exports.call(-5) == 5"
    subprocess.run([sys.executable, "-c", code, str(module), engine], check=True, timeout=120, cwd=ROOT)
