"""Calls across the boundary of the native engine: of exports, and of host functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...errors import WrongThreadError
from ...real_threads import local
from ...values import EXTERNREF, F32, F64, I32, I64, NULL, FuncType, type_name
from ...wasm.module import FUNCTION, Module
from .source import crosses, host_name

__all__ = ["NativeTrap", "bind_caller", "define_hosts"]

# HW_* of runtime.h.
_HOST_RAISED, _NO_MEMORY = 10, 11
_KINDS = {
    1: "unreachable",
    2: "integer divide by zero",
    3: "integer overflow",
    4: "invalid conversion to integer",
    5: "out of bounds memory access",
    6: "out of bounds table access",
    7: "uninitialized element",
    8: "indirect call type mismatch",
    9: "call stack exhausted",
}
_TRAPPED, _PENDING, _REFUSED = 1 << 40, 1 << 41, 1 << 42
_LETTERS = {I32: "i", I64: "j", F32: "f", F64: "d"}

_raised = local()


class NativeTrap(Exception):
    """A trap. ``kind`` is its short name."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    @classmethod
    def of(cls, why: int) -> BaseException:
        """The exception for a code of runtime.h."""
        why &= _TRAPPED - 1
        if why == _HOST_RAISED:
            error: BaseException = _raised.error
            del _raised.error
            return error
        if why == _NO_MEMORY:
            return MemoryError("no memory for what the module declares: its memories and tables")
        return cls(_KINDS.get(why, f"trap {why}"))


_CALLER = """\
def bind(entry, instance, address, late, new):
    def call({params}):
        {call}
    return call
"""

# For calls that make no externref, and whose result is an i32 or none: C has checked thread and arguments,
# and says whether there is anything to do afterwards. Host functions count the depth themselves.
# `general` sees to gates that are not open: closed (None), or held while cycles are looked for (0).
_QUICK = """\
def bind(space, gate, entry, address, general, finish, NULL):
    objects, ids, nesting, inside = space.objects, space.ids, space.nesting, space.here.inside
    def call({params}):
        if not gate.owner or nesting[0] or inside[0] {classes}:
            return general({args})
        try:
            r = entry({given})
        except OverflowError:
            return general({args})
        if r > 0x7FFFFFFF or ids:
            if r >= {refused}:
                return general({args})
            return finish(space, r, ({tuple}))
        {result}
    return call
"""


def bind_caller(instance: Any, slot: int, functype: FuncType) -> Callable[..., Any]:
    """A function that calls an export, and keeps its instance."""
    if not crosses(functype):
        codes = functype.params + functype.results
        names = ", ".join(type_name(code) for code in codes if code not in _LETTERS)

        def refuse(*args: Any) -> Any:
            raise TypeError(f"the function has values of type {names}, which cannot cross to Python")

        return refuse
    params = [f"a{i}" for i in range(len(functype.params))]
    given = ", ".join(["address", *params])
    if functype.results == bytes((I32,)):
        call = [f"r = entry({given})", "return r if r <= 0x7FFFFFFF else late(r)"]
    elif not functype.results:
        call = [f"r = entry({given})", "if r: late(r)"]
    else:
        count = len(functype.results)
        call = [f"out = new('hw_value[{count}]')", f"r = entry({given}, out)", "if r: late(r)"]
        values = [f"out[{i}].{_LETTERS[code]}" for i, code in enumerate(functype.results)]
        call.append(f"return {values[0]}" if len(values) == 1 else f"return ({', '.join(values)})")
    source = _CALLER.format(params=", ".join(params), call="\n        ".join(call))
    library = instance.library
    entry = getattr(library.lib, f"enter_{slot}")
    bound = _bind(source, entry, instance, instance.address, _late, library.ffi.new)
    bound.__keep_alive__ = instance  # type: ignore[attr-defined]
    bound.__quick__ = functools.partial(_bind_quick, entry, instance.address)  # type: ignore[attr-defined]
    return bound


