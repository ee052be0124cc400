"""The three host functions of a module built with HIWIRE_EXTERN_DEDUPLICATE, for three notions of sameness.

The module asks the host whether an object has a handle already (``get``), tells it when an object gets one
(``set``), and has it forget the handle right before the last release (``delete``). The functions are plain
Python and know nothing of an engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

from .checks import check_callable

__all__ = ["Identity", "deduplicate_functions"]

Identity = Union[str, Callable[[Any], Any]]
"""``"identity"``, ``"equality"``, or a function from an object to its key."""


def deduplicate_functions(identity: Identity = "identity") -> dict[str, Callable[..., Any]]:
    """Host functions ``hiwire_deduplicate_get``, ``_set`` and ``_delete`` that share a new, empty map.

    Args:
        identity: when two objects are the same and get the same handle.

            * ``"identity"``: when ``a is b``. The map holds the object, so its address cannot be reused
              meanwhile.
            * ``"equality"``: when ``a == b`` and their hashes are equal, as in a dict: 1, 1.0 and True are
              the same. The handle stands for the object that came first. An unhashable object raises
              TypeError.
            * A function: when their keys, ``identity(a)`` and ``identity(b)``, are equal in that sense. It
              must give an object the same key as long as the object has a handle.

    Returns:
        Name -> function, to be given as imports of the module ``env``. Handles are the integers that hiwire
        passes.

    Raises:
        ValueError: ``identity`` is a string of another kind.
        TypeError: ``identity`` is neither a string nor a function of one argument.
    """
    if isinstance(identity, str) and identity == "identity":
        return _by_key(id, held=True)
    if isinstance(identity, str) and identity == "equality":
        return _by_key(lambda value: value)
    if callable(identity):
        check_callable(identity, "identity", 1)
        return _by_key(identity)
    if isinstance(identity, str):
        raise ValueError(f'identity must be "identity", "equality" or a function, not {identity!r}')
    raise TypeError(f'identity must be "identity", "equality" or a function, not {type(identity).__name__}')


def _by_key(key: Callable[[Any], Any], held: bool = False) -> dict[str, Callable[..., Any]]:
    known: dict[Any, tuple[int, Any]] = {}
    unknown = 0, None

    def get(value: Any) -> int:
        return known.get(key(value), unknown)[0]

    def set_(value: Any, ref: int) -> None:
        known[key(value)] = ref, value if held else None

    def delete(value: Any) -> None:
        known.pop(key(value), None)

    return {
        "hiwire_deduplicate_get": get,
        "hiwire_deduplicate_set": set_,
        "hiwire_deduplicate_delete": delete,
    }
