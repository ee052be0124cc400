#!/usr/bin/env python3
"""Builds the C tests with Emscripten and runs them under Node, in chroots of Debian that are made in build/.

    scripts/emscripten.py                 with Emscripten 3.1 of Debian 13 (trixie)
    scripts/emscripten.py trixie sid      and with that of sid
    scripts/emscripten.py --quick         side modules, and all ways for the options of Emscripten alone
    scripts/emscripten.py -k pic          what has this text in its name

Needs root and mmdebstrap. The chroots take some minutes and 2 GB each, the first time; later runs use them
again. Each build of a C test (the lines "build:" in tests/c) is linked in these ways:

    objects     the objects of the library and of the test
    archive     the test with libhiwire.a
    pic         the same, all of it compiled with -fPIC
    side        test and library as a side module, loaded by a program that knows nothing of hiwire
    main        the library in the program, the test in a side module (options of Emscripten alone)
    installed   against what `make install` writes, with no option repeated (options of Emscripten alone)
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from c_builds import EMSCRIPTEN, Build, builds, messages  # noqa: E402
from chroots import Chroot, ChrootError, ensure  # noqa: E402

FOLDER = ROOT / "build" / "emscripten"
SUITES = ("trixie", "sid")
PACKAGES = ("emscripten", "make")

SOURCE, WORK = "/src", "/work"
CFLAGS = (f"@{SOURCE}/c/wasm-cflags.txt", f"-I{SOURCE}/tests/c")
HEADERS = f"-I{SOURCE}/c/hiwire"
PROGRAM = ("-O1", "--no-entry", "-sMODULARIZE", "-sENVIRONMENT=node", "-sALLOW_MEMORY_GROWTH")
EXPORTS = "-sEXPORTED_RUNTIME_METHODS=wasmExports"
# A loader has what side modules ask for: all the libraries of Emscripten, the other way, are much to build.
LOADER = ("-sMAIN_MODULE=2", f"{EXPORTS},loadDynamicLibrary")
LIBC = ("malloc", "free", "realloc", "abort", "fputs", "fputc", "fwrite", "stderr")
STANDARDS = {".c": "-std=c11", ".cpp": "-std=c++17"}

FORMS = ("objects", "archive", "pic", "side")
QUICK_FORMS = ("side",)  # the fastest to link by far
ALL_FORMS = (*FORMS, "main", "installed")


class Failed(Exception):
    """A command that did not succeed; the message has what it wrote."""


@dataclass
class Results:
    """What ran so far; any thread may add to it."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, passed: int, failures: Sequence[str]) -> None:
        with self.lock:
            self.passed += passed
            self.failures += failures


def public(flags: Sequence[str]) -> list[str]:
    """The functions of the library that is built with these options."""
    header = (ROOT / "c/hiwire/hiwire.h").read_text(encoding="utf-8")
    names = ["_hiwire_slot_info", *re.findall(r"HIWIRE_API\((hiwire_\w+)\)", header)]
    if not any("DEDUPLICATE" in flag for flag in flags):
        names.remove("hiwire_new_deduplicate")
    return names


