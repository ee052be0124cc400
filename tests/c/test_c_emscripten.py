"""What can be told of the library's JavaScript side without Emscripten: scripts/emscripten.py runs it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from c_support import CFLAGS, LIBRARY, TESTS, Instance, compiler
from test_c_install import install

from hiwire_py.toolchain.local import make_variables

pytestmark = pytest.mark.once

SOURCES = [LIBRARY / "emscripten.c", *sorted(TESTS.glob("emscripten_*.c")), TESTS / "check.h"]

# As much of Emscripten's header as the library uses: a function of JavaScript is an import.
HEADER = """
#define EM_JS(type, name, parameters, ...) \\
    __attribute__((import_module("js"), import_name(#name))) type name parameters;
"""


@pytest.fixture
def pretended(tmp_path: Path) -> str:
    """Options that make a compiler take the sources for Emscripten's."""
    (tmp_path / "emscripten.h").write_text(HEADER)
    return f"-D__EMSCRIPTEN__ -I{tmp_path}"


def test_archive_brings_the_functions(pretended: str, tmp_path: Path) -> None:
    """A program that links with the archive gets the map and the trace, though it names neither."""
    install(tmp_path, "-DSTATIC_PAGES=1", "-DEMSCRIPTEN_DEDUPLICATE", "-DEMSCRIPTEN_TRACEREFS", pretended)
    program = tmp_path / "program.c"
    program.write_text(
        "#include <hiwire.h>\n"
        '__attribute__((import_module("test"), import_name("object"))) __externref_t object(int number);\n'
        '__attribute__((export_name("same"))) HwRef same(int number)\n'
        "{\n    return hiwire_new_deduplicate(object(number));\n}\n"
        '__attribute__((export_name("plain"))) HwRef plain(int number)\n'
        "{\n    return hiwire_new(object(number));\n}\n"
        '__attribute__((export_name("drop"))) void drop(HwRef ref)\n{\n    hiwire_decref(ref);\n}\n'
    )
    toolchain = compiler()
    tree = tmp_path / "some/where"
    objects = toolchain.objects(
        [program], tmp_path, options=[CFLAGS, f"-I{tree}/include", *pretended.split()]
    )
    path = toolchain.link([*objects, tree / "lib/libhiwire.a"], tmp_path / "program.wasm")
    refs: dict[object, int] = {}
    traces: list[tuple[object, ...]] = []
    functions: dict[str, Callable[..., object]] = {
        "_hiwire_js_map_get": lambda value: refs.get(value, 0),
        "_hiwire_js_map_set": refs.__setitem__,
        "_hiwire_js_map_delete": refs.__delitem__,
        "_hiwire_js_trace": lambda letter, ref, index, value, count: traces.append(
            (chr(letter), ref, index, value.number, count)
        ),
    }
    instance = Instance(path, {("js", name): function for name, function in functions.items()})
    assert instance.ref("plain", 7) == 3
    assert instance.ref("same", 7) == instance.ref("same", 7) == 5 and list(refs.values()) == [5]
    for _ in range(2):
        instance.call("drop", 5)
    assert refs == {}
    assert traces == [
        ("n", 3, 1, 7, 1),
        ("n", 5, 2, 7, 1),
        ("i", 5, 2, 7, 1),
        ("d", 5, 2, 7, 2),
        ("d", 5, 2, 7, 1),
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_javascript_is_what_was_written(source: Path, pretended: str) -> None:
    """The preprocessor hands the JavaScript on as it stands, and no formatter is to touch it."""
    text = source.read_text(encoding="utf-8")
    written = re.findall(r"^// clang-format off\n(.*?)^// clang-format on$", text, re.MULTILINE | re.DOTALL)
    assert len(written) == text.count("// clang-format off") > 0
    scripts = re.findall(r"^EM_JS\(\w+, (\w+), \((.*?)\), \{\n(.*?)^\}\)$", "".join(written), re.M | re.S)
    assert len(scripts) == len(re.findall(r"\bEM_JS\(", text))
    stub = Path(pretended.partition("-I")[2], "emscripten.h")
    stub.write_text("#define EM_JS(type, name, parameters, ...) SCRIPT name #__VA_ARGS__\n")
    options = [
        "-DHIWIRE_EMSCRIPTEN_DEDUPLICATE",
        "-DHIWIRE_EMSCRIPTEN_TRACEREFS",
        f"-I{TESTS}",
        f"-I{LIBRARY}",
    ]
    command = [*compiler().command, *make_variables(compiler())["TARGET"].split(), "-mreference-types"]
    done = subprocess.run(
        [*command, "-std=c11", "-E", "-P", "-x", "c", *pretended.split(), *options, str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    handed = dict(re.findall(r'SCRIPT (\w+) "\{((?:[^"\\]|\\.)*)\}"', done.stdout))
    for name, _, body in scripts:
        plain = re.sub(r"\\(.)", r"\1", handed[name])
        assert plain.split() == body.split(), name
