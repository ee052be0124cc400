"""Modules of others, which npm fetches once and checks."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from .rows import ROOT

FETCHED = ROOT / "build" / "bench-modules"


class NotMeasured(Exception):
    """A module is not here, or cannot be compiled: the message says why."""


def fetch(package: str, version: str, member: str) -> Path:
    """A file of a package of npm; it stays in build/bench-modules.

    Raises:
        NotMeasured: it is not there, and npm is not here or cannot get it.
    """
    stem = f"{package.replace('@', '').replace('/', '-')}-{version}"
    target = FETCHED / f"{stem}-{Path(member).name}"
    archive = FETCHED / f"{stem}.tgz"
    if not archive.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise NotMeasured("npm, which fetches it, is not here; on Debian: apt-get install npm")
        FETCHED.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", "--silent", f"{package}@{version}"]
        try:
            run = subprocess.run(
                command, cwd=FETCHED, timeout=300, capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotMeasured("npm has not fetched it within five minutes") from None
        if run.returncode:
            said = " ".join(run.stderr.split())
            raise NotMeasured(f"npm could not fetch it: {said[:200]}")
    if not target.exists():
        with tarfile.open(archive) as packed:
            found = packed.extractfile(f"package/{member}")
            assert found is not None
            target.write_bytes(found.read())
    return target
