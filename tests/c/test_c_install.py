"""`make install` in c/: a program needs the installed header and archive, and none of the options again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from c_support import CFLAGS, ROOT, Instance, compiler

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.compilers import WASI
from hiwire_py.toolchain.local import make_variables
from hiwire_py.toolchain.process import Unusable

pytestmark = pytest.mark.once

PROGRAM = """
#include <hiwire.h>
#include <hiwire_layout.h>

__attribute__((import_module("test"), import_name("object"))) __externref_t object(int number);

__attribute__((export_name("keep"))) HwRef keep(int number)
{
    return hiwire_new(object(number));
}

__attribute__((export_name("room"))) unsigned room(void)
{
    return hiwire_capacity();
}
"""
EVERYTHING = (
    "-DSTATIC_PAGES=3",
    "-DEXTERN_DEDUPLICATE",
    "-DHIWIRE_EXTERN_TRACEREFS",
    "-DEXTERN_FAIL",
    "-DRETIRE_SLOTS",
)


def install(folder: Path, *options: str, target: str | None = None, **variables: str) -> None:
    """Runs `make install` into a folder, for a prefix below it that does not exist on this machine."""
    if shutil.which("make") is None:
        pytest.skip("no make on PATH")
    try:
        tools = make_variables(compiler() if target is None else compiler(target=target))
    except Unusable as error:
        pytest.skip(str(error))
    if target is not None:
        tools["TARGET"] = (
            tools["TARGET"].replace("wasm32-unknown-unknown", target).replace("freestanding", "wasi")
        )
    given = {
        "OUT": str(folder / "out"),
        "DESTDIR": str(folder),
        "prefix": "/some/where",
        **tools,
        **variables,
    }
    if options:
        given["OPTIONS"] = " ".join(options)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    words = [
        "make",
        "-s",
        "-C",
        str(ROOT / "c"),
        "install",
        *(f"{key}={value}" for key, value in given.items()),
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "out")


def defined(folder: Path) -> dict[str, str]:
    """What the installed header says of its library."""
    text = (folder / "some/where/include/hiwire.h").read_text(encoding="utf-8")
    return dict(re.findall(r"^#define _HIWIRE_(\w+) (.*)$", text, re.MULTILINE))


def built(folder: Path, source: str, *options: str, target: str | None = None) -> Path:
    """The module of a program that sees the installed tree alone."""
    toolchain = compiler() if target is None else compiler(target=target)
    kind = {} if target is None else {"target": target}
    program = folder / "program.c"
    program.write_text(source)
    tree = folder / "some/where"
    compiled = toolchain.objects([program], folder, options=[CFLAGS, f"-I{tree}/include", *options], **kind)
    link = ["--export-if-defined=hook", "--allow-undefined"] if target is None else []
    return toolchain.link(
        [*compiled, tree / "lib/libhiwire.a"], folder / "program.wasm", options=link, **kind
    )


def test_files(tmp_path: Path) -> None:
    """Two headers and an archive, below DESTDIR and the prefix, and nothing else."""
    install(tmp_path, libdir="/some/where/lib/wasm32")
    tree = tmp_path / "some/where"
    files = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    assert files == ["include/hiwire.h", "include/hiwire_layout.h", "lib/wasm32/libhiwire.a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some"]
    # Without OPTIONS it is the library of the packaged module.
    assert defined(tmp_path) == {
        "CONFIGURED": "1",
        "STATIC_PAGES": "64",
        "EXTERN_DEDUPLICATE": "1",
        "EXTERN_FAIL": "1",
    }


def test_program_without_libc(tmp_path: Path) -> None:
    """A program links with the archive alone, and can ask for each of its options."""
    install(tmp_path, *EVERYTHING)
    asked = "".join(
        f"#ifndef _HIWIRE_{name}\n#error {name} is missing\n#endif\n"
        for name in ("EXTERN_DEDUPLICATE", "EXTERN_TRACEREFS", "EXTERN_FAIL", "RETIRE_SLOTS")
    )
    asked += '_Static_assert(_HIWIRE_STATIC_PAGES == 3, "as it was built");\n'
    asked += '#ifdef _HIWIRE_EXTERN_REALLOC\n#error "not one of them"\n#endif\n'
    hooks = """
    void hiwire_invalid_ref(int type, HwRef ref) { (void)type, (void)ref; }
    void hiwire_traceref(char *type, HwRef ref, unsigned index, __externref_t value, unsigned count)
    {
        (void)type, (void)ref, (void)index, (void)value, (void)count;
    }
    static HwRef one;
    HwRef hiwire_deduplicate_get(__externref_t value) { (void)value; return one; }
    void hiwire_deduplicate_set(__externref_t value, HwRef ref) { (void)value; one = ref; }
    void hiwire_deduplicate_delete(__externref_t value) { (void)value; one = NULL; }
    __attribute__((export_name("same"))) HwRef same(int number)
    {
        return hiwire_new_deduplicate(object(number));
    }
    """
    instance = Instance(built(tmp_path, PROGRAM + asked + hooks))
    assert instance.ref("keep", 1) == 3
    assert instance.ref("room") == 3 * 1024 - 1
    assert instance.ref("same", 2) == instance.ref("same", 2) == 5


def test_program_for_wasi(tmp_path: Path) -> None:
    """With WASI's C library, whose realloc the archive takes its slots from."""
    install(tmp_path, "-DABORT_FAIL", target=WASI)
    assert defined(tmp_path) == {"CONFIGURED": "1", "ABORT_FAIL": "1"}
    instance = Instance(built(tmp_path, PROGRAM, target=WASI))
    assert instance.ref("keep", 1) == 3 and instance.ref("room") == 1023


def test_options_of_the_program_do_not_count(tmp_path: Path) -> None:
    """What the library was built without stays refused, though the program claims the option; but a guest
    that imports its functions asks another library."""
    install(tmp_path, "-DSTATIC_PAGES=1")
    source = PROGRAM + "HwRef same(int number) { return hiwire_new_deduplicate(object(number)); }\n"
    with pytest.raises(ToolchainError, match="build with EXTERN_DEDUPLICATE or EMSCRIPTEN_DEDUPLICATE"):
        built(tmp_path, source, "-DEXTERN_DEDUPLICATE")
    built(tmp_path, source, "-DEXTERN_DEDUPLICATE", "-DHIWIRE_IMPORT")


def test_options_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """`make install` ends with the reason that the sources give."""
    with pytest.raises(AssertionError, match="STATIC_PAGES and EXTERN_REALLOC exclude each other"):
        install(tmp_path, "-DSTATIC_PAGES=1", "-DEXTERN_REALLOC")
    assert not (tmp_path / "some").exists()
