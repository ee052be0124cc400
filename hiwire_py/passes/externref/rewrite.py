"""The lowering pass: a module that uses externref becomes one that holds 32-bit ids in its place.

The lowered module imports, after what it imported before, the functions `HELPERS` and one i32 global per
externref table or segment from the module ``externref``: see c/externref/externref.c for what stands behind
them. What the module was before is written into a custom section ``externref`` as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ...errors import UnsupportedModuleError
from ...values import EXTERNREF, V128, FuncType, type_name
from ...wasm.binary import Reader, leb, name, section, vector
from ...wasm.module import FUNCTION, GLOBAL, TABLE, Limits, Module, TableType
from .code import HELPERS, CodeRewriter, IndexMap, lower_types
from .indirect import IndirectCalls
from .names import rewrite_names
from .segments import segment_code, start_body

__all__ = ["COMPANION_MODULE", "Handle", "Lowered", "lower_module", "refuse_lowered"]

COMPANION_MODULE = "externref"

# Custom sections that speak of positions in the code section, which moves.
_POSITIONAL = (".debug_", "reloc.", "metadata.code", "sourceMappingURL", "external_debug_info")
_ORDER = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11)  # of the sections that are not custom


@dataclass(frozen=True)
class Handle:
    """An imported global that holds the companion's handle of a table.

    Attributes:
        name: the global's import name.
        limits: the table's size and maximum.
        table: the index of the table in the original module; None for a segment.
    """

    name: str
    limits: Limits
    table: int | None


@dataclass(frozen=True)
class Lowered:
    """A lowered module: its bytes, what it was, and the handles to import.

    Attributes:
        globals: index of a mutable externref global that the module defines -> the export that gives access
            to it, by which the host releases what the global holds when the instance is gone.
    """

    wasm: bytes
    module: Module
    handles: tuple[Handle, ...]
    globals: dict[int, str]


class _Lowering:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.to = IndexMap(module)
        self.handles = self._handles()
        taken = {e.name for e in module.exports}
        self.hidden_globals: dict[int, str] = {}
        for index, global_ in enumerate(module.globals):
            if global_.type == EXTERNREF and global_.mutable and index >= self.to.first_global:
                export = f"externref:g{index}"
                while export in taken:
                    export += "'"
                self.hidden_globals[index] = export
        self.added_types: dict[tuple[bytes, bytes], int] = {}
        self.indirect = IndirectCalls(module.types, module.functions, self._add_type, self.to.function)
        self.code = CodeRewriter(module, self.to, self.indirect, self._add_type)
        self.segments: list[bytes] = []  # see `segments`

    def _add_type(self, params: bytes, results: bytes) -> int:
        return self.added_types.setdefault((params, results), len(self.module.types) + len(self.added_types))

    def _handles(self) -> tuple[Handle, ...]:
        module = self.module
        found = [Handle(f"t{i}", module.tables[i].limits, i) for i in self.to.externref_tables]
        for i in self.to.externref_elements:
            size = len(module.elements[i].items)
            found.append(Handle(f"e{i}", Limits(size, size), None))
        return tuple(found)

    def check(self) -> None:
        refuse_lowered(self.module)
        for functype in self.module.types:
            if V128 in functype.params or V128 in functype.results:
                raise UnsupportedModuleError("the module uses SIMD (v128), which lowering does not handle")

    def run(self) -> Lowered:
        self.check()
        self.segments = segment_code(self.module, self.to, self._expression)
        wasm = self.module.wasm
        standard = {kind: Reader(wasm, start, end) for kind, start, end in self.module.sections if kind}
        custom = [
            self._custom(Reader(wasm, start, end)) for kind, start, end in self.module.sections if not kind
        ]
        # The rewritten code decides on types and functions, so it is written before them.
        order = dict.fromkeys((10, 2, *_ORDER))
        bodies = {kind: self._section(kind, standard.get(kind)) for kind in order}
        parts = [(kind, bodies[kind]) for kind in _ORDER] + [(0, body) for body in custom]
        parts.append((0, name(COMPANION_MODULE) + json.dumps(self.description()).encode()))
        out = wasm[:8] + b"".join(section(kind, body) for kind, body in parts if body is not None)
        return Lowered(out, self.module, self.handles, self.hidden_globals)

    def _section(self, kind: int, r: Reader | None) -> bytes | None:
        write = self._writers.get(kind)
        if write is not None:
            return write(self, r)
        return None if r is None else r.data[r.pos : r.end]

    # ---- sections; ``r`` is None where the module has none of the kind

    def _types(self, r: Reader | None) -> bytes:
        items = [_function_type(lower_types(p), lower_types(q)) for p, q in self.module.types]
        return vector(items + [_function_type(p, q) for p, q in self.added_types])

    def _imports(self, r: Reader | None) -> bytes:
        items = []
        functions = iter(self.module.functions)
        for module, field, kind, type_ in self.module.imports:
            if isinstance(type_, FuncType):
                description = leb(next(functions))
            elif isinstance(type_, TableType):
                if type_.element == EXTERNREF:
                    continue
                description = bytes((type_.element,)) + _limits(type_.limits)
            elif isinstance(type_, Limits):
                description = _limits(type_)
            else:
                description = lower_types(bytes((type_.type,))) + bytes((type_.mutable,))
            items.append(name(module) + name(field) + bytes((kind,)) + description)
        for helper, (params, results) in HELPERS.items():
            type_index = self._add_type(b"\x7f" * params, b"\x7f" * results)
            items.append(name(COMPANION_MODULE) + name(helper) + b"\0" + leb(type_index))
        for handle in self.handles:
            items.append(name(COMPANION_MODULE) + name(handle.name) + b"\3\x7f\0")
        return vector(items)

    def _functions(self, r: Reader | None) -> bytes | None:
        items = [leb(type_) for type_ in self.module.functions[self.to.first_function :]]
        items += self.indirect.thunk_types()
        if self.segments:
            items.append(leb(self._add_type(b"", b"")))
        return vector(items) if items else None

    def _tables(self, r: Reader | None) -> bytes | None:
        own = self.module.tables[self.module.count_imports(TABLE) :]
        items = [bytes((t.element,)) + _limits(t.limits) for t in own if t.element != EXTERNREF]
        return vector(items) if items else None

    def _globals(self, r: Reader | None) -> bytes | None:
        items = []
        for type_, mutable, init in self.module.globals[self.to.first_global :]:
            assert init is not None
            items.append(lower_types(bytes((type_,))) + bytes((mutable,)) + self._expression(init))
        return vector(items) if items else None

    def _exports(self, r: Reader | None) -> bytes | None:
        items = []
        for export in self.module.exports:
            field, kind, index = export.name, export.kind, export.index
            if kind == FUNCTION:
                index = self.to.function(index)
            elif kind == GLOBAL:
                index = self.to.global_(index)
            elif kind == TABLE:
                if index not in self.to.table:
                    continue
                index = self.to.table[index]
            items.append(name(field) + bytes((kind,)) + leb(index))
        for index, field in self.hidden_globals.items():
            items.append(name(field) + bytes((GLOBAL,)) + leb(self.to.global_(index)))
        return vector(items) if items else None

    def _start(self, r: Reader | None) -> bytes | None:
        if self.segments:
            return leb(self.indirect.end())
        return None if r is None else leb(self.to.function(r.u32()))

    def _elements(self, r: Reader | None) -> bytes | None:
        items = []
        for e in self.module.elements:
            if e.type == EXTERNREF:
                continue
            out = [leb(e.flags)]
            if e.offset is not None:
                if e.flags & 2:
                    out.append(leb(self.to.table[e.table]))
                out.append(self._expression(e.offset))
            if e.flags & 3:
                out.append(bytes((e.type,)) if e.flags & 4 else b"\0")
            out.append(
                vector(
                    self._expression(item) if isinstance(item, tuple) else leb(self.indirect.address(item))
                    for item in e.items
                )
            )
            items.append(b"".join(out))
        declaration = self.indirect.declaration()
        if declaration is not None:
            items.append(declaration)
        return vector(items) if items else None

    def _code(self, r: Reader | None) -> bytes | None:
        bodies = []
        if r is not None:
            own = self.module.functions[self.to.first_function :]
            count = r.u32()
            if count != len(own):
                raise UnsupportedModuleError(
                    f"the module declares {len(own)} functions and has code for {count}"
                )
            bodies = [self.code.body(r, type_) for type_ in own]
        self._globals(None)  # finds the functions whose address initial values take, as _elements does
        self._elements(None)
        bodies += self.indirect.thunk_bodies()
        if self.segments:
            self._add_type(b"", b"")  # before the types are written
            bodies.append(start_body(self.segments, self.module, self.to))
        return vector(bodies) if bodies else None

    def _data(self, r: Reader | None) -> bytes | None:
        if r is None:
            return None
        count = r.u32()
        out = [leb(count)]
        for _ in range(count):
            flags = r.u32()
            out.append(leb(flags))
            if flags == 2:
                out.append(leb(r.u32()))
            if flags != 1:
                out.append(self._expression(self.module.skip_expression(r)))
            size = r.u32()
            out += (leb(size), r.take(size))
        return b"".join(out)

    def _custom(self, r: Reader) -> bytes | None:
        start, title = r.pos, r.name()
        if title.startswith("dylink"):
            raise UnsupportedModuleError(
                "a shared library for dynamic linking, which lowering does not handle"
            )
        if title == "linking":
            raise UnsupportedModuleError("an object file, not a linked module: link it with wasm-ld first")
        if title == "name":
            try:
                return name(title) + rewrite_names(self.to, r)
            except UnsupportedModuleError:
                return None  # a malformed custom section does not make a module invalid
        if title.startswith(_POSITIONAL) or title == COMPANION_MODULE:
            return None
        return r.data[start : r.end]

    _writers = {
        1: _types,
        2: _imports,
        3: _functions,
        4: _tables,
        6: _globals,
        7: _exports,
        8: _start,
        9: _elements,
        10: _code,
        11: _data,
    }

    def _expression(self, span: tuple[int, int]) -> bytes:
        return self.code.expression(Reader(self.module.wasm, *span))

    def description(self) -> dict[str, Any]:
        """What the module was: the original types of its functions, and where its tables went."""
        module = self.module
        functions = module.exported(FUNCTION)
        return {
            "imports": [
                [i.module, i.name, _signature(i.type)]
                for i in module.imports
                if isinstance(i.type, FuncType) and i.type.has_externref
            ],
            "exports": {
                field: _signature(module.function_type(index))
                for field, index in functions.items()
                if module.function_type(index).has_externref
            },
            "tables": [
                {"handle": h.name, "min": h.limits.minimum, "max": h.limits.maximum} for h in self.handles
            ],
            "globals": [
                field for field, i in module.exported(GLOBAL).items() if module.globals[i].type == EXTERNREF
            ],
        }


def _function_type(params: bytes, results: bytes) -> bytes:
    return b"\x60" + leb(len(params)) + params + leb(len(results)) + results


def _limits(limits: Limits) -> bytes:
    if limits.maximum is None:
        return b"\0" + leb(limits.minimum)
    return b"\1" + leb(limits.minimum) + leb(limits.maximum)


def _signature(functype: FuncType) -> list[list[str]]:
    return [[type_name(code) for code in side] for side in functype]


def refuse_lowered(module: Module) -> None:
    """Raise UnsupportedModuleError if the module was lowered: its imports would give it the companion's
    insides."""
    for i in module.imports:
        if i.module == COMPANION_MODULE:
            raise UnsupportedModuleError(
                f"the module imports {i}: the module name {COMPANION_MODULE!r} is reserved for lowered"
                " modules; pass the original module, it is lowered when it is loaded"
            )


def lower_module(module: Module) -> Lowered:
    """Lower a parsed module, whether it needs it or not.

    Raises:
        UnsupportedModuleError: the module is malformed, or uses a feature that lowering does not handle.
    """
    try:
        return _Lowering(module).run()
    except (IndexError, KeyError) as e:
        # An index into a table, type or function that does not exist: only an invalid module has one.
        raise UnsupportedModuleError(
            "the module is malformed: it refers to a type, function, table, global or local that it does not"
            " have"
        ) from e
