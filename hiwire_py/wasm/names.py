"""The ``name`` section: names for debuggers, by indexes (core specification, appendix "Custom Sections")."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .binary import Reader, leb, name, sized, vector

__all__ = ["renumbered_names"]

_FUNCTIONS, _LOCALS, _LABELS = 1, 2, 3
_LETTERS = {1: "F", 2: "F", 3: "F", 4: "T", 5: "t", 6: "M", 7: "G", 8: "E", 9: "D", 10: "T", 11: "X"}


def renumbered_names(
    r: Reader, renumber: Mapping[str, Callable[[int], int | None]], functions: Mapping[int, str]
) -> bytes:
    """The section's contents, behind its title, with other indexes.

    Args:
        r: at the contents.
        renumber: by the letters of wasm/instructions.py what becomes of an index; None for what is gone.
        functions: names of functions that were added.

    Raises:
        UnsupportedModuleError: the section is malformed.
    """
    out = []
    while r.pos < r.end:
        kind, size = r.byte(), r.u32()
        start = r.pos
        r.take(size)
        letter = _LETTERS.get(kind, "")
        if letter not in renumber:
            body = r.data[start : r.pos]
        else:
            found = _read(r.at(start, r.pos), renumber[letter], kind in (_LOCALS, _LABELS, 10))
            if kind == _FUNCTIONS:
                found.update((index, name(added)) for index, added in functions.items())
            body = vector(leb(index) + found[index] for index in sorted(found))
        out.append(bytes((kind,)) + sized(body))
    return b"".join(out)


def _read(r: Reader, index: Callable[[int], int | None], nested: bool) -> dict[int, bytes]:
    """New index -> the bytes of a name, or of a map of names."""
    found = {}
    for _ in r.count():
        new = index(r.u32())
        start = r.pos
        if nested:
            for _ in r.count():
                r.u32()
                r.take(r.u32())
        else:
            r.name()
        if new is not None:
            found[new] = r.data[start : r.pos]
    return found
