"""The functions at the boundary, made for each WebAssembly type: calls into a guest, and host functions it
calls.

A call costs a few hundred nanoseconds in all, so there is no loop over parameter types in it, and no call of
Python code between the user's and the engine's: the source of a function is written for its type once, with
the engine's part in it (engines/calls.py), compiled once, and bound to a space for each export or import.

All templates stand in this one long file, since each relies on the moments at which the others write to
``nesting``.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..checks import arguments, takes
from ..engines.calls import Call, CallForm, HostForm
from ..errors import ClosedError
from ..real_threads import get_ident
from ..values import CROSSING, EXTERNREF, F32, F64, I32, I64, NULL, FuncType, check_value
from .nesting import DEEPEST, HOST_CODE, TOO_DEEP

__all__ = ["Fix", "ForEach", "Given", "Shape", "bind_each", "bind_export", "bind_host", "bind_raw"]

ForEach = Callable[[Iterable[int], Callable[[Exception], object]], int]
"""What `bind_each` makes: takes pointers, and what takes the exceptions; gives how many calls were made."""

Fix = Callable[[Any, int, str], Any]
"""Brings an argument to the form engines take, or raises: see `check_value`."""


class Shape(NamedTuple):
    """How a function takes other values than core values, or gives others, where a call of one more Python
    function would cost too much. The statements refer to names that `bind_export` is given.

    Attributes:
        params: the parameters.
        before: statements that make core values of them, named ``a0``, ``a1`` and so on, floats and ints of
            either sign that fit, or raise what is wrong with them. A call that they refuse has not begun.
        begin, end: statements around all that follows; the end is run whatever happens.
        kept: of the parameters, those that ``results`` refer to.
        results: statements that return something made of the core result, ``{result}``; none: as it is. They
            must not call guests, nor Python code of users.
    """

    params: tuple[str, ...]
    before: tuple[str, ...] = ()
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


_INTEGER_RANGES = {I32: (-(1 << 31), (1 << 31) - 1), I64: (-(1 << 63), (1 << 63) - 1)}
_CLASSES = {I32: "int", I64: "int", F32: "float", F64: "float"}

# `export` serves calls from outside, `nested` those from host functions, which are rarer and have more to do
# at the end. Neither may refer to itself: that would be a cycle, and keep the guest until Python's collector
# comes by. Where the thread is in a host function, of this space or another, `check` says whether it can go
# on.
# `nesting` is negative while the Python function behind a host function runs. A nested call that finds it
# positive comes from a finalizer or signal handler, which may have interrupted something: see `Ids.enter`.
_EXPORT = """\
def bind(space, guard, shown, get_ident, fix, NULL, too_deep, explain{names}):
    check, inside, nesting = space.here.check, space.here.inside, space.nesting
    ids, objects, hold, release = space.ids, space.objects, space.ids.hold, space.ids.release
    enter, unwind, exit, thread = space.ids.enter, space.ids.unwind, space.ids.exit, space.here.ident
    def nested({core}):
        outer = nesting[0]
        level = outer if outer > 0 else -outer
        if level >= {deepest}:
            raise RecursionError(f"{{shown}}: " + too_deep)
        check(shown)
        mark = enter(outer > 0)
        nesting[0] = level + 1
        try:
            {body}
        except BaseException as error:
            unwind(mark)
            explain(error, shown)
            raise
        finally:
            nesting[0] = outer
            exit(mark)
    def export({params}):
        {call}
    return export
"""

# What `export` does, once it has core values.
_EXPORT_CALL = """\
{quick}
if get_ident() != guard.owner:
    guard.refuse()
if nesting[0]:
    return nested({kept})
if inside[0]:
    check(shown)
nesting[0] = 1
try:
    {begin}
    {body}
except BaseException as error:
    unwind()
    explain(error, shown)
    raise
finally:
    nesting[0] = 0
    {end}
    if ids: release()
"""

# Around a call whose values are not core values.
_SHAPED = """\
{before}
{begin}
try:
    {call}
finally:
    {end}
"""

# A call that makes no id, where nothing else is on the way. The engine's part checks the thread and the
# arguments, and then writes into `nesting`: a signal handler or finalizer that comes in before the result has
# been looked up is to find that a call is on its way. What was refused goes the ordinary way, which says why.
# An owner of None is of a closed guard, of 0 of one that is held.
_QUICK = """\
if guard.owner and not (nesting[0] or inside[0]){classes}:
    begun = True
    try:
        {call}
        if r is not None:
            {results}
        begun = False
    except BaseException as error:
        begun = get_ident() == thread
        if begun:
            unwind()
            explain(error, shown)
        raise
    finally:
        if begun:
            nesting[0] = 0
            if ids: release()
