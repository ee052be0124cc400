"""scripts/base_image.py: whether an engine needs a base image, and how it gets one without a registry."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain import build
from hiwire_py.toolchain.process import Unusable

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "base_image.py"

spec = importlib.util.spec_from_file_location("hiwire_base_image", SCRIPT)
assert spec is not None and spec.loader is not None
base_image = importlib.util.module_from_spec(spec)
spec.loader.exec_module(base_image)

Program = Callable[[str, str], Path]

WITHOUT_REGISTRY = """
case "$1" in
image) exit 1 ;;
pull) echo "no such host" >&2; exit 125 ;;
*) echo 5.0 ;;
esac
"""
APT = "echo 'http://three.invalid/debian/|Debian|Debian|main'"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes shell scripts that are the only programs on PATH; their calls go to ``calls``, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n{body}\n')
        path.chmod(0o755)
        return path

    return make


def test_an_engine_that_has_an_image_is_left_as_it_is(program: Program, tmp_path: Path) -> None:
    """docker does not answer, and podman has the official image: nothing is fetched and nothing made."""
    program("docker", "exit 1")
    program("podman", "echo 5.0")
    lines: list[str] = []
    assert "debian" in base_image.ensure_base(["docker", "podman"], lines.append)
    assert not lines and "podman pull" not in (tmp_path / "calls").read_text()


def test_an_image_is_made_where_there_is_no_registry(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root that mmdebstrap makes of the mirror that apt uses becomes an image; builds name the script."""
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(base_image, "KEYRING", keyring)
    program("podman", WITHOUT_REGISTRY)
    program("apt-get", APT)
    program("apt-config", "echo \"PROXY='http://proxy.invalid:1'\"")
    program("dpkg", "echo amd64")
    program("mmdebstrap", "exit 0")
    with pytest.raises(ToolchainError, match=r"no such host; scripts/base_image\.py makes one"):
        build(tmp_path / "out", toolchain="podman")
    assert base_image.ensure_base(["podman"], lambda line: None) == base_image.MADE_BASE
    calls = (tmp_path / "calls").read_text().splitlines()
    (made,) = (call for call in calls if call.startswith("mmdebstrap"))
    assert f"[signed-by={keyring}] http://three.invalid/debian/ trixie main" in made
    assert 'Acquire::http::Proxy "http://proxy.invalid:1"' in made
    assert calls[-1].startswith("podman import ") and calls[-1].endswith(f"root.tar {base_image.MADE_BASE}")
    (tmp_path / "bin" / "mmdebstrap").unlink()
    with pytest.raises(Unusable, match="podman: no mmdebstrap on PATH"):
        base_image.ensure_base(["podman"], lambda line: None)


def test_the_mirror_is_that_of_apt(program: Program) -> None:
    """The main archive is told by its publisher, neither by its address nor by its place in the list."""
    program(
        "apt-get",
        "echo 'http://one.invalid/sdk/|Other|Other|main'; echo 'http://two.invalid/s/|Debian|Debian-Security|main'\n"
        "echo 'http://three.invalid/debian/|Debian|Debian|main'",
    )
    assert base_image.debian_mirror() == "http://three.invalid/debian/"


def test_no_mirror_is_a_reason(program: Program, tmp_path: Path) -> None:
    """Without a Debian source, and without apt, the reason says so; indexes were fetched before giving up."""
    program("apt-get", "echo 'http://one.invalid/ubuntu/|Ubuntu|Ubuntu|main'")
    with pytest.raises(Unusable, match="no source that is the main archive of Debian"):
        base_image.debian_mirror()
    assert "-q update" in (tmp_path / "calls").read_text()
    (tmp_path / "bin" / "apt-get").unlink()
    with pytest.raises(Unusable, match="no apt-get on PATH"):
        base_image.debian_mirror()
