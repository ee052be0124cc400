#!/usr/bin/env python3
"""Which variant of hiwire, on which engine? Measures them side by side: `hiwire compare` from a checkout.

    scripts/compare_variants.py --quick
    scripts/compare_variants.py --json report.json --markdown report.md --plots pictures

See --help for all options. It needs the extra cli (click, rich), and plots for pictures (matplotlib).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    from hiwire_py.cli import main
except ImportError as error:
    print(
        f"compare_variants: {error}; install it with: python -m pip install '.[cli,plots]'", file=sys.stderr
    )
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
