"""What compiles, what must not, and with which message; and what a built module looks like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import wasmtime
from c_builds import EMSCRIPTEN, builds
from c_support import CFLAGS, LIBRARY, Instance, compiler, library_module, scratch

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.compilers import FREESTANDING, WASI

pytestmark = pytest.mark.once

SOURCES = sorted(LIBRARY.glob("*.c"))

PAIRS = [
    ("STATIC_PAGES=1", "EXTERN_REALLOC", "STATIC_PAGES and EXTERN_REALLOC exclude each other"),
    (
        "EXTERN_DEDUPLICATE",
        "EMSCRIPTEN_DEDUPLICATE",
        "EXTERN_DEDUPLICATE and EMSCRIPTEN_DEDUPLICATE exclude each other",
    ),
    (
        "EXTERN_TRACEREFS",
        "EMSCRIPTEN_TRACEREFS",
        "EXTERN_TRACEREFS and EMSCRIPTEN_TRACEREFS exclude each other",
    ),
    ("EXTERN_FAIL", "ABORT_FAIL", "EXTERN_FAIL and ABORT_FAIL exclude each other"),
]
REFUSED = [
    ("EMSCRIPTEN_DEDUPLICATE", "EMSCRIPTEN_DEDUPLICATE needs the target wasm32-emscripten"),
    ("EMSCRIPTEN_TRACEREFS", "EMSCRIPTEN_TRACEREFS needs the target wasm32-emscripten"),
    ("ABORT_FAIL", "ABORT_FAIL needs a C library"),
    ("STATIC_PAGES=0", "STATIC_PAGES=n takes a number of pages from 1 to 32768"),
    ("STATIC_PAGES=32769", "STATIC_PAGES=n takes a number of pages from 1 to 32768"),
]
PROGRAM = """
#include "hiwire.h"
HwRef keep(__externref_t value) { return hiwire_new(value); }
"""


def error_of(
    source: str, *options: str, name: str | None = None, target: str = FREESTANDING, language: str = "c"
) -> str:
    """Compiles a source that must not compile, and returns what the compiler says."""
    with pytest.raises(ToolchainError) as caught:
        compile_text(source, *options, name=name, target=target, language=language)
    return str(caught.value)


def compile_text(
    source: str, *options: str, name: str | None = None, target: str = FREESTANDING, language: str = "c"
) -> None:
    path = scratch() / f"text.{'cpp' if language == 'c++' else 'c'}"
    path.write_text(source)
    toolchain = compiler(name, target)
    toolchain.objects([path], scratch() / "text", target=target, options=[CFLAGS, f"-I{LIBRARY}", *options])


@pytest.mark.parametrize("prefix", ["", "HIWIRE_"])
@pytest.mark.parametrize(
    ("one", "other", "message"), PAIRS, ids=lambda value: value.split("=")[0].split(" ")[0]
)
def test_options_that_exclude_each_other(one: str, other: str, message: str, prefix: str) -> None:
    """Both of a pair, in either spelling or one in each, is an error that names both."""
    for first, second in ((prefix + one, prefix + other), (one, "HIWIRE_" + other)):
        assert message in error_of('#include "options.h"\n', f"-D{first}", f"-D{second}")


@pytest.mark.parametrize("prefix", ["", "HIWIRE_"])
@pytest.mark.parametrize(("option", "message"), REFUSED, ids=lambda value: value.split(" ")[0])
def test_options_that_cannot_be(option: str, message: str, prefix: str) -> None:
    """An option that the target has not, or a number out of range, is an error that names it."""
    assert message in error_of('#include "options.h"\n', f"-D{prefix}{option}")


@pytest.mark.parametrize("name", ["clang", "zig"])
@pytest.mark.parametrize(
    ("target", "options"),
    [
        (FREESTANDING, ["-DSTATIC_PAGES=1"]),
        (FREESTANDING, ["-DEXTERN_REALLOC", "-DEXTERN_DEDUPLICATE", "-DEXTERN_FAIL", "-DEXTERN_TRACEREFS"]),
        (
            FREESTANDING,
            ["-DSTATIC_PAGES=1", "-DEXTERN_DEDUPLICATE", "-DEXTERN_FAIL", "-DRETIRE_SLOTS", "-fPIC"],
        ),
        (FREESTANDING, ["-DEXTERN_REALLOC", "-O0"]),
        (FREESTANDING, ["-DEXTERN_REALLOC", "-DEXTERN_DEDUPLICATE", "-O3"]),
        (WASI, ["-DABORT_FAIL"]),
        (WASI, ["-DABORT_FAIL", "-DEXTERN_DEDUPLICATE", "-fPIC"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_no_warnings(name: str, target: str, options: list[str], tmp_path: Path) -> None:
    """Every source compiles under -Wall -Wextra -Werror and more, with each compiler that is here."""
    more = ["-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Wstrict-prototypes", "-Wmissing-prototypes"]
    compiler(name, target).objects(SOURCES, tmp_path, target=target, options=[CFLAGS, *more, *options])


@pytest.mark.parametrize("name", ["clang", "zig"])
@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize(
    "option", ["-DHIWIRE_IMPORT", "-DEXTERN_DEDUPLICATE", "-DEMSCRIPTEN_DEDUPLICATE", "-fPIC"]
)
def test_header_alone(language: str, name: str, option: str) -> None:
    """The header is C11 and C++17, needs no other header and no C library, and may be included twice."""
    source = PROGRAM + '#include "hiwire.h"\n'
    compile_text(source, option, "-Wpedantic", "-Wno-c++20-extensions", name=name, language=language)


@pytest.mark.parametrize(
    "body",
    [
        "int f(HwRef ref) { return ref; }",
        "HwRef f(int number) { return number; }",
        "void f(int number) { hiwire_decref(number); }",
        "struct Other; void f(struct Other *other) { hiwire_decref(other); }",
        "int *f(HwRef ref) { return ref; }",
    ],
)
def test_refs_are_no_numbers(body: str) -> None:
    """A handle where a number belongs, or the other way round, does not compile."""
    said = error_of('#include "hiwire.h"\n' + body + "\n")
    assert "-Wint-conversion" in said or "incompatible" in said


def test_deduplicate_is_marked_where_it_is_not_built() -> None:
    """Without a DEDUPLICATE option its function is unavailable, and the compiler says what to do."""
    source = '#include "hiwire.h"\nHwRef f(__externref_t value) { return hiwire_new_deduplicate(value); }\n'
    said = error_of(source)
    assert "unavailable" in said and "build with EXTERN_DEDUPLICATE or EMSCRIPTEN_DEDUPLICATE" in said
    for option in ("-DEXTERN_DEDUPLICATE", "-DHIWIRE_EXTERN_DEDUPLICATE"):
        compile_text(source, option)


def test_reference_types_are_asked_for() -> None:
    """A compile line without reference types is told what is missing."""
    assert "compile with -mreference-types" in error_of('#include "hiwire.h"\n', "-mno-reference-types")


def test_imported_table(tmp_path: Path) -> None:
    """-DHIWIRE_IMPORT makes a guest that takes its functions from the module "hiwire"."""
    source = tmp_path / "guest.c"
    source.write_text(PROGRAM + "void drop(HwRef ref) { hiwire_decref(ref); }\n")
    path = compiler().compile(
        [source],
        tmp_path / "guest.wasm",
        options=[CFLAGS, f"-I{LIBRARY}", "-DHIWIRE_IMPORT"],
        link_options=["--export=keep", "--export=drop"],
    )
    library = Instance(library_module("-DSTATIC_PAGES=1"))
    store = library.store
    linker = wasmtime.Linker(store.engine)
    for name in ("hiwire_new", "hiwire_decref"):
        linker.define(store, "hiwire", name, library.exports[name])
    module = wasmtime.Module.from_file(store.engine, str(path))
    assert {(wanted.module, wanted.name) for wanted in module.imports} == {
        ("hiwire", "hiwire_new"),
        ("hiwire", "hiwire_decref"),
    }
    exports = linker.instantiate(store, module).exports(store)
    ref = exports["keep"](store, "kept")  # type: ignore[operator]
    assert library.call("hiwire_get", ref) == "kept"
    exports["drop"](store, ref)  # type: ignore[operator]
    assert library.call("hiwire_num_refs") == 0


EXPORTS = {
    "memory", "__heap_base", "_initialize", "_hiwire_slot_info", "_hiwire_state", "hiwire_capacity",
    "hiwire_decref", "hiwire_get", "hiwire_incref", "hiwire_intern", "hiwire_is_valid", "hiwire_new",
    "hiwire_next", "hiwire_num_refs", "hiwire_num_retired", "hiwire_pop", "hiwire_refcount",
}  # fmt: skip
MAP = {"hiwire_deduplicate_get", "hiwire_deduplicate_set", "hiwire_deduplicate_delete"}


@pytest.mark.parametrize(
    ("options", "imports", "more_exports"),
    [
        (("-DSTATIC_PAGES=64",), set(), set()),
        (("-DEXTERN_REALLOC", "-DEXTERN_FAIL"), {"hiwire_realloc", "hiwire_invalid_ref"}, set()),
        (
            ("-DSTATIC_PAGES=64", "-DEXTERN_DEDUPLICATE", "-DEXTERN_TRACEREFS"),
            MAP | {"hiwire_traceref"},
            {"hiwire_new_deduplicate"},
        ),
    ],
    ids=["static", "realloc", "map"],
)
def test_module_interface(options: tuple[str, ...], imports: set[str], more_exports: set[str]) -> None:
    """A module imports what its options call for, all from env, exports every function, and is small."""
    path = library_module(*options)
    module = wasmtime.Module.from_file(wasmtime.Engine(), str(path))
    assert {(wanted.module, wanted.name) for wanted in module.imports} == {("env", name) for name in imports}
    assert {export.name for export in module.exports} == EXPORTS | more_exports
    assert path.stat().st_size < 3500


def test_initialize_is_optional_and_repeatable() -> None:
    """The table is right after one _initialize, after several, and without any."""
    path = library_module("-DSTATIC_PAGES=1")
    for times in range(3):
        engine = wasmtime.Engine()
        store = wasmtime.Store(engine)
        exports = wasmtime.Instance(store, wasmtime.Module.from_file(engine, str(path)), []).exports(store)
        for _ in range(times):
            exports["_initialize"](store)  # type: ignore[operator]
        assert exports["hiwire_new"](store, "first") == 3  # type: ignore[operator]
        exports["_initialize"](store)  # type: ignore[operator]
        assert exports["hiwire_get"](store, 3) == "first"  # type: ignore[operator]


def test_engines_of_2022_take_the_module() -> None:
    """A module validates where every proposal that can be switched off is off, but for reference types."""
    for options in (("-DSTATIC_PAGES=1", "-DEXTERN_DEDUPLICATE"), ("-DEXTERN_REALLOC", "-DEXTERN_FAIL")):
        config = wasmtime.Config()
        config.wasm_simd = False
        config.wasm_relaxed_simd = False
        config.wasm_multi_value = False
        config.wasm_tail_call = False
        wasmtime.Module.from_file(wasmtime.Engine(config), str(library_module(*options)))


def test_each_option_is_run() -> None:
    """Some C test is built with each option, in either spelling: here, or by scripts/emscripten.py."""
    text = (LIBRARY / "options.h").read_text(encoding="utf-8")
    options = set(re.findall(r"^#if defined\((\w+)\) && !defined\(HIWIRE_\1\)$", text, re.MULTILINE))
    assert len(options) == 9
    named = {flag.removeprefix("-D").partition("=")[0] for build in builds() for flag in build.library_flags}
    assert named - {"-fPIC"} == options | {f"HIWIRE_{option}" for option in options}


def test_the_list_of_what_is_run_is_right() -> None:
    """The table in c/hiwire/README.md says of each option on which targets its tests run."""
    short = {FREESTANDING: "none", WASI: "wasi", EMSCRIPTEN: "Emscripten"}
    # Every build without an option of its own target runs with Emscripten, which has a C library, too.
    ran: dict[str, set[str]] = {}
    for build in builds():
        for flag in build.library_flags:
            option = flag.removeprefix("-D").removeprefix("HIWIRE_").partition("=")[0]
            ran.setdefault(option, set()).update((short[build.target], "Emscripten"))
    said = {}
    for option, *cells in re.findall(
        r"^\| `([A-Z_]+|-fPIC)(?:=n)?` \| (.+?) \| (.+?) \| (.+?) \|$",
        (LIBRARY / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    ):
        said[option] = {name for name, cell in zip(short.values(), cells) if cell == "run"}
    assert said.pop("HIWIRE_IMPORT") == {"none"}  # test_imported_table, above
    assert said == ran
