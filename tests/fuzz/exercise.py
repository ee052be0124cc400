"""Everything that can be done with a module that nobody knows: load it, call it, look into what it exports.

`exercise` does it through this package, `oracle` through the plain ``wasmtime`` package, which shares no
code with it beyond the engine. Both write down what happened, in the same words; what differs is a bug of
ours, or of the other engine.

It is long because both sides must write the same words, which are kept together.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import wasmtime
from oracle import TRAPS

from hiwire_py import NULL, Guest, Hiwire
from hiwire_py.errors import DeadlineError, GuestTrap, HiwireError, UnsupportedModuleError
from hiwire_py.values import EXTERNREF, F32, F64, I32, I64, FuncType, type_name
from hiwire_py.wasm.module import FUNCTION, GLOBAL, KINDS, MEMORY, Import, Limits, Module, TableType, Tag

__all__ = ["Log", "exercise", "oracle"]

Log = list[str]
"""What happened, a line for each step. A line with ``~`` at its end ends what can be compared."""

FUEL = 2_000_000  # of each call of the oracle; what burns more is not called elsewhere
BEYOND = "~"
CALLS = 12  # of one module, at most
_SIZES = 64 * 1024 * 1024, 100_000  # bytes of a memory, elements of a table, at the start
_LIMITS = 1 << 32, 10_000_000  # later: what engines without limits have
_VALUES: dict[int, list[Any]] = {
    I32: [0, 1, 2, -1, 5, 100, 65536, (1 << 31) - 1, -(1 << 31)],
    I64: [0, 1, -1, 7, 1 << 40, -(1 << 63)],
    F32: [0.0, -1.5, 2.0**40, math.inf, math.nan],
    F64: [0.0, -1.5, 1e300, -math.inf, math.nan],
}
_PASS = frozenset((*_VALUES, EXTERNREF))


class Boom(Exception):
    """What host functions raise now and then."""


class Thing:
    def __init__(self, name: object) -> None:
        self.name = name


def shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(shown, value))})"
    if value is NULL:
        return "null"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    return f"Thing({value.name})" if isinstance(value, Thing) else repr(value)


class Script:
    """What both sides do alike: which arguments, what the host functions say.

    Attributes:
        log: what happened.
        null: the null externref as the side has it.
    """

    def __init__(self, number: int, null: object) -> None:
        self.r = random.Random(number)
        self.null = null
        self.log: Log = []
        self.pool: list[Any] = [null, *(Thing(i) for i in range(4))]
        self.calls = 0

    def value(self, code: int) -> Any:
        return self.r.choice(self.pool if code == EXTERNREF else _VALUES[code])

    def host(self, name: str, functype: FuncType) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            self.calls += 1
            if self.calls < 50:
                self.log.append(f"  {name}{shown([NULL if a is self.null else a for a in args])}")
            if self.calls % 13 == 0:
                raise Boom(name)
            r = random.Random(zlib.crc32(name.encode()) + self.calls)
            results = [
                r.choice(self.pool if code == EXTERNREF else _VALUES[code]) for code in functype.results
            ]
            return None if not results else results[0] if len(results) == 1 else tuple(results)

        return function


def _crosses(functype: FuncType) -> bool:
    return _PASS.issuperset(functype.params + functype.results)


def _provider(module: Module) -> tuple[str, dict[int, str]]:
    """The text of a module that exports what the other imports but functions; import's number -> name."""
    parts, names = [], {}
    for i, wanted in enumerate(module.imports):
        type_ = wanted.type
        if isinstance(type_, FuncType):
            continue
        names[i] = f"x{i}"
        if isinstance(type_, (Limits, TableType)):
            limits = type_.limits if isinstance(type_, TableType) else type_
            numbers = " ".join(str(n) for n in limits[:2] if n is not None)
            what = "memory" if isinstance(type_, Limits) else "table"
            element = type_name(type_.element) if isinstance(type_, TableType) else ""
            parts.append(f'({what} (export "x{i}") {numbers} {element})')
        elif isinstance(type_, Tag):
            params = " ".join(map(type_name, type_.functype.params))
            parts.append(f'(tag (export "x{i}") (param {params}))')
        else:
            name = type_name(type_.type)
            init = {
                "externref": "ref.null extern",
                "funcref": "ref.null func",
                "v128": "v128.const i64x2 5 6",
            }
            value = init.get(name, f"{name}.const 5")
            shape = f"(mut {name})" if type_.mutable else name
            parts.append(f'(global (export "x{i}") {shape} ({value}))')
    return f"(module {' '.join(parts)})", names


