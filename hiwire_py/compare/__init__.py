"""`hiwire compare`: measures the variants of hiwire on the engines that are here.

variants          what is compared, and how it comes to be
measure, subject  the clock, and what is done while it runs
run               a whole comparison, as a report: values that JSON can hold (docs/compare.schema.json)
findings          what follows from the numbers of one report, or of two
report, plots     a report as tables of text, as Markdown and as pictures, and where they go
"""

from __future__ import annotations

from .findings import compare_reports, read_report
from .measure import Settings
from .report import Outputs, markdown
from .run import Request, compare, find_engines, request
from .variants import COMPILERS, DEFAULT_VARIANTS, RequestError

__all__ = [
    "COMPILERS",
    "DEFAULT_VARIANTS",
    "Outputs",
    "Request",
    "RequestError",
    "Settings",
    "compare",
    "compare_reports",
    "find_engines",
    "markdown",
    "read_report",
    "request",
]
