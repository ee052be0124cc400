"""Changing what a function has bound: for functions that people hold, when what stands behind them moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["set_cells"]


def set_cells(function: Callable[..., Any], /, **values: Any) -> None:
    """Give variables that a function has from around it other values, for it and all that share them."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is not None and cells is not None:
        for name, cell in zip(code.co_freevars, cells):
            if name in values:
                cell.cell_contents = values[name]
