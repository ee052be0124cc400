#!/usr/bin/env python3
"""What calls, handles and lowering cost on each engine, against plain packages and bare table instructions.

Prints one line for each measurement: the ratio first, then both sides as median (smallest..largest) of
several runs. Times are of the processor. The sides of a ratio take turns in one process, so that what else
the machine does meets both alike. What is not here, an engine or a module of others, has a line that says
so.

    scripts/bench.py                            all but what takes minutes
    scripts/bench.py --full --json all.json     all, and each run's numbers in a file
    scripts/bench.py --only guest --only lives  two subjects
    scripts/bench.py --only modules             lowering on modules of others, which npm fetches once
    scripts/bench.py --table all.json           the numbers in that file as the table of docs/performance.md

Subjects:
"""

from __future__ import annotations

import sys

from benchmarks import command, from_python, in_guests, lowerings, starts

SUBJECTS: command.Subjects = {
    "wasmtime": from_python.calls_on_wasmtime,
    "wasmer": from_python.calls_on_wasmer,
    "native": from_python.native_get,
    "lives": from_python.lives,
    "guest": in_guests.inside_the_guest,
    "releases": in_guests.releases,
    "lowering": lowerings.lowering,
}
LONG: command.Subjects = {
    "modules": lowerings.foreign_modules,
    "starts": starts.later_starts,
    "all-handles": in_guests.all_the_handles,
}


if __name__ == "__main__":
    sys.exit(command.run(str(__doc__), SUBJECTS, LONG))
