"""Components of other people's toolchains, made when a test wants them, and `wasmtime.component` to compare
with.

Each is made once for a session, in a folder that is removed at its end. Where a tool is missing, the test is
skipped, which names it.
"""

from __future__ import annotations

import enum
import functools
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import wasmtime
from c_support import compiler, scratch
from wasm_tools_support import wasm_tools
from wasmtime import _bindings
from wasmtime import component as reference
from wasmtime.component import _types as reference_types

from hiwire_py.components import Component
from hiwire_py.components.classes import Case
from hiwire_py.errors import ComponentError, GuestTrap
from hiwire_py.wasi import Wasi

__all__ = [
    "Hiwire",
    "Reference",
    "composed",
    "neutral",
    "outcome",
    "part",
    "run",
    "same_cause",
    "whole",
]

Imports = Mapping[str, Mapping[str, Callable[..., Any]]]
SOURCES = Path(__file__).resolve().parents[1] / "components" / "c"


# ---- making them


def run(*words: object) -> str:
    """What a command writes, which has to succeed."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, words))}:\n{done.stderr}"
    return done.stdout


@functools.cache
def part(world: str, wit: str = "stock.wit") -> Path:
    """The component for a world of a WIT file, of the file in C by that name."""
    tools, folder = wasm_tools(), scratch()
    # `wasm-tools compose` calls a component by the name of its file, which must be a name in kebab case.
    core, embedded, made = (folder / f"{world}{kind}.wasm" for kind in (".core", ".embedded", ""))
    warnings = ("-O2", "-Wall", "-Wextra", "-Werror")
    compiler().compile([SOURCES / f"{world}.c"], core, options=warnings)
    run(tools, "component", "embed", SOURCES / wit, "--world", world, core, "-o", embedded)
    run(tools, "component", "new", embedded, "-o", made)
    return made


@functools.cache
def composed() -> bytes:
    """The consumer, with the two others inside, as `wasm-tools compose` puts them together."""
    plan, made = scratch() / "compose.yml", scratch() / "composed.wasm"
    plan.write_text(
        f"""
search-paths: []
instantiations:
  root:
    arguments: {{"demo:stock/stock": provider, "demo:stock/store": reexporter}}
  reexporter:
    arguments: {{"demo:stock/stock": provider}}
dependencies: {{provider: {part("provider")}, reexporter: {part("reexporter")}}}
"""
    )
    run(wasm_tools(), "compose", "-c", plan, part("consumer"), "-o", made)
    return made.read_bytes()


@functools.cache
def whole() -> bytes:
    """The three components in one that exports what all of them do, so that Python is a fourth."""
    printed = {
        world: run(wasm_tools(), "print", part(world)).removeprefix("(component")
        for world in ("provider", "reexporter", "consumer")
    }
    text, made = scratch() / "whole.wat", scratch() / "whole.wasm"
    text.write_text(
        f"""
