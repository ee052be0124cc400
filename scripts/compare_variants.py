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

from hiwire_py.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "compare")
    sys.exit(main())
