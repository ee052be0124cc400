"""Values as text: read as they were meant, written so that they can be read, errors with their place."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwire_py import Err, Ok, Some
from hiwire_py.components.abi import integer_range
from hiwire_py.components.classes import Classes
from hiwire_py.components.types import (
    BOOL,
    CHAR,
    F32,
    F64,
    PRIMITIVES,
    S8,
    S64,
    STRING,
    U8,
    U32,
    Borrow,
    Enum,
    Flags,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    Result,
    Tuple,
    ValueType,
    Variant,
)
from hiwire_py.components.wave import WaveError, parse, text

CLASSES = Classes()
LABELS = ("a", "b-c", "none", "true", "x1", "err", "class")

# ---- any type, and any value of it

_labels = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True).map(tuple)


def _made_of(inner: st.SearchStrategy[ValueType]) -> st.SearchStrategy[ValueType]:
    maybe = st.none() | inner

    def labelled(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return _labels.flatmap(lambda names: st.tuples(*[st.tuples(st.just(n), part) for n in names]))

    return st.one_of(
        st.builds(List, inner),
        st.builds(List, inner, st.integers(1, 3)),
        st.builds(Option, inner),
        st.builds(Result, maybe, maybe),
        st.builds(Map, st.just(STRING), inner),
        st.builds(Tuple, st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.builds(Record, labelled(inner)),
        st.builds(Variant, labelled(maybe)),
    )


_leaves: st.SearchStrategy[ValueType] = st.one_of(
    st.sampled_from(list(PRIMITIVES.values())), st.builds(Enum, _labels), st.builds(Flags, _labels)
)
types = st.recursive(_leaves, _made_of, max_leaves=6)


def _payload(type_: ValueType | None) -> st.SearchStrategy[Any]:
    return st.none() if type_ is None else values(type_)


def values(type_: ValueType) -> st.SearchStrategy[Any]:
    """Values as functions of components give them."""
    if isinstance(type_, Primitive):
        return _numbers(type_)
    if isinstance(type_, List):
        if type_ == List(U8):
            return st.binary(max_size=5)
        low, high = (0, 4) if type_.length is None else (type_.length, type_.length)
        return st.lists(values(type_.element), min_size=low, max_size=high)
    if isinstance(type_, Map):
        return st.lists(st.tuples(values(type_.key), values(type_.value)), max_size=3)
    if isinstance(type_, Tuple):
        return st.tuples(*map(values, type_.items))
    if isinstance(type_, Record):
        return st.builds(CLASSES.of(type_), *(values(one) for _, one in type_.fields))
    if isinstance(type_, Variant):
        cases = [CLASSES.case(type_, n) for n in range(len(type_.cases))]
        payloads = [[] if one is None else [values(one)] for _, one in type_.cases]
        return st.one_of([st.builds(class_, *payload) for class_, payload in zip(cases, payloads)])
    if isinstance(type_, Enum):
        return st.sampled_from(list(CLASSES.of(type_)))  # type: ignore[call-overload]
    if isinstance(type_, Flags):
        return st.integers(0, (1 << len(type_.labels)) - 1).map(CLASSES.of(type_))
    if isinstance(type_, Option):
        some = values(type_.payload)
        return st.none() | (st.builds(Some, some) if isinstance(type_.payload, Option) else some)
    assert isinstance(type_, Result)
    return st.builds(Ok, _payload(type_.ok)) | st.builds(Err, _payload(type_.error))


def _numbers(type_: Primitive) -> st.SearchStrategy[Any]:
    if type_ == BOOL:
        return st.booleans()
    if type_ in (CHAR, STRING):
        one = st.characters(exclude_categories=["Cs"])
        return one if type_ == CHAR else st.text(one, max_size=6)
    if type_ in (F32, F64):
        return st.floats(allow_nan=False, width=32 if type_ == F32 else 64)
    return st.integers(*integer_range(type_))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_round_trip(data: st.DataObject) -> None:
    """What is written of any value of any type is read as the same value, and written the same again."""
    type_ = data.draw(types)
    value = data.draw(values(type_))
    written = text(value, type_)
    again = parse(written, type_, CLASSES)
    assert again == value
    assert type(again) is type(value)
    assert text(again, type_) == written


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_text_gives_a_value_or_an_error(data: st.DataObject) -> None:
    """A text that was changed in one place is read, or refused with a place within it."""
    type_ = data.draw(types)
    written = text(data.draw(values(type_)), type_)
    at = data.draw(st.integers(0, len(written)))
    put = data.draw(st.text("{}[]()<>,:\"'\\%-+._ aesnu01\ud800", max_size=3))
    broken = written[:at] + put + written[at + data.draw(st.integers(0, 2)) :]
    try:
        value = parse(broken, type_, CLASSES)
    except WaveError as error:
        assert 0 <= error.position <= len(broken)
        assert f"(character {error.position + 1} of " in str(error)
    else:
        assert parse(text(value, type_), type_, CLASSES) == value


POINT = Record((("x", U32), ("y", Option(U32))))
SHAPE = Variant((("circle", F64), ("square", None), ("none", POINT)))
COLOR = Enum(("red", "dark-blue", "ok"))
PERMS = Flags(("read", "write-all", "inf"))
POINT_, COLOR_, PERMS_ = CLASSES.of(POINT), CLASSES.of(COLOR), CLASSES.of(PERMS)


@pytest.mark.parametrize(
    ("source", "type_", "value"),
    [
        ("true", BOOL, True),
        ("-128", S8, -128),
        ("-0", S64, 0),
        ("1", F64, 1.0),
        ("6.022e+23", F64, 6.022e23),
        ("-inf", F32, -math.inf),
        ("1e39", F32, math.inf),
        ("0.1", F32, struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        ("'x'", CHAR, "x"),
        (r"'\''", CHAR, "'"),
        ("'☃'", CHAR, "☃"),
        (r"'\u{0}'", CHAR, "\0"),
        (r'"abc\t123\u{1F642}\\\"\r\n"', STRING, 'abc\t123\U0001f642\\"\r\n'),
        ('"it\'s"', STRING, "it's"),
        ('"""\nA\n"quoted"\n\n  \\u{42}\n"""', STRING, 'A\n"quoted"\n\n  B'),
        ('"""\n    one\n\n      two\n    """', STRING, "one\n\n  two"),
        ('"""\n"""', STRING, ""),
        ('("abc", 123)', Tuple((STRING, U32)), ("abc", 123)),
        ("(1,)", Tuple((U32,)), (1,)),
        ("[1, 2, 3]", List(U32), [1, 2, 3]),
        ("[ ]", List(U32), []),
        ("[1, 255,]", List(U8), b"\1\xff"),
        ('[("a", 1)]', Map(STRING, U32), [("a", 1)]),
        ("{x: 1, y: some(2)}", POINT, POINT_(1, 2)),
        ("{y: 2, x: 1}", POINT, POINT_(1, 2)),
        ("{x: 1}", POINT, POINT_(1, None)),
        ("{:}", Record((("a", Option(U8)),)), CLASSES.of(Record((("a", Option(U8)),)))(None)),
        ("circle(2.5)", SHAPE, CLASSES.case(SHAPE, 0)(2.5)),
        ("square", SHAPE, CLASSES.case(SHAPE, 1)()),
        ("%none({x: 0})", SHAPE, CLASSES.case(SHAPE, 2)(POINT_(0, None))),
        ("dark-blue", COLOR, COLOR_(1)),
        ("%ok", COLOR, COLOR_(2)),
        ("%red", COLOR, COLOR_(0)),
        ("{}", PERMS, PERMS_(0)),
        ("{write-all, %inf}", PERMS, PERMS_(6)),
        ('"flat"', Option(STRING), "flat"),
        ('some("s")', Option(STRING), "s"),
        ("none", Option(STRING), None),
        ("some(none)", Option(Option(U8)), Some(None)),
        ("some(3)", Option(Option(U8)), Some(3)),
        ('"flat"', Result(STRING, U8), Ok("flat")),
        ("ok", Result(None, None), Ok()),
        ("err(some(1))", Result(U8, Option(U8)), Err(1)),
        (" [ // one\n 1 ,\t2 // two\n] // end", List(U32), [1, 2]),
    ],
)
def test_examples(source: str, type_: ValueType, value: Any) -> None:
    """The forms that the format's own description shows."""
    found = parse(source, type_, CLASSES)
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    """Not a number is read and written."""
    assert math.isnan(parse("nan", F32, CLASSES))
    assert text(math.nan, F64) == "nan"


