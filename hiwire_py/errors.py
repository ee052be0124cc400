"""Every exception hiwire_py raises on its own account.

One base class, so that one ``except`` clause catches them all; where Python has a builtin with the same
meaning the class inherits it too, so that code which does not know hiwire_py still does the right thing with
it.
"""

from __future__ import annotations

__all__ = [
    "ClosedError",
    "ComponentError",
    "DeadlineError",
    "EngineUnavailableError",
    "ForgedRefError",
    "FuelError",
    "GuestExit",
    "GuestLimitError",
    "GuestTrap",
    "HiwireError",
    "MemoryLimitError",
    "NullRefError",
    "ResourceMovedError",
    "StaleRefError",
    "TableFullError",
    "TableLimitError",
    "ToolchainError",
    "UnsupportedModuleError",
    "WrongThreadError",
]


class HiwireError(Exception):
    """The base of all exceptions of this package."""


class RefError(HiwireError, LookupError):
    """A handle that names no object; the base of the three reasons why. ``ref`` is the handle, an int."""

    def __init__(self, message: str, ref: int = 0) -> None:
        super().__init__(message)
        self.ref = ref


class StaleRefError(RefError):
    """The handle was released: its slot is free, or holds another object by now."""


class ForgedRefError(RefError):
    """The number was never given out as a handle by this table (or an id was never given to this guest)."""


class NullRefError(RefError):
    """``NULL``, the handle 0, was used where an object is needed."""


class TableFullError(HiwireError, MemoryError):
    """The table has no free slot and cannot grow: all slots are in use, or the memory limit is reached."""


class GuestTrap(HiwireError, RuntimeError):
    """The guest stopped at a WebAssembly trap. ``kind`` is its short name in the words of the
    specification."""

    def __init__(self, message: str, kind: str = "trap") -> None:
        super().__init__(message)
        self.kind = kind


class GuestExit(HiwireError):
    """A program in WebAssembly has exited, as `SystemExit` says of one in Python. It leaves the call that it
    ran in, and cannot be called again. ``code`` is the exit status, 0 where all went well."""

    def __init__(self, code: int = 0) -> None:
        super().__init__(f"the program exited with status {code}")
        self.code = code


class GuestLimitError(HiwireError):
    """A guest reached a limit that was set for it; the base of the four kinds. Host and other guests are not
    affected."""


class MemoryLimitError(GuestLimitError, MemoryError):
    """A memory would be larger than ``memory_limit``: at the start, or when Python grows it. Nothing has
    changed."""


class TableLimitError(GuestLimitError, MemoryError):
    """A table would be larger than ``table_limit``: at the start, or when Python grows it. Nothing has
    changed."""


class DeadlineError(GuestLimitError, TimeoutError):
    """A call took longer than ``deadline``, and was stopped."""


class FuelError(GuestLimitError, RuntimeError):
    """A call burnt all its ``fuel``, and was stopped."""


class EngineUnavailableError(HiwireError, ImportError):
    """The engine asked for cannot be used here; the message says why and how to get it."""


class WrongThreadError(HiwireError, RuntimeError):
    """A table or guest was used by a thread other than the one that made it."""


class ClosedError(HiwireError, ValueError):
    """A table or guest was used after ``close()``."""


class UnsupportedModuleError(HiwireError, ValueError):
    """The bytes are no WebAssembly module that can run here: malformed, invalid, or with features not
    handled."""


class ComponentError(HiwireError):
    """A component's function returned an error: the other side of its ``result``. A host function raises it
    for the same. ``payload`` is the error's value, None where it has none."""

    def __init__(self, payload: object = None) -> None:
        super().__init__("" if payload is None else f"{payload}")
        self.payload = payload


class ResourceMovedError(HiwireError, ValueError):
    """A component's resource was used after it was given away or closed, or, where it was lent for a call,
    after that."""


class ToolchainError(HiwireError, RuntimeError):
    """No toolchain can build what was asked, or the one taken failed; the message names the ways to get
    one."""
