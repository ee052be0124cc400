"""Python functions at a component's edge: those that call its exports, and those that serve its imports."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ComponentError, GuestTrap
from ..memory import GuestMemory
from ..objects import Shape
from .abi import Codecs, Context, Window, integer_range
from .adapters import is_plain
from .assemble import Entry
from .classes import Err, Ok
from .faults import Fault
from .glue import HostCall
from .handles import ResourceHandle, Resources, Scope, SideHandles, wanted
from .layout import MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, flatten
from .link import Linked
from .plan import Lifted, Options
from .types import (
    BOOL,
    F32,
    F64,
    S32,
    S64,
    U32,
    U64,
    Borrow,
    FuncType,
    Own,
    Primitive,
    Result,
    Tuple,
    ValueType,
)

__all__ = ["Caller", "exported", "hosted", "initializer"]

_WORD = 0xFFFFFFFF


class Caller:
    """What all functions of one instance have in common."""

    def __init__(self, resources: Resources, codecs: Codecs) -> None:
        self.resources = resources
        self.codecs = codecs

    @property
    def linked(self) -> Linked:
        linked = self.resources.linked
        assert linked is not None
        return linked


class _Sequence:
    """Parameters, or a result: how they pass as core values, or all in memory."""

    def __init__(self, codecs: Codecs, types: Sequence[ValueType], most: int) -> None:
        self.types = types
        self.codecs = [codecs.of(one) for one in types]
        self.flat = b"".join(map(flatten, types))
        self.in_memory = len(self.flat) > most
        self.whole = codecs.of(Tuple(tuple(types))) if self.in_memory else None

    def lift(self, cx: Context, flat: Sequence[Any]) -> list[Any]:
        if self.whole is None:
            values = iter(flat)
            return [codec.lift(cx, values) for codec in self.codecs]
        address = flat[0] & _WORD
        cx.within(address, self.whole.size, self.whole.alignment, Fault.OUT_OF_BOUNDS)
        return list(self.whole.load(cx, address))

    def lower(self, cx: Context, values: Sequence[Any], address: int | None = None) -> list[Any]:
        """The core values; in memory, at an address or in new memory, whose address they are."""
        flat: list[Any] = []
        if self.whole is None:
            for codec, value in zip(self.codecs, values):
                codec.lower(cx, value, flat)
        elif address is None:
            place = cx.allocate(self.whole.alignment, self.whole.size)
            self.whole.store(cx, tuple(values), place)
            flat.append(place)
        else:
            cx.within(address, self.whole.size, self.whole.alignment, Fault.OUT_OF_BOUNDS)
            self.whole.store(cx, tuple(values), address)
        return flat


def _context(resources: Resources, options: Options, handles: SideHandles) -> Context:
    """A call's side of an instance. Its memory is looked for when it is needed first, since host functions
    are made before it is there."""
    side = resources.sides.get(options)
    if side is None:
        linked = resources.linked
        assert linked is not None
        memory = linked.assembly.memory(options)
        reallocate = linked.assembly.reallocations.get(options)
        side = resources.sides[options] = (
            None if memory is None else Window(GuestMemory(linked.extern(memory))),
            None if reallocate is None else linked.told(reallocate),
        )
    return Context(*side, options.encoding, handles)


def exported(
    caller: Caller, function: Lifted, type_: FuncType, entry: Entry, name: str
) -> Callable[..., Any]:
    """What calls an exported function.

    Args:
        type_: its type, with the types whose names are known.
        name: for errors.
    """
    make = _plain if is_plain(function.type) else _general
    made = make(caller, function, type_, entry, name)
    made.__name__ = made.__qualname__ = name
    return made


def _check_count(name: str, type_: FuncType, args: Sequence[Any]) -> None:
    if len(args) != len(type_.params):
        names = ", ".join(label for label, _ in type_.params)
        raise TypeError(f"{name}({names}) takes {len(type_.params)} arguments, not {len(args)}")


def _unwrapped(type_: FuncType, values: Sequence[Any]) -> Any:
    """The result of a function, whose error is an exception."""
    if not values:
        return None
    (value,) = values
    if isinstance(type_.result, Result):
        if isinstance(value, Err):
            raise ComponentError(value.value)
        return value.value
    return value


# A call of a plain function costs less than half a microsecond, so there is no loop over its parameters and no
# call of another function in it: its statements are written into the function that calls the guest.


def _plain(caller: Caller, function: Lifted, type_: FuncType, entry: Entry, name: str) -> Callable[..., Any]:
    """Only numbers and handles: one call of the guest."""
    if not _is_direct(caller, type_):
        return _with_scope(caller, type_, entry, name)
    names = _names(caller, type_)
    results = []
    if isinstance(type_.result, Own):
        place = len(type_.params)
        names[f"new{place}"] = names[f"class{place}"].__new__
        results = [f"made = new{place}(class{place})", "made._representation = {result}", "return made"]
    elif type_.result is not None:
        results = [f"return {_returned(type_.result, '{result}')}"]
    return caller.linked.told(entry.call, name, _shape(type_)._replace(results=tuple(results)), **names)


def initializer(caller: Caller, type_: FuncType, entry: Entry, name: str) -> Callable[..., None] | None:
    """``__init__`` of a resource's class, for a constructor that is called as directly as `_plain` does it;
    None for others."""
    if not is_plain(type_) or not _is_direct(caller, type_):
        return None
    shape = _shape(type_)
    again = "if self._representation is not None: made_already(self)"
    shape = shape._replace(
        params=("self", *shape.params),
        before=(again, *shape.before),
        kept=("self",),
        results=("self._representation = {result}", "return None"),
    )
    return caller.linked.told(entry.call, name, shape, made_already=_made_already, **_names(caller, type_))


def _made_already(handle: ResourceHandle) -> None:
    raise TypeError(f"this {type(handle).__name__} was made already")


def _is_direct(caller: Caller, type_: FuncType) -> bool:
    """Whether no handle is given away, and no Python object is a resource: then there is nothing to undo."""
    for one in (*type_.types, *type_.results):
        if isinstance(one, (Own, Borrow)) and caller.resources.definition(one.resource).definer is None:
            return False
    return not any(isinstance(one, Own) for one in type_.types)


def _names(caller: Caller, type_: FuncType) -> dict[str, Any]:
    """What the statements for a type refer to."""
    resources = caller.resources
    names: dict[str, Any] = {"dead": resources.dead, "destroy_dead": resources.destroy_dead, "wanted": wanted}
    for place, one in enumerate((*type_.types, *type_.results)):
        if isinstance(one, (Own, Borrow)):
            names[f"resource{place}"] = one.resource
            if resources.definition(one.resource).definer is not None:
                names[f"class{place}"] = resources.class_of(one.resource)
        else:
            codec = caller.codecs.of(one)
            names[f"check{place}"] = codec.check  # type: ignore[attr-defined]
            names["read"] = codec.read  # type: ignore[attr-defined]
    return names


def _shape(type_: FuncType) -> Shape:
    """How such a function takes its arguments."""
    params, before, begin, end = [], ["if dead: destroy_dead()"], [], []
    for place, one in enumerate(type_.types):
        if isinstance(one, Borrow):
            handle = f"handle{place}"
            params.append(handle)
            before += [
                f"if not isinstance({handle}, class{place}): raise wanted(class{place}, {handle})",
                f"a{place} = {handle}._representation",
                f"if a{place} is None: {handle}._live()",
            ]
            begin.append(f"{handle}._lent += 1")
            end.append(f"{handle}._lent -= 1")
        else:
            params.append(f"a{place}")
            before.append(_checked(one, place))
    return Shape(tuple(params), tuple(before), tuple(begin), tuple(end))


# Where handles are given away, none of them is if the call is not made.
_SCOPE = """\
def plain({params}):
    if dead: destroy_dead()
    scope = Scope(resources)
    try:
        try:
            {checks}
        except BaseException:
            scope.undo()
            raise
        {value}call({args})
        {result}
    finally:
        scope.end()
