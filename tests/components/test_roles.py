"""Roles of component instances, and which of them have a handle table."""

from __future__ import annotations

from component_support import component

from hiwire_py import Component, HostResource
from hiwire_py.components.roles import Roles, roles_of

DEFINER = """(component $definer
    (core module $m
        (func (export "make") (param i32) (result i32) local.get 0)
        (func (export "look") (param i32) (result i32) local.get 0))
    (core instance $m (instantiate $m))
    (type $r' (resource (rep i32)))
    (export $r "thing" (type $r'))
    {more})"""
LOOK = '(func (export "look") (param "t" (borrow $r)) (result u32) (canon lift (core func $m "look")))'
MAKE = '(func (export "make") (param "n" u32) (result (own $r)) (canon lift (core func $m "make")))'
IMPORTED = """(import "things" (instance $d
    (export "thing" (type $r (sub resource)))
    (export "make" (func (param "n" u32) (result (own $r))))
    (export "look" (func (param "t" (borrow $r)) (result u32)))))
    (alias export $d "thing" (type $r))"""
CALLS = '(core module $m (import "" "f" (func $f (param i32) (result i32))) (export "f" (func $f)))'


def roles(made: Component) -> list[Roles]:
    """The roles of a component's instances, which have a table just where there is a reason for one."""
    found = roles_of(made._plan)
    assert [bool(one.reasons) for one in found] == [
        number in made._assembly.tables for number in range(len(found))
    ]
    return found


def test_definer_of_borrowed_handles_only() -> None:
    """A definer that is only lent its own resource sees representations, and has no table."""
    root, definer = roles(
        component(f'(component {DEFINER.format(more=LOOK)} (instance $d (instantiate $definer))'
                  '(export "things" (instance $d)))')
    )  # fmt: skip
    assert (root.names, definer.names) == (["none"], ["definer"])
    assert definer.reasons == []


def test_three_roles() -> None:
    """One instance defines, one takes handles of it in functions of its own, one only calls; what composes
    them has no role."""
    re_exporter = f"""(component $again {IMPORTED}
        (core func $f (canon lower (func $d "look")))
        {CALLS}
        (core instance $m (instantiate $m (with "" (instance (export "f" (func $f))))))
        (export $x "thing" (type $r))
        (func (export "look") (param "t" (borrow $x)) (result u32) (canon lift (core func $m "f"))))"""
    consumer = f"""(component $consumer {IMPORTED}
        (core func $f (canon lower (func $d "make")))
        {CALLS}
        (core instance $m (instantiate $m (with "" (instance (export "f" (func $f))))))
        (func (export "f") (param "n" u32) (result u32) (canon lift (core func $m "f"))))"""
    root, definer, again, consuming, idle = roles(
        component(f"""(component {DEFINER.format(more=LOOK + MAKE)} {re_exporter} {consumer}
            (component $idle)
            (instance $d (instantiate $definer))
            (instance $r (instantiate $again (with "things" (instance $d))))
            (instance $c (instantiate $consumer (with "things" (instance $d))))
            (instance (instantiate $idle))
            (export "things" (instance $d))
            (export "again" (instance $r))
            (export "calls" (instance $c)))""")
    )
    assert [one.names for one in (root, definer, again, consuming, idle)] == [
        ["none"], ["definer"], ["re-exporter"], ["consumer"], ["none"],
    ]  # fmt: skip
    assert definer.reasons == ["its function make has handles of thing"]
    assert again.reasons == [
        "its function f has handles of thing",
        "it calls look with handles of thing",
    ]
    assert consuming.reasons == ["it calls make with handles of thing"]
    assert [one.name for one in again.re_exports] == ["thing"]


class Thing:
    """A resource of the host."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_resource_of_the_host(engine: str) -> None:
    """A resource that the host defines has no definer; who calls functions with handles of it consumes it,
    and has a table for them, whether or not it ever drops one."""
    made = component(f"""(component {IMPORTED}
        (core func $make (canon lower (func $d "make")))
        {CALLS}
        (core instance $m (instantiate $m (with "" (instance (export "f" (func $make))))))
        (func (export "f") (param "n" u32) (result u32) (canon lift (core func $m "f"))))""")
    (root,) = roles(made)
    assert root.names == ["consumer"]
    assert root.reasons == ["it calls things#make with handles of thing"]
    given = {"thing": HostResource(Thing), "make": Thing, "look": lambda thing: thing.number}
    with made.instantiate({"things": given}, engine=engine) as instance:
        assert [instance["f"](7), instance["f"](8)] == [1, 2]


def test_handles_within_other_values() -> None:
    """Handles in a list that Python gives need the table of the instance that gets them."""
    made = component("""(component
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
            (func (export "f") (param i32 i32) (result i32) (i32.load (local.get 0))))
        (core instance $m (instantiate $m))
        (type $r' (resource (rep i32)))
        (export $r "thing" (type $r'))
        (func (export "f") (param "l" (list (own $r))) (result u32)
            (canon lift (core func $m "f") (memory (core memory $m "memory"))
                (realloc (core func $m "realloc")))))""")
    (root,) = roles(made)
    assert root.reasons == ["its function f has handles of thing"]
