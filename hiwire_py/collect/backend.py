"""How wrappers come to hold, for Python's collector, what their structs refer to.

There are two ways. `traverse`: its types are compiled at install, and show the collector the references in
the guest's memory. `transfer`, for machines where no C compiler was at install, and for Pythons without the
interface of CPython's collector: the table gives the objects to the wrappers meanwhile. HIWIRE_COLLECTOR in
the environment chooses, for tests.
"""

from __future__ import annotations

from typing import Any

from ..compiled_types import load_unless_python
from . import transfer

__all__ = ["BACKEND", "WHY_NOT_TYPES", "Registry", "WrapperBase"]


def _traverse() -> Any:
    from . import traverse

    return traverse


_compiled, WHY_NOT_TYPES = load_unless_python("HIWIRE_COLLECTOR", "types", _traverse)
BACKEND = "python" if _compiled is None else "types"
"""``"types"`` (`traverse`) or ``"python"`` (`transfer`); `WHY_NOT_TYPES` says why it is not the first."""
_backend: Any = transfer if _compiled is None else _compiled

Registry: Any = _backend.Registry
WrapperBase: Any = _backend.WrapperBase
