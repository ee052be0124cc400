"""What objects have in common that stand for something in an engine: no copies, and an end."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Closing", "Unique"]

_Self = TypeVar("_Self", bound="Closing")


class Unique:
    """Base of classes whose objects stand for something in the engine: they cannot be copied or pickled."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> Any:
        name = type(self).__name__
        raise TypeError(
            f"a {name} cannot be copied or pickled: what it stands for lives in the engine, in this process;"
            " share this one, or make another one from the module"
        )


class Closing(Unique, abc.ABC):
    """Base of classes with a method ``close``, which the end of a ``with`` block calls."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give everything back. Idempotent."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
