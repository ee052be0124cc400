"""Four components that pass handles to each other and to Python, and an oracle that knows what must become
of each one.

The components are a, b, c and d; each may call those before it. Resource r is a's, s is b's, and t a Python
class. What is called by Python takes and gives numbers of handles, so that they can be seen, but for
``put``, ``take`` and ``see``, by which Python's own handles go in and out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from support import wat

from hiwire_py import GuestTrap
from hiwire_py.components import Component, HostResource
from hiwire_py.components.faults import Fault

NAMES = "abcd"
Known = Mapping[str, str]
"""The kinds of resources that each component knows."""
ALL: Known = {"a": "rt", "b": "rst", "c": "rst", "d": "rst"}
FEW: Known = {"a": "r", "b": "rs", "c": "s", "d": "rs"}
"""Far fewer functions, for an engine that compiles slowly."""
DEFINER = {"r": "a", "s": "b", "t": ""}

_NUMBER = '(param "x" u32) (result u32)'
_TYPES = {
    "make": '(param "x" u32) (result (own ${k}))',
    "get": '(param "x" (borrow ${k})) (result u32)',
    "put": '(param "x" (own ${k})) (result u32)',
    "take": '(param "x" u32) (result (own ${k}))',
    "see": '(param "x" (borrow ${k})) (result u32)',
    "keep": '(param "x" (borrow ${k})) (result u32)',
    "two": '(param "x" (borrow ${k})) (param "y" (own ${k})) (result u32)',
}
_UNARY = "(param i32) (result i32)"


class _Text:
    """One component's text."""

    def __init__(self, name: str, known: Known) -> None:
        self.name = name
        self.known = known
        self.head = self.lowered = self.fields = self.given = self.bodies = self.lifted = ""
        for kind in self.known[name]:
            self.kind(kind)

    def import_(self, name: str, signature: str, core: str = _UNARY) -> None:
        self.head += f'(import "{name}" (func ${name} {signature}))'
        self.lowered += f"(core func ${name} (canon lower (func ${name})))"
        self.use(name, core)

    def use(self, name: str, core: str = _UNARY) -> None:
        """Let core code call a core function."""
        self.fields += f'(import "" "{name}" (func ${name} {core}))'
        self.given += f'(export "{name}" (func ${name}))'

    def export(self, name: str, signature: str, body: str, params: str = "(param i32)") -> None:
        self.bodies += f'(func (export "{name}") {params} (result i32) (local $n i32) {body})'
        self.lifted += f'(func (export "{name}") {signature} (canon lift (core func $m "{name}")))'

    def kind(self, k: str) -> None:
        own = DEFINER[k] == self.name
        one = "(local.get 0)"
        types = {name: text.replace("{k}", k) for name, text in _TYPES.items()}
        if own:
            self.head += f"""
              (import "died-{k}" (func $died-{k} (param "x" u32)))
              (core func $died-{k} (canon lower (func $died-{k})))
              (core module $dtor-{k} (import "" "died" (func $died (param i32)))
                (func (export "dtor") (param i32) (call $died (local.get 0))))
              (core instance $dtor-{k}
                (instantiate $dtor-{k} (with "" (instance (export "died" (func $died-{k}))))))
              (type $raw-{k} (resource (rep i32) (dtor (core func $dtor-{k} "dtor"))))
              (export ${k} "{k}" (type $raw-{k}))
              (core func $make-{k} (canon resource.new ${k}))
              (core func $get-{k} (canon resource.rep ${k}))"""
            self.use(f"make-{k}")
            self.use(f"get-{k}")
            self.export(f"get-{k}", types["get"], one)
            self.export(f"make-{k}", types["make"], f"(call $make-{k} {one})")
        else:
            self.head += f'(import "{k}" (type ${k} (sub resource)))'
            self.import_(f"make-{k}", types["make"])
            self.import_(f"get-{k}", types["get"])
        self.lowered += f"(core func $drop-{k} (canon resource.drop ${k}))"
        self.use(f"drop-{k}", "(param i32)")
        call = f"(call $get-{k} {one})"
        self.export(f"new-{k}", _NUMBER, f"(call $make-{k} {one})")
        self.export(f"rep-{k}", _NUMBER, call)
        self.export(f"free-{k}", _NUMBER, f"(call $drop-{k} {one}) (i32.const 0)")
        self.export(f"put-{k}", types["put"], one)
        self.export(f"take-{k}", types["take"], one)
        seen = one if own else f"(local.set $n {call}) (call $drop-{k} {one}) (local.get $n)"
        self.export(f"see-{k}", types["see"], seen)
        self.export(f"keep-{k}", types["keep"], one)
        self.export(f"two-{k}", types["two"], "(i32.const 0)", "(param i32 i32)")
        for other in NAMES[: NAMES.index(self.name)]:
            if k in self.known[other]:
                for what in ("put", "take", "see", "keep"):
                    self.import_(f"{other}-{what}-{k}", types[what])
                    self.export(f"{what}-{other}-{k}", _NUMBER, f"(call ${other}-{what}-{k} {one})")
                self.import_(f"{other}-two-{k}", types["two"], "(param i32 i32) (result i32)")
                self.export(f"two-{other}-{k}", _NUMBER, f"(call ${other}-two-{k} {one} {one})")

    def whole(self) -> str:
        return f"""
        (component ${self.name.upper()} {self.head} {self.lowered}
          (core module $m {self.fields} {self.bodies})
          (core instance $m (instantiate $m (with "" (instance {self.given}))))
          {self.lifted})
        """

    def instance(self) -> str:
        """Its instance, and the export of that with the types."""
        given = out = ""
        for k in self.known[self.name]:
            definer = DEFINER[k]
            place = f"${definer}" if definer and definer != self.name else ""
            if definer == self.name:
                given += f'(with "died-{k}" (func $died-{k}))'
            else:
                given += f'(with "{k}" (type {place} "{k}"))' if place else f'(with "{k}" (type $t))'
                for what in ("make", "get"):
                    source = f'{place} "{what}-{k}"' if place else f"${what}-{k}"
                    given += f'(with "{what}-{k}" (func {source}))'
            for other in NAMES[: NAMES.index(self.name)]:
                if k in self.known[other]:
                    for what in ("put", "take", "see", "keep", "two"):
                        given += f'(with "{other}-{what}-{k}" (func ${other} "{what}-{k}"))'
            source = f'${definer} "{k}"' if definer else "$t"
            out += f'(export "{k}" (type {source}))'
            for what in self.exported(k):
                out += f'(export "{what}" (func ${self.name} "{what}"))'
        return f"""
          (instance ${self.name} (instantiate ${self.name.upper()} {given}))
          (instance $out-{self.name} {out}) (export "{self.name}" (instance $out-{self.name}))
        """

    def exported(self, k: str) -> list[str]:
        names = [f"{what}-{k}" for what in ("new", "rep", "free", "put", "take", "see", "keep")]
        for other in NAMES[: NAMES.index(self.name)]:
            if k in self.known[other]:
                names += [f"{what}-{other}-{k}" for what in ("put", "take", "see", "keep", "two")]
        return names


