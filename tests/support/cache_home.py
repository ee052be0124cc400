"""Tests keep compiled modules beside the user's cache, not in it: importing this sets XDG_CACHE_HOME.

It stays from one run to the next, as compiling the engine native's libraries takes minutes. A directory of
pytest would not do: it lies below /tmp, where nothing is cached.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hiwire_py import cache

__all__ = ["private_directory"]


def _choose() -> str:
    """The first directory in which the cache can be; "" if there is none."""
    homes = []
    with contextlib.suppress(cache.CacheError):
        homes.append(cache.root().parent / "hiwire-tests")
    homes.append(Path(__file__).resolve().parents[2] / "build" / "cache")
    for home in homes:
        os.environ["XDG_CACHE_HOME"] = str(home)
        with contextlib.suppress(cache.CacheError):
            cache.require()
            return ""
    return f"the cache can be in none of {', '.join(map(str, homes))}"


WHY_NONE = _choose() if "HIWIRE_TEST_CACHE" not in os.environ else ""
os.environ["HIWIRE_TEST_CACHE"] = "chosen"  # by this process; those that it starts keep to it


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory that only this user can write to, nor to any above it."""
    with tempfile.TemporaryDirectory(dir=os.environ["XDG_CACHE_HOME"], prefix="test-") as made:
        yield Path(made)