class Bench:
    """One Emscripten, and a folder for what it makes. Every product is made once, by whoever asks first."""

    def __init__(self, chroot: Chroot, work: Path) -> None:
        self.chroot = chroot
        self.work = work
        self._mounts = {SOURCE: ROOT, WORK: work}
        self._made: dict[object, str] = {}
        self._locks: dict[object, threading.Lock] = {}
        self._lock = threading.Lock()

    def run(self, *words: str, folder: str = WORK, timeout: float = 600) -> str:
        """The output of a command that succeeds, in the chroot."""
        command = ["env", "--chdir", folder, *words]
        try:
            done = self.chroot.run(command, self._mounts, timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(words)}\ntook more than {timeout:.0f} seconds") from None
        if done.returncode != 0:
            raise Failed(f"{' '.join(words)}\nended with status {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def once(self, key: object, make: Callable[[str], None]) -> str:
        """The folder, a path in the chroot, that `make` fills when this key is asked for first."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                with self._lock:
                    name = str(len(list(self.work.iterdir())))
                    (self.work / name).mkdir()
                make(f"{WORK}/{name}")
                self._made[key] = f"{WORK}/{name}"
        return self._made[key]

    def library(self, flags: tuple[str, ...]) -> str:
        """A folder with the objects of the library and libhiwire.a."""

        def make(folder: str) -> None:
            sources = [f"{SOURCE}/c/hiwire/{path.name}" for path in sorted((ROOT / "c/hiwire").glob("*.c"))]
            self.run("emcc", *CFLAGS, "-std=c11", *flags, "-c", *sources, folder=folder)
            objects = [f"{Path(source).stem}.o" for source in sources]
            self.run("emar", "rcsD", "libhiwire.a", *objects, folder=folder)

        return self.once(("library", flags), make)

    def installed(self, flags: tuple[str, ...]) -> str:
        """A folder with include/ and lib/, as `make install` writes them."""

        def make(folder: str) -> None:
            tools = ["CC=emcc", "AR=emar", "TARGET="]
            options = f"OPTIONS={' '.join(flags)}"
            words = ["make", "-C", f"{SOURCE}/c", "install", f"OUT={folder}/out", f"prefix={folder}"]
            self.run(*words, *tools, options)

        return self.once(("installed", flags), make)

    def objects(self, source: Path, flags: tuple[str, ...], headers: str = HEADERS) -> str:
        """The object file of a test."""

        def make(folder: str) -> None:
            standard = STANDARDS[source.suffix]
            path = f"{SOURCE}/tests/c/{source.name}"
            self.run("emcc", *CFLAGS, headers, standard, *flags, "-c", path, "-o", f"{folder}/test.o")

        return self.once(("test", source, flags, headers), make) + "/test.o"

    def first(self) -> None:
        """Links some program, which may have to make the C library first."""

        def make(folder: str) -> None:
            self.run("sh", "-c", "echo 'int main(void) { return 0; }' > main.c", folder=folder)
            self.run("emcc", *PROGRAM, "main.c", "-o", "program.js", folder=folder, timeout=3600)

        self.once("first", make)

    def loader(self, flags: tuple[str, ...] | None) -> str:
        """A program that can load side modules: with the library in it, or with nothing."""

        def make(folder: str) -> None:
            whole: list[str] = []
            if flags is not None:
                whole = [
                    "-Wl,--whole-archive",
                    f"{self.library(flags)}/libhiwire.a",
                    "-Wl,--no-whole-archive",
                ]
            # emcc wants some input; a file that ends in .o may be an archive of nothing.
            self.run(
                "sh", "-c", "echo 'extern int unused;' > empty.c && emcc -fPIC -c empty.c", folder=folder
            )
            names = LIBC if flags is None else (*LIBC, *public(flags))
            words = [*PROGRAM, *LOADER, f"-sEXPORTED_FUNCTIONS={','.join('_' + name for name in names)}"]
            self.run("emcc", *words, "empty.o", *whole, "-o", "program.js", folder=folder, timeout=3600)

        return self.once(("loader", flags), make) + "/program.js"


def link(bench: Bench, form: str, build: Build) -> list[str]:
    """Builds a test in one of the ways.

    Returns:
        The files that tests/c/emscripten.js is given.
    """
    pic = ("-fPIC",) if form in ("pic", "side", "main") else ()
    flags = (*(flag for flag in build.flags if flag != "-fPIC"), *pic)
    shared = (*(flag for flag in build.library_flags if flag != "-fPIC"), *pic)
    if form == "installed":
        tree = bench.installed(shared)
        # The defines are for the test's own #ifdef; the header has the options itself.
        test = [bench.objects(build.source, flags, f"-I{tree}/include"), f"-L{tree}/lib", "-lhiwire"]
    else:
        test = [bench.objects(build.source, flags)]
    if form in ("objects", "side"):
        test += [f"{bench.library(shared)}/{path.stem}.o" for path in sorted((ROOT / "c/hiwire").glob("*.c"))]
    elif form in ("archive", "pic"):
        test += [f"{bench.library(shared)}/libhiwire.a"]

    def make(folder: str) -> None:
        if form in ("side", "main"):
            bench.run("emcc", "-O1", "-sSIDE_MODULE=1", *test, "-o", f"{folder}/side.wasm")
        else:
            bench.run("emcc", *PROGRAM, EXPORTS, *test, "-o", f"{folder}/program.js")

    folder = bench.once((form, build), make)
    if form in ("side", "main"):
        return [bench.loader(shared if form == "main" else None), f"{folder}/side.wasm"]
    return [f"{folder}/program.js"]


def run(bench: Bench, form: str, build: Build, results: Results) -> None:
    """Builds a test in one of the ways and runs its functions; what fails is in the results."""
    title = f"{form}: {build}"
    try:
        files = link(bench, form, build)
        said = bench.run("node", f"{SOURCE}/tests/c/emscripten.js", *files)
    except Failed as error:
        results.add(0, [f"{title}\n{error}"])
        return
    wanted = messages(build.source)
    failures = []
    lines = [json.loads(line[7:]) for line in said.splitlines() if line.startswith("RESULT ")]
    for line in lines:
        name, ended, stderr = line["name"], line["error"], line["said"]
        if name.startswith("abort_"):
            right = ended is not None and stderr[:1] == [wanted.pop(name, None)]
        else:
            right = ended is None
        if not right:
            failures.append(f"{title}: {name}: {ended}; it wrote {stderr}")
    if not lines or wanted:
        failures.append(f"{title}: functions that did not run: {', '.join(wanted) or 'all'}")
    results.add(len(lines) - len(failures), failures)


def chosen(text: str, quick: bool) -> Iterator[tuple[str, Build]]:
    """The ways and builds with a text in their name."""
    seen = set()
    for build in builds():
        # What differs only in how an option is spelt, or in the target, is one build here.
        plain = tuple(flag.replace("-DHIWIRE_", "-D") for flag in build.flags if flag != "-fPIC")
        if (build.source, plain) in seen:
            continue
        seen.add((build.source, plain))
        is_own = build.target == EMSCRIPTEN
        for form in ALL_FORMS if is_own else QUICK_FORMS if quick else FORMS:
            if form == "main" and any("EXTERN_" in flag for flag in build.flags):
                continue  # a library in the program wants its hooks there too, and the test has them
            if text in f"{form}: {build}":
                yield form, build


def test(suite: str, jobs: Sequence[tuple[str, Build]], say: Callable[[str], None]) -> bool:
    """Whether all these tests pass with the Emscripten of a suite of Debian."""
    start = time.monotonic()
    folder = FOLDER / suite
    chroot = ensure(folder / "root", suite, PACKAGES, say)
    made = time.monotonic()
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work").mkdir()
    bench = Bench(chroot, folder / "work")
    version = bench.run("emcc", "--version").splitlines()
    say(f"{suite}: {next(line for line in version if line.startswith('emcc'))}")
    say(f"{suite}: linking a first program and a loader (and making the C library if Debian has none)")
    bench.first()
    bench.loader(None)
    results = Results()
    say(f"{suite}: {len(jobs)} programs")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting = [pool.submit(run, bench, form, build, results) for form, build in jobs]
        for number, job in enumerate(waiting, 1):
            job.result()
            if number % 20 == 0:
                say(f"{suite}: {number} of {len(jobs)} programs")
    for failure in results.failures:
        say(f"FAILED: {suite}: {failure}")
    say(
        f"{suite}: {results.passed} tests passed, {len(results.failures)} failed; the chroot took"
        f" {made - start:.0f} seconds, the tests {time.monotonic() - made:.0f}"
    )
    return not results.failures and results.passed > 0


@contextlib.contextmanager
def alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One run at a time uses a folder; the next one waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another run in {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Parses the command line and does what it says; the exit status."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{' or '.join(SUITES)}")
    parser.add_argument("-k", metavar="TEXT", default="", help="only what has this text in its name")
    parser.add_argument("--quick", action="store_true", help="what continuous integration runs")
    options = parser.parse_args()
    unknown = sorted(set(options.suites) - set(SUITES))
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}; there are {' and '.join(SUITES)}")
    jobs = list(chosen(options.k, options.quick))
    say = functools.partial(print, flush=True)
    passed = []
    for suite in options.suites or SUITES[:1]:
        try:
            with alone(FOLDER / suite, say):
                passed.append(test(suite, jobs, say))
        except (ChrootError, Failed) as error:
            print(f"emscripten: {error}", file=sys.stderr)
            return 2
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
