"""Types of core modules as validation compares them: across modules, each of which numbers its own types.

A function type, or another type of a module, becomes a number that is the same for types that are equal:
a group of types that may refer to each other is known by its structure, in which a type of the group itself
is a position, and one from before is its number. A *value type* is a code, or for a reference a pair: whether
it may be null, and what it refers to: a code, or `_FIRST` more than such a number, or, within a group, a
negative number for one of the group's own types.

Format: WebAssembly core specification 3.0, section 3.3, "Matching".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

from ..wasm.binary import Reader
from ..wasm.module import KINDS, Module
from ..wasm.types import REF, REF_NULL, Group, Limits, SubType, TableType
from .definitions import CoreExternType, CoreFunc, CoreTag
from .names import Invalid

__all__ = ["CoreExtern", "CoreTypes", "ModuleType", "Signature"]

_FIRST = 0x100  # codes of abstract types are below
_REFERENCE_CODES = range(0x69, 0x75)
_NUMBERS = (0x7B, 0x7C, 0x7D, 0x7E, 0x7F)
_FUNC, _EXTERN, _ANY, _EQ, _I31, _STRUCT, _ARRAY, _EXN = 0x70, 0x6F, 0x6E, 0x6D, 0x6C, 0x6B, 0x6A, 0x69
_NO_EXN, _NO_FUNC, _NO_EXTERN, _NONE = 0x74, 0x73, 0x72, 0x71
_UNDER = {
    _EQ: (_ANY,), _I31: (_EQ, _ANY), _STRUCT: (_EQ, _ANY), _ARRAY: (_EQ, _ANY),
    _NONE: (_I31, _STRUCT, _ARRAY, _EQ, _ANY),
    _NO_FUNC: (_FUNC,), _NO_EXTERN: (_EXTERN,), _NO_EXN: (_EXN,),
}  # fmt: skip

CoreValue = Union[int, "tuple[bool, int]"]


class Signature(NamedTuple):
    """Parameters and results of a function."""

    params: tuple[CoreValue, ...]
    results: tuple[CoreValue, ...]


class CoreExtern(NamedTuple):
    """Of an import or export of a module.

    Attributes:
        kind: ``"function"``, ``"table"``, ``"memory"``, ``"global"`` or ``"tag"``.
        type: the number of a function's or tag's type; limits of a memory; element and limits of a table;
            value type and mutability of a global.
    """

    kind: str
    type: Any


@dataclass(frozen=True, eq=False)
class ModuleType:
    imports: Mapping[tuple[str, str], CoreExtern]
    exports: Mapping[str, CoreExtern]

    @property
    def size(self) -> int:
        return 1 + len(self.imports) + len(self.exports)


class _Known(NamedTuple):
    """A type by its number; ``form`` is its first code: function, structure or array."""

    form: int
    signature: Signature
    supertype: int | None


class CoreTypes:
    """All core types of one component."""

    def __init__(self) -> None:
        self.known: list[_Known] = []
        self.groups: dict[object, int] = {}

    # ---- numbers

    def function(self, params: Iterable[CoreValue], results: Iterable[CoreValue]) -> int:
        """The number of a function type."""
        signature = Signature(tuple(params), tuple(results))
        key = ((b"", 0x60, signature.params, signature.results),)
        if key not in self.groups:
            self.groups[key] = len(self.known)
            self.known.append(_Known(0x60, signature, None))
        return self.groups[key]

    def declared(self, one: CoreFunc, space: Sequence[object]) -> int:
        """The number of a function type that a component or a module type defines."""
        if len(one.params) > 1000 or len(one.results) > 1000:
            raise Invalid("a core function type has more than 1000 parameters or results")
        params = [self.value(spelling, space) for spelling in one.params]
        return self.function(params, [self.value(spelling, space) for spelling in one.results])

    def signature(self, number: int) -> Signature:
        return self.known[number].signature

    def value(self, spelling: bytes, space: Sequence[object]) -> CoreValue:
        """A value type out of its spelling, where ``space`` has the numbers of types by their indexes."""
        code = spelling[0]
        if code not in (REF, REF_NULL):
            return (True, code) if code in _REFERENCE_CODES else code
        index = Reader(spelling, 1).signed(33)
        if spelling[1] in _REFERENCE_CODES and len(spelling) == 2:
            return code == REF_NULL, spelling[1]
        number = space[index] if 0 <= index < len(space) else None
        if not isinstance(number, int):
            raise Invalid(f"a reference is to the type {index}, which is not there")
        return code == REF_NULL, number + _FIRST if number >= 0 else number

    def group(self, group: Group, numbers: list[int]) -> None:
        """Append the numbers of a module's next types to those of the ones before."""
        start, first = len(numbers), len(self.known)
        # While a group is read, its own types have negative numbers: -1 is its first.
        numbers += range(-1, -1 - len(group.types), -1)
        read = [self._subtype(one, numbers) for one in group.types]
        del numbers[start:]
        plain = not group.explicit or len(read) == 1
        key = tuple(read) if plain else (group.explicit, *read)
        if key not in self.groups:
            self.groups[key] = first
            for one, (prefix, _, params, results) in zip(group.types, read):
                absolute = (_absolute(params, first), _absolute(results, first))
                supertype = prefix[1] if prefix and len(prefix) > 1 else None
                if supertype is not None and supertype < 0:
                    supertype = first - 1 - supertype
                self.known.append(_Known(one.form, Signature(*absolute), supertype))
        found = self.groups[key]
        numbers += range(found, found + len(group.types))

    def _subtype(self, one: SubType, space: list[int]) -> tuple[Any, int, Any, Any]:
        prefix: tuple[Any, ...] | bytes = b""
        if one.prefix:
            r = Reader(one.prefix, 1)
            above = []
            for _ in r.count():
                index = r.u32()
                if index >= len(space):
                    raise Invalid(f"the supertype {index} is not there")
                above.append(space[index])
            # Final and without a supertype is what a type is that says neither.
            prefix = (one.prefix[0], *above) if above or one.prefix[0] != 0x4F else b""
        if one.is_function:
            first = tuple(self.value(spelling, space) for spelling in one.first)
            return prefix, one.form, first, tuple(self.value(spelling, space) for spelling in one.second)
        fields = tuple((self._field(f[:-1], space), f[-1]) for f in one.first)
        return prefix, one.form, fields, ()

    def _field(self, storage: bytes, space: list[int]) -> object:
        return storage if storage[0] in (0x77, 0x78) else self.value(storage, space)

    # ---- modules

    def module(self, module: Module) -> ModuleType:
        """The type of a module."""
        numbers: list[int] = []
        for group in module.groups:
            self.group(group, numbers)
        imports: dict[tuple[str, str], CoreExtern] = {}
        spaces: tuple[list[CoreExtern], ...] = ([], [], [], [], [])
        for one in module.imports:
            found = one.type_index if one.kind == 0 else one.type
            key = one.module, one.name
            if key in imports:
                raise Invalid(f"the module has two imports {one.module!r} {one.name!r}")
            imports[key] = self._extern(one.kind, found, numbers)
            spaces[one.kind].append(imports[key])
        exports: dict[str, CoreExtern] = {}
        declared = (module.functions, module.tables, module.memories, module.globals, module.tags)
        for export in module.exports:
            exports[export.name] = self._extern(export.kind, declared[export.kind][export.index], numbers)
        return ModuleType(imports, exports)

    def _extern(self, kind: int, found: Any, numbers: Sequence[object]) -> CoreExtern:
        if kind in (0, 4):
            index = found if kind == 0 else found.type
            number = numbers[index] if index < len(numbers) else None
            if not isinstance(number, int) or self.known[number].form != 0x60:
                raise Invalid(f"the type {index} of a {KINDS[kind]} is no function type")
            return CoreExtern(KINDS[kind], number)
        if kind == 1:
            return CoreExtern("table", (self.value(found.spelling, numbers), found.limits))
        if kind == 2:
            return CoreExtern("memory", found)
        return CoreExtern("global", (self.value(found.spelling, numbers), found.mutable))

    def extern(self, declared: CoreExternType, numbers: Sequence[object]) -> CoreExtern:
        """What a module type declares, as far as it is valid."""
        if isinstance(declared, int):
            return self._extern(0, declared, numbers)
        if isinstance(declared, CoreTag):
            found = self._extern(4, declared, numbers)
            if self.signature(found.type).results:
                raise Invalid("the type of a tag has results")
            return found
        if isinstance(declared, TableType):
            found = self._extern(1, declared, numbers)
            if not isinstance(found.type[0], tuple):
                raise Invalid("the elements of a table are no references")
            _check_limits(declared.limits, None, "table")
            return found
        if isinstance(declared, Limits):
            _check_limits(declared, 1 << 48 if declared.wide else 1 << 16, "memory")
            if declared.shared and declared.maximum is None:
                raise Invalid("a shared memory has no maximum")
            return CoreExtern("memory", declared)
        return self._extern(3, declared, numbers)

    # ---- matching

    def check(self, given: CoreExtern, wanted: CoreExtern) -> None:
        """Whether one can be given where the other is wanted.

        Raises:
            Invalid: it cannot.
        """
        if given.kind != wanted.kind:
            raise Invalid(f"it is a {given.kind}, not a {wanted.kind}")
        if given.type == wanted.type:
            return
        if given.kind == "function":
            if not self._is_under(given.type, wanted.type):
                raise Invalid(
                    f"its type {self.text(given.type)} is not {self.text(wanted.type)}, which is wanted"
                )
        elif given.kind == "memory":
            _check_sizes(given.type, wanted.type)
        elif given.kind == "table":
            if given.type[0] != wanted.type[0]:
                raise Invalid("its elements are of another type")
            _check_sizes(given.type[1], wanted.type[1])
        elif given.kind == "global":
            if given.type[1] != wanted.type[1]:
                raise Invalid("one of the globals is mutable, the other is not")
            if given.type[1] or not self._matches(given.type[0], wanted.type[0]):
                raise Invalid("the global is of another type")
        else:
            raise Invalid("the tag is of another type")

    def check_module(self, given: ModuleType, wanted: ModuleType) -> None:
        """Whether a module imports no more, and exports no less, than a module type says."""
        for (module, name), needed in given.imports.items():
            found = wanted.imports.get((module, name))
            if found is None:
                raise Invalid(f"the module imports {module!r} {name!r}, which its type does not have")
            self._check_part(found, needed, f"import {module!r} {name!r}")
        for name, one in wanted.exports.items():
            if name not in given.exports:
                raise Invalid(f"the module has no export {name!r}")
            self._check_part(given.exports[name], one, f"export {name!r}")

    def _check_part(self, given: CoreExtern, wanted: CoreExtern, what: str) -> None:
        try:
            self.check(given, wanted)
        except Invalid as error:
            raise Invalid(f"the module's {what} does not fit: {error}") from None

    def _is_under(self, number: int, other: int) -> bool:
        found: int | None = number
        while found is not None:
            if found == other:
                return True
            found = self.known[found].supertype
        return False

    def _matches(self, value: CoreValue, other: CoreValue) -> bool:
        if value == other:
            return True
        if not isinstance(value, tuple) or not isinstance(other, tuple):
            return False
        if value[0] and not other[0]:
            return False
        heap, wanted = value[1], other[1]
        if heap == wanted:
            return True
        if wanted >= _FIRST:
            if heap >= _FIRST:
                return self._is_under(heap - _FIRST, wanted - _FIRST)
            form = self.known[wanted - _FIRST].form
            return heap == (_NO_FUNC if form == 0x60 else _NONE)
        if heap >= _FIRST:
            form = self.known[heap - _FIRST].form
            if form == 0x60:
                return wanted == _FUNC
            return wanted in (_STRUCT if form == 0x5F else _ARRAY, _EQ, _ANY)
        return wanted in _UNDER.get(heap, ())

    def text(self, number: int) -> str:
        """A function type, for messages."""
        sides = (", ".join(map(_value_text, side)) for side in self.signature(number))
        return "({}) -> ({})".format(*sides)


