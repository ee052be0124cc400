"""The handle table of an instance, laid out in the instance's own memory.

Some toolchains take a handle for the address of its representation, or check that it is a multiple of four.
For them a fused module can have the table of a re-exporter, an instance that holds handles of resources which
it does not define, at the end of that instance's memory: a page more than the module asks for, with an i32
for each handle. The handle is the address of that. The first one is ``base + 4``, so that none is 0::

    base        base + 4    base + 8               base + 1024          base + 65536
    | not used  | rep of it | rep of it | ...      | 256 more, and so on |

The table takes room for 256 entries at first, and for 256 more when they are used up; the page can hold
16,384. After that the memory grows by one page, wherever its end is then. Freed entries are used again, the
last one first.

What the memory has no room for is in a private memory, which the guest cannot reach: of each entry 16 bytes
as tables.py has them; and where the entries of each later page are, by the page's number: 0 if the page is
not the table's. So all checks are those of other tables, and every handle is looked up before it is used as
an address. A guest can overwrite its table: what is found there is compared with the private copy, so that a
representation which the instance was not given never reaches the definer.

The guest must leave the page alone that it did not ask for. An allocator that takes all of the memory's first
size for its heap, instead of growing the memory or ending at ``__heap_end``, does not.
"""

from __future__ import annotations

import functools

from ..wasm.build import ANY_SIZE, ModuleBuilder
from ..wasm.emit import (
    call,
    global_get,
    global_set,
    i32_const,
    i64_const,
    if_,
    load,
    local_get,
    local_set,
    local_tee,
    memory_grow,
    memory_size,
    numeric,
    store,
    unreachable,
)
from ..wasm.types import I32, I64, FuncType, Limits
from .faults import Fault
from .tables import FUNCTIONS, add_pins

__all__ = ["PAGE", "memory_table_module"]

PAGE = 1 << 16
_FIRST = 1024  # bytes of 256 entries
_MAP_PAGES = 4  # for an i32 for each page of a memory
_ENTRIES_PAGES = 4  # for the private part of the entries of a page
_ENTRIES = _MAP_PAGES * PAGE  # the address of the first of them
_GUEST, _PRIVATE = 0, 1  # memories

_ONE = bytes((I32,))
_TO_ONE, _TO_NONE = FuncType(_ONE, _ONE), FuncType(_ONE, b"")


