"""The handle table of a component instance: a module of its own, so that no guest reaches its memory.

Its bytes are always the same, so that an engine compiles it once for all instances. An entry, at 16 times the
handle, has 16 bytes::

    0   representation; of a free entry the next free one
    4   2 * number of the resource type + whether the handle is owned; 0: the entry is free
    8   the number of the call that it, or one that had the entry before, was lent to last, 64 bits; below 0:
        it is pinned

Entry 0 is never given out. Freed entries are used again, the last one first, as the canonical ABI has it: a
handle is the number of its entry, and one that was given away may soon be another. In a *hardened* table a
handle also has the number of times that its entry was used, modulo 2**11, above the 20 bits of the entry's
number::

    16  the handle that the entry has, or had last; the entry has 32 bytes, at 32 times its number

An instance has at most one call of its own out at a time: whoever it calls cannot call it back. So what is
lent is what was lent to the call that is out, and all of that ends when ``calls`` is counted up; no handle is
looked at again. For the same reason the handles that were lent to the instance are those of one call, and one
number says how many of them it still has.

There is an exception: an instance may be called by those that it contains. While such a call is in it, what
was lent to calls further out is *pinned*: its entry has, instead of the number of a call, that of the level
below 0. Pinning looks at the whole table, as it is rare.

Format: component model, CanonicalABI.md, "Table State" and "Resource State".
"""

from __future__ import annotations

import functools

from ..wasm.build import ModuleBuilder
from ..wasm.emit import (
    block,
    br,
    br_if,
    global_get,
    global_set,
    i32_const,
    i64_const,
    if_,
    load,
    local_get,
    local_set,
    local_tee,
    loop,
    memory_grow,
    memory_size,
    numeric,
    store,
    unreachable,
)
from ..wasm.types import I32, I64, FuncType, Limits
from .faults import Fault

__all__ = ["FUNCTIONS", "GLOBALS", "add_pins", "table_module"]

_MOST = (1 << 28) - 1  # handles, as the canonical ABI bounds them
_INDEX_BITS = 20  # of a handle of a hardened table
_POSITIVE = (1 << 31) - 1  # handles are no negative numbers, which some toolchains take for errors

_ONE, _TWO = bytes((I32,)), bytes((I32, I32))
FUNCTIONS = {
    "own": FuncType(_TWO, _ONE),
    "borrow": FuncType(_TWO, _ONE),
    "rep": FuncType(_TWO, _ONE),
    "lend": FuncType(_TWO, _ONE),
    "take": FuncType(_TWO, _ONE),
    "drop": FuncType(_TWO, _ONE),
    "pin": FuncType(b"", b""),
    "unpin": FuncType(b"", b""),
}
"""What the module exports; most take the number of a resource type, and then

- ``own``, ``borrow``: a representation, and gives a new handle;
- ``rep``: a handle, and gives its representation; ``lend`` also lends it to the call that is out;
- ``take``: an owned handle, which is not lent; it leaves the table, and its representation is given;
- ``drop``: a handle that is not lent; it leaves the table. Given is whether it was owned; the representation
  is in the global ``dropped`` then.

``pin`` is called when the instance is entered while a call of its own is out, ``unpin`` when that returns.
"""

GLOBALS = {"borrows": I32, "calls": I64, "dropped": I32}
"""Mutable globals that it exports; ``borrows`` is how many borrowed handles it has, ``calls`` see above."""


