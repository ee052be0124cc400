"""Cost that must not grow with what a module declares, or with what is long gone."""

from __future__ import annotations

import pytest
import wasmtime
from support import use_mode, wat

from hiwire_py import Guest
from hiwire_py.engines.wasmtime_capi import MODES


@pytest.fixture(params=MODES)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of calling wasmtime in turn."""
    return use_mode(request.param, monkeypatch)


@pytest.mark.parametrize("engine", ["wasmtime", "wasmtime-lowered"])
def test_exports_are_not_counted_off(way: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """wasmtime finds the export of a number by going through those before it, so none is asked for like that:
    neither those of the module nor those added to see its references."""

    def nth(*args: object) -> bool:
        raise AssertionError("an export was asked for by its number")

    monkeypatch.setattr(wasmtime._ffi, "wasmtime_instance_export_nth", nth)
    guest = Guest(
        wat("""(module (global $hidden (mut externref) (ref.null extern))
        (func (export "") (result i32) i32.const 3)
        (func (export "a\\00b") (param externref) (result externref) local.get 0)
        (global (export "\\c3\\a9") i32 (i32.const 5)))"""),
        engine=engine,
    )
    assert list(guest.exports) == ["", "a\0b", "é"]
    assert guest.exports[""]() == 3 and guest.exports["a\0b"]("x") == "x" and guest.exports["é"].value == 5
