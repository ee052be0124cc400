"""New modules, put together from imports, globals and functions: for what is generated."""

from __future__ import annotations

from collections.abc import Sequence

from .binary import leb, name, section, sized, vector
from .emit import i32_const, i64_const
from .module import FUNCTION, GLOBAL, MEMORY, Kind
from .types import I32, FuncType, Limits, function_type, limits_bytes
from .write import export_bytes

__all__ = ["ModuleBuilder"]

ANY_SIZE = Limits(0, None)
"""Of a memory that is imported, whatever its size."""

_END = b"\x0b"


class ModuleBuilder:
    """A module that grows. Each thing is known by its index, which adding it gives.

    Imports take the first indexes of their kind, so all functions, memories and globals that are imported
    come before the first one that is not.
    """

    def __init__(self) -> None:
        self._types: dict[FuncType, int] = {}
        self._imports: list[bytes] = []
        self._functions: list[int] = []
        self._bodies: list[bytes] = []
        self._memories: list[bytes] = []
        self._globals: list[bytes] = []
        self._exports: list[bytes] = []
        self._data: list[bytes] = []
        self._counts = {FUNCTION: 0, MEMORY: 0, GLOBAL: 0}

    def import_function(self, module: str, field: str, type_: FuncType) -> int:
        return self._import(module, field, FUNCTION, leb(self._type(type_)), bool(self._functions))

    def import_memory(self, module: str, field: str, limits: Limits = ANY_SIZE) -> int:
        return self._import(module, field, MEMORY, limits_bytes(limits), bool(self._memories))

    def import_global(self, module: str, field: str, mutable: bool, code: int = I32) -> int:
        return self._import(module, field, GLOBAL, bytes((code, mutable)), bool(self._globals))

    def add_function(
        self, type_: FuncType, locals_: Sequence[int], body: bytes, export: str | None = None
    ) -> int:
        """``locals_`` are the codes of their types, behind the parameters; ``body`` has no ``end``."""
        self._functions.append(self._type(type_))
        whole = vector(b"\1" + bytes((code,)) for code in locals_) + body + _END
        self._bodies.append(sized(whole))
        return self._add(FUNCTION, export)

    def add_memory(self, limits: Limits, export: str | None = None) -> int:
        self._memories.append(limits_bytes(limits))
        return self._add(MEMORY, export)

    def add_global(self, value: int, export: str | None = None, code: int = I32) -> int:
        """A mutable i32 or i64."""
        constant = i32_const(value) if code == I32 else i64_const(value)
        self._globals.append(bytes((code, 1)) + constant + _END)
        return self._add(GLOBAL, export)

    def add_data(self, content: bytes) -> int:
        """A passive segment of data."""
        self._data.append(b"\1" + sized(content))
        return len(self._data) - 1

    def export(self, field: str, kind: int, index: int) -> None:
        self._exports.append(export_bytes(field, kind, index))

    def written(self) -> bytes:
        """The module's bytes."""
        types = [
            function_type([bytes((c,)) for c in t.params], [bytes((c,)) for c in t.results])
            for t in self._types
        ]
        parts = (
            (Kind.TYPES, types),
            (Kind.IMPORTS, self._imports),
            (Kind.FUNCTIONS, [leb(index) for index in self._functions]),
            (Kind.MEMORIES, self._memories),
            (Kind.GLOBALS, self._globals),
            (Kind.EXPORTS, self._exports),
            (Kind.DATA_COUNT, self._data),
            (Kind.CODE, self._bodies),
            (Kind.DATA, self._data),
        )
        return b"\0asm\1\0\0\0" + b"".join(
            section(kind, leb(len(items)) if kind == Kind.DATA_COUNT else vector(items))
            for kind, items in parts
            if items
        )

    def _type(self, type_: FuncType) -> int:
        return self._types.setdefault(type_, len(self._types))

    def _import(self, module: str, field: str, kind: int, described: bytes, late: bool) -> int:
        assert not late, "imports come before what a module has itself"
        self._imports.append(name(module) + name(field) + bytes((kind,)) + described)
        self._counts[kind] += 1
        return self._counts[kind] - 1

    def _add(self, kind: int, export: str | None) -> int:
        index = self._counts[kind]
        self._counts[kind] += 1
        if export is not None:
            self.export(export, kind, index)
        return index
