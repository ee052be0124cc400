"""The side table: its three forms behave the same on every engine, driven by one Python host.

It is long because one set of tests is for all three forms.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial

import pytest
from sidetable_support import PAGE, form_module, limit_table
from support import Thing, wat

from hiwire_py import (
    ClosedError,
    HiwireError,
    NullRefError,
    TableFullError,
    UnsupportedModuleError,
    WrongThreadError,
    collect,
)
from hiwire_py.sidetable import MOST_MEMORY, SideTable, WasmObject


@pytest.fixture
def table(form: str, engine: str) -> SideTable:
    """A side table of that form in 10 pages."""
    return SideTable(form_module(form), engine=engine)


class Callback:
    """A callback that weak references can watch."""

    def __init__(self, *then: Callable[[], object]) -> None:
        self.then = then
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        for function in self.then:
            function()


def fill(table: SideTable) -> tuple[list[WasmObject], list[Callback]]:
    """As many objects with callbacks as there is room for."""
    objects: list[WasmObject] = []
    callbacks: list[Callback] = []
    while True:
        try:
            made = WasmObject(table)
            callback = Callback()
            made.attach_callback(callback)
        except TableFullError:
            return objects, callbacks
        objects.append(made)
        callbacks.append(callback)


def test_the_guest_calls_what_was_attached_last(table: SideTable) -> None:
    """Each object calls its own callback, any number of times, and a new one instead of the old one."""
    objects = [WasmObject(table) for _ in range(10)]
    callbacks = [Callback() for _ in objects]
    for made, callback in zip(objects, callbacks):
        made.attach_callback(callback)
    for made in objects * 2:
        made.invoke_callback()
    other = Callback()
    objects[3].attach_callback(other)
    objects[3].invoke_callback()
    assert [callback.calls for callback in callbacks] == [2] * 10
    assert other.calls == 1
    assert len(table) == 10


def test_what_a_callback_raises_comes_out_as_itself(table: SideTable) -> None:
    """An exception crosses the guest unchanged, and the object still works."""
    error = KeyError("from the callback")

    def fail() -> None:
        raise error

    made = WasmObject(table)
    made.attach_callback(fail)
    with pytest.raises(KeyError) as caught:
        made.invoke_callback()
    assert caught.value is error
    made.attach_callback(callback := Callback())
    made.invoke_callback()
    assert callback.calls == 1


def test_an_object_without_a_callback_says_so(table: SideTable) -> None:
    """-1 is no handle: the host is handed null and raises; what is not callable is refused."""
    made = WasmObject(table)
    with pytest.raises(NullRefError, match="attach_callback"):
        made.invoke_callback()
    with pytest.raises(TypeError, match="a callback must be a callable, not int"):
        made.attach_callback(3)  # type: ignore[arg-type]
    with pytest.raises(NullRefError):
        made.invoke_callback()


@pytest.mark.usefixtures("no_gc")
def test_callbacks_die_with_their_objects(table: SideTable) -> None:
    """A replaced callback is let go at once, that of a dead wrapper when the table is used next; without the
    collector."""
    made = WasmObject(table)
    first, second = Callback(), Callback()
    watch_first, watch_second = weakref.ref(first), weakref.ref(second)
    made.attach_callback(first)
    del first
    assert watch_first() is not None
    made.attach_callback(second)
    del second
    assert watch_first() is None
    assert watch_second() is not None
    del made
    assert watch_second() is not None, "finalizers only take notes"
    WasmObject(table)
    assert watch_second() is None
    assert (table.collect(), len(table)) == (1, 0)


@pytest.mark.usefixtures("no_gc")
def test_rounds_of_objects_stay_bounded(table: SideTable, form: str) -> None:
    """100 rounds of 1,000 objects in 10 pages of memory never need more than one. (30 rounds, which are
    already more than fit at once, for the other two forms.)"""
    rounds = 100 if form == "c" else 30
    calls = 0

    def callback() -> None:
        nonlocal calls
        calls += 1

    for _ in range(rounds):
        objects = [WasmObject(table) for _ in range(1000)]
        for made in objects:
            made.attach_callback(callback)
        objects[-1].invoke_callback()
        assert len(table) == 1000
        assert table.memory.size == PAGE
        del objects, made
    assert calls == rounds
    assert (table.collect(), len(table)) == (1000, 0)


def test_a_full_table_is_an_exception_and_recovers(form: str, engine: str) -> None:
    """Out of memory is TableFullError, which is a MemoryError; nothing is lost, and freed room can be used
    again."""
    table = SideTable(form_module(form), engine=engine, memory_limit=3 * PAGE - 1)
    objects, callbacks = fill(table)
    assert table.memory.size == 2 * PAGE
    assert 4000 < len(objects) < 2 * PAGE // 16
    with pytest.raises(MemoryError, match=r"2 pages.*memory_limit") as caught:
        [WasmObject(table) for _ in range(2 * PAGE // 16)]
    assert isinstance(caught.value, TableFullError)
    assert isinstance(caught.value, HiwireError)
    del caught
    for made in objects[::97]:
        made.invoke_callback()
    assert [callback.calls for callback in callbacks] == [int(i % 97 == 0) for i in range(len(callbacks))]
    count = len(objects)
    del objects[: count // 2], callbacks[: count // 2], made
    refilled = fill(table)
    assert len(objects) + len(refilled[0]) == count
    for made in (objects[0], objects[-1], refilled[0][-1]):
        made.invoke_callback()
    assert (callbacks[-1].calls, refilled[1][-1].calls) == (1 + int((count - 1) % 97 == 0), 1)


def test_a_failed_attach_leaves_the_object_as_it_was(form: str, engine: str) -> None:
    """Memory full of objects has no room for nodes: attaching fails, until some objects go."""
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE)
    objects = []
    with pytest.raises(TableFullError):
        while True:
            objects.append(WasmObject(table))
    callback = Callback()
    for _ in range(3):
        with pytest.raises(TableFullError):
            for made in objects[:3]:  # the table grows by one, twice, and that needs no nodes; then by two
                made.attach_callback(callback)
    for made in objects[:2]:
        made.invoke_callback()
    with pytest.raises(NullRefError):
        objects[2].invoke_callback()
    assert callback.calls == 2
    del objects[-10:]
    for made in objects[2:6]:
        made.attach_callback(callback)
        made.invoke_callback()
    assert callback.calls == 6


def test_a_table_that_cannot_grow_is_full_too(form: str, engine: str) -> None:
    """table.grow fails at its maximum: the same exception, whatever was allocated for it is given back."""
    table = SideTable(
        limit_table(form_module(form), 12), engine=engine, on_full=None
    )  # sizes 0, 1, 2, 4, 7, 11
    objects = [WasmObject(table) for _ in range(12)]
    callback = Callback()
    for made in objects[:11]:
        made.attach_callback(callback)
    for _ in range(2000):  # 5 nodes each: if they were lost, memory would grow
        with pytest.raises(TableFullError):
            objects[11].attach_callback(callback)
    assert table.memory.size == PAGE
    del objects[0], made
    table.collect()
    objects[10].attach_callback(callback)
    for made in objects:
        made.invoke_callback()
    assert callback.calls == 11


def test_before_giving_up_the_table_looks_for_dead_wrappers(form: str, engine: str) -> None:
    """`on_full` runs once, when there is no room; by default it is `collect`."""
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE)
    gc.disable()
    try:
        for _ in range(6000):  # a page has room for fewer than 4,096
            made = WasmObject(table)
            cycle = [made]
            cycle.append(cycle)  # type: ignore[arg-type]
            del made, cycle
    finally:
        gc.enable()
    calls = Callback()
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE, on_full=calls)
    fill(table)
    assert calls.calls == 1
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE, on_full=None)
    assert len(fill(table)[0]) > 2000


def test_callbacks_may_use_the_table(table: SideTable) -> None:
    """A callback makes objects, attaches, invokes, and drops the object it was called through: that one is
    freed only when the guest has returned."""
    made: list[WasmObject] = [WasmObject(table)]
    inner = Callback()

    def callback() -> None:
        made.clear()
        other = WasmObject(table)
        other.attach_callback(inner)
        other.invoke_callback()
        made.append(other)
        assert table.collect() == 0
        assert len(table) == 2

    made[0].attach_callback(callback)
    made[0].invoke_callback()
    assert inner.calls == 1
    assert (table.collect(), len(table)) == (1, 1)
    made[0].invoke_callback()
    assert inner.calls == 2


def test_a_callback_may_find_the_table_full(form: str, engine: str) -> None:
    """While the guest runs nothing can be freed, so the exception comes at once, and out of the outer
    call."""
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE)
    first = WasmObject(table)
    objects: list[WasmObject] = []

    def callback() -> None:
        objects.clear()
        WasmObject(table)

    first.attach_callback(callback)
    with pytest.raises(TableFullError):
        while True:
            objects.append(WasmObject(table))
    with pytest.raises(TableFullError):
        first.invoke_callback()
    assert not objects
    WasmObject(table)
    assert len(table) == 2, "the others were freed, once the guest had returned"


def test_a_wrapper_kept_by_a_finalizer_keeps_its_object(table: SideTable) -> None:
    """Another object's __del__ brings the wrapper back to life: it works, and is freed when it dies for
    good."""
    kept: list[WasmObject] = []

    class Keeper:
        wrapper: WasmObject

        def __del__(self) -> None:
            kept.append(self.wrapper)

    keeper = Keeper()
    keeper.wrapper = WasmObject(table)
    keeper.wrapper.attach_callback(callback := Callback())
    cycle = [keeper]
    cycle.append(cycle)  # type: ignore[arg-type]
    del keeper, cycle
    gc.collect()
    assert len(kept) == 1
    assert table.collect() == 0
    kept[0].invoke_callback()
    assert callback.calls == 1
    kept.clear()
    gc.collect()
    assert (table.collect(), len(table)) == (1, 0)


def test_wrappers_may_die_on_another_thread(table: SideTable) -> None:
    """A finalizer elsewhere only takes a note; the table itself refuses other threads."""
    objects = [WasmObject(table) for _ in range(10)]
    refused: list[BaseException] = []

    def other() -> None:
        objects.clear()
        for use in (table.collect, lambda: WasmObject(table)):
            try:
                use()
            except WrongThreadError as error:
                refused.append(error.with_traceback(None))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(refused) == 2
    assert len(table) == 10
    assert (table.collect(), len(table)) == (10, 0)


def test_a_table_ends_when_it_is_closed(table: SideTable) -> None:
    """Then callbacks are let go, wrappers refuse, and dying wrappers do no harm."""
    made = WasmObject(table)
    made.attach_callback(callback := Callback())
    watch = weakref.ref(callback)
    del callback
    with table:
        made.invoke_callback()
    assert watch() is None
    for use in (
        made.invoke_callback,
        partial(made.attach_callback, print),
        lambda: WasmObject(table),
        table.collect,
    ):
        with pytest.raises(ClosedError):
            use()
    del made, use
    table.close()


def test_a_dropped_table_goes_even_with_cycles_through_it(form: str, engine: str) -> None:
    """A callback that holds its own wrapper keeps it alive where the collector does not look, but not longer
    than the table, which holds both."""
    table = SideTable(form_module(form), engine=engine, cycles=False)
    thing = Thing()
    watch, watch_table = weakref.ref(thing), weakref.ref(table)
    made = WasmObject(table)
    made.attach_callback(lambda made=made, thing=thing: None)  # type: ignore[misc]
    del made, thing
    assert collect() == 0
    assert table.collect() == 0
    assert watch() is not None
    del table
    gc.collect()
    assert watch() is None
    assert watch_table() is None


@pytest.mark.usefixtures("no_gc")
def test_a_table_without_cycles_dies_by_its_counts(form: str, engine: str) -> None:
    """Nothing of the host refers to itself."""
    table = SideTable(form_module(form), engine=engine)
    made = WasmObject(table)
    made.attach_callback(callback := Callback())
    watch = weakref.ref(callback)
    del callback, made, table
    assert watch() is None


def test_bad_arguments(engine: str) -> None:
    """A module that is no side table, and limits that no module has, are refused by name."""
    stub = wat(
        '(module (import "env" "memory" (memory 1)) (func (export "make_obj") (result i32) (i32.const 0)))'
    )
    with pytest.raises(
        UnsupportedModuleError, match="does not export free_obj, attach_callback, invoke_callback"
    ):
        SideTable(stub, engine=engine)
    for limit in (0, PAGE - 1, MOST_MEMORY + 1):
        with pytest.raises(ValueError, match=f"not {limit}"):
            SideTable(stub, engine=engine, memory_limit=limit)


def test_a_wrapper_that_could_not_be_made_leaves_nothing(form: str, engine: str) -> None:
    """Its finalizer runs all the same, and must not free address 0."""
    table = SideTable(form_module(form), engine=engine, memory_limit=PAGE)
    objects, _ = fill(table)
    count = len(table)
    for _ in range(3):
        with pytest.raises(TableFullError):
            [WasmObject(table) for _ in range(count)]
        gc.collect()
    table.collect()
    assert len(table) == len(objects)
