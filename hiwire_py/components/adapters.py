"""The functions of a plan that are generated: what guests call, and by what Python gets in.

For a call from one component to another, `lower` gives::

    caller may leave, callee may be entered; it is entered
    parameters are lifted from the caller and lowered into the callee    translate.py
    the core function is called
    the same for the result, back
    post-return, the callee is left, what was lent is not lent any more

Python gets in by an *entry*. Where only numbers and handles are passed, one function does it all, and
Python's side of a handle is its representation. Else Python reads and writes the memory itself, between a
function that begins the call and one that ends it.

Format: component model, CanonicalABI.md, "Canonical Definitions".
"""

from __future__ import annotations

from ..wasm.emit import i32_const, if_, local_get, local_set, numeric
from ..wasm.types import I32
from ..wasm.types import FuncType as CoreFuncType
from .faults import Fault
from .glue import Code, Glue, HostCall, HostDestructor, Side, TableItem
from .layout import MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, contains, core_type, flatten, layout
from .plan import (
    Generated,
    HostFunction,
    Lifted,
    Lower,
    Options,
    ResourceDrop,
    ResourceNew,
    ResourceRep,
)
from .translate import Flat, InMemory, Place, Translator
from .types import CHAR, STRING, Borrow, Enum, Flags, FuncType, Own, Primitive, Resource, Tuple, ValueType

__all__ = [
    "GENERATED",
    "add_generated",
    "begin",
    "destroy",
    "end",
    "entry",
    "generated_type",
    "is_plain",
    "leave",
    "reallocation",
]

GENERATED = (Lower, ResourceNew, ResourceRep, ResourceDrop)
"""The classes of `Generated`."""

_ONE = bytes((I32,))
_TO_ONE, _TO_NONE = CoreFuncType(_ONE, _ONE), CoreFuncType(_ONE, b"")
_NOTHING = CoreFuncType(b"", b"")


def generated_type(item: Generated) -> CoreFuncType:
    """The type of a generated function."""
    if isinstance(item, Lower):
        return core_type(item.function.type, True)
    return _TO_NONE if isinstance(item, ResourceDrop) else _TO_ONE


def add_generated(glue: Glue, name: str, item: Generated) -> None:
    """Have a module export a generated function."""
    glue.add(name, generated_type(item), lambda code: _body(glue, item, code))


def _body(glue: Glue, item: Generated, code: Code) -> bytes:
    if isinstance(item, ResourceNew):
        return glue.check_leave(item.instance) + glue.table(item.instance, "own", item.resource, local_get(0))
    if isinstance(item, ResourceRep):
        return glue.table(item.instance, "rep", item.resource, local_get(0))
    if isinstance(item, ResourceDrop):
        dropped = glue.table(item.instance, "drop", item.resource, local_get(0))
        representation = glue.read(TableItem(item.instance, "dropped"))
        destruction = _destruction(glue, item.resource, item.instance, representation)
        return glue.check_leave(item.instance) + if_(dropped, destruction)
    if isinstance(item.function, HostFunction):
        return _host_call(glue, item.function, item.options)
    return _call(glue, item.function, item.options, code)


def _destruction(glue: Glue, resource: Resource, caller: int | None, representation: bytes) -> bytes:
    """Call the destructor, in the instance that defines the resource."""
    definition = glue.plan.resources[resource]
    if definition.definer is None:
        return glue.call(HostDestructor(resource), _TO_NONE, representation)
    if definition.destructor is None:
        inner = b""
    else:
        inner = glue.call(definition.destructor, _TO_NONE, representation)
    before, behind = glue.reenter(caller, definition.definer)
    return (
        glue.enter(caller, definition.definer)
        + before
        + inner
        + behind
        + glue.exit(caller, definition.definer)
    )


def _host_call(glue: Glue, function: HostFunction, options: Options) -> bytes:
    type_ = core_type(function.type, True)
    arguments = b"".join(local_get(i) for i in range(len(type_.params)))
    out = glue.check_leave(options.instance) + glue.call(HostCall(function, options), type_, arguments)
    if any(contains(one, Borrow) for one in function.type.types):
        out += glue.end_lends(options.instance)
    return out


def _call(glue: Glue, function: Lifted, options: Options, code: Code) -> bytes:
    """From one component to another."""
    caller, callee = options.instance, function.options.instance
    if caller == callee:
        return glue.trap(Fault.CANNOT_ENTER)
    near, far = Side(glue, options), Side(glue, function.options)
    type_ = function.type
    there = Translator(code, near, far)
    pushed, out = _parameters(there, type_)
    before, behind = glue.reenter(caller, callee)
    had = code.local()
    if before and there.borrows:
        before += local_set(had, glue.read(TableItem(callee, "borrows")))
    out = glue.check_leave(caller) + glue.enter(caller, callee) + before + out
    core = core_type(type_, False)
    out += glue.call(function.core, core, pushed)
    results = [code.local(one) for one in core.results]
    out += b"".join(local_set(one) for one in results)
    if there.borrows:
        # Those of a call that the callee is in already, further out, may remain.
        more = numeric("i32.gt_s", glue.read(TableItem(callee, "borrows")), local_get(had))
        out += glue.trap_if(more, Fault.BORROWS_REMAIN)
    given_back, result = _result(Translator(code, far, near), type_, results)
    out += result + _post_return(glue, function, results) + behind + glue.exit(caller, callee)
    if there.lends:
        out += glue.end_lends(caller)
    return out + given_back


