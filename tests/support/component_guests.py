"""Components in the text format, on this package's engines and on wasmtime's own implementation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
import wasmtime
from component_types import CORE, Choice, Definitions, stored
from support import use_engine, wat
from wasmtime import _bindings, component
from wasmtime.component import _types as reference_types

from hiwire_py import HiwireError
from hiwire_py.components import Component
from hiwire_py.components.layout import MAX_FLAT_PARAMS, flatten
from hiwire_py.components.types import (
    STRING,
    Enum,
    Flags,
    List,
    Option,
    Record,
    Result,
    Tuple,
    ValueType,
    Variant,
)

ENCODINGS = ("utf8", "utf16", "latin1+utf16")

REALLOC = """
(global $top (mut i32) (i32.const 8192))
(func $realloc (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32)
  (result i32) (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
    (i32.sub (i32.const 0) (local.get $align))))
  (global.set $top (i32.add (local.get $at) (local.get $size)))
  (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16)))
    (then (drop (memory.grow (i32.add (i32.const 1)
      (i32.sub (i32.shr_u (global.get $top) (i32.const 16)) (memory.size)))))))
  (memory.copy (local.get $at) (local.get $old)
    (select (local.get $had) (local.get $size) (i32.lt_u (local.get $had) (local.get $size))))
  (local.get $at))
"""
"""An allocator that never frees: fields of a core module with a memory."""

MEMORY = (
    f'(core module $libc (memory (export "memory") 1) {REALLOC})(core instance $libc (instantiate $libc))'
)


def options(encoding: str = "utf8", instance: str = "$libc") -> str:
    """Canonical options: all of them but post-return."""
    return (
        f'string-encoding={encoding} (memory (core memory {instance} "memory"))'
        f' (realloc (core func {instance} "realloc"))'
    )


def result_of(params: Sequence[ValueType]) -> ValueType:
    """What a function of `echoes` returns for its parameters."""
    return params[0] if len(params) == 1 else Tuple(tuple(params))


class Echoes(NamedTuple):
    """``names`` are those of the types that have some, in the instance that is exported."""

    text: str
    names: dict[ValueType, str]


def echoes(functions: Sequence[Sequence[ValueType]], encoding: str, other: str) -> Echoes:
    """A component that exports the instance ``b`` with the functions ``f0``, ``f1``, ... Each returns its
    parameter, or a tuple of its parameters, after they went from the component B to A and back.

    Args:
        functions: the types of the parameters of each.
        encoding: of strings in B.
        other: of strings in A.
    """
    a, b, out = Definitions(False), Definitions(True), Definitions(False)
    cores_a, cores_b, lifted, lowered, funcs, imports, with_ = "", "", "", "", "", "", ""
    for number, params in enumerate(functions):
        result = result_of(params)
        types = []
        for definitions in (a, b, out):
            listed = " ".join(f'(param "p{at}" {definitions.ref(one)})' for at, one in enumerate(params))
            types.append(f"{listed} (result {definitions.ref(result)})")
        core_a, core_b, import_ = _echo_cores(number, params, result)
        cores_a += core_a
        cores_b += core_b
        imports += import_
        lifted += (
            f'(func (export "f{number}") {types[0]} (canon lift (core func $m "f{number}") {options(other)}))'
        )
        lowered += f"(core func $l{number} (canon lower (func $f{number}) {options(encoding)}))"
        with_ += f'(export "f{number}" (func $l{number}))'
        funcs += (
            f'(func (export "f{number}") {types[2]}'
            f' (canon lift (core func $m "f{number}") {options(encoding)}))'
        )
        b.text.append(f'(import "f{number}" (func $f{number} {types[1]}))')
    given = " ".join(f'(with "{name}" (type $a "{name}"))' for name in b.names.values())
    given += " ".join(f'(with "f{number}" (func $a "f{number}"))' for number in range(len(functions)))
    using = '(import "libc" "memory" (memory 1))'
    text = f"""
    (component
      (component $A {" ".join(a.text)} {MEMORY}
        (core module $m {using} {cores_a})
        (core instance $m (instantiate $m (with "libc" (instance $libc))))
        {lifted})
      (component $B {" ".join(b.text + out.text)} {MEMORY} {lowered}
        (core module $m {using} {imports} {cores_b})
        (core instance $m (instantiate $m (with "libc" (instance $libc)) (with "" (instance {with_}))))
        {funcs})
      (instance $a (instantiate $A))
      (instance $b (instantiate $B {given}))
      (export "b" (instance $b)))
    """
    return Echoes(text, out.names)


def _echo_cores(number: int, params: Sequence[ValueType], result: ValueType) -> tuple[str, str, str]:
    """The core functions of A and B, and what B's imports, for one function of `echoes`."""
    flat = [CORE[code] for one in params for code in flatten(one)]
    passed = flat if len(flat) <= MAX_FLAT_PARAMS else ["i32"]
    names = " ".join(f"(param {core})" for core in passed)
    gets = " ".join(f"(local.get {at})" for at in range(len(passed)))
    if len(flat) == 1:
        head = f'(func (export "f{number}") {names} (result {flat[0]})'
        return (
            f"{head} {gets})",
            f"{head} (call $f{number} {gets}))",
            f'(import "" "f{number}" (func $f{number} {names} (result {flat[0]})))',
        )
    head = f'(func (export "f{number}") {names} (result i32)'
    if passed is not flat:
        body = gets  # parameters in memory lie there as the result does
    else:
        body = stored(result, 1024, [(f"(local.get {at})", core) for at, core in enumerate(flat)])
        body += "(i32.const 1024)"
    return (
        f"{head} {body})",
        f"{head} (call $f{number} {gets} (i32.const 2048)) (i32.const 2048))",
        f'(import "" "f{number}" (func $f{number} {names} (param i32)))',
    )


