"""The three forms as objects and modules: they link, with nothing but what they may import and a bounded
memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import wasmtime
from c_support import ROOT, compiler, scratch
from sidetable_support import FORMS, PAGE, Raw, build, wat2wasm

from hiwire_py.sidetable import MOST_MEMORY, SideTable

IMPORTS = {("env", "memory"), ("rt", "invoke"), ("rt", "out_of_memory")}
EXPORTS = {"make_obj", "free_obj", "attach_callback", "invoke_callback"}


@pytest.mark.parametrize("toolchain", ["clang", "zig"])
@pytest.mark.parametrize("form", FORMS)
def test_it_links(form: str, toolchain: str) -> None:
    """What once failed with "Invalid table element type": an object with an externref table, linked with the
    allocator. The memory is imported and bounded, and nothing but the two host functions is left
    undefined."""
    wasm = build(form, compiler(toolchain)).read_bytes()
    module = wasmtime.Module(wasmtime.Engine(), wasm)
    assert {(wanted.module, wanted.name) for wanted in module.imports} == IMPORTS
    assert {export.name for export in module.exports} == EXPORTS
    (memory,) = (wanted.type for wanted in module.imports if wanted.name == "memory")
    assert isinstance(memory, wasmtime.MemoryType)
    assert memory.limits.min == 1
    assert memory.limits.max == MOST_MEMORY // PAGE
    assert len(wasm) < 3072, "it is small: one or two kilobytes of allocator, less than one of side table"


@pytest.mark.parametrize("form", FORMS)
def test_the_object_has_the_table_and_its_relocations(form: str) -> None:
    """It is linked as an object, not pasted together: it has a table of its own, and symbols."""
    toolchain = compiler()
    data = (build(form, toolchain).parent / "obj" / f"sidetable-{form}.o").read_bytes()
    assert data.startswith(b"\0asm\x01\0\0\0")
    for part in (b"linking", b"reloc.", b"malloc", b"out_of_memory"):
        assert part in data
    assert b"\x01\x6f\x00\x00" in data, "one table: of externref, empty, without a maximum"


def _old_linkers() -> list[str]:
    """wasm-ld before LLVM 12, where this machine has one, or HIWIRE_OLD_WASM_LD names one."""
    named = os.environ.get("HIWIRE_OLD_WASM_LD")
    names = [named] if named else [f"wasm-ld-{version}" for version in range(8, 12)]
    return [path for name in names if (path := shutil.which(name)) is not None]


def test_the_failure_once_published_was_the_linkers() -> None:
    """wasm-ld 11 and older refuse the same objects with just that message. (Run where one is at hand.)"""
    linkers = _old_linkers()
    if not linkers:
        pytest.skip(
            "no wasm-ld of LLVM 11 or older: HIWIRE_OLD_WASM_LD=PATH names one (Debian 11 has lld-11)"
        )
    folder = build("c", compiler()).parent
    for linker in linkers:
        for form in FORMS:
            build(form, compiler())
            objects = [str(folder / "obj" / f"{name}.o") for name in (f"sidetable-{form}", "allocator")]
            command = [linker, "@sidetable/link.txt", *objects, "-o", str(folder / "never.wasm")]
            done = subprocess.run(command, cwd=ROOT / "c", capture_output=True, text=True, check=False)
            assert done.returncode != 0
            assert "Invalid table element type" in done.stderr
            assert not (folder / "never.wasm").exists()


def test_nothing_else_may_stay_undefined() -> None:
    """Without the allocator the linker refuses, instead of importing malloc from a host that has none."""
    toolchain = compiler()
    folder = build("c", toolchain).parent
    command = [*toolchain.linker, "@sidetable/link.txt", str(folder / "obj" / "sidetable-c.o")]
    done = subprocess.run(
        [*command, "-o", str(scratch() / "never.wasm")],
        cwd=ROOT / "c",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "undefined symbol: malloc" in done.stderr


def test_functions_without_names_collide_in_an_object(tmp_path: Path) -> None:
    """Why every function in sidetable.wat has a name: WABT refuses two without."""
    tool = wat2wasm()
    if tool is None:
        pytest.skip("no wat2wasm: `apt-get install wabt`")
    source = tmp_path / "unnamed.wat"
    for name, status in (("", 1), ("$b", 0)):
        source.write_text(f'(module (func (export "a")) (func {name} (export "b")))')
        command = [str(tool), "--relocatable", str(source), "-o", str(tmp_path / "unnamed.o")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert ("duplicate symbol" in done.stderr) == (status == 1)


def test_realloc_serves_the_library(tmp_path: Path, engine: str) -> None:
    """The allocator linked to a hiwire library, as its hiwire_realloc and as its realloc: the table grows on
    it."""
    from c_support import CFLAGS, MODULE_LINK, library

    from hiwire_py import Hiwire
    from hiwire_py.toolchain.compilers import FREESTANDING

    toolchain = compiler()
    (allocator,) = toolchain.objects([ROOT / "c/sidetable/allocator.c"], tmp_path, options=[CFLAGS])
    for flags in (("-DHIWIRE_EXTERN_REALLOC",), ()):
        objects = [*library(toolchain, FREESTANDING, flags), allocator]
        wasm = toolchain.link(objects, tmp_path / "hiwire.wasm", options=[MODULE_LINK]).read_bytes()
        assert b"hiwire_realloc" not in wasm
        with Hiwire(wasm, engine=engine) as table:
            refs = [table.new(i) for i in range(3000)]
            assert [table.get(ref) for ref in refs[::500]] == list(range(0, 3000, 500))
            assert table.capacity() >= 3000


def test_a_larger_memory_than_it_was_linked_for_is_refused() -> None:
    """The check of addresses counts on at most 256 MiB, and the module's import says so."""
    with pytest.raises(Exception, match="memory"):
        Raw(build("c", compiler()).read_bytes(), "wasmtime", MOST_MEMORY // PAGE + 1)


def test_the_session_in_the_docs(
    engine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What docs/sidetable.md shows runs as it stands there, and does what it says."""
    text = (ROOT / "docs" / "sidetable.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = '"build/sidetable/sidetable-c.wasm"'
    assert path in snippet
    monkeypatch.setenv("HIWIRE_ENGINE", engine)
    names: dict[str, object] = {}
    exec(snippet.replace(path, repr(str(build("c", compiler())))), names)
    assert capsys.readouterr().out == "called from WebAssembly\n"
    table = names["table"]
    assert isinstance(table, SideTable)
    assert (table.collect(), len(table)) == (1, 0)