"""

# For functions that take a pointer: one call from Python for many of the guest's. Its caller does what
# belongs to the beginning and the end; each of the guest's calls is timed by itself.
_EACH = """\
def bind(space, guard, shown{names}):
    explain, unwind = space.explain, space.ids.unwind
    def each(pointers, on_error):
        done = 0
        for pointer in pointers:
            if guard.owner is None:
                continue
            done += 1
            try:
                {begin}
                {body}
            except BaseException as error:
                unwind()
                try:
                    explain(error, shown)
                    raise
                except Exception as explained:
                    on_error(explained)
            finally:
                {end}
        return done
    return each
"""

# Nothing but the engine's part.
_RAW = """\
def bind({names}):
    def raw({params}):
        {body}
    return raw
"""

_HOST = """\
def bind(own_ref, name, fix, NULL, nesting, inside, raised):
    given = f"host function {{name}} was given"
    def host({params}):
        own = own_ref()
        if own is None:
            raise gone(name)
        counted = nesting[0]  # 0 in calls of this package's own
        level = inside[0]
        {enter}
        try:
            inside[0] = level + 1
            {convert}
            nesting[0] = -counted or -1
            result = own.function({args})
            {result}
        except BaseException as error:
            # A local variable for what `told` gives would be a cycle: exception, frame, exception.
            raised.append(told(error, own.function, {count}, name))
            if raised[-1] is error:
                raise
            raise raised[-1] from error
        finally:
            nesting[0] = counted
            inside[0] = level
    return host
