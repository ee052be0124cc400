#!/usr/bin/env python3
"""Runs the tests on the newest Pythons, where this machine has none so new: in Debian sid, which has them as
packages, as a chroot in build/.

    scripts/pythons.py [--on 3.14,3.15] [OPTION...]    on all that sid has, if not said; OPTIONs go to pytest

The first time takes some minutes; later ones reuse the chroot and what was installed into it, until `make
clean`. It needs root and `mmdebstrap`. However this ends, nothing stays mounted and nothing goes on running:
mounts and processes are in namespaces of the kernel, which end with it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from chroots import Chroot, ChrootError, ensure

ROOT = Path(__file__).resolve().parent.parent
CHROOT = ROOT / "build" / "sid"
CHECKOUT = "checkout"  # its copy in the chroot, where it can have its own builds
TOOLS = ["ca-certificates", "gcc", "git", "libc6-dev", "libffi-dev", "make", "mount", "wabt"]
# All from 3.14 on: what is older than that is found elsewhere.
INSTALL = r"""chroot "$1" sh -ec '
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -q -y --no-install-recommends \
        $(apt-cache pkgnames python3. | grep -xE "python3\.(1[4-9]|[2-9][0-9])-(venv|dev)")'"""
# How pip reaches its packages here, and whom programs believe.
SETTINGS = ["/etc/pip.conf", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"]
OWN_SETTINGS = [".config/pip/pip.conf", ".pip/pip.conf"]
VARIABLES = re.compile(r"(?i)(pip|hiwire|ssl_cert)_\w+|\w+_proxy|requests_ca_bundle|ci|term")


def main() -> int:
    """Make what is lacking, and run the tests; the exit status."""
    words = sys.argv[1:]
    named = words[1].split(",") if words[:1] == ["--on"] and len(words) > 1 else []
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        chroot = ensure(CHROOT, "sid", TOOLS, say, INSTALL)
    except ChrootError as error:
        print(f"make: {error}\nOr install CPython 3.15, which `make test` will find.", file=sys.stderr)
        return 1
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
    return in_chroot(chroot, [f"python{here[-1]}", *command])


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


def in_chroot(chroot: Chroot, command: Sequence[str]) -> int:
    """Run a command in the chroot's copy of the checkout; its status."""
    variables = {name: value for name, value in os.environ.items() if VARIABLES.fullmatch(name)}
    variables["HOME"] = str(Path.home())
    # Both must be there. Older Pythons have wasmer too.
    variables["HIWIRE_REQUIRE_ENGINES"] = "wasmtime,native"
    variables["HIWIRE_REQUIRE_MODES"] = "compiled"
    return chroot.call(["env", "--chdir", f"/{CHECKOUT}", *command], variables)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
