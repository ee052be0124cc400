"""Guests that break the rules about handles, memory and calls: each check has a guest that fails it. The
cause is told, and is the one that wasmtime's own implementation tells."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import wasmtime
from component_guests import MEMORY, ReferenceComponent, options, use_adapters
from support import wat

from hiwire_py import GuestTrap
from hiwire_py.components import Component
from hiwire_py.components.faults import Fault
from hiwire_py.errors import ResourceMovedError

WORDS = {
    Fault.UNKNOWN_HANDLE: "unknown handle index",
    Fault.WRONG_TYPE: "used with the wrong type",
    Fault.NOT_OWNED: "cannot lift own resource from a borrow",
    Fault.LENT: "cannot remove owned resource while borrowed",
    Fault.CANNOT_LEAVE: "cannot leave component instance",
    Fault.CANNOT_ENTER: "cannot enter component instance",
    Fault.BORROWS_REMAIN: "borrow handles still remain at the end of the call",
    Fault.BAD_POINTER: "unaligned pointer|pointer not aligned",
    Fault.OUT_OF_BOUNDS: "pointer out of bounds|out of bounds memory access",
    Fault.REALLOC_BOUNDS: "realloc return: beyond end of memory|out-of-bounds|out of bounds memory access",
    Fault.REALLOC_ALIGNMENT: "realloc return: result not aligned|unaligned pointer",
}  # fmt: skip
"""What wasmtime says, as patterns."""


def causes(
    component: Component,
    reference: ReferenceComponent | None,
    engine: str,
    call: Callable[[Any], Any],
    imports: Callable[[Any], dict[str, Any]] = lambda _instance: {},
    within: tuple[str, ...] = (),
) -> tuple[list[str], str]:
    """Why a call traps, and why a second one does; and what wasmtime's own implementation says.

    Args:
        call: is given what finds functions by name.
        imports: is given a list with that in it, as soon as there is an instance.
        within: the name of the instance that the functions are in; none for the root.
    """
    kinds, found = [], list[Any]()
    with component.instantiate(imports(found), engine=engine) as instance:
        finds = instance[within[0]].__getitem__ if within else instance.__getitem__
        found.append(finds)
        for _ in range(2):
            with pytest.raises(GuestTrap) as trap:
                call(finds)
            kinds.append(trap.value.kind)
        found.clear()
    if reference is None:
        return kinds, ""
    given = {name: _hosted(function) for name, function in imports(found).items()}
    other = reference.instantiate(given)
    there = functools.partial(other.function, *within)
    found.append(there)
    with pytest.raises(wasmtime.WasmtimeError) as error:
        call(there)
    return kinds, str(error.value)


def _hosted(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _context, *args: function(*args)


def expect(fault: Fault, found: tuple[list[str], str], other: str | None = None) -> None:
    kinds, said = found
    assert kinds == [fault.words, Fault.CANNOT_ENTER.words], said
    assert not said or re.search(other or WORDS[fault], said), said


# ---- handles

DEFINER = """
(core module $d
  (global $dead (mut i32) (i32.const 0))
  (func (export "dtor") (param i32) (global.set $dead (i32.add (global.get $dead) (i32.const 1))))
  (func (export "dead") (result i32) (global.get $dead))
  (func (export "rep") (param i32) (result i32) (local.get 0))
  (func (export "both") (param i32 i32))
  (func (export "ignore") (param i32))
  (func (export "number") (param i32) (result i32) (local.get 0)))
