"""Engines and variants as parameters: every test that takes `engine` runs on each engine that can be here."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from cache_home import WHY_NONE, private_directory
from collect_support import Host
from sidetable_support import FORMS
from support import use_engine

from hiwire_py.sources import VARIANTS


@pytest.fixture(autouse=True)
def only_ours() -> None:
    """Python's collector looks at what the test makes, not at all that is there already, and so is fast."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["wasmer", "wasmtime", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine; skipped by name and reason where it is not installed."""
    return use_engine(request.param)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """The name of a shipped variant of hiwire."""
    name: str = request.param
    return name


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """The name of a form of the side table."""
    name: str = request.param
    return name


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Python's cycle collector is off, so that what dies does so by its counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def host(engine: str) -> Iterator[Host]:
    host = Host(engine)
    yield host
    host.table.close()


@pytest.fixture
def cache_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, empty: the directory that XDG_CACHE_HOME names."""
    if WHY_NONE:
        pytest.skip(WHY_NONE)
    with private_directory() as home:
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        yield home
