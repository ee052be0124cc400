"""Types as the binary format writes them: of values, functions, tables, memories, globals and tags.

A value type is known by its first byte, its *code*. That is all of it for numbers, vectors and the usual
references. References to a type of the module, and those that are never null, have more bytes: REF or
REF_NULL is their code, and the whole is called the *spelling*.

Format: WebAssembly core specification 3.0, section 5.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Union

from ..errors import UnsupportedModuleError
from .binary import Reader, leb, signed_leb, vector

__all__ = [
    "EXNREF",
    "EXTERNREF",
    "F32",
    "F64",
    "FUNCREF",
    "I32",
    "I64",
    "REF",
    "REF_NULL",
    "V128",
    "ExternType",
    "FuncType",
    "Global",
    "Group",
    "Limits",
    "SubType",
    "TableType",
    "Tag",
    "function_type",
    "heap_type",
    "limits_bytes",
    "read_global_type",
    "read_group",
    "read_limits",
    "type_name",
    "value_type",
]

I32, I64, F32, F64, V128, FUNCREF, EXTERNREF, EXNREF = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F, 0x69
REF_NULL, REF = 0x63, 0x64

_FUNCTION, _STRUCT, _ARRAY = 0x60, 0x5F, 0x5E
_REC, _SUB_FINAL, _SUB = 0x4E, 0x4F, 0x50
_PACKED = (0x78, 0x77)  # i8 and i16, in fields only
_HEAP: Final = range(0x69, 0x75)
_HEAP_NAMES: Final = "exn array struct i31 eq any extern func null nullextern nullfunc nullexn"
_NAMES: Final = {
    I32: "i32",
    I64: "i64",
    F32: "f32",
    F64: "f64",
    V128: "v128",
    **{code: f"{heap}ref" for code, heap in zip(_HEAP, _HEAP_NAMES.split())},
    REF: "a reference that is never null",
    REF_NULL: "a reference to a type of the module",
}


class FuncType(NamedTuple):
    """The type of a function: the codes of its parameters and of its results."""

    params: bytes
    results: bytes

    @property
    def has_externref(self) -> bool:
        return EXTERNREF in self.params or EXTERNREF in self.results

    def __str__(self) -> str:
        sides = (", ".join(map(type_name, side)) for side in (self.params, self.results))
        return "({}) -> ({})".format(*sides)


class Limits(NamedTuple):
    """Sizes of a memory in pages or of a table in elements; ``maximum`` is None where the module sets
    none."""

    minimum: int
    maximum: int | None
    shared: bool = False
    wide: bool = False
    """Whether addresses or indexes are of 64 bits."""


class TableType(NamedTuple):
    """``init`` is the span of the expression for the first elements, if the module gives one."""

    element: int
    limits: Limits
    spelling: bytes = b""
    init: tuple[int, int] | None = None


class Global(NamedTuple):
    """``init`` is the span of the initial value's expression; None for an imported global."""

    type: int
    mutable: bool
    init: tuple[int, int] | None = None
    spelling: bytes = b""


class Tag(NamedTuple):
    """Of exceptions; ``type`` is the index of a function type, whose parameters an exception carries."""

    type: int
    functype: FuncType


ExternType = Union[FuncType, TableType, Limits, Global, Tag]
"""The type of an import or export."""


class SubType(NamedTuple):
    """A type of the type section.

    Attributes:
        prefix: what stands before it: whether it is final, and its supertypes.
        form: function, structure or array.
        first, second: parameters and results of a function, each in its spelling; fields of a structure, or
            the one of an array, each with the byte that says whether it is mutable.
    """

    prefix: bytes
    form: int
    first: tuple[bytes, ...]
    second: tuple[bytes, ...]

    @property
    def is_function(self) -> bool:
        return self.form == _FUNCTION

    def functype(self) -> FuncType:
        """By the codes of its values; nothing for what is no function."""
        if self.form != _FUNCTION:
            return FuncType(b"", b"")
        return FuncType(bytes(t[0] for t in self.first), bytes(t[0] for t in self.second))

    def written(self, changed: Callable[[bytes], bytes]) -> bytes:
        """The type in the binary format; ``changed`` gives the spelling to write for one."""
        if self.form == _FUNCTION:
            return self.prefix + function_type(map(changed, self.first), map(changed, self.second))
        fields = [changed(field[:-1]) + field[-1:] for field in self.first]
        body = vector(fields) if self.form == _STRUCT else fields[0]
        return self.prefix + bytes((self.form,)) + body


