"""Container engines: docker, podman and buildah, each behind the same few operations.

A client on PATH says nothing: an engine works when it answers and can run a program in the base image. The
operations are those that every version of the three has; in particular, docker's and podman's results are
copied out of a container that never runs, because ``build --output`` needs BuildKit.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from hiwire_py import cache
from hiwire_py.toolchain.process import Log, Unusable, ask, run

__all__ = ["ENGINES", "Buildah", "Docker", "Engine", "engine"]

ENGINES = ("docker", "podman", "buildah")

# Long enough for a slow registry, short enough for a firewall that drops packets.
_PULL_SECONDS = 180.0

# overlay shares the files of layers, vfs copies them: slower and larger, but it works on every file system.
_DRIVERS = ("overlay", "vfs")


class Engine(ABC):
    """One container engine.

    Methods that find out something raise ``Unusable`` with the reason; ``build`` raises ``ToolchainError``.
    """

    name: str
    version: str = ""

    @abstractmethod
    def probe(self) -> None:
        """Makes sure that the engine answers, and sets ``version``."""

    @abstractmethod
    def has(self, image: str) -> bool:
        """Whether the engine has the image already."""

    @abstractmethod
    def pull(self, image: str) -> None:
        """Fetches the image from its registry."""

    @abstractmethod
    def load(self, root: Path, image: str) -> None:
        """Makes an image of a tar file that holds a root file system."""

    @abstractmethod
    def try_run(self, image: str) -> None:
        """Runs ``true`` in the image, as root, to see that containers run at all."""

    @abstractmethod
    def build(
        self,
        context: Path,
        dockerfile: str,
        arguments: Mapping[str, str],
        *,
        target: str | None,
        out: Path | None,
        log: Log,
    ) -> None:
        """Builds one target of a Dockerfile.

        Args:
            target: the stage; None: the last one.
            out: the directory that gets the files of the image; None: nobody wants them.
        """

    @abstractmethod
    def _client(self, *words: str) -> list[str]:
        """A command line of the engine's client."""

    def _build_command(
        self,
        context: Path,
        dockerfile: str,
        arguments: Mapping[str, str],
        target: str | None,
        image_id: Path,
        *options: str,
    ) -> list[str]:
        command = self._client("build", *options, "-f", str(context / dockerfile), "--iidfile", str(image_id))
        for key, value in arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        if target is not None:
            command += ["--target", target]
        return [*command, str(context)]


class Docker(Engine):
    """docker, or podman, which takes the same words."""

    def __init__(self, name: str = "docker") -> None:
        self.name = name

    def _client(self, *words: str) -> list[str]:
        return [self.name, *words]

    def probe(self) -> None:
        if self.name == "podman":
            ask(self._client("info"))
            self.version = ask(self._client("version", "--format", "{{.Client.Version}}")).strip()
        else:
            self.version = ask(self._client("version", "--format", "{{.Server.Version}}")).strip()

    def has(self, image: str) -> bool:
        try:
            ask(self._client("image", "inspect", image))
        except Unusable:
            return False
        return True

    def pull(self, image: str) -> None:
        ask(self._client("pull", image), timeout=_PULL_SECONDS)

    def load(self, root: Path, image: str) -> None:
        ask(self._client("import", str(root), image), timeout=_PULL_SECONDS)

    def try_run(self, image: str) -> None:
        ask(self._client("run", "--rm", image, "true"), timeout=_PULL_SECONDS)

    def build(
        self,
        context: Path,
        dockerfile: str,
        arguments: Mapping[str, str],
        *,
        target: str | None,
        out: Path | None,
        log: Log,
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
            image_id = Path(scratch, "image")
            command = self._build_command(context, dockerfile, arguments, target, image_id)
            run(command, log=log, what=f"the build with {self.name}")
            if out is None:
                return
            # The image has no program; `create` wants the name of one all the same.
            container = ask(self._client("create", image_id.read_text().strip(), "none")).strip()
            try:
                run(
                    self._client("cp", f"{container}:/.", str(out)),
                    log=log,
                    what="copying out of the container",
                )
            finally:
                ask(self._client("rm", container))
        # What docker puts into every container besides the files of the image.
        (out / ".dockerenv").unlink(missing_ok=True)
        for mount_point in ("dev", "etc", "proc", "sys"):
            shutil.rmtree(out / mount_point, ignore_errors=True)


class Buildah(Engine):
    """buildah, which needs no running engine, and with chroot isolation as root no user namespaces either.

    Its images live in the cache directory, apart from the user's own.
    """

    name = "buildah"

    def __init__(self) -> None:
        self._driver = "overlay"

    def _client(self, *words: str) -> list[str]:
        store = cache.root() / "buildah" / self._driver
        # The lock files of the run root must not outlive a reboot, so it stays out of the cache.
        locks = Path(tempfile.gettempdir(), f"hiwire-buildah-{os.getuid()}", self._driver)
        store.mkdir(parents=True, exist_ok=True)
        locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = ["--root", str(store), "--runroot", str(locks), "--storage-driver", self._driver]
        return ["buildah", *options, *words]

    def probe(self) -> None:
        self.version = ask(["buildah", "--version"]).removeprefix("buildah version ").split(" ")[0].strip()
        reasons = []
        for driver in _DRIVERS:
            self._driver = driver
            try:
                container = ask(self._client("from", "scratch")).strip()
            except Unusable as error:
                reasons.append(str(error))
                continue
            try:
                ask(
                    self._client("mount", container)
                    if os.getuid() == 0
                    else self._client("inspect", container)
                )
                return
            except Unusable as error:
                reasons.append(str(error))
            finally:
                ask(self._client("rm", container))
        raise Unusable("; ".join(reasons))

    def has(self, image: str) -> bool:
        try:
            ask(self._client("inspect", "--type", "image", image))
        except Unusable:
            return False
        return True

    def pull(self, image: str) -> None:
        ask(self._client("pull", "--quiet", image), timeout=_PULL_SECONDS)

    def load(self, root: Path, image: str) -> None:
        container = ask(self._client("from", "scratch")).strip()
        try:
            ask(self._client("add", "--quiet", container, str(root), "/"), timeout=_PULL_SECONDS)
            ask(self._client("commit", "--quiet", container, image), timeout=_PULL_SECONDS)
        finally:
            ask(self._client("rm", container))

    def try_run(self, image: str) -> None:
        container = ask(self._client("from", "--pull-never", image)).strip()
        try:
            ask(self._client("run", "--isolation", "chroot", "--network", "host", container, "--", "true"))
        finally:
            ask(self._client("rm", container))

    def build(
        self,
        context: Path,
        dockerfile: str,
        arguments: Mapping[str, str],
        *,
        target: str | None,
        out: Path | None,
        log: Log,
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
            image_id = Path(scratch, "image")
            options = ["--isolation", "chroot", "--network", "host", "--force-rm"]
            # Each layer kept makes the next build quicker; but vfs would keep a gigabyte for each.
            options.append("--layers" if self._driver == "overlay" else "--layers=false")
            if out is not None:
                options += ["--output", str(out)]
            command = self._build_command(context, dockerfile, arguments, target, image_id, *options)
            run(command, log=log, what="the build with buildah")


def engine(name: str) -> Engine:
    """The engine of that name, one of ``ENGINES``."""
    return Buildah() if name == "buildah" else Docker(name)