@pytest.mark.parametrize(
    ("value", "type_", "written"),
    [
        (0.1, F64, "0.1"),
        (struct.unpack("<f", struct.pack("<f", 0.1))[0], F32, "0.1"),
        (-math.inf, F32, "-inf"),
        ('a"\n\x07é\u200b', STRING, r'"a\"\n\u{7}é\u{200b}"'),
        ("'", CHAR, r"'\''"),
        (POINT_(1, None), POINT, "{x: 1}"),
        (CLASSES.of(Record((("a", Option(U8)),)))(None), Record((("a", Option(U8)),)), "{:}"),
        (COLOR_(2), COLOR, "%ok"),
        (b"\1\2", List(U8), "[1, 2]"),
        (Some(None), Option(Option(U8)), "some(none)"),
        (Ok(), Result(None, U8), "ok"),
    ],
)
def test_what_is_written(value: Any, type_: ValueType, written: str) -> None:
    """Numbers are as short as can be, and what cannot be seen is escaped."""
    assert text(value, type_) == written


@pytest.mark.parametrize(
    ("source", "type_", "message"),
    [
        ("", U8, r"a u8 is wanted, not the end \(character 1 of ''\)"),
        ("256", U8, r"a u8 is wanted, which is 0 to 255, not '256' \(character 1 of '256'\)"),
        ("-1", U32, "a u32 is wanted, which is 0 to 4294967295"),
        ("9" * 5000, U32, "a u32 is wanted, which is"),
        ("007", U8, "a u8 is wanted, not '007'"),
        ("0x10", U8, "a u8 is wanted"),
        ("1.5", S64, "a s64 is wanted"),
        (".5", F64, "a f64 is wanted"),
        ("1_0", F64, "a f64 is wanted"),
        ("True", BOOL, "true or false is wanted, not 'True'"),
        ("'ab'", CHAR, r"the end of a char, ', is wanted, not \"b'\" \(character 3 of"),
        ("''", CHAR, "a character is wanted"),
        ("x", CHAR, 'a "\'" is wanted'),
        ("abc", STRING, "a string is wanted, not 'abc'"),
        ('"abc', STRING, r"a string must end, not '\"abc' \(character 1 of"),
        (r'"a\x"', STRING, r"is wanted, not '\\\\x\"' \(character 3 of"),
        (r'"\u{d800}"', STRING, r"one of .* is wanted"),
        (r'"\u{110000}"', STRING, r"one of .* is wanted"),
        ('"""a"""', STRING, 'must begin and end with lines of """'),
        ('"""\n a\n  """', STRING, "a line must have the blanks that are before its end"),
        ("[1 2]", List(U8), r"a ',' or '\]' is wanted, not '2\]' \(character 4 of '\[1 2\]'\)"),
        ("[1, 2", List(U8), "wanted, not the end"),
        ("[1]", List(U32, 2), "a list of 2 elements is wanted"),
        ("(1)", Tuple((U8, U8)), "a ',' is wanted, not"),
        ("(1, 2, 3)", Tuple((U8, U8)), "a '\\)' is wanted, not '3\\)'"),
        ("{x: 1, x: 2}", POINT, r"the field x is wanted once, not 'x: 2}' \(character 8 of"),
        ("{z: 1}", POINT, "a field is wanted: x, y, not 'z: 1}'"),
        ("{y: 1}", POINT, "a record with the field x is wanted"),
        ("triangle", SHAPE, "a case is wanted: circle, square, %none, not 'triangle'"),
        ("none({x: 1})", SHAPE, "a case is wanted"),
        ("circle", SHAPE, r"a '\(' with a payload is wanted behind circle"),
        ("square(1)", SHAPE, "nothing is wanted behind square, which has no payload"),
        ("green", COLOR, "a case is wanted: red, dark-blue, %ok, not 'green'"),
        ("{exec}", PERMS, "a flag is wanted: read, write-all, %inf, not 'exec}'"),
        ("3", Option(Option(U8)), "some or none is wanted"),
        ("3", Result(Option(U8), None), "ok or err is wanted"),
        ("ok(1)", Result(None, None), "nothing is wanted behind ok"),
        ("1 2", U8, r"nothing more is wanted, not '2' \(character 3 of '1 2'\)"),
        ("3", Own(Resource("bag")), "a bag is wanted, which cannot be written, not '3'"),
        ("3", Borrow(Resource("bag")), "a borrow<bag> is wanted, which cannot be written"),
        ("[" + "1, " * 300 + "x]", List(U8), r"a u8 is wanted, not 'x\]' \(character 902 of '\.\.\."),
    ],
)
def test_errors(source: str, type_: ValueType, message: str) -> None:
    """An error says what was wanted, what is there, and where."""
    with pytest.raises(WaveError, match=message):
        parse(source, type_, CLASSES)
