"""Checks that a module exports and imports by certain names what it must, of the right kind and type.

A name says nothing about what is behind it. If a module exported a global as ``memory``, and that were taken
for its memory, the host would write where the global says; a function of another type would be called with
arguments that it does not expect. So whoever looks up exports by names that mean something to this package,
or provides imports by such names, first has them checked here, before any code of the module runs. The errors
are worded the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

from .errors import UnsupportedModuleError
from .values import EXTERNREF, I32, FuncType, type_name
from .wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, Global, Limits, Module, TableType

__all__ = ["A_GLOBAL", "A_MEMORY", "INITIALIZE", "Required", "check_exports", "check_imports", "function"]

Required = Union[FuncType, Global, Limits]
"""What must be there: a function or a global of a type, or a memory of any size."""

A_MEMORY = Limits(0, None)
A_GLOBAL = Global(I32, False)
"""A global of the type i32; whether it can be set does not matter."""

_CODES = {"i": I32, "e": EXTERNREF}


def function(params: str = "", results: str = "") -> FuncType:
    """A function's type: "i" stands for i32, and "e" for externref."""
    params_, results_ = (bytes(_CODES[letter] for letter in side) for side in (params, results))
    return FuncType(params_, results_)


INITIALIZE: Mapping[str, Required] = {"_initialize": function()}
"""What a reactor exports (WASI application ABI): it runs once, when the module was instantiated."""


def check_exports(
    what: str,
    claim: str,
    module: Module,
    required: Mapping[str, Required],
    optional: Mapping[str, Required] | None = None,
    remedy: str = "",
) -> None:
    """Check that a module has certain exports.

    Args:
        what: names the module.
        claim: what it must be, as in "a hiwire module".
        module: the module, not lowered.
        required: name -> what the export must be.
        optional: the same for exports that need not be there.
        remedy: what helps, for the end of the message.

    Raises:
        UnsupportedModuleError: one is missing, or is of another kind or type.
    """
    exports = {export.name: (export.kind, export.index) for export in module.exports}
    missing = [name for name in required if name not in exports]
    wrong = [f"it does not export {', '.join(missing)}"] if missing else []
    for name, wanted in {**required, **(optional or {})}.items():
        if name in exports:
            kind, index = exports[name]
            have = module.type_of(kind, index)
            if not _fits(kind, have, wanted):
                wrong.append(
                    f"it exports {name!r} as a {_describe(kind, have)}, not as a {_describe(MEMORY, wanted)}"
                )
    _refuse(what, claim, wrong, remedy)


def check_imports(
    what: str, claim: str, module: Module, given: Mapping[str, Required], remedy: str = ""
) -> None:
    """Check that what a module imports by certain names is of the kinds and types that it will be given.

    Raises:
        UnsupportedModuleError: one is of another kind or type.
    """
    wrong = [
        f"it imports {wanted} as a {_describe(wanted.kind, wanted.type)},"
        f" not as a {_describe(MEMORY, given[wanted.name])}"
        for wanted in module.imports
        if wanted.name in given and not _fits(wanted.kind, wanted.type, given[wanted.name])
    ]
    _refuse(what, claim, wrong, remedy)


def _refuse(what: str, claim: str, wrong: list[str], remedy: str) -> None:
    if wrong:
        raise UnsupportedModuleError(f"{what} is no {claim}: {'; '.join(wrong)}{remedy and '; '}{remedy}")


def _fits(kind: int, have: Any, wanted: Required) -> bool:
    if isinstance(wanted, FuncType):
        return kind == FUNCTION and have == wanted
    if isinstance(wanted, Global):
        return kind == GLOBAL and have.type == wanted.type
    return kind == MEMORY


def _describe(kind: int, type_: Any) -> str:
    if isinstance(type_, FuncType):
        return f"function of type {type_}"
    if isinstance(type_, Global):
        return f"global of type {type_name(type_.type)}"
    if isinstance(type_, TableType):
        return f"table of {type_name(type_.element)}"
    return KINDS[kind]
