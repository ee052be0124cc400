"""Where a report goes. All is checked before the first measurement, since minutes are lost after the last."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HiwireError
from ..runner import ArgumentError
from .plots import draw, need_matplotlib
from .report import as_json, markdown, write_text

__all__ = ["Outputs"]


@dataclass(frozen=True)
class Outputs:
    """The files asked for; None: not asked for. ``plots`` is a folder."""

    json: Path | None = None
    markdown: Path | None = None
    plots: Path | None = None

    def check(self) -> None:
        """Make the folder for the pictures, and see that everything can be written.

        Raises:
            ArgumentError: a folder is missing or cannot be written to, or pictures cannot be made here.
        """
        if self.plots is not None:
            try:
                need_matplotlib()
                self.plots.mkdir(parents=True, exist_ok=True)
            except (HiwireError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                raise ArgumentError(f"{self.plots}: {reason or error}") from None
            _check_folder(self.plots)
        for path in (self.json, self.markdown):
            if path is not None:
                if path.is_dir():
                    raise ArgumentError(f"{path}: a file is wanted, and this is a directory")
                _check_folder(path.parent)

    def write(self, report: dict[str, Any]) -> list[Path]:
        """Write them all.

        Returns:
            The files.

        Raises:
            OSError: one cannot be written after all.
        """
        pictures: dict[str, str] = {}
        written: list[Path] = []
        if self.json is not None:
            write_text(self.json, as_json(report))
            written.append(self.json)
        if self.plots is not None:
            pictures = draw(report, self.plots)
            written += [self.plots / name for name in pictures.values()]
        if self.markdown is not None:
            base = self.markdown.resolve().parent
            links = {
                text: Path(os.path.relpath((self.plots or base).resolve() / name, base)).as_posix()
                for text, name in pictures.items()
            }
            write_text(self.markdown, markdown(report, links))
            written.append(self.markdown)
        return written


def _check_folder(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArgumentError(f"{folder}: no file can be written there: {error.strerror}") from None
