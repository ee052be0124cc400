"""`Component.wit`: the text that wasm-tools writes for the same component."""

from __future__ import annotations

from pathlib import Path

import pytest
from component_tools import SHAPES, canonical_wit, dummy, random_worlds, wit_of
from support import wat

from hiwire_py import Component, UnsupportedModuleError


@pytest.mark.parametrize("world", ["everything", "exports"])
def test_all_types(world: str, tmp_path: Path) -> None:
    """Types, uses, resources and functions of a component come back as wasm-tools has them, line by line."""
    component = dummy(tmp_path, SHAPES, world)
    ours = Component(component).wit()
    lines = [[line for line in text.splitlines() if line.strip()] for text in
             (wit_of(tmp_path, ours), wit_of(tmp_path, component))]  # fmt: skip
    assert lines[0] == lines[1]
    assert "use types.{point as p2, canvas, meters, other-names};" in ours


@pytest.mark.parametrize("seed", range(24))
def test_random_worlds(seed: int, tmp_path: Path) -> None:
    """The same for random packages."""
    worlds = random_worlds(tmp_path, seed)
    for world in worlds:
        ours = Component(world).wit()
        assert canonical_wit(wit_of(tmp_path, ours)) == canonical_wit(wit_of(tmp_path, world))


def test_our_own_text() -> None:
    """What is written, of a component in text form."""
    component = Component(
        wat("""(component
            (type $log (instance
                (type $level (enum "low" "high")) (export "level" (type $level2 (eq $level)))
                (type $f (func (param "use" $level2) (param "text" string)))
                (export "write" (func (type $f)))))
            (import "demo:log/log@0.1.0" (instance $log (type $log)))
            (alias export $log "level" (type $level))
            (type $g (func (param "of" (list $level)) (result (option u8))))
            (import "g" (func $g (type $g)))
            (export "again" (instance $log))
            (export "g2" (func $g)))""")
    )
    assert (
        component.wit()
        == """\
package root:component;

world root {
  import demo:log/log@0.1.0;
  use demo:log/log@0.1.0.{level};
  import g: func(of: list<level>) -> option<u8>;
  export again: interface {
    use demo:log/log@0.1.0.{level};
    write: func(%use: level, text: string);
  }
  export g2: func(of: list<level>) -> option<u8>;
}
package demo:log@0.1.0 {
  interface log {
    enum level {
      low,
      high,
    }
    write: func(%use: level, text: string);
  }
}
"""
    )


def test_what_wit_has_not() -> None:
    """An interface with an instance in it is refused by its name."""
    component = Component(
        wat("""(component
            (import "a:b/c" (instance $i (export "inner" (instance (export "f" (func)))))))""")
    )
    with pytest.raises(UnsupportedModuleError, match="a:b/c has an instance, inner: WIT has none"):
        component.wit()