def text(known: Known) -> str:
    """All four."""
    parts = [_Text(name, known) for name in NAMES]
    return f"""
    (component
      (import "t" (type $t (sub resource)))
      (import "make-t" (func $make-t (param "x" u32) (result (own $t))))
      (import "get-t" (func $get-t (param "x" (borrow $t)) (result u32)))
      (import "died-r" (func $died-r (param "x" u32))) (import "died-s" (func $died-s (param "x" u32)))
      {"".join(part.whole() for part in parts)} {"".join(part.instance() for part in parts)})
    """


# ---- the oracle


class Entry(NamedTuple):
    kind: str
    rep: int


@dataclass
class Table:
    """Of one component: the entries by handle, and what is free, the last one first."""

    entries: dict[int, Entry] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    length: int = 1

    def add(self, entry: Entry) -> int:
        if self.free:
            handle = self.free.pop()
        else:
            handle = self.length
            self.length += 1
        self.entries[handle] = entry
        return handle

    def remove(self, handle: int) -> Entry:
        self.free.append(handle)
        return self.entries.pop(handle)


_STRAYS = {
    Fault.UNKNOWN_HANDLE: "", Fault.WRONG_TYPE: "", Fault.LENT: "two", Fault.BORROWS_REMAIN: "keep"
}  # fmt: skip
"""What may trap, and by which function of the callee."""


