"""Components in text form that are broken in one place, and bytes of components that are.

A text is taken apart at its parentheses. What is changed stays text that an assembler takes, mostly, so that
what is wrong with it is for validation to find.
"""

from __future__ import annotations

import copy
import random
import re
from typing import Union

from hiwire_py.errors import UnsupportedModuleError
from hiwire_py.wasm.binary import Reader, leb

__all__ = ["broken_bytes", "broken_text"]

Node = Union[str, "list[Node]"]

_TOKENS = re.compile(r'\(;.*?;\)|;;[^\n]*|"(?:[^"\\]|\\.)*"|[()]|[^\s()";]+', re.DOTALL)
# What can stand for each other.
_VALUES = ("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string")
_SWAPS: tuple[tuple[str, ...], ...] = (
    _VALUES,
    ("i32", "i64", "f32", "f64"),
    ("func", "type", "instance", "component", "module", "core"),
    ("own", "borrow"),
    ("list", "option", "tuple"),
    ("import", "export"),
    ("resource.new", "resource.rep", "resource.drop"),
    ("memory", "table", "global", "tag", "func"),
    ("string-encoding=utf8", "string-encoding=utf16", "string-encoding=latin1+utf16"),
    ("realloc", "post-return"),
    ("component", "instance"),
    ("param", "result"),
)
_NAMES = (
    '"a"', '"A"', '"a-b"', '"self"', '"[constructor]a"', '"[method]a.b"', '"[static]a.b"', '"a:b/c"',
    '"a:b/c@1.2.3"', '"a:b/c@1"', '"a_b"', '"1"', '""', '"[method]a.a"', '"b"', '"r"', '"x"', '"f"',
)  # fmt: skip


def broken_text(text: str, r: random.Random) -> str:
    """The text with one or a few places changed."""
    tree = _parsed(text)
    for _ in range(r.choice((1, 1, 1, 1, 2, 3))):
        r.choice(_WAYS)(tree, r)
    return _written(tree)


def _parsed(text: str) -> list[Node]:
    stack: list[list[Node]] = [[]]
    for token in _TOKENS.findall(text):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        elif not token.startswith(("(;", ";;")):
            stack[-1].append(token)
    return stack[0]


def _written(tree: list[Node]) -> str:
    return " ".join(one if isinstance(one, str) else f"({_written(one)})" for one in tree)


def _lists(tree: list[Node]) -> list[list[Node]]:
    """All lists, outermost first; not those of core modules, whose inside is for the engine."""
    found = [tree]
    for one in tree:
        if isinstance(one, list) and one[:2] != ["core", "module"]:
            found += _lists(one)
    return found


def _places(tree: list[Node], wanted: re.Pattern[str]) -> list[tuple[list[Node], int]]:
    return [
        (one, i)
        for one in _lists(tree)
        for i, token in enumerate(one)
        if isinstance(token, str) and wanted.fullmatch(token)
    ]


def _swap(tree: list[Node], r: random.Random) -> None:
    """One keyword for another of its kind."""
    known = {word for words in _SWAPS for word in words}
    places = _places(tree, re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True)))))
    if places:
        inside, i = r.choice(places)
        inside[i] = r.choice([word for words in _SWAPS if inside[i] in words for word in words])


def _number(tree: list[Node], r: random.Random) -> None:
    """One index for another."""
    places = _places(tree, re.compile(r"\d+"))
    if places:
        inside, i = r.choice(places)
        number = int(str(inside[i]))
        inside[i] = str(r.choice((0, 1, 2, 3, number + 1, abs(number - 1), r.randrange(12))))


def _identifier(tree: list[Node], r: random.Random) -> None:
    """One identifier for another, or for an index."""
    places = _places(tree, re.compile(r"\$.+"))
    if places:
        inside, i = r.choice(places)
        other, j = r.choice(places)
        inside[i] = other[j] if r.random() < 0.8 else str(r.randrange(6))


def _name(tree: list[Node], r: random.Random) -> None:
    """One name for another."""
    places = _places(tree, re.compile(r'".*"', re.DOTALL))
    if places:
        inside, i = r.choice(places)
        other, j = r.choice(places)
        inside[i] = r.choice((other[j], r.choice(_NAMES), str(inside[i]).upper(), str(inside[i]).lower()))


def _drop(tree: list[Node], r: random.Random) -> None:
    """Something is left out."""
    inside = r.choice(_lists(tree))
    if len(inside) > 1:
        del inside[r.randrange(1, len(inside))]


def _copy(tree: list[Node], r: random.Random) -> None:
    """Something comes twice, or in another place as well."""
    lists = [one for one in _lists(tree) if len(one) > 1]
    if lists:
        inside = r.choice(lists)
        other = inside if r.random() < 0.6 else r.choice(lists)
        copied = copy.deepcopy(inside[r.randrange(1, len(inside))])
        other.insert(r.randrange(1, len(other) + 1), copied)


def _exchange(tree: list[Node], r: random.Random) -> None:
    """Two things beside each other change places."""
    lists = [one for one in _lists(tree) if len(one) > 2]
    if lists:
        inside = r.choice(lists)
        i = r.randrange(1, len(inside) - 1)
        inside[i], inside[i + 1] = inside[i + 1], inside[i]


_WAYS = (_swap, _swap, _number, _identifier, _identifier, _name, _name, _drop, _copy, _exchange)


def broken_bytes(wasm: bytes, r: random.Random) -> bytes:
    """The bytes with some changed; the sizes of sections fit mostly."""
    if r.random() < 0.1:
        return _bytes(wasm, r)
    try:
        return wasm[:8] + _broken_sections(wasm[8:], r, 0)
    except UnsupportedModuleError:
        return _bytes(wasm, r)


def _broken_sections(data: bytes, r: random.Random, depth: int) -> bytes:
    reader, sections = Reader(data), []
    while reader.pos < reader.end:
        kind = reader.byte()
        sections.append((kind, reader.take(reader.u32())))
    if not sections:
        return data
    i = r.randrange(len(sections))
    kind, body = sections[i]
    way = r.random()
    if kind == 4 and depth < 5 and way < 0.8:
        sections[i] = kind, body[:8] + _broken_sections(body[8:], r, depth + 1)
    elif way < 0.8:
        sections[i] = kind, _bytes(body, r)
    elif way < 0.87:
        del sections[i]
    elif way < 0.93:
        sections.insert(r.randrange(len(sections)), sections[i])
    else:
        j = r.randrange(len(sections))
        sections[i], sections[j] = sections[j], sections[i]
    return b"".join(bytes((kind,)) + leb(len(body)) + body for kind, body in sections)


def _bytes(data: bytes, r: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 2, 4))):
        if not changed:
            break
        i, way = r.randrange(len(changed)), r.random()
        if way < 0.4:
            changed[i] = r.choice((0, 1, 2, 3, 4, 5, r.randrange(0x60, 0x80), r.randrange(256)))
        elif way < 0.7:
            changed[i] = (changed[i] + r.choice((-1, 1))) % 256
        elif way < 0.85:
            del changed[i]
        else:
            changed.insert(i, r.randrange(128))
    return bytes(changed)
