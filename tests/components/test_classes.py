"""The Python classes of a component's types and resources: how they look, compare, and explain themselves."""

from __future__ import annotations

import inspect
import pydoc
import threading
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from component_support import component
from support import guest_file

from hiwire_py import Component, Err, Ok, Some
from hiwire_py.components.classes import Case, Classes, class_name, item_name, method_name, python_name
from hiwire_py.components.types import F64, U8, Enum, Flags, Option, Record, Variant

POINT = Record((("x-y", U8), ("class", Option(U8))))
SHAPE = Variant((("circle", F64), ("none", None)))
COLOR = Enum(("red", "dark-blue"))
PERMS = Flags(("read", "write-all"))


@pytest.fixture
def classes() -> Classes:
    """Classes with names, as a component has them."""
    made = Classes()
    for label, type_ in (("point", POINT), ("shape", SHAPE), ("color", COLOR), ("perms", PERMS)):
        made.name(type_, label, "demo:a/b@1.0.0")
    return made


@pytest.mark.parametrize(
    ("label", "python", "class_"),
    [
        ("get-JSON", "get_json", "GetJSON"),
        ("class", "class_", "Class"),
        ("none", "none", "None_"),
        ("http-2", "http_2", "Http2"),
        ("a", "a", "A"),
    ],
)
def test_names(label: str, python: str, class_: str) -> None:
    """Labels of WIT as names of Python: keywords get an underscore."""
    assert (python_name(label), class_name(label)) == (python, class_)


def test_names_that_are_taken() -> None:
    """A method ``close``, and functions called as the methods of mappings, get an underscore."""
    assert [method_name("close"), method_name("get")] == ["close_", "get"]
    assert [item_name(one) for one in ("get", "keys", "close", "items")] == [
        "get_", "keys_", "close", "items_",
    ]  # fmt: skip


def test_records(classes: Classes) -> None:
    """A record is a frozen dataclass: it shows its fields, and equals and hashes by them."""
    point: Any = classes.of(POINT)
    one = point(1, None)
    assert repr(one) == "Point(x_y=1, class_=None)"
    assert one == point(1, None) != point(2, None)
    assert len({one, point(1, None), point(1, 3)}) == 2
    with pytest.raises(FrozenInstanceError):
        one.x_y = 3
    assert point.__doc__ == "``record point { x-y: u8, class: option<u8> }`` of demo:a/b@1.0.0."
    assert (point.__name__, point.__module__) == ("Point", "demo:a/b@1.0.0")


def test_variants(classes: Classes) -> None:
    """Each case of a variant is a class below the variant's, with the payload as its only field."""
    shape: Any = classes.of(SHAPE)
    assert [one.__name__ for one in shape.cases] == ["Circle", "None_"]
    circle, none = shape.Circle(2.0), shape.None_()
    assert (repr(circle), repr(none)) == ("Shape.Circle(value=2.0)", "Shape.None_()")
    assert isinstance(circle, shape) and isinstance(circle, Case)
    assert circle == shape.Circle(2.0) != shape.Circle(3.0)
    assert circle != none and len({none, shape.None_(), circle}) == 2
    assert (circle.case, circle.label, none.case, none.label) == (0, "circle", 1, "none")
    assert shape.__doc__ == "``variant shape { circle(f64), none }`` of demo:a/b@1.0.0."
    assert shape.Circle.__doc__ == "The case ``circle`` of the variant Shape."
    assert shape.Circle.__match_args__ == ("value",)
    with pytest.raises(TypeError):
        shape.None_(1)


def test_enums_and_flags(classes: Classes) -> None:
    """Members are in capitals; their values are the numbers that the component has."""
    color: Any = classes.of(COLOR)
    perms: Any = classes.of(PERMS)
    assert repr(color.DARK_BLUE) == "<Color.DARK_BLUE: 1>"
    assert color(0) is color.RED
    assert color.__doc__ == "``enum color { red, dark-blue }`` of demo:a/b@1.0.0."
    both = perms.READ | perms.WRITE_ALL
    assert both.value == 3 and perms.READ in both and perms(0) != both
    assert perms.__doc__ == "``flags perms { read, write-all }`` of demo:a/b@1.0.0."


def test_wrapped_values() -> None:
    """Some, Ok and Err show, compare and hash by their value, which results need not have."""
    assert repr([Some(1), Ok(), Err("e")]) == "[Some(value=1), Ok(value=None), Err(value='e')]"
    assert Ok(1) == Ok(1) and Some(1) == Some(1) != Some(2)
    assert {Ok(1): 1}.get(Err(1)) is None  # type: ignore[call-overload]
    assert len({Ok(1), Ok(1), Err(1)}) == 2


def test_one_class_for_each_type(classes: Classes) -> None:
    """A type has one class; an equal one has it too if it has no name, or the same one in the same place;
    a type with a name of its own has its own."""
    twin, again, other = Record(POINT.fields), Record(POINT.fields), Record(POINT.fields)
    classes.name(again, "point", "demo:a/b@1.0.0")
    classes.name(other, "place", "demo:a/b@1.0.0")
    assert classes.of(twin) is classes.of(POINT) is classes.of(again)
    assert classes.of(other).__name__ == "Place"
    unnamed = classes.of(Record((("z", U8),)))
    assert unnamed.__name__ == "Record" and unnamed is classes.of(Record((("z", U8),)))