def _bind_quick(
    entry: Any,
    address: Any,
    space: Any,
    gate: Any,
    general: Callable[..., Any],
    functype: FuncType,
    shown: str,
) -> Callable[..., Any]:
    """A faster form of ``general``, the function that Python calls for an export of that type, if it has one.

    ``general`` keeps the instance, and serves all calls that are out of the ordinary before they have begun.
    """
    if EXTERNREF in functype.params or functype.results not in (b"", bytes((I32,)), bytes((EXTERNREF,))):
        return general
    params = [f"a{i}" for i in range(len(functype.params))]
    kinds = {I32: "int", I64: "int", F32: "float", F64: "float"}
    checks = (f"or {a}.__class__ is not {kinds[code]}" for a, code in zip(params, functype.params))
    if EXTERNREF in functype.results:
        result = """try: return objects[r] if r else NULL
        except KeyError: return finish(space, r, ())"""
    else:
        result = "return r"
    source = _QUICK.format(
        params=", ".join([*params, "/"] if params else []),
        args=", ".join(params),
        tuple="".join(f"{a}, " for a in params),
        given=", ".join(["address", *params]),
        classes=" ".join(checks),
        refused=_REFUSED,
        result=result if functype.results else "",
    )

    def finish(space: Any, r: int, args: tuple[Any, ...]) -> Any:
        nesting = space.nesting
        nesting[0] = 1
        try:
            if r > 0 and r & _TRAPPED:
                raise NativeTrap.of(r)
            number = _signed(r)
            if EXTERNREF in functype.results:  # before what is pending may release it
                return space.objects[number] if number else NULL
            return number if functype.results else None
        except BaseException as error:
            space.ids.unwind()  # the trap left the counted locals of its frames behind
            space.explain(error, shown, functype, args)
            raise
        finally:
            nesting[0] = 0
            space.leave()

    def with_general(general: Callable[..., Any]) -> Callable[..., Any]:
        return _bind(source, space, gate, entry, address, general, finish, NULL)

    bound = with_general(general)
    bound.__with_general__ = with_general  # type: ignore[attr-defined]
    return bound


def _bind(source: str, *values: Any) -> Callable[..., Any]:
    names: dict[str, Any] = {"__name__": __name__}
    exec(_compile(source), names)
    bound: Callable[..., Any] = names["bind"](*values)
    return bound


@functools.lru_cache(maxsize=1024)
def _compile(source: str) -> Any:
    return compile(source, "<hiwire_py native call>", "exec")


def _signed(r: int) -> int:
    if r <= 0x7FFFFFFF:
        return r
    r &= 0xFFFFFFFF
    return r - (1 << 32) if r >> 31 else r


def _late(r: int) -> int:
    """What an entry returned that is no i32."""
    if r & _PENDING:
        return _signed(r)
    if r & _REFUSED:
        if r & 1:
            raise WrongThreadError("the guest belongs to another thread, which has ended")
        raise OverflowError("an integer does not fit i32")
    raise NativeTrap.of(r)


_HOST = """\
def make(hosts):
    def host(number, {params}):
        {body}
    return host
"""


def define_hosts(library: Any, module: Module, hosts: dict[int, Callable[..., Any]]) -> None:
    """Let a library's guests call ``hosts[number]``. Once for each library."""
    if getattr(library, "hosts_are_defined", False):
        return

    def onerror(kind: object, error: BaseException, traceback: object) -> None:
        _raised.error = error
        library.lib.hw_fail()

    defined = set()
    for wanted in module.imports:
        if wanted.kind != FUNCTION or not isinstance(wanted.type, FuncType) or not crosses(wanted.type):
            continue
        name = host_name(wanted.type)
        if name not in defined:
            defined.add(name)
            library.ffi.def_extern(name=name, onerror=onerror)(_host(wanted.type, hosts))
    library.hosts_are_defined = True


def _host(functype: FuncType, hosts: dict[int, Callable[..., Any]]) -> Callable[..., Any]:
    params = [f"a{i}" for i in range(len(functype.params))]
    call = f"hosts[number]({', '.join(params)})"
    if len(functype.results) > 1:
        values = [f"results[{i}].{_LETTERS[code]}" for i, code in enumerate(functype.results)]
        params.append("results")
        body = f"{', '.join(values)} = {call}"
    else:
        body = f"return {call}"
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(_HOST.format(params=", ".join(params), body=body), "<hiwire_py native host>", "exec"), names)
    made: Callable[..., Any] = names["make"](hosts)
    return made
