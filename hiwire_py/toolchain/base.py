"""The image that a container build starts from, also where no registry can be reached.

Debian's own archive holds everything that its official image does: ``mmdebstrap`` makes a root file system of
it, from the mirror that this machine's apt uses. The compiler, which is pinned, decides the bytes of the
modules; that the rest of such a root may be younger or older than the official image changes nothing.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hiwire_py.errors import ToolchainError
from hiwire_py.toolchain.containers import Engine
from hiwire_py.toolchain.process import Log, Unusable, ask, run

__all__ = ["debian_mirror", "ensure_base"]

_RELEASE = "trixie"
_MADE = f"localhost/hiwire-debian:{_RELEASE}"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FORMAT = "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)"


def ensure_base(engine: Engine, dockerfile: Path, log: Log) -> str:
    """Makes sure that the engine has Debian 13 and can run it.

    Args:
        engine: one that answers.
        dockerfile: names the official image.

    Returns:
        The name of the image: the official one where a registry has it, else one made here.

    Raises:
        Unusable: there is no way to a base image, or containers do not run.
    """
    found = re.search(r"^ARG BASE=(\S+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ToolchainError(f"{dockerfile} has no line `ARG BASE=...`; the build needs to know it")
    image = next((image for image in (found[1], _MADE) if engine.has(image)), "")
    if not image:
        image = found[1]
        log(f"{engine.name}: fetching {image}")
        try:
            engine.pull(image)
        except Unusable as error:
            log(f"{engine.name}: no base image from a registry: {error}")
            image = _MADE
            try:
                _make(engine, log)
            except Unusable as other:
                raise Unusable(f"no base image: {error}; and none can be made here: {other}") from None
    engine.try_run(image)
    return image


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
            targets = ask(["apt-get", *options, "indextargets", "--format", _FORMAT, "Created-By: Packages"])
            for line in targets.splitlines():
                uri, *rest = line.split("|")
                if rest == ["Debian", "Debian", "main"] and re.match(r"(https?|file|copy):", uri):
                    return uri
    raise Unusable("apt here has no source that is the main archive of Debian")


def _make(engine: Engine, log: Log) -> None:
    """Gives the engine an image of a new root file system."""
    if shutil.which("mmdebstrap") is None:
        raise Unusable("no mmdebstrap on PATH")
    if not _KEYRING.exists():
        raise Unusable(f"{_KEYRING} is missing (package debian-archive-keyring)")
    source = f"deb [signed-by={_KEYRING}] {debian_mirror()} {_RELEASE} main"
    architecture = ask(["dpkg", "--print-architecture"]).strip()
    command = ["mmdebstrap", "--variant=minbase", "--format=tar", f"--architectures={architecture}"]
    for key, proxy in _proxies():
        command.append(f'--aptopt={key} "{proxy}"')
    # What belongs to this machine stays out; the engine brings its own.
    command.append('--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"')
    with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
        root = Path(scratch, "root.tar")
        try:
            run([*command, _RELEASE, str(root), source], log=log, what=f"making a root of Debian {_RELEASE}")
        except ToolchainError as error:
            raise Unusable(str(error)) from None
        engine.load(root, _MADE)


def _proxies() -> Iterator[tuple[str, str]]:
    for key in ("Acquire::http::Proxy", "Acquire::https::Proxy"):
        found = re.search(r"PROXY='(.+)'", ask(["apt-config", "shell", "PROXY", key]))
        if found:
            yield key, found[1]