def test_classes_in_threads(classes: Classes) -> None:
    """Threads that ask for a class at the same time get the same one."""
    found: list[type] = []
    threads = [threading.Thread(target=lambda: found.append(classes.of(SHAPE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


# ---- with an instance

COUNTERS = "demo:counters/counters"
RESOURCES = """(component
    (component $one
        (core module $n (import "" "new" (func (param i32) (result i32)))
            (func (export "make") (param i32) (result i32)
                (call 0 (i32.add (local.get 0) (i32.const 100))))
            (func (export "zero") (result i32) i32.const 0)
            (func (export "get") (param i32) (result i32) local.get 0))
        (type $r' (resource (rep i32)))
        (core func $new (canon resource.new $r'))
        (core instance $n (instantiate $n (with "" (instance (export "new" (func $new))))))
        (export $r "thing" (type $r'))
        (func (export "[constructor]thing") (param "n" u32) (result (own $r))
            (canon lift (core func $n "make")))
        (func (export "[method]thing.close") (param "self" (borrow $r)) (result u32)
            (canon lift (core func $n "get")))
        (func (export "[static]thing.get") (result u32) (canon lift (core func $n "zero")))
        (func (export "get") (param "t" (borrow $r)) (result u32) (canon lift (core func $n "get"))))
    (instance $one (instantiate $one))
    (instance $two (instantiate $one))
    (export "one" (instance $one))
    (export "two" (instance $two)))"""


ROOT = """(component
    (core module $n (import "" "new" (func (param i32) (result i32)))
        (func (export "make") (result i32) (call 0 (i32.const 7)))
        (func (export "get") (param i32) (result i32) local.get 0))
    (type $r' (resource (rep i32)))
    (core func $new (canon resource.new $r'))
    (core instance $n (instantiate $n (with "" (instance (export "new" (func $new))))))
    (export $r "thing" (type $r'))
    (func (export "make") (result (own $r)) (canon lift (core func $n "make")))
    (func (export "[method]thing.get") (param "self" (borrow $r)) (result u32)
        (canon lift (core func $n "get"))))"""


def test_resources_of_one_name(engine: str) -> None:
    """Two interfaces may have a resource of the same name: each class has the functions of its own."""
    with component(RESOURCES).instantiate(engine=engine) as instance:
        first, second = instance["one"].Thing, instance["two"].Thing
        assert first is not second
        assert (first(1).close_(), second(2).close_()) == (101, 102)
        assert instance["two"].get_(second(3)) == 103
        with pytest.raises(TypeError, match="a Thing is wanted, not Thing of another instance"):
            instance["two"].get_(first(3))


def test_method_called_close(engine: str) -> None:
    """A component's function ``close`` is not what ends a handle: that is Python's."""
    with component(RESOURCES).instantiate(engine=engine) as instance:
        with instance["one"].Thing(1) as thing:
            assert thing.close_() == 101
            assert thing.close_() == 101
        assert repr(thing) == "<Thing that was closed>"
        assert dict(instance["one"]).keys() == set(instance["one"])


def test_resource_outside_of_instances(engine: str) -> None:
    """A handle that a function gives has its class and methods, whether or not anyone has asked for the
    class before; a resource without a constructor cannot be made."""
    with component(ROOT).instantiate(engine=engine) as instance:
        thing = instance["make"]()
        assert thing.get() == 7
        assert type(thing) is instance["thing"]
        with pytest.raises(TypeError, match="a Thing has no constructor"):
            instance["thing"]()
    make = component(ROOT).instantiate(engine=engine)["make"]
    assert make().get() == 7


def test_instances_share_classes(engine: str) -> None:
    """Values of one instance are values of another; handles are not."""
    made = Component(guest_file("counters"))
    with made.instantiate(engine=engine) as one, made.instantiate(engine=engine) as two:
        assert one[COUNTERS].Stats is two[COUNTERS].Stats
        assert one[COUNTERS].get_stats() == two[COUNTERS].get_stats()
        assert one[COUNTERS].Counter is not two[COUNTERS].Counter
        with pytest.raises(TypeError, match="of another instance"):
            two[COUNTERS].highest([one[COUNTERS].Counter(1)])


def test_help(engine: str) -> None:
    """`help` shows the WIT of an instance, of what its instances have, and of each function."""
    with Component(guest_file("counters")).instantiate(engine=engine) as instance:
        text = pydoc.plain(pydoc.render_doc(instance))
        assert "An instance of a component: a mapping" in text
        assert "merge: static func(a: counter, b: counter) -> result<counter, string>;" in text
        space = instance[COUNTERS]
        text = pydoc.plain(pydoc.render_doc(space))
        assert "``record stats { live: u32, last: option<u32> }`` of demo:counters/counters@1.0.0." in text
        assert "``get-stats: func() -> stats`` of demo:counters/counters@1.0.0." in text
        text = pydoc.plain(pydoc.render_doc(space.Counter))
        assert "A handle to a ``counter`` of demo:counters/counters@1.0.0." in text
        assert "add(self, by, /)" in text and "merge(a, b, /)" in text
        assert "``[method]counter.add: func(self: borrow<counter>, by: u32) -> u32``" in text
        assert "highest(of, /)" in pydoc.plain(pydoc.render_doc(space.highest))
        assert str(inspect.signature(space.Counter)) == "(start, /)"
    assert "This one" not in (type(instance).__doc__ or "This one")