"""

_BEGIN, _END = "space.store.begin()", "space.store.end()"  # where calls have a deadline or fuel


def _bound(code: Any, *given: Any) -> Callable[..., Any]:
    """What ``bind`` of a compiled template makes of these."""
    names: dict[str, Any] = {"gone": _gone, "told": _told, "wrong_count": _wrong_count}
    exec(code, names)
    function: Callable[..., Any] = names["bind"](*given)
    return function


def _check(value: str, code: int, what: str) -> str:
    """Code that brings a value which Python gave to the form engines take."""
    if code in _INTEGER_RANGES:
        low, high = _INTEGER_RANGES[code]
        fits = f"{value}.__class__ is int and {low} <= {value} <= {high}"
        return f"if not ({fits}): {value} = fix({value}, {code}, {what})"
    if code in (F32, F64):
        return f"if {value}.__class__ is not float: {value} = fix({value}, {code}, {what})"
    if code == EXTERNREF:
        return ""
    return f"fix({value}, {code}, {what})"


def _signed(value: str, code: int) -> str:
    """Code that makes an integer of either sign, which fits, the signed one that engines take."""
    if code not in _INTEGER_RANGES:
        return ""
    high = _INTEGER_RANGES[code][1]
    return f"if {value} > {high}: {value} -= {2 * high + 2}"


def _to_object(id_: str, objects: str = "objects") -> str:
    """Code that turns an id into its object."""
    return f"{objects}[{id_}] if {id_} else NULL"


def _lines(statements: Iterable[str], indent: int) -> str:
    """As one piece of source; empty ones are left out."""
    lines = [line for statement in statements for line in statement.splitlines() if line]
    return ("\n" + " " * indent).join(lines) or "pass"


def _of_its_class(values: Iterable[str], params: bytes) -> str:
    """Code that is true if each value is of the class of its type; after a condition."""
    return "".join(f" and {a}.__class__ is {_CLASSES[code]}" for a, code in zip(values, params))


def _names(params: bytes) -> list[str]:
    return [f"a{i}" for i in range(len(params))]


def _give_back(form: CallForm, functype: FuncType) -> list[str]:
    """Statements that return the results, each as Python has it."""
    if not functype.results:
        return ["return None"]
    # Each is read once, and before anything is made of another: a call may overwrite them.
    names = [f"r{i}" for i in range(len(functype.results))]
    read = [f"{name} = {value}" for name, value in zip(names, form.results) if name != value]
    values = [_to_object(name) if code == EXTERNREF else name for name, code in zip(names, functype.results)]
    if len(values) == 1:
        if functype.results[0] != EXTERNREF:
            return [f"return {form.results[0]}"]
        return [*read, f"return {values[0]}"]
    return [*read, f"return ({', '.join(f'({value})' for value in values)})"]


@functools.lru_cache(maxsize=1024)
def _export_code(
    functype: FuncType, form: CallForm, names: tuple[str, ...], timed: bool, shape: Shape | None
) -> Any:
    core = _names(functype.params)
    if shape is None:
        checks = [
            _check(a, code, f'f"argument {i + 1} of {{shown}}"')
            for i, (a, code) in enumerate(zip(core, functype.params))
        ]
    else:
        checks = [_signed(a, code) for a, code in zip(core, functype.params)]
    checks += [
        _check("None", code, 'f"the result of {shown}"') for code in functype.results if code not in CROSSING
    ]
    given = [f"hold({a})" if code == EXTERNREF else a for a, code in zip(core, functype.params)]
    code = [statement.format(*given, mark=None) for statement in form.code]
    results, quick, params, kept = _give_back(form, functype), "", core, core
    if shape is not None:
        params, kept = [*shape.params], [*shape.kept, *core]
        if shape.results:
            results = [statement.format(result=form.results[0]) for statement in shape.results]
    if form.quick and not timed and EXTERNREF not in functype.params:
        quick = _QUICK.format(
            classes="" if shape is not None else _of_its_class(core, functype.params),
            call=form.code[0].format(*core, mark="nesting"),
            results=_lines(results, 12),
        )
    rest = _EXPORT_CALL.format(
        kept=", ".join(kept),
        body=_lines([*checks, *code, *results], 4),
        quick=_lines([quick], 0),
        begin=_BEGIN if timed else "pass",
        end=_END if timed else "pass",
    )
    if shape is not None:
        before, begin, end = (_lines(*part) for part in ((shape.before, 0), (shape.begin, 0), (shape.end, 4)))
        rest = _SHAPED.format(before=before, begin=begin, call=_lines([rest], 4), end=end)
    source = _EXPORT.format(
        names="".join(f", {name}" for name in names),
        params=", ".join([*params, "/"] if params else []),
        core=", ".join(kept),
        body=_lines([*checks, *code, *results], 12),
        call=_lines([rest], 8),
        deepest=DEEPEST,
    )
    return compile(source, "<hiwire_py export>", "exec")


def bind_export(
    space: Any,
    guard: Any,
    call: Call,
    functype: FuncType,
    name: str,
    keep: object,
    fix: Fix | None = None,
    shape: Shape | None = None,
    names: Mapping[str, Any] = MappingProxyType({}),
    explain: Callable[[BaseException, str], None] | None = None,
) -> Callable[..., Any]:
    """A Python function that calls a guest's export.

    Args:
        space: whose instance exports it.
        guard: says which thread may call, and whether the guest is still open.
        call: how the engine calls it.
        functype: the type before lowering.
        name: for errors.
        keep: kept alive as long as the function: what the instance needs.
        fix: for arguments that are not in the form engines take; None: `check_value`.
        shape: other values than core values; None: core values. No references pass then.
        names: what the shape's statements refer to.
        explain: in place of the space's; it must call that.
    """
    code = _export_code(functype, call.form, (*call.names, *names), space.timed, shape)
    given = space, guard, f"{name}()", get_ident, fix or check_value, NULL, TOO_DEEP, explain or space.explain
    function = _bound(code, *given, *call.names.values(), *names.values())
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The guest's export {name}{functype}."
    function.__keep__ = keep  # type: ignore[attr-defined]
    function.__call_keep__ = call.keep  # type: ignore[attr-defined]
    return function


def bind_each(space: Any, guard: Any, call: Call, functype: FuncType, name: str, keep: object) -> ForEach:
    """A Python function that calls a guest's export for each of some pointers, and drops the results.

    It is called within `Calls.as_one_call`, with the pointers, as signed integers, and a function that takes
    the exception of each call that fails; it returns how many calls were made: none after the guest was
    closed.

    Args:
        functype: takes a pointer, and no references pass.
        space, guard, call, name, keep: as of `bind_export`.
    """
    code = _each_code(call.form, tuple(call.names), space.timed)
    function: ForEach = _bound(code, space, guard, f"{name}()", *call.names.values())
    function.__keep__ = keep, call.keep  # type: ignore[attr-defined]
    return function


@functools.lru_cache(maxsize=64)
def _each_code(form: CallForm, names: tuple[str, ...], timed: bool) -> Any:
    source = _EACH.format(
        names="".join(f", {name}" for name in names),
        body=_lines((statement.format("pointer", mark=None) for statement in form.code), 16),
        begin=_BEGIN if timed else "pass",
        end=_END if timed else "pass",
    )
    return compile(source, "<hiwire_py each>", "exec")


def bind_raw(call: Call, functype: FuncType) -> Callable[..., Any]:
    """A Python function that calls an export as the engine does it, with ids for references, and raises what
    the engine raises. For the package's own functions."""
    function = _bound(_raw_code(functype, call.form, tuple(call.names)), *call.names.values())
    function.__call_keep__ = call.keep  # type: ignore[attr-defined]
    return function


