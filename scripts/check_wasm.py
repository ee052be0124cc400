#!/usr/bin/env python3
"""Rebuilds the package's modules in the pinned container and compares their bytes with the committed ones.

Needs docker, podman or buildah; as root on Debian it installs buildah and mmdebstrap where no engine works,
and then needs no registry either. The first run takes about half a minute, later ones seconds.

    scripts/check_wasm.py             exit status 1 and a list of differences unless all bytes are the same
    scripts/check_wasm.py --update    writes hiwire_py/modules/ and its SHA256SUMS instead of comparing
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from base_image import ensure_base  # noqa: E402

from hiwire_py.errors import ToolchainError  # noqa: E402
from hiwire_py.toolchain.build import (  # noqa: E402
    CONTAINERS,
    DOCKERFILE,
    SUMS,
    BuildReport,
    base_image,
    build,
    format_sums,
)
from hiwire_py.toolchain.containers import engine  # noqa: E402
from hiwire_py.toolchain.process import Log, Unusable  # noqa: E402

COMMITTED = ROOT / "hiwire_py" / "modules"


def main() -> int:
    """Parses the command line and does what it says; the exit status."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--update", action="store_true", help="write the built files instead of comparing")
    parser.add_argument("--toolchain", choices=CONTAINERS, help="this engine or none")
    parser.add_argument("--no-install", action="store_true", help="never install packages with apt-get")
    parser.add_argument("--verbose", action="store_true", help="show what the engine writes")
    options = parser.parse_args()
    start = time.monotonic()
    names = (options.toolchain,) if options.toolchain else CONTAINERS
    if not options.no_install and not options.toolchain:
        install_tools()

    def log(line: str) -> None:
        if options.verbose:
            print(line, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="hiwire-check-") as scratch:
            with contextlib.suppress(Unusable):  # build says why not
                ensure_base(names, log)
            report = build(scratch, toolchain=names, log=log)
            print(report.describe().splitlines()[0])
            for name, why in report.rejected:
                print(f"    not {name}: {why}")
            check_sources(report.toolchain, log)
            print("the C sources compile without a warning for every target, language and option")
            status = update(report) if options.update else compare(report)
    except ToolchainError as error:
        print(f"check_wasm: {error}", file=sys.stderr)
        return 2
    print(f"{time.monotonic() - start:.1f} seconds")
    return status


def check_sources(toolchain: str, log: Log) -> None:
    """Compiles the C sources in the container for every target and language that they promise."""
    container = engine(toolchain)
    container.probe()
    base = base_image(container, ROOT / DOCKERFILE, log)
    container.build(ROOT, DOCKERFILE, {"BASE": base}, target="check", out=None, log=log)


def install_tools() -> None:
    """Installs buildah and mmdebstrap where neither docker nor podman answers and this is possible."""
    for client in (["docker", "version"], ["podman", "info"]):
        if shutil.which(client[0]) is None:
            continue
        if subprocess.run(client, capture_output=True, check=False).returncode == 0:
            return
    missing = [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]
    if not missing or os.getuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"installing {' '.join(missing)} with apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        command = ["apt-get", "-q", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            # Not the end: the build says which toolchains there are and why not the others.
            print(f"`apt-get {' '.join(words)}` failed:\n{done.stderr}", file=sys.stderr)
            return


def compare(report: BuildReport) -> int:
    """Prints each difference between the built modules and the committed ones; 1 if there is one, else 0."""
    built = {file.name: file for file in report.files if file.name.endswith(".wasm")}
    committed = {path.name: path.read_bytes() for path in COMMITTED.glob("*.wasm")}
    problems = []
    for name in sorted(built.keys() | committed.keys()):
        if name not in committed:
            problems.append(f"{name}: the build makes it, and hiwire_py/modules/ does not have it")
        elif name not in built:
            problems.append(f"{name}: hiwire_py/modules/ has it, and the build does not make it")
        elif (report.out_dir / name).read_bytes() != committed[name]:
            made, held = (report.out_dir / name).read_bytes(), committed[name]
            pairs = enumerate(zip(made, held, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(made), len(held)))
            problems.append(
                f"{name}: differs from byte {at} on\n"
                f"    built      {len(made):7} bytes  sha256 {built[name].sha256}\n"
                f"    committed  {len(held):7} bytes  sha256 {hashlib.sha256(held).hexdigest()}"
            )
    sums = COMMITTED / SUMS
    if not sums.exists() or sums.read_text(encoding="ascii") != format_sums(report.files):
        problems.append(f"{SUMS}: its lines are not the sums of the built modules")
    for problem in problems:
        print(problem)
    if problems:
        print(
            "hiwire_py/modules/ holds what another compiler, or the sources as they were before, made.\n"
            "scripts/check_wasm.py --update writes what this build made; commit that if it is meant."
        )
        return 1
    for file in built.values():
        print(f"same bytes: {file.name} ({file.size})")
    return 0


def update(report: BuildReport) -> int:
    """Makes hiwire_py/modules/ hold exactly the built modules and their sums; always 0."""
    COMMITTED.mkdir(exist_ok=True)
    built = [file.name for file in report.files if file.name.endswith(".wasm")]
    for path in COMMITTED.glob("*.wasm"):
        if path.name not in built:
            print(f"removed {path.name}")
            path.unlink()
    for name in built:
        shutil.copyfile(report.out_dir / name, COMMITTED / name)
        print(f"wrote {name} ({(COMMITTED / name).stat().st_size} bytes)")
    (COMMITTED / SUMS).write_text(format_sums(report.files), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
