"""Components for tests that look at their types: `wasm-tools` makes them of WIT, with bodies that trap."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path

from wasm_tools_support import wasm_tools

__all__ = ["SHAPES", "canonical_wit", "dummy", "random_worlds", "wasm_tools", "wit_of"]

SHAPES = """
package demo:shapes@1.2.0;

interface types {
    type meters = f32;
    record point { x: meters, y: f32, %type: option<option<u8>> }
    variant shape { circle(point), square, many(list<shape-kind>) }
    enum shape-kind { a, b2, %enum }
    flags perms { read, write-all }
    resource canvas {
        constructor(p: point);
        draw: func(s: shape) -> result<_, string>;
        size: static func() -> tuple<u32, u32>;
        close: func();
    }
    type names = list<string>;
    type other-names = names;
}

interface user {
    use types.{point as p2, canvas, meters, other-names};
    area: func(p: p2, c: borrow<canvas>) -> result;
    take: func(c: canvas, n: other-names) -> result<meters>;
    get: func(%import: list<p2>) -> option<canvas>;
}

world everything {
    import types;
    use types.{shape};
    record local { s: shape, p: other }
    type other = u8;
    import f: func(l: local, c: char) -> list<u8>;
    import inline: interface {
        use types.{point};
        enum e { x }
        g: func(p: point);
        h: func() -> e;
    }
    resource thing { constructor(size: u32); grow: func(); }
    import things: func(all: list<thing>);
    export run: func(s: shape) -> local;
    export types;
    export user;
}

world exports {
    export types;
    export user;
    export run: func(n: list<tuple<u32, string>>) -> result<u8, string>;
}
"""
"""Every kind of type, and names that come from elsewhere."""


def _run(*words: str, given: bytes = b"") -> bytes:
    done = subprocess.run([wasm_tools(), *words], input=given, capture_output=True)
    if done.returncode != 0:
        raise ValueError(f"wasm-tools {words[:2]}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def dummy(folder: Path, wit: str | bytes, world: str) -> bytes:
    """A component of a world, all of whose functions trap."""
    package = folder / ("package.wit" if isinstance(wit, str) else "package.wasm")
    package.write_bytes(wit.encode() if isinstance(wit, str) else wit)
    embedded = folder / "embedded.wasm"
    _run("component", "embed", "--dummy", "--world", world, str(package), "-o", str(embedded))
    return _run("component", "new", str(embedded))


def wit_of(folder: Path, source: str | bytes) -> str:
    """What wasm-tools says of a component, or how it writes a text of ours."""
    path = folder / ("asked.wit" if isinstance(source, str) else "asked.wasm")
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return _run("component", "wit", str(path)).decode()


def random_worlds(folder: Path, seed: int) -> list[bytes]:
    """Components of the worlds of a random package."""
    r = random.Random(seed)
    package = _run("wit-smith", given=r.randbytes(r.choice([200, 2000, 6000])))
    path = folder / "smith.wasm"
    path.write_bytes(package)
    found = json.loads(_run("component", "wit", "--json", str(path)))
    worlds = []
    for world in found["worlds"][:4]:
        name, _, version = found["packages"][world["package"]]["name"].partition("@")
        worlds.append(dummy(folder, package, f"{name}/{world['name']}{'@' * bool(version)}{version}"))
    return worlds


def canonical_wit(text: str) -> list[str]:
    """The lines of a text in order, without what two texts of the same meaning may differ in: blank lines,
    ids for other programs, and by way of which interface a type is used."""
    package = interface = ""
    uses: dict[tuple[str, str], tuple[str, str]] = {}
    lines: list[str | tuple[str, str, str, str]] = []
    for line in text.splitlines():
        opened = re.match(r"package ([^ ;{]+) \{|  interface (\S+) \{", line)
        if opened is not None and opened[1]:
            package = opened[1]
        elif opened is not None and package:
            interface = _full(package, opened[2])
        used = re.match(r"( *)use (.+)\.\{(.*)\};$", line)
        if used is None:
            if line.strip() and "@external-id" not in line:
                lines.append(line)
            continue
        source = used[2] if ":" in used[2] else _full(package, used[2])
        for one in used[3].split(", "):
            name, _, new = one.partition(" as ")
            lines.append((used[1], source, name, new or name))
            if package:
                uses[interface, new or name] = source, name
    found = []
    for item in lines:
        if isinstance(item, tuple):
            indent, source, name, new = item
            while (source, name) in uses:
                source, name = uses[source, name]
            item = f"{indent}use {source} {name} {new}"
        found.append(item)
    return sorted(found)


def _full(package: str, name: str) -> str:
    own, _, version = package.partition("@")
    return f"{own}/{name}{'@' * bool(version)}{version}"