class Group(NamedTuple):
    """Types that may refer to each other; ``explicit`` says whether they are written as a group."""

    explicit: bool
    types: tuple[SubType, ...]


def function_type(params: Iterable[bytes], results: Iterable[bytes]) -> bytes:
    """A function type in the binary format."""
    return bytes((_FUNCTION,)) + vector(params) + vector(results)


def type_name(code: int) -> str:
    """The name of a value type, as in the text format."""
    return _NAMES.get(code, f"type {code:#x}")


def heap_type(r: Reader) -> bytes:
    """What a reference refers to: an abstract type's code, or the index of a type, as written."""
    if r.peek() in _HEAP:
        return r.take(1)
    index = r.signed(33)
    if index < 0:
        raise UnsupportedModuleError(f"heap type {index} at byte {r.pos} is not supported")
    return signed_leb(index)


def value_type(r: Reader) -> bytes:
    """The spelling of a value type; the shorter one where there are two."""
    code = r.byte()
    if code in (REF, REF_NULL):
        heap = heap_type(r)
        short = code == REF_NULL and heap[0] in _HEAP
        return heap if short else bytes((code,)) + heap
    if code not in _NAMES:
        raise UnsupportedModuleError(f"value type {code:#x} is not supported")
    return bytes((code,))


def read_group(r: Reader) -> Group:
    """An entry of the type section."""
    if r.peek() != _REC:
        return Group(False, (_subtype(r),))
    r.byte()
    return Group(True, tuple(_subtype(r) for _ in r.count()))


def _subtype(r: Reader) -> SubType:
    prefix = b""
    if r.peek() in (_SUB, _SUB_FINAL):
        code = r.take(1)
        prefix = code + vector(leb(r.u32()) for _ in r.count())
    form = r.byte()
    if form == _FUNCTION:
        return SubType(prefix, form, _value_types(r), _value_types(r))
    if form == _STRUCT:
        return SubType(prefix, form, tuple(_field(r) for _ in r.count()), ())
    if form == _ARRAY:
        return SubType(prefix, form, (_field(r),), ())
    raise UnsupportedModuleError(f"type form {form:#x} is not supported")


def _value_types(r: Reader) -> tuple[bytes, ...]:
    return tuple(value_type(r) for _ in r.count())


def _field(r: Reader) -> bytes:
    storage = r.take(1) if r.peek() in _PACKED else value_type(r)
    return storage + bytes((_flag(r, "field"),))


def _flag(r: Reader, what: str) -> int:
    mutable = r.byte()
    if mutable > 1:
        raise UnsupportedModuleError(f"malformed {what} type at byte {r.pos}")
    return mutable


def read_global_type(r: Reader) -> Global:
    """The type of a global, without its initial value."""
    spelling = value_type(r)
    return Global(spelling[0], bool(_flag(r, "global")), None, spelling)


def read_limits(r: Reader, what: str) -> Limits:
    """Limits of a memory or table, which ``what`` says."""
    flags = r.byte()
    if flags > 7 or (flags & 2 and what == "table"):
        raise UnsupportedModuleError(f"a {what} with the limits {flags:#x} is not supported")
    number = r.u64 if flags & 4 else r.u32
    return Limits(number(), number() if flags & 1 else None, bool(flags & 2), bool(flags & 4))


def limits_bytes(limits: Limits) -> bytes:
    """Limits in the binary format."""
    flags = (limits.maximum is not None) | limits.shared << 1 | limits.wide << 2
    end = b"" if limits.maximum is None else leb(limits.maximum)
    return bytes((flags,)) + leb(limits.minimum) + end