(component
  (component $provider {printed["provider"]}
  (component $reexporter {printed["reexporter"]}
  (component $consumer {printed["consumer"]}
  (instance $p (instantiate $provider))
  (alias export $p "demo:stock/stock" (instance $stock))
  (instance $r (instantiate $reexporter (with "demo:stock/stock" (instance $stock))))
  (alias export $r "demo:stock/store" (instance $store))
  (instance $c (instantiate $consumer
    (with "demo:stock/stock" (instance $stock)) (with "demo:stock/store" (instance $store))))
  (export "demo:stock/stock" (instance $stock))
  (export "demo:stock/store" (instance $store))
  (export "words" (func $c "words"))
  (export "rounds" (func $c "rounds"))
  (export "misuse" (func $c "misuse"))
  (export "live" (func $c "live")))
"""
    )
    run(wasm_tools(), "parse", text, "-o", made)
    run(wasm_tools(), "validate", made)
    return made.read_bytes()


# ---- the same on both sides


class Hiwire:
    """An instance of a component here.

    Args:
        wasm: the component.
        engine: the name of an engine.
        imports: what it imports: functions by their names in instances.
        wasi: what it has of a system.
    """

    def __init__(
        self, wasm: bytes, engine: str, imports: Imports | None = None, wasi: Wasi | None = None
    ) -> None:
        self.instance = _component(wasm).instantiate(imports, engine=engine, wasi=wasi)

    def call(self, *path: str) -> Callable[..., Any]:
        """An exported function, by the names of the instances around it and its own. What it takes and gives
        is as the side has it."""
        found: Any = self.instance
        for name in path:
            found = found[name]
        function: Callable[..., Any] = found
        return function


class Reference:
    """The same in `wasmtime.component`, whose own WASI is always there, with nothing in it."""

    def __init__(self, wasm: bytes, imports: Imports | None = None) -> None:
        self.store = wasmtime.Store(_reference_engine())
        self.store.set_wasi(wasmtime.WasiConfig())
        linker = reference.Linker(_reference_engine())
        linker.add_wasip2()
        with linker.root() as root:
            for instance, functions in (imports or {}).items():
                with root.add_instance(instance) as inner:
                    for name, function in functions.items():
                        inner.add_func(name, _without_store(function))
        self.instance = linker.instantiate(self.store, _reference(wasm))

    def call(self, *path: str) -> Callable[..., Any]:
        index: Any = None
        for name in path:
            index = self.instance.get_export_index(self.store, name, index)
        found = self.instance.get_func(self.store, index)
        assert found is not None, path

        def call(*args: Any) -> Any:
            given = found(self.store, *map(_to_reference, args))
            # An option or a result is what is in it, as it is here.
            return given.payload if isinstance(given, reference.Variant) else given

        return call

    def drop(self, resource: reference.ResourceAny) -> None:
        """Drop what is owned, which nothing here does by itself."""
        resource.drop(self.store)


def _tagged(self: Any) -> bool:
    """Payloads always come with the labels of their cases, also where their classes tell them apart."""
    return True


reference_types.VariantLikeType._tagged = _tagged  # type: ignore[method-assign]


@functools.lru_cache(maxsize=16)
def _component(wasm: bytes) -> Component:
    return Component(wasm)


@functools.cache
def _reference_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    # Else it refuses components that call each other before they have returned.
    _bindings.wasmtime_config_concurrency_support_set(config.ptr(), False)
    return wasmtime.Engine(config)


@functools.lru_cache(maxsize=16)
def _reference(wasm: bytes) -> reference.Component:
    return reference.Component(_reference_engine(), wasm)


def _without_store(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda store, *args: function(*map(neutral, args))


def _to_reference(value: Any) -> Any:
    """What wasmtime takes for a record, which is a mapping here."""
    if isinstance(value, Mapping):
        made = reference.Record()
        for label, one in value.items():
            setattr(made, label, _to_reference(one))
        return made
    return [_to_reference(one) for one in value] if isinstance(value, list) else value


def neutral(value: Any) -> Any:
    """What either side gives, without its classes: a record is a dict, a variant the label and the payload,
    an enum a label and flags a set of them; an option is None or what is in it."""
    if isinstance(value, reference.Variant):
        payload = neutral(value.payload)
        return payload if value.tag in ("some", "none") else (value.tag, payload)
    if isinstance(value, Case):
        return value.label, neutral(getattr(value, "value", None))
    if isinstance(value, reference.Record):
        return {label: neutral(one) for label, one in vars(value).items()}
    if isinstance(value, enum.Flag):
        return {one.name.lower().replace("_", "-") for one in type(value) if one in value and one.name}
    if isinstance(value, enum.Enum):
        return value.name.lower().replace("_", "-")
    if is_dataclass(value):
        return {one.name: neutral(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(map(neutral, value))
    return value


def outcome(function: Callable[..., Any], *args: Any) -> tuple[str, Any]:
    """What a call comes to: its value, or the words of its trap. An error that is a value is a value."""
    try:
        return "value", neutral(function(*args))
    except ComponentError as error:
        return "value", neutral(error.payload)
    except GuestTrap as error:
        return "trap", error.kind
    except wasmtime.WasmtimeError as error:
        return "trap", str(error)


# What wasmtime says for each cause. Its words differ between what it compiles for calls between components
# and its own code at the host's edge, which does not tell where a pointer points.
_STRING, _LIST = "string content out-of-bounds", "list content out-of-bounds"
_WORDS = {
    "unknown handle index": ("unknown handle index",),
    "invalid variant discriminant": (
        "invalid variant discriminant",
        "unexpected discriminant",
        "out of range [0..",
    ),
    "pointer not aligned": ("unaligned pointer", "pointer not aligned", "pointer is not aligned"),
    "pointer out of bounds of memory": ("out of bounds memory access", "pointer out of bounds of memory"),
    "string pointer/length out of bounds of memory": (_STRING, "string pointer/length out of bounds"),
    "string content out-of-bounds or not valid in its encoding": (
        "invalid utf8 encoding",
        "invalid utf-8",
        "incomplete utf-8",
    ),
    "list pointer/length out of bounds of memory": (_LIST, "list pointer/length out of bounds"),
    "list is longer than 2**28 - 1 bytes": (_LIST, "list pointer/length out of bounds"),
    "borrow handles still remain at the end of the call": ("borrow handles still remain",),
    "cannot enter component instance": ("cannot enter component instance",),
    "unreachable": ("wasm `unreachable` instruction executed",),
}


def same_cause(ours: str, theirs: str) -> bool:
    """Whether a trap here has the cause that wasmtime tells."""
    return any(words in theirs for words in _WORDS[ours])
