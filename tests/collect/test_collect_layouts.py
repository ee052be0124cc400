"""Layouts: from numbers, from C, wrong ones, and memory that does not say what they promise."""

from __future__ import annotations

import random
import struct
import weakref
from pathlib import Path
from typing import Any

import pytest
from c_support import CFLAGS, LIBRARY, compiler
from support import Thing, wat

from hiwire_py import Guest, GuestObject, Hiwire, collect, layout
from hiwire_py.collect import Layout

_GUEST = """(module (memory (export "memory") 1)
  (func (export "free") (param i32)) (func (export "hiwire_layout_it") (result i32) (i32.const {at}))
  (data (i32.const 64) "{data}"))"""

_C = """
#include <hiwire_layout.h>
typedef struct Leaf { char name[6]; HwRef value; } Leaf;
typedef struct Node Node;
struct Node { char tag; HwRef one; double weight; Node *next; HwRef other; Leaf *leaf; };
HIWIRE_LAYOUT(leaf, Leaf, HIWIRE_HANDLE(Leaf, value));
HIWIRE_LAYOUT(node, Node, HIWIRE_HANDLE(Node, one), HIWIRE_OWNS(Node, next, node), HIWIRE_HANDLE(Node, other),
              HIWIRE_OWNS(Node, leaf, leaf));
"""


def _compile(source: str, folder: Path) -> Path:
    toolchain = compiler()
    (folder / "it.c").write_text(source)
    objects = toolchain.objects([folder / "it.c"], folder, options=(CFLAGS, f"-I{LIBRARY}"))
    return toolchain.link(objects, folder / "it.wasm")


def test_from_c(tmp_path: Path) -> None:
    """The offsets are the compiler's, and descriptions may refer to themselves and each other."""
    guest = Guest(_compile(_C, tmp_path), engine="wasmtime")
    node, leaf = layout(guest, "node"), layout(guest, "leaf")
    assert (node.size, [4 * offset for offset in node.handles]) == (32, [4, 20])
    assert (leaf.size, leaf.handles) == (12, (2,))
    (next_at, next_layout), (leaf_at, leaf_layout) = node.owns()
    assert (4 * next_at, 4 * leaf_at) == (16, 24)
    assert next_layout is node and leaf_layout.handles == leaf.handles
    with pytest.raises(LookupError, match=r"HIWIRE_LAYOUT\(tree"):
        layout(guest, "tree")


@pytest.mark.parametrize("wrong", ["HIWIRE_HANDLE(Leaf, name)", "HIWIRE_OWNS(Leaf, name[0], leaf)"])
def test_c_refuses_other_members(tmp_path: Path, wrong: str) -> None:
    """A member that is no handle or no pointer does not compile."""
    with pytest.raises(Exception, match=r"it\.c"):
        _compile(_C.replace("HIWIRE_HANDLE(Leaf, value)", wrong), tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"handles": [2]}, "offset 2 is not a multiple of 4"),
        ({"handles": [8]}, "offset 8 is not within the struct of 8 bytes"),
        ({"handles": [-4]}, "not within"),
        ({"handles": [4, 4]}, "offset 4 is there twice"),
        ({"handles": [4], "owns": {4: layout(4)}}, "offset 4 is there twice"),
    ],
)
def test_bad_layouts(arguments: dict[str, Any], message: str) -> None:
    """Refused with what is wrong, when they are made."""
    with pytest.raises(ValueError, match=message):
        layout(8, **arguments)
    for size in (0, 3, -8, 1 << 33):
        with pytest.raises(ValueError, match="a struct has from 4"):
            layout(size)
    with pytest.raises(TypeError, match="must own a layout, not int"):
        layout(8, owns={0: 5})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "at, words",
    [
        (65536, []),  # not within the memory
        (-4, []),
        (64, [8, 1 << 30, 64]),  # too many fields
        (64, [8, 4, 65500]),  # fields not within the memory
        (64, [8, 1, 76, 3, 0, 0]),  # a field of no kind
        (64, [8, 1, 76, 1, 8, 0]),  # a field outside the struct
        (64, [8, 1, 76, 2, 0, 65530]),  # what it owns is not within the memory
        (64, [0, 0, 0]),  # no size
    ],
)
def test_damaged_descriptions(at: int, words: list[int]) -> None:
    """What a guest describes is read with the same care as all its memory."""
    data = "".join(f"\\{byte:02x}" for byte in struct.pack(f"<{len(words)}I", *words))
    guest = Guest(wat(_GUEST.format(at=at, data=data)), engine="wasmtime")
    with pytest.raises(ValueError, match="the description of 'it' is damaged"):
        layout(guest, "it")


