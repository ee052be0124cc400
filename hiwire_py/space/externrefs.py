"""What the two kinds of space for engines with externrefs share: tables and globals are the engine's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..engines import Prepared, RawExtern
from ..values import EXTERNREF
from .base import Space
from .instances import Extern, Instance

__all__ = ["ExternrefSpace"]


class ExternrefSpace(Space):
    """Base of `RefSpace` and `TokenSpace`."""

    def places(self, keys: Iterable[Any]) -> list[int] | None:
        return None

    def _import_table(self, instance: Instance, extern: Extern) -> RawExtern | None:
        return extern.raw

    def _import_reference(self, instance: Instance, value: Any) -> RawExtern:
        return self.store.constant(EXTERNREF, self.hold(value))

    def _add_imports(
        self, instance: Instance, prepared: Prepared, raw: dict[tuple[str, str], RawExtern]
    ) -> None:
        return None

    def table_operations(self, extern: Extern) -> dict[str, Callable[..., Any]]:
        return self.store.table_operations(extern.raw)