(core instance $d (instantiate $d))
(type $rr (resource (rep i32) (dtor (core func $d "dtor")))) (export $r "r" (type $rr))
(type $ss (resource (rep i32))) (export $s "s" (type $ss))
(core func $new (canon resource.new $r)) (core func $rep (canon resource.rep $r))
(core func $drop (canon resource.drop $r))
(core func $new-s (canon resource.new $s))
(core module $e
  (import "" "new" (func $new (param i32) (result i32)))
  (import "" "new-s" (func $new-s (param i32) (result i32)))
  (import "" "rep" (func $rep (param i32) (result i32)))
  (import "" "drop" (func $drop (param i32)))
  (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
  (func (export "make-s") (param i32) (result i32) (call $new-s (local.get 0)))
  (func (export "drop-number") (param i32) (call $drop (local.get 0)))
  (func (export "rep-number") (param i32) (result i32) (call $rep (local.get 0)))
  (func (export "rep-s") (result i32) (call $rep (call $new-s (i32.const 7)))))
(core instance $e (instantiate $e (with "" (instance
  (export "new" (func $new)) (export "new-s" (func $new-s)) (export "rep" (func $rep))
  (export "drop" (func $drop))))))
(func (export "make") (param "x" u32) (result (own $r)) (canon lift (core func $e "make")))
(func (export "make-s") (param "x" u32) (result (own $s)) (canon lift (core func $e "make-s")))
(func (export "get") (param "x" (borrow $r)) (result u32) (canon lift (core func $d "rep")))
(func (export "get-s") (param "x" (borrow $s)) (result u32) (canon lift (core func $d "rep")))
(func (export "both") (param "x" (borrow $r)) (param "y" (own $r)) (canon lift (core func $d "both")))
(func (export "other") (param "x" (own $r)) (param "y" (borrow $r)) (canon lift (core func $d "both")))
(func (export "take") (param "x" (own $r)) (canon lift (core func $d "ignore")))
(func (export "take-s") (param "x" (own $s)) (canon lift (core func $d "ignore")))
(func (export "forge") (param "x" u32) (result (own $r)) (canon lift (core func $d "number")))
(func (export "drop-number") (param "x" u32) (canon lift (core func $e "drop-number")))
(func (export "rep-number") (param "x" u32) (result u32) (canon lift (core func $e "rep-number")))
(func (export "rep-s") (result u32) (canon lift (core func $e "rep-s")))
"""

_IMPORTED = {
    "make": '(param "x" u32) (result (own $r))',
    "make-s": '(param "x" u32) (result (own $s))',
    "get": '(param "x" (borrow $r)) (result u32)',
    "get-s": '(param "x" (borrow $s)) (result u32)',
    "both": '(param "x" (borrow $r)) (param "y" (own $r))',
    "other": '(param "x" (own $r)) (param "y" (borrow $r))',
    "take": '(param "x" (own $r))',
    "take-s": '(param "x" (own $s))',
    "forge": '(param "x" u32) (result (own $r))',
}
_CORE = {
    "make": "(param i32) (result i32)", "make-s": "(param i32) (result i32)",
    "get": "(param i32) (result i32)", "get-s": "(param i32) (result i32)", "both": "(param i32 i32)",
    "other": "(param i32 i32)", "take": "(param i32)", "take-s": "(param i32)",
    "forge": "(param i32) (result i32)", "drop": "(param i32)", "drop-s": "(param i32)",
}  # fmt: skip


class Bad(NamedTuple):
    """What a consumer does, and why that traps. MADE and H stand for making a handle, and for that handle.
    ``other``: what wasmtime says, if not what `WORDS` has."""

    body: str
    fault: Fault
    other: str | None = None

    @property
    def code(self) -> str:
        made = self.body.replace("MADE", "(local.set $h (call $make (i32.const 7)))")
        return made.replace("H", "(local.get $h)")


RUNS = {
    "get-unknown": Bad("(drop (call $get (i32.const 99)))", Fault.UNKNOWN_HANDLE),
    "get-zero": Bad("(drop (call $get (i32.const 0)))", Fault.UNKNOWN_HANDLE),
    "get-huge": Bad("(drop (call $get (i32.const -1)))", Fault.UNKNOWN_HANDLE),
    "get-wrapping": Bad("MADE (drop (call $get (i32.const 0x10000001)))", Fault.UNKNOWN_HANDLE),
    "get-dropped": Bad("MADE (call $drop H) (drop (call $get H))", Fault.UNKNOWN_HANDLE),
    "get-taken": Bad("MADE (call $take H) (drop (call $get H))", Fault.UNKNOWN_HANDLE),
    "take-unknown": Bad("(call $take (i32.const 99))", Fault.UNKNOWN_HANDLE),
    "take-zero": Bad("(call $take (i32.const 0))", Fault.UNKNOWN_HANDLE),
    "take-twice": Bad("MADE (call $take H) (call $take H)", Fault.UNKNOWN_HANDLE),
    "drop-unknown": Bad("(call $drop (i32.const 99))", Fault.UNKNOWN_HANDLE),
    "drop-zero": Bad("(call $drop (i32.const 0))", Fault.UNKNOWN_HANDLE),
    "drop-twice": Bad("MADE (call $drop H) (call $drop H)", Fault.UNKNOWN_HANDLE),
    "get-wrong-type": Bad("MADE (drop (call $get-s H))", Fault.WRONG_TYPE),
    "take-wrong-type": Bad("MADE (call $take-s H)", Fault.WRONG_TYPE),
    "drop-wrong-type": Bad("MADE (call $drop-s H)", Fault.WRONG_TYPE),
    "lent-and-given": Bad("MADE (call $both H H)", Fault.LENT),
    "given-and-lent": Bad("MADE (call $other H H)", Fault.UNKNOWN_HANDLE),
    "given-99": Bad("(drop (call $forge (i32.const 99)))", Fault.UNKNOWN_HANDLE),
    "given-0": Bad("(drop (call $forge (i32.const 0)))", Fault.UNKNOWN_HANDLE),
}  # fmt: skip
"""Without parameters."""
LENT = {
    "give-borrowed": Bad("(call $take (local.get 0))", Fault.NOT_OWNED),
    # wasmtime looks at what is owned first.
    "lend-and-give": Bad("(call $both (local.get 0) (local.get 0))", Fault.LENT, WORDS[Fault.NOT_OWNED]),
    "keep": Bad("", Fault.BORROWS_REMAIN),
    "drop-borrowed-twice": Bad("(call $drop (local.get 0)) (call $drop (local.get 0))", Fault.UNKNOWN_HANDLE),
    "drop-borrowed-as-s": Bad("(call $drop-s (local.get 0))", Fault.WRONG_TYPE),
}  # fmt: skip
"""With a handle that is lent to them: from Python, and from another component."""
RETURNS = {
    "return-borrowed": Bad("(local.get 0)", Fault.BORROWS_REMAIN),
    "return-99": Bad("(call $drop (local.get 0)) (i32.const 99)", Fault.UNKNOWN_HANDLE),
    "return-dropped": Bad("(call $drop (local.get 0)) (local.get 0)", Fault.UNKNOWN_HANDLE),
    "return-s": Bad("(call $drop (local.get 0)) (call $make-s (i32.const 1))", Fault.WRONG_TYPE),
}
"""The same, and they return an owned handle."""


OWN = {
    "drop-number": Bad("", Fault.UNKNOWN_HANDLE),
    "rep-number": Bad("", Fault.UNKNOWN_HANDLE),
    "rep-s": Bad("", Fault.WRONG_TYPE),
}
"""What the definer does itself."""


def _component(imported: dict[str, str], bodies: str, lifted: str) -> str:
    """A component that imports the definer's types and some functions."""
    imports = "".join(f'(import "{name}" (func ${name} {type_}))' for name, type_ in imported.items())
    lowered = "".join(f"(core func ${name} (canon lower (func ${name})))" for name in imported)
    lowered += "(core func $drop (canon resource.drop $r)) (core func $drop-s (canon resource.drop $s))"
    names = [*imported, "drop", "drop-s"]
    fields = "".join(
        f'(import "" "{name}" (func ${name} {_CORE.get(name, "(param i32)")}))' for name in names
    )
    given = "".join(f'(export "{name}" (func ${name}))' for name in names)
    return f"""
      (import "r" (type $r (sub resource))) (import "s" (type $s (sub resource)))
      {imports} {lowered}
      (core module $m {fields} {bodies})
      (core instance $m (instantiate $m (with "" (instance {given}))))
      {lifted}
    """


def _consumer() -> str:
    bodies = lifted = ""
    for name, bad in RUNS.items():
        bodies += f'(func (export "{name}") (local $h i32) {bad.code})'
        lifted += f'(func (export "{name}") (canon lift (core func $m "{name}")))'
    for name, bad in (LENT | RETURNS).items():
        core, type_ = ("(result i32)", "(result (own $r))") if name in RETURNS else ("", "")
        bodies += f'(func (export "{name}") (param i32) {core} {bad.body})'
        lifted += (
            f'(func (export "{name}") (param "x" (borrow $r)) {type_} (canon lift (core func $m "{name}")))'
        )
    return _component(_IMPORTED, bodies, lifted)


def _caller() -> str:
    """Calls the consumer's functions that take handles, with one of its own."""
    imported = {"make": _IMPORTED["make"]}
    bodies = lifted = ""
    for name in LENT | RETURNS:
        result = "(result (own $r))" if name in RETURNS else ""
        imported[name] = f'(param "x" (borrow $r)) {result}'
        drop = "drop" if name in RETURNS else ""
        bodies += f'(func (export "call-{name}") (call ${name} (call $make (i32.const 7))) {drop})'
        lifted += f'(func (export "call-{name}") (canon lift (core func $m "call-{name}")))'
    text = _component(imported, bodies, lifted)
    for name in RETURNS:
        text = text.replace(
            f'(import "" "{name}" (func ${name} (param i32)))',
            f'(import "" "{name}" (func ${name} (param i32) (result i32)))',
        )
    return text


def _all() -> str:
    given = "".join(f'(with "{name}" (func $a "{name}"))' for name in _IMPORTED)
    types = '(with "r" (type $a "r")) (with "s" (type $a "s"))'
    lent = "".join(f'(with "{name}" (func $b "{name}"))' for name in LENT | RETURNS)
    out = "".join(f'(export "{name}" (func $b "{name}"))' for name in RUNS)
    out += "".join(f'(export "{name}" (func $b "{name}"))' for name in LENT | RETURNS)
    out += "".join(f'(export "{name}" (func $a "{name}"))' for name in [*_IMPORTED, *OWN])
    out += "".join(f'(export "call-{name}" (func $c "call-{name}"))' for name in LENT | RETURNS)
    return f"""
    (component (component $A {DEFINER}) (component $B {_consumer()}) (component $C {_caller()})
      (instance $a (instantiate $A))
      (instance $b (instantiate $B {types} {given}))
      (instance $c (instantiate $C {types} (with "make" (func $a "make")) {lent}))
      (instance $all (export "r" (type $a "r")) (export "s" (type $a "s")) {out})
      (export "all" (instance $all)))
    """


ALL = ("all",)


@functools.cache
def handles() -> tuple[Component, ReferenceComponent]:
    wasm = wat(_all())
    return Component(wasm), ReferenceComponent(wasm)


@pytest.mark.parametrize("name", [*RUNS, *(f"call-{name}" for name in LENT | RETURNS)])
def test_handles_between_components(name: str, engine: str) -> None:
    """A component uses a handle as it must not, in a call of another component."""
    component, reference = handles()
    bad = (RUNS | LENT | RETURNS)[name.removeprefix("call-")]
    found = causes(
        component, reference if engine == "wasmtime" else None, engine, lambda find: find(name)(), within=ALL
    )
    expect(bad.fault, found, bad.other)


@pytest.mark.parametrize("name", LENT | RETURNS)
def test_handles_of_python(name: str, engine: str) -> None:
    """A component misuses a handle that Python lent it."""
    component, reference = handles()
    bad = (LENT | RETURNS)[name]

    def call(find: Any) -> None:
        find(name)(find("make")(7))

    found = causes(component, reference if engine == "wasmtime" else None, engine, call, within=ALL)
    expect(bad.fault, found, bad.other)


@pytest.mark.parametrize("number", [0, 1, 99, 0xFFFFFFFF])
@pytest.mark.parametrize("name", ["forge", *OWN])
def test_handles_of_the_definer(name: str, number: int, engine: str) -> None:
    """A component uses numbers that are no handles of its own, or gives them to Python."""
    component, reference = handles()
    fault = OWN[name].fault if name in OWN else Fault.UNKNOWN_HANDLE

    def call(find: Any) -> None:
        find(name)(*([number] if name != "rep-s" else []))

    found = causes(component, reference if engine == "wasmtime" else None, engine, call, within=ALL)
    expect(fault, found)


def test_destroyed_once(engine: str) -> None:
    """A handle that was moved, dropped or closed is destroyed once, and a borrowed one never."""
    with Component(wat(f"(component {DEFINER} {_DEAD})")).instantiate(engine=engine) as instance:
        made = [instance["make"](number) for number in range(3)]
        assert instance["get"](made[2]) == 2
        made[0].close()
        made[0].close()
        instance["take"](made[1])  # which keeps it: nothing is destroyed
        with pytest.raises(ResourceMovedError):
            instance["take"](made[1])
        assert instance["dead"]() == 1
        made.clear()
        assert instance["dead"]() == 2


_DEAD = '(func (export "dead") (result u32) (canon lift (core func $d "dead")))'


# ---- calls from inside


def _guest(realloc: str, post: str, core: str = "", more: str = "") -> str:
    """A component that takes and gives strings, and has an import that it may call."""
    return f"""
      (import "out" (func $out))
      (type $r (resource (rep i32)))
      (core func $out (canon lower (func $out)))
      (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $r))
      (core func $rep (canon resource.rep $r))
      (core module $m
        (import "" "out" (func $out)) (import "" "new" (func $new (param i32) (result i32)))
        (import "" "drop" (func $drop (param i32))) (import "" "rep" (func $rep (param i32) (result i32)))
        (memory (export "memory") 1) (global $h (mut i32) (i32.const 0))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
        (func (export "post") (param i32) {post})
        (func (export "takes") (param i32 i32))
        (func (export "makes") (global.set $h (call $new (i32.const 1))))
        (func (export "gives") (result i32) (i32.store (i32.const 8) (i32.const 16))
          (i32.store (i32.const 12) (i32.const 3)) (i32.const 8)) {core})
      (core instance $m (instantiate $m (with "" (instance (export "out" (func $out))
        (export "new" (func $new)) (export "drop" (func $drop)) (export "rep" (func $rep))))))
      (func (export "takes") (param "x" string) (canon lift (core func $m "takes")
        {options("utf16", "$m")}))
      (func (export "makes") (canon lift (core func $m "makes")))
      (func (export "gives") (result string) (canon lift (core func $m "gives")
        (memory (core memory $m "memory")) (post-return (core func $m "post")))) {more}
    """


INSIDE = {
    "call": ("(call $out) {}", Fault.CANNOT_LEAVE),
    "resource.new": ("(drop (call $new (i32.const 1))) {}", Fault.CANNOT_LEAVE),
    "resource.drop": ("(call $drop (global.get $h)) {}", Fault.CANNOT_LEAVE),
}
REALLOCS = {
    **INSIDE,
    "misaligned": ("(i32.const 17)", Fault.REALLOC_ALIGNMENT),
    "beyond": ("(i32.const 65534)", Fault.REALLOC_BOUNDS),
    "far": ("(i32.const -4)", Fault.REALLOC_BOUNDS),
}


def _both(text: str) -> tuple[Component, ReferenceComponent]:
    wasm = wat(text)
    return Component(wasm), ReferenceComponent(wasm)


@pytest.mark.parametrize("name", REALLOCS)
def test_realloc_for_python(name: str, engine: str) -> None:
    """An allocator that Python calls gives what it must not give, or does what it must not do."""
    body, fault = REALLOCS[name]
    component, reference = _both(f"(component {_guest(body.format('(i32.const 16)'), '')})")

    def call(find: Any) -> None:
        find("takes")("abc")

    found = causes(
        component, reference if engine == "wasmtime" else None, engine, call, lambda _: {"out": lambda: None}
    )
    expect(fault, found)


@pytest.mark.parametrize("name", INSIDE)
def test_post_return_for_python(name: str, engine: str) -> None:
    """What is called after a result was read does what it must not do."""
    body, fault = INSIDE[name]
    component, reference = _both(f"(component {_guest('(i32.const 16)', body.format(''))})")
    found = causes(
        component,
        reference if engine == "wasmtime" else None,
        engine,
        lambda find: find("gives")(),
        lambda _: {"out": lambda: None},
    )
    expect(fault, found)


def test_rep_from_inside(engine: str) -> None:
    """An allocator may ask for a representation: that does not leave the instance."""
    body = "(drop (call $rep (global.get $h))) (i32.const 16)"
    component, reference = _both(f"(component {_guest(body, '')})")
    with component.instantiate({"out": lambda: None}, engine=engine) as instance:
        instance["makes"]()
        instance["takes"]("abc")
    other = reference.instantiate({"out": lambda _context: None})
    other.function("makes")()
    other.function("takes")("abc")


_CALLER = f"""
  (import "takes" (func $takes (param "x" string))) (import "gives" (func $gives (result string)))
  {MEMORY}
  (core func $takes (canon lower (func $takes) {options("utf8")}))
  (core func $gives (canon lower (func $gives) {options("utf8")}))
  (core module $m (import "libc" "memory" (memory 1)) (import "" "takes" (func $takes (param i32 i32)))
    (import "" "gives" (func $gives (param i32)))
    (func (export "takes") (call $takes (i32.const 1024) (i32.const 3)))
    (func (export "gives") (param i32) (call $gives (local.get 0))))
  (core instance $m (instantiate $m (with "libc" (instance $libc))
    (with "" (instance (export "takes" (func $takes)) (export "gives" (func $gives))))))
  (func (export "takes") (canon lift (core func $m "takes")))
  (func (export "gives") (param "at" u32) (canon lift (core func $m "gives")))
"""


def _pair(realloc: str, post: str) -> str:
    return f"""
    (component (import "out" (func $out)) (component $A {_guest(realloc, post)}) (component $B {_CALLER})
      (instance $a (instantiate $A (with "out" (func $out))))
      (instance $b (instantiate $B (with "takes" (func $a "takes")) (with "gives" (func $a "gives"))))
      (export "takes" (func $b "takes")) (export "gives" (func $b "gives")))
    """


@pytest.mark.parametrize("name", [*REALLOCS, *(f"post-{name}" for name in INSIDE)])
@pytest.mark.parametrize("on", ["wasmtime", "wasmer", "native"])
def test_inside_a_call_of_a_component(on: str, name: str) -> None:
    """The same in calls between components. wasmtime does not see that what is called after a result was read
    calls out."""
    engine = use_adapters(on)
    body, fault = REALLOCS[name.removeprefix("post-")]
    after = name.startswith("post-")
    realloc = "(i32.const 16)" if after else body.format("(i32.const 16)")
    component, reference = _both(_pair(realloc, body.format("") if after else ""))
    found = causes(
        component,
        reference if engine == "wasmtime" and not after else None,
        engine,
        lambda find: find("gives")(64) if after else find("takes")(),
        lambda _: {"out": lambda: None},
    )
    expect(fault, found)


@pytest.mark.parametrize("on", ["wasmtime", "wasmer", "native"])
@pytest.mark.parametrize(
    ("at", "fault"), [(2, Fault.BAD_POINTER), (65532, Fault.OUT_OF_BOUNDS), (0xFFFFFFFC, Fault.OUT_OF_BOUNDS)]
)
def test_bad_place_for_a_result(at: int, fault: Fault, on: str) -> None:
    """A component wants a result where it has no memory for it."""
    engine = use_adapters(on)
    component, reference = _both(_pair("(i32.const 16)", ""))
    found = causes(
        component,
        reference if engine == "wasmtime" else None,
        engine,
        lambda find: find("gives")(at),
        lambda _: {"out": lambda: None},
    )
    expect(fault, found)


@pytest.mark.parametrize(
    ("at", "fault"), [(2, Fault.BAD_POINTER), (65532, Fault.OUT_OF_BOUNDS), (0xFFFFFFFC, Fault.OUT_OF_BOUNDS)]
)
def test_bad_place_for_a_result_of_python(at: int, fault: Fault, engine: str) -> None:
    """The same of a Python function."""
    component, reference = _both(f"(component {_CALLER})")
    found = causes(
        component,
        reference if engine == "wasmtime" else None,
        engine,
        lambda find: find("gives")(at),
        lambda _: {"gives": lambda: "abc", "takes": lambda x: None},
    )
    expect(fault, found)


def test_entered_again(engine: str) -> None:
    """A Python function that an instance calls cannot call that instance. (wasmtime lets it, while the
    specification does not.)"""
    component = Component(wat(f"(component {_guest('(i32.const 16)', '', OUT, LIFTED)})"))
    found = causes(
        component,
        None,
        engine,
        lambda find: find("outside")(),
        lambda found: {"out": lambda: found[0]("makes")()},
    )
    expect(Fault.CANNOT_ENTER, found)


def test_goes_on(engine: str) -> None:
    """The instance is not dead if the Python function catches that it could not enter it."""
    found: list[Any] = []

    def out() -> None:
        with pytest.raises(GuestTrap):
            found[0]("makes")()

    text = f"(component {_guest('(i32.const 16)', '', OUT, LIFTED)})"
    with Component(wat(text)).instantiate({"out": out}, engine=engine) as instance:
        found.append(instance.__getitem__)
        instance["outside"]()
        instance["makes"]()
        found.clear()


OUT = '(func (export "outside") (call $out))'
LIFTED = '(func (export "outside") (canon lift (core func $m "outside")))'


def test_trap_of_the_guest(engine: str) -> None:
    """What traps in a guest's own code is told as for other guests, and the instance is dead."""
    text = f"(component {_guest('(i32.const 16)', '', STOPS, STOP)})"
    with Component(wat(text)).instantiate({"out": lambda: None}, engine=engine) as instance:
        for kind in ("unreachable", Fault.CANNOT_ENTER.words):
            with pytest.raises(GuestTrap) as trap:
                instance["stop"]()
            assert trap.value.kind == kind


STOPS = '(func (export "stop") unreachable)'
STOP = '(func (export "stop") (canon lift (core func $m "stop")))'
