"""Debian roots in folders, for tests that need packages which the Debian of this machine does not have.

A root is made once and used again. It is made and entered in namespaces of their own: whatever ends a
command, its mounts and processes end with it, so that whoever removes the folder removes the folder alone.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Chroot", "ChrootError", "ensure"]

MIRROR = "http://deb.debian.org/debian"

# Processes end with the first of them, and so do mounts.
APART = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]

# Nobody reads manuals in there.
UNREAD = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")

ENTER = """
root=$1; shift
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
shift
exec chroot "$root" "$@"
"""


class ChrootError(Exception):
    """A root that cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Chroot:
    """A root that is there."""

    folder: Path

    def command(self, words: Sequence[str], mounts: Mapping[str, Path] | None = None) -> list[str]:
        """The command that runs a command in there.

        Args:
            words: the command, as it is in there.
            mounts: folders of this machine that it sees, by their path in there. It can write to them.
        """
        shown = [part for inner, outer in (mounts or {}).items() for part in (str(outer), inner)]
        environment = ["env", "-i", "PATH=/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        return [*APART, "sh", "-ec", ENTER, "sh", str(self.folder), *shown, "--", *environment, *words]

    def run(
        self, words: Sequence[str], mounts: Mapping[str, Path] | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in there; what it writes is in the result, standard error behind standard output."""
        return subprocess.run(
            self.command(words, mounts),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
        )


def ensure(
    folder: Path,
    suite: str,
    packages: Sequence[str],
    say: Callable[[str], None],
    leave_out: Sequence[str] = (),
) -> Chroot:
    """The root in this folder, which is made if it is not there or was made otherwise.

    Args:
        folder: where it is; it is replaced as a whole.
        suite: of Debian, "trixie" or "sid" for instance.
        packages: beside the essential ones.
        say: is called with each line of progress.
        leave_out: files of packages that are not unpacked, in the patterns of dpkg's path-exclude.

    Raises:
        ChrootError: it cannot be made here.
    """
    if not hasattr(os, "getuid") or os.getuid() != 0:
        raise ChrootError(f"no chroot of Debian {suite}: that needs root; run this as root")
    options = [f"path-exclude={pattern}" for pattern in (*UNREAD, *leave_out)]
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        # Lists of sid are valid for a week: where the clock is ahead they are not, though well signed.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Languages "none"',
        *(f"--dpkgopt={option}" for option in ("force-unsafe-io", *options)),
        f"--include={','.join(packages)}",
        suite,
    ]
    wanted = hashlib.sha256(shlex.join(command).encode()).hexdigest()
    stamp = folder / "etc" / "made-for-tests"
    if stamp.exists() and stamp.read_text() == wanted:
        return Chroot(folder)
    if shutil.which("mmdebstrap") is None:
        raise ChrootError(
            f"no chroot of Debian {suite}: mmdebstrap is missing; on Debian `apt-get install mmdebstrap`"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    said = []
    with subprocess.Popen(
        [*APART, *command, str(folder), MIRROR],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("I: "):
                say(f"{suite}: {line[3:].strip()}")
    if process.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise ChrootError(f"no chroot of Debian {suite}: mmdebstrap failed:\n{''.join(said[-20:])}")
    stamp.write_text(wanted)
    return Chroot(folder)