def _too_large(module: Module) -> bool:
    memories = any(m.minimum * 65536 > _SIZES[0] for m in module.memories)
    return memories or any(t.limits.minimum > _SIZES[1] for t in module.tables)


def _exported_functions(module: Module) -> Iterator[tuple[str, FuncType]]:
    for export in module.exports:
        if export.kind == FUNCTION:
            yield export.name, module.function_type(export.index)


# ---- this package


def exercise(wasm: bytes, number: int, engine: str, until: Log | None, ready: Callable[[], None]) -> Log:
    """Do everything with a module.

    Args:
        wasm: the module.
        number: decides on arguments and results.
        engine: where it runs.
        until: what the oracle says; None: there is none. Where it stopped, this stops.
        ready: called when all is compiled.

    Raises:
        Exception: one that users should never see.
    """
    script = Script(number, NULL)
    limits: dict[str, Any] = {}
    if engine == "wasmtime":
        limits = {"deadline": 2.0, "memory_limit": _LIMITS[0], "table_limit": _LIMITS[1]}
    try:
        module = Module.parse(wasm)
    except UnsupportedModuleError:
        module = Module(wasm)
    if until is not None and until[:1] == [f"start{BEYOND}"]:
        return [f"start{BEYOND}"]
    if _too_large(module):
        ready()
        return [f"large{BEYOND}"]
    if len({(i.module, i.name): i.type for i in module.imports}) < len(
        {(i.module, i.name, str(i.type)) for i in module.imports}
    ):
        ready()
        return [f"twice{BEYOND}"]  # an import has one value for each name
    if number % 3 == 0:
        _as_table(wasm, engine)
    imports: dict[str, dict[str, Any]] = {}
    text, names = _provider(module)
    given: dict[str, Any] = {"engine": engine, **limits}
    if number % 2 and not limits:
        given = {"hiwire": Hiwire(engine=engine)}
    if names:
        try:
            provider = Guest(bytes(wasmtime.wat2wasm(text)), **given)
        except UnsupportedModuleError:  # a global of a type that this engine does not take
            ready()
            return [f"provider{BEYOND}"]
        if limits:
            given = {}  # those of the provider hold
    for i, wanted in enumerate(module.imports):
        into = imports.setdefault(wanted.module, {})
        if i in names:
            into[wanted.name] = provider.exports[names[i]]
        elif isinstance(wanted.type, FuncType):
            into[wanted.name] = script.host(f"{wanted}", wanted.type)
    try:
        guest = Guest(wasm, imports, **given)
    except Boom:
        script.log.append("start: Boom")
        return script.log
    except GuestTrap as e:
        script.log.append(f"start: {e.kind}")
        return script.log
    except HiwireError as e:
        return [f"refused: {type(e).__name__}: {e}"]
    finally:
        ready()
    script.log.append("loaded")
    _call_everything(guest, module, script, until)
    _look_at_everything(guest, module, script)
    guest.collect()
    guest.close()
    return script.log


def _as_table(wasm: bytes, engine: str) -> None:
    """Take a module for one of the variants of hiwire: it may lack everything, and lie. It may not come to an
    end either, so it is first tried where there is a deadline."""
    if _try_table(wasm, "wasmtime", deadline=1.0) and engine != "wasmtime":
        _try_table(wasm, engine)


