"""Changing what a function has bound: for functions that people hold, when what stands behind them moves."""

from __future__ import annotations

from collections.abc import Callable
from types import CellType
from typing import Any

__all__ = ["cells_of", "set_cells"]


def cells_of(function: Callable[..., Any], *names: str) -> dict[str, CellType]:
    """The variables that a function has from around it, of these names, for `set_cells`."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or cells is None:
        return {}
    return {name: cell for name, cell in zip(code.co_freevars, cells) if name in names}


def set_cells(cells: dict[str, CellType], **values: Any) -> None:
    """Give those variables other values, for all functions that share them."""
    for name, cell in cells.items():
        cell.cell_contents = values[name]
