"""`hiwire compare`: measures the variants of hiwire on the engines that are here.

variants, build   what is compared, and how it comes to be
measure, subject  the clock, and what is done while it runs
run               a whole comparison, as a report
recommend         what follows from the numbers
baseline          the report of another day
report, method    Markdown and JSON, and what readers must know
table, plots      the terminal, pictures
files             the report into files, checked before the first measurement
"""

from __future__ import annotations

from .baseline import compare_reports, read_report
from .build import COMPILERS
from .files import Outputs
from .measure import Settings
from .report import as_json, markdown
from .run import Request, compare, find_engines, request
from .variants import DEFAULT_VARIANTS, KNOWN_VARIANTS

__all__ = [
    "COMPILERS",
    "DEFAULT_VARIANTS",
    "KNOWN_VARIANTS",
    "Outputs",
    "Request",
    "Settings",
    "as_json",
    "compare",
    "compare_reports",
    "find_engines",
    "markdown",
    "read_report",
    "request",
]
