"""Making an instance: what it is given for its imports, and how it is tied to what it shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..checks import check_callable
from ..engines import Imports, RawExtern, Store
from ..engines.stack import StackEnd
from ..errors import ClosedError, UnsupportedModuleError
from ..passes.externref import RUNTIME_MODULE
from ..values import CROSSING, EXTERNREF, I32, FuncType, check_value, type_name
from ..wasm.module import FUNCTION, GLOBAL, KINDS, TABLE, Global, Import, Module, TableType
from .fitting import check_fit, check_sizes, no_fit
from .guards import ThreadGuard
from .instances import Extern, Group, Instance, Missing
from .lifetimes import link
from .prepare import Prepared
from .runtime import helpers
from .space import Space
from .trampolines import Given, bind_host

__all__ = ["instantiate", "keep_last"]


def instantiate(
    space: Space,
    prepared: Prepared,
    imports: Callable[[Import], Any],
    guard: ThreadGuard | Group,
    what: str,
) -> Instance:
    """Make an instance in a space.

    Args:
        prepared: the module, of the space's engine.
        imports: for each import what to give: a Python callable, an `Extern`, a number for an immutable
            global. `Missing` says that there is none.
        guard: the guard of the instance's functions; or the group that the instance is one of.
        what: names the module in errors.

    Raises:
        UnsupportedModuleError: imports are missing or do not fit.
    """
    calls = space.calls
    calls.resume()
    if space.here.inside[0]:
        space.here.check(f"{what} cannot be instantiated")
    space.mover.make_room(what)
    if calls.closing:  # perhaps by a finalizer, just now
        raise ClosedError(f"{what} cannot be added: the table or guest it shares is closed")
    instance = Instance(space, prepared, Group(space, guard) if isinstance(guard, ThreadGuard) else guard)
    given = _given(prepared.module, imports, what)
    check_sizes(prepared.module, space.limits, what)
    raw: dict[tuple[str, str], RawExtern] = {}
    for wanted, value in zip(prepared.module.imports, given):
        extern = _import(instance, wanted, value)
        if extern is not None:
            raw[wanted.module, wanted.name] = extern
        instance.imported_tables += wanted.kind == TABLE
    try:
        raw.update(_imports_of_lowering(instance))
    except StackEnd as error:
        space.explain(error, f"making {what}")
        raise
    link(instance.lifetime, prepared.module, instance.links)
    _start(instance, raw, what)
    if instance.roots is not None and prepared.lowered is not None:
        names = prepared.lowered.globals.values()
        instance.roots.roots.globals.extend([instance.raw[name] for name in names])
    return instance


def keep_last(instance: Instance) -> None:
    """The instance, of a module prepared as lasting, outlives all that come after it: see `moving`."""
    store, hosts, handles = instance.space.store, instance.hosts, instance.handles

    def imports(made: Sequence[Mapping[str, RawExtern]]) -> Imports:
        functions = {key: store.host_function(*host) for key, host in hosts.items()}
        return {**functions, **helpers(made[0]), **_handles(store, handles)}

    instance.space.mover.add(instance.prepared, instance.raw, imports, instance.guard)


def _given(module: Module, imports: Callable[[Import], Any], what: str) -> list[Any]:
    """What ``imports`` gives for each import."""
    missing: list[str] = []
    advice: dict[str, None] = {}
    given: list[Any] = []
    for wanted in module.imports:
        try:
            given.append(imports(wanted))
        except Missing as error:
            missing.append(f"{KINDS[wanted.kind]} {wanted}{wanted.type if wanted.kind == FUNCTION else ''}")
            advice |= dict.fromkeys(map(str, error.args))
    if missing:
        told = "; ".join([f"{what} imports what it was not given: {', '.join(missing)}", *advice])
        raise UnsupportedModuleError(told)
    return given


def _start(instance: Instance, raw: Imports, what: str) -> None:
    """Have the engine make the instance, and run its start function."""
    space, nesting = instance.space, instance.space.nesting
    outer = nesting[0]
    nesting[0] = abs(outer) + 1  # the start function may call host functions
    try:
        if space.timed and not outer:
            space.store.begin()
        instance.raw = space.store.instantiate(
            instance.prepared.compiled, raw, lambda made: instance.lifetime.hold((made, raw))
        )
    except BaseException as error:
        space.explain(error, f"the start function of {what}")
        if space.engine.is_link_error(error):
            raise UnsupportedModuleError(
                f"{what} cannot be linked: {' '.join(str(error).split())}"
            ) from error
        raise
    finally:
        nesting[0] = outer
        if not outer:
            if space.timed:
                space.store.end()
            space.ids.release()


# ---- what it is given


def _import(instance: Instance, wanted: Import, value: Any) -> RawExtern | None:
    """What the engine is given for an import; None for a table of externrefs, which the instance reaches by
    its handle."""
    extern = getattr(value, "__keep__", value)
    if isinstance(extern, Extern) and extern.kind == wanted.kind and extern.space is instance.space:
        check_fit(wanted, extern)
        if extern.owner.lifetime is not instance.lifetime:
            instance.links.append((wanted.type, extern.owner.lifetime))
        if isinstance(wanted.type, TableType) and extern.type.element == EXTERNREF:
            instance.tables[instance.imported_tables] = extern.raw
            return None
        return extern.raw
    if wanted.kind == FUNCTION:
        return _host_function(instance, wanted, value)
    if isinstance(wanted.type, Global) and not wanted.type.mutable:
        code = wanted.type.type
        # A function of a guest, say, is an object like others; that of a global might be meant otherwise.
        if not isinstance(extern, Extern) or (code == EXTERNREF and extern.kind != GLOBAL):
            number = check_value(value, code, f"import {wanted}")
            if code == EXTERNREF:
                return _reference(instance, number)
            return instance.space.store.constant(code, number)
    raise no_fit(wanted, value)


def _host_function(instance: Instance, wanted: Import, value: Any) -> RawExtern:
    functype = wanted.type
    assert isinstance(functype, FuncType)
    check_callable(value, f"import {wanted}{functype}")
    for code in functype.params + functype.results:
        if code not in CROSSING:
            raise UnsupportedModuleError(
                f"import {wanted}{functype} cannot be a Python function: {type_name(code)} cannot"
                " cross between Python and the guest; a function that another guest of the same space"
                " exports fits"
            )
    space = instance.space
    given = Given(space, value)
    space.functions.add(given)
    instance.lifetime.hold(given)
    form = space.store.host_form(functype)
    trampoline = bind_host(given, functype, form, str(wanted))
    instance.hosts[wanted.module, wanted.name] = trampoline, functype
    return space.store.host_function(trampoline, functype)


def _reference(instance: Instance, value: Any) -> RawExtern:
    """An immutable externref global that holds ``value``."""
    space, nesting = instance.space, instance.space.nesting
    assert instance.roots is not None
    outer = nesting[0]
    nesting[0] = abs(outer) + 1
    try:
        id_ = space.ids.give(value)
        space.runtime.call["pin"](id_)
    finally:
        nesting[0] = outer
    instance.roots.roots.pins.append(id_)
    return space.store.constant(I32, id_)


def _imports_of_lowering(instance: Instance) -> Imports:
    """What lowering made the module import: the runtime's helpers, and the handles of its tables."""
    lowered, space = instance.prepared.lowered, instance.space
    if lowered is None or instance.roots is None:
        return {}
    for wanted in lowered.handles:
        handle = None if wanted.table is None else instance.tables.get(wanted.table)
        if handle is None:
            # A hidden table of a segment never grows, and is not what table_limit is about.
            most = None if wanted.table is None else space.limits.table_limit
            handle = space.runtime.new_table(wanted.limits, most)
            instance.roots.roots.tables.append(handle)
            if wanted.table is not None:
                instance.tables[wanted.table] = handle
        instance.handles[wanted.name] = handle
    instance.lifetime.hold((space.runtime.keep, instance.roots))
    return {**helpers(space.runtime.exports), **_handles(space.store, instance.handles)}


def _handles(store: Store, handles: Mapping[str, int]) -> dict[tuple[str, str], RawExtern]:
    """Tables' handles, as a lowered module imports them."""
    return {(RUNTIME_MODULE, name): store.constant(I32, handle) for name, handle in handles.items()}
