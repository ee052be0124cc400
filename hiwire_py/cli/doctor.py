"""`hiwire doctor`: what of hiwire_py works on this machine, what does not, and how to get it."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from .. import __version__, cache
from ..collect import backend
from ..engines import EngineInfo, engines, get_engine, stack
from ..errors import EngineUnavailableError
from ..objects import ids
from .display import console, facts, print_json
from .options import FAILED, OK, json_option

__all__ = ["Finding", "Report", "doctor_command", "examine"]

_SUMS = "SHA256SUMS"
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


@dataclass(frozen=True)
class Report:
    """What is here. ``default_engine`` is what ``engine=None`` means, or "" when that is an error;
    ``groups`` are engines, modules, collector, cache and toolchains."""

    package: str
    python: str
    default_engine: str
    groups: dict[str, list[Finding]]

    @property
    def ok(self) -> bool:
        """Whether guests can run: an engine works, and no shipped module is damaged or missing."""
        return any(f.ok for f in self.groups["engines"]) and all(f.ok for f in self.groups["modules"])

    def as_json(self) -> dict[str, Any]:
        """The report as `json` writes it."""
        fields = asdict(self)
        groups = fields.pop("groups")
        return {"ok": self.ok, **fields, **groups}


def examine() -> Report:
    """Look at everything. Takes a second or two: the toolchains are asked for their versions."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    groups = {
        "engines": [
            Finding(i.name, i.available, i.version if i.available else i.reason, _note(i)) for i in engines()
        ],
        "modules": list(_modules()),
        "collector": [
            _compiled("types", backend.WHY_NOT_TYPES, "cycles are collected", "with types"),
            _compiled("ids", ids.WHY_NOT_COMPILED, "what guests hold is kept count of", "in C,"),
        ],
        "cache": [_cache()],
        "toolchains": list(_toolchains()),
    }
    system = f"{python} on {platform.system()} {platform.machine()}, {sys.executable}"
    return Report(__version__, system, _default_engine(), groups)


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
    sums = folder.joinpath(_SUMS)
    remedy = "install the package again; in a checkout: scripts/check_wasm.py --update"
    if not sums.is_file():
        yield Finding(_SUMS, False, f"missing, so no module can be checked; {remedy}")
        return
    for line in sums.read_text(encoding="ascii").splitlines():
        wanted, _, name = line.partition("  ")
        file = folder.joinpath(name)
        if not file.is_file():
            yield Finding(name, False, f"missing; {remedy}")
            continue
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() == wanted:
            yield Finding(name, True, f"{len(data):,} bytes, SHA-256 as in {_SUMS}")
        else:
            yield Finding(name, False, f"its SHA-256 is not the one in {_SUMS}; {remedy}")


def _toolchains() -> Iterator[Finding]:
    """What `hiwire build` could use. None is needed to run guests."""
    from ..toolchain.build import CONTAINERS, REMEDIES, TOOLCHAINS
    from ..toolchain.containers import engine
    from ..toolchain.local import local_compiler
    from ..toolchain.process import Unusable

    for name in TOOLCHAINS:
        try:
            if name in CONTAINERS:
                container = engine(name)
                container.probe()
                yield Finding(name, True, container.version)
            else:
                compiler = local_compiler(name)
                yield Finding(name, True, f"clang {compiler.release}")
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
        print_json(report.as_json())
    else:
        _show(report)
    return OK if report.ok else FAILED


def _show(report: Report) -> None:
    """What works here, group by group."""
    screen = console()
    screen.print(f"hiwire_py {report.package}, {escape(report.python)}", soft_wrap=True)
    titles = {
        "engines": f"engines (default: {report.default_engine or 'none'})",
        "modules": "modules in the package",
        "collector": "what is compiled at install",
        "cache": "cache of compiled modules",
        "toolchains": "toolchains, for hiwire build only",
    }
    for name, title in titles.items():
        screen.print(f"\n{title}", style="bold")
        screen.print(_findings(report.groups[name]))
    if not any(finding.ok for finding in report.groups["engines"]):
        screen.print("\n[bold red]No engine works[/]: install one of them to run guests.")
    elif not report.ok:
        screen.print("\n[bold red]A module of the package is damaged or missing.[/]")


def _findings(findings: Iterable[Finding]) -> Table:
    table = facts()
    for finding in findings:
        mark = "[green]yes[/]" if finding.ok else "[yellow]no[/]"
        detail = f"{finding.detail}; {finding.note}" if finding.ok and finding.note else finding.detail
        table.add_row(mark, escape(finding.name), escape(detail))
    return table
