"""`hiwire run`: calls one exported function of a module with arguments from the command line. Components:
run_component.py."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..checks import arguments as in_words
from ..components.decode import is_component
from ..components.fused import is_fused
from ..engines import GuestLimits
from ..errors import GuestExit, HiwireError
from ..guest import Guest
from ..hiwire import Hiwire
from ..sources import VARIANTS
from ..values import EXTERNREF, F32, F64, I32, I64, NULL, check_value, type_name
from ..wasi import Wasi
from ..wasm.module import FUNCTION, Module
from .options import DIRECTORY, INPUT, OK, engine_option, limit_options
from .run_component import run_component

__all__ = ["run_command"]


def run_export(
    wasm: bytes, export: str, arguments: Sequence[str], options: Mapping[str, Any], variant: str
) -> list[Any]:
    """Instantiate a module, and call one export; the results, as many as the export has.

    A module that imports hiwire functions gets a table of the variant, which takes equal objects for the
    same. Other imports cannot be provided here.

    Args:
        options: the engine, and limits of what runs.

    Raises:
        click.UsageError: there is no such function, or the arguments do not fit it.
        HiwireError: the module cannot run, or trapped, or Python code that it called raised.
    """
    module = Module.parse(wasm)
    functions = module.exported(FUNCTION)
    if _is_table(module):
        functions = {name: index for name, index in functions.items() if name.startswith("hiwire_")}
    if export not in functions:
        known = ", ".join(sorted(functions)) or "none"
        raise click.UsageError(f"the module exports no function {export!r}; its functions are: {known}")
    functype = module.function_type(functions[export])
    if len(arguments) != len(functype.params):
        wanted = in_words(len(functype.params))
        raise click.UsageError(f"{export}{functype} takes {wanted}, not {len(arguments)}")
    values = [
        parse_argument(text, code, f"argument {number} of {export}")
        for number, (text, code) in enumerate(zip(arguments, functype.params), 1)
    ]
    call = _instantiate(module, options, variant)
    try:
        result = call[export](*values)
    except HiwireError:
        raise
    except Exception as error:
        raise HiwireError(f"{export} raised {type(error).__name__}: {error}") from error
    if not functype.results:
        return []
    return list(result) if len(functype.results) > 1 else [result]


def _instantiate(module: Module, options: Mapping[str, Any], variant: str) -> Mapping[str, Any]:
    """The functions of an instance, which they keep alive."""
    of_table = {name: value for name, value in options.items() if name != "table_limit"}
    if _is_table(module):
        return Hiwire(module.wasm, identity="equality", **of_table).exports
    if not any(i.module in ("env", "hiwire") and i.name.startswith("hiwire_") for i in module.imports):
        return Guest(module.wasm, **options).exports
    # Limits are those of the space, which is the table's.
    return Guest(module.wasm, hiwire=Hiwire(variant, identity="equality", **of_table)).exports


def _is_table(module: Module) -> bool:
    """Whether it is a module of hiwire itself, whose host functions `Hiwire` brings."""
    return {"hiwire_new", "hiwire_get"} <= module.exported(FUNCTION).keys()


def parse_argument(text: str, code: int, what: str) -> Any:
    """One argument: a Python integer (``0x10`` too) or float; for externref a Python literal (``null`` is the
    null externref), and text that is no literal stands for itself.

    Raises:
        click.UsageError: the text is no value of that type; ``what`` names it in the message.
    """
    try:
        if code in (I32, I64):
            return check_value(int(text, 0), code, what)
        if code in (F32, F64):
            return float(text)
    except OverflowError as error:
        raise click.UsageError(str(error)) from None
    except ValueError:
        kind = "an integer" if code in (I32, I64) else "a number"
        raise click.UsageError(f"{what} must be {kind} ({type_name(code)}), not {text!r}") from None
    if code != EXTERNREF:
        raise click.UsageError(f"{what} is of type {type_name(code)}, which cannot come from a command line")
    if text == "null":
        return NULL
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _system(read: Sequence[str], write: Sequence[str], env: Sequence[str]) -> dict[str, Any]:
    """What a program for WASI is given: see `Wasi`."""
    if wrong := [one for one in env if not one.partition("=")[1]]:
        raise click.UsageError(f"--env wants NAME=VALUE, not {wrong[0]!r}")
    files = {os.path.abspath(path): Wasi.directory(path) for path in read}
    files.update({os.path.abspath(path): Wasi.directory(path, write=True) for path in write})
    streams = {"stdin": sys.stdin.buffer, "stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    return {"env": dict(one.split("=", 1) for one in env), "files": files, **streams}


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("module", type=INPUT)
@click.argument("words", nargs=-1, metavar="EXPORT [ARG]...", type=click.UNPROCESSED)
@engine_option
@limit_options
@click.option("--variant", type=click.Choice(VARIANTS), default="extern_realloc", show_default=True,
              help="Of the handle table, if the module imports one.")  # fmt: skip
@click.option("--dir", "read", metavar="PATH", type=DIRECTORY, multiple=True,
              help="Open a directory for a program for WASI; it may read.")  # fmt: skip
@click.option("--dir-write", "write", metavar="PATH", type=DIRECTORY, multiple=True,
              help="The same; it may write as well.")  # fmt: skip
@click.option("--env", metavar="NAME=VALUE", multiple=True, help="Give it a variable.")
def run_command(
    module: Path,
    words: tuple[str, ...],
    variant: str,
    read: tuple[str, ...],
    write: tuple[str, ...],
    env: tuple[str, ...],
    **options: Any,
) -> int:
    """Call one exported function of MODULE and print its results.

    Each ARG is read as its parameter's type says: an integer, a number, or for externref a Python literal.
    Text that is no literal stands for itself; null is the null externref. Results are printed one a line in
    the same form.

    Of a component, fused or not, EXPORT is a function, or interface#function, and values are in WAVE: 1,
    'x', "text", [1, 2], (1, "a"), {x: 1}, case(1), some(1), none, ok(1), err("why"), {flag-a, flag-b}.

    A program for WASI, which exports wasi:cli/run, is run when no EXPORT is given, with the standard streams
    of this process; if it exports nothing else, all that follow are its arguments (behind -- also those that
    are options here). Its exit status is that of this command.

    \b
    Examples:
        hiwire run add.wasm add 1 -2
        hiwire run echo.wasm echo "{'a': [1, 2]}"
        hiwire run --engine wasmtime hiwire-static_pages.wasm hiwire_new hello
        hiwire run --deadline 2 app.wasm demo:geometry/shapes#area "{x: 1.5, y: 2}"
        hiwire run --dir . app.wasm an-argument
    """
    wasm = module.read_bytes()
    given = {name: value for name, value in options.items() if value is not None}
    try:
        GuestLimits(**{name: value for name, value in given.items() if name != "engine"})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if is_component(wasm) or is_fused(wasm):
        try:
            for line in run_component(module.name, wasm, words, given, _system(read, write, env)):
                click.echo(line)
        except GuestExit as exited:
            return exited.code
        return OK
    if not words:
        raise click.UsageError("Missing argument 'EXPORT'.")
    for value in run_export(wasm, words[0], words[1:], given, variant):
        click.echo("null" if value is NULL else repr(value))
    return OK
