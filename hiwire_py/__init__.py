"""C code compiled to WebAssembly holds Python objects through small integer handles.

The public names; see README.md for a first session.
"""

from __future__ import annotations

from .collect import GuestObject, collect, layout
from .components import Component, ComponentInstance, Err, HostResource, Ok, Some
from .deduplicate import deduplicate_functions
from .engines import EngineInfo, engines
from .errors import (
    ClosedError,
    ComponentError,
    DeadlineError,
    EngineUnavailableError,
    ForgedRefError,
    FuelError,
    GuestLimitError,
    GuestTrap,
    HiwireError,
    MemoryLimitError,
    NullRefError,
    ResourceMovedError,
    StaleRefError,
    TableFullError,
    TableLimitError,
    ToolchainError,
    UnsupportedModuleError,
    WrongThreadError,
)
from .guest import Guest
from .hiwire import Hiwire
from .passes import lower, needs_lowering
from .values import NULL

__version__ = "0.1.0"

__all__ = [
    "NULL",
    "ClosedError",
    "Component",
    "ComponentError",
    "ComponentInstance",
    "DeadlineError",
    "EngineInfo",
    "EngineUnavailableError",
    "Err",
    "ForgedRefError",
    "FuelError",
    "Guest",
    "GuestLimitError",
    "GuestObject",
    "GuestTrap",
    "Hiwire",
    "HiwireError",
    "HostResource",
    "MemoryLimitError",
    "NullRefError",
    "Ok",
    "ResourceMovedError",
    "Some",
    "StaleRefError",
    "TableFullError",
    "TableLimitError",
    "ToolchainError",
    "UnsupportedModuleError",
    "WrongThreadError",
    "collect",
    "deduplicate_functions",
    "engines",
    "layout",
    "lower",
    "needs_lowering",
]
