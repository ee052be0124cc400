"""`hiwire doctor`: what of hiwire_py works on this machine, what does not, and how to get it."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import click
from rich.markup import escape

from .. import __version__, cache
from ..collect import backend
from ..engines import EngineInfo, engines, get_engine, stack
from ..errors import EngineUnavailableError
from ..objects import ids
from ..toolchain.build import CONTAINERS, REMEDIES, SUMS, TOOLCHAINS
from ..toolchain.containers import engine
from ..toolchain.local import local_compiler
from ..toolchain.process import Unusable
from .display import console, facts, print_json
from .options import FAILED, OK, json_option

__all__ = ["Finding", "doctor_command", "examine"]

_WITHOUT_GUARD = (
    "its guard of host functions was not compiled at install, which takes a C compiler: the stack's end is"
    " watched {}, and a daemon thread that is in a host function at exit aborts the process (docs/limits.md)"
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: of the thing.
        ok: whether it works.
        detail: its version or size; where it does not work, why, and how to get it.
        note: what one should know about it all the same.
    """

    name: str
    ok: bool
    detail: str
    note: str = ""


def examine() -> dict[str, Any]:
    """Look at everything. Takes a second or two: the toolchains are asked for their versions.

    Returns:
        What ``--json`` prints. ``ok``: guests can run, as an engine works, and no module of the package is
        damaged or missing; ``default_engine``: what ``engine=None`` means, or "" when that is an error; and
        lists of Findings.
    """
    system = f"{platform.system()} {platform.machine()}, {sys.executable}"
    here = [Finding(i.name, i.available, i.version if i.available else i.reason, _note(i)) for i in engines()]
    modules = list(_modules())
    return {
        "ok": any(one.ok for one in here) and all(one.ok for one in modules),
        "package": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} on {system}",
        "default_engine": _default_engine(),
        "engines": here,
        "modules": modules,
        "collector": [
            _compiled("types", backend.WHY_NOT_TYPES, "cycles are collected", "with types"),
            _compiled("ids", ids.WHY_NOT_COMPILED, "what guests hold is kept count of", "in C,"),
        ],
        "cache": [_cache()],
        "toolchains": list(_toolchains()),
    }


def _note(info: EngineInfo) -> str:
    """What one should know about an engine, and the way it is called."""
    if info.name == "wasmer" and info.available and not stack.COMPILED:
        return f"{info.note}; {_WITHOUT_GUARD.format('through ctypes' if stack.SEEN else 'by nobody')}"
    if not info.mode:
        return info.note
    return f"{info.note}; called through {info.mode}" + (f" ({info.mode_reason})" if info.mode_reason else "")


def _compiled(name: str, why_not: str, what: str, how: str) -> Finding:
    """What is done in C where that could be compiled, and else in Python: docs/cycles.md."""
    if not why_not:
        return Finding(name, True, f"{what} {how} compiled at install")
    remedy = "with a C compiler here, install hiwire_py from its source"
    return Finding(name, False, f"{what} in Python, several times slower: {why_not}; {remedy}")


def _cache() -> Finding:
    """What was compiled by earlier processes: docs/cache.md."""
    try:
        return Finding("cache", True, cache.describe())
    except cache.CacheError as e:
        return Finding("cache", False, f"modules are compiled in each process: {e}")


def _default_engine() -> str:
    try:
        return get_engine().name
    except EngineUnavailableError:
        return ""


def _modules() -> Iterator[Finding]:
    """The modules of the package, compared with their SHA-256 sums."""
    folder = resources.files("hiwire_py").joinpath("modules")
    sums = folder.joinpath(SUMS)
    remedy = "install the package again; in a checkout: scripts/check_wasm.py --update"
    if not sums.is_file():
        yield Finding(SUMS, False, f"missing, so no module can be checked; {remedy}")
        return
    for line in sums.read_text(encoding="ascii").splitlines():
        wanted, _, name = line.partition("  ")
        file = folder.joinpath(name)
        if not file.is_file():
            yield Finding(name, False, f"missing; {remedy}")
        elif hashlib.sha256(data := file.read_bytes()).hexdigest() == wanted:
            yield Finding(name, True, f"{len(data):,} bytes, SHA-256 as in {SUMS}")
        else:
            yield Finding(name, False, f"its SHA-256 is not the one in {SUMS}; {remedy}")


def _toolchains() -> Iterator[Finding]:
    """What `hiwire build` could use. None is needed to run guests."""
    for name in TOOLCHAINS:
        try:
            if name in CONTAINERS:
                container = engine(name)
                container.probe()
                yield Finding(name, True, container.version)
            else:
                yield Finding(name, True, f"clang {local_compiler(name).release}")
        except Unusable as reason:
            yield Finding(name, False, f"{reason}; {REMEDIES[name]}")


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> int:
    """Show what is here, what is missing, and how to get it.

    The exit code is 0 if at least one engine works and the modules of the package are whole, else 1.
    Toolchains may be missing: only hiwire build needs one.

    \b
    Examples:
        hiwire doctor
        hiwire doctor --json
    """
    report = examine()
    if as_json:
        print_json(report)
    else:
        _show(report)
    return OK if report["ok"] else FAILED


def _show(report: dict[str, Any]) -> None:
    """What works here, group by group."""
    screen = console()
    screen.print(f"hiwire_py {report['package']}, {escape(report['python'])}", soft_wrap=True)
    titles = {
        "engines": f"engines (default: {report['default_engine'] or 'none'})",
        "modules": "modules in the package",
        "collector": "what is compiled at install",
        "cache": "cache of compiled modules",
        "toolchains": "toolchains, for hiwire build only",
    }
    for name, title in titles.items():
        screen.print(f"\n{title}", style="bold")
        table = facts()
        for finding in report[name]:
            mark = "[green]yes[/]" if finding.ok else "[yellow]no[/]"
            detail = f"{finding.detail}; {finding.note}" if finding.ok and finding.note else finding.detail
            table.add_row(mark, escape(finding.name), escape(detail))
        screen.print(table)
    if not any(one.ok for one in report["engines"]):
        screen.print("\n[bold red]No engine works[/]: install one of them to run guests.")
    elif not report["ok"]:
        screen.print("\n[bold red]A module of the package is damaged or missing.[/]")
