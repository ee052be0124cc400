"""Container engines: docker, podman and buildah, each behind the same few operations.

A client on PATH says nothing: an engine works when it answers and can run a program in the base image. The
operations are those that every version of the three has; in particular, docker's and podman's results are
copied out of a container that never runs, because ``build --output`` needs BuildKit.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hiwire_py import cache
from hiwire_py.toolchain.process import Log, Unusable, ask, run

__all__ = ["ENGINES", "Buildah", "Engine", "engine"]

ENGINES = ("docker", "podman", "buildah")

# Long enough for a slow registry, short enough for a firewall that drops packets.
_PULL_SECONDS = 180.0

# overlay shares the files of layers, vfs copies them: slower and larger, but it works on every file system.
_DRIVERS = ("overlay", "vfs")

_ISOLATION = ("--isolation", "chroot", "--network", "host")


class Engine:
    """docker, or podman, which takes the same words; buildah has words of its own.

    Methods that find out something raise ``Unusable`` with the reason; ``build`` raises ``ToolchainError``.
    """

    inspecting: tuple[str, ...] = ("image", "inspect")

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = ""

    def client(self, *words: str) -> list[str]:
        """A command line of the engine's client."""
        return [self.name, *words]

    def probe(self) -> None:
        """Makes sure that the engine answers, and sets ``version``."""
        side = "Server"
        if self.name == "podman":
            ask(self.client("info"))
            side = "Client"
        self.version = ask(self.client("version", "--format", f"{{{{.{side}.Version}}}}")).strip()

    def has(self, image: str) -> bool:
        """Whether the engine has the image already."""
        try:
            ask(self.client(*self.inspecting, image))
        except Unusable:
            return False
        return True

    def pull(self, image: str) -> None:
        """Fetches the image from its registry."""
        ask(self.client("pull", image), timeout=_PULL_SECONDS)

    def load(self, root: Path, image: str) -> None:
        """Makes an image of a tar file that holds a root file system."""
        ask(self.client("import", str(root), image), timeout=_PULL_SECONDS)

    def try_run(self, image: str) -> None:
        """Runs ``true`` in the image, as root, to see that containers run at all."""
        ask(self.client("run", "--rm", image, "true"), timeout=_PULL_SECONDS)

    def build(
        self, context: Path, dockerfile: str, arguments: Mapping[str, str],
        *, target: str | None, out: Path | None, log: Log,
    ) -> None:  # fmt: skip
        """Builds one target of a Dockerfile.

        Args:
            target: the stage; None: the last one.
            out: the directory that gets the files of the image; None: nobody wants them.
        """
        with tempfile.TemporaryDirectory(prefix="hiwire-") as scratch:
            image_id = Path(scratch, "image")
            words = ["-f", str(context / dockerfile), "--iidfile", str(image_id), *self._build_options(out)]
            for key, value in arguments.items():
                words += ["--build-arg", f"{key}={value}"]
            if target is not None:
                words += ["--target", target]
            run(self.client("build", *words, str(context)), log=log, what=f"the build with {self.name}")
            if out is not None:
                self._copy_out(image_id.read_text().strip(), out, log)

    def _build_options(self, out: Path | None) -> list[str]:
        return []

    def _copy_out(self, image: str, out: Path, log: Log) -> None:
        # The image has no program; `create` wants the name of one all the same.
        with self._container("create", image, "none") as container:
            command = self.client("cp", f"{container}:/.", str(out))
            run(command, log=log, what="copying out of the container")
        # What docker puts into every container besides the files of the image.
        (out / ".dockerenv").unlink(missing_ok=True)
        for mount_point in ("dev", "etc", "proc", "sys"):
            shutil.rmtree(out / mount_point, ignore_errors=True)

    @contextmanager
    def _container(self, *words: str) -> Iterator[str]:
        """A container that the words make, and its removal."""
        container = ask(self.client(*words)).strip()
        try:
            yield container
        finally:
            ask(self.client("rm", container))


class Buildah(Engine):
    """buildah, which needs no running engine, and with chroot isolation as root no user namespaces either.

    Its images live in the cache directory, apart from the user's own.
    """

    inspecting = ("inspect", "--type", "image")

    def __init__(self) -> None:
        super().__init__("buildah")
        self._driver = "overlay"

    def client(self, *words: str) -> list[str]:
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
        for self._driver in _DRIVERS:
            try:
                with self._container("from", "scratch") as container:
                    ask(self.client("mount" if os.getuid() == 0 else "inspect", container))
                return
            except Unusable as error:
                reasons.append(str(error))
        raise Unusable("; ".join(reasons))

    def load(self, root: Path, image: str) -> None:
        with self._container("from", "scratch") as container:
            ask(self.client("add", "--quiet", container, str(root), "/"), timeout=_PULL_SECONDS)
            ask(self.client("commit", "--quiet", container, image), timeout=_PULL_SECONDS)

    def try_run(self, image: str) -> None:
        with self._container("from", "--pull-never", image) as container:
            ask(self.client("run", *_ISOLATION, container, "--", "true"))

    def _build_options(self, out: Path | None) -> list[str]:
        # Each layer kept makes the next build quicker; but vfs would keep a gigabyte for each.
        layers = "--layers" if self._driver == "overlay" else "--layers=false"
        return [*_ISOLATION, "--force-rm", layers, *([] if out is None else ["--output", str(out)])]

    def _copy_out(self, image: str, out: Path, log: Log) -> None:
        """Nothing: ``--output`` has done it."""


def engine(name: str) -> Engine:
    """The engine of that name, one of ``ENGINES``."""
    return Buildah() if name == "buildah" else Engine(name)
