"""Running the programs that a build needs, with their output shown as it comes."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hiwire_py.errors import ToolchainError

__all__ = ["Log", "Unusable", "ask", "run", "silent"]

Log = Callable[[str], None]
"""Takes one line of progress, without its newline."""

_TAIL = 25
_PROBE_SECONDS = 20.0


class Unusable(ToolchainError):
    """One toolchain cannot be used here; the text is the reason, in a form that follows its name."""


def silent(line: str) -> None:
    """The log of those who want none."""


def ask(command: Sequence[str], *, timeout: float = _PROBE_SECONDS) -> str:
    """Runs a short command and gives what it wrote to its standard output.

    Raises:
        Unusable: the program is missing, fails, or does not answer in ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except FileNotFoundError:
        where = "" if os.sep in command[0] else " on PATH"
        raise Unusable(f"no {command[0]}{where}") from None
    except subprocess.TimeoutExpired:
        raise Unusable(f"`{_short(command)}` did not answer in {timeout:g} seconds") from None
    except OSError as error:
        raise Unusable(f"`{_short(command)}` cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        why = lines[-1] if lines else f"exit status {done.returncode}"
        raise Unusable(f"`{_short(command)}` failed: {why}")
    return done.stdout


def run(
    command: Sequence[str],
    *,
    log: Log,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Runs a long command and hands each line that it writes, on either stream, to ``log``.

    Args:
        what: says in the error what was being done.

    Raises:
        ToolchainError: it failed; the message ends with the last lines it wrote.
    """
    tail: deque[str] = deque(maxlen=_TAIL)
    try:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise ToolchainError(f"{what} failed: {command[0]} cannot be run: {error.strerror}") from error
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                tail.append(line.rstrip())
                log(tail[-1])
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise ToolchainError(
            f"{what} failed: `{_short(command)}` ended with status {process.returncode}; its last lines:\n"
            + "\n".join(f"    {line}" for line in tail)
        )


def _short(command: Sequence[str]) -> str:
    words = " ".join(command)
    return words if len(words) <= 100 else words[:97] + "..."
