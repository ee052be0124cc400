"""The operating system's threads, also where a library has replaced what `threading` offers.

gevent and similar libraries put greenlets in the place of threads: their ``get_ident`` tells greenlets apart,
and their ``local`` has a value for each greenlet. But engines and guests belong to a thread, whose stack all
of its greenlets share. So the functions here come from fresh copies of the builtin modules, which no library
has changed.
"""

from __future__ import annotations

from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = ["allocate_lock", "get_ident", "local", "sleep", "start_new_thread"]


def _fresh(name: str) -> ModuleType:
    """Another copy of a builtin module."""
    spec = BuiltinImporter.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"this Python has no builtin module {name}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from _thread import allocate_lock, get_ident, start_new_thread
    from threading import local
    from time import sleep
else:
    _thread = _fresh("_thread")
    get_ident, start_new_thread, allocate_lock = (
        _thread.get_ident,
        _thread.start_new_thread,
        _thread.allocate_lock,
    )
    local = _thread._local
    sleep = _fresh("time").sleep
