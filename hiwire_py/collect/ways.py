"""Which of the two ways collections go: with types compiled at install, where they are, or in Python."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["WAY", "WHY_NOT_TYPES", "Arena", "Window", "WrapperBase"]

_VARIABLE = "HIWIRE_COLLECTOR"

WAY = "types"
"""``"types"`` or ``"python"``."""
WHY_NOT_TYPES = ""
"""Why it is not ``"types"``."""

Arena: Any
Window: Any
WrapperBase: Any

_wanted = os.environ.get(_VARIABLE, "")
if _wanted not in ("", "types", "python"):
    raise ImportError(
        f"{_VARIABLE} is {_wanted!r}; it can be types or python, or not set for the best there is"
    )
try:
    if _wanted == "python":
        raise ImportError(f"{_VARIABLE}=python says so")
    from .lending import Arena, Window, WrapperBase
except ImportError as error:
    if _wanted == "types":
        raise
    WAY, WHY_NOT_TYPES = "python", str(error)
    from .parking import Arena, Window, WrapperBase
