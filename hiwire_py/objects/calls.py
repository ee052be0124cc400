"""The functions at the boundary, made for each WebAssembly type: calls into a guest, and host functions it
calls.

A call costs a few hundred nanoseconds in all, so there is no loop over parameter types in it: the source of a
wrapper is written for its type once, compiled once, and bound to a space for each function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ..checks import arguments, takes
from ..errors import ClosedError
from ..real_threads import get_ident
from ..values import CROSSING, EXTERNREF, F32, F64, I32, I64, NULL, FuncType, check_value
from .here import DEEPEST, HOST_CODE, TOO_DEEP

__all__ = ["ForEach", "Given", "HostResultError", "bind_each", "bind_export", "bind_host"]

ForEach = Callable[[Iterable[int], Callable[[Exception], object]], int]
"""What `bind_each` makes: takes pointers, and what takes the exceptions; gives how many calls were made."""

_INTEGER_RANGES = {I32: (-(1 << 31), (1 << 31) - 1), I64: (-(1 << 63), (1 << 63) - 1)}

# `call` serves calls from outside, `nested` those from host functions, which are rarer and have more to do at
# the end. Neither may refer to itself: that would be a cycle, and keep the guest until Python's collector
# comes by. Where the thread is in a host function, of this space or another, `check` says whether it can go
# on.
# `nesting` is negative while the Python function behind a host function runs. A nested call that finds it
# positive comes from a finalizer or signal handler, which may have interrupted something: see `Ids.enter`.
_EXPORT = """\
def bind(space, gate, raw, shown, keep, get_ident, fix, NULL, too_deep):
    check, inside, nesting, explain = space.here.check, space.here.inside, space.nesting, space.explain
    ids, objects, hold, release = space.ids, space.objects, space.ids.hold, space.ids.release
    enter, unwind, exit = space.ids.enter, space.ids.unwind, space.ids.exit
    def nested({params}):
        outer = nesting[0]
        level = outer if outer > 0 else -outer
        if level >= {deepest}:
            raise RecursionError(f"{{shown}}: " + too_deep)
        check(shown)
        while True:
            mark = enter(outer > 0)
            nesting[0] = level + 1
            try:
                {body}
            except BaseException as error:
                unwind(mark)
                again = explain(error, shown, functype, ({args}))
                if again is None:
                    raise
            finally:
                nesting[0] = outer
                exit(mark)
            [{args}] = again
    def call({params}):
        if get_ident() != gate.owner:
            gate.refuse()
        if nesting[0]:
            return nested({args})
        if inside[0]:
            check(shown)
        while True:
            nesting[0] = 1
            try:
                {begin}
                {body}
            except BaseException as error:
                unwind()
                again = explain(error, shown, functype, ({args}))
                if again is None:
                    raise
            finally:
                nesting[0] = 0
                {end}
                if ids: release()
            [{args}] = again
    return call
"""

# For functions that take a pointer: one call from Python for many of the guest's. Its caller does what
# belongs to the beginning and the end; each of the guest's calls is timed by itself.
_EACH = """\
def bind(space, gate, raw, shown, keep):
    explain, unwind = space.explain, space.ids.unwind
    def each(pointers, failed):
        done = 0
        for pointer in pointers:
            if gate.owner is None:
                continue
            done += 1
            try:
                {begin}
                raw(pointer)
            except BaseException as error:
                unwind()
                try:
                    explain(error, shown, functype, (pointer,))
                    raise
                except Exception as explained:
                    failed(explained)
            finally:
                {end}
        return done
    return each
"""

_HOST = """\
def bind(own_ref, name, fix, NULL, gone, nesting, inside):
    def host({params}):
        own = own_ref()
        if own is None:
            raise gone(name)
        counted = nesting[0]  # 0 where the engine made the call that led here the short way
        level = inside[0]
        {enter}
        try:
            inside[0] = level + 1
            {convert}
            nesting[0] = -counted or -1
            result = own.function({args})
            {result}
        except TypeError as error:
            space = own.space
            space.failures.raised = wrong_arity(error, own.function, {count}, name)
            if space.failures.raised is error:  # in a local variable it would be a cycle
                raise
            raise space.failures.raised from error
        except BaseException as error:
            own.space.failures.raised = error
            raise
        finally:
            nesting[0] = counted
            inside[0] = level
    return host
