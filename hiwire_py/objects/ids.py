"""Ids: what guests hold in place of Python objects, since when, and how long.

An id is a 32-bit integer (c/externref/ids.h), given to an object when Python passes it to a guest, and good
until it is released. It is *in flight* until the outermost call from Python returns: that call is its handle
scope. By then a table slot or a global holds it, or it is released. Ids whose last slot was cleared are
*zombies*: they wait in a list, the zero-count table of deferred reference counting, and are released at the
same moment. So an object dies right after the call in which its last reference went, whatever Python's or
the engine's collector does. A call may take long; so once many ids wait, host functions release those that
no slot, no global and no frame of a running function holds (`Ids.sweep`).

The bookkeeping is written twice. The C code (ids.c and the files that it names) does each step in one call,
into which no signal handler comes; it is built when the package is installed. `python_ids` does the same on
machines that had no C compiler then. The environment variable HIWIRE_IDS chooses: ``compiled`` or ``python``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ..compiled_types import load_types, load_unless_python
from ..values import NULL
from .python_ids import Ids

__all__ = ["WHY_NOT_COMPILED", "Ids", "new_ids"]


def _compiled() -> type[Ids]:
    from ._ids import lib  # type: ignore[import-not-found]  # made at install, perhaps

    found: type[Ids] = load_types(lib.hw_ids_into)["Ids"]
    return found


_found, WHY_NOT_COMPILED = load_unless_python("HIWIRE_IDS", "compiled", _compiled)
"""Why the bookkeeping is in Python; "" where it is in C."""
_class = _found or Ids


def new_ids(
    base: int, state: int, reserve: Callable[[int], object], settle: Callable[[], bool], patience: int
) -> Ids:
    """The ids of one space.

    Args:
        base: the address of the runtime's memory, which grows but never moves.
        state: where in it the runtime's state is.
        reserve: has the runtime make room for so many records; a failure is raised.
        settle: called at the end of the outermost call where `Ids.request` was; true says that the space is
            closed, and all its objects are dropped.
        patience: how many objects may wait in a long call before they are looked at.
    """
    return _class(base, state, reserve, settle, patience, NULL, random.getrandbits(64))
