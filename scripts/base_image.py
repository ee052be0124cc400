#!/usr/bin/env python3
"""Makes the image that a container build starts from, where no registry can be reached.

    scripts/base_image.py              for the first of docker, podman and buildah that answers
    scripts/base_image.py buildah      for this one

Debian's own archive holds everything that its official image does: `mmdebstrap` makes a root file system of
it, from the mirror that this machine's apt uses. The compiler, which is pinned, decides the bytes of the
modules; that the rest of such a root may be younger or older than the official image changes nothing. An
engine that has the official image, or can fetch it, is left as it is.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hiwire_py.errors import ToolchainError  # noqa: E402
from hiwire_py.toolchain.build import CONTAINERS, DOCKERFILE, MADE_BASE, base_image  # noqa: E402
from hiwire_py.toolchain.containers import Engine, engine  # noqa: E402
from hiwire_py.toolchain.process import Log, Unusable, ask, run  # noqa: E402

RELEASE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FORMAT = "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)"


def main() -> int:
    """Does what the command line says; the exit status."""
    try:
        image = ensure_base(sys.argv[1:] or CONTAINERS, lambda line: print(line, flush=True))
    except ToolchainError as error:
        print(f"base_image: {error}", file=sys.stderr)
        return 2
    print(f"the base image is {image}")
    return 0


def ensure_base(names: Sequence[str], log: Log) -> str:
    """Gives the first of the engines that can have one a base image, unless it has one or can fetch it.

    Returns:
        The image's name.

    Raises:
        Unusable: none of them can.
    """
    reasons = []
    for name in names:
        container = engine(name)
        try:
            container.probe()
            try:
                return base_image(container, ROOT / DOCKERFILE, log)
            except Unusable as error:
                log(f"{name}: {error}")
                make(container, log)
                return MADE_BASE
        except Unusable as error:
            reasons.append(f"{name}: {error}")
    raise Unusable("; ".join(reasons))


def make(container: Engine, log: Log) -> None:
    """Gives the engine an image of a new root file system."""
    if shutil.which("mmdebstrap") is None:
        raise Unusable("no mmdebstrap on PATH")
    if not KEYRING.exists():
        raise Unusable(f"{KEYRING} is missing (package debian-archive-keyring)")
    source = f"deb [signed-by={KEYRING}] {debian_mirror()} {RELEASE} main"
    architecture = ask(["dpkg", "--print-architecture"]).strip()
    command = ["mmdebstrap", "--variant=minbase", "--format=tar", f"--architectures={architecture}"]
    for key, proxy in proxies():
        command.append(f'--aptopt={key} "{proxy}"')
    # What belongs to this machine stays out; the engine brings its own.
    command.append('--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"')
    with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
        root = Path(scratch, "root.tar")
        try:
            run([*command, RELEASE, str(root), source], log=log, what=f"making a root of Debian {RELEASE}")
        except ToolchainError as error:
            raise Unusable(str(error)) from None
        container.load(root, MADE_BASE)


def debian_mirror() -> str:
    """The Debian archive that apt of this machine is set up to use.

    Raises:
        Unusable: there is no apt, or none of its sources is Debian's main archive.
    """
    with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
        lists = Path(scratch, "lists")
        (lists / "partial").mkdir(parents=True)
        # Who publishes a source is known from its index; where indexes are missing, get them for this once.
        for options in ([], ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={scratch}"]):
            if options:
                ask(["apt-get", *options, "-q", "update"], timeout=180.0)
            targets = ask(["apt-get", *options, "indextargets", "--format", FORMAT, "Created-By: Packages"])
            for line in targets.splitlines():
                uri, *rest = line.split("|")
                if rest == ["Debian", "Debian", "main"] and re.match(r"(https?|file|copy):", uri):
                    return uri
    raise Unusable("apt here has no source that is the main archive of Debian")


def proxies() -> Iterator[tuple[str, str]]:
    for key in ("Acquire::http::Proxy", "Acquire::https::Proxy"):
        found = re.search(r"PROXY='(.+)'", ask(["apt-config", "shell", "PROXY", key]))
        if found:
            yield key, found[1]


if __name__ == "__main__":
    sys.exit(main())
