"""The layout of ids, and of what the runtime of lowered modules keeps for each: the names and numbers of
c/externref/ids.h, which says what they mean. tests/test_layouts.py compares the two."""

from __future__ import annotations

from types import ModuleType

__all__ = [
    "FAULT_BOUNDS",
    "FAULT_FORGED",
    "FAULT_FRAMES",
    "ID_INDEX",
    "ID_INDEX_BITS",
    "LINK_END",
    "RECORD_HOLDERS",
    "RECORD_ID",
    "RECORD_LINK",
    "RECORD_WORDS",
    "STATE_FAULT",
    "STATE_FRAMES",
    "STATE_FRAMES_END",
    "STATE_RECORDS",
    "STATE_RECORD_COUNT",
    "STATE_WORDS",
    "STATE_ZOMBIES",
    "STATE_ZOMBIE_COUNT",
    "TABLE_SIZE",
    "TABLE_SLOTS",
    "as_macros",
]

ID_INDEX_BITS = 26
ID_INDEX = (1 << ID_INDEX_BITS) - 1
"""The largest index there can be."""

RECORD_ID, RECORD_HOLDERS, RECORD_LINK, RECORD_WORDS = range(4)

STATE_ZOMBIES, STATE_ZOMBIE_COUNT, STATE_FAULT, STATE_FRAMES, STATE_FRAMES_END = range(5)
STATE_RECORDS, STATE_RECORD_COUNT, STATE_WORDS = range(5, 8)

TABLE_SLOTS, TABLE_SIZE = range(2)

LINK_END = 1

FAULT_BOUNDS, FAULT_FORGED, FAULT_FRAMES = range(1, 4)


def as_macros(*modules: ModuleType) -> str:
    """The constants of modules like this one for C, with ``HW_`` before their names."""
    constants = {name: value for module in modules for name, value in vars(module).items() if name.isupper()}
    return "".join(f"#define HW_{name} {value}\n" for name, value in constants.items())
