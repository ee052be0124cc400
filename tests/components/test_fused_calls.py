"""The tests of test_calls.py again, with fused components."""

from __future__ import annotations

from test_calls import *  # noqa: F403
from test_fuse import fused  # noqa: F401  it is used by all tests here
