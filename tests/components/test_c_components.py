"""Components in C, made and composed by other people's tools: what they do, and what goes wrong in them, is
what `wasmtime.component` says."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from component_builds import (
    Hiwire,
    Reference,
    composed,
    neutral,
    outcome,
    part,
    same_cause,
    whole,
)

from hiwire_py.components import Component, HostResource
from hiwire_py.errors import ComponentError, GuestTrap, ResourceMovedError

STOCK, STORE = "demo:stock/stock", "demo:stock/store"
BREAD = {"name": "brød", "price": 2.5, "unit": "piece", "marks": {"cold", "sold-out"}, "tags": ["a", "", "€"]}
WINE = {"name": "wine", "price": 9.75, "unit": "litre", "marks": set[str](), "tags": list[str]()}
MISUSES = (*range(14), *range(20, 32))


def agree(ours: tuple[str, Any], theirs: tuple[str, Any], what: object) -> None:
    """Assert that two outcomes are the same one."""
    assert ours[0] == theirs[0], (what, ours, theirs)
    if ours[0] == "value":
        assert ours[1] == theirs[1], what
    else:
        assert same_cause(ours[1], theirs[1]), (what, ours, theirs)


@pytest.mark.parametrize("make", [composed, whole])
def test_results(make: Any, engine: str) -> None:
    """What the consumer gives, with all that passes between the three, and nothing is left afterwards."""
    if make is composed and engine == "native":
        pytest.skip("native compiles the one that Python can look into, and not nearly the same again")
    wasm = make()
    ours, theirs = Hiwire(wasm, engine), Reference(wasm)
    words = ["a", "b", "a", "ü€😀" * 50, ""]
    for args in ((words,), ([],), ([str(number) for number in range(65)],)):
        agree(outcome(ours.call("words"), *args), outcome(theirs.call("words"), *args), args)
    assert ours.call("words")(words)[1] == [("a", 2), ("b", 1), ("ü€😀" * 50, 1), ("", 1)]
    assert ours.call("rounds")(40) == theirs.call("rounds")(40) == 3 * sum(range(41))
    assert ours.call("live")() == theirs.call("live")() == 0


def test_misuse(engine: str) -> None:
    """Handles that are none, values that are none, a borrow that is kept: each traps by its cause. What the
    consumer gets from a wrong result is the same too."""
    wasm = whole()
    for how in MISUSES:
        ours, theirs = Hiwire(wasm, engine), Reference(wasm)
        agree(outcome(ours.call("misuse"), how), outcome(theirs.call("misuse"), how), how)


def test_a_trap_names_the_function(engine: str) -> None:
    """A trap of generated code and one of the component's own code name what Python has called, and the
    instance is dead."""
    for how, why in ((1, "unknown handle index"), (30, "unreachable")):
        instance = Hiwire(whole(), engine).instance
        with pytest.raises(GuestTrap, match=rf"^misuse trapped: {why}$"):
            instance["misuse"](how)
        with pytest.raises(GuestTrap, match=r"^live trapped: cannot enter component instance$"):
            instance["live"]()


def scenario(side: Any) -> list[Any]:
    """A number of calls by Python, with shelves going back and forth."""

    def call(interface: str, name: str, *args: Any) -> Any:
        kind, value = outcome(side.call(interface, name), *args)
        assert kind == "value", (name, value)
        return value

    first = side.call(STOCK, "[constructor]shelf")("First")
    second = side.call(STORE, "open")("zweites " * 1000)
    told: list[Any] = [
        call(STOCK, "[method]shelf.put", first, BREAD, 3),
        call(STOCK, "[method]shelf.put", second, WINE, 2**32 - 1),
        call(STOCK, "[method]shelf.put", second, BREAD, 1),
        call(STOCK, "[method]shelf.find", first, "brød"),
        call(STOCK, "[method]shelf.find", first, "nothing"),
        call(STOCK, "[method]shelf.take", first, "nothing", 1),
        call(STOCK, "[method]shelf.take", first, "brød", 5),
        call(STOCK, "[method]shelf.take", first, "brød", 2),
        call(STOCK, "[method]shelf.label", second),
        call(STOCK, "total", first),
        call(STORE, "worth", first),
        call(STORE, "worth-of-all", [first, first, first]),
        call(STOCK, "dearest", BREAD, WINE, BREAD),
    ]
    first = side.call(STORE, "through")(first)
    told.append(call(STORE, "keep", first))
    kept = side.call(STORE, "give-back")()
    merged = side.call(STOCK, "[static]shelf.merge")(kept, second)
    told.append(call(STOCK, "[method]shelf.items", merged))
    told.append(call(STORE, "give-back"))
    told.append(call(STOCK, "counts"))
    if isinstance(side, Reference):
        side.drop(merged)
    del first, second, kept, merged
    told.append(call(STOCK, "counts"))
    return told


def test_python_as_a_component(engine: str) -> None:
    """Python makes shelves, lends them, gives them away and gets them back, and each call gives what it does
    with wasmtime; the last one that is dropped is destroyed."""
    ours, theirs = scenario(Hiwire(whole(), engine)), scenario(Reference(whole()))
    assert ours == theirs
    assert ours[-2:] == [(1, 4), (0, 4)]


def test_wrong_results_at_the_edge(engine: str) -> None:
    """Python reads what a component gives as carefully as another component does."""
    for how in range(12):
        ours, theirs = Hiwire(whole(), engine), Reference(whole())
        agree(outcome(ours.call(STOCK, "wrong"), how), outcome(theirs.call(STOCK, "wrong"), how), how)


def test_classes(engine: str) -> None:
    """The same by the classes of the component's types."""
    instance = Hiwire(whole(), engine).instance
    stock, store = instance[STOCK], instance[STORE]
    assert store.Shelf is stock.Shelf
    bread = stock.Item("brød", 2.5, stock.Unit.PIECE, stock.Marks.COLD | stock.Marks.SOLD_OUT, ["a", "", "€"])
    assert neutral(bread) == BREAD
    with stock.Shelf("one") as shelf:
        assert shelf.put(bread, 2) == 2 and shelf.items() == [(bread, 2)]
        with pytest.raises(ComponentError) as caught:
            shelf.take("brød", 3)
        assert caught.value.payload == stock.Fault.TooMany(2)
        kept = store.through(shelf)
        assert kept.label() == "one" and store.worth(kept) == 5.0
        with pytest.raises(ResourceMovedError, match="this Shelf was given away"):
            shelf.label()
        with pytest.raises(ResourceMovedError):
            store.keep(shelf)
    assert stock.counts()[0] == 1
    with pytest.raises(TypeError, match="a Shelf is wanted, not str"):
        store.keep("shelf")
    with pytest.raises(ResourceMovedError, match="this Shelf was given away"):
        stock.Shelf.merge(kept, kept)
    assert kept.label() == "one"  # the call was not made
    del kept
    gc.collect()
    assert stock.counts()[0] == 0


