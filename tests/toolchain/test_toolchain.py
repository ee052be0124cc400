"""The toolchain: which one is taken and why, what the errors say, and what the modules of a build are."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain import TOOLCHAINS, BuildReport, build, containers, find_compiler, local
from hiwire_py.toolchain.process import Unusable

ROOT = Path(__file__).resolve().parents[2]
WASM = ROOT / "hiwire_py" / "modules"
HOOKS = {
    "hiwire_deduplicate_get",
    "hiwire_deduplicate_set",
    "hiwire_deduplicate_delete",
    "hiwire_invalid_ref",
}
_NAMES = (
    "hiwire_new hiwire_intern hiwire_get hiwire_incref hiwire_decref hiwire_pop hiwire_new_deduplicate "
    "hiwire_num_refs hiwire_refcount hiwire_is_valid hiwire_capacity hiwire_num_retired hiwire_next "
    "_hiwire_slot_info _hiwire_state _initialize memory __heap_base"
)
EXPORTS = set(_NAMES.split())
GUEST_MUST_NOT_IMPORT = {"memcpy", "memmove", "memset", "memcmp", "malloc", "free", "abort", "__multi3"}

Program = Callable[[str, str], Path]


@dataclass
class Interface:
    """What a module shows to the outside."""

    imports: dict[str, str] = field(default_factory=dict)
    exports: set[str] = field(default_factory=set)
    custom_sections: list[str] = field(default_factory=list)


def interface(module: bytes) -> Interface:
    """Reads the imports (name: module), which must be functions, the exports and the custom sections."""
    assert module[:8] == b"\0asm\1\0\0\0"
    at = 8

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = module[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def name() -> str:
        nonlocal at
        size = number()
        at += size
        return module[at - size : at].decode()

    found = Interface()
    while at < len(module):
        section = number()
        end = number() + at
        if section == 0:
            found.custom_sections.append(name())
        elif section == 2:
            for _ in range(number()):
                where, what = name(), name()
                assert number() == 0, f"{where}.{what} is not a function"
                found.imports[what] = where
                number()
        elif section == 7:
            for _ in range(number()):
                found.exports.add(name())
                number(), number()
        at = end
    return found


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes shell scripts that are the only programs on PATH; their calls go to ``calls``, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HIWIRE_CLANG", raising=False)

    def make(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n{body}\n')
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def no_ziglang(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without ziglang, also where it is installed."""
    monkeypatch.setattr("hiwire_py.toolchain.compilers.importlib.util.find_spec", lambda name: None)


def rejections(error: pytest.ExceptionInfo[ToolchainError]) -> list[str]:
    """The names in the message, in its order, of what was tried."""
    return re.findall(r"^    (\w+): ", str(error.value), re.MULTILINE)


def test_nothing_here_names_what_was_tried_and_the_ways(
    program: Program, no_ziglang: None, tmp_path: Path
) -> None:
    """With an empty PATH the error has all toolchains in their order, a reason each, and what to install."""
    with pytest.raises(ToolchainError, match="no toolchain") as error:
        build(tmp_path / "out")
    assert rejections(error) == list(TOOLCHAINS) == ["docker", "podman", "buildah", "clang", "zig"]
    text = str(error.value)
    for needed in ("no docker on PATH", "no podman on PATH", "no buildah on PATH", "pip install ziglang"):
        assert needed in text
    assert "apt install buildah" in text and "apt install clang-" in text
    assert not (tmp_path / "out").exists()


