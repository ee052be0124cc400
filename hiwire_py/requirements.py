"""What engines and passes agree on: what a module must be like before it is compiled, and what comes of that.

An engine declares its `Requirements`, passes/runner.py fulfils them, and the engine compiles the `Code`.
Neither knows the other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["ACCESSED", "Accessor", "Code", "Requirements", "State"]


class Requirements(NamedTuple):
    """What an engine requires of the modules that it compiles, besides that they have no externrefs to pass.

    Attributes:
        no_externref_tables: there are no tables of externrefs, not even within the module.
        validates: the engine checks `Code.source` itself, so it need not be asked before passes that could
            make an invalid module valid.
        largest_table: the most elements that a table may grow to.
        separate_start: what a module does at its start is an export, which the engine calls, where it could
            put functions into tables of others.
        plain_names: imports and exports are numbered, and there are no custom sections.
        short_constants: constant expressions have one instruction.
        one_memory: there is one memory a module at most; see `Accessor`.
    """

    no_externref_tables: bool = False
    validates: bool = False
    largest_table: int | None = None
    separate_start: bool = False
    plain_names: bool = False
    short_constants: bool = False
    one_memory: bool = False


class State(NamedTuple):
    """Where an instance keeps everything that can change: names of exports, most of them added for that.

    Attributes:
        why_fixed: why that is not everything, or "".
        memories, numbers: memories, and mutable globals, none of which holds a reference.
        functions: tables of functions. They stay as the module fills them; else an instance cannot be moved.
    """

    why_fixed: str
    memories: list[str]
    numbers: list[str]
    functions: list[str]


ACCESSED: Final = "memory"
"""What an accessor exports its memory as."""


class Accessor(NamedTuple):
    """A module that has one of a module's memories, which that module reaches by calls of its functions.

    It is instantiated before, and lives as long. It imports at most its memory, by the name that the memory
    has among the imports of the original.

    Attributes:
        wasm: the module.
        name: what its exports are imported from. They all are, but for the memory.
        exports: by which names the original exports the memory.
    """

    wasm: bytes
    name: str
    exports: tuple[str, ...]


class Code(NamedTuple):
    """A module as an engine compiles it.

    Attributes:
        source: the module as it was given.
        named: the module after all passes but that of plain names: its imports and exports go by these names.
        wasm: the module to compile; the same object as ``named`` where names stay.
        start: the name of the export that must be called once, before any other; None if there is none.
        state: of a module whose instances the engine may have to move to another store; else None.
        accessors: of its memories but the first, where it may have one only.
    """

    source: bytes
    named: bytes
    wasm: bytes
    start: str | None = None
    state: State | None = None
    accessors: tuple[Accessor, ...] = ()
