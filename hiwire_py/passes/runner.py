"""Which passes a module goes through for an engine, in which order, and what comes of that.

A pass is a function of one file beside this one: it takes a parsed `Module`, and gives bytes. Its file says
what it requires of the module and what it leaves true. To add one: write the file, give `Requirements` a
field by which an engine asks for it, and a step here.

1. externref lowering, 2. holders, 3. table limits, 4. constants, 5. deferred start, 6. memories, 7. plain
names.

Lowering is first: it can make an invalid module valid, so the module is validated before it, and what comes
after need not know externrefs. The start is deferred where the pass of constants, before it, or that of
memories, behind it, leave something to be done there. Plain names are last: they hide what the others named.

With the environment variable ``HIWIRE_CHECK_PASSES=1`` the module is validated before the first pass and
after each one; a pass that makes an invalid module is an AssertionError.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from ..errors import UnsupportedModuleError
from ..requirements import Accessor, Code, Requirements
from ..wasm.module import Module
from .constants import fold_constants, has_long_constants
from .deferred_start import defer_start
from .escapes import takes_functions
from .externref import Lowered, lower_module, needs_lowering, refuse_lowered
from .holders import export_holders
from .memories import one_memory
from .plain_names import plain_names
from .table_limits import limit_tables

__all__ = ["Result", "run"]

Validator = Callable[[bytes], None]


class Result(NamedTuple):
    """What the passes made of a module.

    Attributes:
        code: for the engine.
        lowered: what the space has to know of a lowered module; None for one that was not.
    """

    code: Code
    lowered: Lowered | None


class _Steps:
    """A module on its way through the passes."""

    def __init__(self, module: Module, validate: Validator) -> None:
        self.module = module
        self._validate = validate
        self._checks = os.environ.get("HIWIRE_CHECK_PASSES", "") not in ("", "0")
        self._valid = False
        if self._checks:
            self.require_valid()

    def require_valid(self) -> None:
        """The next pass takes valid modules only."""
        if not self._valid:
            self._validate(self.module.wasm)
            self._valid = True

    def become(self, wasm: bytes, name: str) -> None:
        """What a pass has made takes the module's place."""
        if wasm is self.module.wasm:
            return
        if self._checks:
            try:
                self._validate(wasm)
            except UnsupportedModuleError as error:
                raise AssertionError(f"the pass {name} made an invalid module: {error}") from error
        self.module = Module.parse(wasm)


def run(module: Module, requires: Requirements, validate: Validator, lasting: bool = False) -> Result:
    """Make of a module what an engine requires.

    Args:
        module: as it was given.
        requires: what the engine declares.
        validate: raises UnsupportedModuleError for a module that is not valid. A pass that needs a valid
            module leaves a valid one.
        lasting: everything that can change in an instance must be exported, so that it can be moved.

    Raises:
        UnsupportedModuleError: the module is malformed or invalid, was lowered before, or a pass cannot
            handle it.
    """
    refuse_lowered(module)
    steps = _Steps(module, validate)
    lowered = state = start = None
    if needs_lowering(module, requires.no_externref_tables):
        if not requires.validates:
            steps.require_valid()
        try:
            lowered = lower_module(module)
        except UnsupportedModuleError:
            steps.require_valid()  # an engine's message is the better one
            raise
        steps.become(lowered.wasm, "externref")
    if lasting:
        wasm, state = export_holders(steps.module)
        steps.become(wasm, "holders")
    if requires.largest_table is not None:
        steps.become(limit_tables(steps.module, requires.largest_table), "table_limits")
    before, defers = b"", False
    if requires.short_constants and has_long_constants(steps.module):
        steps.require_valid()
        folded = fold_constants(steps.module)
        steps.become(folded.wasm, "constants")
        before, defers = folded.before, folded.late
    several = requires.one_memory and len(steps.module.memories) > 1
    defers |= several and any(segment.memory and segment.offset for segment in steps.module.data())
    defers |= requires.separate_start and any(takes_functions(i.type) for i in steps.module.imports)
    if defers or before:
        steps.require_valid()
        deferred = defer_start(steps.module, before)
        if deferred is not None:
            steps.become(deferred[0], "deferred_start")
            start = deferred[1]
    accessors: tuple[Accessor, ...] = ()
    if several:
        steps.require_valid()
        wasm, accessors = one_memory(steps.module)
        steps.become(wasm, "memories")
    named = steps.module.wasm
    if requires.plain_names:
        steps.become(plain_names(steps.module), "plain_names")
    return Result(Code(module.wasm, named, steps.module.wasm, start, state, accessors), lowered)
