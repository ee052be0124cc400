"""What can be closed by ``with``."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import TypeVar

from .checks import Unique

__all__ = ["Closing"]

_Self = TypeVar("_Self", bound="Closing")


class Closing(Unique, abc.ABC):
    """Base of what has a ``close``, which is called at the end of a ``with`` block."""

    @abc.abstractmethod
    def close(self) -> None:
        """May be called again, which does nothing."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