"""


def _with_scope(caller: Caller, type_: FuncType, entry: Entry, name: str) -> Callable[..., Any]:
    """The same, where there may be something to undo."""
    resources = caller.resources
    names = {
        **_names(caller, type_),
        "call": caller.linked.told(entry.call, name),
        "object_": resources.object,
        "representation": resources.representation,
        "resources": resources,
        "Scope": Scope,
    }
    exec(_compiled(_scope_source(type_)), names)
    made: Callable[..., Any] = names.pop("plain")  # its globals: there it would be in a reference cycle
    return made


@functools.lru_cache(maxsize=1024)
def _compiled(source: str) -> Any:
    return compile(source, "<hiwire_py component call>", "exec")


def _scope_source(type_: FuncType) -> str:
    params = [f"a{place}" for place in range(len(type_.params))]
    checks = [_checked(one, place) for place, one in enumerate(type_.types)]
    result = "None"
    if isinstance(type_.result, Own):
        result = f"object_(resource{len(params)}, value & {_WORD}, True, scope)"
    elif type_.result is not None:
        result = _returned(type_.result, "value")
    return _SCOPE.format(
        params=", ".join([*params, "/"] if params else []),
        args=", ".join(params),
        checks=("\n" + " " * 12).join(checks) or "pass",
        value="" if type_.result is None else "value = ",
        result=f"return {result}",
    )


def _checked(type_: ValueType, place: int) -> str:
    """A statement that makes a core value of a parameter."""
    a, check = f"a{place}", f"check{place}"
    if isinstance(type_, (Own, Borrow)):
        return f"{a} = representation(resource{place}, {a}, {isinstance(type_, Own)}, scope)"
    if type_ in (F32, F64):
        return f"if {a}.__class__ is not float: {a} = {check}({a})"
    if isinstance(type_, Primitive) and type_.name[0] in "su":
        low, high = integer_range(type_)
        return f"if not ({a}.__class__ is int and {low} <= {a} <= {high}): {a} = {check}({a})"
    return f"{a} = {check}({a})"


def _returned(type_: ValueType, value: str) -> str:
    """An expression for a result that is no handle, out of a core value."""
    if type_ in (S32, S64, F32, F64):
        return value
    if type_ in (U32, U64):
        return f"{value} & {integer_range(type_)[1]}"
    return f"{value} != 0" if type_ == BOOL else f"read({value})"


def _general(
    caller: Caller, function: Lifted, type_: FuncType, entry: Entry, name: str
) -> Callable[..., Any]:
    """Values in memory: the call is begun, Python writes, the core function is called, Python reads, and the
    call is ended."""
    assert entry.begin is not None and entry.end is not None and entry.leave is not None
    linked, resources = caller.linked, caller.resources
    begin, core, end = (linked.function(one) for one in (entry.begin, entry.call, entry.end))
    leave = linked.function(entry.leave)
    params = _Sequence(caller.codecs, type_.types, MAX_FLAT_PARAMS)
    results = _Sequence(caller.codecs, type_.results, MAX_FLAT_RESULTS)
    options, instance, dead = function.options, function.options.instance, resources.dead
    several = len(results.flat) > 1 and not results.in_memory

    def general(*args: Any) -> Any:
        _check_count(name, type_, args)
        if dead:
            resources.destroy_dead()
        scope = Scope(resources)
        handles = SideHandles(resources, instance, scope)
        resources.inside += 1
        try:
            begin()
            try:
                cx = _context(resources, options, handles)
                flat = params.lower(cx, args)
            except GuestTrap:
                raise
            except BaseException:
                handles.undo()
                leave()
                raise
            out = core(*flat)
            given = out if several else () if out is None else (out,)
            cx.look()
            values = results.lift(cx, given)
            end(*given)
        except GuestTrap as error:
            raise linked.explained(error, name) from error
        finally:
            resources.inside -= 1
            scope.end()
        if dead:
            resources.destroy_dead()
        return _unwrapped(type_, values)

    return general


def hosted(caller: Caller, call: HostCall, function: Callable[..., Any]) -> Callable[..., Any]:
    """What serves a function that the component imports. The instance holds it, so it does not hold the
    instance.

    Args:
        function: takes and gives what Python has for the types.
    """
    type_, options = call.function.type, call.options
    params = _Sequence(caller.codecs, type_.types, MAX_FLAT_PARAMS)
    results = _Sequence(caller.codecs, type_.results, MAX_FLAT_RESULTS)
    instance = weakref.ref(caller.resources)
    fails = isinstance(type_.result, Result)

    def host(*flat: Any) -> Any:
        resources = instance()
        assert resources is not None  # somebody has called a function of the instance
        scope = Scope(resources)
        handles = SideHandles(resources, options.instance, scope)
        try:
            cx = _context(resources, options, handles)
            args = params.lift(cx, flat)
            try:
                value = function(*args)
            except ComponentError as error:
                if not fails:
                    raise
                value = Err(error.payload)
            else:
                if fails:
                    value = value if isinstance(value, (Ok, Err)) else Ok(value)
            if not results.types:
                return None
            cx.look()
            if results.in_memory:
                results.lower(cx, (value,), flat[-1] & _WORD)
                return None
            lowered = results.lower(cx, (value,))
            return lowered[0] if len(lowered) == 1 else lowered
        finally:
            scope.end()

    return host
