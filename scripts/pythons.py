#!/usr/bin/env python3
"""Runs the tests on the newest Pythons, where this machine has none so new: in Debian sid, which has them as
packages, as a chroot in build/.

    scripts/pythons.py [--on 3.14,3.15] [OPTION...]    on all that sid has, if not said; OPTIONs go to pytest

The first time takes some minutes; later ones reuse the chroot and what was installed into it, until `make
clean`. It needs root and `mmdebstrap`. However this ends, nothing stays mounted and nothing goes on running:
mounts and processes are in namespaces of the kernel, which end with it.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHROOT = ROOT / "build" / "sid"
CHECKOUT = "checkout"  # its copy in the chroot, where it can have its own builds
TOOLS = ["ca-certificates", "gcc", "git", "libc6-dev", "libffi-dev", "make", "mount", "wabt"]
# All from 3.14 on: what is older than that is found elsewhere.
INSTALL = r"""chroot "$1" sh -ec '
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -q -y --no-install-recommends \
        $(apt-cache pkgnames python3. | grep -xE "python3\.(1[4-9]|[2-9][0-9])-(venv|dev)")'"""
ENTER = r"""
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    exec chroot "$0" sh -ec 'cd "$0"; exec "$@"' "$@"
"""
# How pip reaches its packages here, and whom programs believe.
SETTINGS = ["/etc/pip.conf", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"]
OWN_SETTINGS = [".config/pip/pip.conf", ".pip/pip.conf"]
VARIABLES = re.compile(r"(?i)(pip|hiwire|ssl_cert)_\w+|\w+_proxy|requests_ca_bundle|ci|term")
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Make what is lacking, and run the tests; the exit status."""
    words = sys.argv[1:]
    named = words[1].split(",") if words[:1] == ["--on"] and len(words) > 1 else []
    reason = why_not()
    if reason:
        print(f"make: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if not CHROOT.exists():
        make_chroot()
    here = pythons()
    if not here or not set(named) <= set(here):
        print(
            f"make: Debian sid had {', '.join(here) or 'no Python from 3.14 on'} when build/sid was made, and"
            f" not {', '.join(named)}; `rm -r build/sid` has it looked up again",
            file=sys.stderr,
        )
        return 1
    copy_settings()
    copy_checkout()
    options = words[2:] if named else words
    command = ["scripts/dev.py", "test", "--on", ",".join(named or here), *options]
    return in_chroot([f"python{here[-1]}", *command])


def why_not() -> str:
    """Why there can be no chroot on this machine; "" if there can."""
    instead = "or install CPython 3.15, which `make test` will find"
    if not sys.platform.startswith("linux"):
        return f"Debian's Pythons run on Linux only: use such a machine, {instead}"
    if os.geteuid() != 0:
        return f"a chroot needs root: be root, {instead}"
    lacking = [name for name in ("mmdebstrap", "unshare") if shutil.which(name) is None]
    if lacking:
        return f"{' and '.join(lacking)} are needed: apt-get install mmdebstrap util-linux, {instead}"
    return ""


def make_chroot() -> None:
    """Fetch Debian sid and its Pythons."""
    say("making build/sid: Debian sid with its Pythons, some minutes")
    began = time.monotonic()
    unfinished = CHROOT.with_name("sid-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(exist_ok=True)
    status = in_namespaces(
        "mmdebstrap",
        "--variant=apt",
        # Debian's lists say until when they are good, and the clock may be past that.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        f"--include={','.join(TOOLS)}",
        f"--customize-hook={INSTALL}",
        "sid",
        str(unfinished),
    )
    if status != 0:
        sys.exit(f"make: Debian sid could not be set up: mmdebstrap ended with status {status}")
    unfinished.rename(CHROOT)
    say(f"made build/sid in {time.monotonic() - began:.0f} seconds")


def pythons() -> list[str]:
    """The versions in the chroot that are released, oldest first."""
    code = "import sys; print('%d.%d' % sys.version_info[:2] * (sys.version_info[3] == 'final'))"
    found = []
    for path in CHROOT.glob("usr/bin/python3.[0-9][0-9]"):
        answer = subprocess.run(
            ["chroot", str(CHROOT), path.name, "-c", code], capture_output=True, text=True
        )
        found += answer.stdout.split()
    return sorted(found)


def copy_settings() -> None:
    for name in [*SETTINGS, *(str(Path.home() / own) for own in OWN_SETTINGS)]:
        if os.path.exists(name):
            target = CHROOT / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink():
                target.unlink()
            shutil.copy(name, target)


def copy_checkout() -> None:
    """Have the files there that are part of the checkout, or could be. What was built from them stays."""
    listing = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(listing, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    names = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    folder = CHROOT / CHECKOUT
    manifest = CHROOT / f"{CHECKOUT}.list"
    if manifest.exists():
        for name in set(manifest.read_text().split("\0")) - names:
            (folder / name).unlink(missing_ok=True)
    manifest.write_text("\0".join(sorted(names)))
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)


def in_chroot(command: Sequence[str]) -> int:
    """Run a command in the chroot's copy of the checkout; its status."""
    environment = {name: value for name, value in os.environ.items() if VARIABLES.fullmatch(name)}
    environment |= {"HOME": str(Path.home()), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    # Both must be there. Older Pythons have wasmer too.
    environment["HIWIRE_REQUIRE_ENGINES"] = "wasmtime,native"
    environment["HIWIRE_REQUIRE_MODES"] = "compiled"
    return in_namespaces("sh", "-ec", ENTER, str(CHROOT), f"/{CHECKOUT}", *command, environment=environment)


def in_namespaces(*command: str, environment: dict[str, str] | None = None) -> int:
    """Run a command whose mounts and processes end with it, and with this process, even if that is killed;
    its status."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen([*unshare, *command], env=environment, preexec_fn=die_with_parent) as process:
        try:
            return process.wait()
        finally:
            process.kill()  # it takes no other signal while its child runs


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