@functools.cache
def _adapters(engine: str) -> str:
    """Why an engine cannot run adapters between two memories; "": it can."""
    text = echoes([[STRING]], "utf8", "utf8").text
    try:
        Component(wat(text)).instantiate(engine=engine).close()
    except HiwireError as error:
        return str(error)
    return ""


def use_adapters(engine: str) -> str:
    """The name of an engine on which components with memories of their own call each other; skip with the
    reason where it cannot."""
    use_engine(engine)
    why = _adapters(engine)
    if why:
        pytest.skip(f"{engine} does not run functions that reach two memories: {why:.200}")
    return engine


# ---- wasmtime's own implementation


def _tagged(self: Any) -> bool:
    """Payloads always come with their cases, so that no case is guessed from the payload's class."""
    return True


reference_types.VariantLikeType._tagged = _tagged  # type: ignore[method-assign]


@functools.cache
def reference_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    _bindings.wasmtime_config_concurrency_support_set(config.ptr(), False)
    return wasmtime.Engine(config)


class ReferenceComponent:
    """A component as `wasmtime.component` has it."""

    def __init__(self, wasm: bytes) -> None:
        self.component = component.Component(reference_engine(), wasm)

    def instantiate(self, imports: Mapping[str, Any] | None = None) -> Reference:
        """An instance with a store of its own, which is dead after a trap.

        Args:
            imports: functions by their names, which take the store's context first; a mapping of them for an
                instance.
        """
        linker = component.Linker(reference_engine())
        with linker.root() as root:
            for name, item in (imports or {}).items():
                if isinstance(item, Mapping):
                    with root.add_instance(name) as inner:
                        for key, function in item.items():
                            inner.add_func(key, function)
                else:
                    root.add_func(name, item)
        store = wasmtime.Store(reference_engine())
        return Reference(store, linker.instantiate(store, self.component))


class Reference:
    """An instance of a component in `wasmtime.component`."""

    def __init__(self, store: wasmtime.Store, instance: component.Instance) -> None:
        self.store = store
        self.instance = instance

    def function(self, *path: str) -> Callable[..., Any]:
        """An exported function, by the names of the instances around it and its own. It takes and gives what
        `to_reference` and `from_reference` are about."""
        index: Any = None
        for name in path:
            index = self.instance.get_export_index(self.store, name, index)
        found = self.instance.get_func(self.store, index)
        assert found is not None, path

        def call(*args: Any) -> Any:
            return found(self.store, *args)

        return call


def to_reference(type_: ValueType, value: Any) -> Any:
    """What `wasmtime.component` takes for a neutral value."""
    if isinstance(type_, Record):
        made = component.Record()
        for label, one in type_.fields:
            setattr(made, label, to_reference(one, value[label]))
        return made
    if isinstance(type_, Tuple):
        return tuple(map(to_reference, type_.items, value))
    if isinstance(type_, List):
        items = [to_reference(type_.element, one) for one in value]
        return bytes(items) if str(type_.element) == "u8" else items
    if isinstance(type_, Flags):
        return set(value)
    if isinstance(type_, (Variant, Option, Result)):
        payload = _payload(type_, value.label)
        return component.Variant(
            value.label if value.label != "error" else "err",
            None if payload is None else to_reference(payload, value.payload),
        )
    return value


def from_reference(type_: ValueType, value: Any) -> Any:
    """The neutral value of what `wasmtime.component` gives."""
    if isinstance(type_, Record):
        return {label: from_reference(one, getattr(value, label)) for label, one in type_.fields}
    if isinstance(type_, Tuple):
        return tuple(map(from_reference, type_.items, value))
    if isinstance(type_, List):
        return [from_reference(type_.element, one) for one in value]
    if isinstance(type_, Flags):
        return frozenset(value)
    if isinstance(type_, (Variant, Option, Result)):
        label = value.tag if value.tag != "err" else "error"
        payload = _payload(type_, label)
        return Choice(label, None if payload is None else from_reference(payload, value.payload))
    assert not isinstance(type_, Enum) or isinstance(value, str)
    return value


def _payload(type_: Variant | Option | Result, label: str) -> ValueType | None:
    if isinstance(type_, Variant):
        return dict(type_.cases)[label]
    if isinstance(type_, Option):
        return type_.payload if label == "some" else None
    return type_.ok if label == "ok" else type_.error
