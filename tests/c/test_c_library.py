"""Runs every C test in tests/c, in every build that it names."""

from __future__ import annotations

from pathlib import Path

import c_support
import pytest
import wasmtime
from c_builds import messages
from c_support import Build, Instance, builds, compiled, compiler

pytestmark = pytest.mark.once

BUILDS = builds()
ABORTING = [build for build in BUILDS if build.source.stem == "abort_fail"]
MESSAGES = messages(ABORTING[0].source)


@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_c(build: Build) -> None:
    """All test functions of one build hold, each in an instance of its own."""
    path = compiled(build, compiler(target=build.target))
    names = Instance(path).names("test_")
    assert names, f"{build.source.name} exports no function test_..."
    for name in names:
        Instance(path).check(name, build.source)


@pytest.mark.parametrize("name", ["clang", "zig"])
@pytest.mark.parametrize(
    "build", [build for build in BUILDS if build.source.stem in ("basic", "from_cpp")], ids=str
)
def test_each_compiler(name: str, build: Build) -> None:
    """Both kinds of compiler, where installed, make modules that work."""
    path = compiled(build, compiler(name, build.target))
    for test in Instance(path).names("test_"):
        Instance(path).check(test, build.source)


@pytest.mark.parametrize("build", ABORTING, ids=str)
@pytest.mark.parametrize("name", MESSAGES)
def test_abort_message(build: Build, name: str, tmp_path: Path) -> None:
    """ABORT_FAIL says which function found which ref wrong and why, and ends the program."""
    instance = Instance(compiled(build, compiler(target=build.target)), stderr=tmp_path / "stderr")
    with pytest.raises(wasmtime.Trap):
        instance.call(name)
    assert (tmp_path / "stderr").read_text() == MESSAGES[name] + "\n"


@pytest.mark.parametrize("build", ABORTING, ids=str)
def test_every_abort_has_its_message(build: Build) -> None:
    """Each function of abort_fail.c that aborts has a comment that says with which words."""
    assert sorted(Instance(compiled(build, compiler(target=build.target))).names("abort_")) == sorted(
        MESSAGES
    )


def test_a_failed_check_fails(tmp_path: Path) -> None:
    """The harness itself: a CHECK that does not hold is reported with its line."""
    source = tmp_path / "wrong.c"
    source.write_text('#include "check.h"\nTEST(wrong)\n{\n    CHECK(hiwire_num_refs() == 1);\n}\n')
    build = Build(source, ("-DSTATIC_PAGES=1", f"-I{c_support.TESTS}"))
    with pytest.raises(c_support.FailedCheck, match=r"wrong\.c:4: CHECK\(hiwire_num_refs"):
        Instance(compiled(build, compiler())).check("test_wrong", source)
