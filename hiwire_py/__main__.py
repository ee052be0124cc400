"""The command `hiwire`, also as ``python -m hiwire_py``. Its dependencies come with the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command; its exit code."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        remedy = "python -m pip install 'hiwire_py[cli]'"
        print(
            f"hiwire: error: the command needs the package {package}; get it with: {remedy}", file=sys.stderr
        )
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
