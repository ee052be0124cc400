"""Exports of an instance on wasmtime, each of which is looked up when it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime
from support import use_engine

from hiwire_py.engines import get_engine
from hiwire_py.errors import ClosedError
from hiwire_py.objects import prepare

TWO = """(module
  (memory (export "memory") 1) (table (export "table") 1 funcref) (global (export "global") i32 (i32.const 3))
  (func (export "one") (result i32) (i32.const 1)) (func (export "two") (result i32) (i32.const 2)))"""


@pytest.fixture
def made() -> tuple[Any, Any]:
    """A store, and the exports of an instance in it."""
    engine = get_engine(use_engine("wasmtime"))
    store = engine.store()
    compiled = prepare(engine, bytes(wasmtime.wat2wasm(TWO))).compiled
    return store, store.instantiate(compiled, {}, lambda keep: None)


def test_looked_up(made: tuple[Any, Any]) -> None:
    """They are all there, each of its kind and always the same object; others are not."""
    store, exports = made
    assert list(exports) == ["memory", "table", "global", "one", "two"] and len(exports) == 5
    kinds = [type(exports[name]).__name__ for name in exports]
    assert kinds == ["Memory", "Table", "Global", "Func", "Func"]
    assert exports["two"] is exports["two"]
    assert store.global_get(exports["global"]) == 3
    assert "three" not in exports
    with pytest.raises(KeyError):
        exports["three"]


def test_the_store_is_left(made: tuple[Any, Any]) -> None:
    """What is asked for when the instance is gone with its store is refused, as wasmtime would look for it in
    freed memory, or in another store."""
    store, exports = made
    one = exports["one"]
    before: dict[str, Any] = {}
    store.leave(before)
    store.arrive(before)
    assert exports["one"] is one
    with pytest.raises(ClosedError, match="two"):
        exports["two"]
