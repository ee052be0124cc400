"""Components that a number stands for: valid ones of several makers, and the same broken in one place.

Makers: `Maker`, whose components are in each other and pass resources and records on, and whose types are
compared with ones that hardly differ; core modules that import what others export, or something like it;
`wasm-tools wit-smith`, and what `wasm-tools component new` makes of its worlds; the cases of
validity_cases.py.
"""

from __future__ import annotations

import functools
import random
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union, cast

from broken_components import broken_bytes, broken_text
from validity_cases import INVALID, VALID

from hiwire_py.components.decode import is_component
from hiwire_py.wasm.binary import section, vector

__all__ = ["FEATURES", "any_bytes", "assembled", "component", "oracle"]

FEATURES = "cm-map,cm-fixed-length-lists,cm-implements,cm-canon-names,-cm-async,-compact-imports"
"""What the oracle must take and refuse to have the same features as hiwire_py, beside its defaults."""

_PRIMITIVES = ("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string")
_CORE = {"s64": "i64", "u64": "i64", "f32": "f32", "f64": "f64"}


# ---- running wasm-tools


def assembled(text: str, wasm_tools: str) -> bytes:
    """A component's bytes; none if the assembler does not take the text. What is wrong with it otherwise
    stays wrong."""
    return _run([wasm_tools, "parse", "-"], text.encode())


def oracle(wasm: bytes, wasm_tools: str) -> str | None:
    """Why a component is invalid; None: it is valid."""
    command = [wasm_tools, "validate", "--features", FEATURES, "-"]
    done = subprocess.run(command, input=wasm, capture_output=True, timeout=60)
    return None if done.returncode == 0 else done.stderr.decode().strip() or f"status {done.returncode}"


def _run(command: list[str], data: bytes = b"") -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    return done.stdout if done.returncode == 0 else b""


# ---- components by numbers


def component(number: int, wasm_tools: str) -> bytes:
    """The component that ``number`` stands for; no bytes where what was made was no component."""
    r = random.Random(number)
    kind = r.random()
    if kind < 0.03:
        return _with_module(r, wasm_tools)
    if kind < 0.2:
        wasm = _from_wit(r, wasm_tools)
        if not wasm or r.random() < 0.2:
            return wasm
        if r.random() < 0.5:
            return broken_bytes(wasm, r)
        text = _run([wasm_tools, "print", "-"], wasm).decode()
    elif kind < 0.25:
        return assembled(_core_pair(r), wasm_tools)
    elif kind < 0.4:
        return assembled(Maker(r).pair(), wasm_tools)
    elif kind < 0.75:
        text = Maker(r).root()
    else:
        inner = r.choice(list(VALID.values())) if r.random() < 0.6 else r.choice(INVALID)[0]
        text = f"(component {inner})"
    way = r.random()
    if 0.15 <= way < 0.8:
        for _ in range(4):  # most of what is broken is no text any more that an assembler takes
            wasm = assembled(broken_text(text, r), wasm_tools)
            if is_component(wasm):
                return wasm
        return b""
    wasm = assembled(text, wasm_tools)
    return broken_bytes(wasm, r) if way >= 0.8 and wasm else wasm


_HEAPS = (
    "func",
    "extern",
    "any",
    "eq",
    "i31",
    "struct",
    "array",
    "none",
    "nofunc",
    "noextern",
    "exn",
    "noexn",
)
_DEFINED = """(type $f (func)) (type $g (func (param i32))) (type $s (struct)) (type $a (array i8))
  (type $p (sub (func (param i64)))) (type $q (sub $p (func (param i64))))
  (rec (type $x (struct (field (ref null $y)))) (type $y (array (ref null $x))))"""
_LIMITS = ("1", "2", "1 1", "1 2", "1 3", "2 2", "0", "0 0", "i64 1", "i64 1 2")