def _value_text(value: CoreValue) -> str:
    names = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", (True, _FUNC): "funcref"}
    return names.get(value, "externref" if value == (True, _EXTERN) else "a reference")


def _absolute(values: tuple[Any, ...], first: int) -> tuple[Any, ...]:
    """Value types in which a group's own types, whose first one is number ``first``, have their numbers."""

    def one(value: Any) -> Any:
        own = isinstance(value, tuple) and isinstance(value[1], int) and value[1] < 0
        return (value[0], _FIRST + first - 1 - value[1]) if own else value

    return tuple(map(one, values))


def _check_limits(limits: Limits, most: int | None, what: str) -> None:
    highest = limits.minimum if limits.maximum is None else limits.maximum
    if limits.minimum > highest:
        raise Invalid(f"the minimum of a {what} is above its maximum")
    if most is not None and highest > most:
        raise Invalid(f"a {what} is larger than one may be")


def _check_sizes(given: Limits, wanted: Limits) -> None:
    if given.shared != wanted.shared or given.wide != wanted.wide:
        raise Invalid("one is shared or has addresses of 64 bits, the other not")
    if given.minimum < wanted.minimum:
        raise Invalid(f"its size is {given.minimum}: at least {wanted.minimum} is wanted")
    if wanted.maximum is not None and (given.maximum is None or given.maximum > wanted.maximum):
        raise Invalid(f"it may grow beyond {wanted.maximum}, which is the most that is wanted")
