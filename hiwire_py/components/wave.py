"""Values of components as text, and back: WAVE, the WebAssembly Value Encoding.

| type | text |
|---|---|
| bool, numbers | ``true``, ``-1``, ``6.5e3``, ``nan``, ``-inf`` |
| char, string | ``'x'``, ``"a \\u{1f642}\\n"``; or the lines between two lines of three quotes |
| list, tuple | ``[1, 2]``, ``("a", 1)``; of a map, a list of pairs |
| record | ``{x: 1, y: 2}``; fields that are options may be left out, ``{:}`` has none |
| variant, enum | ``case(payload)``, ``case`` |
| flags | ``{read, write}`` |
| option | ``some(1)``, ``none``; also ``1``, where that is no option or result itself |
| result | ``ok(1)``, ``ok``, ``err("why")``; also ``1`` for ``ok(1)``, as with options |

A label that is a keyword, such as ``none``, has a ``%`` before it. Blanks, lines and ``//`` comments may
stand between words, and a comma behind the last of several. Handles have no text that could be read.

Format: the README of the crate wasm-wave, in the repository of wasm-tools.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from .abi import integer_range
from .classes import Classes, Err, Ok, Some, python_name
from .types import (
    BOOL,
    CHAR,
    STRING,
    U8,
    Borrow,
    Enum,
    Flags,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Result,
    Tuple,
    ValueType,
    Variant,
)
from .wit import Names, type_text

__all__ = ["WaveError", "parse", "text"]

_KEYWORDS = frozenset(("true", "false", "inf", "nan", "some", "none", "ok", "err"))
_BLANK = re.compile(r"(?:\s|//[^\n]*(?:\n|$))*")
_WORD = re.compile(r"%?[a-zA-Z][a-zA-Z0-9]*(?:-[a-zA-Z0-9]+)*")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)(?![\w.])")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])|nan\b|-?inf\b")
_ESCAPE = re.compile(r"\\(?:([\"'\\tnr])|u\{([0-9a-fA-F]{1,6})\})")
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r"}
_SHOWN = 60  # characters of a text in a message
_MOST_DIGITS = 40  # of an integer: a number of 64 bits has 20, and long ones take Python long


class WaveError(ValueError):
    """A text is no value of its type. ``position`` is where, in characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def parse(source: str, type_: ValueType, classes: Classes, names: Names | None = None) -> Any:
    """The value that a text stands for, as functions of components take and give it.

    Args:
        classes: those of the component; records and the like are made of them.
        names: what types are called in messages.

    Raises:
        WaveError: the text is no value of the type; the message says where.
    """
    parser = _Parser(source, classes, {} if names is None else names)
    value = parser.value(type_)
    if parser.peek():
        raise parser.wrong("nothing more is wanted")
    return value


