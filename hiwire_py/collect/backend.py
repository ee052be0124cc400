"""How wrappers come to hold, for Python's collector, what their structs refer to.

There are two ways. `traverse`: its types are compiled at install, and show the collector the references in
the guest's memory. `transfer`, for machines where no C compiler was at install, and for Pythons without the
interface of CPython's collector: the table gives the objects to the wrappers meanwhile. HIWIRE_COLLECTOR in
the environment chooses, for tests.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["BACKEND", "WHY_NOT_TYPES", "Registry", "WrapperBase", "new_edges"]

_VARIABLE = "HIWIRE_COLLECTOR"

BACKEND = "types"
"""``"types"`` (`traverse`) or ``"python"`` (`transfer`)."""
WHY_NOT_TYPES = ""
"""Why it is not ``"types"``."""

Registry: Any
WrapperBase: Any
new_edges: Any
"""Of a number that stands for no reference: what the wrappers of some registries refer to, for one
collection.

add(registry, address, size): find what its wrappers refer to, in a memory.
show(objects, tombstones, slots): have the wrappers hold what is theirs alone, until `end`: the objects of the
    dict ``objects`` whose every count was found, by the `Slots` of a refcount source. Keys of objects that
    die with their wrappers go from there into the dict ``tombstones``. Returns the layouts that the memory
    did not agree with.
end(): the wrappers that are alive give everything back. It can be called again, and nothing is shown by who
    calls `show` after it.
"""

_wanted = os.environ.get(_VARIABLE, "")
if _wanted not in ("", "types", "python"):
    raise ImportError(
        f"{_VARIABLE} is {_wanted!r}; it can be types or python, or not set for the best there is"
    )
try:
    if _wanted == "python":
        raise ImportError(f"{_VARIABLE}=python says so")
    from .traverse import Registry, WrapperBase, new_edges
except ImportError as error:
    if _wanted == "types":
        raise
    BACKEND, WHY_NOT_TYPES = "python", str(error)
    from .transfer import Registry, WrapperBase, new_edges
