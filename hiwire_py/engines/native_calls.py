"""Calls across the boundary of the native engine: of exports, and of host functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..lowering.module import FUNCTION, Module
from ..values import F32, F64, I32, I64, FuncType, type_name
from .native_source import crosses, host_name

__all__ = ["NativeTrap", "bind_caller", "define_hosts"]

# HW_* of native_runtime.h.
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
_TRAPPED = 1 << 40
_LETTERS = {I32: "i", I64: "j", F32: "f", F64: "d"}

_raised = threading.local()


class NativeTrap(Exception):
    """A trap. ``kind`` is its short name."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    @classmethod
    def of(cls, why: int) -> BaseException:
        """The exception for a code of native_runtime.h."""
        why &= _TRAPPED - 1
        if why == _HOST_RAISED:
            error: BaseException = _raised.error
            del _raised.error
            return error
        if why == _NO_MEMORY:
            return MemoryError("no memory for what the module declares: its memories and tables")
        return cls(_KINDS.get(why, f"trap {why}"))


_CALLER = """\
def bind(entry, instance, address, fail, new):
    def call({params}):
        {call}
    return call
"""


def bind_caller(instance: Any, index: int, functype: FuncType) -> Callable[..., Any]:
    """A function that calls an export, and keeps its instance."""
    if not crosses(functype):
        names = ", ".join(
            type_name(code) for code in functype.params + functype.results if code not in _LETTERS
        )

        def refuse(*args: Any) -> Any:
            raise TypeError(
                f"the function has parameters or results of {names}, which cannot cross to Python"
            )

        return refuse
    params = [f"a{i}" for i in range(len(functype.params))]
    given = ", ".join(["address", *params])
    if functype.results == bytes((I32,)):
        call = [f"r = entry({given})", f"if r > {(1 << 31) - 1}: fail(r)", "return r"]
    elif not functype.results:
        call = [f"r = entry({given})", "if r: fail(r)"]
    else:
        call = [
            f"out = new('hw_value[{len(functype.results)}]')",
            f"r = entry({given}, out)",
            "if r: fail(r)",
        ]
        values = [f"out[{i}].{_LETTERS[code]}" for i, code in enumerate(functype.results)]
        call.append(f"return {values[0]}" if len(values) == 1 else f"return ({', '.join(values)})")
    source = _CALLER.format(params=", ".join(params), call="\n        ".join(call))
    names_: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, "<hiwire_py native call>", "exec"), names_)
    library = instance.library
    bound: Callable[..., Any] = names_["bind"](
        getattr(library.lib, f"enter_{index}"), instance, instance.address, _fail, library.ffi.new
    )
    bound.__keep_alive__ = instance  # type: ignore[attr-defined]
    return bound


def _fail(why: int) -> None:
    raise NativeTrap.of(why)


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