@functools.lru_cache(maxsize=256)
def memory_table_module(base: int) -> bytes:
    """The module of a table.

    Args:
        base: where the page begins that was added to the memory.

    It imports ``fault`` and ``memory`` of the module ``""``, and exports what tables.py has; for handles
    without a type ``ht_new``, ``ht_rep`` and ``ht_drop``; and ``ht_next``, the next handle that was never
    given out.
    """
    module = ModuleBuilder()
    fault = module.import_global("", "fault", True)
    module.import_memory("", "memory", ANY_SIZE)
    module.add_memory(Limits(_MAP_PAGES + _ENTRIES_PAGES, None))
    following, end = module.add_global(base + 4, "ht_next"), module.add_global(base + _FIRST)
    free = module.add_global(0)
    borrows = module.add_global(0, "borrows")
    calls = module.add_global(1, "calls", code=I64)
    dropped = module.add_global(0, "dropped")

    def trap(why: Fault) -> bytes:
        return global_set(fault, i32_const(why)) + unreachable()

    def of_page(address: bytes) -> bytes:
        """Where the map has the page of an address."""
        return numeric("i32.shl", numeric("i32.shr_u", address, i32_const(16)), i32_const(2))

    def offset(handle: bytes) -> bytes:
        """From the first of a page's entries to that of a handle."""
        return numeric("i32.shl", numeric("i32.and", handle, i32_const(PAGE - 1)), i32_const(2))

    # (handle) -> the address of its entry; local 1. Most handles are in the first page.
    elsewhere = if_(
        numeric("i32.eqz", local_tee(1, load("i32.load", of_page(local_get(0)), 0, _PRIVATE))),
        trap(Fault.UNKNOWN_HANDLE),
    ) + numeric("i32.add", local_get(1), offset(local_get(0)))
    locate = module.add_function(
        _TO_ONE,
        (I32,),
        if_(numeric("i32.and", local_get(0), i32_const(3)), trap(Fault.UNKNOWN_HANDLE))
        + if_(
            numeric(
                "i32.lt_u",
                local_tee(1, numeric("i32.sub", local_get(0), i32_const(base))),
                i32_const(PAGE),
            ),
            numeric("i32.add", numeric("i32.shl", local_get(1), i32_const(2)), i32_const(_ENTRIES)),
            elsewhere,
            I32,
        ),
    )
    # (handle, the address of its entry) -> its representation; local 2
    stored = module.add_function(
        FuncType(_ONE * 2, _ONE),
        (I32,),
        if_(
            numeric(
                "i32.ne",
                local_tee(2, load("i32.load", local_get(1), 0, _PRIVATE)),
                load("i32.load", local_get(0), 0, _GUEST),
            ),
            trap(Fault.TABLE_OVERWRITTEN),
        )
        + local_get(2),
    )
    # () -> (): room for 256 handles from ``ht_next`` on; local 0
    new_page = (
        if_(
            numeric("i32.eq", local_tee(0, memory_grow(i32_const(1), _GUEST)), i32_const(-1)),
            trap(Fault.TABLE_FULL),
        )
        + global_set(following, numeric("i32.shl", local_get(0), i32_const(16)))
        + global_set(end, global_get(following))
        + if_(
            numeric("i32.eq", local_tee(0, memory_grow(i32_const(_ENTRIES_PAGES), _PRIVATE)), i32_const(-1)),
            trap(Fault.TABLE_FULL),
        )
        + store(
            "i32.store",
            of_page(global_get(following)),
            numeric("i32.shl", local_get(0), i32_const(16)),
            0,
            _PRIVATE,
        )
    )
    grow = module.add_function(
        FuncType(b"", b""),
        (I32,),
        if_(numeric("i32.eqz", numeric("i32.and", global_get(end), i32_const(PAGE - 1))), new_page)
        + global_set(end, numeric("i32.add", global_get(end), i32_const(_FIRST))),
    )
    # (representation, what tables.py has at 4) -> handle; locals: 2 the handle, 3 the address of its entry
    reuse = local_set(3, call(locate, local_get(2))) + global_set(
        free, load("i32.load", local_get(3), 0, _PRIVATE)
    )
    fresh = (
        if_(numeric("i32.eq", global_get(following), global_get(end)), call(grow))
        + local_set(3, call(locate, local_tee(2, global_get(following))))
        + global_set(following, numeric("i32.add", local_get(2), i32_const(4)))
    )
    enter = module.add_function(
        FuncType(_ONE * 2, _ONE),
        (I32, I32),
        if_(local_tee(2, global_get(free)), reuse, fresh)
        + store("i32.store", local_get(2), local_get(0), 0, _GUEST)
        + store("i32.store", local_get(3), local_get(0), 0, _PRIVATE)
        + store("i32.store", local_get(3), local_get(1), 4, _PRIVATE)
        + local_get(2),
    )
    module.add_function(_TO_ONE, (), call(enter, local_get(0) + i32_const(1)), "ht_new")
    # (handle) -> the address of its entry, which is used
    used = local_set(1, call(locate, local_get(0))) + if_(
        numeric("i32.eqz", load("i32.load", local_get(1), 4, _PRIVATE)), trap(Fault.UNKNOWN_HANDLE)
    )
    module.add_function(_TO_ONE, (I32,), used + call(stored, local_get(0) + local_get(1)), "ht_rep")
    # (handle, the address of its entry)
    remove = module.add_function(
        FuncType(_ONE * 2, b""),
        (),
        store("i32.store", local_get(0), i32_const(0), 0, _GUEST)
        + store("i32.store", local_get(1), global_get(free), 0, _PRIVATE)
        + store("i32.store", local_get(1), i32_const(0), 4, _PRIVATE)
        + global_set(free, local_get(0)),
    )
    module.add_function(_TO_NONE, (I32,), used + call(remove, local_get(0) + local_get(1)), "ht_drop")

    def add(owned: bool) -> bytes:
        """Parameters: 0 the type, 1 the representation."""
        kind = numeric("i32.shl", local_get(0), i32_const(1))
        kind = numeric("i32.or", kind, i32_const(1)) if owned else kind
        return call(enter, local_get(1) + kind)

    # Parameters: 0 the type, 1 the handle. Locals: 2 the address of its entry, 3 its type and whether it is
    # owned.
    find = local_set(3, load("i32.load", local_tee(2, call(locate, local_get(1))), 4, _PRIVATE)) + if_(
        numeric("i32.ne", numeric("i32.shr_u", local_get(3), i32_const(1)), local_get(0)),
        if_(local_get(3), trap(Fault.WRONG_TYPE)) + trap(Fault.UNKNOWN_HANDLE),
    )
    representation = call(stored, local_get(1) + local_get(2))
    lent_to = load("i64.load", local_get(2), 8, _PRIVATE)
    refuse_lent = if_(
        numeric(
            "i32.or",
            numeric("i64.eq", lent_to, global_get(calls)),
            numeric("i64.lt_s", lent_to, i64_const(0)),
        ),
        trap(Fault.LENT),
    )
    owned = numeric("i32.and", local_get(3), i32_const(1))
    count_down = global_set(borrows, numeric("i32.sub", global_get(borrows), i32_const(1)))
    lend = if_(
        numeric("i64.ge_s", lent_to, i64_const(0)),
        store("i64.store", local_get(2), global_get(calls), 8, _PRIVATE),
    )
    taken = representation + call(remove, local_get(1) + local_get(2))  # leaves the representation
    forget = global_set(dropped) + if_(numeric("i32.eqz", owned), count_down)
    bodies = {
        "own": add(True),
        "borrow": global_set(borrows, numeric("i32.add", global_get(borrows), i32_const(1))) + add(False),
        "rep": find + representation,
        "lend": find + lend + representation,
        "take": find + refuse_lent + if_(numeric("i32.eqz", owned), trap(Fault.NOT_OWNED)) + taken,
        "drop": find + refuse_lent + taken + forget + owned,
    }
    for name, body in bodies.items():
        module.add_function(FUNCTIONS[name], (I32, I32), body, name)
    pages = numeric("i32.shl", memory_size(_PRIVATE), i32_const(16))
    add_pins(module, calls, i32_const(_ENTRIES), pages, 16, _PRIVATE)
    return module.written()
