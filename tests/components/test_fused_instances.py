"""The tests of test_instances.py again, with fused components."""

from __future__ import annotations

from test_fuse import fused  # noqa: F401  it is used by all tests here
from test_instances import *  # noqa: F403
