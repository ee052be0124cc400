"""What a table holds in place of an object that was collected, until the guest gives its handle back."""

from __future__ import annotations

from typing import Any

from ..errors import StaleRefError

__all__ = ["GONE"]


class _Gone:
    """A guest sees it only if its function that frees a struct uses the struct's handles."""

    __slots__ = ()  # not one of the objects that Python's collector looks at: lending.c counts on it

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise StaleRefError(
            "the handle's object was collected: only a struct that is being freed still has it"
        )

    def __getattr__(self, name: str) -> Any:
        self()

    def __repr__(self) -> str:
        return "<object that was collected>"


GONE = _Gone()