def test_a_client_without_an_engine_is_no_toolchain(
    program: Program, no_ziglang: None, tmp_path: Path
) -> None:
    """docker on PATH whose engine does not answer is rejected with what docker itself said."""
    program("docker", 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    with pytest.raises(ToolchainError, match=r"docker: .*Cannot connect to the Docker daemon"):
        build(tmp_path / "out")


def test_an_engine_that_cannot_run_programs_is_no_toolchain(
    program: Program, no_ziglang: None, tmp_path: Path
) -> None:
    """podman that answers and has the image, but whose containers do not start, is rejected for that."""
    program("podman", 'case "$1" in run) echo "crun: not permitted" >&2; exit 126;; *) echo 5.0;; esac')
    with pytest.raises(ToolchainError, match=r"podman: `podman run .*true` failed: crun: not permitted"):
        build(tmp_path / "out")


FAKE_ENGINE = """
case "$1" in
build) while [ $# -gt 0 ]; do [ "$1" = --iidfile ] && printf sha256:1 > "$2"; shift; done; echo step 1 ;;
create) echo box ;;
cp) shift; for to; do :; done; printf wasm > "$to/hiwire-x.wasm"; : > "$to/.dockerenv" ;;
*) echo 27.0 ;;
esac
"""


def test_the_first_that_works_is_taken(program: Program, tmp_path: Path) -> None:
    """With docker broken and podman working, podman builds; buildah and compilers are not even asked."""
    program("docker", "exit 1")
    program("podman", FAKE_ENGINE)
    program("buildah", "exit 1")
    lines: list[str] = []
    report = build(tmp_path / "out", static_pages=7, log=lines.append)
    assert (report.toolchain, report.version) == ("podman", "27.0")
    assert [name for name, _ in report.rejected] == ["docker"]
    assert [file.name for file in report.files] == ["hiwire-x.wasm"]
    assert "step 1" in lines
    calls = (tmp_path / "calls").read_text()
    assert "--build-arg STATIC_PAGES=7" in calls
    assert "podman rm box" in calls and "buildah" not in calls
    text = report.describe()
    assert text.startswith("built with podman 27.0\n    not docker: ")
    digest = hashlib.sha256(b"wasm").hexdigest()
    assert (tmp_path / "out" / "SHA256SUMS").read_text() == f"{digest}  hiwire-x.wasm\n"


def test_docker_comes_before_podman(program: Program, tmp_path: Path) -> None:
    """With both working it is docker, and nothing was rejected."""
    program("docker", FAKE_ENGINE)
    program("podman", FAKE_ENGINE)
    report = build(tmp_path / "out")
    assert (report.toolchain, report.rejected) == ("docker", ())


def test_a_failing_container_build_shows_its_last_lines(program: Program, tmp_path: Path) -> None:
    """A build that fails is an error, not a reason to go on to the next: the next would fail alike, later."""
    program("docker", 'if [ "$1" = build ]; then echo "slots.c:1: error: x"; exit 3; fi; echo 27.0')
    program("podman", FAKE_ENGINE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.wasm").write_bytes(b"old")
    with pytest.raises(ToolchainError, match=r"with docker failed: .* status 3; (?s:.*)slots\.c:1: error: x"):
        build(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old.wasm"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("docker", "no docker on PATH"),
        ("podman", "no podman on PATH"),
        ("buildah", "no buildah on PATH"),
        ("clang", "no clang on PATH"),
        ("zig", "ziglang: not installed"),
    ],
)
def test_a_forced_toolchain_that_is_missing(
    program: Program, no_ziglang: None, tmp_path: Path, name: str, reason: str
) -> None:
    """A forced toolchain is the only one tried; the error names it, the reason and the ways to get one."""
    others = {"docker", "podman"} - {name}
    for other in others:
        program(other, FAKE_ENGINE)
    with pytest.raises(ToolchainError, match=f"toolchain {name} cannot be used: .*{reason}") as error:
        build(tmp_path / "out", toolchain=name)
    assert "ways to get a toolchain" in str(error.value)
    assert not (tmp_path / "calls").exists()


def test_names_and_numbers_are_checked_first(program: Program, tmp_path: Path) -> None:
    """An unknown toolchain, an impossible size and a directory without sources each say what is wrong."""
    with pytest.raises(ToolchainError, match=r"no toolchain 'gcc'.*docker, podman, buildah, clang, zig"):
        build(tmp_path / "out", toolchain="gcc")
    for pages in (0, -1, 32769):
        with pytest.raises(ValueError, match=f"static_pages is {pages}; .* 1 to 32768"):
            build(tmp_path / "out", static_pages=pages)
    with pytest.raises(ToolchainError, match=r"has no c/Makefile: .* not of an installed package"):
        build(tmp_path / "out", source=tmp_path)


def test_buildah_falls_back_to_vfs(program: Program, tmp_path: Path) -> None:
    """Where overlay storage does not work vfs is taken; where neither does, both reasons are given."""
    program("buildah", 'case "$*" in *overlay*) echo "no overlay here" >&2; exit 1;; *) echo box;; esac')
    engine = containers.Buildah()
    engine.probe()
    engine.pull("some/image")
    assert "--storage-driver vfs pull" in (tmp_path / "calls").read_text().splitlines()[-1]
    program("buildah", 'case "$*" in --version) echo 1.2;; *) echo "no user namespaces" >&2; exit 1;; esac')
    with pytest.raises(Unusable, match=r"no user namespaces; .*no user namespaces"):
        containers.Buildah().probe()


def test_committed_modules_are_those_of_the_sums() -> None:
    """Every module in hiwire_py/modules/ is in SHA256SUMS with its sum, and nothing else is."""
    lines = (WASM / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    held = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in WASM.glob("*.wasm")}
    assert {"hiwire-static_pages.wasm", "hiwire-extern_realloc.wasm"} <= held.keys()
    assert held == listed
    guests = {f"hiwire-guest-{path.stem}.wasm" for path in (ROOT / "c" / "guests").glob("*.c")}
    assert guests == {name for name in held if name.startswith("hiwire-guest-")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildReport:
    """A real build, with the compiler of this machine that find_compiler() prefers."""
    out = tmp_path_factory.mktemp("a directory with spaces") / "out"
    return build(out, toolchain=find_compiler().name, static_pages=3)


def test_a_local_build_makes_every_file(built: BuildReport) -> None:
    """The modules, the archive, the header and one module a guest, with the sums of what is on disk."""
    names = {file.name for file in built.files}
    assert {"hiwire-static_pages.wasm", "hiwire-extern_realloc.wasm", "libhiwire.a", "hiwire.h"} <= names
    assert {path.name for path in WASM.glob("*.wasm")} <= names
    for file in built.files:
        contents = (built.out_dir / file.name).read_bytes()
        assert (len(contents), hashlib.sha256(contents).hexdigest()) == (file.size, file.sha256)


@pytest.mark.parametrize("where", ["committed", "built"])
@pytest.mark.parametrize(
    ("variant", "imports"),
    [("static_pages", HOOKS), ("extern_realloc", HOOKS | {"hiwire_realloc"})],
)
def test_the_interface_of_the_modules(
    built: BuildReport, where: str, variant: str, imports: set[str]
) -> None:
    """Exactly the functions of hiwire.h come out, and exactly the hooks go in; nothing names the compiler."""
    folder = WASM if where == "committed" else built.out_dir
    contents = (folder / f"hiwire-{variant}.wasm").read_bytes()
    found = interface(contents)
    assert set(found.imports) == imports
    assert set(found.imports.values()) == {"env"}
    assert found.exports == EXPORTS
    assert not found.custom_sections and b"clang" not in contents and b"hiwire/" not in contents


def test_no_guest_imports_what_no_host_has(built: BuildReport) -> None:
    """A guest is linked with undefined names allowed; those of the C library must not be imports."""
    guests = [*built.out_dir.glob("hiwire-guest-*.wasm"), *WASM.glob("hiwire-guest-*.wasm")]
    assert len(guests) == 2 * len(list((ROOT / "c" / "guests").glob("*.c")))
    for guest in guests:
        found = interface(guest.read_bytes())
        assert not set(found.imports) & GUEST_MUST_NOT_IMPORT, guest.name
        assert {"memory", "_initialize"} <= found.exports, guest.name


def test_two_builds_give_the_same_bytes(built: BuildReport, tmp_path: Path) -> None:
    """Another directory, another time: not one byte differs."""
    again = build(tmp_path / "again", toolchain=built.toolchain, static_pages=3)
    assert again.files == built.files


def test_make_builds_again_when_the_size_changes(tmp_path: Path) -> None:
    """STATIC_PAGES decides how much memory the module has, also in a directory with older objects."""
    compiler = find_compiler()
    sizes = []
    for pages in (1, 640, 1):
        local.make(compiler, ROOT, tmp_path, pages, log=lambda line: None)
        sizes.append((tmp_path / "hiwire-static_pages.wasm").read_bytes())
    assert sizes[0] == sizes[2] != sizes[1]


def test_the_memory_functions_of_guests(tmp_path: Path) -> None:
    """c/runtime/mem.c does what memmove, memset and memcmp do, at every distance and alignment."""
    wasmtime = pytest.importorskip("wasmtime", reason="wasmtime, which runs the functions, is not installed")
    compiler = find_compiler()
    module = compiler.compile(
        [ROOT / "c" / "runtime" / "mem.c"],
        tmp_path / "mem.wasm",
        options=[f"@{ROOT / 'c' / 'wasm-cflags.txt'}", "-fno-builtin"],
        link_options=[f"--export={name}" for name in ("memcpy", "memmove", "memset", "memcmp")],
    )
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module.from_file(store.engine, str(module)), []).exports(
        store
    )
    memory, seed = exports["memory"], random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    at = 1024
    for _ in range(300):
        model = bytearray(rng.randbytes(128))
        memory.write(store, model, at)
        to, start, size = rng.randrange(64), rng.randrange(64), rng.randrange(64)
        assert exports["memmove"](store, at + to, at + start, size) == at + to
        model[to : to + size] = model[start : start + size]
        assert memory.read(store, at, at + 128) == model
        assert exports["memcpy"](store, at + 64, at, size) == at + 64
        model[64 : 64 + size] = model[:size]
        value = rng.randrange(256)
        assert exports["memset"](store, at + to, value - 256, size) == at + to
        model[to : to + size] = bytes([value]) * size
        assert memory.read(store, at, at + 128) == model
        left, right = bytes(model[to : to + size]), bytes(model[start : start + size])
        sign = exports["memcmp"](store, at + to, at + start, size)
        assert (sign > 0) - (sign < 0) == (left > right) - (left < right)