class Counted:
    """The Python class behind t; ``live`` are the objects that there are."""

    live: set[int] = set()

    def __init__(self, rep: int) -> None:
        self.rep = rep
        self.live.add(rep)

    def __del__(self) -> None:
        self.live.discard(self.rep)


class Model:
    """An instance of the four components, with the oracle beside it. What differs is an AssertionError.

    Args:
        component: made of `text`, for what is known.
        engine: an engine's name.
        chance: chooses what happens.
    """

    def __init__(self, component: Component, known: Known, engine: str, chance: random.Random) -> None:
        self.known = known
        self.chance = chance
        self.tables = {name: Table() for name in NAMES}
        self.died: list[tuple[str, int]] = []
        self.expected: list[tuple[str, int]] = []
        self.python: list[tuple[str, int, Any]] = []
        self.reps = 0
        self.alive: set[int] = set()
        self.operations = 0
        Counted.live.clear()
        self.instance = component.instantiate(
            {
                "t": HostResource(Counted),
                "make-t": Counted,
                "get-t": lambda one: one.rep,
                "died-r": lambda rep: self.died.append(("r", rep)),
                "died-s": lambda rep: self.died.append(("s", rep)),
            },
            engine=engine,
        )
        self.exports = {name: self.instance[name] for name in NAMES}

    def close(self) -> None:
        self.python.clear()
        self.exports.clear()
        self.instance.close()

    def call(self, name: str, what: str, *args: Any) -> Any:
        self.operations += 1
        return self.exports[name][what](*args)

    def dies(self, kind: str, rep: int) -> None:
        """A resource is destroyed by what happens next."""
        self.alive.discard(rep)
        if kind != "t":
            self.expected.append((kind, rep))

    # ---- what can be done

    def some(self, name: str, kinds: str = "rst") -> tuple[int, Entry] | None:
        found = [(handle, one) for handle, one in self.tables[name].entries.items() if one.kind in kinds]
        return self.chance.choice(found) if found else None

    def new(self, name: str, kind: str) -> None:
        self.reps += 1
        rep = self.reps
        self.alive.add(rep)
        if name != (definer := DEFINER[kind]) and definer:
            table = self.tables[definer]  # it is the definer's for a moment
            table.remove(table.add(Entry(kind, rep)))
        handle = self.tables[name].add(Entry(kind, rep))
        assert self.call(name, f"new-{kind}", rep) == handle

    def see(self, name: str, entry: Entry) -> None:
        """A handle is lent to a component, which looks at it and gives it up."""
        if name != DEFINER[entry.kind]:
            table = self.tables[name]
            table.remove(table.add(entry))

    def step(self) -> None:
        """Something that is allowed."""
        chance = self.chance
        name = chance.choice(NAMES)
        what = chance.choice(
            ["new", "rep", "free", "free", "put", "take", "see", "in", "out", "close", "lend"]
        )
        if what == "new":
            self.new(name, chance.choice(self.known[name]))
        elif what in ("in", "close", "lend"):
            if self.python:
                self.from_python(name, what)
        elif what in ("put", "take", "see"):
            self.between(name, what)
        else:
            found = self.some(name)
            if found is None:
                return
            handle, entry = found
            if what == "rep":
                assert self.call(name, f"rep-{entry.kind}", handle) == entry.rep
            elif what == "free":
                self.tables[name].remove(handle)
                self.dies(*entry)
                self.call(name, f"free-{entry.kind}", handle)
            else:
                self.tables[name].remove(handle)
                self.python.append((*entry, self.call(name, f"take-{entry.kind}", handle)))
        self.check()

    def between(self, name: str, what: str) -> None:
        """A component calls one before it."""
        before = NAMES[: NAMES.index(name)]
        if not before:
            return
        other = self.chance.choice(before)
        giver, taker = (other, name) if what == "take" else (name, other)
        found = self.some(giver, "".join(set(self.known[name]) & set(self.known[other])))
        if found is None:
            return
        handle, entry = found
        if what == "see":
            self.see(other, entry)
            wanted = entry.rep
        else:
            self.tables[giver].remove(handle)
            wanted = self.tables[taker].add(entry)
        assert self.call(name, f"{what}-{other}-{entry.kind}", handle) == wanted

    def from_python(self, name: str, what: str) -> None:
        at = self.chance.randrange(len(self.python))
        kind, rep, handle = self.python[at]
        if what == "close":
            del self.python[at]
            self.dies(kind, rep)
            if kind != "t" and self.chance.random() < 0.5:
                handle.close()
        elif kind not in self.known[name]:
            return
        elif what == "lend":
            self.see(name, Entry(kind, rep))
            assert self.call(name, f"see-{kind}", handle) == rep
        else:
            del self.python[at]
            wanted = self.tables[name].add(Entry(kind, rep))
            assert self.call(name, f"put-{kind}", handle) == wanted

    def check(self) -> None:
        assert self.died == self.expected, (self.died, self.expected)
        self.died.clear()
        self.expected.clear()

    def strays(self, fault: Fault) -> list[tuple[str, str, int, Fault]]:
        """Calls that trap for a reason: component, function and handle."""
        calls: list[tuple[str, str, int, Fault]] = []
        for name, table in self.tables.items():
            kinds, before = self.known[name], NAMES[: NAMES.index(name)]
            if fault == Fault.UNKNOWN_HANDLE:
                numbers = [0, table.length, table.length + 99, 0xFFFFFFFF, *table.free]
                calls += [
                    (name, f"{what}-{kind}", number, fault)
                    for kind in kinds
                    for number in numbers
                    for what in ("rep", "free", "take")
                ]
                continue
            for handle, one in table.entries.items():
                if fault == Fault.WRONG_TYPE:
                    others = [kind for kind in kinds if kind != one.kind]
                    calls += [
                        (name, f"{what}-{kind}", handle, fault)
                        for kind in others
                        for what in ("rep", "free", "take")
                    ]
                else:
                    what = _STRAYS[fault]
                    calls += [
                        (name, f"{what}-{other}-{one.kind}", handle, fault)
                        for other in before
                        if one.kind in self.known[other] and (what == "two" or other != DEFINER[one.kind])
                    ]
        return calls

    def stray(self) -> None:
        """Something that is not allowed: it traps for the right reason, and nothing is destroyed then."""
        chance = self.chance
        calls = self.strays(chance.choice(list(_STRAYS))) or self.strays(Fault.UNKNOWN_HANDLE)
        name, export, handle, fault = chance.choice(calls)
        for wanted in (fault, Fault.CANNOT_ENTER):
            kind_of_trap = "nothing"
            try:
                self.call(name, export, handle)
            except GuestTrap as trap:
                kind_of_trap = trap.kind
            assert kind_of_trap == wanted.words, (name, export, handle, kind_of_trap)
        self.python.clear()
        assert not self.died

    def finish(self) -> None:
        """Everything is given up: all is destroyed once, and no object is left."""
        while self.python:
            kind, rep, handle = self.python.pop()
            self.dies(kind, rep)
            del handle
            self.check()
        for name in NAMES:
            for handle, entry in list(self.tables[name].entries.items()):
                self.tables[name].remove(handle)
                self.dies(*entry)
                self.call(name, f"free-{entry.kind}", handle)
                self.check()
        assert not self.alive and not Counted.live


def play(
    component: Component,
    known: Known,
    engine: str,
    seed: int,
    operations: int,
    lengths: Sequence[int] = (20, 200, 1000),
) -> int:
    """Sequences until there were so many operations; how many sequences."""
    chance, done, sequences = random.Random(seed), 0, 0
    while done < operations:
        model = Model(component, known, engine, chance)
        try:
            for _ in range(chance.choice(lengths)):
                model.step()
            if chance.random() < 0.7:
                model.stray()
            else:
                model.finish()
        finally:
            model.close()
        done += model.operations
        sequences += 1
    return sequences


def made(known: Known) -> Component:
    """The component, generated anew."""
    return Component(wat(text(known)))
