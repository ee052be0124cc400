"""Where this package can be imported: in the main interpreter of a process, and in no subinterpreter.

wasmer and cffi, by which the other engines are called, come into Python by ``PyGILState_Ensure``. That
enters the main interpreter, whichever one the caller was in: in a subinterpreter wasmer waits for ever then,
and host functions would run among another interpreter's modules. The types in C exist once in a process.
"""

from __future__ import annotations

import ctypes

__all__ = ["require_main"]


def require_main() -> None:
    """Raise ImportError in a subinterpreter."""
    python = ctypes.pythonapi
    for function in (python.PyInterpreterState_Get, python.PyInterpreterState_Main):
        function.restype = ctypes.c_void_p
    if python.PyInterpreterState_Get() != python.PyInterpreterState_Main():
        raise ImportError(
            "hiwire_py cannot be imported in a subinterpreter, since engines call back into the main"
            " interpreter only: import it in that one (for mod_wsgi: WSGIApplicationGroup %{GLOBAL}),"
            " or start another process"
        )