def _core_pair(r: random.Random) -> str:
    """A core module, and another one that imports something from it."""
    heaps = (*_HEAPS, "$f", "$g", "$s", "$a", "$p", "$q", "$x", "$y")
    way = r.random()
    if way < 0.4:
        heap, wanted = r.choice(heaps), f"(global (ref null {r.choice(heaps)}))"
        exported = f'(global (export "g") (ref null {heap}) (ref.null {heap}))'
    elif way < 0.6:
        exported = f'(func (export "g") (type {r.choice(("$f", "$g", "$p", "$q"))}))'
        wanted = f"(func (type {r.choice(('$f', '$g', '$p', '$q'))}))"
    else:
        values = ("i32", "i64", *(f"(ref {null}{heap})" for heap in _HEAPS for null in ("", "null ")))
        ways: tuple[Callable[[], str], ...] = (
            lambda: f"(memory {r.choice(_LIMITS)})",
            lambda: f"(table {r.choice(_LIMITS)} {r.choice(('funcref', 'externref'))})",
            lambda: f"(global {r.choice(values)})",
            lambda: f"(global (mut {r.choice(values)}))",
            lambda: f"(tag {r.choice(('', '(param i32)'))})",
            lambda: f"(func {r.choice(('', '(param i32)', '(param funcref)'))})",
        )
        one = r.choice(ways)
        exported, wanted = one(), one() if r.random() < 0.8 else r.choice(ways)()
        first = f'(import "m" (core module $m (export "g" {exported})))'
        return _linked(first, f'(import "n" (core module $n (import "m" "g" {wanted})))')
    first = f"(core module $m (type (func (result f32))) {_DEFINED} {exported})"
    return _linked(first, f'(core module $n {_DEFINED} (import "m" "g" {wanted}))')


def _linked(first: str, second: str) -> str:
    given = "(core instance $i (instantiate $m))"
    return f'(component {first} {given} {second} (core instance (instantiate $n (with "m" (instance $i)))))'


@functools.cache
def _some(wasm_tools: str) -> list[bytes]:
    """Components to break by bytes: made once, as making them takes longer than breaking them."""
    texts = [f"(component {text})" for text in (*VALID.values(), *(text for text, _ in INVALID))]
    texts += [Maker(random.Random(number)).root() for number in range(60)]
    made = (assembled(text, wasm_tools) for text in texts)
    return [wasm for wasm in made if 0 < len(wasm) < 6000]


def any_bytes(number: int, wasm_tools: str) -> bytes:
    """Bytes that are hardly ever a valid component."""
    r = random.Random(number)
    wasm, way = r.choice(_some(wasm_tools)), r.random()
    if way < 0.05:
        return wasm[:8] + r.randbytes(r.randrange(200))
    if way < 0.1:
        return wasm[: r.randrange(len(wasm) + 1)]
    for _ in range(r.choice((1, 1, 2))):
        wasm = broken_bytes(wasm, r)
    return wasm


def _with_module(r: random.Random, wasm_tools: str) -> bytes:
    """A component with one core module, which another maker makes, and whose type is exported."""
    module = _run(
        [wasm_tools, "smith", "--max-imports", "6", "--compact-imports-enabled", "false"], r.randbytes(500)
    )
    start, export = b"\0asm\x0d\0\x01\0", b"\0\1m\0\x11\0\0"
    return start + section(1, module) + section(11, vector([export])) if module else b""


def _from_wit(r: random.Random, wasm_tools: str) -> bytes:
    """A package of types, or a component with a world of one."""
    options = ["--fixed-length-lists", "--implements", "--canonical-names"]
    with tempfile.TemporaryDirectory() as place:
        package, embedded = Path(place) / "package.wasm", Path(place) / "embedded.wasm"
        seed = r.randbytes(r.choice((300, 800, 2000)))
        package.write_bytes(_run([wasm_tools, "wit-smith", *options], seed))
        text = _run([wasm_tools, "component", "wit", str(package)]).decode()
        worlds = re.findall(r"^world %?(\S+) \{", text, re.MULTILINE)
        if not worlds or r.random() < 0.3:
            return package.read_bytes()
        world = ["--world", r.choice(worlds)]
        embedded.write_bytes(_run([wasm_tools, "component", "embed", "--dummy", str(package), *world]))
        return _run([wasm_tools, "component", "new", str(embedded)]) or package.read_bytes()


# ---- a maker of its own


@dataclass(eq=False)
class Res:
    """A resource type."""


@dataclass(eq=False)
class Def:
    """A type that must have a name: ``form``, labels and types of its parts."""

    form: str
    parts: tuple[tuple[str, Type | None], ...]


@dataclass(frozen=True)
class Type:
    """A value type: ``form`` is a primitive type, ``list`` and the like, ``own``, ``borrow`` or ``def``."""

    form: str
    parts: tuple[Type, ...] = ()
    of: Res | Def | None = None


Signature = tuple[tuple[tuple[str, Type], ...], Union[Type, None]]
Item = tuple[str, object]  # ("func", Signature), ("type", Res or Def), ("instance", its items)
Items = list[tuple[str, Item]]


