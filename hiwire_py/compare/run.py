"""A whole comparison: every variant on every engine, round by round.

A round visits all pairs before any of them has its next run. So the range of a number says how much it
changed over the minutes of the comparison, and Ctrl-C leaves a report in which nothing is missing but runs.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..engines import EngineInfo, engines
from ..errors import HiwireError
from .findings import FORMAT, deduplicate_ratios, recommend
from .measure import Settings
from .subject import PAGE, Subject
from .variants import RequestError, Variant

__all__ = ["Progress", "compare", "find_engines"]

Progress = Callable[[float, float, str], None]
"""Takes the work done, all work, and what is going on now."""

_UNITS = {
    "statistics": "nanoseconds for each operation; startup: for each module; growth.N: for each of N refs",
    "pages": f"pages of {PAGE} bytes of the table's linear memory",
    "bytes_per_ref": "bytes of the table's linear memory; not in it: the engine's table of objects",
    "sizes": "bytes",
}


def find_engines(names: Sequence[str] | None) -> list[EngineInfo]:
    """The engines of these names, each once, available or not; None: all.

    Raises:
        RequestError: there is no such engine.
    """
    known = {info.name: info for info in engines()}
    wanted = dict.fromkeys(known if names is None else names)
    for name in wanted:
        if name not in known:
            raise RequestError(f"unknown engine {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in wanted]


def compare(
    variants: Sequence[Variant],
    wanted: Sequence[EngineInfo],
    settings: Settings,
    toolchain: str | None = None,
    progress: Progress = lambda done, total, what: None,
) -> dict[str, Any]:
    """Measure, and give the report: see docs/compare.schema.json for its form.

    KeyboardInterrupt ends the measuring, not the function: what was measured is in the report, whose
    ``complete`` is then false.

    Args:
        variants: built, or with the reason why not.
        wanted: the engines, here or not.
        settings: how much is measured.
        toolchain: what the variants were built with, for the report.
        progress: is told how far it is.
    """
    rows = [(variant, _row(variant, engine)) for variant in variants for engine in wanted]
    subjects: list[Subject] = []
    complete = True
    with tempfile.TemporaryDirectory(prefix="hiwire-compare-") as folder:
        try:
            for variant, row in rows:
                if not row["reason"]:
                    path = Path(
                        tempfile.mkdtemp(dir=folder), f"{Path(variant.name).stem}.wasm".replace(":", "-")
                    )
                    path.write_bytes(variant.wasm)
                    subjects.append(Subject(row, str(path), variant.most_refs, settings))
            _measure(subjects, settings, progress)
        except KeyboardInterrupt:
            complete = False
        finally:
            for subject in subjects:
                subject.close()
    report = {
        "format": FORMAT,
        "complete": complete,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": {
            "engines": [info.name for info in wanted],
            "variants": [variant.name for variant in variants],
            "toolchain": toolchain,
            "settings": {**asdict(settings), "sizes": list(settings.sizes)},  # as JSON gives it back
        },
        "machine": _machine(),
        "versions": {
            "hiwire_py": __version__,
            "python": platform.python_version(),
            "engines": {info.name: info.version for info in wanted if info.available},
        },
        "units": _UNITS,
        "variants": [variant.facts() for variant in variants],
        "rows": [row for _, row in rows],
    }
    report["deduplicate"] = deduplicate_ratios(report)
    report["recommendation"] = recommend(report)
    return report


def _row(variant: Variant, engine: EngineInfo) -> dict[str, Any]:
    reason = variant.reason or ("" if engine.available else f"{engine.name} is not here: {engine.reason}")
    return {
        "variant": variant.name,
        "engine": engine.name,
        "status": "impossible" if reason else "measured",
        "reason": reason,
        "growth_stopped": "",
        "statistics": {},
        "pages": {},
        "bytes_per_ref": {},
        "fragmentation": {},
        "capacity": {},
        "problems": {},
    }


def _measure(subjects: Sequence[Subject], settings: Settings, progress: Progress) -> None:
    # The weights are rough seconds; the progress bar corrects itself as it goes.
    often = (
        (Subject.start_up, 0.03),
        (Subject.python, 7 * settings.slice),
        (Subject.guest, 7 * settings.slice),
        (Subject.grow, 4e-8 * settings.sizes[-1]),
        (Subject.fragment, 6e-7 * settings.live),
    )
    in_guest = (Subject.guest, Subject.grow, Subject.fragment, Subject.fill)
    steps = [(subject, Subject.open, 0.2, "starting") for subject in subjects]
    for turn in range(1, settings.rounds + 1):
        what = f"round {turn} of {settings.rounds}"
        steps += [(subject, work, weight, what) for subject in subjects for work, weight in often]
    filling = 2e-8 * min(settings.fill, 1 << 25)
    steps += [(subject, Subject.fill, filling, "filling it up") for subject in subjects]
    total, done = sum(weight for _, _, weight, _ in steps), 0.0
    for subject, work, weight, what in steps:
        row = subject.row
        progress(done, total, f"{row['variant']} on {row['engine']}: {what}")
        if row["status"] != "impossible" and (subject.has_guest or work not in in_guest):
            try:
                work(subject)
            except Exception as error:  # whatever one engine does, the numbers of the others are kept
                reason = " ".join(str(error).split())
                if not isinstance(error, HiwireError):
                    reason = f"{type(error).__name__}: {reason}"
                if work is Subject.open:
                    row.update(status="impossible", reason=reason)
                else:
                    row["problems"][work.__name__] = reason
        done += weight


def _machine() -> dict[str, Any]:
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # not Linux
        found = re.search(r"^model name\s*:(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
        processor = found[1].strip() if found else processor
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": processor,
        "cores": os.cpu_count() or 1,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
