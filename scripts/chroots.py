"""Debian roots in folders, for tests that need packages which the Debian of this machine does not have.

A root is made once and used again. It is made and entered in namespaces of their own: whatever ends a
command, its mounts and processes end with it, so that whoever removes the folder removes the folder alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Chroot", "ChrootError", "call_apart", "ensure", "why_not"]

# Processes end with the first of them, and so do mounts.
APART = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]

# Nobody reads manuals in there.
UNREAD = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")

ENTER = """
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
shift
exec chroot "$root" "$@"
"""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}

_PR_SET_PDEATHSIG = 1


class ChrootError(Exception):
    """A root that cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Chroot:
    """A root that is there."""

    folder: Path

    def command(
        self,
        words: Sequence[str],
        mounts: Mapping[str, Path] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> list[str]:
        """What to run, `apart`, for a command to run in there.

        Args:
            words: the command, as it is in there.
            mounts: folders of this machine that it sees, by their path in there. It can write to them.
            variables: of its environment, beside `ENVIRONMENT`.
        """
        shown = [part for inner, outer in (mounts or {}).items() for part in (str(outer), inner)]
        variables = {**ENVIRONMENT, **(variables or {})}
        environment = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
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

    def call(self, words: Sequence[str], variables: Mapping[str, str] | None = None) -> int:
        """Runs a command in there that writes where this process does; its status. It ends with this
        process, even if that is killed."""
        return call_apart(self.command(words, variables=variables))


def call_apart(command: Sequence[str], lines: Callable[[str], Any] | None = None) -> int:
    """Runs a command that begins with `APART`, and that ends with this process, even if that is killed.

    Args:
        command: the command.
        lines: is called with each line that it writes; None: it writes where this process does.

    Returns:
        its status.
    """
    output: dict[str, Any] = {}
    if lines is not None:
        output = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(
        command, text=True, errors="replace", preexec_fn=_die_with_parent, **output
    ) as process:
        try:
            if lines is not None:
                assert process.stdout is not None
                for line in process.stdout:
                    lines(line)
            return process.wait()
        finally:
            process.kill()  # it takes no other signal while its child runs


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def why_not() -> str:
    """Why there can be no chroot on this machine; "" if there can."""
    if not sys.platform.startswith("linux"):
        return "a chroot of Debian runs on Linux only"
    if os.geteuid() != 0:
        return "a chroot of Debian needs root: run this as root"
    lacking = [name for name in ("mmdebstrap", "unshare") if shutil.which(name) is None]
    if lacking:
        return f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} needed: apt-get install" + (
            " mmdebstrap util-linux"
        )
    return ""


def ensure(
    folder: Path, suite: str, packages: Sequence[str], say: Callable[[str], None], hook: str = ""
) -> Chroot:
    """The root in this folder, which is made if it is not there or was made otherwise.

    Args:
        folder: where it is; it is replaced as a whole.
        suite: of Debian, "trixie" or "sid" for instance.
        packages: beside the essential ones.
        say: is called with each line of progress.
        hook: what a shell does at the end, with the root's path as ``$1``.

    Raises:
        ChrootError: it cannot be made here.
    """
    options = [f"path-exclude={pattern}" for pattern in UNREAD]
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        # Lists of sid are valid for a week: where the clock is ahead they are not, though well signed.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Languages "none"',
        *(f"--dpkgopt={option}" for option in ("force-unsafe-io", *options)),
        f"--include={','.join(packages)}",
        *([f"--customize-hook={hook}"] if hook else []),
        suite,
    ]
    wanted = hashlib.sha256(shlex.join(command).encode()).hexdigest()
    stamp = folder / "etc" / "made-for-tests"
    reason = why_not()
    if reason:
        raise ChrootError(f"no chroot of Debian {suite}: {reason}")
    if stamp.exists() and stamp.read_text() == wanted:
        return Chroot(folder)
    say(f"making {folder.name}, Debian {suite}, which takes some minutes")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []

    def progress(line: str) -> None:
        said.append(line)
        if line.startswith("I: "):
            say(f"{suite}: {line[3:].strip()}")

    if call_apart([*APART, *command, str(folder)], progress) != 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise ChrootError(f"no chroot of Debian {suite}: mmdebstrap failed:\n{''.join(said[-20:])}")
    stamp.write_text(wanted)
    return Chroot(folder)
