"""The types of a component for type checkers: a ``.pyi`` file.

It describes a module of two lines, beside which it lies::

    from hiwire_py import Component
    instantiate = Component("app.wasm").instantiate

Then a checker knows what ``app.instantiate()["demo:bags/bags"].Bag`` is. Names are those that the classes
have when the component runs (classes.py): each exported interface is a class, with the classes of its types
in it. For each imported one there is a protocol of what is to be given, and a class for its types, which does
not exist when the component runs.

Labels of WIT never begin with an underscore, so what the file needs itself has a name that does. Python's own
types have their names, unless the component has a function or field that is called so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Union

from .classes import class_name, item_name, member_name, method_name, python_name
from .plan import Export, FunctionExport, InstanceExports, Plan
from .types import (
    BOOL,
    CHAR,
    STRING,
    U8,
    Borrow,
    Enum,
    Flags,
    FuncType,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    Result,
    Tuple,
    ValueType,
    Variant,
)
from .wit import ANNOTATED, Names, function_text

__all__ = ["stub"]

_HEAD = '''\
"""Types of the component {name}, as `hiwire stub` writes them. They describe a module of two lines:

    from hiwire_py import Component
    instantiate = Component({file}).instantiate
"""

import builtins as _builtins
from collections.abc import Callable as _Callable, Iterable as _Iterable, Mapping as _Mapping
from dataclasses import dataclass as _dataclass
from enum import Enum as _Enum, Flag as _Flag
from typing import (
    Any as _Any,
    Literal as _Literal,
    Protocol as _Protocol,
    TypedDict as _TypedDict,
    overload as _overload,
)

import hiwire_py as _hiwire_py
from hiwire_py import Err as _Err, Ok as _Ok, Some as _Some
from hiwire_py.components import InstanceNamespace as _Namespace, ResourceHandle as _ResourceHandle
from hiwire_py.components.classes import Case as _Case
from hiwire_py.wasi import Wasi as _Wasi

'''
_INSTANTIATE = """\
def instantiate(
    imports: {imports} | None = None,
    *,
    engine: {str} | None = None,
    hiwire: _hiwire_py.Hiwire | None = None,
    wasi: _Wasi | None = None,
    memory_limit: {int} | None = None,
    table_limit: {int} | None = None,
    deadline: {float} | None = None,
    fuel: {int} | None = None,
) -> Instance: ...
"""
_BUILTINS = ("bool", "bytes", "float", "int", "list", "staticmethod", "str", "tuple", "type")

_Type = Union[ValueType, Resource]


def stub(plan: Plan, names: Names, file: str = "app.wasm") -> str:
    """The text of a ``.pyi`` file.

    Args:
        names: what types are called in comments: see `wit.edge_names`.
        file: the component's, for the head of the file.
    """
    return _Stub(plan, names, file).written()


class _Stub:
    """Writes one file.

    Attributes:
        paths: what each type with a class is called everywhere in the file, by its identity.
        equal: the same by equality, for what is used without its name.
        classes: the name of the class with the types of each interface, by its side and name.
        protocols: for each imported interface.
    """

    def __init__(self, plan: Plan, names: Names, file: str) -> None:
        self.plan = plan
        self.names = names
        self.file = file
        self.paths: dict[int, str] = {}
        self.equal: dict[_Type, str] = {}
        self.classes: dict[tuple[str, str], str] = {}
        self.protocols: dict[str, str] = {}
        self.same: dict[tuple[str, str, _Type], str] = {}
        self.done: set[str] = set()
        labels = {label for items in self.scopes() for label in items}
        self.members = {name(part) for label in labels for part in _own(label) for name in _WAYS}
        for items in self.scopes():
            for one in items.values():
                if isinstance(one, Record):
                    self.members |= {python_name(label) for label, _ in one.fields}
        # What stands within the class of an interface would be found before a class of the same name outside.
        typed = {label for items in self.scopes() for label, one in items.items() if _has_class(one)}
        self.taken = {"Instance", "Imports", "instantiate", *map(class_name, typed)}
        for side, items in self.sides():
            for name, one in items.items():
                if isinstance(one, InstanceExports):
                    class_ = class_name(name.partition("@")[0])
                    self.classes[side, name] = self.fresh(class_ + "Types" * (side == "imports"))
                    if side == "imports":
                        self.protocols[name] = self.fresh(f"{class_}Imports")
        for side, items in self.sides():
            for name, one in items.items():
                if isinstance(one, InstanceExports):
                    for label, item in one.items.items():
                        self.place(item, f"{self.classes[side, name]}.{class_name(label)}", (name, label))
                else:
                    self.place(one, class_name(name), ("", name))

    def sides(self) -> tuple[tuple[str, Mapping[str, Export]], tuple[str, Mapping[str, Export]]]:
        return ("exports", self.plan.exports), ("imports", self.plan.imports)

    def scopes(self) -> Iterable[Mapping[str, Export]]:
        for _, items in self.sides():
            yield items
            yield from (one.items for one in items.values() if isinstance(one, InstanceExports))

    def fresh(self, wanted: str) -> str:
        """A name that is not taken yet."""
        name, count = wanted, 2
        while name in self.taken:
            name, count = f"{wanted}{count}", count + 1
        self.taken.add(name)
        return name

    def place(self, one: Export, path: str, where: tuple[str, str]) -> None:
        """Say where the class of a type is. An interface that is imported and exported has each of its types
        twice, but one class for it."""
        if not _has_class(one) or id(one) in self.paths:
            return
        if isinstance(one, (Record, Variant, Enum, Flags)):
            path = self.same.setdefault((*where, one), path)
            self.equal.setdefault(one, path)
        self.paths[id(one)] = path

    def written(self) -> str:
        body: list[str] = []
        for side, items in reversed(self.sides()):
            for name, one in items.items():
                if isinstance(one, InstanceExports):
                    body += ["", *self.interface(side, name, one)]
                elif self.paths.get(id(one)) == (path := class_name(name)) and path not in self.done:
                    self.done.add(path)
                    body += ["", *self.type_(one, path, items, name, side)]
        imports = self.imports()
        body += ["", *imports] if imports else []
        body += ["", *self.instance(), ""]
        builtins = {name: self.builtin(name) for name in _BUILTINS}
        end = _INSTANTIATE.format(
            imports="Imports" if imports else f"_Mapping[{builtins['str']}, _Any]", **builtins
        )
        name = self.file.rpartition("/")[2]
        return _HEAD.format(name=name, file=json.dumps(name)) + "\n".join(body[1:]) + "\n" + end

    # ---- types

    def builtin(self, name: str) -> str:
        """One of Python's types, where the component has nothing of that name."""
        return f"_builtins.{name}" if name in self.members else name

    def text(self, type_: ValueType | None, given: bool = False) -> str:
        """A type as Python has it. ``given``: what may be given for it, which is more than what comes."""

        def text(one: ValueType | None) -> str:
            return self.text(one, given)

        if type_ is None:
            return "None"
        if isinstance(type_, Primitive):
            if type_ in (CHAR, STRING):
                return self.builtin("str")
            kind = "bool" if type_ == BOOL else "float" if type_.name[0] == "f" else "int"
            return self.builtin(kind)
        if isinstance(type_, (Own, Borrow)):
            return self.paths.get(id(type_.resource), "_Any")
        if isinstance(type_, List):
            if type_.element == U8 and type_.length is None:
                return self.builtin("bytes") + f" | _Iterable[{self.builtin('int')}]" * given
            any_ = given and type_.length is None
            return f"{'_Iterable' if any_ else self.builtin('list')}[{text(type_.element)}]"
        if isinstance(type_, Map):
            pair = f"{text(type_.key)}, {text(type_.value)}"
            pairs = f"[{self.builtin('tuple')}[{pair}]]"
            return f"_Mapping[{pair}] | _Iterable{pairs}" if given else f"{self.builtin('list')}{pairs}"
        if isinstance(type_, Tuple):
            return f"{self.builtin('tuple')}[{', '.join(map(text, type_.items))}]"
        if isinstance(type_, Option):
            inner = text(type_.payload)
            return f"{f'_Some[{inner}]' if isinstance(type_.payload, Option) else inner} | None"
        if isinstance(type_, Result):
            return f"_Ok[{text(type_.ok)}] | _Err[{text(type_.error)}]"
        path = self.paths.get(id(type_)) or self.equal.get(type_)
        if path is None:
            return "_Any"
        if given and isinstance(type_, Record):
            return f"{path} | _Mapping[{self.builtin('str')}, _Any]"
        return f"{path} | {self.builtin('str')}" if given and isinstance(type_, Enum) else path

    def type_(self, one: Export, path: str, items: Mapping[str, Export], label: str, side: str) -> list[str]:
        """A class that stands at a path; its own name is the last part of that."""
        name = path.rpartition(".")[2]
        if isinstance(one, Record):
            fields = [f"{python_name(key)}: {self.text(inner)}" for key, inner in one.fields]
            return ["@_dataclass(frozen=True)", f"class {name}:", *_indented(fields)]
        if isinstance(one, Enum):
            members = [f"{member_name(key)} = {number}" for number, key in enumerate(one.labels)]
            return [f"class {name}(_Enum):", *_indented(members)]
        if isinstance(one, Flags):
            bits = [f"{member_name(key)} = {1 << bit}" for bit, key in enumerate(one.labels)]
            return [f"class {name}(_Flag):", *_indented(bits)]
        if isinstance(one, Variant):
            out = [f"class {name}(_Case):"]
            for key, payload in one.cases:
                fields = [] if payload is None else [f"value: {self.text(payload)}"]
                case = [f"class {class_name(key)}({path}):", *_indented(fields or ["pass"])]
                out += _indented(["@_dataclass(frozen=True)", *case])
            return out
        assert isinstance(one, Resource)
        return self.resource(name, label, items, side)

    def resource(self, name: str, label: str, items: Mapping[str, Export], side: str) -> list[str]:
        """A resource: of a component its handles' class; of the host what its class must have."""
        body: list[str] = []
        exported = side == "exports"
        for key, one in items.items():
            annotated = ANNOTATED.fullmatch(key)
            if annotated is None or annotated[2] != label or not isinstance(one, FunctionExport):
                continue
            kind, own = annotated[1], (method_name if exported else python_name)(annotated[3] or "")
            if kind == "constructor":
                body += self.function("__init__", one.type, exported, ["self"], one.type.params, "None")
            elif kind == "static":
                body += [f"@{self.builtin('staticmethod')}", *self.function(own, one.type, exported, [])]
            else:
                body += self.function(own, one.type, exported, ["self"], one.type.params[1:])
        base = "_ResourceHandle" if exported else "_Protocol"
        return [f"class {name}({base}):", *_indented(body or ["pass"])]

    def function(
        self,
        name: str,
        type_: FuncType,
        exported: bool,
        first: list[str],
        params: tuple[tuple[str, ValueType], ...] | None = None,
        result: str | None = None,
    ) -> list[str]:
        """A function. What is exported takes more than it gives; with what is imported it is the other way
        round. Parameters have no names for callers."""
        params = type_.params if params is None else params
        all_ = [*first, *(f"{_parameter(label)}: {self.text(one, exported)}" for label, one in params)]
        slash = ["/"] * bool(params)
        result = self.result(type_.result, exported) if result is None else result
        comment = f"  # {function_text(type_, self.names)}"
        return [f"def {name}({', '.join(all_ + slash)}) -> {result}: ...{comment}"]

    def result(self, type_: ValueType | None, exported: bool) -> str:
        """What a function gives. An error is raised; by the host it may be given as well."""
        if not isinstance(type_, Result):
            return self.text(type_, not exported)
        value = self.text(type_.ok, not exported)
        return value if exported else f"{value} | {self.text(type_, True)}"

    # ---- interfaces

    def interface(self, side: str, name: str, one: InstanceExports) -> list[str]:
        """The class of an interface; and of an imported one, what is to be given for it."""
        class_, exported = self.classes[side, name], side == "exports"
        types: list[str] = []
        functions: list[str] = []
        for label, item in one.items.items():
            if _has_class(item):
                path, own = self.paths[id(item)], class_name(label)
                if path == f"{class_}.{own}":
                    types += self.type_(item, path, one.items, label, side)
                else:
                    types.append(f"{own} = {path}")
                if isinstance(item, Resource) and not exported:
                    functions.append(f"{python_name(label)}: _hiwire_py.HostResource")
            elif isinstance(item, FunctionExport) and not ANNOTATED.fullmatch(label):
                own = item_name(label) if exported else python_name(label)
                functions += self.function(own, item.type, exported, ["self"])
        doc = json.dumps(name)
        if exported:
            return [f"class {class_}(_Namespace):", *_indented([doc, *types, *functions])]
        out = [f"class {class_}:", *_indented([doc, *types]), ""] if types else []
        return [*out, f"class {self.protocols[name]}(_Protocol):", *_indented([doc, *functions])]

    def imports(self) -> list[str]:
        """What is to be given, by name."""
        out = []
        for name, one in self.plan.imports.items():
            type_ = None
            if isinstance(one, InstanceExports):
                type_ = f"{self.protocols[name]} | _Mapping[{self.builtin('str')}, _Any]"
            elif isinstance(one, FunctionExport):
                type_ = self.callable(one.type, False)
            elif isinstance(one, Resource):
                type_ = "_hiwire_py.HostResource"
            if type_ is not None:
                out += [f"{json.dumps(key)}: {type_}," for key in _spellings(name, self.plan.imports)]
        if not out:
            return []
        return [
            "Imports = _TypedDict(",
            *_indented(['"Imports",', "{", *_indented(out), "},", "total=False,"]),
            ")",
        ]

    def callable(self, type_: FuncType, exported: bool) -> str:
        params = ", ".join(self.text(one, exported) for one in type_.types)
        return f"_Callable[[{params}], {self.result(type_.result, exported)}]"

    def instance(self) -> list[str]:
        """The class of instances, which are mappings."""
        body: list[str] = []
        for name, one in self.plan.exports.items():
            type_ = None
            if isinstance(one, InstanceExports):
                type_ = self.classes["exports", name]
            elif isinstance(one, FunctionExport):
                type_ = self.callable(one.type, True)
            elif _has_class(one):
                type_ = f"{self.builtin('type')}[{self.paths[id(one)]}]"
            if type_ is not None:
                literal = ", ".join(map(json.dumps, _spellings(name, self.plan.exports)))
                body += ["@_overload", f"def __getitem__(self, name: _Literal[{literal}]) -> {type_}: ..."]
        if body:
            body += ["@_overload", f"def __getitem__(self, name: {self.builtin('str')}) -> _Any: ..."]
        return ["class Instance(_hiwire_py.ComponentInstance):", *_indented(body or ["pass"])]


_WAYS = (python_name, item_name, method_name)


def _own(label: str) -> tuple[str, ...]:
    """The name of a function within its resource."""
    annotated = ANNOTATED.fullmatch(label)
    return (label,) if annotated is None else (annotated[3] or "",)


def _spellings(name: str, names: Iterable[str]) -> list[str]:
    """A name; and without its version, where no other is the same then."""
    plain = name.partition("@")[0]
    same = [one for one in names if one.partition("@")[0] == plain]
    return [name] if plain == name or len(same) > 1 else [name, plain]


def _has_class(one: Export) -> bool:
    return isinstance(one, (Record, Variant, Enum, Flags, Resource))


def _parameter(label: str) -> str:
    name = python_name(label)
    return f"{name}_" if name == "self" else name


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
