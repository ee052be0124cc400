"""What a reader of the numbers must know: how they were taken, and which differences mean nothing."""

from __future__ import annotations

__all__ = ["METHOD", "WHY_DEDUPLICATE"]

WHY_DEDUPLICATE = """\
`hiwire_new` writes one slot and one table element, and never leaves the guest. `hiwire_new_deduplicate`
must know whether the host has an equal object, and only the host can say: a known key costs one call of a
host function, a new key a second one, which stores it. The column *of its time* is what as many calls of a
host function that does nothing take (*host call* above): the rest is Python's work in the map, and what the
table does. So the factor is not a property of the table. It is the price of a call into Python over the
price of a `new` without one: a single number for it, such as the published 50 and 100, holds for one engine
and one host. From Python, where `new` pays for a call as well, it is small."""

METHOD = """\
## How it was measured

- A number is the median over the runs, with the least and the greatest in brackets. A run repeats the
  operation for a slice of time and divides. The runs of one number are far apart: a round visits every
  variant on every engine before the next begins, so the range holds what the machine does over minutes.
- Nothing is subtracted. From Python: the call as `Hiwire` offers it, over objects that are all different,
  by `map`. `decref` goes from 2 to 1, `pop` from 1 to 0. Inside a guest: a loop in `c/guests/bench.c`, a
  module of its own, as guests are; each time holds one turn of the loop, reading the argument, and its
  share of the call from Python, all of which *loop* shows alone. With `--quick` fewer operations share that
  call.
- Growing starts with a new table each time, so few refs carry the cost of its first page, and of one call
  from Python for each size. All refs are of one object. A table that is full on the way has its last point
  there.
- Pages are those of the table's linear memory, 4 bytes a handle. The engine's own table of the
  objects comes on top, and is the same for all variants.
- Starting: *load* reads the file, which is in the system's cache; *compile* of an engine that lowers modules
  by itself has that in it, or takes what it compiled and kept before; *instantiate* makes a `Hiwire` of a
  module that is compiled already. Python's cycle collector is off while the clock runs.

## What is noise

Two numbers whose ranges overlap are the same number. Two runs of this command on one quiet machine agree
within the ranges they print; of several hundred numbers a few miss each other, most often by a little.
`--baseline` counts them, and marks as changed only those whose ranges are apart even when each is made wider
by a tenth of its median on both sides, and by a nanosecond or more. Sizes, pages and
capacities are exact. Numbers below 5 ns and those for 100 refs depend on where code and memory come to lie,
and can differ between two processes by more than within one. Other programs on the machine widen the ranges
upwards: look at the least value then. Numbers of two machines, two Pythons, or of `--quick` and a full run,
are not comparable; `--baseline` says so.
"""