@dataclass
class _Scope:
    """What is there, by the identifiers under which it is; ``lines`` is the text so far."""

    lines: list[str] = field(default_factory=list)
    types: dict[Res | Def, str] = field(default_factory=dict)
    functions: list[tuple[str, Signature]] = field(default_factory=list)
    instances: list[tuple[str, Items]] = field(default_factory=list)
    components: list[tuple[str, Items, Items]] = field(default_factory=list)
    imports: Items = field(default_factory=list)
    exports: Items = field(default_factory=list)
    in_type: bool = False


class Maker:
    """Makes one component as text; valid but for what goes wrong seldom."""

    def __init__(self, r: random.Random) -> None:
        self.r = r
        self.count = 0

    def root(self) -> str:
        return self.component(0)[0]

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def component(self, depth: int) -> tuple[str, Items, Items]:
        """The text of a component, what it imports and what it exports."""
        scope = _Scope()
        ways: list[Callable[[_Scope], None]]
        ways = [self.import_type, self.import_func, self.import_instance, self.define_resource, self.lift]
        ways += [self.export_func, self.export_type, self.export_instance, self.lower, self.bundle]
        if depth < 3:
            ways += [lambda s: self.nest(s, depth), self.instantiate, self.instantiate]
        for _ in range(self.r.randrange(2, 12)):
            self.r.choice(ways)(scope)
        return f"(component {' '.join(scope.lines)})", scope.imports, scope.exports

    def pair(self) -> str:
        """A component or instance of one type where another one is wanted, which hardly differs."""
        scope = _Scope()
        self.import_one(scope, "t", ("type", Res()))
        sort = self.r.choice(("component", "instance"))
        given = self.declarations(scope, sort, 0)
        wanted = given if self.r.random() < 0.3 else broken_text(given, self.r)
        scope.lines.append(f'(import "g" ({sort} $g {given}))')
        if self.r.random() < 0.3:
            given, wanted = wanted, given
        if sort == "component" or self.r.random() < 0.3:
            scope.lines.append(f'(export "w" ({sort} $g) ({sort} {wanted}))')
        else:
            scope.lines.append(f'(component $c (import "w" (instance {wanted})))')
            scope.lines.append('(instance (instantiate $c (with "w" (instance $g))))')
        return f"(component {' '.join(scope.lines)})"

    def declarations(self, outer: _Scope, sort: str, depth: int) -> str:
        """What is between the parentheses of a type."""
        r = self.r
        scope = _Scope(types=dict(outer.types) if depth or r.random() < 0.1 else {}, in_type=True)
        for _ in range(r.randrange(1, 7)):
            way, item = "export" if sort == "instance" else r.choice(("import", "export")), r.random()
            if item < 0.25:
                self.declare(scope, way, self.fresh("t"), ("type", Res()), scope.lines)
            elif item < 0.4:
                one = ("type", self.definition(scope))
                self.declare(scope, way, self.fresh("t"), one, scope.lines)
            elif item < 0.7 or depth > 2:
                self.declare(scope, way, self.fresh("f"), ("func", self.signature(scope)), scope.lines)
            elif item < 0.85:
                found = self.instance_items(scope)
                self.declare(scope, way, self.fresh("i"), ("instance", found), scope.lines)
            else:
                inner = r.choice(("component", "instance"))
                text = self.declarations(scope, inner, depth + 1)
                scope.lines.append(f'({way} "{self.fresh("n")}" ({inner} {text}))')
        return " ".join(scope.lines)

    # ---- types

    def type(self, scope: _Scope, depth: int = 0, borrow: bool = True) -> Type:
        r = self.r
        if depth < 3 and r.random() < 0.35:
            form = r.choice(("list", "option", "tuple", "result"))
            many = r.randrange(1, 4) if form == "tuple" else 1
            return Type(form, tuple(self.type(scope, depth + 1, borrow) for _ in range(many)))
        if scope.types and r.random() < 0.5:
            one = r.choice(list(scope.types))
            if isinstance(one, Def):
                return Type("def", (), one)
            return Type(r.choice(("own", "borrow")) if borrow else "own", (), one)
        return Type(r.choice(_PRIMITIVES))

    def signature(self, scope: _Scope) -> Signature:
        count = self.r.choice((0, 1, 1, 2, 3, 18 if self.r.random() < 0.2 else 1))
        params = tuple((self.label(i), self.type(scope)) for i in range(count))
        return params, self.type(scope, 0, False) if self.r.random() < 0.6 else None

    def label(self, i: int) -> str:
        return f"{self.r.choice('abc')}{i}"

    def definition(self, scope: _Scope) -> Def:
        form = self.r.choice(("record", "variant", "enum", "flags"))
        labels = [self.label(i) for i in range(self.r.randrange(1, 4))]
        if form in ("enum", "flags"):
            return Def(form, tuple((label, None) for label in labels))
        empty = form == "variant" and self.r.random() < 0.4
        return Def(form, tuple((label, None if empty else self.type(scope, 2, False)) for label in labels))

    def text(self, scope: _Scope, one: Type) -> str:
        if one.of is not None:
            # What an instance has may be made of types that it does not export: another takes their place.
            known = scope.types.get(one.of)
            return "u8" if known is None else known if one.form == "def" else f"({one.form} {known})"
        if not one.parts:
            return one.form
        return f"({one.form} {' '.join(self.text(scope, part) for part in one.parts)})"

    def func_text(self, scope: _Scope, signature: Signature) -> str:
        params, result = signature
        parts = [f'(param "{label}" {self.text(scope, one)})' for label, one in params]
        return " ".join([*parts, *([f"(result {self.text(scope, result)})"] if result is not None else [])])

    def def_text(self, scope: _Scope, one: Def) -> str:
        if one.form in ("enum", "flags"):
            return f"({one.form} {' '.join(repr(label) for label, _ in one.parts)})".replace("'", '"')
        word = "field" if one.form == "record" else "case"
        parts = [
            f'({word} "{label}"{"" if part is None else " " + self.text(scope, part)})'
            for label, part in one.parts
        ]
        return f"({one.form} {' '.join(parts)})"

    # ---- imports

    def import_type(self, scope: _Scope) -> None:
        one = Res() if self.r.random() < 0.4 else self.definition(scope)
        self.import_one(scope, self.fresh("t"), ("type", one))

    def import_func(self, scope: _Scope) -> None:
        self.import_one(scope, self.fresh("f"), ("func", self.signature(scope)))

    def import_instance(self, scope: _Scope) -> None:
        items = self.instance_items(scope)
        name = self.r.choice((self.fresh("i"), f"a:b/{self.fresh('i')}@1.2.{self.count}"))
        self.import_one(scope, name, ("instance", items))

    def instance_items(self, scope: _Scope) -> Items:
        inner = _Scope(types=dict(scope.types))
        items: Items = []
        for _ in range(self.r.randrange(4)):
            if self.r.random() < 0.5:
                one = Res() if self.r.random() < 0.6 else self.definition(inner)
                inner.types[one] = "?"
                items.append((self.fresh("t"), ("type", one)))
            elif self.r.random() < 0.15 and scope.instances:
                items.append((self.fresh("i"), ("instance", [])))
            else:
                items.append((self.fresh("f"), ("func", self.signature(inner))))
        return items

    def import_one(self, scope: _Scope, name: str, item: Item) -> str:
        """Import something; its identifier."""
        scope.imports.append((name, item))
        return self.declare(scope, "import", name, item, scope.lines)

    def declare(self, scope: _Scope, way: str, name: str, item: Item, lines: list[str]) -> str:
        """An import, or an export within a type; its identifier."""
        sort, what = item
        identifier = self.fresh("$x")
        if isinstance(what, Res):
            lines.append(f'({way} "{name}" (type {identifier} (sub resource)))')
            scope.types[what] = identifier
        elif isinstance(what, Def):
            before = self.fresh("$d")
            lines.append(f"(type {before} {self.def_text(scope, what)})")
            lines.append(f'({way} "{name}" (type {identifier} (eq {before})))')
            scope.types[what] = identifier
        elif sort == "func":
            text = self.func_text(scope, what)  # type: ignore[arg-type]
            lines.append(f'({way} "{name}" (func {identifier} {text}))')
            scope.functions.append((identifier, what))  # type: ignore[arg-type]
        else:
            assert isinstance(what, list)
            inner = _Scope(types=dict(scope.types))
            declared: list[str] = []
            for part, one in what:
                self.declare(inner, "export", part, one, declared)
            lines.append(f'({way} "{name}" (instance {identifier} {" ".join(declared)}))')
            if way == "import" or scope.in_type:
                self.enter(scope, identifier, what)
        return identifier

    def enter(self, scope: _Scope, instance: str, items: Items) -> None:
        """Take an instance's types and functions into the scope."""
        scope.instances.append((instance, items))
        for name, (sort, what) in items:
            skipped = 1.0 if scope.in_type else 0.4  # types have no aliases of functions
            if sort == "instance" or (isinstance(what, tuple) and self.r.random() < skipped):
                continue
            identifier = self.fresh("$x")
            scope.lines.append(f'(alias export {instance} "{name}" ({sort} {identifier}))')
            if isinstance(what, (Res, Def)):
                scope.types[what] = identifier
            else:
                scope.functions.append((identifier, what))  # type: ignore[arg-type]

    # ---- definitions

    def define_resource(self, scope: _Scope) -> None:
        private, identifier, name = self.fresh("$r"), self.fresh("$x"), self.fresh("r")
        one = Res()
        scope.lines.append(f"(type {private} (resource (rep i32)))")
        for builtin in ("new", "rep", "drop"):
            if self.r.random() < 0.4:
                scope.lines.append(f"(core func (canon resource.{builtin} {private}))")
        scope.lines.append(f'(export {identifier} "{name}" (type {private}))')
        scope.types[one] = identifier
        scope.exports.append((name, ("type", one)))

    def core(self, scope: _Scope, params: str, results: str) -> tuple[str, str, str]:
        """The identifiers of a core function, a memory and a reallocation function."""
        module, instance = self.fresh("$m"), self.fresh("$n")
        scope.lines.append(
            f'(core module {module} (memory (export "m") 1) (func (export "f") (param {params})'
            f" (result {results}) unreachable)"
            ' (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))'
            f" (core instance {instance} (instantiate {module}))"
        )
        found = []
        for name, sort in (("f", "func"), ("m", "memory"), ("r", "func")):
            found.append(self.fresh("$c"))
            scope.lines.append(f'(alias core export {instance} "{name}" (core {sort} {found[-1]}))')
        return found[0], found[1], found[2]

    def flat(self, one: Type) -> list[str]:
        """Core values, where that is simple; where it is not, they are wrong at times."""
        if one.form in ("string", "list"):
            return ["i32", "i32"]
        if one.form == "tuple":
            return [core for part in one.parts for core in self.flat(part)]
        if one.form in ("option", "result"):
            return ["i32", *self.flat(one.parts[0])]
        if isinstance(one.of, Def):
            if one.of.form == "record":
                return [core for _, part in one.of.parts if part is not None for core in self.flat(part)]
            if one.of.form == "variant" and len(one.of.parts) == 1 and one.of.parts[0][1] is not None:
                return ["i32", *self.flat(one.of.parts[0][1])]
        return [_CORE.get(one.form, "i32")]

    def lift(self, scope: _Scope) -> None:
        signature = self.signature(scope)
        params = [core for _, one in signature[0] for core in self.flat(one)]
        results = [] if signature[1] is None else self.flat(signature[1])
        core, memory, realloc = self.core(
            scope,
            " ".join(params if len(params) <= 16 else ["i32"]),
            " ".join(results if len(results) <= 1 else ["i32"]),
        )
        identifier = self.fresh("$x")
        options = f"(memory {memory}) (realloc {realloc})" if self.r.random() < 0.9 else ""
        lifted = f"(canon lift (core func {core}) {options})"
        scope.lines.append(f"(func {identifier} {self.func_text(scope, signature)} {lifted})")
        scope.functions.append((identifier, signature))

    def lower(self, scope: _Scope) -> None:
        if scope.functions:
            _, memory, realloc = self.core(scope, "", "")
            options = f"(memory {memory}) (realloc {realloc})" if self.r.random() < 0.7 else ""
            scope.lines.append(
                f"(core func (canon lower (func {self.r.choice(scope.functions)[0]}) {options}))"
            )

    def bundle(self, scope: _Scope) -> None:
        """An instance of what there is."""
        identifier = self.fresh("$x")
        items: Items = []
        parts = []
        for one, known in self.r.sample(list(scope.types.items()), min(len(scope.types), 2)):
            items.append((self.fresh("t"), ("type", one)))
            parts.append(f'(export "{items[-1][0]}" (type {known}))')
        for known, signature in self.r.sample(scope.functions, min(len(scope.functions), 2)):
            items.append((self.fresh("f"), ("func", signature)))
            parts.append(f'(export "{items[-1][0]}" (func {known}))')
        scope.lines.append(f"(instance {identifier} {' '.join(parts)})")
        scope.instances.append((identifier, items))

    # ---- exports

    def export_func(self, scope: _Scope) -> None:
        if scope.functions:
            identifier, signature = self.r.choice(scope.functions)
            name = self.fresh("e")
            ascribed = f" (func {self.func_text(scope, signature)})" if self.r.random() < 0.3 else ""
            scope.lines.append(f'(export "{name}" (func {identifier}){ascribed})')
            scope.exports.append((name, ("func", signature)))

    def export_type(self, scope: _Scope) -> None:
        if scope.types:
            one = self.r.choice(list(scope.types))
            name, identifier = self.fresh("e"), self.fresh("$x")
            ascribed = f" (type (eq {scope.types[one]}))" if self.r.random() < 0.3 else ""
            scope.lines.append(f'(export {identifier} "{name}" (type {scope.types[one]}){ascribed})')
            if self.r.random() < 0.5:
                scope.types[one] = identifier
            scope.exports.append((name, ("type", one)))

    def export_instance(self, scope: _Scope) -> None:
        if scope.instances:
            identifier, items = self.r.choice(scope.instances)
            name = self.fresh("e")
            scope.lines.append(f'(export "{name}" (instance {identifier}))')
            scope.exports.append((name, ("instance", items)))

    # ---- components in each other

    def nest(self, scope: _Scope, depth: int) -> None:
        identifier = self.fresh("$k")
        text, imports, exports = self.component(depth + 1)
        scope.lines.append(text.replace("(component", f"(component {identifier}", 1))
        scope.components.append((identifier, imports, exports))

    def instantiate(self, scope: _Scope) -> None:
        if not scope.components:
            return
        component, imports, exports = self.r.choice(scope.components)
        put: dict[Res | Def, Res | Def] = {}
        arguments = [
            f'(with "{name}" ({item[0]} {self.provided(scope, item, put)}))' for name, item in imports
        ]
        instance = self.fresh("$x")
        scope.lines.append(f"(instance {instance} (instantiate {component} {' '.join(arguments)}))")
        self.enter(scope, instance, self.replaced_items(exports, put))

    def provided(self, scope: _Scope, item: Item, put: dict[Res | Def, Res | Def]) -> str:
        """The identifier of something that fits an import, whose types are noted."""
        _, what = item
        r = self.r
        if isinstance(what, Res):
            known = [one for one in scope.types if isinstance(one, Res)]
            if known and r.random() < 0.8:
                put[what] = r.choice(known)
                return scope.types[put[what]]
            put[what] = Res()
            return self.import_one(scope, self.fresh("t"), ("type", put[what]))
        if isinstance(what, Def):
            put[what] = self.replaced_def(what, put)
            return self.import_one(scope, self.fresh("t"), ("type", put[what]))
        if isinstance(what, list) and r.random() < 0.5:
            identifier = self.fresh("$x")
            parts = [f'(export "{name}" ({one[0]} {self.provided(scope, one, put)}))' for name, one in what]
            scope.lines.append(f"(instance {identifier} {' '.join(parts)})")
            return identifier
        replaced = self.replaced_item(item, put)
        for identifier, signature in scope.functions:
            if signature == replaced[1]:
                return identifier
        return self.import_one(scope, self.fresh("p"), replaced)

    def replaced_items(self, items: Items, put: dict[Res | Def, Res | Def]) -> Items:
        return [(name, self.replaced_item(item, put)) for name, item in items]

    def replaced_item(self, item: Item, put: dict[Res | Def, Res | Def]) -> Item:
        sort, what = item
        if isinstance(what, list):
            return sort, self.replaced_items(what, put)
        if isinstance(what, Res):
            return sort, put.setdefault(what, Res())
        if isinstance(what, Def):
            if what not in put:
                put[what] = self.replaced_def(what, put)
            return sort, put[what]
        params, result = cast(Signature, what)
        changed = tuple((label, self.replaced(one, put)) for label, one in params)
        return sort, (changed, None if result is None else self.replaced(result, put))

    def replaced_def(self, one: Def, put: dict[Res | Def, Res | Def]) -> Def:
        parts = ((label, None if part is None else self.replaced(part, put)) for label, part in one.parts)
        return Def(one.form, tuple(parts))

    def replaced(self, one: Type, put: dict[Res | Def, Res | Def]) -> Type:
        parts = tuple(self.replaced(part, put) for part in one.parts)
        return Type(one.form, parts, None if one.of is None else put.get(one.of, one.of))