def _parameters(translator: Translator, type_: FuncType) -> tuple[bytes, bytes]:
    """What pushes the parameters for the core function, and the code before that."""
    code, types = translator.code, type_.types
    flat = b"".join(map(flatten, types))
    if len(flat) <= MAX_FLAT_PARAMS:
        source: Place = Flat(tuple(enumerate(flat)))
        target = translator.new_flat(types)
        out = translator.values(types, source, target)
        return b"".join(local_get(index) for index, _ in target.locals), out
    size, alignment = layout(Tuple(types))
    out = translator.source.check_alignment(local_get(0), alignment, Fault.BAD_POINTER)
    out += translator.source.check_bounds(local_get(0), i32_const(size), Fault.OUT_OF_BOUNDS)
    to = code.local()
    out += local_set(to, translator.target.allocate(alignment, i32_const(size)))
    return local_get(to), out + translator.values(types, InMemory(0), InMemory(to))


def _result(translator: Translator, type_: FuncType, results: list[int]) -> tuple[bytes, bytes]:
    """What pushes the result for the caller, and the code before that."""
    types = type_.results
    flat = b"".join(map(flatten, types))
    if not flat:
        return b"", b""
    if len(flat) <= MAX_FLAT_RESULTS:
        target = translator.new_flat(types)
        out = translator.values(types, Flat(tuple(zip(results, flat))), target)
        return b"".join(local_get(index) for index, _ in target.locals), out
    (result,), to = results, translator.code.params - 1
    size, alignment = layout(Tuple(types))
    out = b""
    for side, address in ((translator.source, result), (translator.target, to)):
        out += side.check_alignment(local_get(address), alignment, Fault.BAD_POINTER)
        out += side.check_bounds(local_get(address), i32_const(size), Fault.OUT_OF_BOUNDS)
    return b"", out + translator.values(types, InMemory(result), InMemory(to))


def _post_return(glue: Glue, function: Lifted, results: list[int]) -> bytes:
    options = function.options
    if options.post_return is None:
        return b""
    type_ = CoreFuncType(core_type(function.type, False).results, b"")
    called = glue.call(options.post_return, type_, b"".join(map(local_get, results)))
    return glue.without_leave(options.instance, called)


# ---- Python's way in


def is_plain(type_: FuncType) -> bool:
    """Whether only numbers and handles are passed, one core value each."""
    return len(type_.params) <= MAX_FLAT_PARAMS and all(map(_is_plain, (*type_.types, *type_.results)))


def _is_plain(type_: ValueType) -> bool:
    return isinstance(type_, (Own, Borrow, Enum, Flags)) or (isinstance(type_, Primitive) and type_ != STRING)


def entry(glue: Glue, name: str, function: Lifted) -> None:
    """Have a module export a plain function (see `is_plain`) as Python calls it: core values, but for a
    handle its representation. The result is as the core function gave it, but checked; an owned one is its
    representation."""
    type_, callee = function.type, function.options.instance
    core = core_type(type_, False)

    def body(code: Code) -> bytes:
        arguments, borrows = b"", False
        for index, one in enumerate(type_.types):
            value = local_get(index)
            if isinstance(one, Own):
                value = glue.table(callee, "own", one.resource, value)
            elif isinstance(one, Borrow) and glue.plan.resources[one.resource].definer != callee:
                borrows = True
                value = glue.table(callee, "borrow", one.resource, value)
            arguments += value
        results = [code.local(one) for one in core.results]
        out = glue.enter(None, callee) + glue.call(function.core, core, arguments)
        out += b"".join(map(local_set, results))
        if borrows:
            out += glue.trap_if(glue.read(TableItem(callee, "borrows")), Fault.BORROWS_REMAIN)
        given = [local_get(one) for one in results]
        if isinstance(type_.result, Own):
            taken = code.local()
            out += local_set(taken, glue.table(callee, "take", type_.result.resource, given[0]))
            given = [local_get(taken)]
        elif isinstance(type_.result, Enum) or type_.result == CHAR:
            side, checked = Side(glue, function.options), code.local()
            result, target = Flat(((results[0], I32),)), Flat(((checked, I32),))
            out += Translator(code, side, side).value(type_.result, result, target)
        return out + _post_return(glue, function, results) + glue.exit(None, callee) + b"".join(given)

    glue.add(name, core, body)


def begin(glue: Glue, name: str, instance: int) -> None:
    """Have a module export what begins a call from Python into an instance."""
    glue.add(name, _NOTHING, lambda code: glue.enter(None, instance))


def end(glue: Glue, name: str, function: Lifted) -> None:
    """Have a module export what ends a call of a function, and takes the core results."""
    callee = function.options.instance
    borrows = any(contains(one, Borrow) for one in function.type.types)

    def body(code: Code) -> bytes:
        results = list(range(code.params))
        out = _post_return(glue, function, results) + glue.exit(None, callee)
        if borrows:
            remain = glue.trap_if(glue.read(TableItem(callee, "borrows")), Fault.BORROWS_REMAIN)
            return remain + out
        return out

    glue.add(name, CoreFuncType(core_type(function.type, False).results, b""), body)


def leave(glue: Glue, name: str, instance: int) -> None:
    """Have a module export what gives up a call that was begun: the core function was not called."""
    glue.add(name, _NOTHING, lambda code: glue.exit(None, instance))


def reallocation(glue: Glue, name: str, options: Options) -> None:
    """Have a module export ``(old, old size, alignment, size) -> address`` for a side whose memory Python
    writes."""
    side = Side(glue, options)

    def body(code: Code) -> bytes:
        return side.reallocate_with(*(local_get(i) for i in range(4)))

    glue.add(name, CoreFuncType(_ONE * 4, _ONE), body)


def destroy(glue: Glue, name: str, resource: Resource) -> None:
    """Have a module export ``(representation)``: Python destroys what it owns of a component's resource."""
    glue.add(name, _TO_NONE, lambda code: _destruction(glue, resource, None, local_get(0)))
