"""Greenlets that switch in host functions. Run by test_greenlets.py, in a process of its own:

python greenlet_scenarios.py ENGINE NAME
"""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import greenlet
from support import Thing, wat

from hiwire_py import Guest, Hiwire, WrongThreadError

MODULE = wat("""(module (import "e" "h" (func $h (param externref) (result externref)))
  (table (export "t") 4 externref) (global (export "g") (mut externref) (ref.null extern))
  (func (export "call") (param externref) (result externref) (call $h (local.get 0)))
  (func (export "set") (param i32 externref) (table.set 0 (local.get 0) (local.get 1)))
  (func (export "number") (param i32) (result i32) (local.get 0))
  (func (export "trap") (param externref) (drop (call $h (local.get 0))) unreachable))""")
engine = ""


def guest(function: Callable[[Any], Any], **kwargs: Any) -> Guest:
    if "hiwire" not in kwargs:
        kwargs["engine"] = engine
    return Guest(MODULE, {"e": {"h": function}}, **kwargs)


def refused(function: Callable[..., Any], *args: Any) -> None:
    try:
        function(*args)
    except WrongThreadError as error:
        assert "another greenlet of this thread" in str(error), error
    else:
        raise AssertionError(f"{function} was not refused")


def switching() -> tuple[Guest, greenlet.greenlet, greenlet.greenlet]:
    """A guest, the main greenlet, and one that is in its host function."""
    main = greenlet.getcurrent()
    one = guest(lambda thing: main.switch(thing) or thing)
    inner = greenlet.greenlet(one.exports.call)
    inner.switch(Thing())
    return one, main, inner


def entries() -> None:
    """Every way into a guest of the thread is refused meanwhile, and open again afterwards."""
    other = guest(lambda thing: thing)
    table = Hiwire(engine=engine)
    ref = table.new("kept")
    one, _, inner = switching()
    for _ in range(3):
        for each in (one, other):
            refused(each.exports.call, 1)
            refused(each.exports.number, 1)
            refused(each.exports.set, 0, 1)
            refused(lambda each=each: each.exports.t[0])
            refused(lambda each=each: each.exports.g.value)
        refused(table.new, 1)
        refused(table.get, ref)
        refused(lambda: guest(print))
        refused(lambda: guest(print, hiwire=table))
        refused(lambda: Hiwire(engine=engine))
    value = inner.switch()
    assert isinstance(value, Thing) and inner.dead
    assert one.exports.number(2) == other.exports.number(2) == 2
    assert table.get(ref) == "kept" and one.exports.g.value is not None
    guest(print).close()


def order() -> None:
    """Greenlets take turns, out of order, and each comes back into its own call."""
    main = greenlet.getcurrent()
    one = guest(lambda thing: main.switch())
    two = guest(lambda thing: main.switch())
    first, second = greenlet.greenlet(one.exports.call), greenlet.greenlet(two.exports.call)
    first.switch("a")
    with contextlib.suppress(WrongThreadError):
        second.switch("b")
    assert second.dead
    assert first.switch("x") == "x"
    # The same from within: what a host function starts is not in its call.
    seen: list[str] = []

    def host(thing: Any) -> Any:
        def inside() -> None:
            refused(one.exports.number, 1)
            seen.append("refused")

        greenlet.greenlet(inside).switch()
        assert one.exports.number(5) == two.exports.number(5) == 5  # a nested call, in its own greenlet
        return thing

    assert guest(host).exports.call("y") == "y" and seen == ["refused"]


def ends() -> None:
    """A suspended call can be ended: by throw, by the garbage collector; the guest goes on, nothing leaks."""
    for how in ("throw", "drop", "collect", "trap"):
        main = greenlet.getcurrent()
        one = guest(lambda thing, main=main: main.switch())  # type: ignore[misc]
        thing = Thing()
        seen = weakref.ref(thing)
        inner = greenlet.greenlet(one.exports.trap if how == "trap" else one.exports.call)
        inner.switch(thing)
        del thing
        refused(one.exports.number, 1)
        if how == "throw":
            inner.throw()
        elif how == "trap":
            try:
                inner.switch(1)
            except RuntimeError as error:
                assert "unreachable" in str(error)
        elif how == "collect":
            cycle: list[Any] = [inner]
            cycle.append(cycle)
            del cycle
        del inner
        gc.collect()
        assert seen() is None, how
        assert one.exports.number(3) == 3 and guest(print).exports.number(3) == 3
        space = weakref.ref(one._instance.space)
        del one, main
        gc.collect()
        assert space() is None, how


def finalizers() -> None:
    """What dies in the other greenlet waits: objects of closed guests and tables go when the call is back."""
    table = Hiwire(engine=engine)
    sharing, other, closed = guest(print, hiwire=table), guest(print), guest(print)
    seen = []
    for each in (sharing, other, closed):
        thing = Thing()
        each.exports.set(1, thing)
        seen.append(weakref.ref(thing))
    thing = Thing()
    ref = table.new(thing)
    seen.append(weakref.ref(thing))
    refused_in: list[int] = []

    class Last:
        def __del__(self) -> None:
            refused(other.exports.number, 1)
            refused_in.append(1)

    one, _, inner = switching()
    del thing
    sharing.close()
    closed.close()
    other.collect()
    Last()
    assert refused_in == [1]
    for _ in range(3):
        gc.collect()
    del sharing
    assert isinstance(inner.switch(), Thing)
    assert seen[2]() is None  # closed meanwhile: nobody will ever call it again
    assert seen[1]() is not None and table.get(ref) is seen[3]()
    assert seen[0]() is None
    one2, _, inner = switching()
    table.close()
    assert seen[3]() is not None
    inner.switch()
    assert seen[3]() is None
    del one, one2


def finished() -> None:
    """All went as it should."""
    print("done", flush=True)


def exit_() -> None:
    """The process ends with a call suspended."""
    globals()["kept"] = switching()


if __name__ == "__main__":
    engine = sys.argv[1]
    for name in sys.argv[2:]:
        globals()[name]()