"""

_BEGIN, _END = "space.store.begin()", "space.store.end()"  # where calls have a deadline or fuel


class HostResultError(TypeError):
    """A host function returned what its WebAssembly type does not allow."""


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


def _to_object(id_: str, objects: str = "objects") -> str:
    """Code that turns an id into its object."""
    return f"{objects}[{id_}] if {id_} else NULL"


def _lines(statements: list[str], indent: int) -> str:
    """As one piece of source."""
    return ("\n" + " " * indent).join(statements) if statements else "pass"


@functools.lru_cache(maxsize=1024)
def _export_code(functype: FuncType, timed: bool, engine_checks_integers: bool) -> Any:
    params = [f"a{i}" for i in range(len(functype.params))]
    body = []
    for i, (a, code) in enumerate(zip(params, functype.params)):
        if not (engine_checks_integers and code in _INTEGER_RANGES):
            body.append(_check(a, code, f'f"argument {i + 1} of {{shown}}"'))
    body += [
        _check("None", code, 'f"the result of {shown}"') for code in functype.results if code not in CROSSING
    ]
    given = [f"hold({a})" if code == EXTERNREF else a for a, code in zip(params, functype.params)]
    call = f"raw({', '.join(given)})"
    if functype.results == bytes((EXTERNREF,)):
        body += [f"r = {call}", "return " + _to_object("r")]
    elif len(functype.results) > 1:
        results = [f"r{i}" for i in range(len(functype.results))]
        body.append(f"{', '.join(results)} = {call}")
        objects = [
            f"({_to_object(r)})" if code == EXTERNREF else r for r, code in zip(results, functype.results)
        ]
        body.append(f"return ({', '.join(objects)})")
    else:
        body += [f"return {call}"]
    source = _EXPORT.format(
        params=", ".join([*params, "/"] if params else []),
        args="".join(f"{a}, " for a in params),
        body=_lines([line for line in body if line], 16),
        deepest=DEEPEST,
        begin=_BEGIN if timed else "pass",
        end=_END if timed else "pass",
    )
    return compile(source, "<hiwire_py export>", "exec")


def bind_export(
    space: Any, gate: Any, raw: Callable[..., Any], functype: FuncType, name: str, keep: object
) -> Callable[..., Any]:
    """A Python function that calls a guest's export.

    Args:
        space: whose instance exports it.
        gate: says which thread may call, and whether the guest is still open.
        raw: the engine's callable.
        functype: the type before lowering.
        name: for errors.
        keep: kept alive as long as the function: what the instance needs.
    """
    names: dict[str, Any] = {"functype": functype}
    exec(_export_code(functype, space.timed, space.engine.checks_integers), names)
    function: Callable[..., Any] = names["bind"](
        space, gate, raw, f"{name}()", keep, get_ident, check_value, NULL, TOO_DEEP
    )
    quick = getattr(raw, "__quick__", None)
    if quick is not None:
        function = quick(space, gate, function, functype, f"{name}()")
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The guest's export {name}{functype}."
    function.__keep__ = keep  # type: ignore[attr-defined]
    return function


def bind_each(
    space: Any, gate: Any, raw: Callable[..., Any], functype: FuncType, name: str, keep: object
) -> ForEach:
    """A Python function that calls a guest's export for each of some pointers, and drops the results.

    It is called within `Calls.as_one_call`, with the pointers, as signed integers, and a function that takes
    the exception of each call that fails; it returns how many calls were made: none after the guest was
    closed.

    Args:
        functype: takes a pointer, and no references pass.
        space, gate, raw, name, keep: as of `bind_export`.
    """
    names: dict[str, Any] = {"functype": functype}
    exec(_each_code(space.timed), names)
    function: ForEach = names["bind"](space, gate, raw, f"{name}()", keep)
    return function


@functools.lru_cache(maxsize=2)
def _each_code(timed: bool) -> Any:
    source = _EACH.format(begin=_BEGIN if timed else "pass", end=_END if timed else "pass")
    return compile(source, "<hiwire_py each>", "exec")


@functools.lru_cache(maxsize=1024)
def _host_code(functype: FuncType) -> Any:
    params = [f"a{i}" for i in range(len(functype.params))]
    convert = []
    for a, code in zip(params, functype.params):
        if code == EXTERNREF:
            convert += [
                f"try: {a} = {_to_object(a, 'own.objects')}",
                "except KeyError as error: raise own.space.missing(error.args[0], given) from None",
            ]
    if convert:
        convert.append("own.tidy()")
    what = 'f"the result of host function {name}"'
    if not functype.results:
        result = ["return None"]
    elif len(functype.results) == 1:
        code = functype.results[0]
        result = [
            _check("result", code, what),
            "return " + ("own.give(result)" if code == EXTERNREF else "result"),
        ]
    else:
        count = len(functype.results)
        values = [f"r{i}" for i in range(count)]
        result = [
            f"try: {', '.join(values)} = result",
            f"except (TypeError, ValueError): raise wrong_count(result, {count}, name) from None",
        ]
        result += [
            _check(r, code, f'f"result {i + 1} of host function {{name}}"')
            for i, (r, code) in enumerate(zip(values, functype.results))
        ]
        given = [f"own.give({r})" if code == EXTERNREF else r for r, code in zip(values, functype.results)]
        result.append(f"return ({', '.join(given)})")
    if EXTERNREF in functype.results:
        result.insert(-1, "own.tidy()")  # before the first result has an id: no frame holds it yet
    source = _HOST.format(
        params=", ".join(params),
        args=", ".join(params),
        count=len(params),
        enter="nesting[0] = counted or 1" if convert else "pass",
        convert=_lines(convert, 12),
        result=_lines([line for line in result if line], 12),
    )
    return compile(source, HOST_CODE, "exec")


class Given:
    """A host function that an instance was given. It lives as long as that."""

    __slots__ = ("__weakref__", "function", "give", "objects", "space", "tidy")

    def __init__(self, space: Any, function: Callable[..., Any]) -> None:
        self.space = space
        self.function = function
        self.objects, self.give, self.tidy = space.objects, space.ids.give, space.ids.tidy


def bind_host(
    given_ref: Callable[[], Given | None],
    functype: FuncType,
    name: str,
    nesting: list[int],
    inside: list[int],
) -> Callable[..., Any]:
    """The function to give to the engine for a host function.

    Engines hold what they are given where Python's cycle collector cannot see it, so this holds ``Given``
    weakly. ``nesting`` is its space's, and ``inside`` that of the space's `Here`.
    """
    shown = f"{name}{functype}"
    names: dict[str, Any] = {
        "wrong_count": _wrong_count,
        "wrong_arity": _wrong_arity,
        "given": f"host function {shown} was given",
    }
    exec(_host_code(functype), names)
    function: Callable[..., Any] = names["bind"](given_ref, shown, check_value, NULL, _gone, nesting, inside)
    return function


def _gone(name: str) -> ClosedError:
    return ClosedError(f"the guest called {name}, but what stood behind it was closed")


def _wrong_count(result: object, count: int, name: str) -> HostResultError:
    returned = type(result).__name__
    if isinstance(result, (tuple, list)):
        returned = f"a {returned} of {len(result)}"
    return HostResultError(
        f"host function {name} must return {count} results, as a tuple or list, not {returned}"
    )


def _wrong_arity(error: TypeError, function: Callable[..., Any], count: int, name: str) -> TypeError:
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
