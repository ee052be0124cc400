"""What lowering refuses: the ways in which externrefs meet references of the newer kinds.

References that are typed by a function's type or that the engine's own collector knows tell types apart where
lowering makes them alike, and nobody counts what is stored behind them. A module may use all of that for its
own purposes; it is refused where an externref comes in.
"""

from __future__ import annotations

from ...errors import UnsupportedModuleError
from ...wasm.binary import Reader
from ...wasm.module import Module
from ...wasm.types import EXTERNREF
from .indirect import spell_out

__all__ = ["check", "check_call_ref", "check_spelling"]

_NO_EXTERN = 0x72


def check(module: Module) -> None:
    """Raise UnsupportedModuleError where the types of a module say that lowering does not handle it."""
    for group in module.groups:
        for one in group.types:
            if not one.is_function:
                if any(field[0] == EXTERNREF for field in one.first):
                    raise UnsupportedModuleError(
                        "the module has garbage collected types that hold externrefs, which lowering does not"
                        " handle"
                    )
            elif (one.prefix or len(group.types) > 1) and spell_out(one.functype()) is not None:
                raise UnsupportedModuleError(
                    "the module has a function type with externrefs, or with a funcref as last parameter,"
                    " among types that refer to each other, which lowering does not handle"
                )
    if any(segment.type == EXTERNREF and segment.spelling != b"\x6f" for segment in module.elements):
        raise UnsupportedModuleError(
            "the module has segments of non-null externrefs, which lowering does not handle"
        )


def check_spelling(module: Module, spelling: bytes) -> None:
    """Raise UnsupportedModuleError where a value type cannot be lowered."""
    if len(spelling) == 1 and spelling[0] != _NO_EXTERN:
        return
    heap = spelling[1:] or spelling
    if heap[0] & 0xC0 != 0x40:
        check_call_ref(module, Reader(heap).signed(33))
    elif heap[0] in (EXTERNREF, _NO_EXTERN):
        raise UnsupportedModuleError(
            "the module has externrefs of a type that is never null, or always, which lowering does not"
            " handle"
        )


def check_call_ref(module: Module, type_: int) -> None:
    """Raise UnsupportedModuleError where references to functions of a type cannot be lowered."""
    if type_ < len(module.types) and spell_out(module.types[type_]) is not None:
        raise UnsupportedModuleError(
            f"the module has references to functions of the type {module.types[type_]}, which lowering does"
            " not handle: references to functions of externrefs must be funcrefs"
        )
