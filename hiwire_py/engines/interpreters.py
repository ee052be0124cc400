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
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p)  # functions of our own: others may use those of pythonapi
    here, main = (prototype((f"PyInterpreterState_{name}", ctypes.pythonapi)) for name in ("Get", "Main"))
    if here() != main():
        raise ImportError(
            "hiwire_py cannot be imported in a subinterpreter, since engines call back into the main"
            " interpreter only: import it in that one (for mod_wsgi: WSGIApplicationGroup %{GLOBAL}),"
            " or start another process"
        )