@functools.lru_cache(maxsize=2)
def table_module(hardened: bool = False) -> bytes:
    """It imports the global ``fault``, of the module ``""``, which says why it trapped."""
    shift, most = (5, (1 << _INDEX_BITS) - 1) if hardened else (4, _MOST)
    module = ModuleBuilder()
    fault = module.import_global("", "fault", True)
    module.add_memory(Limits(1, None))
    length, free = module.add_global(1), module.add_global(0)
    borrows = module.add_global(0, "borrows")
    calls = module.add_global(1, "calls", code=I64)
    dropped = module.add_global(0, "dropped")

    def trap(why: Fault) -> bytes:
        return global_set(fault, i32_const(why)) + unreachable()

    def address(handle: bytes) -> bytes:
        return numeric("i32.shl", handle, i32_const(shift))

    # Parameters: 0 the type, 1 the representation. Locals: 2 the entry's number, 3 its address.
    grow = if_(
        numeric("i32.ge_u", numeric("i32.shr_u", local_get(3), i32_const(16)), memory_size()),
        if_(
            numeric("i32.eq", memory_grow(memory_size()), i32_const(-1)),
            if_(numeric("i32.eq", memory_grow(i32_const(1)), i32_const(-1)), trap(Fault.TABLE_FULL)),
        ),
    )
    place = if_(
        local_tee(2, global_get(free)),
        global_set(free, load("i32.load", local_tee(3, address(local_get(2))))),
        if_(numeric("i32.gt_u", local_tee(2, global_get(length)), i32_const(most)), trap(Fault.TABLE_FULL))
        + local_set(3, address(local_get(2)))
        + grow
        + global_set(length, numeric("i32.add", local_get(2), i32_const(1))),
    )

    used = numeric("i32.add", load("i32.load", local_get(3), 16), i32_const(most + 1))
    handle = numeric("i32.or", numeric("i32.and", used, i32_const(_POSITIVE ^ most)), local_get(2))
    next_use = local_set(2, handle) + store("i32.store", local_get(3), local_get(2), 16)

    def add(owned: bool) -> bytes:
        kind = numeric("i32.shl", local_get(0), i32_const(1))
        kind = numeric("i32.or", kind, i32_const(1)) if owned else kind
        return (
            place
            + store("i32.store", local_get(3), local_get(1))
            + store("i32.store", local_get(3), kind, 4)
            + (next_use if hardened else b"")
            + local_get(2)
        )

    # Parameters: 0 the type, 1 the handle. Locals: 2 the address of its entry, 3 its type and whether it is
    # owned.
    index, other_use = local_get(1), b""
    if hardened:  # the second parameter becomes the number of the entry
        index = numeric("i32.and", local_get(1), i32_const(most))
        differs = numeric("i32.ne", load("i32.load", local_get(2), 16), local_get(1))
        other_use = if_(differs, trap(Fault.UNKNOWN_HANDLE)) + local_set(1, index)
    find = (
        if_(numeric("i32.ge_u", index, global_get(length)), trap(Fault.UNKNOWN_HANDLE))
        + local_set(3, load("i32.load", local_tee(2, address(index)), 4))
        + other_use
        + if_(
            numeric("i32.ne", numeric("i32.shr_u", local_get(3), i32_const(1)), local_get(0)),
            if_(local_get(3), trap(Fault.WRONG_TYPE)) + trap(Fault.UNKNOWN_HANDLE),
        )
    )
    lent_to = load("i64.load", local_get(2), 8)
    refuse_lent = if_(
        numeric(
            "i32.or",
            numeric("i64.eq", lent_to, global_get(calls)),
            numeric("i64.lt_s", lent_to, i64_const(0)),
        ),
        trap(Fault.LENT),
    )
    # It leaves the representation.
    remove = (
        load("i32.load", local_get(2))
        + store("i32.store", local_get(2), global_get(free))
        + store("i32.store", local_get(2), i32_const(0), 4)
        + global_set(free, local_get(1))
    )
    owned = numeric("i32.and", local_get(3), i32_const(1))
    count_down = global_set(borrows, numeric("i32.sub", global_get(borrows), i32_const(1)))
    lend = if_(
        numeric("i64.ge_s", lent_to, i64_const(0)), store("i64.store", local_get(2), global_get(calls), 8)
    )
    forget = global_set(dropped) + if_(numeric("i32.eqz", owned), count_down)
    bodies = {
        "own": add(True),
        "borrow": global_set(borrows, numeric("i32.add", global_get(borrows), i32_const(1))) + add(False),
        "rep": find + load("i32.load", local_get(2)),
        "lend": find + lend + load("i32.load", local_get(2)),
        "take": find + refuse_lent + if_(numeric("i32.eqz", owned), trap(Fault.NOT_OWNED)) + remove,
        "drop": find + refuse_lent + remove + forget + owned,
    }
    for name, body in bodies.items():
        module.add_function(FUNCTIONS[name], (I32, I32), body, name)

    add_pins(module, calls, i32_const(0), address(global_get(length)), 1 << shift)
    return module.written()


def add_pins(module: ModuleBuilder, calls: int, first: bytes, end: bytes, size: int, memory: int = 0) -> None:
    """Add the functions ``pin`` and ``unpin``.

    Args:
        calls: the index of that global.
        first, end: code for where the entries begin and end; what was never used there is 0.
        size: of an entry.
        memory: which one they are in.
    """
    level = module.add_global(0, code=I64)  # how often the instance was entered so, below 0

    def each(old: bytes, new: bytes) -> bytes:
        """Change what is at 8 in all entries. Locals: 0 the address of an entry."""
        return local_set(0, first) + block(
            loop(
                br_if(1, numeric("i32.ge_u", local_get(0), end)),
                if_(
                    numeric("i64.eq", load("i64.load", local_get(0), 8, memory), old),
                    store("i64.store", local_get(0), new, 8, memory),
                ),
                local_set(0, numeric("i32.add", local_get(0), i32_const(size))),
                br(0),
            )
        )

    deeper = global_set(level, numeric("i64.sub", global_get(level), i64_const(1)))
    back = global_set(level, numeric("i64.add", global_get(level), i64_const(1)))
    pin = deeper + each(global_get(calls), global_get(level))
    unpin = each(global_get(level), global_get(calls)) + back
    module.add_function(FUNCTIONS["pin"], (I32,), pin, "pin")
    module.add_function(FUNCTIONS["unpin"], (I32,), unpin, "unpin")
