"""From the bytes of a component to its definitions. Only syntax: what they refer to is for validate.py.

What belongs to the asynchronous part of the component model, to values as definitions, and to
garbage-collected types of core modules is refused by name.

Format: component model, Binary.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import UnsupportedModuleError
from ..wasm.binary import Reader
from ..wasm.module import Module, TableType
from ..wasm.types import Global, read_global_type, read_limits, value_type
from .definitions import (
    Alias,
    Canon,
    Component,
    ComponentType,
    CoreAliasOuter,
    CoreExportDecl,
    CoreExports,
    CoreExternType,
    CoreFunc,
    CoreImportDecl,
    CoreInstantiate,
    CoreModule,
    CoreModuleType,
    CoreTag,
    CoreType,
    Declaration,
    DefinedType,
    Definition,
    Export,
    ExternName,
    ExternType,
    FuncDef,
    Handle,
    Import,
    InlineExports,
    InstanceType,
    Instantiate,
    Lift,
    LowerDef,
    OptionList,
    ResourceBuiltin,
    ResourceDef,
    Shape,
    SortIndex,
    TypeDef,
    ValueRef,
)

__all__ = ["decode", "is_component"]

_PREAMBLE = b"\0asm\x0d\0\x01\0"
_DEEPEST = 100  # components and types in each other; wasm-tools has the same bound for types
_LONGEST = 100_000  # bytes of a name; here too

_PRIMITIVES = {
    0x7F: "bool", 0x7E: "s8", 0x7D: "u8", 0x7C: "s16", 0x7B: "u16", 0x7A: "s32", 0x79: "u32", 0x78: "s64",
    0x77: "u64", 0x76: "f32", 0x75: "f64", 0x74: "char", 0x73: "string",
}  # fmt: skip
_SORTS = {1: "func", 2: "value", 3: "type", 4: "component", 5: "instance"}
_CORE_SORTS = {
    0: "core func",
    1: "core table",
    2: "core memory",
    3: "core global",
    4: "core tag",
    0x10: "core type",
    0x11: "core module",
    0x12: "core instance",
}
_ASYNC_TYPES = {0x66: "stream", 0x65: "future", 0x64: "error-context"}
_CANONS = {2: "resource.new", 3: "resource.drop", 4: "resource.rep"}
_ASYNC_CANONS = {
    0x05: "task.cancel", 0x06: "subtask.cancel", 0x08: "backpressure.set", 0x09: "task.return",
    0x0A: "context.get", 0x0B: "context.set", 0x0C: "thread.yield", 0x0D: "subtask.drop", 0x0E: "stream.new",
    0x0F: "stream.read", 0x10: "stream.write", 0x11: "stream.cancel-read", 0x12: "stream.cancel-write",
    0x13: "stream.drop-readable", 0x14: "stream.drop-writable", 0x15: "future.new", 0x16: "future.read",
    0x17: "future.write", 0x18: "future.cancel-read", 0x19: "future.cancel-write", 0x1A:
        "future.drop-readable",
    0x1B: "future.drop-writable", 0x1C: "error-context.new", 0x1D: "error-context.debug-message",
    0x1E: "error-context.drop", 0x1F: "waitable-set.new", 0x20: "waitable-set.wait", 0x21:
        "waitable-set.poll",
    0x22: "waitable-set.drop", 0x23: "waitable.join", 0x24: "backpressure.inc", 0x25: "backpressure.dec",
    0x26: "thread.index", 0x27: "thread.new-indirect", 0x28: "thread.resume-later", 0x29: "thread.suspend",
    0x2A: "thread.suspend-then-resume", 0x2B: "thread.yield-then-resume", 0x2C: "thread.suspend-then-promote",
    0x2D: "thread.yield-then-promote", 0x40: "thread.spawn-ref", 0x41: "thread.spawn-indirect",
    0x42: "thread.available-parallelism",
}  # fmt: skip
_ENCODINGS = ("utf8", "utf16", "latin1+utf16")
_ATTRIBUTES = ("implements", "versionsuffix", "external-id")

_Item = TypeVar("_Item")


def is_component(wasm: bytes) -> bool:
    """Whether bytes begin as those of a component do; a core module begins otherwise."""
    return wasm[:4] == b"\0asm" and wasm[6:8] == b"\1\0"


def decode(wasm: bytes) -> Component:
    """The definitions of a component.

    Raises:
        UnsupportedModuleError: the bytes are no component, are malformed, or use what is refused here.
    """
    if wasm[:8] != _PREAMBLE:
        if not is_component(wasm):
            what = "a core module" if wasm[:8] == b"\0asm\1\0\0\0" else "something else"
            raise UnsupportedModuleError(f"not a WebAssembly component, but {what}")
        raise UnsupportedModuleError(
            f"a component of version {wasm[4:6].hex()}: supported is {_PREAMBLE[4:6].hex()}"
        )
    try:
        return _Decoder(Reader(wasm, 8)).component(0)
    except RecursionError:
        raise UnsupportedModuleError("the component is nested too deep for the stack that is left") from None


class _Decoder:
    """Reads one component; those in it with the same reader."""

    def __init__(self, r: Reader) -> None:
        self.r = r

    # ---- pieces

    def malformed(self, what: str, at: int | None = None) -> UnsupportedModuleError:
        place = self.r.pos - 1 if at is None else at
        return UnsupportedModuleError(f"malformed component: {what} at byte {place}")

    def refused(self, what: str) -> UnsupportedModuleError:
        return UnsupportedModuleError(f"{what} is not supported (byte {self.r.pos - 1} of the component)")

    def many(self, read: Callable[[], _Item]) -> tuple[_Item, ...]:
        return tuple(read() for _ in self.r.count())

    def maybe(self, read: Callable[[], _Item]) -> _Item | None:
        there = self.r.byte()
        if there > 1:
            raise self.malformed(f"{there:#x} where 0 or 1 says whether something follows")
        return read() if there else None

    def expect(self, byte: int, what: str) -> None:
        found = self.r.byte()
        if found != byte:
            raise self.malformed(f"{what} {found:#x}")

    def name(self) -> str:
        start = self.r.pos
        found = self.r.name()
        if self.r.pos - start > _LONGEST and len(found.encode()) > _LONGEST:
            raise self.malformed(f"a name of more than {_LONGEST} bytes", start)
        return found

    def sort(self) -> str:
        code = self.r.byte()
        if not code:
            return self.core_sort()
        if code not in _SORTS:
            raise self.malformed(f"sort {code:#x}")
        if code == 2:
            raise self.refused("a value as a definition")
        return _SORTS[code]

    def core_sort(self) -> str:
        code = self.r.byte()
        if code not in _CORE_SORTS:
            raise self.malformed(f"core sort {code:#x}")
        return _CORE_SORTS[code]

    def sort_index(self) -> SortIndex:
        return SortIndex(self.sort(), self.r.u32())

    def extern_name(self) -> ExternName:
        kind = self.r.byte()
        if kind > 2:
            raise self.malformed(f"name of an import or export of kind {kind:#x}")
        name = self.name()
        return ExternName(name, self.many(self.attribute) if kind == 2 else ())

    def attribute(self) -> tuple[str, str]:
        kind = self.r.byte()
        if kind >= len(_ATTRIBUTES):
            raise self.malformed(f"attribute {kind:#x} of a name")
        return _ATTRIBUTES[kind], self.name()

    # ---- sections

    def component(self, depth: int) -> Component:
        """To the reader's end; the preamble has been read."""
        if depth > _DEEPEST:
            raise UnsupportedModuleError(f"components are nested in each other more than {_DEEPEST} deep")
        r = self.r
        found: list[tuple[int, Definition]] = []
        while r.pos < r.end:
            kind, size = r.byte(), r.u32()
            start, outer = r.pos, r.end
            r.skip(size)
            r.pos, r.end = start, start + size
            self.section(kind, found, depth)
            if r.pos != r.end:
                raise self.malformed(f"section {kind} is longer than its contents", start)
            r.end = outer
        return Component(tuple(found))

    def section(self, kind: int, found: list[tuple[int, Definition]], depth: int) -> None:
        r = self.r
        start = r.pos
        if kind == 0:
            r.name()
            r.pos = r.end
        elif kind == 1:
            found.append((start, CoreModule(Module.parse(r.take(r.end - start)), start)))
        elif kind == 4:
            if r.take(8) != _PREAMBLE:
                raise self.malformed("a component in another one does not begin as one", start)
            found.append((start, self.component(depth + 1)))
        elif kind in self._sections:
            read = self._sections[kind]
            for _ in r.count():
                at = r.pos
                found.append((at, read(self)))
        elif kind in (9, 12):
            raise self.refused("a start function of a component" if kind == 9 else "a value as a definition")
        else:
            raise self.malformed(f"section of the unknown kind {kind}", start)

    def core_instance(self) -> Definition:
        kind = self.r.byte()
        if kind == 0:
            return CoreInstantiate(self.r.u32(), self.many(self.core_argument))
        if kind == 1:
            return CoreExports(self.many(self.core_export))
        raise self.malformed(f"core instance of kind {kind:#x}")

    def core_argument(self) -> tuple[str, int]:
        name = self.name()
        self.expect(0x12, "the argument of a core instance is no instance but of sort")
        return name, self.r.u32()

    def core_export(self) -> tuple[str, SortIndex]:
        return self.name(), SortIndex(self.core_sort(), self.r.u32())

    def instance(self) -> Definition:
        kind = self.r.byte()
        if kind == 0:
            return Instantiate(self.r.u32(), self.many(lambda: (self.name(), self.sort_index())))
        if kind == 1:
            return InlineExports(self.many(lambda: (self.extern_name(), self.sort_index())))
        raise self.malformed(f"instance of kind {kind:#x}")

    def alias(self) -> Alias:
        sort, kind = self.sort(), self.r.byte()
        if kind in (0, 1):
            index = self.r.u32()
            return Alias("core export" if kind else "export", sort, index, self.name())
        if kind == 2:
            count = self.r.u32()
            return Alias("outer", sort, self.r.u32(), count=count)
        raise self.malformed(f"alias of kind {kind:#x}")

    def canon(self) -> Canon:
        code = self.r.byte()
        if code == 0:
            self.expect(0, "a lifted function is of core sort")
            return Lift(self.r.u32(), self.options(), self.r.u32())
        if code == 1:
            self.expect(0, "a lowered function is of sort")
            return LowerDef(self.r.u32(), self.options())
        if code in _CANONS:
            return ResourceBuiltin(_CANONS[code], self.r.u32())
        if code in _ASYNC_CANONS:
            raise self.refused(f"the canonical definition {_ASYNC_CANONS[code]}")
        raise self.malformed(f"canonical definition {code:#x}")

    def options(self) -> OptionList:
        found: dict[str, Any] = {}
        for _ in self.r.count():
            code = self.r.byte()
            name: str
            value: str | int
            if code < 3:
                name, value = "encoding", _ENCODINGS[code]
            elif code in (3, 4, 5):
                name, value = ("memory", "realloc", "post_return")[code - 3], self.r.u32()
            elif code in (6, 7, 8, 9):
                raise self.refused(
                    f"the canonical option {('async', 'callback', 'core-type', 'gc')[code - 6]}"
                )
            else:
                raise self.malformed(f"canonical option {code:#x}")
            if name in found:
                raise self.malformed(f"the canonical option {name.replace('_', '-')} comes twice")
            found[name] = value
        return OptionList(**found)

    def import_(self) -> Import:
        return Import(self.extern_name(), self.extern_type())

    def export(self) -> Export:
        return Export(self.extern_name(), self.sort_index(), self.maybe(self.extern_type))

    # ---- types

    def value_ref(self) -> ValueRef:
        at = self.r.pos
        if 0x40 <= self.r.peek() < 0x80:
            return self.primitive(self.r.byte(), at)
        index = self.r.signed(33)
        if index < 0:
            raise self.malformed(f"value type {index}", at)
        return index

    def primitive(self, code: int, at: int) -> str:
        if code in _ASYNC_TYPES:
            raise self.refused(f"the type {_ASYNC_TYPES[code]}")
        if code not in _PRIMITIVES:
            raise self.malformed(f"value type {code:#x}", at)
        return _PRIMITIVES[code]

    def labelled(self) -> tuple[str, ValueRef]:
        return self.name(), self.value_ref()

    def case(self) -> tuple[str, ValueRef | None]:
        found = self.name(), self.maybe(self.value_ref)
        self.expect(0, "a case refines another one:")
        return found

    def type_def(self) -> TypeDef:
        return TypeDef(self.defined_type(0))

    def defined_type(self, depth: int) -> DefinedType:
        at, code = self.r.pos, self.r.byte()
        if code in (0x72, 0x71):
            entries: tuple[tuple[str, ValueRef | None], ...]
            entries = self.many(self.labelled) if code == 0x72 else self.many(self.case)
            labels, types = tuple(e[0] for e in entries), tuple(e[1] for e in entries)
            return Shape("record" if code == 0x72 else "variant", labels, types)
        if code in (0x6E, 0x6D):
            return Shape("flags" if code == 0x6E else "enum", self.many(self.name), ())
        if code == 0x70:
            return Shape("list", (), (self.value_ref(),))
        if code == 0x67:
            return Shape("list", (), (self.value_ref(),), self.r.u32())
        if code == 0x6F:
            return Shape("tuple", (), self.many(self.value_ref))
        if code == 0x6B:
            return Shape("option", (), (self.value_ref(),))
        if code == 0x6A:
            return Shape("result", (), (self.maybe(self.value_ref), self.maybe(self.value_ref)))
        if code == 0x63:
            return Shape("map", (), (self.value_ref(), self.value_ref()))
        if code in (0x69, 0x68):
            return Handle("own" if code == 0x69 else "borrow", self.r.u32())
        if code in (0x66, 0x65):
            raise self.refused(f"the type {_ASYNC_TYPES[code]}")
        if code in (0x40, 0x43):
            return self.func_type(code == 0x43)
        if code == 0x41:
            return ComponentType(self.declarations(True, depth))
        if code == 0x42:
            return InstanceType(self.declarations(False, depth))
        if code == 0x3F:
            return ResourceDef(self.r.byte(), self.maybe(self.r.u32))
        if code == 0x3E:
            raise self.refused("a resource type with an asynchronous destructor")
        return Shape("primitive", (), (self.primitive(code, at),))

    def func_type(self, is_async: bool) -> FuncDef:
        params = self.many(self.labelled)
        kind = self.r.byte()
        if kind == 0:
            return FuncDef(params, self.value_ref(), is_async)
        if kind != 1:
            raise self.malformed(f"results of kind {kind:#x}")
        self.expect(0, "the number of named results is")
        return FuncDef(params, None, is_async)

    def declarations(self, imports: bool, depth: int) -> tuple[Declaration, ...]:
        if depth >= _DEEPEST:
            raise UnsupportedModuleError(f"types are nested in each other more than {_DEEPEST} deep")
        return self.many(lambda: self.declaration(imports, depth))

    def declaration(self, imports: bool, depth: int) -> Declaration:
        code = self.r.byte()
        if code == 0:
            return self.core_type()
        if code == 1:
            return TypeDef(self.defined_type(depth + 1))
        if code == 2:
            return self.alias()
        if code == 3 and imports:
            return self.import_()
        if code == 4:
            return Export(self.extern_name(), None, self.extern_type())
        raise self.malformed(f"declaration of kind {code:#x}")

    def extern_type(self) -> ExternType:
        code = self.r.byte()
        if code == 0:
            self.expect(0x11, "an import or export is of core sort")
            return ExternType("core module", self.r.u32())
        if code == 2:
            raise self.refused("a value as a definition")
        if code == 3:
            bound = self.r.byte()
            if bound > 1:
                raise self.malformed(f"bound {bound:#x} of a type")
            return ExternType("type", None if bound else self.r.u32())
        if code not in _SORTS:
            raise self.malformed(f"sort {code:#x} of an import or export")
        return ExternType(_SORTS[code], self.r.u32())

    # ---- types of core modules

    def core_type(self) -> CoreType:
        code = self.r.byte()
        if code == 0x60:
            return CoreType(self.core_func())
        if code == 0x50:
            return CoreType(CoreModuleType(self.many(self.module_declaration)))
        if code in (0x00, 0x4E, 0x4F, 0x5E, 0x5F):
            raise self.refused("a core type of the garbage collection proposal")
        raise self.malformed(f"core type {code:#x}")

    def core_func(self) -> CoreFunc:
        return CoreFunc(self.many(lambda: value_type(self.r)), self.many(lambda: value_type(self.r)))

    def module_declaration(self) -> CoreImportDecl | CoreExportDecl | CoreAliasOuter | CoreFunc:
        code = self.r.byte()
        if code == 0:
            return CoreImportDecl(self.name(), self.name(), self.core_extern_type())
        if code == 1:
            found = self.core_type().type
            if isinstance(found, CoreModuleType):
                raise self.malformed("a module type within a module type")
            return found
        if code == 2:
            self.expect(0x10, "a module type has an alias of core sort")
            self.expect(1, "a module type has an alias of kind")
            return CoreAliasOuter(self.r.u32(), self.r.u32())
        if code == 3:
            return CoreExportDecl(self.name(), self.core_extern_type())
        raise self.malformed(f"declaration {code:#x} in a module type")

    def core_extern_type(self) -> CoreExternType:
        code = self.r.byte()
        if code == 0:
            return self.r.u32()
        if code == 1:
            spelling = value_type(self.r)
            return TableType(spelling[0], read_limits(self.r, "table"), spelling)
        if code == 2:
            return read_limits(self.r, "memory")
        if code == 3:
            return _plain(read_global_type(self.r))
        if code == 4:
            self.expect(0, "a tag has the attribute")
            return CoreTag(self.r.u32())
        raise self.malformed(f"{code:#x} as the kind of a core import or export")

    _sections: dict[int, Callable[[_Decoder], Definition]] = {
        2: core_instance,
        3: core_type,
        5: instance,
        6: alias,
        7: type_def,
        8: canon,
        10: import_,
        11: export,
    }


def _plain(global_: Global) -> Global:
    """By what it is compared, wherever it was declared."""
    return global_._replace(init=None)