@functools.lru_cache(maxsize=64)
def _raw_code(functype: FuncType, form: CallForm, names: tuple[str, ...]) -> Any:
    params = _names(functype.params)
    lines = [statement.format(*params, mark=None) for statement in form.code]
    if len(form.results) > 1:
        lines.append(f"return ({', '.join(form.results)})")
    elif form.results:
        lines.append(f"return {form.results[0]}")
    source = _RAW.format(names=", ".join(names), params=", ".join(params), body=_lines(lines, 8))
    return compile(source, "<hiwire_py raw call>", "exec")


@functools.lru_cache(maxsize=1024)
def _host_code(functype: FuncType, form: HostForm) -> Any:
    params = _names(functype.params)
    convert = []
    if form.arguments != form.params and params:
        convert.append(f"{', '.join(params)} = {', '.join(form.arguments)}")
    for a, code in zip(params, functype.params):
        if code == EXTERNREF:
            convert += [
                f"try: {a} = {_to_object(a, 'own.objects')}",
                "except KeyError as error: raise own.space.missing(error.args[0], given) from None",
            ]
    if EXTERNREF in functype.params:
        convert.append("own.tidy()")
    count = len(functype.results)
    values = ["result"] if count == 1 else [f"r{i}" for i in range(count)]
    result = []
    if count > 1:
        result += [
            f"try: {', '.join(values)} = result",
            f"except (TypeError, ValueError): raise wrong_count(result, {count}, name) from None",
        ]
    for i, (value, code) in enumerate(zip(values, functype.results)):
        what = "the result" if count == 1 else f"result {i + 1}"
        result.append(_check(value, code, f'f"{what} of host function {{name}}"'))
    if EXTERNREF in functype.results:
        result.append("own.tidy()")  # before the first result has an id: no frame holds it yet
    given = [
        f"own.give({value})" if code == EXTERNREF else value for value, code in zip(values, functype.results)
    ]
    if not count:
        result.append("return None")
    elif form.targets is None:
        result.append(f"return {given[0] if count == 1 else '(' + ', '.join(given) + ')'}")
    else:
        result += [f"{', '.join(form.targets)} = {', '.join(given)}", "return None"]
    source = _HOST.format(
        params=", ".join(form.params),
        args=", ".join(params),
        count=len(params),
        enter="nesting[0] = counted or 1" if EXTERNREF in functype.params else "pass",
        convert=_lines(convert, 12),
        result=_lines(result, 12),
    )
    return compile(source, HOST_CODE, "exec")


class Given:
    """A host function that an instance was given. It lives as long as that."""

    __slots__ = ("__weakref__", "function", "give", "objects", "space", "tidy")

    def __init__(self, space: Any, function: Callable[..., Any]) -> None:
        self.space = space
        self.function = function
        self.objects, self.give, self.tidy = space.objects, space.ids.give, space.ids.tidy


def bind_host(given: Given, functype: FuncType, form: HostForm, name: str) -> Callable[..., Any]:
    """The function that the engine calls for a host function.

    Engines hold what they are given where Python's cycle collector cannot see it, so this holds ``given``
    weakly.
    """
    code, shown, space = _host_code(functype, form), f"{name}{functype}", given.space
    here = space.here
    return _bound(code, weakref.ref(given), shown, check_value, NULL, space.nesting, here.inside, here.raised)


def _gone(name: str) -> ClosedError:
    return ClosedError(f"the guest called {name}, but what stood behind it was closed")


def _wrong_count(result: object, count: int, name: str) -> TypeError:
    returned = type(result).__name__
    if isinstance(result, (tuple, list)):
        returned = f"a {returned} of {len(result)}"
    return TypeError(f"host function {name} must return {count} results, as a tuple or list, not {returned}")


def _told(error: BaseException, function: Callable[..., Any], count: int, name: str) -> BaseException:
    """``error``, out of a call of ``function`` with so many arguments; or a better one, if it was never begun
    because it does not take so many."""
    traceback = error.__traceback__
    if type(error) is not TypeError or traceback is None or traceback.tb_next is not None:
        return error
    if takes(function, count):
        return error
    return TypeError(
        f"host function {name} is called with {arguments(count)}, which it does not take: {error}"
    )
