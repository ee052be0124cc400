#!/usr/bin/env python3
"""What components cost on each engine, against the support for them in wasmtime's own package.

Prints one line for each measurement, as scripts/bench.py does. The other side is `wasmtime.component`,
whatever the engine of ours is, with the concurrency switched off that its components could have: both sides
run the same bytes, in one process, in turn. Only of fused components the other side is the same component,
linked.

    scripts/bench_components.py                            all but what takes minutes
    scripts/bench_components.py --full --json all.json     all, and each run's numbers in a file
    scripts/bench_components.py --only handles             one subject
    scripts/bench_components.py --table all.json           the table of docs/components_performance.md

Subjects:
"""

from __future__ import annotations

import sys

from benchmarks import command, components, large_components

SUBJECTS: command.Subjects = {
    "handles": components.handles,
    "python": components.from_python,
    "strings": components.strings,
    "lists": components.lists,
    "instances": components.instances,
    "fused": components.fused,
}
LONG: command.Subjects = {"large": large_components.starts}


if __name__ == "__main__":
    sys.exit(command.run(str(__doc__), SUBJECTS, LONG))