# ---- Python in the place of the other components


class Shelf:
    """What provider.c has, in Python."""

    live = 0

    def __init__(self, label: str) -> None:
        self._label = label
        self._stacks: list[tuple[Any, int]] = []
        Shelf.live += 1

    def __del__(self) -> None:
        Shelf.live -= 1

    def put(self, item: Any, count: int) -> int:
        for place, (known, number) in enumerate(self._stacks):
            if known.name == item.name:
                self._stacks[place] = known, number + count
                return number + count
        if len(self._stacks) == 64:
            raise ComponentError("closed")
        self._stacks.append((item, count))
        return count

    def items(self) -> list[tuple[Any, int]]:
        return self._stacks

    def label(self) -> str:
        return self._label

    @staticmethod
    def merge(first: Shelf, second: Shelf) -> Shelf:
        for item, count in second.items():
            first.put(item, count)
        return first


def total(shelf: Shelf) -> float:
    """What is on a shelf is worth."""
    worth: float = sum(item.price * count for item, count in shelf.items())
    return worth


def imports() -> dict[str, dict[str, Any]]:
    """Both interfaces."""
    kept: list[Shelf] = []

    def keep(shelf: Shelf) -> int:
        kept.append(shelf)
        return len(kept)

    stock = {
        "shelf": HostResource(Shelf),
        "total": total,
        "dearest": lambda *items: max(items, key=lambda item: item.price).name,
        "counts": lambda: (Shelf.live, 0),
        "wrong": lambda how: BREAD,
    }
    store = {
        "open": Shelf,
        "keep": keep,
        "give-back": lambda: kept.pop() if kept else None,
        "through": lambda shelf: shelf,
        "worth": total,
        "worth-of-all": lambda shelves: sum(map(total, shelves)),
    }
    return {STOCK: stock, STORE: store}


def test_python_provides(engine: str) -> None:
    """The consumer does the same where Python has the resource, and leaves no object behind."""
    instance = Component(part("consumer").read_bytes()).instantiate(imports(), engine=engine)
    theirs = Reference(composed())
    words = ["a", "b", "a", "ü€😀" * 50, ""]
    for args in ((words,), ([],), ([str(number) for number in range(65)],)):
        agree(outcome(instance["words"], *args), outcome(theirs.call("words"), *args), args)
    assert instance["rounds"](40) == theirs.call("rounds")(40)
    gc.collect()
    assert instance["live"]() == 0 == Shelf.live
    assert instance["misuse"](20) == 6  # the flags that Python gave
    assert Shelf.live == 0


def test_misuse_of_what_python_provides(engine: str) -> None:
    """What the consumer does wrong has the same causes where Python is on the other side; what it had is
    let go of with it."""
    for how in range(13):
        instance = Component(part("consumer").read_bytes()).instantiate(imports(), engine=engine)
        agree(outcome(instance["misuse"], how), outcome(Reference(composed()).call("misuse"), how), how)
        del instance
    gc.collect()
    assert Shelf.live == 0
