"""How long what stands behind an instance must stay: as long as its functions can be called.

Other instances call them, through what they import and through tables. Engines do not see to it that the
instance stays: the references in a table keep nothing alive. So instances that can have functions of each
other in their tables share one `Lifetime`, which ends with the last of them. Any other instance has its own,
and keeps the lifetimes of those it imports from. Which instances those are is told from types:
passes/escapes.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..passes.escapes import carries_functions, passes_functions_on, takes_functions
from ..wasm.module import Module
from ..wasm.types import ExternType

__all__ = ["Lifetime", "link"]


class Lifetime:
    """What must stay as long as any of some instances. It does not refer to those: they die by their counts,
    and what it holds goes with the last of them."""

    __slots__ = ("_held", "_joined", "_used")

    def __init__(self) -> None:
        self._held: list[object] = []
        self._used: set[Lifetime] = set()  # of instances that these import from
        # Once this has become a part of another one: that one, which then has all that was held here.
        self._joined: Lifetime | None = None

    def hold(self, thing: object) -> None:
        """Keep ``thing`` until the end."""
        self._whole()._held.append(thing)

    def join(self, other: Lifetime) -> None:
        """Both become one: neither ends before the other."""
        large, small = self._whole(), other._whole()
        if large is small:
            return
        if len(large._held) < len(small._held):
            large, small = small, large
        # A signal handler may raise between any two of these statements: then more is held than need be.
        large._held += small._held
        large._used |= small._used
        small._joined = large
        small._held, small._used = [], set()
        large._used -= {large, small}

    def use(self, other: Lifetime) -> None:
        """The other does not end before this."""
        if not self.is_part_of(other):
            self._whole()._used.add(other._whole())

    def _whole(self) -> Lifetime:
        # The one that holds less has always joined the one that holds more, so this takes few steps.
        whole = self
        while whole._joined is not None:
            whole = whole._joined
        return whole

    def is_part_of(self, other: Lifetime) -> bool:
        """Whether they have become one."""
        return self._whole() is other._whole()


def link(lifetime: Lifetime, module: Module, imports: Sequence[tuple[ExternType, Lifetime]]) -> None:
    """Make the lifetimes right for a new instance of ``module``, before any of its code runs.

    Args:
        lifetime: that of the instance.
        imports: the types of what it imports from other instances, and their lifetimes.
    """
    sources = [other for type_, other in imports if carries_functions(type_)]
    # An instance that only calls what it finds in the table of one other need not stay as long as that: many
    # such instances may come and go. But it can carry functions from one of several to another.
    several = any(not other.is_part_of(sources[0]) for other in sources)
    if several or (sources and passes_functions_on(module)):
        for type_, other in imports:
            if takes_functions(type_):
                other.join(lifetime)
    for _, other in imports:
        lifetime.use(other)
