"""scripts/pythons.py, which runs the tests on newer Pythons in a chroot: what it copies there; and
scripts/chroots.py, which makes that: why it cannot, and that it leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name: str) -> ModuleType:
    """A script as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"hiwire_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their types up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pythons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, for a checkout and a chroot of the test's own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = script("pythons")
    monkeypatch.setattr(module, "ROOT", tmp_path / "here")
    monkeypatch.setattr(module, "CHROOT", tmp_path / "sid")
    return module


def test_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said, with what to do."""
    chroots = script("chroots")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/it")
    assert chroots.why_not() == ""
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mmdebstrap" else "/usr/bin/it")
    assert chroots.why_not().startswith("mmdebstrap is needed: apt-get install mmdebstrap")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert chroots.why_not() == "a chroot of Debian needs root: run this as root"
    with pytest.raises(chroots.ChrootError, match=r"no chroot of Debian sid: .* needs root"):
        chroots.ensure(Path("nowhere"), "sid", ["make"], print)


def test_copy(pythons: ModuleType, tmp_path: Path) -> None:
    """The checkout's files are copied, new ones too, and those that are gone are gone there; what is ignored
    is not copied, and what was built there stays."""
    here, there = tmp_path / "here", tmp_path / "sid" / "checkout"
    for name in ("a.py", "sub/b.py", "c.so"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)
    (here / ".gitignore").write_text("*.so\n")
    there.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=here, check=True)
    subprocess.run(["git", "add", "a.py"], cwd=here, check=True)
    pythons.copy_checkout()
    assert sorted(p.name for p in there.rglob("*") if p.is_file()) == [".gitignore", "a.py", "b.py"]
    (there / "d.so").write_text("built there")
    (here / "a.py").unlink()
    (here / "sub" / "b.py").write_text("changed")
    pythons.copy_checkout()
    assert sorted(p.name for p in there.rglob("*") if p.is_file()) == [".gitignore", "b.py", "d.so"]
    assert (there / "sub" / "b.py").read_text() == "changed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays(tmp_path: Path, number: int) -> None:
    """However it is ended, its processes end too, and its mounts were never seen outside."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("namespaces need Linux, root and unshare")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine's root may not make namespaces")
    (tmp_path / "mounted").mkdir()
    inner = 'mount -t tmpfs hiwire "$0/mounted"; echo up; sleep 3600 & wait'
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import chroots, signal;"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number));"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"chroots.call_apart([*chroots.APART, 'sh', '-c', {inner!r}, {str(tmp_path)!r}])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert running(tmp_path)
        assert str(tmp_path) not in Path("/proc/mounts").read_text()
        process.send_signal(number)
        # All of them have the pipe's other end, which is closed when the last one is gone.
        process.stdout.read()
    until = time.monotonic() + 60
    while running(tmp_path) and time.monotonic() < until:
        time.sleep(0.01)
    assert not running(tmp_path)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def running(folder: Path) -> list[str]:
    """The processes whose command names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue  # it has just ended
    return found
