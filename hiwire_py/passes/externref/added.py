"""What lowering adds behind the types and functions of a module: indexes are given out as they are asked
for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from ...wasm.binary import leb
from ...wasm.types import function_type

__all__ = ["AddedFunctions", "AddedTypes"]


class AddedTypes:
    """Function types: called with the spellings of parameters and results, it gives an index.

    Args:
        first: the index of the first one.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._indexes: dict[bytes, int] = {}

    def __call__(self, params: Sequence[bytes], results: Sequence[bytes]) -> int:
        return self._indexes.setdefault(function_type(params, results), self._first + len(self._indexes))

    def written(self) -> list[bytes]:
        """Entries for the type section."""
        return list(self._indexes)


class AddedFunctions:
    """Functions.

    Args:
        first: the index of the first one.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._indexes: dict[Hashable, int] = {}
        self._types: list[int] = []
        self._makers: list[Callable[[], bytes]] = []

    def index(self, key: Hashable, type_: int, make: Callable[[], bytes]) -> int:
        """The index of the function that ``key`` stands for.

        Args:
            key: the same for the same function.
            type_: the index of its type.
            make: gives its local variables and its code, when all other code is written.
        """
        found = self._indexes.get(key)
        if found is None:
            found = self._indexes[key] = self._first + len(self._types)
            self._types.append(type_)
            self._makers.append(make)
        return found

    def types(self) -> list[bytes]:
        """Entries for the function section."""
        return [leb(type_) for type_ in self._types]

    def bodies(self) -> list[bytes]:
        """Entries for the code section."""
        bodies = (make() + b"\x0b" for make in self._makers)
        return [leb(len(body)) + body for body in bodies]
