"""The layouts that C and Python share: the same names stand for the same numbers on both sides."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from hiwire_py import handles
from hiwire_py.objects import layout

C = Path(__file__).resolve().parents[1] / "c"
HEADERS: dict[str, tuple[str, ModuleType]] = {
    "handles": ("hiwire/layout.h", handles),
    "ids": ("externref/ids.h", layout),
}


def constants(header: str) -> dict[str, int]:
    """What the enums of a C header define, in which each value is given, by earlier ones at most."""
    found: dict[str, int] = {}
    text = re.sub(r"/\*.*?\*/", "", (C / header).read_text("utf-8"), flags=re.DOTALL)
    for body in re.findall(r"\benum \{(.*?)\};", text, flags=re.DOTALL):
        for entry in filter(None, map(str.strip, body.split(","))):
            name, value = entry.split("=")
            found[name.strip()] = eval(value, {"__builtins__": {}}, dict(found))
    return found


@pytest.mark.parametrize("what", HEADERS)
def test_the_same_numbers(what: str) -> None:
    """The C headers are the source; Python has what it needs of them, and nothing else but the largest values
    that fields can have."""
    header, module = HEADERS[what]
    written = constants(header)
    ours = {name: value for name, value in vars(module).items() if name.isupper()}
    assert len(ours) > 6 and len(written) > 8
    largest = {"INDEX": "INDEX_BITS", "COUNT_MAX": "COUNT_BITS", "ID_INDEX": "ID_INDEX_BITS"}
    for name, value in ours.items():
        expected = (1 << written[largest[name]]) - 1 if name in largest else written[name]
        assert value == expected, name