def test_a_description_that_multiplies() -> None:
    """Many structs that name the same many fields are few bytes, but would be millions of fields."""
    count, structs, fields = 1500, 32768, 4096
    words = [word for i in range(count) for word in (2, 4 * i, structs + 12 * i)]
    memory = bytearray(65536)
    memory[fields : fields + 4 * len(words)] = struct.pack(f"<{len(words)}I", *words)
    memory[structs : structs + 12 * count] = struct.pack("<III", 4 * count, count, fields) * count
    guest = Guest(wat(_GUEST.format(at=structs, data="")), hiwire=Hiwire())
    guest.memory.write(0, memory)
    with pytest.raises(ValueError, match="the description of 'it' is damaged: it has no end"):
        layout(guest, "it")


def _wrapper(guest: Guest, pointer: int, described: Layout, *handles: int) -> GuestObject:
    guest.memory.write(pointer, struct.pack(f"<{len(handles)}I", *handles))
    return GuestObject(guest, pointer, layout=described, free="free")


@pytest.fixture
def guest(engine: str) -> Guest:
    table = Hiwire(engine=engine)
    return Guest(wat(_GUEST.format(at=0, data="")), hiwire=table)


def _table(guest: Guest) -> Hiwire:
    assert guest.table is not None
    return guest.table


def test_more_copies_than_counts(guest: Guest) -> None:
    """Two fields say that they own one count: noticed, and the object is kept."""
    thing = Thing()
    handle = _table(guest).new(thing)
    thing.name = _wrapper(guest, 64, layout(8, handles=[0, 4]), handle, handle)
    watch = weakref.ref(thing)
    del thing
    with pytest.warns(RuntimeWarning, match="does not describe the guest's memory"):
        assert collect() == 0
    assert watch() is not None


def test_structs_that_overlap(guest: Guest) -> None:
    """A copy is not counted twice because two layouts lie over it: the global copy keeps the object."""
    thing = Thing()
    handle = _table(guest).new(thing)
    _table(guest).incref(handle)
    thing.name = [_wrapper(guest, 64, layout(8, handles=[4]), 0, handle)]
    thing.name.append(_wrapper(guest, 68, layout(4, handles=[0]), handle))
    watch = weakref.ref(thing)
    del thing
    with pytest.warns(RuntimeWarning, match="does not describe"):
        assert collect() == 0
    assert watch() is not None


def test_two_owners_and_rings(guest: Guest) -> None:
    """Structs that own each other in a ring, and one with two owners: read once, and kept."""
    described: Layout = layout(8, handles=[0], owns={4: lambda: described})
    things = [Thing(), Thing()]
    one, other = (_table(guest).new(thing) for thing in things)
    guest.memory.write(128, struct.pack("<II", other, 128))
    things[0].name = _wrapper(guest, 64, described, one, 128)
    things[1].name = _wrapper(guest, 256, described, 0, 128)
    watches = [weakref.ref(thing) for thing in things]
    things.clear()
    with pytest.warns(RuntimeWarning, match="does not describe"):
        collect()
    assert watches[1]() is not None


def test_stale_and_foreign_numbers(guest: Guest) -> None:
    """Numbers in handle fields that the table does not know, or only in another version, mean nothing."""
    table = _table(guest)
    stale = table.new(Thing())
    table.decref(stale)
    thing = Thing()
    current = table.new(thing)
    assert current != stale and current >> 1 & 0x1FFFFFF == stale >> 1 & 0x1FFFFFF
    wrappers = [_wrapper(guest, 64 + 8 * i, layout(8, handles=[0]), number)
                for i, number in enumerate([stale, 2, 1, 0xFFFFFFFF, 0x7FFFFFFF])]  # fmt: skip
    watch = weakref.ref(thing)
    del thing
    assert collect() == 0 and watch() is table.get(current)
    wrappers.clear()
    assert collect() == 5


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_memory(guest: Guest) -> None:
    """Whatever is in the memory: no crash, no endless loop, and what Python holds is what it was."""
    table, rng = _table(guest), random.Random(7)
    described: Layout = layout(16, handles=[0, 8], owns={4: lambda: described, 12: lambda: wide})
    wide: Layout = layout(40_000, handles=[0, 39_996], owns={8: lambda: described})
    things = [Thing(number) for number in range(20)]
    for turn in range(30):
        handles = [table.new(thing) for thing in things]
        numbers = [*handles, *range(0, 65536, 4096), 65532, 65536, 1 << 31, 0xFFFFFFFC, 0xFFFFFFFF, 7]
        guest.memory.write(0, struct.pack("<16384I", *rng.choices(numbers, k=16384)))
        wrappers = [GuestObject(guest, pointer, layout=rng.choice([described, wide]), free="free")
                    for pointer in rng.sample(range(16, 20_000, 4), 10)]  # fmt: skip
        for thing, wrapper in zip(things, wrappers):
            thing.name = wrapper
        collect()
        assert [table.get(handle) for handle in handles] == things, f"turn {turn}"
        for thing in things:
            thing.name = None
        wrappers.clear()
        del wrapper
        collect()
        for handle in handles:
            table.decref(handle)
    assert len(table) == 0