class _Parser:
    """Reads one text."""

    def __init__(self, source: str, classes: Classes, names: Names) -> None:
        self.source = source
        self.classes = classes
        self.names = names
        self.position = 0

    # ---- pieces

    def wrong(self, wanted: str, position: int | None = None) -> WaveError:
        at = self.position if position is None else position
        rest = self.source[at : at + 20]
        found = repr(rest) if rest else "the end"
        start = max(0, at - _SHOWN // 2)
        whole = self.source[start : start + _SHOWN]
        shown = f"{'...' * (start > 0)}{whole}{'...' * (start + _SHOWN < len(self.source))}"
        return WaveError(f"{wanted}, not {found} (character {at + 1} of {shown!r})", at)

    def peek(self) -> str:
        """The next character behind blanks; "" at the end."""
        blank = _BLANK.match(self.source, self.position)
        assert blank is not None
        self.position = blank.end()
        return self.source[self.position : self.position + 1]

    def take(self, what: str) -> bool:
        """Step over a character, if it is next."""
        if self.peek() != what:
            return False
        self.position += 1
        return True

    def expect(self, what: str) -> None:
        if not self.take(what):
            raise self.wrong(f"a {what!r} is wanted")

    def word(self) -> str | None:
        """The next word, which is not stepped over; None: there is none."""
        self.peek()
        found = _WORD.match(self.source, self.position)
        return None if found is None else found[0]

    def keyword(self, *words: str) -> str | None:
        """Step over one of some keywords, if it is next."""
        found = self.word()
        if found not in words:
            return None
        self.position += len(found)
        return found

    def label(self, labels: tuple[str, ...], what: str) -> int:
        """Step over a label; its number."""
        found = self.word()
        if found is not None and found not in _KEYWORDS:
            plain = found[found[0] == "%" :]
            if plain in labels:
                self.position += len(found)
                return labels.index(plain)
        known = ", ".join(map(_label, labels[:12])) + ", ..." * (len(labels) > 12)
        raise self.wrong(f"{what} is wanted: {known}")

    def several(self, end: str, one: Callable[[], Any]) -> list[Any]:
        """What stands between here and an end, with commas between."""
        found = []
        while not self.take(end):
            found.append(one())
            if not self.take(","):
                if not self.take(end):
                    raise self.wrong(f"a ',' or {end!r} is wanted")
                break
        return found

    def payload(self, type_: ValueType | None, what: str) -> Any:
        """What stands in parentheses behind a case."""
        if type_ is None:
            if self.peek() == "(":
                raise self.wrong(f"nothing is wanted behind {what}, which has no payload")
            return None
        if not self.take("("):
            raise self.wrong(f"a '(' with a payload is wanted behind {what}")
        value = self.value(type_)
        self.expect(")")
        return value

    # ---- values

    def value(self, type_: ValueType) -> Any:
        """The value that is next."""
        self.peek()
        if isinstance(type_, Primitive):
            return self.primitive(type_)
        if isinstance(type_, (List, Map)):
            return self.list(type_)
        if isinstance(type_, Tuple):
            return self.tuple(type_.items)
        if isinstance(type_, Record):
            return self.record(type_)
        if isinstance(type_, Variant):
            number = self.label(tuple(label for label, _ in type_.cases), "a case")
            label, payload = type_.cases[number]
            value = self.payload(payload, label)
            class_ = self.classes.case(type_, number)
            return class_() if payload is None else class_(value)
        if isinstance(type_, Enum):
            return list(self.classes.of(type_))[self.label(type_.labels, "a case")]  # type: ignore[call-overload]
        if isinstance(type_, Flags):
            self.expect("{")
            numbers = self.several("}", lambda: self.label(type_.labels, "a flag"))
            return self.classes.of(type_)(sum(1 << number for number in set(numbers)))
        if isinstance(type_, Option):
            return self.option(type_)
        if isinstance(type_, Result):
            return self.result(type_)
        raise self.wrong(f"a {type_text(type_, self.names)} is wanted, which cannot be written")

    def primitive(self, type_: Primitive) -> Any:
        if type_ == BOOL:
            word = self.keyword("true", "false")
            if word is None:
                raise self.wrong("true or false is wanted")
            return word == "true"
        if type_ in (CHAR, STRING):
            return self.char() if type_ == CHAR else self.string()
        pattern = _FLOAT if type_.name[0] == "f" else _INTEGER
        found = pattern.match(self.source, self.position)
        if found is None:
            raise self.wrong(f"a {type_.name} is wanted")
        if type_.name[0] == "f":
            value = float(found[0])
            self.position = found.end()
            return _single(value) if type_.name == "f32" else value
        low, high = integer_range(type_)
        if len(found[0]) > _MOST_DIGITS or not low <= int(found[0]) <= high:
            raise self.wrong(f"a {type_.name} is wanted, which is {low} to {high}")
        self.position = found.end()
        return int(found[0])

    def char(self) -> str:
        self.expect("'")
        found = self.character("'")
        if found is None:
            raise self.wrong("a character is wanted")
        if self.source[self.position : self.position + 1] != "'":
            raise self.wrong("the end of a char, ', is wanted")
        self.position += 1
        return found

    def string(self) -> str:
        if self.peek() != '"':
            raise self.wrong("a string is wanted")
        start = self.position
        if self.source.startswith('"""', start):
            return self.lines()
        self.position += 1
        found = []
        while (one := self.character('"')) is not None:
            found.append(one)
        if self.position >= len(self.source):
            raise self.wrong("a string must end", start)
        self.position += 1
        return "".join(found)

    def character(self, quote: str) -> str | None:
        """The next character of a char or string; None at its quote, or at the end."""
        at = self.position
        here = self.source[at : at + 1]
        if here in ("", quote):
            return None
        if here != "\\":
            if "\ud800" <= here <= "\udfff":
                raise self.wrong("a character is wanted, and no surrogate")
            self.position += 1
            return here
        found = _ESCAPE.match(self.source, at)
        number = None if found is None or found[2] is None else int(found[2], 16)
        if found is None or (number is not None and (number > 0x10FFFF or 0xD800 <= number < 0xE000)):
            raise self.wrong(r"one of \\ \' \" \t \n \r \u{...} is wanted")
        self.position = found.end()
        return _ESCAPED.get(found[1], found[1]) if number is None else chr(number)

    def lines(self) -> str:
        """A string between lines of three quotes: the blanks before the last quotes are left out of all."""
        start = self.position
        head = re.compile(r'"""\r?\n').match(self.source, start)
        end = re.compile(r'\r?\n([ ]*)"""').search(self.source, start + 3)
        if head is None or end is None:
            raise self.wrong('a string must begin and end with lines of """', start)
        body, inner = self.source[head.end() : max(head.end(), end.start())], _Parser("", self.classes, {})
        found = []
        for line in re.split(r"\r?\n", body):
            if line.strip(" ") and not line.startswith(end[1]):
                raise self.wrong("a line must have the blanks that are before its end", start)
            inner.source, inner.position, out = line[len(end[1]) :], 0, []
            while (one := inner.character("")) is not None:
                out.append(one)
            found.append("".join(out))
        self.position = end.end()
        return "\n".join(found)

    def list(self, type_: List | Map) -> Any:
        element = type_.element if isinstance(type_, List) else Tuple((type_.key, type_.value))
        start = self.position
        self.expect("[")
        values = self.several("]", lambda: self.value(element))
        if isinstance(type_, List):
            if type_.length not in (None, len(values)):
                raise self.wrong(f"a list of {type_.length} elements is wanted", start)
            if type_.element == U8 and type_.length is None:
                return bytes(values)
        return values

    def tuple(self, types: tuple[ValueType, ...]) -> tuple[Any, ...]:
        self.expect("(")
        values = []
        for place, type_ in enumerate(types):
            values.append(self.value(type_))
            if place < len(types) - 1:
                self.expect(",")
        self.take(",")
        self.expect(")")
        return tuple(values)

    def record(self, type_: Record) -> Any:
        labels, types = tuple(label for label, _ in type_.fields), dict(type_.fields)
        start = self.position
        found: dict[str, Any] = {}

        def field() -> None:
            at = self.position
            label = labels[self.label(labels, "a field")]
            if label in found:
                raise self.wrong(f"the field {label} is wanted once", at)
            self.expect(":")
            found[label] = self.value(types[label])

        self.expect("{")
        if self.take(":"):
            self.expect("}")
        else:
            self.several("}", field)
        for label, one in type_.fields:
            if label not in found:
                if not isinstance(one, Option):
                    raise self.wrong(f"a record with the field {label} is wanted", start)
                found[label] = None
        return self.classes.of(type_)(*(found[label] for label in labels))

    def option(self, type_: Option) -> Any:
        word = self.keyword("some", "none")
        if word == "none":
            return None
        if word is None:
            if isinstance(type_.payload, (Option, Result)):
                raise self.wrong("some or none is wanted")
            return self.value(type_.payload)
        value = self.payload(type_.payload, word)
        return Some(value) if isinstance(type_.payload, Option) else value

    def result(self, type_: Result) -> Any:
        word = self.keyword("ok", "err")
        if word is None:
            if type_.ok is None or isinstance(type_.ok, (Option, Result)):
                raise self.wrong("ok or err is wanted")
            return Ok(self.value(type_.ok))
        return Ok(self.payload(type_.ok, word)) if word == "ok" else Err(self.payload(type_.error, word))


# ---- to text


def text(value: Any, type_: ValueType) -> str:
    """A value that a function of a component has given, as text. A handle, which has none, is as `repr`
    has it."""
    if isinstance(type_, Primitive):
        return _primitive(value, type_)
    if isinstance(type_, List):
        return f"[{', '.join(text(one, type_.element) for one in value)}]"
    if isinstance(type_, Map):
        return f"[{', '.join(text(one, Tuple((type_.key, type_.value))) for one in value)}]"
    if isinstance(type_, Tuple):
        return f"({', '.join(map(text, value, type_.items))})"
    if isinstance(type_, Record):
        fields = [(label, one, _field(value, label)) for label, one in type_.fields]
        shown = [(label, one, v) for label, one, v in fields if not (v is None and isinstance(one, Option))]
        inner = ", ".join(f"{_label(label)}: {text(v, one)}" for label, one, v in shown)
        return f"{{{inner or ':'}}}"
    if isinstance(type_, Variant):
        label, payload = type_.cases[value.case]
        return _label(label) if payload is None else f"{_label(label)}({text(value.value, payload)})"
    if isinstance(type_, Enum):
        return _label(type_.labels[value.value])
    if isinstance(type_, Flags):
        given = [label for bit, label in enumerate(type_.labels) if value.value >> bit & 1]
        return f"{{{', '.join(map(_label, given))}}}"
    if isinstance(type_, Option):
        if value is None:
            return "none"
        return f"some({text(value.value if isinstance(value, Some) else value, type_.payload)})"
    if isinstance(type_, Result):
        word, payload = ("ok", type_.ok) if isinstance(value, Ok) else ("err", type_.error)
        return word if payload is None else f"{word}({text(value.value, payload)})"
    assert isinstance(type_, (Own, Borrow))
    return repr(value)


def _field(value: Any, label: str) -> Any:
    return value[label] if isinstance(value, Mapping) else getattr(value, python_name(label))


def _label(label: str) -> str:
    return f"%{label}" if label in _KEYWORDS else label


def _primitive(value: Any, type_: Primitive) -> str:
    if type_ == BOOL:
        return "true" if value else "false"
    if type_ in (CHAR, STRING):
        quote = "'" if type_ == CHAR else '"'
        return f"{quote}{''.join(_character(one, quote) for one in value)}{quote}"
    if type_.name[0] != "f":
        return str(value)
    if math.isnan(value) or math.isinf(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if type_.name == "f32":
        # As many digits as tell it from other numbers of 32 bits.
        return next(s for d in range(1, 18) if _single(float(s := repr(float(f"{value:.{d}g}")))) == value)
    return repr(float(value))


def _character(one: str, quote: str) -> str:
    plain = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", quote: f"\\{quote}"}.get(one)
    if plain is not None:
        return plain
    return one if one.isprintable() else f"\\u{{{ord(one):x}}}"


def _single(value: float) -> float:
    """The number of 32 bits that is nearest."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded
