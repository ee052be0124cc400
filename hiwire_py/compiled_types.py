"""Python types that are written in C, from the extension modules that cffi compiles at install; and whether
they, or what does the same in Python, are used."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["load_types", "load_unless_python"]

_Loaded = TypeVar("_Loaded")


def load_unless_python(variable: str, name: str, load: Callable[[], _Loaded]) -> tuple[_Loaded | None, str]:
    """What is compiled, or None and why what does the same in Python is to be used.

    Args:
        variable: of the environment: it can be ``python``, or ``name``, for which there is then no other, or
            not set for the best there is.
        name: of what is compiled, as the variable has it.
        load: gives it, or raises ImportError.

    Raises:
        ImportError: the variable has another value, or names what cannot be loaded.
    """
    wanted = os.environ.get(variable, "")
    if wanted not in ("", name, "python"):
        raise ImportError(
            f"{variable} is {wanted!r}; it can be {name} or python, or not set for the best there is"
        )
    if wanted == "python":
        return None, f"{variable}=python says so"
    try:
        return load(), ""
    except ImportError as error:
        if wanted:
            raise
        return None, str(error)


def load_types(fill: Callable[[int], int]) -> dict[str, Any]:
    """The types, by name.

    Args:
        fill: a function of the extension module: it puts the types into the dict at an address, and returns 0
            if it cannot.

    Raises:
        ImportError: there is no memory for them.
    """
    types: dict[str, Any] = {}
    # cffi passes no Python objects, so the dict goes by its address. In CPython that is its id, and no other
    # Python has such types.
    if not fill(id(types)):
        raise ImportError("its types could not be made")
    return types