def _try_table(wasm: bytes, engine: str, **limits: float) -> bool:
    """Whether all that is done with it came to an end."""
    try:
        table = Hiwire(wasm, engine=engine, **limits)  # type: ignore[arg-type]
    except DeadlineError:
        return False
    except HiwireError:
        return True
    try:
        for step in (
            lambda: table.new(5),
            lambda: table.get(3),
            lambda: table.decref(3),
            lambda: list(table)[:9],
        ):
            try:
                step()
            except DeadlineError:
                return False
            except HiwireError:
                pass
        return True
    finally:
        table.close()


def _call_everything(guest: Guest, module: Module, script: Script, until: Log | None) -> None:
    for name, functype in list(_exported_functions(module))[:CALLS]:
        if name == "_initialize":
            continue
        if not _crosses(functype):
            try:
                guest.exports[name](*(0 for _ in functype.params))
            except (HiwireError, TypeError):
                continue
            raise AssertionError(f"{name}{functype} was called, though its values cannot cross")
        for _ in range(2):
            args = [script.value(code) for code in functype.params]
            line = f"{name}{shown(args)} "
            if until is not None:
                told = [said for said in until if said.startswith(line) and said.endswith(BEYOND)]
                if told:
                    script.log.append(told[0])
                    return
            try:
                script.log.append(line + shown(guest.exports[name](*args)))
            except Boom:
                script.log.append(line + "Boom")
            except GuestTrap as e:
                script.log.append(line + e.kind)
                if e.kind == "call stack exhausted":
                    script.log[-1] += BEYOND
                    return
            except HiwireError as e:
                script.log.append(line + f"{type(e).__name__}{BEYOND}")
                return


def _look_at_everything(guest: Guest, module: Module, script: Script) -> None:
    for export in module.exports:
        thing = guest.exports[export.name]
        if export.kind == MEMORY:
            assert len(thing.read(0, min(thing.size, 100))) <= 100
            script.log.append(
                f"{export.name}: {thing.size} {zlib.crc32(thing.read(0, min(thing.size, 1 << 20)))}"
            )
        elif export.kind == GLOBAL:
            code = module.globals[export.index].type
            try:
                script.log.append(f"{export.name}: {shown(thing.value)}")
            except (HiwireError, TypeError):
                if code in _PASS:
                    raise
        elif export.kind != FUNCTION and module.tables[export.index].element == EXTERNREF:
            found = [thing[i] for i in range(min(len(thing), 20))]
            script.log.append(f"{export.name}: {len(thing)} {shown(found)}")


# ---- the plain package

_CODES = {"i32": I32, "i64": I64, "f32": F32, "f64": F64, "externref": EXTERNREF}


def _engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.consume_fuel = True
    return wasmtime.Engine(config)


_ENGINE = _engine()


def oracle(wasm: bytes, number: int, table_limit: int = _LIMITS[1]) -> Log:
    """What the plain package makes of a module: the log of `exercise`, or one line, ``invalid``, or one that
    ends with ``~`` where nothing can be said.

    Args:
        wasm: the module.
        number: as of `exercise`.
        table_limit: elements that each table may have.
    """
    try:
        compiled = wasmtime.Module(_ENGINE, wasm)
    except wasmtime.WasmtimeError as e:
        return [f"invalid: {e}"]
    try:
        module = Module.parse(wasm)
    except UnsupportedModuleError:
        return [f"unknown{BEYOND}"]
    if _too_large(module):
        return [f"large{BEYOND}"]
    store = wasmtime.Store(_ENGINE)
    store.set_limits(memory_size=_LIMITS[0], table_elements=table_limit)
    store.set_fuel(FUEL)
    script = Script(number, None)
    text, names = _provider(module)
    provided = wasmtime.Instance(store, wasmtime.Module(_ENGINE, text), []).exports(store)
    externs: list[Any] = []
    for i, (wanted, type_) in enumerate(zip(module.imports, compiled.imports)):
        externs.append(provided[names[i]] if i in names else _host(store, script, wanted, type_.type))
    try:
        exports = wasmtime.Instance(store, compiled, externs).exports(store)
        by_name: dict[str, Any] = {e.name: exports.by_index[i] for i, e in enumerate(compiled.exports)}
        if "_initialize" in by_name:
            if (FuncType(b"", b"")) != dict(_exported_functions(module)).get("_initialize"):
                return ["invalid: _initialize is no function that takes and returns nothing"]
            by_name["_initialize"](store)
    except Boom:
        script.log.append("start: Boom")
        return script.log
    except wasmtime.Trap as e:
        return _fuel(script, "start", e, "start: ")
    except wasmtime.WasmtimeError:
        return [f"start{BEYOND}"]
    script.log.append("loaded")
    for name, functype in list(_exported_functions(module))[:CALLS]:
        if name == "_initialize" or not _crosses(functype):
            continue
        for _ in range(2):
            args = [script.value(code) for code in functype.params]
            line = f"{name}{shown([NULL if a is None else a for a in args])} "
            store.set_fuel(FUEL)
            try:
                result = by_name[name](store, *args)
            except Boom:
                script.log.append(line + "Boom")
                continue
            except wasmtime.Trap as e:
                if _fuel(script, line, e, line)[-1].endswith(BEYOND):
                    return script.log
                continue
            except wasmtime.WasmtimeError:
                script.log.append(line + BEYOND)
                return script.log
            script.log.append(line + _result(functype, result))
    _look(store, module, by_name, script)
    return script.log


def _fuel(script: Script, what: str, error: wasmtime.Trap, line: str) -> Log:
    code = error.trap_code
    if code is not None and code not in TRAPS:
        script.log.append(line + BEYOND)
        if what == "start":
            return [f"start{BEYOND}"]
    else:
        kind = "trap" if code is None else TRAPS[code]
        script.log.append(line + kind + (BEYOND if kind == "call stack exhausted" else ""))
    return script.log


def _result(functype: FuncType, result: Any) -> str:
    many = list(result) if len(functype.results) > 1 else [result]
    values = [NULL if code == EXTERNREF and v is None else v for v, code in zip(many, functype.results)]
    return shown(values if len(functype.results) > 1 else values[0] if values else result)


def _host(store: wasmtime.Store, script: Script, wanted: Import, type_: Any) -> wasmtime.Func:
    assert isinstance(wanted.type, FuncType)
    functype = wanted.type
    function = script.host(f"{wanted}", functype)

    def crossing(*args: Any) -> Any:
        if not _crosses(functype):
            raise Boom(str(wanted))
        return function(*args)

    return wasmtime.Func(store, type_, crossing)


def _look(store: wasmtime.Store, module: Module, by_name: dict[str, Any], script: Script) -> None:
    for export in module.exports:
        thing = by_name[export.name]
        if export.kind == MEMORY:
            size = thing.data_len(store)
            script.log.append(
                f"{export.name}: {size} {zlib.crc32(bytes(thing.read(store, 0, min(size, 1 << 20))))}"
            )
        elif export.kind == GLOBAL and module.globals[export.index].type in _PASS:
            value = thing.value(store)
            value = value.value if isinstance(value, wasmtime.Val) else value
            null = module.globals[export.index].type == EXTERNREF and value is None
            script.log.append(f"{export.name}: {shown(NULL if null else value)}")
        elif KINDS[export.kind] == "table" and module.tables[export.index].element == EXTERNREF:
            size = thing.size(store)
            found = [_bare(thing.get(store, i)) for i in range(min(size, 20))]
            script.log.append(f"{export.name}: {size} {shown(found)}")


def _bare(value: Any) -> Any:
    value = value.value if isinstance(value, wasmtime.Val) else value
    return NULL if value is None else value
